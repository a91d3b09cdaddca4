"""The daily audit of the ledger: from a sealed checkpoint on, and a share of what is older again.

Owns: the order of a run and what each check rests on. Must not know: the gateway, how a page is proved, who
opens a transaction.

`open_run` reads the last checkpoint, `steps` and `shards` are proved one after another, each with statements
of its own, and `finish` compares the sums in one short snapshot. `seal_run` stores the next checkpoint, only
for a run without findings: what differs is found again by each run until it is mended.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from clearing import audit_repository
from clearing.audit import AuditFinding, AuditReport, proof_lines
from clearing.connection import Connection
from clearing.daily_audit import repository
from clearing.daily_audit.checkpoint import (
    ChainHead,
    ChainPosition,
    CheckpointContent,
    RecheckShare,
    SealedCheckpoint,
    broken_links,
    seal,
)
from clearing.daily_audit.proof import missing_positions, prove_page
from clearing.daily_audit.run import CHECKS, SHARDS, ChainStep, LedgerRun, StepPart
from clearing.documents import service as document_service
from clearing.ledger import balance_repository
from clearing.ledger.balances import AccountBalance
from clearing.ledger.hash_chain import GENESIS

_POSITIONS_A_STEP: Final = 64
_DRIVER_SERIES: Final = ("DI-", "DC-", "DR-", "DB-")


async def find_latest_checkpoint(connection: Connection) -> SealedCheckpoint | None:
    """Up to where the last daily run proved everything, and when; None before the first."""
    return await repository.find_latest_checkpoint(connection)


async def list_chain_heads(connection: Connection) -> tuple[Sequence[ChainHead], SealedCheckpoint | None]:
    """The last batch of each chain, and the checkpoint that says up to where each is proved; reads only."""
    sealed = await repository.find_latest_checkpoint(connection)
    proved: Mapping[int, ChainPosition] = {}
    if sealed is not None:
        text = await repository.load_content(connection, sealed.sequence)
        proved = CheckpointContent.from_text(text).chains
    heads = [
        ChainHead(**dict(row.items()), proved=proved.get(row["chain"]))
        for row in await repository.list_last_batches(connection)
    ]
    return heads, sealed


async def open_run(connection: Connection, *, shares: int, known: tuple[int, str] | None = None) -> LedgerRun:
    """Verify the checkpoints and read where the journal stands.

    `known` is the number and the hash (hex) of a checkpoint that were kept outside of the database. If any
    checkpoint was changed, the run rests on none of them and proves everything.
    """
    stored = await repository.list_checkpoints(connection)
    findings = [_of_checkpoint(sequence, detail) for sequence, detail in broken_links(stored)]
    if known is not None and not any((one.sequence, one.hash.hex()) == known for one in stored):
        findings.append(_of_checkpoint(known[0], f"is not the one with the hash {known[1]}"))
    number = len(stored) % shares
    text: str | None = None
    for one in stored:
        if one is not stored[-1] and one.sequence % shares != number:
            continue
        text = await repository.load_content(connection, one.sequence)
        if sha256(text.encode()).digest() != one.content_sha256:
            findings.append(_of_checkpoint(one.sequence, "its content is not what was sealed"))
            text = None
    intact: Sequence[SealedCheckpoint] = stored if text is not None and not findings else ()
    before = CheckpointContent(shares=shares)
    if intact and text is not None:
        before = CheckpointContent.from_text(text)
    documented = await repository.load_document_cursors(connection)
    run = LedgerRun(
        checkpoints=intact,
        before=before,
        shares=shares,
        share=RecheckShare(number=intact[-1].sequence % shares, of=shares) if intact else None,
        heads=await repository.load_heads(connection),
        documented=documented,
        pending=await repository.list_pending_positions(connection),
        figures=before.figures,
        findings=findings,
    )
    await _compare_heads(connection, run)
    return run


async def _compare_heads(connection: Connection, run: LedgerRun) -> None:
    """Each chain still has the batch up to which the checkpoint sealed it: no batch was sealed anew."""
    for chain, sealed in run.before.chains.items():
        stored = [
            batch["hash"]
            async for group in repository.read_batches(connection, chain, [sealed.position])
            for batch in group
        ]
        if stored != [sealed.hash]:
            run.find("hash_chain", f"chain {chain}", f"position {sealed.position} is not what was sealed")


def steps(run: LedgerRun) -> Iterator[ChainStep]:
    """What of each chain is to be proved: what is new, the share of what is older, documents issued since."""
    for chain, head in run.heads.items():
        before = run.before.chains.get(chain, ChainPosition())
        late = (*before.undocumented, *range(before.documented + 1, before.position + 1))
        asked = (
            (StepPart.NEW, range(before.position + 1, head + 1)),
            (StepPart.AGAIN, run.share.positions(before.position) if run.share else ()),
            (StepPart.DOCUMENTS, [one for one in late if one <= run.documented.get(chain, 0)]),
        )
        for part, positions in asked:
            for start in range(0, len(positions), _POSITIONS_A_STEP):
                some = positions[start : start + _POSITIONS_A_STEP]
                yield ChainStep(part=part, chain=chain, positions=some)


async def prove_step(connection: Connection, run: LedgerRun, step: ChainStep) -> set[UUID]:
    """Prove a step's batches; the sessions of their entries, so that others can be compared with them."""
    sessions: set[UUID] = set()
    found: list[int] = []
    async for group in repository.read_batches(connection, step.chain, step.positions):
        found += [batch["position"] for batch in group]
        run.batches[step.part] += len(group)
        documented = run.documented.get(step.chain, 0)
        for subject, detail in await repository.find_undocumented(
            connection, [batch for batch in group if batch["position"] <= documented]
        ):
            run.find("documents_unequal", subject, detail)
        if step.part is StepPart.DOCUMENTS:
            continue
        page = await repository.load_page(connection, group)
        proof = prove_page(page, run.figures if step.part is StepPart.NEW else None)
        run.entries[step.part] += len(page.entries)
        run.findings += proof.findings
        run.disbursements |= proof.disbursements
        sessions |= proof.sessions
        if step.part is StepPart.NEW:
            run.positions[step.chain] = _position(run, group[-1])
    run.findings += missing_positions(step.positions, found, chain=step.chain)
    return sessions


