"""Unbooked charges whose steps meet: refunds before clearing, a process that ends, two decisions at once."""

import asyncio
from uuid import UUID

import pytest

from gateway.database import transaction
from gateway.ids import new_id
from gateway.payments import unbooked_charges
from gateway.payments.errors import PaymentConflictError
from gateway.payments.records import RefundRecord
from gateway.payments.refund import RefundReason, RefundRequest, RefundService
from gateway.payments.unbooked_charge_settlement import UnbookedChargeSettlement
from gateway.payments.unbooked_charges import ChargeAction
from tests.integration.unbooked_charge_play import Played, foreign_payment, ground, plain, played
from tests.simulation.application import _form
from tests.simulation.market import PARKING

__all__ = ["ground", "plain", "played"]  # fixtures


async def decide_at_once(played: Played, psp_payment: str, action: ChargeAction) -> bool:
    hands = played.system.hands
    async with transaction(played.system.pool) as connection:
        return await unbooked_charges.decide(
            connection, psp_payment, action, by="anna", now=hands.now(), wall_now=hands.wall_now()
        )


async def refund_session(played: Played, session_id: UUID, amount_minor: int | None) -> None:
    request = RefundRequest(
        refund_id=new_id(),
        session_id=session_id,
        amount_minor=amount_minor,
        reason=RefundReason.REQUESTED_BY_DRIVER,
    )
    refund = await played.system.payments.refunds.refund(request, party_id=PARKING)
    assert refund.state == "succeeded"


@pytest.mark.parametrize("amount", [None, 1500, 1190, 400])
async def test_a_capture_above_the_price_that_is_refunded_before_clearing_is_cleared_at_the_price(
    played: Played, amount: int | None
) -> None:
    view = await played.authorize()
    played.capture_by_hand(view.authorization.psp_payment, 2380)
    await played.complete(view.session.id, 20)  # costs 1190
    await refund_session(played, view.session.id, amount)
    await played.work()
    kept = 1190 if amount in {1190, 400} else 2380 - (amount or 2380)
    assert await played.value("SELECT state FROM gateway.session") == "cleared"
    assert await played.value("SELECT amount_minor - refunded_minor FROM gateway.capture") == kept
    assert await played.value("SELECT gross_minor FROM clearing.entry WHERE kind = 'capture'") == 1190
    posted = "SELECT coalesce(sum(gross_minor), 0) FROM clearing.entry WHERE kind = 'refund'"
    assert await played.value(posted) == 1190 - kept
    assert await played.value("SELECT count(*) FROM gateway.task") == 0
    assert await played.open() == []
    assert await played.system.reconcile() == 0
    assert await played.findings() == []


async def test_a_refund_of_what_was_above_the_price_that_is_sent_back_is_named_until_it_is_made_again(
    plain: Played,
) -> None:
    view = await plain.authorize()
    plain.capture_by_hand(view.authorization.psp_payment, 2380)
    await plain.complete(view.session.id, 20)
    await refund_session(plain, view.session.id, None)
    await plain.work()
    [refund] = plain.system.objects("refund")
    plain.system.control("POST", f"refunds/{refund['id']}/fail")
    await plain.work()
    [finding] = await plain.findings()
    assert finding.startswith("captured_is_price")
    await refund_session(plain, view.session.id, 1190)
    await plain.work()
    assert await plain.findings() == []
    assert await plain.system.reconcile() == 0


class _Died(RefundService):
    """The process ends where it would refund."""

    async def refund(self, request: RefundRequest, *, party_id: str | None) -> RefundRecord:
        raise asyncio.CancelledError


async def test_an_adoption_that_ends_between_capture_and_refund_is_finished_and_not_refunded_as_a_whole(
    plain: Played,
) -> None:
    view = await plain.authorize()
    payment = view.authorization.psp_payment
    plain.capture_by_hand(payment, 2380)
    await plain.release(view)
    await plain.decide(ChargeAction.ADOPT)
    await plain.complete(view.session.id, 20)
    payments = plain.system.payments
    refunds = payments.refunds
    dying = UnbookedChargeSettlement(
        pool=plain.system.pool,
        clock=plain.system.hands,
        psp=plain.system.psp,
        quotes=payments.quotes,
        snapshots=payments.snapshots,
        refunds=_Died(pool=refunds.pool, clock=refunds.clock, psp_requests=refunds.psp_requests),
    )
    await plain.system.pool.execute("DELETE FROM gateway.task WHERE kind = 'settle_unbooked_charge'")
    with pytest.raises(asyncio.CancelledError):
        await dying.settle(psp_payment=payment)
    assert await plain.value("SELECT state FROM gateway.unbooked_charge") == "adopting"
    for action in ChargeAction:
        with pytest.raises(PaymentConflictError, match="capture of its session"):
            await decide_at_once(plain, payment, action)
    await plain.work()
    assert await plain.value("SELECT state FROM gateway.unbooked_charge") == "adopted"
    assert await plain.value("SELECT amount_minor - refunded_minor FROM gateway.capture") == 1190
    assert await plain.system.reconcile() == 0
    assert await plain.findings() == []


