"""Money at the PSP that is in no book here: found by event, answer and list; adopted, refunded, or left."""

import json

import pytest

from gateway.exceptions.errors import ExceptionConflictError
from gateway.ids import new_id
from gateway.payments.errors import PaymentConflictError
from gateway.payments.requests import AuthorizationRequest, Estimate, PspMethod
from gateway.payments.state_machine import PaymentState
from gateway.payments.unbooked_charges import ChargeAction
from tests.integration.unbooked_charge_play import PLACE, Played, foreign_payment, ground, plain, played
from tests.simulation.application import _form
from tests.simulation.market import PARKING, PLACES, cdr_tree

__all__ = ["ground", "plain", "played"]  # fixtures
EVSES = ["DE*ABC*E1", "CH*ALP*E1"]


@pytest.mark.parametrize("evse", EVSES)
async def test_a_hold_captured_by_hand_and_released_is_refunded_and_leaves_no_difference(
    played: Played, evse: str
) -> None:
    view = await played.authorize(evse=evse)
    payment = view.authorization.psp_payment
    played.capture_by_hand(payment, 1000)
    assert await played.release(view) is PaymentState.FAILED
    [one] = await played.open()
    assert (one.subject_id, one.amount_minor, one.currency) == (payment, 1000, PLACES[evse].currency)
    assert one.reason == "captured_by_hand"
    await played.work()
    assert any(line.startswith("unbooked_charges") for line in await played.findings())

    await played.decide(ChargeAction.REFUND)
    await played.work()
    assert await played.open() == []
    assert await played.value("SELECT state FROM gateway.unbooked_charge") == "refunded"
    [charge] = played.system.objects("charge")
    assert charge["amount_refunded"] == charge["amount"]
    assert await played.system.reconcile() == 0
    assert await played.findings() == []


@pytest.mark.parametrize("evse", EVSES)
@pytest.mark.parametrize("percent", [100, 180, 40])
async def test_a_hold_captured_by_hand_is_adopted_at_the_price_of_its_cdr(
    played: Played, evse: str, percent: int
) -> None:
    kwh = 20
    price = PLACES[evse].price_minor(kwh)
    by_hand = price * percent // 100
    kept = min(by_hand, price)
    view = await played.authorize(evse=evse)
    session_id = view.session.id
    played.capture_by_hand(view.authorization.psp_payment, by_hand)
    await played.release(view)
    await played.decide(ChargeAction.ADOPT)
    await played.work()
    [waiting] = await played.open()
    assert waiting.reason == "awaits_cdr"

    await played.complete(session_id, kwh, evse=evse)
    await played.work()
    assert await played.open() == []
    row = await played.system.pool.fetchrow(
        "SELECT s.state, s.price_minor, c.amount_minor, c.refunded_minor, c.receivable_minor, "
        "a.state AS held "
        "FROM gateway.session AS s JOIN gateway.capture AS c ON c.shard = s.shard AND c.session_id = s.id "
        "JOIN gateway.payment_authorization AS a ON a.shard = c.shard AND a.id = c.authorization_id"
    )
    assert (row["state"], row["price_minor"], row["held"]) == ("cleared", price, "captured")
    assert row["amount_minor"] - row["refunded_minor"] == kept
    assert row["receivable_minor"] == price - kept
    assert await played.system.reconcile() == 0
    assert await played.findings() == []


async def test_an_event_reports_a_capture_by_hand_while_the_session_runs_and_its_end_takes_it_over(
    plain: Played,
) -> None:
    view = await plain.authorize()
    plain.capture_by_hand(view.authorization.psp_payment, 2000)
    await plain.work()
    [one] = await plain.open()
    assert one.reason == "captured_by_hand"
    with pytest.raises(PaymentConflictError, match="still runs"):
        await plain.decide(ChargeAction.REFUND)
    with pytest.raises(ExceptionConflictError, match="one of adopt, refund, leave"):
        await plain.decide(None)

    await plain.complete(view.session.id, 20)  # costs 1190
    await plain.work()
    assert await plain.open() == []
    assert await plain.value("SELECT amount_minor - refunded_minor FROM gateway.capture") == 1190
    assert await plain.value("SELECT state FROM gateway.session") == "cleared"
    assert await plain.system.reconcile() == 0
    assert await plain.findings() == []


async def test_less_captured_by_hand_than_the_price_leaves_the_rest_receivable(plain: Played) -> None:
    view = await plain.authorize()
    plain.capture_by_hand(view.authorization.psp_payment, 700)
    await plain.complete(view.session.id, 20)
    await plain.work()
    row = await plain.system.pool.fetchrow("SELECT amount_minor, receivable_minor FROM gateway.capture")
    assert tuple(row) == (700, 490)
    assert await plain.open() == []
    assert await plain.findings() == []


