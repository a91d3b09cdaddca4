"""The Stripe adapter through the provider's own client, against the sandbox over HTTP."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.ids import format_id, new_id
from gateway.payments.psp.failures import Declined, PspMisconfigured, PspOutcomeUnknown
from gateway.payments.psp.port import (
    CARD_PRESENT,
    Captured,
    Held,
    PspCaptureRequest,
    PspChargeRequest,
    PspHoldRequest,
    PspIncrementRequest,
    PspRefundRequest,
    PspTopUpRequest,
    PspTransferRequest,
    PspVoidRequest,
    Refunded,
    RequiresAction,
    ToppedUp,
    Transferred,
    Voided,
    WebhookRejectedError,
)
from gateway.payments.psp.stripe.adapter import StripePsp
from gateway.payments.psp.stripe.objects import (
    AmountNotRepresentableError,
    from_stripe_amount,
    to_stripe_amount,
)
from tests.integration.sandbox_psp_client import KEY, Sandbox, sandbox


@dataclass
class Stripe:
    """The adapter beside the sandbox that answers it."""

    psp: StripePsp
    sandbox: Sandbox

    async def hold(self, method: str = "pm_card_visa", **changes: Any) -> Any:
        return await self.psp.hold(order(method, **changes))

    async def customer(self) -> tuple[str, str]:
        """A customer with a vaulted card."""
        customer = await self.sandbox.v1.customers.create_async({})
        method = await self.sandbox.v1.payment_methods.attach_async("pm_card_visa", {"customer": customer.id})
        return customer.id, method.id


def order(method: str = "pm_card_visa", **changes: Any) -> PspHoldRequest:
    fields: dict[str, Any] = {
        "idempotency_key": f"key-{new_id()}",
        "session_id": new_id(),
        "authorization_id": new_id(),
        "amount_minor": 5000,
        "currency": "EUR",
        "payment_method": method,
    }
    return PspHoldRequest(**(fields | changes))


@pytest.fixture
async def stripe() -> AsyncIterator[Stripe]:
    async with sandbox() as running:
        psp = StripePsp(api_key=KEY, webhook_secret="whsec_test", base_url=running.psp.url, timeout_s=1.0)
        yield Stripe(psp, running)
        await psp.close()


async def test_a_hold_is_captured_in_part_with_its_fee(stripe: Stripe) -> None:
    held = await stripe.hold()
    assert isinstance(held, Held)
    assert held.capture_before is not None
    captured = await stripe.psp.capture(
        PspCaptureRequest(
            idempotency_key="c", psp_payment=held.psp_payment, amount_minor=1190, currency="EUR"
        )
    )
    assert isinstance(captured, Captured)
    assert (captured.amount_minor, captured.fee_minor, captured.fee_currency) == (1190, 43, "EUR")


async def test_a_capture_that_took_effect_is_found_when_its_key_has_ended(stripe: Stripe) -> None:
    held = await stripe.hold()
    sent = {"psp_payment": held.psp_payment, "amount_minor": 1190, "currency": "EUR"}
    first = await stripe.psp.capture(PspCaptureRequest(idempotency_key="c1", **sent))
    second = await stripe.psp.capture(PspCaptureRequest(idempotency_key="c2", **sent))
    assert second == first


async def test_a_void_is_final_and_repeats(stripe: Stripe) -> None:
    held = await stripe.hold()
    for key in ("v1", "v2"):
        answer = await stripe.psp.void(PspVoidRequest(idempotency_key=key, psp_payment=held.psp_payment))
        assert answer == Voided()
    assert await stripe.psp.inspect(psp_payment=held.psp_payment) == Voided()


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card"),
    ],
)
async def test_a_decline_carries_the_issuers_code(stripe: Stripe, method: str, code: str) -> None:
    answer = await stripe.hold(method)
    assert isinstance(answer, Declined)
    assert answer.code == code


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after", "reset_before", "reset_after"])
async def test_a_lost_answer_is_unknown_and_the_same_key_holds_once(stripe: Stripe, fault: str) -> None:
    wanted = order()
    await stripe.sandbox.fault({"kind": fault}, path_regex="/v1/payment_intents", times=1)
    assert isinstance(await stripe.psp.hold(wanted), PspOutcomeUnknown)
    assert isinstance(await stripe.psp.hold(wanted), Held)
    intents = await stripe.sandbox.v1.payment_intents.list_async()
    assert len(intents.data) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_an_answer_that_says_nothing_is_unknown(stripe: Stripe, status: int) -> None:
    await stripe.sandbox.fault(
        {"kind": "status", "status": status}, path_regex="/v1/payment_intents", times=1
    )
    assert isinstance(await stripe.hold(), PspOutcomeUnknown)


async def test_a_wrong_key_is_no_decline(stripe: Stripe) -> None:
    wrong = StripePsp(api_key="sk_test_wrong_key", webhook_secret="w", base_url=stripe.sandbox.psp.url)
    refused = await wrong.hold(order())
    assert isinstance(refused, PspMisconfigured)
    assert (refused.code, refused.definite) == ("psp_authentication", False)
    await wrong.close()


async def test_a_hold_is_found_by_our_metadata_alone(stripe: Stripe) -> None:
    wanted = order()
    held = await stripe.psp.hold(wanted)
    assert await stripe.psp.find_hold(authorization_id=wanted.authorization_id) == held
    assert await stripe.psp.find_hold(authorization_id=new_id()) is None


async def test_a_challenge_is_handed_on_and_its_end_is_read(stripe: Stripe) -> None:
    sent = await stripe.hold("pm_card_authenticationRequired")
    assert isinstance(sent, RequiresAction)
    assert sent.client_secret
    assert "client_secret" not in sent.next_action
    await stripe.sandbox.control("POST", f"payment_intents/{sent.psp_payment}/authenticate", {})
    assert isinstance(await stripe.psp.inspect(psp_payment=sent.psp_payment), Held)


async def test_a_card_is_presented_to_a_terminal_and_then_held(stripe: Stripe) -> None:
    sent = await stripe.hold(CARD_PRESENT)
    assert isinstance(sent, RequiresAction)
    assert sent.next_action["type"] == "present_card"
    await stripe.sandbox.control("POST", f"payment_intents/{sent.psp_payment}/present", {})
    held = await stripe.psp.inspect(psp_payment=sent.psp_payment)
    assert isinstance(held, Held)
    assert held.incrementable
    raised = await stripe.psp.increment(
        PspIncrementRequest(
            idempotency_key="i", psp_payment=held.psp_payment, amount_minor=6000, currency="EUR"
        )
    )
    assert isinstance(raised, Held)
    assert raised.amount_minor == 6000


async def test_what_a_hold_left_open_is_charged_off_session_and_found_again(stripe: Stripe) -> None:
    customer, method = await stripe.customer()
    authorization: UUID = new_id()
    charged = await stripe.psp.charge(
        PspChargeRequest(
            idempotency_key="x",
            session_id=new_id(),
            authorization_id=authorization,
            amount_minor=506,
            currency="EUR",
            payment_method=method,
            customer=customer,
        )
    )
    assert isinstance(charged, Captured)
    assert await stripe.psp.find_charge(authorization_id=authorization) == charged
    assert await stripe.psp.find_charge(authorization_id=new_id()) is None


async def test_refunds_are_bounded_and_found_by_our_metadata(stripe: Stripe) -> None:
    held = await stripe.hold()
    captured = await stripe.psp.capture(
        PspCaptureRequest(
            idempotency_key="c", psp_payment=held.psp_payment, amount_minor=1000, currency="EUR"
        )
    )
    assert isinstance(captured, Captured)
    refund_id = new_id()
    metadata = {"refund": format_id("ref", refund_id)}
    sent: dict[str, Any] = {"psp_charge": captured.psp_charge, "currency": "EUR"}
    done = await stripe.psp.refund(
        PspRefundRequest(idempotency_key="r1", amount_minor=600, metadata=metadata, **sent)
    )
    assert isinstance(done, Refunded)
    assert await stripe.psp.find_refund(psp_charge=captured.psp_charge, refund_id=refund_id) == done
    too_much = await stripe.psp.refund(PspRefundRequest(idempotency_key="r2", amount_minor=600, **sent))
    assert isinstance(too_much, Declined)


async def test_transfers_need_funds_and_are_found_by_their_end_to_end_id(stripe: Stripe) -> None:
    account = await stripe.sandbox.v1.accounts.create_async(
        {"type": "custom", "country": "DE", "capabilities": {"transfers": {"requested": True}}}
    )
    sent = PspTransferRequest(
        idempotency_key="NC1",
        amount_minor=700,
        currency="EUR",
        connected_account=account.id,
        end_to_end_id="NC1",
    )
    poor = await stripe.psp.transfer(sent)
    assert isinstance(poor, Declined)
    assert await stripe.psp.find_transfer(end_to_end_id="NC1") is None
    topped = await stripe.psp.top_up(
        PspTopUpRequest(
            idempotency_key="t", top_up_id=new_id(), amount_minor=1000, currency="EUR", reference="float"
        )
    )
    assert isinstance(topped, ToppedUp)
    paid = await stripe.psp.transfer(
        PspTransferRequest(
            idempotency_key="NC2",
            amount_minor=700,
            currency="EUR",
            connected_account=account.id,
            end_to_end_id="NC2",
        )
    )
    assert isinstance(paid, Transferred)
    assert await stripe.psp.find_transfer(end_to_end_id="NC2") == paid
    (record,) = await stripe.psp.list_records()  # type: ignore[misc]
    assert (record.topped_up_minor, record.transferred_minor) == (1000, 700)


async def test_a_top_up_is_found_by_our_metadata_alone(stripe: Stripe) -> None:
    wanted = new_id()
    sent: dict[str, Any] = {"amount_minor": 1000, "currency": "EUR", "reference": "float"}
    assert await stripe.psp.find_top_up(top_up_id=wanted) is None
    made = await stripe.psp.top_up(PspTopUpRequest(idempotency_key="t1", top_up_id=wanted, **sent))
    await stripe.psp.top_up(PspTopUpRequest(idempotency_key="t2", top_up_id=new_id(), **sent))
    assert await stripe.psp.find_top_up(top_up_id=wanted) == made


async def test_a_list_is_read_over_all_its_pages(stripe: Stripe) -> None:
    for number in range(105):
        sent = PspTopUpRequest(
            idempotency_key=f"t{number}", top_up_id=new_id(), amount_minor=100, currency="EUR", reference="f"
        )
        assert isinstance(await stripe.psp.top_up(sent), ToppedUp)
    (record,) = await stripe.psp.list_records()  # type: ignore[misc]
    assert record.topped_up_minor == 10_500
    since = datetime(2020, 1, 1, tzinfo=UTC)
    for limit, count in ((3, 3), (101, 101), (1000, 105)):  # of two events each, one can change our state
        pages = [page async for page in stripe.psp.event_pages_since(since=since, limit=limit)]
        assert all(not isinstance(page, PspOutcomeUnknown) and len(page) <= 100 for page in pages)
        assert len({stripe.psp.parse_event(body).id for page in pages for body in page}) == count
    moved = await stripe.psp.list_movements_between(since=since, until=None, limit=1000)
    assert not isinstance(moved, PspOutcomeUnknown)
    assert len(moved) == 105
    first = min(one.created_at for one in moved)
    for cut in (first, first + timedelta(seconds=1)):  # one half begins where the other ends
        before = await stripe.psp.list_movements_between(since=since, until=cut, limit=1000)
        after = await stripe.psp.list_movements_between(since=cut, until=None, limit=1000)
        assert not isinstance(before, PspOutcomeUnknown)
        assert not isinstance(after, PspOutcomeUnknown)
        assert len(before) + len(after) == 105
        assert {one.id for one in (*before, *after)} == {one.id for one in moved}


@pytest.mark.parametrize("signature", ["", "t=1,v1=00", "nonsense"])
async def test_an_event_without_a_good_signature_is_rejected(stripe: Stripe, signature: str) -> None:
    with pytest.raises(WebhookRejectedError):
        stripe.psp.read_event(body=b"{}", signature=signature)


async def test_the_events_since_an_instant_are_listed_newest_first(stripe: Stripe) -> None:
    await stripe.hold()
    since = datetime(2020, 1, 1, tzinfo=UTC)
    events = [
        stripe.psp.parse_event(body)
        async for page in stripe.psp.event_pages_since(since=since, limit=100)
        if not isinstance(page, PspOutcomeUnknown)
        for body in page
    ]
    assert all(event.created for event in events)
    assert "payment_intent.amount_capturable_updated" in {event.psp_type for event in events}
    assert any(event.psp_payment for event in events)


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [(1234, "EUR", 1234), (1234, "JPY", 1234), (1230, "KWD", 1230), (12, "ISK", 1200)],
)
def test_stripes_own_exponents_are_used(minor: int, currency: str, amount: int) -> None:
    assert to_stripe_amount(minor, currency) == amount
    assert from_stripe_amount(amount, currency) == minor


def test_what_stripe_can_not_say_is_rejected() -> None:
    with pytest.raises(AmountNotRepresentableError):
        to_stripe_amount(1234, "KWD")
    with pytest.raises(AmountNotRepresentableError):
        from_stripe_amount(1250, "ISK")
