"""Clearing on a real PostgreSQL: batches, repeats, failures, payouts, and an audit that finds changes."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from clearing.audit import AuditReport, audit_ledger
from clearing.captured_session import AuthorizationMethod, FundingSource
from clearing.errors import ClearingConflictError, ClosedPeriodError, InvalidPartyError
from clearing.ledger import service as ledger_service
from clearing.parties.agreement import Tier
from clearing.parties.party import PartyKind
from clearing.payouts.disbursement import (
    DisbursementState,
    Paid,
    RailOutcomeUnknown,
    Rejected,
)
from clearing.payouts.netting import HoldReason
from clearing.reporting.summary import read_summary
from clearing.services import ClearingServices, build_clearing
from clearing.sessions.service import ClearingBatch
from gateway.database import Pool, transaction
from tests.fakes import clearing_fixtures as world

NOW = world.SALE_AT + timedelta(hours=1)
THURSDAY = datetime(2026, 10, 15, 8, 0, tzinfo=UTC)


@pytest.fixture
async def service(pool: Pool) -> ClearingServices:
    opened = build_clearing()
    async with transaction(pool) as connection:
        await opened.reference_data.import_bundled_rates(connection, now=NOW)
        for party in world.PARTIES.values():
            await opened.reference_data.register_party(connection, party, now=NOW)
        for cpo in (world.NL_CPO, world.DE_CPO, world.CH_CPO, world.GB_CPO, world.FR_CPO):
            await opened.reference_data.put_agreement(connection, world.agreement(cpo), now=NOW)
    return opened


async def clear(
    pool: Pool, service: ClearingServices, *sessions: object, batch_id: UUID | None = None
) -> ClearingBatch:
    async with transaction(pool) as connection:
        return await service.sessions.clear_batch(connection, sessions, now=NOW, batch_id=batch_id or uuid4())  # type: ignore[arg-type]


async def audit(pool: Pool, service: ClearingServices) -> AuditReport:
    async with transaction(pool, isolation="repeatable_read") as connection:
        return await audit_ledger(connection, now=NOW)


async def pay_all(pool: Pool, service: ClearingServices, *, now: datetime) -> list[str]:
    async with transaction(pool) as connection:
        planned = await service.disbursements.plan(connection, now=now)
    paid = []
    for disbursement in planned:
        async with transaction(pool) as connection:
            begun = await service.disbursements.begin(connection, disbursement.id, now=now)
        assert begun is not None
        async with transaction(pool) as connection:
            await service.disbursements.record_outcome(
                connection, begun.id, Paid(rail_reference=f"tr_{begun.id.hex}"), now=now
            )
        paid.append(f"{begun.party_id} {begun.amount_minor} {begun.currency}")
    return paid


async def test_a_capture_is_posted_split_and_proved(pool: Pool, service: ClearingServices) -> None:
    batch = await clear(pool, service, world.session(1))
    assert not batch.uncleared
    (cleared,) = batch.cleared
    # 6.05 at 21 % is 5.00 + 1.05; 5.00 at 80/8/12 is 4.00, 0.40, 0.60.
    assert (cleared.net_minor, cleared.vat_minor, cleared.platform_fee_minor) == (500, 105, 60)
    assert {share.party_id: share.amount_minor for share in cleared.shares} == {"NL-ABC": 400, "superapp": 40}
    assert {share.due_date for share in cleared.shares} == {date(2026, 10, 15)}
    report = await audit(pool, service)
    assert report.ok, report.findings
    assert report.proof[0].captured_minor == 605


async def test_the_same_batch_twice_posts_nothing_again(pool: Pool, service: ClearingServices) -> None:
    sessions = [world.session(number) for number in range(20)]
    first = await clear(pool, service, *sessions)
    second = await clear(pool, service, *sessions, world.session(20))
    assert len(first.cleared) == 20
    assert (len(second.cleared), len(second.already)) == (1, 20)
    assert (await audit(pool, service)).ok


async def test_two_workers_with_the_same_sessions_post_them_once(
    pool: Pool, service: ClearingServices
) -> None:
    sessions = [world.session(number) for number in range(50)]

    async def work(chain: int) -> ClearingBatch:
        async with transaction(pool) as connection:
            return await service.sessions.clear_batch(
                connection, sessions, now=NOW, batch_id=uuid4(), chain=chain
            )

    batches = await asyncio.gather(*(work(chain) for chain in range(4)))
    assert sum(len(batch.cleared) for batch in batches) == 50
    report = await audit(pool, service)
    assert report.ok, report.findings


async def test_a_failing_session_becomes_an_exception_and_the_batch_goes_on(
    pool: Pool, service: ClearingServices
) -> None:
    failing = {
        "captured_above_price": world.session(1, captured_minor=606),
        "captured_below_price": world.session(2, captured_minor=600),
        "no_agreement": world.session(3, cpo=replace(world.NL_CPO, id="NL-NEW")),
        "unknown_party": world.session(4, demand_partner_id="nobody"),
        "tariff_hash": world.session(5, tariff_sha256="0" * 64),
        "cdr_unreadable": world.session(6, cdr_json=b"{"),
        "unknown_tax_jurisdiction": world.session(7, tax_jurisdiction="QQ"),
        "rate_unavailable": world.session(8, tax_jurisdiction="ES-CN"),
        "cdr_differs": world.session(9, cdr_id="another"),
    }
    batch = await clear(pool, service, *failing.values(), world.session(10))
    assert {uncleared.reason for uncleared in batch.uncleared} == set(failing)
    assert [cleared.session_id for cleared in batch.cleared] == [world.session_id(10)]
    async with transaction(pool) as connection:
        await service.reference_data.register_party(connection, replace(world.SUPERAPP, id="nobody"), now=NOW)
    again = await clear(pool, service, failing["unknown_party"])
    assert len(again.cleared) == 1
    async with transaction(pool) as connection:
        assert (await read_summary(connection)).sessions_in_exception == len(failing) - 1
    assert (await audit(pool, service)).ok


async def test_less_than_the_price_clears_with_its_reason(pool: Pool, service: ClearingServices) -> None:
    batch = await clear(pool, service, world.session(1, captured_minor=600, shortfall="hold_exhausted"))
    assert batch.cleared[0].flags == ["captured_below_price"]


async def test_a_market_of_currencies_rails_and_models_is_proved(
    pool: Pool, service: ClearingServices
) -> None:
    async with transaction(pool) as connection:
        await ledger_service.record_partner_funding(
            connection, partner_id="superapp", currency="EUR", minor=100_000, reference="tu_1", now=NOW
        )
        await ledger_service.record_top_up(
            connection, currency="CHF", minor=50_000, reference="tu_2", now=NOW
        )
        assert not await ledger_service.record_top_up(
            connection, currency="CHF", minor=50_000, reference="tu_2", now=NOW
        )
        agent = world.agreement(
            world.FR_CPO, partner="superapp", legal_model=world.LegalModel.DISCLOSED_AGENT
        )
        await service.reference_data.put_agreement(connection, replace(agent, id="agent"), now=NOW)
    vat = {"NL": "21.0", "DE": "19.0", "CH": "8.1", "GB": "20.0", "FR": "20.0"}
    gross = {"NL": 605, "DE": 595, "CH": 541, "GB": 600, "FR": 600}
    sessions = []
    for number in range(100):
        cpo = (world.NL_CPO, world.DE_CPO, world.CH_CPO, world.GB_CPO, world.FR_CPO)[number % 5]
        sessions.append(
            world.session(
                number,
                cpo=cpo,
                tariff_json=world.tariff_json(cpo, vat=vat[cpo.country]),
                captured_minor=gross[cpo.country],
                demand_partner_id=("superapp", "parking")[number % 2],
                site_host_id="hotel" if number % 5 == 0 else None,
                authorization_method=list(AuthorizationMethod)[number % 3],
                funding=FundingSource.PARTNER_ACCOUNT if number % 10 == 4 else FundingSource.PSP,
            )
        )
    batch = await clear(pool, service, *sessions)
    assert not batch.uncleared, batch.uncleared
    report = await audit(pool, service)
    assert report.ok, (report.findings, report.proof)
    paid = await pay_all(pool, service, now=THURSDAY)
    assert len(paid) >= 6
    report = await audit(pool, service)
    assert report.ok, (report.findings, report.proof)
    assert sum(line.paid_minor for line in report.proof) > 0
    async with transaction(pool) as connection:
        summary = await read_summary(connection)
        assert {total.base + total.quote for total in summary.fx} >= {"EURCHF", "GBPCHF", "GBPEUR", "CHFEUR"}
        assert summary.sessions_cleared == 100
        left = await service.disbursements.forecast(connection, now=THURSDAY)
    assert not left


async def test_planning_twice_plans_once(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, *(world.session(number) for number in range(5)))
    async with transaction(pool) as connection:
        first = await service.disbursements.plan(connection, now=THURSDAY)
        assert not await service.disbursements.plan(connection, now=THURSDAY)
    async with transaction(pool) as connection:
        assert not await service.disbursements.plan(connection, now=THURSDAY)
    assert [(plan.party_id, plan.amount_minor) for plan in first] == [("NL-ABC", 2000), ("superapp", 200)]


async def test_nothing_is_paid_before_it_is_due(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, world.session(1))
    async with transaction(pool) as connection:
        assert not await service.disbursements.plan(connection, now=THURSDAY - timedelta(days=1))


async def test_an_unknown_outcome_is_retried_and_paid_once(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, world.session(1))
    async with transaction(pool) as connection:
        planned = (await service.disbursements.plan(connection, now=THURSDAY))[0]
        begun = await service.disbursements.begin(connection, planned.id, now=THURSDAY)
        assert begun is not None
        assert begun.end_to_end_id == f"NC{planned.id.hex}"
        assert await service.disbursements.begin(connection, planned.id, now=THURSDAY) is None
        lost = await service.disbursements.record_outcome(
            connection, planned.id, RailOutcomeUnknown(detail="timeout"), now=THURSDAY
        )
        assert lost.state is DisbursementState.OUTCOME_UNKNOWN
        due = await service.disbursements.begin_due(connection, now=THURSDAY + timedelta(seconds=5), limit=10)
        (again,) = [disbursement for disbursement in due if disbursement.id == planned.id]
        assert (again.attempts, again.end_to_end_id) == (2, begun.end_to_end_id)
        for _ in range(2):
            await service.disbursements.record_outcome(
                connection, planned.id, Paid(rail_reference="tr_1"), now=THURSDAY
            )
        with pytest.raises(ClearingConflictError):
            await service.disbursements.record_outcome(
                connection, planned.id, Paid(rail_reference="tr_2"), now=THURSDAY
            )
    assert (await audit(pool, service)).ok


async def test_a_rejected_payment_opens_its_payables_again(pool: Pool, service: ClearingServices) -> None:
    await clear(pool, service, world.session(1))
    async with transaction(pool) as connection:
        planned = (await service.disbursements.plan(connection, now=THURSDAY))[0]
        await service.disbursements.begin(connection, planned.id, now=THURSDAY)
        failed = await service.disbursements.record_outcome(
            connection, planned.id, Rejected(code="balance_insufficient", detail="top up"), now=THURSDAY
        )
        assert failed.failure == "balance_insufficient: top up"
        assert not await service.disbursements.plan(connection, now=THURSDAY + timedelta(minutes=1))
        again = await service.disbursements.plan(connection, now=THURSDAY + timedelta(hours=2))
    assert [(plan.party_id, plan.amount_minor) for plan in again] == [
        (planned.party_id, planned.amount_minor)
    ]
    assert again[0].id != planned.id
    assert (await audit(pool, service)).ok


async def test_what_waits_says_why(pool: Pool, service: ClearingServices) -> None:
    async with transaction(pool) as connection:
        await service.reference_data.register_party(
            connection, replace(world.NL_CPO, minimum_payout_minor=10_000), now=NOW
        )
        await service.reference_data.register_party(
            connection, replace(world.SUPERAPP, connected_account=None), now=NOW
        )
    await clear(pool, service, world.session(1))
    async with transaction(pool) as connection:
        assert not await service.disbursements.plan(connection, now=THURSDAY)
        calendar = await service.disbursements.forecast(connection, now=THURSDAY)
    assert {day.party_id: day.hold for day in calendar} == {
        "NL-ABC": HoldReason.BELOW_MINIMUM,
        "superapp": HoldReason.NO_DESTINATION,
    }


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ("transfer SET amount_minor = amount_minor + 1 WHERE ordinal = 2", "transit_not_zero"),
        ("entry SET batch_id = gen_random_uuid() WHERE shard = 1", "orphan_entries"),
        ("entry SET reference = 'x' WHERE shard = 1", "orphan_transfers"),
        ("payable SET amount_minor = amount_minor + 1 WHERE party_id = 'superapp'", "payables_unequal"),
        ("account_delta SET credit_minor = credit_minor + 1", "deltas_unequal"),
        ("transfer SET credit_account = 'suspense' WHERE credit_account LIKE 'vat:%'", "hash_chain"),
        ("entry SET cdr_id = 'other'", "hash_chain"),
        ("batch SET previous_hash = hash", "hash_chain"),
        ("fx_lock SET rate = rate * 2", "fx_lock"),
        ("disbursement SET amount_minor = amount_minor + 1", "disbursements_unequal"),
    ],
)
async def test_the_audit_finds_tampering(
    pool: Pool, service: ClearingServices, change: str, check: str
) -> None:
    await clear(pool, service, world.session(1, demand_partner_id="parking"), world.session(2))
    async with transaction(pool) as connection:
        await service.disbursements.plan(connection, now=THURSDAY)
    assert (await audit(pool, service)).ok
    async with transaction(pool) as connection:
        await connection.execute(
            f"ALTER TABLE clearing.entry DROP CONSTRAINT entry_check1; UPDATE clearing.{change}"
        )
    report = await audit(pool, service)
    assert not report.ok
    assert check in {finding.check for finding in report.findings}


async def test_a_closed_period_rejects_back_dating(pool: Pool, service: ClearingServices) -> None:
    async with transaction(pool) as connection:
        await connection.execute(
            "INSERT INTO clearing.closed_period VALUES ($1, $2, 'test')", NOW + timedelta(seconds=1), NOW
        )
    with pytest.raises(ClosedPeriodError):
        await clear(pool, service, world.session(1))


async def test_an_agreement_version_is_never_edited(pool: Pool, service: ClearingServices) -> None:
    async with transaction(pool) as connection:
        await service.reference_data.put_agreement(connection, world.agreement(world.NL_CPO), now=NOW)
        with pytest.raises(ClearingConflictError, match="add a new version"):
            await service.reference_data.put_agreement(
                connection, world.agreement(world.NL_CPO, fx_markup_bps=10), now=NOW
            )


async def test_the_kind_of_a_party_never_changes(pool: Pool, service: ClearingServices) -> None:
    async with transaction(pool) as connection:
        with pytest.raises(InvalidPartyError):
            await service.reference_data.register_party(
                connection, replace(world.NL_CPO, kind=PartyKind.EMSP), now=NOW
            )


async def test_a_change_of_terms_binds_later_batches_only(pool: Pool, service: ClearingServices) -> None:
    first = await clear(pool, service, world.session(1))
    async with transaction(pool) as connection:
        newer = world.agreement(
            world.NL_CPO, version=2, shares=(world.Share(role=world.Role.PLATFORM, basis_points=5000),)
        )
        await service.reference_data.put_agreement(connection, newer, now=NOW)
    second = await clear(pool, service, world.session(2))
    assert first.cleared[0].platform_fee_minor == 60
    assert second.cleared[0].platform_fee_minor == 250


async def test_tiers_count_the_month_across_batches_and_workers(
    pool: Pool, service: ClearingServices
) -> None:
    tiers = (Tier(from_sessions=11, basis_points=1000), Tier(from_sessions=31, basis_points=500))
    share = world.Share(role=world.Role.PLATFORM, basis_points=2000, tiers=tiers)
    async with transaction(pool) as connection:
        await service.reference_data.put_agreement(
            connection, world.agreement(world.NL_CPO, version=2, shares=(share,)), now=NOW
        )

    async def work(first: int) -> ClearingBatch:
        async with transaction(pool) as connection:
            sessions = [world.session(number) for number in range(first, first + 10)]
            return await service.sessions.clear_batch(
                connection, sessions, now=NOW, batch_id=uuid4(), chain=first
            )

    batches = await asyncio.gather(*(work(first) for first in (100, 110, 120, 130)))
    fees = sorted(cleared.platform_fee_minor for batch in batches for cleared in batch.cleared)
    # Of a net of 5.00 each: 10 at 20 %, 20 at 10 %, 10 at 5 %.
    assert fees == [25] * 10 + [50] * 20 + [100] * 10
    next_month = world.session(999, sale_at=datetime(2026, 11, 1, 12, 0, tzinfo=UTC))
    assert (await clear(pool, service, next_month)).cleared[0].platform_fee_minor == 100


async def test_an_executed_exchange_closes_the_position_and_books_gain_or_loss(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, *(world.session(number, demand_partner_id="parking") for number in range(10)))

    async def execute(sold: int, bought: int, reference: str) -> bool:
        async with transaction(pool) as connection:
            return await ledger_service.record_fx_execution(
                connection,
                base="EUR",
                quote="CHF",
                sold_minor=sold,
                bought_minor=bought,
                reference=reference,
                now=NOW,
            )

    async def position() -> dict[str, int]:
        async with transaction(pool) as connection:
            return {
                f"{found.account.split(':')[2]} {found.currency}": found.minor
                for found in await ledger_service.list_balances(connection, prefix="fx:")
            }

    # Ten commissions of 0.40 + 8.1 % Swiss VAT: 4.30 EUR taken, 0.43 at 0.9236 is 0.40 CHF each: 4.00 given.
    before = await position()
    assert before == {"position EUR": 430, "position CHF": -400}
    assert await execute(215, 205, "x1")  # half of it cost 2.00: a gain of 0.05
    assert not await execute(215, 205, "x1")
    assert await position() == {"position EUR": 215, "position CHF": -200, "result CHF": 5}
    assert await execute(215, 190, "x2")  # a loss of 0.10
    assert await position() == {"position EUR": 0, "position CHF": 0, "result CHF": -5}
    with pytest.raises(ClearingConflictError, match="holds 0"):
        await execute(1, 1, "x3")
    report = await audit(pool, service)
    assert report.ok, (report.findings, report.proof)


@pytest.mark.parametrize(
    ("error", "posted"),
    [
        (asyncpg.UniqueViolationError("posted meanwhile"), 40),
        (asyncpg.InternalServerError("as a node of a distributed database says it"), 40),
        (asyncpg.DataCorruptedError("invalid page in block 7"), 0),
        (asyncpg.IndexCorruptedError("index is broken"), 0),
    ],
)
async def test_a_copy_goes_on_row_by_row_where_an_entry_may_be_posted_and_never_over_damage(
    pool: Pool,
    service: ClearingServices,
    monkeypatch: pytest.MonkeyPatch,
    error: asyncpg.PostgresError,
    posted: int,
) -> None:
    sessions = [world.session(number) for number in range(1, 41)]
    copy = asyncpg.Connection.copy_records_to_table

    async def failing(connection: Any, table: str, **given: Any) -> str:
        if table == "entry":
            raise error
        return str(await copy(connection, table, **given))

    monkeypatch.setattr(asyncpg.Connection, "copy_records_to_table", failing)
    cleared = clear(pool, service, *sessions)
    if posted:
        await cleared
    else:
        with pytest.raises(type(error)):
            await cleared
    assert await pool.fetchval("SELECT count(*) FROM clearing.entry") == posted
