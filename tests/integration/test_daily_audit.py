"""The daily audit on a real PostgreSQL: what it proves, what rests on a checkpoint, what it finds."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from clearing.audit import AuditReport, audit_ledger
from clearing.daily_audit import repository
from clearing.daily_audit import service as ledger_audit
from clearing.daily_audit.checkpoint import SealedCheckpoint
from clearing.daily_audit.run import LedgerRun, StepPart, describe
from clearing.ledger import service as ledger_service
from clearing.payouts.disbursement import Paid
from clearing.services import ClearingServices, build_clearing
from gateway.audit.checks import AuditResult
from gateway.audit.daily_audit import DailyAudit, audit_daily
from gateway.clock import SystemClock
from gateway.database import Pool, transaction
from tests.fakes import clearing_fixtures as world

NOW = world.SALE_AT + timedelta(hours=1)
THURSDAY = datetime(2026, 10, 15, 8, 0, tzinfo=UTC)
SHARES = 4


@pytest.fixture
async def service(pool: Pool) -> ClearingServices:
    opened = build_clearing()
    async with transaction(pool) as connection:
        await opened.reference_data.import_bundled_rates(connection, now=NOW)
        for party in world.PARTIES.values():
            await opened.reference_data.register_party(connection, party, now=NOW)
        for cpo in (world.NL_CPO, world.CH_CPO):
            await opened.reference_data.put_agreement(connection, world.agreement(cpo), now=NOW)
    return opened


async def clear(pool: Pool, service: ClearingServices, *numbers: int, chain: int = 0) -> None:
    """One batch of these sessions; every third is settled in another currency."""
    sessions = [
        world.session(number, demand_partner_id="superapp" if number % 3 else "parking") for number in numbers
    ]
    async with transaction(pool) as connection:
        batch = await service.sessions.clear_batch(
            connection, sessions, now=NOW, batch_id=uuid4(), chain=chain
        )
        assert not batch.uncleared, batch.uncleared


async def pay_all(pool: Pool, service: ClearingServices, *, now: datetime) -> list[UUID]:
    async with transaction(pool) as connection:
        planned = await service.disbursements.plan(connection, now=now)
    for one in planned:
        async with transaction(pool) as connection:
            await service.disbursements.begin(connection, one.id, now=now)
        async with transaction(pool) as connection:
            await service.disbursements.record_outcome(
                connection, one.id, Paid(rail_reference=f"tr_{one.id.hex}"), now=now
            )
    return [one.id for one in planned]


async def prove(
    pool: Pool, *, shares: int = SHARES, known: tuple[int, str] | None = None
) -> tuple[AuditReport, LedgerRun]:
    """One run over the ledger alone; it seals its checkpoint if it found nothing."""
    async with pool.acquire() as connection:
        run = await ledger_audit.open_run(connection, shares=shares, known=known)
        for step in ledger_audit.steps(run):
            await ledger_audit.prove_step(connection, run, step)
        for shard in ledger_audit.shards(run):
            await ledger_audit.prove_shard(connection, run, shard)
    async with transaction(pool, isolation="repeatable_read") as connection:
        report, _ = await ledger_audit.finish(connection, run, now=NOW)
    if report.ok:
        async with transaction(pool) as connection:
            await ledger_audit.seal_run(connection, run, caller={}, sealed_at=datetime.now(UTC))
    return report, run


async def checkpoints(pool: Pool) -> list[SealedCheckpoint]:
    async with pool.acquire() as connection:
        return await repository.list_checkpoints(connection)


async def same_as_full(pool: Pool, report: AuditReport) -> None:
    async with transaction(pool, isolation="repeatable_read") as connection:
        full = await audit_ledger(connection, now=NOW)
    assert full.ok, full.findings
    assert report.findings == []
    assert list(report.proof) == list(full.proof)


async def test_a_run_proves_what_is_new_and_its_equation_is_that_of_the_full_audit(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, 1, 2, 3)
    await clear(pool, service, 4, 5, chain=1)
    report, run = await prove(pool)
    await same_as_full(pool, report)
    assert run.batches[StepPart.NEW] == 2
    assert run.share is None
    assert len(run.shards) == 64
    await clear(pool, service, 6)
    await pay_all(pool, service, now=THURSDAY)
    report, run = await prove(pool)
    await same_as_full(pool, report)
    # The capture and the disbursements; of the two older batches, position 1 of each chain is in share 1.
    assert run.entries[StepPart.NEW] > 1
    assert run.batches[StepPart.AGAIN] == 2
    assert len(run.shards) == 64 // SHARES
    report, run = await prove(pool)
    assert (run.batches[StepPart.NEW], report.ok) == (0, True)
    assert [one.sequence for one in await checkpoints(pool)] == [1, 2, 3]


async def test_corrections_of_sessions_proved_long_ago_are_proved(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, *range(1, 8))
    await prove(pool)
    await prove(pool)
    one, two, three = (world.session_id(number) for number in (1, 2, 3))
    async with transaction(pool) as connection:
        await service.sessions.refund(connection, one, minor=200, reference="re_1", now=NOW)
        await service.sessions.refund(connection, two, minor=605, reference="re_2", now=NOW)
        await service.sessions.open_dispute(
            connection, three, minor=605, fee_minor=0, fee_currency="EUR", reference="dp_1", now=NOW
        )
    report, run = await prove(pool)
    await same_as_full(pool, report)
    assert run.entries[StepPart.NEW] == 3
    async with pool.acquire() as connection:
        assert await ledger_audit.sum_captured(connection, [one, two, three]) == {
            (one, "EUR"): 405,
            (two, "EUR"): 0,
            (three, "EUR"): 0,
        }


# A change of old rows, the check that finds it, and when: by the next run, or by one of the next SHARES.
AT_ONCE, IN_TURN = "at once", "in turn"
CHANGES = [
    ("transfer SET amount_minor = amount_minor + 1 WHERE ordinal = 2", "hash_chain", IN_TURN),
    ("entry SET cdr_id = 'other' WHERE kind = 'capture'", "hash_chain", IN_TURN),
    ("entry SET gross_minor = gross_minor - 1 WHERE kind = 'capture'", "captures_unposted", IN_TURN),
    ("fx_lock SET rate = rate * 2", "fx_lock", IN_TURN),
    ("payable SET amount_minor = amount_minor + 1 WHERE state = 'open'", "open_unequal", AT_ONCE),
    ("payable SET amount_minor = amount_minor + 1 WHERE state <> 'open'", "disbursements_unequal", IN_TURN),
    ("disbursement SET state = 'failed', failure = 'x'", "disbursements_unposted", IN_TURN),
    ("account_delta SET credit_minor = credit_minor + 1", "balances_unequal", AT_ONCE),
    ("account_delta SET credit_minor = credit_minor + 1", "deltas_unequal", IN_TURN),
    ("batch SET previous_hash = hash", "hash_chain", IN_TURN),
    ("batch SET hash = merkle_root WHERE id IN (SELECT batch_id FROM {last})", "hash_chain", AT_ONCE),
    ("audit_checkpoint SET content = content || ' ' WHERE sequence = 2", "checkpoint", AT_ONCE),
    ("audit_checkpoint SET content = content || ' ' WHERE sequence = 1", "checkpoint", IN_TURN),
    ("audit_checkpoint SET sealed_at = sealed_at + interval '1 day'", "checkpoint", AT_ONCE),
    ("DELETE FROM clearing.entry WHERE subject_id = '{one}'", "hash_chain", IN_TURN),
    ("DELETE FROM clearing.entry WHERE subject_id = '{one}'", "orphan_transfers", IN_TURN),
    ("DELETE FROM clearing.payable WHERE state = 'open'", "open_unequal", AT_ONCE),
    ("DELETE FROM clearing.account_delta WHERE account LIKE 'cpo:%'", "balances_unequal", AT_ONCE),
    ("DELETE FROM clearing.audit_checkpoint WHERE sequence = 1", "checkpoint", AT_ONCE),
]


@pytest.mark.parametrize(("change", "check", "when"), CHANGES)
async def test_a_changed_old_row_or_checkpoint_is_found(
    pool: Pool, service: ClearingServices, change: str, check: str, when: str
) -> None:
    await clear(pool, service, 1, 2, 3)
    await pay_all(pool, service, now=THURSDAY)
    await clear(pool, service, 4, 5)
    for _ in range(2):
        report, _ = await prove(pool)
        assert report.ok, report.findings
    async with transaction(pool) as connection:
        statement = change if change.startswith("DELETE") else f"UPDATE clearing.{change}"
        last = f"clearing.entry WHERE subject_id = '{world.session_id(5)}'"
        await connection.execute(statement.format(one=world.session_id(1), last=last))
    found = []
    for _ in range(1 if when == AT_ONCE else SHARES):
        report, _ = await prove(pool)
        found.append({finding.check for finding in report.findings})
    assert any(check in names for names in found), found


async def test_a_checkpoint_sealed_anew_differs_from_the_one_that_was_kept(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, 1)
    await prove(pool)
    (kept,) = await checkpoints(pool)
    assert (await prove(pool, known=(1, kept.hash.hex())))[0].ok
    async with transaction(pool) as connection:
        await connection.execute("DELETE FROM clearing.audit_checkpoint")
    await prove(pool)
    report, run = await prove(pool, known=(1, kept.hash.hex()))
    assert [finding.check for finding in report.findings] == ["checkpoint"]
    assert run.share is None, "nothing rests on a checkpoint that was changed"


async def test_a_run_with_a_finding_seals_nothing_and_the_next_one_finds_it_again(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, 1)
    await prove(pool)
    async with transaction(pool) as connection:
        await connection.execute("UPDATE clearing.account_delta SET credit_minor = credit_minor + 1")
    for _ in range(2):
        report, _ = await prove(pool)
        assert not report.ok
    assert len(await checkpoints(pool)) == 1


async def test_what_rests_on_the_checkpoint_is_said(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, 1)
    _, first = await prove(pool)
    assert {one.rests_on for one in describe(first)} == {""}
    _, second = await prove(pool)
    said = {one.name: one.rests_on for one in describe(second)}
    assert all("checkpoint 1" in text for text in said.values()), said


async def system_audit(pool: Pool) -> DailyAudit:
    return await audit_daily(pool, clock=SystemClock(), psp=None, shares=SHARES)


async def test_a_posted_capture_that_the_gateway_does_not_have_is_found(
    pool: Pool, service: ClearingServices
) -> None:
    assert (await system_audit(pool)).audit.ok
    await clear(pool, service, 1)
    found = await system_audit(pool)
    assert found.audit.result is AuditResult.DIFFERS
    assert [finding.check for finding in found.audit.findings] == ["captures_equal_postings"]
    assert found.checkpoint is None


async def test_balances_are_those_that_are_shown(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, *range(1, 10))
    _, run = await prove(pool)
    async with pool.acquire() as connection:
        shown = await ledger_service.list_balances(connection)
    assert {(one.account, one.currency): one.minor for one in shown} == {
        key: run.figures.credits.get(key, 0) - run.figures.debits.get(key, 0)
        for key in run.figures.accounts()
    }
