"""Where money could be lost, taken twice or forgotten: rare orders of events on a real PostgreSQL."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from typing_extensions import override

from clearing.service import ClearingService
from gateway.audit import audit_house
from gateway.database import Pool
from gateway.ids import format_id, new_id
from gateway.lanes.correction_lane import CorrectionLane
from gateway.lanes.errands import ErrandLane, Errands
from gateway.lanes.hold_watch import HoldWatchLane
from gateway.lanes.psp_sweep import PspSweepLane
from gateway.payments.funding import Funding
from gateway.payments.orders import (
    CdrRefusedError,
    PspMethod,
    PspUnavailableError,
    RefundBoundError,
    StateConflictError,
)
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp import (
    Captured,
    CaptureOrder,
    CaptureOutcome,
    Declined,
    HoldOrder,
    HoldOutcome,
    IncrementOrder,
    IncrementOutcome,
    OutcomeUnknown,
    PspEvent,
    RefundOrder,
    RefundOutcome,
    ReversalNews,
    ToppedUp,
    TopUpOrder,
    TopUpOutcome,
    Voided,
    VoidOrder,
    VoidOutcome,
)
from gateway.payments.refund import RefundReason, RefundRequest
from gateway.payments.service import build_payments
from tests.fakes.psp import FakePsp, Payment
from tests.integration.test_payments import START, Hands, House, OneTariff, cdr

_LEAST_CHARGE_MINOR = 50


class StrictPsp(FakePsp):
    """A PSP that refuses captures below its least charge, and remembers top-ups by key."""

    def __init__(self) -> None:
        super().__init__()
        self.topups: dict[str, TopUpOrder] = {}
        self.given_back: dict[str, int] = {}
        self.poison: UUID | None = None

    @override
    def _capture(self, order: CaptureOrder) -> CaptureOutcome:
        if order.amount_minor < _LEAST_CHARGE_MINOR:
            return Declined(code="amount_too_small", retryable=False)
        return super()._capture(order)

    @override
    async def hold(self, order: HoldOrder) -> HoldOutcome:
        if order.authorization_id == self.poison:
            raise RuntimeError("an answer nobody foresaw")
        return await super().hold(order)

    @override
    async def inspect(self, *, psp_payment: str) -> HoldOutcome | Captured | Voided:
        if self.payments[psp_payment].status == "refused":
            return Declined(code="authentication_failed", retryable=True)
        return await super().inspect(psp_payment=psp_payment)

    @override
    def _void(self, order: VoidOrder) -> VoidOutcome:
        payment = self.payments[order.psp_payment]
        if payment.status == "refused":
            payment.status = "held"  # it is open at the PSP, and may be given up
        return super()._void(order)

    @override
    def _increment(self, order: IncrementOrder) -> IncrementOutcome:
        if order.amount_minor <= self.payments[order.psp_payment].held_minor:
            return Declined(code="amount_too_small", retryable=False)  # no increment
        return super()._increment(order)

    @override
    def by_authorization(self, authorization_id: UUID) -> Payment | None:
        found = [one for one in self.payments.values() if one.order.authorization_id == authorization_id]
        return found[-1] if found else None

    @override
    def _refund(self, order: RefundOrder) -> RefundOutcome:
        taken = {f"ch_{one.id}": one.captured_minor for one in self.payments.values()}
        taken |= {one.psp_charge: one.amount_minor for one in self.extra.values()}
        back = self.given_back.get(order.psp_charge, 0) + order.amount_minor
        if back > taken[order.psp_charge]:
            return Declined(code="charge_already_refunded", retryable=False)
        self.given_back[order.psp_charge] = back
        return super()._refund(order)

    @override
    async def top_up(self, order: TopUpOrder) -> TopUpOutcome:
        fault = self.faults.popleft() if self.faults else None
        if fault == "before":
            return OutcomeUnknown(reason="timeout")
        self.topups.setdefault(order.idempotency_key, order)
        return OutcomeUnknown(reason="timeout") if fault else ToppedUp(psp_topup=order.idempotency_key)


@pytest.fixture
async def house(pool: Pool) -> House:
    async with pool.acquire() as connection:
        await connection.executemany(
            "INSERT INTO gateway.party (id, kind, name, created_at) VALUES ($1, $2, $1, now())",
            [("DE-ABC", "cpo"), ("parking", "demand_partner")],
        )
    psp, clock = StrictPsp(), Hands()
    payments = build_payments(pool=pool, psp=psp, tariffs=OneTariff(), clock=clock, policy=PaymentPolicy())
    return House(pool=pool, psp=psp, clock=clock, payments=payments)


async def run_errands(house: House, *, rounds: int = 8) -> None:
    """The worker's rounds: what is unknown is asked again, errands of capture and collection are done."""
    errands = Errands(pool=house.pool, clock=house.clock, payments=house.payments, cdrs=cast("Any", None))
    for _ in range(rounds):
        await house.resolve()
        for kind, do in (("capture", errands.capture), ("collect", errands.collect)):
            lane = ErrandLane(name=kind, pool=house.pool, clock=house.clock, lease_s=60, at_once=4, do=do)
            await lane.run_once()
        house.clock.at += timedelta(hours=1)