def _position(run: LedgerRun, batch: Any) -> ChainPosition:
    documented = min(batch["position"], run.documented.get(batch["chain"], 0))
    return ChainPosition(
        position=batch["position"],
        hash=batch["hash"],
        documented=documented,
        undocumented=tuple(one for one in run.pending.get(batch["chain"], ()) if one <= documented),
    )


def shards(run: LedgerRun) -> Sequence[int]:
    """The shards whose every row is proved to have the row that it belongs to."""
    return range(SHARDS) if run.share is None else run.share.shards(SHARDS)


async def prove_shard(connection: Connection, run: LedgerRun, shard: int) -> None:
    """Find transfers and payables without an entry, and entries without a batch, of one shard."""
    run.shards.append(shard)
    for check, subject, detail in await repository.find_orphans(connection, shard):
        run.find(check, subject, detail)


async def sum_captured(connection: Connection, sessions: Sequence[UUID]) -> dict[tuple[UUID, str], int]:
    """What the journal has as captured of each session, less what was given back, by currency."""
    return await repository.sum_captured(connection, sessions)


async def finish(connection: Connection, run: LedgerRun, *, now: datetime) -> tuple[AuditReport, set[UUID]]:
    """Prove what was booked meanwhile, then compare every sum; the sessions of what was booked meanwhile.

    Needs one snapshot: the caller's transaction is repeatable read.
    """
    sessions: set[UUID] = set()
    for chain, head in (await repository.load_heads(connection)).items():
        first = run.heads.get(chain, 0) + 1
        if first <= head:
            step = ChainStep(part=StepPart.NEW, chain=chain, positions=range(first, head + 1))
            sessions |= await prove_step(connection, run, step)
            run.heads[chain] = head
    for chain, before in run.before.chains.items():
        if chain not in run.positions:
            proved = {"position": before.position, "hash": before.hash, "chain": chain}
            run.positions[chain] = _position(run, proved)
    unpaid = await repository.sum_unpaid(connection)
    await _compare_sums(connection, run, unpaid)
    await _prove_disbursements(connection, run)
    await _prove_documents(connection, run)
    await _prove_snapshots(connection, run)
    for subject, detail in await audit_repository.find_violations(connection, "approvals_unposted"):
        run.find("approvals_unposted", subject, detail)
    return _report(run, unpaid, now=now), sessions


async def _compare_sums(
    connection: Connection, run: LedgerRun, unpaid: Mapping[tuple[str, str], int]
) -> None:
    """Every balance is the sum of the proved entries; what is open is what the parties' accounts owe."""
    figures = run.figures
    stored = {
        (one.account, one.currency): (one.debit_minor, one.credit_minor)
        for one in await balance_repository.list_balances(connection)
    }
    owed: dict[tuple[str, str], int] = {}
    suspense: dict[str, int] = {}
    for key in sorted({*stored, *figures.accounts()}):
        proved = figures.debits.get(key, 0), figures.credits.get(key, 0)
        found = stored.get(key, (0, 0))
        account, currency = key
        if found != proved:
            detail = f"the balance is {found[0]}/{found[1]}, its entries sum to {proved[0]}/{proved[1]}"
            run.find("balances_unequal", f"{account} {currency}", detail)
        if account.endswith(":payable"):
            party = account.split(":")[1], currency
            owed[party] = owed.get(party, 0) + proved[1] - proved[0]
        elif account == "suspense":
            suspense[currency] = proved[1] - proved[0]
    for party in sorted({*owed, *unpaid}):
        if owed.get(party, 0) != unpaid.get(party, 0):
            detail = f"the balance is {owed.get(party, 0)}, payables sum to {unpaid.get(party, 0)}"
            run.find("open_unequal", " ".join(party), detail)
    items = await repository.sum_suspense(connection)
    for currency in sorted({*items, *suspense}):
        if items.get(currency, 0) != suspense.get(currency, 0):
            detail = f"the balance is {suspense.get(currency, 0)}, its items sum to {items.get(currency, 0)}"
            run.find("suspense_unequal", currency, detail)


