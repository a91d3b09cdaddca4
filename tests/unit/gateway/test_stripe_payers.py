"""What Stripe's answers about payers mean, and that no client secret of an event is kept.

The requests are compared with the SDK's types in test_stripe_requests.py.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import pytest
import stripe

from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.payer_port import SetupState, SetupStatus
from gateway.payments.psp.stripe.kept_events import without_secrets
from gateway.payments.psp.stripe.payers import StripePayers, StripeSetupIntent


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


def payers(wire: Any, *, base_url: str | None = None) -> StripePayers:
    return StripePayers(wire, publishable_key="pk_test_1", base_url=base_url)


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
