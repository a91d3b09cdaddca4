"""The daily audit of the whole system: from the last checkpoint on, with a share of what is older again.

Owns: which sessions, accounts and PSP movements a run compares, and what it carries to the next one. Must not
know: how the ledger proves its rows. It keeps no snapshot but those of a page, and of the sums at its end;
beside the next checkpoint it writes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from clearing.audit import AuditFinding
from clearing.connection import UniqueViolationError
from clearing.daily_audit import service as ledger_audit
from clearing.daily_audit.checkpoint import DEFAULT_SHARES, SealedCheckpoint
from clearing.daily_audit.run import LedgerRun, describe
from clearing.reporting.open_items import list_psp_differences
from gateway.acts.service import verify_acts
from gateway.audit import daily_audit_repository, system_audit_repository
from gateway.audit.checks import (
    SHOWN,
    AuditCheck,
    AuditResult,
    account_finding,
    act_check,
    act_findings,
    agrees_unless,
    session_findings,
)
from gateway.audit.psp_comparison import OwnFigures, compare_with_psp
from gateway.audit.psp_record import own_figures, psp_checks, psp_findings, psp_not_compared, without_record
from gateway.audit.system_audit import SystemAudit
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import SHARD_COUNT, format_id
from gateway.payments import unbooked_charge_repository
from gateway.payments.psp.failures import PspOutcomeUnknown
from gateway.payments.psp.movement_port import PspTotals
from gateway.payments.psp.port import Psp
from gateway.personal_data import retention_service

_COMPARED_WITH_PSP: Final = frozenset({"psp_balance", "psp_converted"})
# Sessions begun and PSP movements made in the last hour are read once more: their rows may commit late.
_OVERLAP: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyAudit:
    """What a run came to, the checkpoint that it went on from and the one that it sealed.

    None: everything was proved; it found something, or another run sealed its own.
    """

    audit: SystemAudit
    checkpoint: SealedCheckpoint | None
    rests_on: SealedCheckpoint | None


@dataclass(slots=True, kw_only=True)
class _Run:
    """A run under way. An accumulator."""

    ledger: LedgerRun
    findings: list[AuditFinding] = field(default_factory=list)
    open: set[UUID] = field(default_factory=set)
    sessions: int = 0
    accounts: int = 0


async def audit_daily(
    pool: Pool,
    *,
    clock: Clock,
    psp: Psp | None,
    psp_expected: bool = False,
    shares: int = DEFAULT_SHARES,
    known: tuple[int, str] | None = None,
) -> DailyAudit:
    """Prove what is new since the last checkpoint and a share of what is older, then seal the next one.

    Without a checkpoint everything is proved. `known` is the number and the hash of a checkpoint, kept
    outside of the database. `psp` None leaves the PSP out; with `psp_expected` that is not compared.
    """
    began = clock.wall_now()
    async with pool.acquire() as connection:
        ledger = await ledger_audit.open_run(connection, shares=shares, known=known)
    run = _Run(ledger=ledger)
    await _prove_rows(pool, run)
    sealed_psp = _sealed_psp(ledger.before.caller)
    async with transaction(pool, isolation="repeatable_read") as connection:
        before = await _own_figures(connection, run)
    horizon = (clock.now() - _OVERLAP).replace(microsecond=0)
    records = None if psp is None else await _read_psp(psp, sealed_psp, horizon=horizon)
    async with transaction(pool, isolation="repeatable_read") as connection:
        report, sessions = await ledger_audit.finish(connection, ledger, now=clock.now())
        await _prove_sessions(connection, run, sorted(sessions))
        await _prove_accounts(connection, run)
        after = await _own_figures(connection, run)
        waiting = await unbooked_charge_repository.sum_by_currency(connection)
        differences = await list_psp_differences(connection, limit=SHOWN)
        open_work = await system_audit_repository.open_work(connection)
        retention = await retention_service.find_latest_run(connection)
        acts = await verify_acts(connection)
    checks = [*_own_checks(run), act_check(acts)]
    run.findings += act_findings(acts)
    if records is None:
        checks.append(without_record(expected=psp_expected))
    elif isinstance(records, PspOutcomeUnknown):
        checks.append(psp_not_compared(records.reason))
    else:
        compared = [
            one
            for one in compare_with_psp(records.all, before=before, after=after)
            if one.check in _COMPARED_WITH_PSP
        ]
        checks += [*psp_checks(compared, after), _TOTALS_LEFT_OUT]
        run.findings += psp_findings(compared, differences=differences, unbooked=waiting)
        sealed_psp = records.sealed
    audit = SystemAudit(
        clearing=report, findings=run.findings, checks=checks, open_work=open_work, retention=retention
    )
    rests_on = ledger.last
    caller = {"open": sorted(one.hex for one in run.open), "psp": sealed_psp.as_json()}
    checkpoint = None
    if audit.result is not AuditResult.DIFFERS:
        checkpoint = await _seal(pool, ledger, caller=caller, sealed_at=began)
    return DailyAudit(audit=audit, checkpoint=checkpoint, rests_on=rests_on)


async def _seal(
    pool: Pool, ledger: LedgerRun, *, caller: Mapping[str, Any], sealed_at: datetime
) -> SealedCheckpoint | None:
    """None: another run sealed its own meanwhile; the next run goes on from that one."""
    try:
        async with transaction(pool) as connection:
            return await ledger_audit.seal_run(connection, ledger, caller=caller, sealed_at=sealed_at)
    except UniqueViolationError:
        return None


# Rows


async def _prove_rows(pool: Pool, run: _Run) -> None:
    """Every step with its sessions, the shards of the share, sessions begun since and those left open."""
    ledger = run.ledger
    for step in ledger_audit.steps(ledger):
        async with pool.acquire() as connection:
            sessions = await ledger_audit.prove_step(connection, ledger, step)
        await _prove_pages(pool, run, sorted(sessions))
    whole = set(ledger_audit.shards(ledger))
    for shard in whole:
        async with pool.acquire() as connection:
            await ledger_audit.prove_shard(connection, ledger, shard)
    await _prove_pages(pool, run, [UUID(one) for one in ledger.before.caller.get("open", ())])
    since = UUID(int=0) if ledger.last is None else _first_id(ledger.last.sealed_at - _OVERLAP)
    for shard in range(SHARD_COUNT):
        async with pool.acquire() as connection:
            pages = daily_audit_repository.read_shard(
                connection, shard, after=UUID(int=0) if shard in whole else since
            )
            async for page in pages:
                await _prove_pages(pool, run, page)


def _first_id(instant: datetime) -> UUID:
    """No id made from this instant on is lower (RFC 9562 section 5.7: 48 bits of milliseconds lead)."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)