async def _prove_disbursements(connection: Connection, run: LedgerRun) -> None:
    span = await repository.find_disbursement_days(connection)
    days: list[date] = []
    if span is not None:
        first, last = span[0].toordinal(), span[1].toordinal()
        share = run.share or RecheckShare(number=0, of=1)
        days = [date.fromordinal(one) for one in share.ordinals(first, last)]
    run.proved_disbursements, found = await repository.prove_disbursements(
        connection, ids=list(run.disbursements), days=days
    )
    for check, subject, detail in found:
        run.find(check, subject, detail)


async def _prove_documents(connection: Connection, run: LedgerRun) -> None:
    """Numbers without gaps and contents as issued: the new ones, and the share of the older ones."""
    run.series = await repository.load_series(connection)
    share = run.share or RecheckShare(number=0, of=1)
    for key, following in run.series.items():
        if not key[1].startswith(_DRIVER_SERIES):
            continue
        first = run.before.series.get(key, 1)
        ranges = [(first, following - 1)] if first < following else []
        if following < first:
            run.find("documents_gapped", key[1], f"the next number is {following}, it was {first}")
        for one, last in (*ranges, *share.blocks(first - 1)):
            stored, distinct = await repository.count_driver_documents(
                connection, key[1], first=one, last=last
            )
            if not stored == distinct == last - one + 1:
                detail = f"of the numbers {one} to {last} {distinct} are stored, in {stored} documents"
                run.find("documents_gapped", key[1], detail)
        beyond, _ = await repository.count_driver_documents(
            connection, key[1], first=following, last=following + 1_000_000
        )
        if beyond:
            run.find("documents_gapped", key[1], f"{beyond} documents have numbers not assigned yet")
    numbers = {key: run.before.series.get(key, 1) for key in run.series}
    contents = await repository.read_hashed_documents(
        connection, numbers, share=share.number, shares=share.of
    )
    for name in document_service.altered_among(contents):
        run.find("documents_altered", name, "the content is not what was issued")


async def _prove_snapshots(connection: Connection, run: LedgerRun) -> None:
    """The newest snapshot of balances, and the share of the older ones, each from the one before it.

    All balances are the newest snapshot and the deltas after it, so each run compares it as a whole.
    """
    days = await repository.list_snapshot_days(connection)
    for number, at in enumerate(days):
        if run.share is None or number == len(days) - 1 or number % run.share.of == run.share.number:
            before = days[number - 1] if number else None
            for subject, detail in await repository.find_snapshot_differences(
                connection, at=at, before=before
            ):
                run.find("snapshots_unequal", subject, detail)


def _report(run: LedgerRun, unpaid: Mapping[tuple[str, str], int], *, now: datetime) -> AuditReport:
    figures = run.figures
    open_minor: dict[str, int] = {}
    for (_, currency), minor in unpaid.items():
        open_minor[currency] = open_minor.get(currency, 0) + minor
    excluded = dict(figures.executed)
    for currency, minor in figures.returned_fees.items():
        excluded["platform:psp:expense", currency] = minor
    balances = [
        AccountBalance(
            account=account,
            currency=currency,
            debit_minor=figures.debits.get((account, currency), 0),
            credit_minor=figures.credits.get((account, currency), 0),
        )
        for account, currency in figures.accounts()
    ]
    proof = proof_lines(
        balances,
        captured=figures.captured,
        unpaid=open_minor,
        paid=figures.paid,
        received=figures.received,
        excluded=excluded,
    )
    counted = Counter(finding.check for finding in run.findings)
    return AuditReport(
        proof=proof,
        findings=run.findings,
        checks={name: counted.get(name, 0) for name in CHECKS},
        batches=run.batches[StepPart.NEW] + run.batches[StepPart.AGAIN],
        audited_at=now,
    )


async def seal_run(
    connection: Connection, run: LedgerRun, *, caller: Mapping[str, Any], sealed_at: datetime
) -> SealedCheckpoint:
    """Store what this run proved as the next checkpoint.

    Raises UniqueViolationError if another run sealed it meanwhile. Call it only for a run without findings.
    """
    content = CheckpointContent(
        chains=run.positions,
        series=run.series,
        figures=run.figures,
        shares=run.shares,
        caller=caller,
    ).to_text()
    sealed = seal(
        content,
        sequence=run.sequence,
        sealed_at=sealed_at,
        shares=run.shares,
        previous_hash=run.checkpoints[-1].hash if run.checkpoints else GENESIS,
    )
    await repository.insert_checkpoint(connection, sealed, content)
    return sealed


def _of_checkpoint(sequence: int, detail: str) -> AuditFinding:
    return AuditFinding(check="checkpoint", subject=f"checkpoint {sequence}", detail=detail)
