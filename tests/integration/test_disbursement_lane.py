"""A disbursement run in batches on a real PostgreSQL: whatever stops midway, each party is paid once."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from clearing.errors import InvalidPartyError
from clearing.payouts.disbursement import Paid
from gateway.database import Pool, transaction
from gateway.lanes.disbursement_lane import DisbursementLane, PspRail
from gateway.payments.psp import (
    Declined,
    OutcomeUnknown,
    Psp,
    TransferOrder,
    TransferOutcome,
    Transferred,
)
from gateway.store import parties
from gateway.store.parties import PartyRow
from tests.fakes import clearing_world as world
from tests.integration.test_settlement import NOW, THURSDAY, House

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
    """A PSP that pays once per key, counts what is in the air, and fails as it is told."""

    paid: Counter[str] = field(default_factory=Counter)
    accounts: Counter[str] = field(default_factory=Counter)
    keys: dict[str, TransferOrder] = field(default_factory=dict)
    in_the_air: int = 0
    most: int = 0
    faults: dict[str, Any] = field(default_factory=dict)

    async def transfer(self, order: TransferOrder) -> TransferOutcome:
        self.in_the_air += 1
        self.most = max(self.most, self.in_the_air)
        await asyncio.sleep(0.002)
        self.in_the_air -= 1
        fault = self.faults.pop(order.connected_account, None)
        if isinstance(fault, Declined):
            return fault
        if isinstance(fault, ValueError):
            raise fault
        if order.idempotency_key not in self.keys:
            self.keys[order.idempotency_key] = order
            self.accounts[order.connected_account] += 1
        if isinstance(fault, OutcomeUnknown):
            return fault
        if isinstance(fault, Died):
            raise fault
        return Transferred(psp_transfer=f"tr_{order.end_to_end_id}")

    async def find_transfer(self, *, end_to_end_id: str) -> Transferred | None:
        return Transferred(psp_transfer=f"tr_{end_to_end_id}") if end_to_end_id in self.keys else None


@dataclass
class Run:
    """A market in which a dozen payments are due, and the lanes that pay them."""

    house: House
    psp: SlowPsp
    hands: Hands

    def lane(self, **changes: Any) -> DisbursementLane:
        rail = PspRail(psp=cast("Psp", self.psp))
        return DisbursementLane(
            pool=self.house.pool, clock=self.hands, clearing=self.house.service, rail=rail, **changes
        )

    async def states(self) -> Counter[str]:
        async with self.house.pool.acquire() as connection:
            found = await connection.fetch("SELECT state, count(*) FROM clearing.disbursement GROUP BY state")
        return Counter({row["state"]: row["count"] for row in found})

    async def value(self, query: str) -> Any:
        async with self.house.pool.acquire() as connection:
            return await connection.fetchval(query)

    async def paid_once(self) -> None:
        """Each account was paid once by the PSP, the books say so, and the proof holds."""
        assert set(self.psp.accounts.values()) == {1}
        assert len(self.psp.accounts) == PAYMENTS
        assert (await self.states())["paid"] == PAYMENTS
        await self.house.proved()


@pytest.fixture
async def run(pool: Pool) -> Run:
    house = House(pool)
    await house.open()
    async with transaction(pool) as connection:
        for party in CPOS:
            await house.service.register_party(connection, party, now=NOW)
            await house.service.put_agreement(connection, world.agreement(party), now=NOW)
        for name in [party.id for party in CPOS] + [world.SUPERAPP.id]:
            row = PartyRow(id=name, kind="cpo", name=name, created_at=NOW)
            await parties.add_party(connection, row)
        sessions = [world.session(number, party) for number, party in enumerate(CPOS)]
        await house.service.clear_batch(connection, sessions, now=NOW, batch_id=world.session_id(999))
    return Run(house=house, psp=SlowPsp(), hands=Hands())


async def test_payments_go_in_batches_and_each_batch_is_one_entry_in_the_chain(run: Run) -> None:
    before = await run.value("SELECT count(*) FROM clearing.batch")
    assert await run.lane(batch=5, at_once=3).run() == PAYMENTS
    assert await run.value("SELECT count(*) FROM clearing.batch") - before == 3  # 5 + 5 + 2
    assert run.psp.most == 3
    told = await run.value("SELECT count(*) FROM gateway.event WHERE type = 'disbursement.paid'")
    assert told == PAYMENTS
    await run.paid_once()


async def test_a_full_batch_is_followed_by_the_next_at_once_and_an_idle_lane_rests(run: Run) -> None:
    lane = run.lane(batch=5)
    assert [await lane.run_once() for _ in range(4)] == [5, 5, 2, 0]
    assert await run.value("SELECT count(*) FROM clearing.disbursement") == PAYMENTS
    await run.paid_once()


async def test_a_call_that_breaks_holds_up_none_of_the_others_and_is_asked_again(run: Run) -> None:
    run.psp.faults["acct_3"] = ValueError("a bug of ours")
    await run.lane().run()
    assert await run.states() == {"paid": PAYMENTS - 1, "outcome_unknown": 1}
    run.hands.at += LATER
    await run.lane().run()
    await run.paid_once()


async def test_a_refused_transfer_opens_its_own_payables_only(run: Run) -> None:
    run.psp.faults["acct_5"] = Declined(code="balance_insufficient", retryable=False)
    await run.lane().run()
    assert await run.states() == {"paid": PAYMENTS - 1, "failed": 1}
    assert await run.value("SELECT count(*) FROM clearing.payable WHERE state = 'open'") == 1
    await run.house.proved()
    run.hands.at += timedelta(hours=2)
    await run.lane().run()
    await run.paid_once()


async def test_a_worker_that_dies_between_calls_and_record_leaves_nothing_to_be_paid_twice(run: Run) -> None:
    """Some transfers took effect, no answer was written: the next worker finds them under their keys."""
    run.psp.faults["acct_7"] = Died()
    with pytest.raises(BaseExceptionGroup):
        await run.lane(at_once=4).run()
    assert await run.states() == {"requested": PAYMENTS}
    assert 0 < len(run.psp.accounts) < PAYMENTS
    assert await run.lane().run() == 0  # not before the intents' lease is over
    run.hands.at += LATER
    await run.lane().run()
    await run.paid_once()


async def test_a_worker_that_dies_while_planning_has_planned_whole_pages(run: Run) -> None:
    plan, pages = run.house.service.plan_disbursements, 0

    async def dies(*arguments: Any, **named: Any) -> Any:
        nonlocal pages
        pages += 1
        planned = await plan(*arguments, **named)
        if pages == 3:
            raise Died
        return planned

    run.house.service.plan_disbursements = dies  # type: ignore[method-assign]
    with pytest.raises(Died):
        await run.lane(page=4).plan()
    assert await run.states() == {"planned": 8}  # the third page was rolled back whole
    await run.house.proved()
    run.house.service.plan_disbursements = plan  # type: ignore[method-assign]
    await run.lane().run()
    await run.paid_once()


async def test_what_is_not_called_in_time_is_left_to_a_later_round_under_its_own_key(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.lanes.disbursement_lane._CALL_SECONDS", 0.003)
    await run.lane(at_once=1).run()
    left = (await run.states())["requested"]
    assert 0 < left < PAYMENTS
    monkeypatch.undo()
    run.hands.at += LATER
    await run.lane().run()
    await run.paid_once()


async def test_a_payment_that_another_ended_meanwhile_is_a_conflict_and_the_others_are_recorded(
    run: Run,
) -> None:
    lane = run.lane()
    await lane.plan()
    async with transaction(run.house.pool) as connection:
        begun = await run.house.service.begin_due(connection, now=THURSDAY, limit=100)
    other = begun[4]
    await run.house.answer(other, Paid(rail_reference="tr_told_by_hand"), THURSDAY)
    async with transaction(run.house.pool) as connection:
        answers = await run.house.service.record_outcomes(
            connection, {one.id: Paid(rail_reference=f"tr_{one.id.hex}") for one in begun}, now=THURSDAY
        )
    assert set(answers.conflicts) == {other.id}
    assert len(answers.ended) == PAYMENTS - 1
    assert await run.states() == {"paid": PAYMENTS}
    again = await run.house.answer(other, Paid(rail_reference="tr_told_by_hand"), THURSDAY)
    assert again.rail_reference == "tr_told_by_hand"
    await run.house.proved()


async def test_a_party_that_cannot_be_planned_keeps_nobody_elses_payment(run: Run) -> None:
    plan = run.house.service.plan_disbursements

    async def poisoned(connection: Any, *, now: datetime, only: Any) -> Any:
        if "NL-004" in only:
            raise InvalidPartyError("NL-004", "an error in its data")
        return await plan(connection, now=now, only=only)

    run.house.service.plan_disbursements = poisoned  # type: ignore[method-assign]
    assert await run.lane().run() == PAYMENTS - 1
    await run.house.proved()
    run.house.service.plan_disbursements = plan  # type: ignore[method-assign]
    await run.lane().run()
    await run.paid_once()


async def test_an_answer_that_cannot_be_recorded_is_asked_for_again_and_the_others_stand(run: Run) -> None:
    record, poison = run.house.service.record_outcomes, set[Any]()

    async def poisoned(connection: Any, outcomes: Any, *, now: datetime) -> Any:
        poison.update(list(outcomes)[7:8] if not poison else [])
        if poison & set(outcomes):
            raise InvalidPartyError("NL-007", "an error in its data")
        return await record(connection, outcomes, now=now)

    run.house.service.record_outcomes = poisoned  # type: ignore[method-assign]
    await run.lane().run()
    assert await run.states() == {"paid": PAYMENTS - 1, "requested": 1}
    await run.house.proved()
    run.house.service.record_outcomes = record  # type: ignore[method-assign]
    run.hands.at += LATER
    await run.lane().run()
    await run.paid_once()


async def test_two_workers_share_the_payments_and_pay_each_once(run: Run) -> None:
    asked = await asyncio.gather(*(run.lane(batch=3).run() for _ in range(3)))
    assert sum(asked) == PAYMENTS
    await run.paid_once()


async def test_a_payment_of_many_payables_is_paid_without_a_write_to_any_of_them(run: Run) -> None:
    """Who reads a payable's state hears of its payment's."""
    await run.lane().run()
    assert await run.value("SELECT count(*) FROM clearing.payable WHERE state = 'paid'") == 0
    async with run.house.pool.acquire() as connection:
        summary = await run.house.service.summary(connection)
    assert (sum(summary.paid.values()), sum(summary.open_payables.values())) == (11 * 400 + 11 * 40, 0)
