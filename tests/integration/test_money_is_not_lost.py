"""Where money could be lost, captured twice or lost: rare sequences of events on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from typing_extensions import override

from clearing.ledger import service as ledger_service
from gateway.audit.daily_audit import audit_daily
from gateway.audit.system_audit import audit_system
from gateway.database import Pool
from gateway.ids import format_id, new_id
from gateway.jobs.hold_monitor import HoldMonitorJob
from gateway.jobs.psp_event_poll import PspEventPollJob
from gateway.payments.errors import (
    CdrRejectedError,
    PaymentConflictError,
    PspUnavailableError,
    RefundBoundError,
)
from gateway.payments.funding import FundingService
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp.dispute_port import ReversalUpdate
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import (
    Captured,
    CaptureOutcome,
    HoldOutcome,
    IncrementOutcome,
    PspCaptureRequest,
    PspEvent,
    PspHoldRequest,
    PspIncrementRequest,
    PspRefundRequest,
    PspTopUpRequest,
    PspVoidRequest,
    RefundOutcome,
    ToppedUp,
    TopUpOutcome,
    Voided,
    VoidOutcome,
)
from gateway.payments.refund import RefundReason, RefundRequest
from gateway.payments.requests import PspMethod
from gateway.payments.service import build_payments
from gateway.task_kinds import TaskKind
from tests.fakes.api import START, OneTariff, open_api
from tests.fakes.parties import add_parties
from tests.fakes.psp import FakePsp, Payment
from tests.fakes.tasks import correction_job, jobs_by_kind
from tests.integration.test_payments import Hands, System, cdr

_LEAST_CHARGE_MINOR = 50


class StrictPsp(FakePsp):
    """A PSP that rejects captures below its least charge, and remembers top-ups by key."""

    def __init__(self) -> None:
        super().__init__()
        self.topups: dict[str, PspTopUpRequest] = {}
        self.given_back: dict[str, int] = {}
        self.poison: UUID | None = None

    @override
    def _capture(self, request: PspCaptureRequest) -> CaptureOutcome:
        if request.amount_minor < _LEAST_CHARGE_MINOR:
            return Declined(code="amount_too_small", retryable=False)
        return super()._capture(request)

    @override
    async def hold(self, request: PspHoldRequest) -> HoldOutcome:
        if request.authorization_id == self.poison:
            raise RuntimeError("an answer nobody foresaw")
        return await super().hold(request)

    @override
    async def inspect(self, *, psp_payment: str) -> HoldOutcome | Captured | Voided:
        if self.payments[psp_payment].status == "rejected":
            return Declined(code="authentication_failed", retryable=True)
        return await super().inspect(psp_payment=psp_payment)

    @override
    def _void(self, request: PspVoidRequest) -> VoidOutcome:
        payment = self.payments[request.psp_payment]
        if payment.status == "rejected":
            payment.status = "held"  # it is open at the PSP, and may be given up
        return super()._void(request)

    @override
    def _increment(self, request: PspIncrementRequest) -> IncrementOutcome:
        if request.amount_minor <= self.payments[request.psp_payment].held_minor:
            return Declined(code="amount_too_small", retryable=False)  # no increment
        return super()._increment(request)

    @override
    def by_authorization(self, authorization_id: UUID) -> Payment | None:
        found = [one for one in self.payments.values() if one.request.authorization_id == authorization_id]
        return found[-1] if found else None

    @override
    def _refund(self, request: PspRefundRequest) -> RefundOutcome:
        captured = {f"ch_{one.id}": one.captured_minor for one in self.payments.values()}
        captured |= {one.psp_charge: one.amount_minor for one in self.extra.values()}
        back = self.given_back.get(request.psp_charge, 0) + request.amount_minor
        if back > captured[request.psp_charge]:
            return Declined(code="charge_already_refunded", retryable=False)
        self.given_back[request.psp_charge] = back
        return super()._refund(request)

    @override
    async def top_up(self, request: PspTopUpRequest) -> TopUpOutcome:
        fault = self.faults.popleft() if self.faults else None
        if fault == "before":
            return PspOutcomeUnknown(reason="timeout")
        self.topups.setdefault(request.idempotency_key, request)
        return PspOutcomeUnknown(reason="timeout") if fault else ToppedUp(psp_topup=request.idempotency_key)


@pytest.fixture
async def system(pool: Pool) -> System:
    async with pool.acquire() as connection:
        await add_parties(connection, {"DE-ABC": "cpo", "parking": "demand_partner"})
    psp, clock = StrictPsp(), Hands()
    payments = build_payments(
        pool=pool, psp=psp, tariffs=OneTariff(), clock=clock, policy=PaymentPolicy(), checked=False
    )
    return System(pool=pool, psp=psp, clock=clock, payments=payments)


async def run_tasks(system: System, *, rounds: int = 8) -> None:
    """The worker's rounds: what is unknown is sent again, tasks of capture and residual charge are done."""
    jobs = jobs_by_kind(system.pool, system.clock, payments=system.payments)
    for _ in range(rounds):
        await system.resolve()
        for kind in (TaskKind.CAPTURE_SESSION, TaskKind.CHARGE_RESIDUAL):
            await jobs[kind].run_once()
        system.clock.at += timedelta(hours=1)