async def session_of(house: House, view: Any) -> Any:
    return await house.payments.get_session(party_id="parking", session_id=view.session.id)


def standing(house: House) -> list[str]:
    return [one.id for one in house.psp.payments.values() if one.status == "held"]


async def refund(house: House, view: Any, amount: int | None) -> Any:
    return await house.payments.refunds.refund(
        RefundRequest(
            refund_id=new_id(),
            session_id=view.session.id,
            amount_minor=amount,
            reason=RefundReason.REQUESTED_BY_DRIVER,
        ),
        party_id="parking",
    )


async def test_a_capture_refused_to_the_errand_parks_its_session(house: House) -> None:
    house.psp.faults.append("before")
    view = await house.authorize(payment=PspMethod(payment_method="pm_late_decline"))
    await house.complete(view)  # the hold is not known yet: the errand captures, and hears no
    await run_errands(house)
    after = await session_of(house, view)
    assert (after.session.state, list(after.session.flags)[-1:]) == ("parked", ["unpaid"])
    assert not await house.rows("task")


async def test_an_errand_whose_capture_was_not_answered_outlives_a_late_no(house: House) -> None:
    house.psp.faults.extend(["before", None, "after"])
    view = await house.authorize(payment=PspMethod(payment_method="pm_late_decline"))
    await house.complete(view)
    await run_errands(house)
    after = await session_of(house, view)
    assert (after.session.state, list(after.session.flags)[-1:]) == ("parked", ["unpaid"])


async def test_a_refused_capture_leaves_no_hold_standing(house: House) -> None:
    view = await house.authorize()
    done = await house.complete(view, kwh="0.2")
    assert done.session.price_minor < _LEAST_CHARGE_MINOR
    await run_errands(house)
    after = await session_of(house, view)
    assert (after.session.state, standing(house)) == ("parked", [])


async def test_a_challenge_that_failed_cannot_be_passed_later_for_nobody(house: House) -> None:
    view = await house.authorize(payment=PspMethod(payment_method="pm_challenge"))
    payment = house.psp.payments[view.authorization.psp_payment or ""]
    payment.status = "refused"
    await house.payments.hearing.heard_from_psp(psp_payment=payment.id)
    await run_errands(house, rounds=1)
    assert (await session_of(house, view)).authorization.state == "failed"
    assert payment.status == "canceled"


async def test_a_renewal_answered_after_the_hold_ended_leaves_no_hold_standing(house: House) -> None:
    house.psp.capture_before = START + timedelta(hours=6)
    view = await house.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    house.psp.faults.append("after")
    lane, authorization_id = view.session.lane, view.authorization.id
    await house.payments.holds.look_after(lane=lane, authorization_id=authorization_id)
    house.psp.payments[view.authorization.psp_payment or ""].status = "canceled"  # the scheme ended it
    await house.payments.holds.look_after(lane=lane, authorization_id=authorization_id)
    house.clock.at += timedelta(seconds=40)
    await run_errands(house, rounds=2)
    state = (await session_of(house, view)).authorization.state
    assert (state, standing(house)) == ("voided", [])


async def test_a_renewal_that_was_never_answered_is_looked_up_and_not_forgotten(house: House) -> None:
    house.psp.capture_before = START + timedelta(hours=6)
    view = await house.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    house.psp.faults.append("after")
    await house.payments.holds.look_after(lane=view.session.lane, authorization_id=view.authorization.id)
    house.clock.at += timedelta(hours=24)
    await run_errands(house, rounds=2)
    renewed = (await session_of(house, view)).authorization
    assert renewed.psp_payment != view.authorization.psp_payment
    assert standing(house) == [renewed.psp_payment]