async def test_of_two_decisions_at_once_one_counts(plain: Played) -> None:
    foreign_payment(plain)
    await plain.work()
    [intent] = plain.system.objects("payment_intent")

    twice = [decide_at_once(plain, intent["id"], ChargeAction.REFUND) for _ in range(2)]
    assert sorted(await asyncio.gather(*twice)) == [False, True]
    await plain.work()
    assert len(plain.system.objects("refund")) == 1
    assert await plain.system.reconcile() == 0


async def test_a_charge_whose_session_is_paid_otherwise_meanwhile_waits_for_a_person_again(
    plain: Played,
) -> None:
    view = await plain.authorize()
    plain.capture_by_hand(view.authorization.psp_payment, 2380)
    await plain.release(view)
    await plain.decide(ChargeAction.ADOPT)
    await plain.work()
    again = await plain.authorize()
    assert again.session.id == view.session.id
    await plain.complete(view.session.id, 20)
    await plain.system.reconcile()
    await plain.work()
    [one] = await plain.open()
    assert "paid by another payment" in one.detail
    await plain.decide(ChargeAction.REFUND)
    await plain.work()
    assert await plain.open() == []
    assert await plain.system.reconcile() == 0
    assert await plain.findings() == []


async def test_a_refund_at_the_dashboard_while_ours_is_decided_is_kept_and_one_sent_back_is_taken_off(
    plain: Played,
) -> None:
    foreign_payment(plain)
    await plain.work()
    [intent] = plain.system.objects("payment_intent")
    refunded = "SELECT refunded_minor FROM gateway.unbooked_charge"
    await plain.decide(ChargeAction.REFUND)
    _form(plain.system.engine, "/v1/refunds", {"charge": intent["latest_charge"], "amount": "300"})
    await plain.deliver()
    await plain.system.jobs["handle_psp_event"].run_once()
    assert await plain.value(refunded) == 0
    await plain.work()  # ours is refused: less than the whole is left
    assert await plain.value(refunded) == 300
    [one] = plain.system.objects("refund")
    plain.system.control("POST", f"refunds/{one['id']}/fail")
    await plain.work()
    assert await plain.value(refunded) == 0
    await plain.decide(ChargeAction.REFUND)
    await plain.work()
    assert await plain.open() == []
    assert await plain.value("SELECT state FROM gateway.unbooked_charge") == "refunded"


@pytest.mark.parametrize("sent_back", [300, 600])
async def test_of_two_refunds_only_the_one_that_is_sent_back_is_to_be_made_again(
    plain: Played, sent_back: int
) -> None:
    foreign_payment(plain)  # 900
    await plain.work()
    [intent] = plain.system.objects("payment_intent")
    _form(plain.system.engine, "/v1/refunds", {"charge": intent["latest_charge"], "amount": "300"})
    await plain.work()
    await plain.decide(ChargeAction.REFUND)
    await plain.work()
    assert await plain.open() == []
    [returned] = [one for one in plain.system.objects("refund") if one["amount"] == sent_back]
    plain.system.control("POST", f"refunds/{returned['id']}/fail")
    await plain.work()
    [again] = await plain.open()
    assert again.amount_minor == sent_back
    await plain.decide(ChargeAction.REFUND)
    await plain.work()
    assert await plain.open() == []
    [charge] = plain.system.objects("charge")
    assert charge["amount_refunded"] == charge["amount"]
    assert await plain.findings() == []


async def test_a_refund_that_is_sent_back_is_heard_of_twice_at_once_and_again_and_opens_its_charge_once(
    plain: Played,
) -> None:
    foreign_payment(plain)  # 900
    await plain.work()
    [intent] = plain.system.objects("payment_intent")
    _form(plain.system.engine, "/v1/refunds", {"charge": intent["latest_charge"], "amount": "300"})
    await plain.work()
    await plain.decide(ChargeAction.REFUND)
    await plain.work()
    [returned] = [one for one in plain.system.objects("refund") if one["amount"] == 600]
    plain.system.control("POST", f"refunds/{returned['id']}/fail")
    unbooked = plain.system.payments.psp_events.unbooked
    named = {"psp_payment": intent["id"], "psp_refund": returned["id"]}
    came = await asyncio.gather(*(unbooked.reopen_refund(**named) for _ in range(2)), return_exceptions=True)
    assert True in came
    assert [one for one in came if one is not True and not isinstance(one, PaymentConflictError)] == []
    await unbooked.reopen_refund(**named)
    await plain.work()
    [again] = await plain.open()
    assert again.amount_minor == 600
    assert await plain.value("SELECT refunded_minor FROM gateway.unbooked_charge") == 300
    await plain.decide(ChargeAction.REFUND)
    await plain.work()
    assert await plain.open() == []
    [charge] = plain.system.objects("charge")
    assert charge["amount_refunded"] == charge["amount"]