async def session_of(system: System, view: Any) -> Any:
    return await system.payments.get_session(party_id="parking", session_id=view.session.id)


def current(system: System) -> list[str]:
    return [one.id for one in system.psp.payments.values() if one.status == "held"]


async def refund(system: System, view: Any, amount: int | None) -> Any:
    return await system.payments.refunds.refund(
        RefundRequest(
            refund_id=new_id(),
            session_id=view.session.id,
            amount_minor=amount,
            reason=RefundReason.REQUESTED_BY_DRIVER,
        ),
        party_id="parking",
    )


async def test_a_capture_rejected_to_the_task_makes_its_session_an_exception(system: System) -> None:
    system.psp.faults.append("before")
    view = await system.authorize(payment=PspMethod(payment_method="pm_late_decline"))
    await system.complete(view)  # the hold is not known yet: the task captures, and is rejected
    await run_tasks(system)
    after = await session_of(system, view)
    assert (after.session.state, list(after.session.flags)[-1:]) == ("exception", ["unpaid"])
    assert not await system.rows("task")


async def test_a_task_whose_capture_was_not_answered_outlives_a_late_rejection(system: System) -> None:
    system.psp.faults.extend(["before", None, "after"])
    view = await system.authorize(payment=PspMethod(payment_method="pm_late_decline"))
    await system.complete(view)
    await run_tasks(system)
    after = await session_of(system, view)
    assert (after.session.state, list(after.session.flags)[-1:]) == ("exception", ["unpaid"])


async def test_a_rejected_capture_leaves_no_active_hold(system: System) -> None:
    view = await system.authorize()
    done = await system.complete(view, kwh="0.2")
    assert done.session.price_minor < _LEAST_CHARGE_MINOR
    await run_tasks(system)
    after = await session_of(system, view)
    assert (after.session.state, current(system)) == ("exception", [])