async def test_one_cdr_never_ends_two_sessions(house: House) -> None:
    first, second = await house.authorize(), await house.authorize()
    await house.complete(first, cdr_id="SAME")
    with pytest.raises(CdrRefusedError, match="SAME"):
        await house.complete(second, cdr_id="SAME")
    assert (await session_of(house, second)).session.state == "active"
    assert house.psp.capture_effects == 1


async def test_nothing_is_refunded_while_a_rest_is_still_to_be_collected(house: House) -> None:
    view = await house.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    await house.complete(view, kwh="60")
    with pytest.raises(StateConflictError, match="off-session"):
        await refund(house, view, None)
    await run_errands(house, rounds=2)
    assert house.psp.charged_minor == 3570 - 2380
    assert (await refund(house, view, 2380)).state == "succeeded"


async def test_a_funding_under_a_known_reference_moves_no_money_again(house: House) -> None:
    psp = cast("StrictPsp", house.psp)
    funding = Funding(pool=house.pool, clock=house.clock, psp=psp, clearing=ClearingService())

    async def fund(*, amount: int = 700) -> int:
        account = await funding.fund_partner(
            funding_id=new_id(), party_id="parking", currency="EUR", amount_minor=amount, reference="INV-1"
        )
        return account.balance_minor

    assert [await fund(), await fund()] == [700, 700]
    assert len(psp.topups) == 1
    with pytest.raises(StateConflictError, match="INV-1"):
        await fund(amount=701)
    assert len(psp.topups) == 1


async def test_two_partners_may_use_the_same_reference(house: House) -> None:
    clearing = ClearingService()
    funding = Funding(pool=house.pool, clock=house.clock, psp=house.psp, clearing=clearing)
    async with house.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO gateway.party (id, kind, name, created_at) "
            "VALUES ('superapp', 'demand_partner', 's', now())"
        )
    for party, amount in (("parking", 700), ("superapp", 300)):
        await funding.fund_partner(
            funding_id=new_id(), party_id=party, currency="EUR", amount_minor=amount, reference="INV-1"
        )
    async with house.pool.acquire() as connection:
        booked = {one.account: one.minor for one in await clearing.balances(connection, prefix="psp:")}
    assert list(booked.values()) == [-1000]


async def test_the_platforms_own_money_is_brought_in_once_a_reference(house: House) -> None:
    psp = cast("StrictPsp", house.psp)
    funding = Funding(pool=house.pool, clock=house.clock, psp=psp, clearing=ClearingService())
    psp.faults.append("after")
    with pytest.raises(PspUnavailableError):
        await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    for _ in range(2):
        await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    assert [order.amount_minor for order in psp.topups.values()] == [900]
    house.clock.at += timedelta(days=3)  # the PSP has forgotten its keys
    psp.topups.clear()
    await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    assert not psp.topups


async def test_a_correction_waits_while_the_psp_is_being_asked_something(house: House) -> None:
    view = await house.authorize()
    await house.complete(view)
    house.psp.faults.append("after")
    assert (await refund(house, view, 100)).state == "requested"
    async with house.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = 'cleared'")
    session = (await session_of(house, view)).session
    new = cdr(kwh="10", cdr_id="C2")
    waits = await house.payments.late.correct(session, cdr_raw=new, cdr_version="2.2.1")
    assert waits is not None
    assert "not answered yet" in waits
    await run_errands(house, rounds=2)
    assert await house.payments.late.correct(session, cdr_raw=new, cdr_version="2.2.1") is None
    assert house.psp.refunded_minor == 1190 - 595


async def test_a_session_whose_capture_was_refused_can_be_corrected(house: House) -> None:
    view = await house.authorize(payment=PspMethod(payment_method="pm_late_decline"))
    await house.complete(view)
    await run_errands(house)
    session = (await session_of(house, view)).session
    new = cdr(kwh="10", cdr_id="C2")
    assert await house.payments.late.correct(session, cdr_raw=new, cdr_version="2.2.1") is None
    after = (await session_of(house, view)).session
    assert (after.price_minor, after.state) == (595, "parked")


