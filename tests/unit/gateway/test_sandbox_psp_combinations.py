"""The sandbox PSP refuses in combination what the provider refuses, with the same code and parameter."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from sandbox.stripe.access import PspRequest
from sandbox.stripe.engine import PspEngine
from sandbox.stripe.settings import PspSettings

INTENT = {"amount": "500", "currency": "eur", "capture_method": "manual"}
NOW = {**INTENT, "confirm": "true", "payment_method": "pm_card_visa"}
CARD = {"allowed_payment_method_types[0]": "card"}
BACK = {"return_url": "https://app.test/back"}
AUTOMATIC = {"automatic_payment_methods[enabled]": "true"}
RAISED = "payment_method_options[card][request_incremental_authorization]"
ABOVE = "payment_method_options[card][request_overcapture]"
AT_TERMINAL = "payment_method_options[card_present][request_incremental_authorization_support]"


@pytest.fixture
def engine() -> Iterator[PspEngine]:
    opened = PspEngine(PspSettings(seed=1))
    yield opened
    opened.close()


def post(engine: PspEngine, fields: dict[str, str], path: str = "/v1/payment_intents") -> tuple[int, Any]:
    headers = {"authorization": "Bearer sk_test_sandbox"}
    sent = PspRequest(method="POST", path=path, headers=headers, body=urlencode(fields).encode())
    reply = engine.handle(sent)
    return reply.status, json.loads(reply.body)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        (
            {**NOW, **BACK, "payment_method_types[0]": "card"},
            "payment_method_types_no_longer_supported",
            "payment_method_types",
        ),
        ({**NOW, **BACK, **CARD, **AUTOMATIC}, "parameters_exclusive", "allowed_payment_method_types"),
        ({**NOW, **CARD}, None, "return_url"),
        (NOW, None, "return_url"),
        ({**NOW, **AUTOMATIC}, None, "return_url"),
        ({**INTENT, **BACK}, None, "return_url"),
        ({**INTENT, "off_session": "true"}, None, "off_session"),
        (
            {**NOW, **BACK, "statement_descriptor": "ROAD 1"},
            "payment_intent_invalid_parameter",
            "statement_descriptor",
        ),
        (
            {**NOW, **BACK, "statement_descriptor_suffix": "A PLACE TOO LONG"},
            None,
            "statement_descriptor_suffix",
        ),
        (
            {**NOW, **BACK, "statement_descriptor_suffix": "<AMS>"},
            "invalid_characters",
            "statement_descriptor_suffix",
        ),
        (
            {**NOW, **BACK, "statement_descriptor_suffix": "12"},
            "invalid_characters",
            "statement_descriptor_suffix",
        ),
        ({**NOW, **BACK, "allowed_payment_method_types[0]": "klarna"}, None, "allowed_payment_method_types"),
        (
            {**NOW, **BACK, "payment_method_options[card][moto]": "true"},
            "parameter_unknown",
            "payment_method_options[card][moto]",
        ),
        ({**NOW, **BACK, "use_stripe_sdk": "true"}, "parameter_unknown", "use_stripe_sdk"),
    ],
)
def test_what_the_provider_refuses_is_refused(
    engine: PspEngine, fields: dict[str, str], code: str | None, param: str
) -> None:
    status, body = post(engine, fields)
    assert (status, body["error"].get("code"), body["error"].get("param")) == (400, code, param)
    assert body["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "fields",
    [
        {**NOW, **CARD, **BACK},
        {**NOW, **CARD, "off_session": "true"},
        {**NOW, **AUTOMATIC, "automatic_payment_methods[allow_redirects]": "never"},
        {**NOW, **BACK, "statement_descriptor_suffix": "NL-ABC AMS"},
        {**INTENT, "allowed_payment_method_types[0]": "card_present", AT_TERMINAL: "true"},
    ],
)
def test_what_the_provider_takes_is_taken(engine: PspEngine, fields: dict[str, str]) -> None:
    assert post(engine, fields)[0] == 200


def test_a_type_that_the_account_has_not_activated_is_dropped_in_silence() -> None:
    engine = PspEngine(PspSettings(payment_method_types=("card",)))
    terminal = {**INTENT, "allowed_payment_method_types[0]": "card_present"}
    assert post(engine, terminal)[1]["payment_method_types"] == []
    assert post(engine, {**terminal, "allowed_payment_method_types[1]": "card"})[1][
        "payment_method_types"
    ] == ["card"]
    engine.close()


@pytest.mark.parametrize("asked", [{RAISED: "if_available"}, {ABOVE: "if_available"}, {AT_TERMINAL: "true"}])
def test_an_account_without_the_card_features_is_refused_them_and_keeps_no_answer(
    asked: dict[str, str],
) -> None:
    engine = PspEngine(PspSettings(card_features=False))
    status, body = post(engine, {**NOW, **CARD, **BACK, **asked})
    assert (status, "code" in body["error"]) == (400, False)
    assert body["error"]["message"].startswith("This account is not eligible for the requested card features")
    assert post(engine, {**NOW, **CARD, **BACK, RAISED: "never"})[0] == 200
    engine.close()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"confirm": "true", "payment_method": "pm_card_visa"}, "return_url"),
        ({**BACK, "payment_method": "pm_card_visa"}, "return_url"),
        ({"payment_method_types[0]": "card"}, "payment_method_types"),
    ],
)
def test_a_set_up_is_refused_alike(engine: PspEngine, fields: dict[str, str], param: str) -> None:
    status, body = post(engine, fields, "/v1/setup_intents")
    assert (status, body["error"]["param"]) == (400, param)
