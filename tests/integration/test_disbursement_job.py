"""A disbursement run in batches on a real PostgreSQL: whatever stops midway, each party is paid once."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from clearing.errors import InvalidPartyError
from clearing.payouts.disbursement import Paid
from clearing.reporting.summary import read_summary
from gateway.database import Pool, transaction
from gateway.jobs.disbursements import DisbursementJob, PspRail
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import (
    Psp,
    PspTransferRequest,
    TransferOutcome,
    Transferred,
)
from tests.fakes import clearing_fixtures as world
from tests.integration.test_disbursements import THURSDAY, System, open_due

CPOS = tuple(
    replace(world.NL_CPO, id=f"NL-{number:03}", connected_account=f"acct_{number}") for number in range(11)
)
PAYMENTS = len(CPOS) + 1  # each CPO, and the partner that brought every driver
LATER = timedelta(minutes=3)  # past the lease of an intent


class Died(BaseException):
    """The process ended here."""


@dataclass
class Hands:
    """A clock whose hands the test moves."""

    at: datetime = THURSDAY

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return self.at


@dataclass
class SlowPsp:
    """A PSP that pays once per key, counts what is in flight, and fails as configured."""

    paid: Counter[str] = field(default_factory=Counter)
    accounts: Counter[str] = field(default_factory=Counter)
    keys: dict[str, PspTransferRequest] = field(default_factory=dict)
    in_flight: int = 0
    most: int = 0
    faults: dict[str, Any] = field(default_factory=dict)
    on_request: Callable[[], None] = lambda: None

    async def transfer(self, order: PspTransferRequest) -> TransferOutcome:
        self.on_request()
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(0.002)
        self.in_flight -= 1
        fault = self.faults.pop(order.connected_account, None)
        if isinstance(fault, Declined):
            return fault
        if isinstance(fault, ValueError):
            raise fault
        if order.idempotency_key not in self.keys:
            self.keys[order.idempotency_key] = order
            self.accounts[order.connected_account] += 1
        if isinstance(fault, PspOutcomeUnknown):
            return fault
        if isinstance(fault, Died):
            raise fault
        return Transferred(psp_transfer=f"tr_{order.end_to_end_id}")

    async def find_transfer(self, *, end_to_end_id: str) -> Transferred | None:
        return Transferred(psp_transfer=f"tr_{end_to_end_id}") if end_to_end_id in self.keys else None


@dataclass
class Run:
    """A market in which a dozen payments are due, and the jobs that pay them."""

    system: System
    psp: SlowPsp
    hands: Hands

    def job(self, **changes: Any) -> DisbursementJob:
        rail = PspRail(psp=cast("Psp", self.psp))
        return DisbursementJob(
            pool=self.system.pool, clock=self.hands, clearing=self.system.service, rail=rail, **changes
        )

    async def states(self) -> Counter[str]:
        async with self.system.pool.acquire() as connection:
            found = await connection.fetch("SELECT state, count(*) FROM clearing.disbursement GROUP BY state")
        return Counter({row["state"]: row["count"] for row in found})

    async def value(self, query: str) -> Any:
        async with self.system.pool.acquire() as connection:
            return await connection.fetchval(query)

    async def paid_once(self) -> None:
        """Each account was paid once by the PSP, the books say so, and the proof holds."""
        assert set(self.psp.accounts.values()) == {1}
        assert len(self.psp.accounts) == PAYMENTS
        assert (await self.states())["paid"] == PAYMENTS
        await self.system.proved()


@pytest.fixture
async def run(pool: Pool) -> Run:
    system = await open_due(pool, CPOS)
    return Run(system=system, psp=SlowPsp(), hands=Hands())


async def test_payments_go_in_batches_and_each_batch_is_one_entry_in_the_chain(run: Run) -> None:
    before = await run.value("SELECT count(*) FROM clearing.batch")
    assert await run.job(batch=5, at_once=3).run() == PAYMENTS
    assert await run.value("SELECT count(*) FROM clearing.batch") - before == 3  # 5 + 5 + 2
    assert run.psp.most == 3
    reported = await run.value("SELECT count(*) FROM gateway.event WHERE type = 'disbursement.paid'")
    assert reported == PAYMENTS
    await run.paid_once()


async def test_transfers_are_sent_with_no_connection_in_use(run: Run) -> None:
    """A connection that is not in use has no transaction open."""
    in_use: list[int] = []
    pool = run.system.pool
    run.psp.on_request = lambda: in_use.append(pool.get_size() - pool.get_idle_size())
    assert await run.job().run() == PAYMENTS
    assert in_use == [0] * PAYMENTS


async def test_a_full_batch_is_followed_by_the_next_at_once_and_an_idle_job_rests(run: Run) -> None:
    job = run.job(batch=5)
    assert [await job.run_once() for _ in range(4)] == [5, 5, 2, 0]
    assert await run.value("SELECT count(*) FROM clearing.disbursement") == PAYMENTS
    await run.paid_once()


async def test_a_call_that_raises_delays_no_other_and_is_retried(run: Run) -> None:
    run.psp.faults["acct_3"] = ValueError("a bug of ours")
    await run.job().run()
    assert await run.states() == {"paid": PAYMENTS - 1, "outcome_unknown": 1}
    run.hands.at += LATER
    await run.job().run()
    await run.paid_once()


async def test_a_rejected_transfer_reopens_its_own_payables_only(run: Run) -> None:
    run.psp.faults["acct_5"] = Declined(code="balance_insufficient", retryable=False)
    await run.job().run()
    assert await run.states() == {"paid": PAYMENTS - 1, "failed": 1}
    assert await run.value("SELECT count(*) FROM clearing.payable WHERE state = 'open'") == 1
    await run.system.proved()
    run.hands.at += timedelta(hours=2)
    await run.job().run()
    await run.paid_once()


async def test_a_worker_that_dies_between_calls_and_record_leaves_nothing_to_be_paid_twice(run: Run) -> None:
    """Some transfers took effect, no answer was written: the next worker finds them under their keys."""
    run.psp.faults["acct_7"] = Died()
    with pytest.raises(BaseExceptionGroup):
        await run.job(at_once=4).run()
    assert await run.states() == {"requested": PAYMENTS}
    assert 0 < len(run.psp.accounts) < PAYMENTS
    assert await run.job().run() == 0  # not before the intents' lease is over
    run.hands.at += LATER
    await run.job().run()
    await run.paid_once()


async def test_a_worker_that_dies_while_planning_has_planned_whole_pages(run: Run) -> None:
    plan, pages = run.system.service.disbursements.plan, 0

    async def dies(*arguments: Any, **named: Any) -> Any:
        nonlocal pages
        pages += 1
        planned = await plan(*arguments, **named)
        if pages == 3:
            raise Died
        return planned

    run.system.service.disbursements.plan = dies  # type: ignore[method-assign]
    with pytest.raises(Died):
        await run.job(page=4).plan()
    assert await run.states() == {"planned": 8}  # the third page was rolled back whole
    await run.system.proved()
    run.system.service.disbursements.plan = plan  # type: ignore[method-assign]
    await run.job().run()
    await run.paid_once()


async def test_a_call_that_is_not_made_in_time_is_made_in_a_later_round_under_its_own_key(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.jobs.disbursements._CALL_SECONDS", 0.003)
    await run.job(at_once=1).run()
    left = (await run.states())["requested"]
    assert 0 < left < PAYMENTS
    monkeypatch.undo()
    run.hands.at += LATER
    await run.job().run()
    await run.paid_once()


async def test_a_payment_that_another_ended_meanwhile_is_a_conflict_and_the_others_are_recorded(
    run: Run,
) -> None:
    job = run.job()
    await job.plan()
    async with transaction(run.system.pool) as connection:
        begun = await run.system.service.disbursements.begin_due(connection, now=THURSDAY, limit=100)
    other = begun[4]
    await run.system.answer(other, Paid(rail_reference="tr_recorded_by_hand"), THURSDAY)
    async with transaction(run.system.pool) as connection:
        answers = await run.system.service.disbursements.record_outcomes(
            connection, {one.id: Paid(rail_reference=f"tr_{one.id.hex}") for one in begun}, now=THURSDAY
        )
    assert set(answers.conflicts) == {other.id}
    assert len(answers.ended) == PAYMENTS - 1
    assert await run.states() == {"paid": PAYMENTS}
    again = await run.system.answer(other, Paid(rail_reference="tr_recorded_by_hand"), THURSDAY)
    assert again.rail_reference == "tr_recorded_by_hand"
    await run.system.proved()


async def test_a_party_that_cannot_be_planned_delays_no_other_party(run: Run) -> None:
    plan = run.system.service.disbursements.plan

    async def poisoned(connection: Any, *, now: datetime, only: Any) -> Any:
        if "NL-004" in only:
            raise InvalidPartyError("NL-004", "an error in its data")
        return await plan(connection, now=now, only=only)

    run.system.service.disbursements.plan = poisoned  # type: ignore[method-assign]
    assert await run.job().run() == PAYMENTS - 1
    await run.system.proved()
    run.system.service.disbursements.plan = plan  # type: ignore[method-assign]
    await run.job().run()
    await run.paid_once()


async def test_an_answer_that_cannot_be_recorded_is_requested_again_and_the_others_are_recorded(
    run: Run,
) -> None:
    record, poison = run.system.service.disbursements.record_outcomes, set[Any]()

    async def poisoned(connection: Any, outcomes: Any, *, now: datetime) -> Any:
        poison.update(list(outcomes)[7:8] if not poison else [])
        if poison & set(outcomes):
            raise InvalidPartyError("NL-007", "an error in its data")
        return await record(connection, outcomes, now=now)

    run.system.service.disbursements.record_outcomes = poisoned  # type: ignore[method-assign]
    await run.job().run()
    assert await run.states() == {"paid": PAYMENTS - 1, "requested": 1}
    await run.system.proved()
    run.system.service.disbursements.record_outcomes = record  # type: ignore[method-assign]
    run.hands.at += LATER
    await run.job().run()
    await run.paid_once()


async def test_two_workers_share_the_payments_and_pay_each_once(run: Run) -> None:
    asked = await asyncio.gather(*(run.job(batch=3).run() for _ in range(3)))
    assert sum(asked) == PAYMENTS
    await run.paid_once()


async def test_a_payment_of_many_payables_is_paid_without_a_write_to_any_of_them(run: Run) -> None:
    """Who reads a payable's state hears of its payment's."""
    await run.job().run()
    assert await run.value("SELECT count(*) FROM clearing.payable WHERE state = 'paid'") == 0
    async with run.system.pool.acquire() as connection:
        summary = await read_summary(connection)
    assert (sum(summary.paid.values()), sum(summary.open_payables.values())) == (11 * 400 + 11 * 40, 0)