async def test_a_correcting_cdr_never_ends_or_corrects_a_second_session(house: House) -> None:
    house.psp.faults.append("before")
    first = await house.authorize()
    await house.complete(first, cdr_id="C1")
    second = await house.authorize()
    session = (await session_of(house, first)).session
    await house.payments.late.correct(session, cdr_raw=cdr(kwh="10", cdr_id="C2"), cdr_version="2.2.1")
    with pytest.raises(CdrRefusedError, match="C2"):
        await house.complete(second, cdr_id="C2")
    await house.complete(second, cdr_id="C3")
    session = (await session_of(house, first)).session
    with pytest.raises(CdrRefusedError, match="C3"):
        await house.payments.late.correct(session, cdr_raw=cdr(kwh="9", cdr_id="C3"), cdr_version="2.2.1")


async def test_a_correction_that_clearing_does_not_survive_holds_up_no_other(house: House) -> None:
    views = [await house.authorize() for _ in range(2)]
    for at, view in enumerate(views):
        await house.complete(view, cdr_id=f"C{at}")
        await refund(house, view, 100 + at)
    async with house.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = 'cleared'")
    posted: list[int] = []

    class Books:
        async def refund_session(self, *_: Any, minor: int, **__: Any) -> None:
            if minor == 100:
                raise ZeroDivisionError("a refund nobody foresaw")
            posted.append(minor)

    lane = CorrectionLane(pool=house.pool, clock=house.clock, clearing=cast("Any", Books()))
    await lane.run_once()
    left = [task for task in await house.rows("task") if task["kind"] == "correct"]
    assert posted == [101]
    assert [task["last_error"] for task in left] == ["ZeroDivisionError: a refund nobody foresaw"]


async def test_a_raised_hold_whose_answer_came_too_late_is_captured_whole(house: House) -> None:
    view = await house.authorize(payment=PspMethod(payment_method="pm_increment"))
    house.psp.faults.append("after")
    await house.complete(view, kwh="60")
    house.clock.at += timedelta(hours=24)
    await run_errands(house, rounds=2)
    capture = (await session_of(house, view)).capture
    assert (capture.amount_minor, capture.receivable_minor) == (3570, 0)


async def test_a_call_that_cannot_be_asked_holds_up_no_other(house: House) -> None:
    psp = cast("StrictPsp", house.psp)
    psp.faults.extend(["before", "before", "before"])
    views = [await house.authorize(authorization_id=new_id(lane=7)) for _ in range(3)]
    psp.poison = views[0].authorization.id
    house.clock.at += timedelta(minutes=1)
    for _ in range(2):
        await house.resolve()
    states = [(await session_of(house, view)).authorization.state.value for view in views]
    assert states == ["outcome_unknown", "authorized", "authorized"]


async def test_a_correction_gives_back_what_was_charged_off_session_too(house: House) -> None:
    view = await house.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    await house.complete(view, kwh="60")
    await run_errands(house, rounds=2)
    async with house.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = 'cleared'")
    session = (await session_of(house, view)).session
    new = cdr(kwh="10", cdr_id="C2")
    for _ in range(3):
        await house.payments.late.correct(session, cdr_raw=new, cdr_version="2.2.1")
    assert house.psp.refunded_minor == 3570 - 595
    assert {row["state"] for row in await house.rows("refund")} == {"succeeded"}
    assert (await session_of(house, view)).session.price_minor == 595


async def test_both_charges_of_a_session_can_be_refunded_and_neither_twice(house: House) -> None:
    view = await house.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    await house.complete(view, kwh="60")
    await run_errands(house, rounds=2)
    with pytest.raises(RefundBoundError, match="two charges"):
        await refund(house, view, 3570)
    assert [(await refund(house, view, None)).amount_minor for _ in range(2)] == [2380, 1190]
    with pytest.raises(RefundBoundError):
        await refund(house, view, 1)
    assert (house.psp.refunded_minor, {row["state"] for row in await house.rows("refund")}) == (
        3570,
        {"succeeded"},
    )