async def _prove_pages(pool: Pool, run: _Run, sessions: Sequence[UUID]) -> None:
    for start in range(0, len(sessions), daily_audit_repository.PAGE):
        async with transaction(pool, isolation="repeatable_read") as connection:
            await _prove_sessions(connection, run, sessions[start : start + daily_audit_repository.PAGE])


async def _prove_sessions(connection: Connection, run: _Run, sessions: Sequence[UUID]) -> None:
    """Each session with its authorization, its capture and the journal, all of one snapshot."""
    if not sessions:
        return
    run.sessions += len(sessions)
    run.open.update(await daily_audit_repository.find_open(connection, sessions))
    failed = await daily_audit_repository.find_failed_checks(connection, sessions)
    run.findings += session_findings(failed)
    cleared = await daily_audit_repository.sum_cleared(connection, sessions)
    posted = await ledger_audit.sum_captured(connection, sessions)
    for session, currency in sorted({*cleared, *posted}):
        ours, theirs = cleared.get((session, currency), 0), posted.get((session, currency), 0)
        if ours != theirs:
            run.findings.append(
                AuditFinding(
                    check="captures_equal_postings",
                    subject=format_id("ses", session),
                    detail=f"captured {ours}, posted {theirs} {currency} minor units",
                )
            )


async def _prove_accounts(connection: Connection, run: _Run) -> None:
    share = run.ledger.share
    accounts = await daily_audit_repository.list_accounts(
        connection, share=0 if share is None else share.number, shares=1 if share is None else share.of
    )
    run.accounts = len(accounts)
    for party_id, currency in accounts:
        found = await system_audit_repository.find_account_differences(
            connection, party_id=party_id, currency=currency
        )
        run.findings += [account_finding(one) for one in found]