async def test_a_charge_of_a_session_that_is_lost_here_is_rebuilt_from_the_psps_record(plain: Played) -> None:
    view = await plain.authorize()
    session_id, payment = view.session.id, view.authorization.psp_payment
    plain.capture_by_hand(payment, 2380)
    pool = plain.system.pool
    for table in ("psp_request", "payment_authorization", "session_lookup", "session", "tariff_snapshot"):
        await pool.execute(f"DELETE FROM gateway.{table}")  # noqa: S608 - as a restored older backup is
    await plain.work()
    [one] = await plain.open()
    assert (one.reason, one.amount_minor) == ("unknown_payment", 2380)
    await plain.decide(ChargeAction.ADOPT)
    await plain.work()
    rebuilt = await pool.fetchrow("SELECT * FROM gateway.session WHERE id = $1", session_id)
    assert (rebuilt["demand_partner_id"], rebuilt["evse_id"], rebuilt["session_ref"]) == (
        PARKING,
        PLACE.evse_id,
        "S1",
    )
    assert rebuilt["flags"] == ["rebuilt_from_psp"]
    await plain.complete(session_id, 20)
    await plain.work()
    assert await plain.open() == []
    assert await plain.value("SELECT state FROM gateway.session") == "cleared"
    assert await plain.value("SELECT amount_minor - refunded_minor FROM gateway.capture") == 1190
    assert await plain.system.reconcile() == 0
    assert await plain.findings() == []


async def test_a_payment_that_is_none_of_ours_is_found_in_the_psps_list_and_may_be_left(
    plain: Played,
) -> None:
    foreign_payment(plain)
    plain.system.engine.pop_webhooks()  # lost
    await plain.system.reconcile()
    [one] = await plain.open()
    assert (one.reason, one.amount_minor, one.currency) == ("unknown_payment", 900, "EUR")
    with pytest.raises(PaymentConflictError, match="names no session"):
        await plain.decide(ChargeAction.ADOPT)
    await plain.decide(ChargeAction.LEAVE)
    assert await plain.open() == []
    assert await plain.system.reconcile() == 1  # for finance, as any other movement


async def test_a_second_payment_of_a_paid_session_can_only_be_refunded(plain: Played) -> None:
    view = await plain.authorize()
    await plain.complete(view.session.id, 20)
    await plain.work()
    [paid] = plain.system.objects("payment_intent")
    plain.system.charge_again(paid)
    await plain.work()
    [one] = await plain.open()
    assert one.amount_minor == 1190
    with pytest.raises(PaymentConflictError, match="paid by another payment"):
        await plain.decide(ChargeAction.ADOPT)
    await plain.decide(ChargeAction.REFUND)
    await plain.work()
    assert await plain.open() == []
    assert await plain.system.reconcile() == 0
    assert await plain.findings() == []


async def test_what_the_dashboard_refunds_too_ends_the_exception_and_a_refund_sent_back_opens_it_again(
    plain: Played,
) -> None:
    foreign_payment(plain)
    await plain.work()
    [intent] = plain.system.objects("payment_intent")
    _form(plain.system.engine, "/v1/refunds", {"charge": intent["latest_charge"]})
    await plain.work()
    assert await plain.open() == []
    assert await plain.system.reconcile() == 0
    [refund] = plain.system.objects("refund")
    plain.system.control("POST", f"refunds/{refund['id']}/fail")
    await plain.work()
    [again] = await plain.open()
    assert "sent its refund back" in again.detail


async def test_our_own_captures_and_residual_charges_are_never_reported(plain: Played) -> None:
    customer, method = plain.system.customers["ann"]
    request = AuthorizationRequest(
        authorization_id=new_id(),
        party_id="superapp",
        evse_id=PLACE.evse_id,
        method="app",
        payment=PspMethod(payment_method=method, customer=customer, off_session=True),
        session_ref="S1",
        estimate=Estimate(energy_wh=10_000, duration_s=3600),
        cpo_id=PLACE.cpo_id,
    )
    view = await plain.system.payments.authorize(request)
    tree = cdr_tree(PLACE, cdr_id="C1", session_ref="S1", kwh=60, ended_at=plain.system.hands.at)
    await plain.system.payments.complete(
        party_id="superapp",
        session_id=view.session.id,
        cdr_raw=json.dumps(tree).encode(),
        cdr_version="2.2.1",
    )
    await plain.work()
    assert await plain.system.reconcile() == 0
    assert await plain.value("SELECT count(*) FROM gateway.unbooked_charge") == 0
    assert await plain.findings() == []