async def test_a_reversal_at_the_psp_waits_for_the_refund_it_collides_with(house: House) -> None:
    view = await house.authorize()
    await house.complete(view)
    house.psp.faults.append("before")
    ours = await refund(house, view, None)
    news = ReversalNews(psp_refund="re_dashboard", amount_minor=1190, currency="EUR")
    lane, session_id = view.session.lane, view.session.id
    assert await house.payments.refunds.reversed_by_psp(news, lane=lane, session_id=session_id)
    cast("StrictPsp", house.psp).given_back[f"ch_{view.authorization.psp_payment}"] = 1190
    await run_errands(house, rounds=2)
    assert (await house.payments.refunds.get(party_id=None, refund_id=ours.id)).state == "failed"
    for _ in range(2):
        assert await house.payments.refunds.reversed_by_psp(news, lane=lane, session_id=session_id) is None
    assert (await session_of(house, view)).capture.refunded_minor == 1190


async def test_the_audit_names_a_price_that_nothing_will_take(house: House) -> None:
    house.psp.faults.append("before")
    view = await house.authorize(payment=PspMethod(payment_method="pm_late_decline"))
    await house.complete(view)

    async def named() -> list[str]:
        found = await audit_house(house.pool, clearing=ClearingService(), clock=house.clock, psp=None)
        return [one.subject for one in found.findings if one.check == "price_not_forgotten"]

    assert await named() == []
    async with house.pool.acquire() as connection:
        await connection.execute(
            "UPDATE gateway.psp_call SET state = 'declined', finished_at = now(), next_ask_at = NULL"
        )
        assert await named() == []
        await connection.execute("DELETE FROM gateway.task")
    assert await named() == [format_id("ses", view.session.id)]


async def test_a_hold_that_cannot_be_looked_after_holds_up_no_other(house: House) -> None:
    house.psp.capture_before = START + timedelta(hours=6)
    views = [
        await house.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1")) for _ in range(2)
    ]
    cast("StrictPsp", house.psp).poison = views[0].authorization.id
    house.psp.capture_before = START + timedelta(days=7)
    await HoldWatchLane(clock=house.clock, payments=house.payments).run_once()
    await run_errands(house, rounds=1)
    ends = [(await session_of(house, view)).authorization.capture_before for view in views]
    assert ends == [START + timedelta(hours=6), START + timedelta(days=7)]


async def test_an_event_that_cannot_be_read_holds_up_no_other(house: House) -> None:
    class Telling(StrictPsp):
        @override
        async def events_since(self, *, since: datetime, limit: int) -> list[bytes] | OutcomeUnknown:
            return [b"bent", b"evt_2"]

        @override
        def parse_event(self, body: bytes) -> PspEvent:
            if body == b"bent":
                raise ValueError("an amount nobody foresaw")
            return super().parse_event(body)

    payments = build_payments(
        pool=house.pool, psp=Telling(), tariffs=OneTariff(), clock=house.clock, policy=PaymentPolicy()
    )
    assert await PspSweepLane(clock=house.clock, payments=payments).run_once() == 1
    assert [row["id"] for row in await house.rows("psp_event")] == ["evt_2"]


async def test_the_fee_of_a_charge_off_session_is_kept_without_the_captures_own(
    house: House,
) -> None:
    class Silent(StrictPsp):
        @override
        def _capture(self, order: CaptureOrder) -> CaptureOutcome:
            taken = super()._capture(order)
            assert isinstance(taken, Captured)
            return replace(taken, fee_minor=None, fee_currency=None)

    payments = build_payments(
        pool=house.pool, psp=Silent(), tariffs=OneTariff(), clock=house.clock, policy=PaymentPolicy()
    )
    own = replace(house, payments=payments)
    view = await own.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    await own.complete(view, kwh="60")
    await run_errands(own, rounds=1)
    (capture,) = await own.rows("capture")
    assert (capture["collected_minor"], capture["fee_minor"], capture["fee_currency"]) == (1190, 25, "EUR")


async def test_a_session_that_clearing_has_set_aside_is_corrected_only_once_it_is_cleared(
    house: House,
) -> None:
    view = await house.authorize()
    await house.complete(view)
    for state, refunded in (("parked", 0), ("cleared", 595)):
        async with house.pool.acquire() as connection:
            await connection.execute("UPDATE gateway.session SET state = $1", state)
        session = (await session_of(house, view)).session
        waits = await house.payments.late.correct(
            session, cdr_raw=cdr(kwh="10", cdr_id="C2"), cdr_version="2.2.1"
        )
        assert (waits is None, house.psp.refunded_minor) == (state == "cleared", refunded)
