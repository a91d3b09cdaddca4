"""Requests about payers and terminals hold to the types of the SDK's pinned version."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
import stripe.params
import stripe.params.terminal

from gateway.ids import new_id
from gateway.payments.psp.payer_port import PspCustomerRequest, PspSetupRequest, SetupState, SetupStatus
from gateway.payments.psp.port import Declined, PspOutcomeUnknown
from gateway.payments.psp.stripe.client_secrets import without_secrets
from gateway.payments.psp.stripe.payers import StripePayers, StripeSetupIntent
from gateway.payments.psp.stripe.terminals import StripeTerminals
from gateway.payments.psp.terminal_port import PspLocationRequest, PspReaderRequest

PAYERS, TERMINALS = stripe.params, stripe.params.terminal
ADDRESS = {"line1": "Kade 1", "city": "Rotterdam", "postal_code": "3011 AB", "country": "NL"}


class Recording:
    """A wire that keeps what is sent, and has no answer."""

    def __init__(self, answer: Any = None) -> None:
        self.sent: list[tuple[str, Mapping[str, Any]]] = []
        self._answer = answer or PspOutcomeUnknown(reason="a test")

    async def post(self, path: str, answer: Any, params: Mapping[str, Any], *, key: str) -> Any:
        assert key
        self.sent.append((path, params))
        return self._answer

    async def get(self, path: str, answer: Any, params: Mapping[str, Any]) -> Any:
        self.sent.append((path, params))
        return self._answer

    async def read_each(self, path: str, answer: Any, do: Any, *, params: Mapping[str, Any]) -> Any:
        self.sent.append((path, params))


def payers(wire: Any, *, base_url: str | None = None) -> StripePayers:
    return StripePayers(wire, publishable_key="pk_test_1", base_url=base_url)


SETUP = PspSetupRequest(
    idempotency_key="k", setup_id=new_id(), party_id="parking", psp_customer="cus_1", off_session=True
)
CUSTOMER = PspCustomerRequest(idempotency_key="k", customer_id=new_id(), party_id="parking")
LOCATION = PspLocationRequest(
    idempotency_key="k", location_id=new_id(), party_id="parking", display_name="Harbour", address=ADDRESS
)
READER = PspReaderRequest(
    idempotency_key="k", psp_location="tml_1", registration_code="simulated-wpe", label="Column 1"
)
Act = Callable[[Any], Awaitable[object]]
REQUESTS: list[tuple[str, Act, Any]] = [
    ("/v1/customers", lambda wire: payers(wire).create_customer(CUSTOMER), PAYERS.CustomerCreateParams),
    ("/v1/setup_intents", lambda wire: payers(wire).create_setup(SETUP), PAYERS.SetupIntentCreateParams),
    (
        "/v1/setup_intents/seti_1",
        lambda wire: payers(wire).inspect_setup(psp_setup="seti_1"),
        PAYERS.SetupIntentRetrieveParams,
    ),
    (
        "/v1/setup_intents/seti_1/cancel",
        lambda wire: payers(wire).cancel_setup(psp_setup="seti_1", idempotency_key="k"),
        PAYERS.SetupIntentCancelParams,
    ),
    (
        "/v1/payment_methods/pm_1/detach",
        lambda wire: payers(wire).detach_method(psp_method="pm_1", idempotency_key="k"),
        PAYERS.PaymentMethodDetachParams,
    ),
    (
        "/v1/terminal/locations",
        lambda wire: StripeTerminals(wire).create_location(LOCATION),
        TERMINALS.LocationCreateParams,
    ),
    (
        "/v1/terminal/readers",
        lambda wire: StripeTerminals(wire).register_reader(READER),
        TERMINALS.ReaderCreateParams,
    ),
    (
        "/v1/terminal/readers",
        lambda wire: StripeTerminals(wire).list_readers(psp_location="tml_1"),
        TERMINALS.ReaderListParams,
    ),
    (
        "/v1/terminal/readers/tmr_1",
        lambda wire: StripeTerminals(wire).inspect_reader(psp_reader="tmr_1"),
        TERMINALS.ReaderRetrieveParams,
    ),
    (
        "/v1/terminal/connection_tokens",
        lambda wire: StripeTerminals(wire).create_connection_token(psp_location="tml_1", idempotency_key="k"),
        TERMINALS.ConnectionTokenCreateParams,
    ),
    (
        "/v1/terminal/readers/tmr_1/process_payment_intent",
        lambda wire: StripeTerminals(wire).present(
            psp_reader="tmr_1", psp_payment="intent", idempotency_key="k"
        ),
        TERMINALS.ReaderProcessPaymentIntentParams,
    ),
]


@pytest.mark.parametrize(("path", "act", "form"), REQUESTS)
def test_a_request_holds_to_the_sdks_types(path: str, act: Act, form: Any) -> None:
    wire = Recording()
    asyncio.run(_run(act, wire))
    sent = [(sent_to, params) for sent_to, params in wire.sent if sent_to == path]
    assert sent
    for _, params in sent:
        known = {name: str(hint) for name, hint in form.__annotations__.items()}
        assert set(params) <= set(known), set(params) - set(known)
        required = {name for name, hint in known.items() if "NotRequired" not in hint}
        assert required <= set(params), required
        for name, value in params.items():
            words = re.findall(r"Literal\[([^\]]*)\]", known[name])
            allowed = {word.strip(" '\"") for listed in words for word in listed.split(",")}
            given = {value} if isinstance(value, str) else set(value) if isinstance(value, list) else set()
            assert not allowed or given <= allowed, name


async def _run(act: Act, wire: Recording) -> None:
    await act(wire)


STATES = {
    "requires_payment_method": SetupState.REQUIRES_PAYMENT_METHOD,
    "requires_confirmation": SetupState.REQUIRES_PAYMENT_METHOD,
    "requires_action": SetupState.REQUIRES_ACTION,
    "processing": SetupState.PROCESSING,
    "succeeded": SetupState.SUCCEEDED,
    "canceled": SetupState.CANCELLED,
}


def test_every_status_of_a_setup_intent_in_the_sdk_has_a_meaning() -> None:
    listed = re.findall(r"'([a-z_]+)'", str(stripe.SetupIntent.__annotations__["status"]))
    assert set(listed) == set(STATES)
    for status in listed:
        intent = StripeSetupIntent(id="seti_1", status=status, client_secret="s")
        read = asyncio.run(payers(Recording(intent)).inspect_setup(psp_setup="seti_1"))
        assert isinstance(read, SetupStatus)
        assert read.state is STATES[status]
        assert "client_secret" not in repr(read)
    unknown = StripeSetupIntent(id="seti_1", status="something_new")
    read = asyncio.run(payers(Recording(unknown)).inspect_setup(psp_setup="seti_1"))
    assert isinstance(read, PspOutcomeUnknown)


def test_a_setup_that_can_not_be_cancelled_is_read() -> None:
    wire = Recording(Declined(code="setup_intent_unexpected_state", retryable=False))
    asyncio.run(payers(wire).cancel_setup(psp_setup="seti_1", idempotency_key="k"))
    assert [path for path, _ in wire.sent] == ["/v1/setup_intents/seti_1/cancel", "/v1/setup_intents/seti_1"]


def test_the_script_is_the_providers_or_the_sandboxs() -> None:
    assert payers(Recording()).script_url.startswith("https://js.stripe.com/")
    sandbox = payers(Recording(), base_url="http://127.0.0.1:12111/")
    assert sandbox.script_url == "http://127.0.0.1:12111/_sandbox/element.js"


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"client_secret": "a_secret_b", "x": 1}', b'{"client_secret": null, "x": 1}'),
        (rb'{"client_secret":"a\"b"}', b'{"client_secret":null}'),
        (b'{"client_secret":null}', b'{"client_secret":null}'),
        (
            b'{"a":{"client_secret":"x"},"b":[{"client_secret":"y"}]}',
            b'{"a":{"client_secret":null},"b":[{"client_secret":null}]}',
        ),
    ],
)
def test_an_event_is_kept_without_client_secrets(body: bytes, kept: bytes) -> None:
    assert without_secrets(body) == kept
