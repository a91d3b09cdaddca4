"""The sla in sight: figures for scrapers and people, and the commands that take the bank's files."""

import json
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from clearing.reporting.settlement_sla import read_settlement_sla
from clearing.services import build_clearing
from gateway.api.business_metrics import render
from gateway.cli.status import exception_alerts, settlement_sla_alerts
from gateway.database import Pool, transaction
from gateway.exceptions.service import ExceptionService
from gateway.ids import format_id
from gateway.jobs.reconciliation import ReconciliationJob
from gateway.payments.psp.failures import PspOutcomeUnknown
from gateway.payments.psp.movement_port import PspMovement
from gateway.webhooks.repository import find_oldest_undelivered_event
from tests.fakes import bank
from tests.fakes import clearing_fixtures as world
from tests.fakes.api import Hands, open_api
from tests.fakes.command import networkcore
from tests.integration.test_api_after_capture import captured
from tests.integration.test_disbursements import BANK, FRIDAY, NOW, THURSDAY, System, of

ROOT = Path(__file__).parents[2]


def run(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return networkcore("reconcile", *arguments, database_url=database_url)


async def test_the_share_paid_by_the_due_date_counts_late_and_overdue(pool: Pool) -> None:
    system = System(pool)
    await system.open()
    await system.clear(1, 2)
    planned = await system.plan(THURSDAY)
    await system.pay(of(planned, world.NL_CPO), THURSDAY)
    await system.pay(of(planned, world.SUPERAPP), FRIDAY)  # two sums, a day late
    await system.clear(3)
    async with pool.acquire() as connection:
        sla = await read_settlement_sla(connection, now=FRIDAY + timedelta(days=1))
        oldest = await find_oldest_undelivered_event(connection)
    assert (sla.on_time, sla.late, sla.overdue) == (2, 2, 2)
    assert sla.on_time_bps == 3333
    assert sla.overdue_minor == {"EUR": 440}
    text = render(sla, oldest_event_at=oldest, now=FRIDAY).decode()
    assert "networkcore_paid_by_due_date_ratio 0.3333" in text
    assert 'networkcore_overdue_minor_units{currency="EUR"} 440.0' in text
    assert 'networkcore_account_minor_units{class="cpo",currency="EUR"} 400.0' in text
    assert settlement_sla_alerts(sla) == []


class Movements:
    """A PSP that lists one charge, or does not answer."""

    def __init__(self) -> None:
        self.answers = True

    async def list_movements_between(
        self, *, since: datetime, until: datetime | None, limit: int
    ) -> list[PspMovement] | PspOutcomeUnknown:
        if not self.answers:
            return PspOutcomeUnknown(reason="silent")
        charge = PspMovement(
            id="txn_1",
            kind="charge",
            source="pi_1",
            amount_minor=605,
            currency="EUR",
            created_at=NOW,
            fee_minor=34,
        )
        return [charge]


async def test_books_psp_and_bank_are_compared_every_hour(pool: Pool) -> None:
    system = System(pool)
    await system.open()
    hands = Hands(at=NOW)
    job = ReconciliationJob(pool=pool, clock=hands, source=Movements())
    ran: list[datetime] = []
    for minutes in (0, 59, 1):
        hands.at += timedelta(minutes=minutes)
        hands.wall += timedelta(minutes=minutes)
        await job.run_once()
        ran.append(await pool.fetchval("SELECT ran_at FROM clearing.reconciliation_run WHERE name = 'books'"))
    assert ran == [NOW, NOW, NOW + timedelta(hours=1)]


async def test_the_job_compares_once_an_hour_and_also_when_the_psp_is_silent(pool: Pool) -> None:
    system = System(pool)
    await system.open()
    await system.clear(1, 2)
    hands = Hands(at=NOW + timedelta(days=5))
    source = Movements()
    job = ReconciliationJob(pool=pool, clock=hands, source=source)
    await job.run_once()
    await job.run_once()
    source.answers = False
    result = await job.reconcile()
    assert (result.differences, result.matched) == (1, 0)  # the second capture is unknown to the PSP
    async with pool.acquire() as connection:
        sla = await read_settlement_sla(connection, now=hands.now())
        queue = ExceptionService(clearing=build_clearing())
        await queue.refresh(connection, now=hands.now(), wall_now=hands.now())
        waiting = await queue.count_open(connection, now=NOW)
    assert [row["type"] for row in sla.differences] == ["missing_right"]
    assert any("Reconciliation differences: 1" in alert for alert in exception_alerts(waiting))
    assert sla.reconciled_at == hands.now()


async def test_bank_files_are_imported_and_written_by_command(
    pool: Pool, database_url: str, tmp_path: Path
) -> None:
    system = System(pool)
    await system.open()
    async with transaction(pool) as connection:
        version = await system.payouts.submit_bank_details(connection, "NL-ABC", BANK, by="anna", now=NOW)
        await system.payouts.decide_bank_details(
            connection, "NL-ABC", version, approve=True, by="ben", now=NOW
        )
    await system.clear(1)
    payment = of(await system.plan(THURSDAY), world.NL_CPO)
    debtor = tmp_path / "debtor.json"
    debtor.write_text(
        json.dumps({"name": "P", "iban": bank.IBAN, "address": {"town": "Bern", "country": "CH"}})
    )
    out = tmp_path / "out"
    draw = ["payment-file", "--debtor", str(debtor), "--on", "2026-10-15", "--output", str(out)]
    created = run(database_url, *draw)
    assert created.returncode == 0, created.stderr
    (file,) = out.iterdir()
    assert payment.end_to_end_id in file.read_text()
    assert run(database_url, *draw).stdout == ""
    statement = tmp_path / "camt.xml"
    statement.write_bytes(
        bank.statement(
            bank.entry("4.00", bank.detail(payment.end_to_end_id, "4.00")), bank.entry("1.00", info="=fee")
        )
    )
    reported = run(database_url, "import-statement", str(statement))
    assert reported.stdout.strip() == "2 new lines, 1 disbursements settled, 0 returned", reported.stderr
    assert run(database_url, "import-statement", str(statement)).stdout.startswith(
        "0 new lines, 0 disbursements"
    )
    assert run(database_url, "run").returncode == 1
    listed = run(database_url, "report", "--format", "json")
    assert "unknown_line" in {json.loads(line)["type"] for line in listed.stdout.splitlines()}
    assert run(database_url, "report", "--format", "page").stdout.endswith("</html>")
    assert "unknown_line" in run(database_url, "report").stdout
    broken = tmp_path / "broken.xml"
    broken.write_bytes(b"<!DOCTYPE x><x/>")
    rejected = run(database_url, "import-statement", str(broken))
    assert rejected.returncode == 2
    assert "document type" in rejected.stderr
    assert len(rejected.stderr.splitlines()) == 1


async def test_differences_and_approvals_are_the_platforms_alone(pool: Pool) -> None:
    system = System(pool)
    await system.open()
    await system.terms(world.NL_CPO, approval_above_minor=1)
    await system.clear(1)
    payment = of(await system.plan(THURSDAY), world.NL_CPO)
    job = ReconciliationJob(pool=pool, clock=Hands(at=NOW + timedelta(days=9)), source=Silent())
    await job.reconcile()
    path = f"/v1/disbursements/{format_id('dis', payment.id)}/approve"
    async with open_api(pool) as edge:
        made = await edge.call("POST", "/v1/parties/platform/api-keys", {"scopes": ["admin"]}, party="admin")
        edge.keys["ben"] = made.json["api_key"]
        for key, count in (("admin", 1), ("admin", 1), ("ben", 2)):
            answer = await edge.call("POST", path, party=key)
            assert (answer.status, answer.json["approvals"]) == (200, count), answer.text
        listed = await edge.call("GET", "/v1/reconciliation/differences", party="admin")
        (difference,) = listed.json["data"]
        assert (difference["type"], difference["amount"], difference["owner"]) == (
            "missing_right",
            605,
            "payments",
        )
        for method, where in (("GET", "/v1/reconciliation/differences"), ("POST", path)):
            rejected = await edge.call(method, where)
            assert rejected.status == 403
        scraped = await edge.call("GET", "/metrics", party="admin")
        assert "networkcore_reconciliation_differences" in scraped.text
        assert "networkcore_disbursements_awaiting_approval 0.0" in scraped.text


class Silent:
    """A PSP that does not answer."""

    async def list_movements_between(
        self, *, since: datetime, until: datetime | None, limit: int
    ) -> list[PspMovement] | PspOutcomeUnknown:
        return PspOutcomeUnknown(reason="silent")


class Lines:
    """A PSP that lists what it is given."""

    def __init__(self, *movements: PspMovement) -> None:
        self.movements = movements

    async def list_movements_between(
        self, *, since: datetime, until: datetime | None, limit: int
    ) -> list[PspMovement] | PspOutcomeUnknown:
        found = [one for one in self.movements if one.created_at >= since]
        return [one for one in found if until is None or one.created_at < until][-limit:]


class Moody(Lines):
    """It falls silent after so many answers."""

    answers = 0

    async def list_movements_between(
        self, *, since: datetime, until: datetime | None, limit: int
    ) -> list[PspMovement] | PspOutcomeUnknown:
        self.answers -= 1
        if self.answers < 0:
            return PspOutcomeUnknown(reason="silent")
        return await super().list_movements_between(since=since, until=until, limit=limit)


def charges(count: int, *, apart: timedelta) -> list[PspMovement]:
    return [
        PspMovement(
            id=f"txn_{number}",
            kind="charge",
            source=f"ch_{number}",
            amount_minor=1,
            currency="EUR",
            created_at=NOW + number * apart,
        )
        for number in range(count)
    ]


async def kept(pool: Pool) -> int:
    async with pool.acquire() as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM clearing.reconciliation_item")
    return count


@pytest.mark.parametrize("apart", [timedelta(hours=5), timedelta(seconds=1), timedelta(0)])
async def test_every_line_of_the_psp_is_read_however_many_there_are(pool: Pool, apart: timedelta) -> None:
    """As it was: a list cut at its limit has the latest lines, and the older ones were never read."""
    source = Lines(*charges(40, apart=apart))
    later = Hands(at=NOW + timedelta(days=12))
    job = ReconciliationJob(pool=pool, clock=later, source=source, limit=7)
    assert (await job.reconcile()).differences == 40
    assert await kept(pool) == 40


async def test_reading_resumes_where_a_psp_stopped_answering(pool: Pool) -> None:
    source = Moody(*charges(40, apart=timedelta(hours=5)))
    later = Hands(at=NOW + timedelta(days=12))
    job = ReconciliationJob(pool=pool, clock=later, source=source, limit=7)
    async with transaction(pool) as connection:
        await job.reconciler.mark_read(connection, name="psp", to=NOW, now=NOW)
    rounds = 0
    while await kept(pool) < 40:  # two answers an hour are fewer than what a round looks at again
        source.answers = 2
        await job.reconcile()
        rounds += 1
        assert rounds < 20
    assert rounds > 3


async def test_refunds_are_compared_with_the_psps_lines_also_when_they_failed(pool: Pool) -> None:
    async with open_api(pool) as api:
        session = await captured(api)
        for key, minor in (("r1", 190), ("r2", 200)):
            made = await api.call("POST", "/v1/refunds", {"session": session["id"], "amount": minor}, key=key)
            assert made.status == 201, made.text
        async with transaction(pool) as connection:
            rows = await connection.fetch("SELECT psp_refund FROM gateway.refund ORDER BY amount_minor")
            await connection.execute(
                "UPDATE gateway.refund SET state = 'failed', failure_code = 'x' WHERE amount_minor = 200"
            )
        kept, failed = (row["psp_refund"] for row in rows)

        def reported(name: str, kind: str, source: str, minor: int) -> PspMovement:
            return PspMovement(
                id=name,
                kind=kind,
                source=source,
                amount_minor=minor,
                currency="EUR",
                created_at=api.clock.now(),
            )

        source = Lines(
            reported("t1", "refund", kept, -190),
            reported("t2", "refund", failed, -200),
            reported("t3", "refund_failure", failed, 200),
        )
        later = Hands(at=api.clock.now() + timedelta(days=5))
        job = ReconciliationJob(pool=pool, clock=later, source=source)
        result = await job.reconcile()
        assert (result.matched, result.differences) == (6, 0)
        restarted = ReconciliationJob(pool=pool, clock=later, source=source)
        assert (await restarted.reconcile()).matched == 0


async def test_a_charge_off_session_counts_to_its_capture_with_both_fees(pool: Pool) -> None:
    system = System(pool)
    await system.open()
    await system.clear(1)  # 6.05 in two charges: 5.00 from the hold, 1.05 off-session
    async with open_api(pool) as api:
        await captured(api)
        async with transaction(pool) as connection:
            await connection.execute("UPDATE gateway.capture SET psp_charge = 'pi_1'")
            await connection.execute(
                """INSERT INTO gateway.psp_request (shard, id, session_id, authorization_id, kind, state,
                       amount_minor, answer, created_at, finished_at)
                   SELECT shard, id, session_id, authorization_id, 'residual_charge', 'succeeded', 105,
                       '{"captured": "ch_rest"}', now(), now() FROM gateway.capture"""
            )
        later = Hands(at=NOW + timedelta(days=5))

        def reported(name: str, source: str, minor: int, fee: int) -> PspMovement:
            return PspMovement(
                id=name,
                kind="charge",
                source=source,
                amount_minor=minor,
                currency="EUR",
                created_at=NOW,
                fee_minor=fee,
            )

        source = Lines(reported("t1", "pi_1", 500, 24), reported("t2", "ch_rest", 105, 10))
        result = await ReconciliationJob(pool=pool, clock=later, source=source).reconcile()
        assert (result.matched, result.differences) == (3, 0)


async def test_an_amount_refunded_before_clearing_is_part_of_the_charge(pool: Pool) -> None:
    system = System(pool)
    await system.open()
    await system.clear(1)  # the journal has 6.05 of a charge of 7.05
    async with open_api(pool) as api:
        await captured(api)
        async with transaction(pool) as connection:
            await connection.execute("UPDATE gateway.capture SET psp_charge = 'pi_1', uncleared_minor = 100")
            await connection.execute("UPDATE gateway.session SET state = 'cleared'")
        charge = PspMovement(
            id="t1",
            kind="charge",
            source="pi_1",
            amount_minor=705,
            currency="EUR",
            created_at=NOW,
            fee_minor=34,
        )
        later = Hands(at=NOW + timedelta(days=5))
        job = ReconciliationJob(pool=pool, clock=later, source=Lines(charge))
        for matched in (3, 0):
            result = await job.reconcile()
            assert (result.matched, result.differences) == (matched, 0)