def _own_checks(run: _Run) -> list[AuditCheck]:
    """What was compared without the PSP, and what of it rests on the checkpoint."""
    wrong = {finding.check for finding in run.ledger.findings}
    described = describe(run.ledger)
    older = described[0].rests_on
    checks = [
        AuditCheck(
            name=one.name,
            subject="all",
            result=agrees_unless(wrong.intersection(one.checks)),
            compared=one.compared,
            left_out=one.rests_on,
        )
        for one in described
    ]
    failed = {finding.check for finding in run.findings}
    return [
        *checks,
        AuditCheck(
            name="sessions",
            subject="all",
            result=agrees_unless(failed - {"funded_account"}),
            compared=f"{run.sessions} sessions (new, open, booked again): authorization, capture, journal",
            left_out=older,
        ),
        AuditCheck(
            name="funded_accounts",
            subject="all",
            result=agrees_unless("funded_account" in failed),
            compared=f"{run.accounts} funded accounts with their fundings, captures and holds",
            left_out=f"the other accounts; {older}" if older else "",
        ),
    ]


# The PSP


@dataclass(frozen=True, slots=True, kw_only=True)
class _SealedPsp:
    """The PSP's own sums of everything before `until`, by currency."""

    until: datetime | None = None
    totals: Mapping[str, PspTotals] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "until": None if self.until is None else self.until.isoformat(),
            "totals": [asdict(one) for _, one in sorted(self.totals.items())],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _PspRecords:
    all: Sequence[PspTotals]
    sealed: _SealedPsp


def _sealed_psp(caller: Mapping[str, Any]) -> _SealedPsp:
    found = caller.get("psp")
    if not found or found["until"] is None:
        return _SealedPsp()
    return _SealedPsp(
        until=datetime.fromisoformat(found["until"]),
        totals={one["currency"]: PspTotals(**one) for one in found["totals"]},
    )


async def _read_psp(psp: Psp, sealed: _SealedPsp, *, horizon: datetime) -> _PspRecords | PspOutcomeUnknown:
    """The PSP's sums of all time: those sealed, those up to the horizon (sealed next), and the rest."""
    totals = sealed.totals
    until = sealed.until
    if until is None or until < horizon:
        found = await psp.list_records(since=until, until=horizon)
        if isinstance(found, PspOutcomeUnknown):
            return found
        totals, until = _added(totals.values(), found), horizon
    newest = await psp.list_records(since=until)
    if isinstance(newest, PspOutcomeUnknown):
        return newest
    return _PspRecords(
        all=list(_added(totals.values(), newest).values()), sealed=_SealedPsp(until=until, totals=totals)
    )


def _added(first: Iterable[PspTotals], second: Iterable[PspTotals]) -> dict[str, PspTotals]:
    sums: dict[str, PspTotals] = {}
    for one in (*first, *second):
        known = asdict(sums.get(one.currency, PspTotals(currency=one.currency)))
        fields = {name: known[name] + minor for name, minor in asdict(one).items() if name != "currency"}
        sums[one.currency] = PspTotals(currency=one.currency, **fields)
    return sums


async def _own_figures(connection: Connection, run: _Run) -> dict[str, OwnFigures]:
    """Ours by currency of one instant, for the PSP's balance and conversions."""
    return await own_figures(
        connection,
        converted=run.ledger.figures.converted,
        under_way=await daily_audit_repository.sum_under_way(connection, sorted(run.open)),
    )


_TOTALS_LEFT_OUT: Final = AuditCheck(
    name="psp_totals",
    subject="all",
    result=AuditResult.LEFT_OUT,
    compared="nothing",
    left_out="captures and refunds at the PSP as sums of their own: only the full audit adds ours up",
)