async def test_a_challenge_that_failed_cannot_be_passed_later_for_nobody(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_challenge"))
    payment = system.psp.payments[view.authorization.psp_payment or ""]
    payment.status = "rejected"
    await system.payments.psp_events.sync_payment(psp_payment=payment.id)
    await run_tasks(system, rounds=1)
    assert (await session_of(system, view)).authorization.state == "failed"
    assert payment.status == "canceled"


async def test_a_renewal_answered_after_the_hold_ended_leaves_no_active_hold(system: System) -> None:
    system.psp.capture_before = START + timedelta(hours=6)
    view = await system.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    system.psp.faults.append("after")
    shard, authorization_id = view.session.shard, view.authorization.id
    await system.payments.holds.check_hold(shard=shard, authorization_id=authorization_id)
    system.psp.payments[view.authorization.psp_payment or ""].status = "canceled"  # the scheme ended it
    await system.payments.holds.check_hold(shard=shard, authorization_id=authorization_id)
    system.clock.at += timedelta(seconds=40)
    await run_tasks(system, rounds=2)
    state = (await session_of(system, view)).authorization.state
    assert (state, current(system)) == ("voided", [])


async def test_a_renewal_that_was_never_answered_is_looked_up_and_not_lost(system: System) -> None:
    system.psp.capture_before = START + timedelta(hours=6)
    view = await system.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    system.psp.faults.append("after")
    await system.payments.holds.check_hold(shard=view.session.shard, authorization_id=view.authorization.id)
    system.clock.at += timedelta(hours=24)
    await run_tasks(system, rounds=2)
    renewed = (await session_of(system, view)).authorization
    assert renewed.psp_payment != view.authorization.psp_payment
    assert current(system) == [renewed.psp_payment]


async def test_one_cdr_never_ends_two_sessions(system: System) -> None:
    first, second = await system.authorize(), await system.authorize()
    await system.complete(first, cdr_id="SAME")
    with pytest.raises(CdrRejectedError, match="SAME"):
        await system.complete(second, cdr_id="SAME")
    assert (await session_of(system, second)).session.state == "active"
    assert system.psp.capture_effects == 1


async def test_nothing_is_refunded_while_a_residual_charge_is_still_to_come(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    await system.complete(view, kwh="60")
    with pytest.raises(PaymentConflictError, match="residual charge"):
        await refund(system, view, None)
    await run_tasks(system, rounds=2)
    assert system.psp.charged_minor == 3570 - 2380
    assert (await refund(system, view, 2380)).state == "succeeded"


async def test_a_funding_under_a_known_reference_moves_no_money_again(system: System) -> None:
    psp = cast("StrictPsp", system.psp)
    funding = FundingService(pool=system.pool, clock=system.clock, psp=psp)

    async def fund(*, amount: int = 700) -> int:
        account = await funding.fund_partner(
            funding_id=new_id(), party_id="parking", currency="EUR", amount_minor=amount, reference="INV-1"
        )
        return account.balance_minor

    assert [await fund(), await fund()] == [700, 700]
    assert len(psp.topups) == 1
    with pytest.raises(PaymentConflictError, match="INV-1"):
        await fund(amount=701)
    assert len(psp.topups) == 1


async def test_two_partners_may_use_the_same_reference(system: System) -> None:
    funding = FundingService(pool=system.pool, clock=system.clock, psp=system.psp)
    async with system.pool.acquire() as connection:
        await add_parties(connection, {"superapp": "demand_partner"})
    for party, amount in (("parking", 700), ("superapp", 300)):
        await funding.fund_partner(
            funding_id=new_id(), party_id=party, currency="EUR", amount_minor=amount, reference="INV-1"
        )
    async with system.pool.acquire() as connection:
        booked = {
            one.account: one.minor for one in await ledger_service.list_balances(connection, prefix="psp:")
        }
    assert list(booked.values()) == [-1000]


async def test_the_platforms_own_money_is_brought_in_once_a_reference(system: System) -> None:
    psp = cast("StrictPsp", system.psp)
    funding = FundingService(pool=system.pool, clock=system.clock, psp=psp)
    psp.faults.append("after")
    with pytest.raises(PspUnavailableError):
        await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    for _ in range(2):
        await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    assert [request.amount_minor for request in psp.topups.values()] == [900]
    system.clock.at += timedelta(days=3)  # the PSP has forgotten its keys
    psp.topups.clear()
    await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    assert not psp.topups


async def test_a_correction_waits_while_a_request_to_the_psp_is_open(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    system.psp.faults.append("after")
    assert (await refund(system, view, 100)).state == "requested"
    async with system.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = 'cleared'")
    session = (await session_of(system, view)).session
    new = cdr(kwh="10", cdr_id="C2")
    waits = await system.payments.cdr_corrections.correct(session, cdr_raw=new, cdr_version="2.2.1")
    assert waits is not None
    assert "not answered yet" in waits
    await run_tasks(system, rounds=2)
    assert await system.payments.cdr_corrections.correct(session, cdr_raw=new, cdr_version="2.2.1") is None
    assert system.psp.refunded_minor == 1190 - 595


async def test_a_session_whose_capture_was_rejected_can_be_corrected(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_late_decline"))
    await system.complete(view)
    await run_tasks(system)
    session = (await session_of(system, view)).session
    new = cdr(kwh="10", cdr_id="C2")
    assert await system.payments.cdr_corrections.correct(session, cdr_raw=new, cdr_version="2.2.1") is None
    after = (await session_of(system, view)).session
    assert (after.price_minor, after.state) == (595, "exception")


async def test_a_correcting_cdr_never_ends_or_corrects_a_second_session(system: System) -> None:
    system.psp.faults.append("before")
    first = await system.authorize()
    await system.complete(first, cdr_id="C1")
    second = await system.authorize()
    session = (await session_of(system, first)).session
    await system.payments.cdr_corrections.correct(
        session, cdr_raw=cdr(kwh="10", cdr_id="C2"), cdr_version="2.2.1"
    )
    with pytest.raises(CdrRejectedError, match="C2"):
        await system.complete(second, cdr_id="C2")
    await system.complete(second, cdr_id="C3")
    session = (await session_of(system, first)).session
    with pytest.raises(CdrRejectedError, match="C3"):
        await system.payments.cdr_corrections.correct(
            session, cdr_raw=cdr(kwh="9", cdr_id="C3"), cdr_version="2.2.1"
        )


async def test_a_correction_that_clearing_does_not_survive_keeps_no_other_waiting(system: System) -> None:
    views = [await system.authorize() for _ in range(2)]
    for at, view in enumerate(views):
        await system.complete(view, cdr_id=f"C{at}")
        await refund(system, view, 100 + at)
    async with system.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = 'cleared'")
    posted: list[int] = []

    class Books:
        async def refund(self, *_: Any, minor: int, **__: Any) -> None:
            if minor == 100:
                raise ZeroDivisionError("a refund nobody foresaw")
            posted.append(minor)

    await correction_job(system.pool, system.clock, Books()).run_once()
    left = [task for task in await system.rows("task") if task["kind"] == "book_correction"]
    assert posted == [101]
    assert [task["last_error"] for task in left] == ["ZeroDivisionError: a refund nobody foresaw"]


async def test_a_raised_hold_whose_answer_came_too_late_is_captured_whole(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_increment"))
    system.psp.faults.append("after")
    await system.complete(view, kwh="60")
    system.clock.at += timedelta(hours=24)
    await run_tasks(system, rounds=2)
    capture = (await session_of(system, view)).capture
    assert (capture.amount_minor, capture.receivable_minor) == (3570, 0)


async def test_a_request_that_cannot_be_sent_keeps_no_other_waiting(system: System) -> None:
    psp = cast("StrictPsp", system.psp)
    psp.faults.extend(["before", "before", "before"])
    views = [await system.authorize(authorization_id=new_id(shard=7)) for _ in range(3)]
    psp.poison = views[0].authorization.id
    system.clock.at += timedelta(minutes=1)
    for _ in range(2):
        await system.resolve()
    states = [(await session_of(system, view)).authorization.state.value for view in views]
    assert states == ["outcome_unknown", "authorized", "authorized"]


async def test_a_correction_gives_back_what_was_charged_off_session_too(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    await system.complete(view, kwh="60")
    await run_tasks(system, rounds=2)
    async with system.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = 'cleared'")
    session = (await session_of(system, view)).session
    new = cdr(kwh="10", cdr_id="C2")
    for _ in range(3):
        await system.payments.cdr_corrections.correct(session, cdr_raw=new, cdr_version="2.2.1")
    assert system.psp.refunded_minor == 3570 - 595
    assert {row["state"] for row in await system.rows("refund")} == {"succeeded"}
    assert (await session_of(system, view)).session.price_minor == 595


async def test_both_charges_of_a_session_can_be_refunded_and_neither_twice(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    await system.complete(view, kwh="60")
    await run_tasks(system, rounds=2)
    with pytest.raises(RefundBoundError, match="two charges"):
        await refund(system, view, 3570)
    assert [(await refund(system, view, None)).amount_minor for _ in range(2)] == [2380, 1190]
    with pytest.raises(RefundBoundError):
        await refund(system, view, 1)
    assert (system.psp.refunded_minor, {row["state"] for row in await system.rows("refund")}) == (
        3570,
        {"succeeded"},
    )


async def test_a_reversal_at_the_psp_waits_for_the_refund_it_collides_with(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    system.psp.faults.append("before")
    ours = await refund(system, view, None)
    update = ReversalUpdate(psp_refund="re_dashboard", amount_minor=1190, currency="EUR")
    shard, session_id = view.session.shard, view.session.id
    assert await system.payments.refunds.record_reversal(update, shard=shard, session_id=session_id)
    cast("StrictPsp", system.psp).given_back[f"ch_{view.authorization.psp_payment}"] = 1190
    await run_tasks(system, rounds=2)
    assert (await system.payments.refunds.get(party_id=None, refund_id=ours.id)).state == "failed"
    for _ in range(2):
        assert (
            await system.payments.refunds.record_reversal(update, shard=shard, session_id=session_id) is None
        )
    assert (await session_of(system, view)).capture.refunded_minor == 1190


async def test_the_audit_names_a_price_that_nothing_will_take(system: System) -> None:
    system.psp.faults.append("before")
    view = await system.authorize(payment=PspMethod(payment_method="pm_late_decline"))
    await system.complete(view)

    async def named() -> list[str]:
        found = await audit_system(system.pool, clock=system.clock, psp=None)
        return [one.subject for one in found.findings if one.check == "price_is_captured"]

    assert await named() == []
    async with system.pool.acquire() as connection:
        await connection.execute(
            "UPDATE gateway.psp_request SET state = 'declined', finished_at = now(), next_attempt_at = NULL"
        )
        assert await named() == []
        await connection.execute("DELETE FROM gateway.task")
    assert await named() == [format_id("ses", view.session.id)]


@pytest.mark.parametrize(
    ("method", "check"), [("pm_late_decline", "price_is_captured"), ("pm_good", "capture_is_cleared")]
)
async def test_both_audits_name_an_exception_that_the_queue_lacks(
    system: System, method: str, check: str
) -> None:
    view = await system.authorize(payment=PspMethod(payment_method=method))
    await system.complete(view)
    await run_tasks(system)
    async with system.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = 'exception', exception_at = now()")
        await connection.execute("DELETE FROM gateway.task")

    async def named() -> set[str]:
        whole = await audit_system(system.pool, clock=system.clock, psp=None)
        daily = await audit_daily(system.pool, clock=system.clock, psp=None)
        found = {one.subject for one in whole.findings if one.check == check}
        assert found == {one.subject for one in daily.audit.findings if one.check == check}
        return found

    assert await named() == set()
    async with system.pool.acquire() as connection:  # as the release before marks it
        await connection.execute("UPDATE gateway.session SET exception_at = NULL")
    assert await named() == {format_id("ses", view.session.id)}


async def test_a_hold_that_cannot_be_looked_after_holds_up_no_other(system: System) -> None:
    system.psp.capture_before = START + timedelta(hours=6)
    views = [
        await system.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
        for _ in range(2)
    ]
    cast("StrictPsp", system.psp).poison = views[0].authorization.id
    system.psp.capture_before = START + timedelta(days=7)
    await HoldMonitorJob(clock=system.clock, payments=system.payments).run_once()
    await run_tasks(system, rounds=1)
    ends = [(await session_of(system, view)).authorization.capture_before for view in views]
    assert ends == [START + timedelta(hours=6), START + timedelta(days=7)]


async def test_an_event_that_cannot_be_read_holds_up_no_other(system: System) -> None:
    class Telling(StrictPsp):
        @override
        async def event_pages_since(
            self, *, since: datetime, limit: int
        ) -> AsyncIterator[Sequence[bytes] | PspOutcomeUnknown]:
            yield [b"bent", b"evt_2"]

        @override
        def parse_event(self, body: bytes) -> PspEvent:
            if body == b"bent":
                raise ValueError("an amount nobody foresaw")
            return super().parse_event(body)

    payments = build_payments(
        pool=system.pool,
        psp=Telling(),
        tariffs=OneTariff(),
        clock=system.clock,
        policy=PaymentPolicy(),
        checked=False,
    )
    assert await PspEventPollJob(clock=system.clock, payments=payments).run_once() == 1
    assert [row["id"] for row in await system.rows("psp_event")] == ["evt_2"]


async def test_the_fee_of_a_charge_off_session_is_kept_without_the_captures_own(
    system: System,
) -> None:
    class Silent(StrictPsp):
        @override
        def _capture(self, request: PspCaptureRequest) -> CaptureOutcome:
            captured = super()._capture(request)
            assert isinstance(captured, Captured)
            return replace(captured, fee_minor=None, fee_currency=None)

    payments = build_payments(
        pool=system.pool,
        psp=Silent(),
        tariffs=OneTariff(),
        clock=system.clock,
        policy=PaymentPolicy(),
        checked=False,
    )
    own = replace(system, payments=payments)
    view = await own.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    await own.complete(view, kwh="60")
    await run_tasks(own, rounds=1)
    (capture,) = await own.rows("capture")
    assert (capture["residual_charge_minor"], capture["fee_minor"], capture["fee_currency"]) == (
        1190,
        25,
        "EUR",
    )


async def test_a_session_that_clearing_has_set_aside_is_corrected_only_once_it_is_cleared(
    system: System,
) -> None:
    view = await system.authorize()
    await system.complete(view)
    for state, refunded in (("exception", 0), ("cleared", 595)):
        async with system.pool.acquire() as connection:
            await connection.execute("UPDATE gateway.session SET state = $1", state)
        session = (await session_of(system, view)).session
        waits = await system.payments.cdr_corrections.correct(
            session, cdr_raw=cdr(kwh="10", cdr_id="C2"), cdr_version="2.2.1"
        )
        assert (waits is None, system.psp.refunded_minor) == (state == "cleared", refunded)


async def test_a_session_that_is_authorized_again_is_active_in_the_answer_as_in_the_database(
    system: System,
) -> None:
    view = await system.authorize(session_ref="R1")
    await system.payments.release(party_id="parking", authorization_id=view.authorization.id)
    again = await system.authorize(session_ref="R1")
    (row,) = await system.rows("session")
    assert again.session.state == row["state"] == "active"


async def test_a_hold_that_was_raised_while_it_is_checked_is_not_renewed_at_its_old_amount(
    system: System,
) -> None:
    system.psp.capture_before = START + timedelta(days=1)
    view = await system.authorize(payment=PspMethod(payment_method="pm_increment", customer="cus_1"))
    inspect = system.psp.inspect

    async def raised_meanwhile(*, psp_payment: str) -> Any:
        found = await inspect(psp_payment=psp_payment)
        await system.payments.increment(
            party_id="parking",
            authorization_id=view.authorization.id,
            amount_minor=9000,
            expected_version=None,
        )
        return found

    system.psp.inspect = raised_meanwhile  # type: ignore[method-assign]
    place = {"shard": view.session.shard, "authorization_id": view.authorization.id}
    await system.payments.holds.check_hold(**place)
    system.psp.inspect = inspect  # type: ignore[method-assign]

    async def held() -> tuple[int, int]:
        after = await system.payments.get_authorization(
            party_id="parking", authorization_id=view.authorization.id
        )
        psp_payment = after.authorization.psp_payment or ""
        return after.authorization.hold_minor, system.psp.payments[psp_payment].held_minor

    assert await held() == (9000, 9000)
    await system.payments.holds.check_hold(**place)
    assert await held() == (9000, 9000)  # renewed, at what it is by now
    assert len(system.psp.payments) == 2


async def test_a_refund_at_the_psp_that_meets_one_of_ours_waits_and_breaks_nothing(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    update = ReversalUpdate(psp_refund="re_x", amount_minor=1190, currency="EUR")
    async with system.pool.acquire() as connection:
        ours = connection.transaction()
        await ours.start()
        await connection.execute("UPDATE gateway.capture SET refunded_minor = refunded_minor + 1190")
        theirs = asyncio.create_task(
            system.payments.refunds.record_reversal(
                update, shard=view.session.shard, session_id=view.session.id
            )
        )
        await asyncio.sleep(0.3)
        await ours.commit()
    assert await theirs == "a refund of more than is captured here and not refunded yet"
    assert await system.rows("refund") == []


async def test_an_event_of_the_psp_that_is_not_kept_is_not_handled(pool: Pool) -> None:
    async with open_api(pool) as api:
        waits = await api.services.payments.psp_events.handle_event("evt_gone", shard=3)
    assert waits is not None
    assert "evt_gone" in waits
