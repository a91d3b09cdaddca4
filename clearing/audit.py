"""The audit: everything that must hold about the books, recomputed from the stored rows.

Owns: the list of checks, the equation per currency, the recomputation of every hash. Must not know: how a
violation came about. It only reads, and it streams: memory doesn't grow with the journal.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from clearing import audit_repository
from clearing.connection import Connection
from clearing.documents import service as document_service
from clearing.fx import FxLock, convert
from clearing.identifiers import format_id
from clearing.ledger import balance_repository, hash_chain
from clearing.ledger.balances import AccountBalance
from clearing.ledger.journal_entry import Transfer

_SQL_CHECKS: Final = (
    "transit_not_zero",
    "orphan_transfers",
    "orphan_payables",
    "captures_unposted",
    "supplies_unequal",
    "deltas_unequal",
    "snapshots_unequal",
    "payables_unequal",
    "open_unequal",
    "disbursements_unequal",
    "disbursements_unposted",
    "orphan_entries",
    "documents_gapped",
    "documents_unequal",
    "suspense_unequal",
    "approvals_unposted",
    "statements_unequal",
    "returned_unequal",
)
# Whose id a check's subject begins with, where it is no session's.
_PREFIXES: Final = {
    "disbursements_unequal": "dis",
    "disbursements_unposted": "dis",
    "statements_unequal": "dis",
    "returned_unequal": "dis",
    "approvals_unposted": "rdc",
}
_OF_SESSIONS: Final = frozenset({"capture", "refund", "refund_failed", "dispute", "dispute_won"})
_OF_DISBURSEMENTS: Final = frozenset(
    {
        "disbursement",
        "disbursement_return",
        "reserve_withheld",
        "reserve_release",
        "remainder_carried",
        "remainder_release",
    }
)
_UUID_LENGTH: Final = 36
_OTHER_KINDS: Final = ("reserve", "suspense")
_OTHER_ACCOUNTS: Final = ("platform:dispute:expense", "platform:receivable:expense")
_ALTERED: Final = "the content is not what was issued"
# Kinds that give money back to the driver, each with its sign in "captured".
_CAPTURED_SIGN: Final = {
    "capture": 1,
    "refund": -1,
    "refund_failed": 1,
    "dispute": -1,
    "dispute_won": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofLine:
    """The equation of one currency, in minor units: `difference_minor` must be 0.

    captured + received + fx_bought + input_vat = vat + platform + paid + open + fx_sold + other (refunds and
    reversals are within each; received is money recorded as received outside of captures).
    """

    currency: str
    captured_minor: int
    received_minor: int = 0
    input_vat_minor: int
    output_vat_minor: int
    platform_minor: int
    paid_minor: int
    open_minor: int
    fx_sold_minor: int
    fx_bought_minor: int
    other_minor: int
    difference_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFinding:
    """One violation: which check, which record, what was expected."""

    check: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """The result of an audit. `ok` only if there is no finding and every difference is 0."""

    proof: Sequence[ProofLine]
    findings: Sequence[AuditFinding]
    checks: Mapping[str, int]
    batches: int
    audited_at: datetime

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return not self.findings and all(line.difference_minor == 0 for line in self.proof)


async def audit_ledger(connection: Connection, *, now: datetime) -> AuditReport:
    """Every check, on one snapshot if the caller's transaction is repeatable read."""
    findings: list[AuditFinding] = []
    checks: dict[str, int] = {}
    for name in _SQL_CHECKS:
        found = await audit_repository.find_violations(connection, name)
        findings.extend(
            AuditFinding(check=name, subject=shown_subject(name, subject), detail=detail)
            for subject, detail in found
        )
        checks[name] = len(found)
    batches = 0
    hash_findings: list[AuditFinding] = []
    async for finding in _chains(connection):
        if finding is None:
            batches += 1
        else:
            hash_findings.append(finding)
    for name in ("hash_chain", "fx_lock"):
        checks[name] = sum(finding.check == name for finding in hash_findings)
    altered = await document_service.find_altered(connection)
    findings += [AuditFinding(check="documents_altered", subject=name, detail=_ALTERED) for name in altered]
    checks["documents_altered"] = len(altered)
    proof = await prove(connection)
    return AuditReport(
        proof=proof, findings=[*findings, *hash_findings], checks=checks, batches=batches, audited_at=now
    )


async def prove(connection: Connection) -> list[ProofLine]:
    """Each currency's equation, its terms taken from separate tables.

    captured + received + input VAT + bought = output VAT + platform + paid + open + sold + other, where
    `received` is money that staff recorded as received from a party or into suspense, minus what has left
    suspense.
    """
    captured: dict[str, int] = {}
    for currency, kind, minor in await audit_repository.list_captured(connection):
        captured[currency] = captured.get(currency, 0) + _CAPTURED_SIGN[kind] * minor
    unpaid = await audit_repository.sum_unpaid(connection)
    paid = await audit_repository.sum_disbursed(connection)
    received = await audit_repository.sum_received(connection)
    excluded = dict(await balance_repository.sum_executed(connection))
    for currency, minor in (await audit_repository.sum_returned_fees(connection)).items():
        excluded["platform:psp:expense", currency] = minor
    return proof_lines(
        await balance_repository.list_balances(connection),
        captured=captured,
        unpaid=unpaid,
        paid=paid,
        received=received,
        excluded=excluded,
    )


def proof_lines(
    balances: Sequence[AccountBalance],
    *,
    captured: Mapping[str, int],
    unpaid: Mapping[str, int],
    paid: Mapping[str, int],
    received: Mapping[str, int],
    excluded: Mapping[tuple[str, str], int],
) -> list[ProofLine]:
    """The equation of each currency from its terms, in minor units by currency.

    `excluded` is taken out of an account's credits: a position that an execution closed was still opened by
    its captures; a fee that the PSP returned was charged to no other party.
    """
    accounts = [
        replace(
            balance,
            credit_minor=balance.credit_minor - excluded.get((balance.account, balance.currency), 0),
        )
        for balance in balances
    ]
    currencies = sorted({*captured, *unpaid, *paid, *(balance.currency for balance in accounts)})
    return [
        _proof_line(
            currency,
            [balance for balance in accounts if balance.currency == currency],
            captured=captured.get(currency, 0),
            unpaid=unpaid.get(currency, 0),
            paid=paid.get(currency, 0),
            received=received.get(currency, 0),
        )
        for currency in currencies
    ]


def _proof_line(
    currency: str, accounts: list[AccountBalance], *, captured: int, unpaid: int, paid: int, received: int
) -> ProofLine:
    output_vat = input_vat = platform = sold = bought = other = 0
    for balance in accounts:
        kind, _, rest = balance.account.partition(":")
        if kind == "vat":
            if rest.endswith(":input"):
                input_vat -= balance.minor
            else:
                output_vat += balance.minor
        elif balance.account == "platform:fee:revenue":
            platform += balance.minor
        elif kind == "fx" and rest.endswith(":position"):
            if rest.startswith(currency):
                sold += balance.minor
            else:
                bought -= balance.minor
        elif balance.account == "platform:psp:expense":
            other += balance.credit_minor  # what another party bore of the PSP's fee
        elif kind in _OTHER_KINDS or balance.account in _OTHER_ACCOUNTS:
            other += balance.minor
    difference = (captured + received + input_vat + bought) - (
        output_vat + platform + paid + unpaid + sold + other
    )
    return ProofLine(
        currency=currency,
        captured_minor=captured,
        received_minor=received,
        input_vat_minor=input_vat,
        output_vat_minor=output_vat,
        platform_minor=platform,
        paid_minor=paid,
        open_minor=unpaid,
        fx_sold_minor=sold,
        fx_bought_minor=bought,
        other_minor=other,
        difference_minor=difference,
    )


async def _chains(connection: Connection) -> AsyncIterator[AuditFinding | None]:
    """None for every batch that was read, a finding for everything that is wrong with it."""
    for chain in await audit_repository.list_chains(connection):
        position, previous = 0, hash_chain.GENESIS
        async for batch in audit_repository.read_batches(connection, chain):
            for finding in await check_batch(connection, batch, position=position, previous=previous):
                yield finding
            position, previous = batch["position"], batch["hash"]
            yield None


async def check_batch(
    connection: Connection, batch: Any, *, position: int, previous: bytes
) -> list[AuditFinding]:
    """What is wrong with a batch, a row of its table, that should follow `position` and `previous`."""
    entries = await audit_repository.load_batch_entries(connection, batch["id"])
    transfers = await _transfers_by_entry(connection, batch["id"])
    return [
        *seal_findings(batch, entries, transfers, position=position, previous=previous),
        *fx_findings(await audit_repository.load_fx_transfers(connection, batch["id"])),
    ]


def seal_findings(
    batch: Any,
    entries: Sequence[Any],
    transfers: Mapping[tuple[Any, str, str], Sequence[Transfer]],
    *,
    position: int,
    previous: bytes,
) -> list[AuditFinding]:
    """What is wrong with a batch's place in its chain and with the hashes of its entries.

    `entries` are in the order of their hashes, `transfers` by subject, kind and reference, in theirs.
    """
    subject = f"batch {batch['id']}"
    findings: list[AuditFinding] = []
    if batch["position"] != position + 1:
        findings.append(
            AuditFinding(check="hash_chain", subject=subject, detail=f"position {position + 1} is missing")
        )
    if batch["previous_hash"] != previous:
        findings.append(
            AuditFinding(check="hash_chain", subject=subject, detail="does not follow the batch before it")
        )
    leaves: list[bytes] = []
    for entry in entries:
        lines = transfers.get((entry["subject_id"], entry["kind"], entry["reference"]), [])
        leaf = _recompute(entry, lines, batch["blinding_key"])
        if leaf != entry["hash"]:
            who = shown_subject("hash_chain", f"{entry['subject_id']} {entry['kind']}")
            findings.append(
                AuditFinding(check="hash_chain", subject=who, detail="was changed after it was booked")
            )
        leaves.append(entry["hash"])
    root = hash_chain.merkle_root(leaves)
    expected = hash_chain.batch_hash(
        previous=batch["previous_hash"],
        root=root,
        chain=batch["chain"],
        position=batch["position"],
        booked_at=batch["booked_at"],
    )
    if root != batch["merkle_root"] or expected != batch["hash"]:
        findings.append(
            AuditFinding(
                check="hash_chain", subject=subject, detail="entries were added, removed or re-sealed"
            )
        )
    return findings


async def _transfers_by_entry(
    connection: Connection, batch_id: Any
) -> dict[tuple[Any, str, str], list[Transfer]]:
    found: dict[tuple[Any, str, str], list[Transfer]] = {}
    for row in await audit_repository.load_batch_transfers(connection, batch_id):
        line = Transfer(row["debit_account"], row["credit_account"], row["amount_minor"], row["currency"])
        found.setdefault((row["subject_id"], row["kind"], row["reference"]), []).append(line)
    return found


def _recompute(entry: Any, lines: Sequence[Transfer], blinding_key: bytes) -> bytes:
    header = hash_chain.entry_header(
        subject_id=entry["subject_id"],
        kind=entry["kind"],
        reference=entry["reference"],
        tariff_sha256=entry["tariff_sha256"],
        cdr_id=entry["cdr_id"],
        legs_sha256=sha256(entry["legs"].encode()).hexdigest(),
    )
    blinds = hash_chain.blinds(
        blinding_key,
        subject_id=entry["subject_id"],
        kind=entry["kind"],
        reference=entry["reference"],
        count=len(lines),
    )
    return hash_chain.hash_entry(header, lines, blinds)


def fx_findings(rows: Sequence[Any]) -> list[AuditFinding]:
    """Each entry's conversions are its lock's: `rows` are transfers of positions, each beside its lock.

    The amount in quote is that in base, converted and rounded per party.
    """
    moved: dict[tuple[Any, str, str, str], _Conversion] = {}
    for row in rows:
        # A set-off is two entries of one subject, one for each currency.
        named = "" if row["kind"] == "receivable_set_off" else row["reference"]
        key = (row["subject_id"], row["kind"], named, row["quote"])
        conversion = moved.setdefault(key, _Conversion(lock=_lock(row)))
        position = f"fx:{row['base']}-{row['quote']}:position"
        minor = row["amount_minor"] if row["credit_account"] == position else -row["amount_minor"]
        if row["currency"] == row["base"]:
            conversion.base_minor += minor
        else:
            conversion.quote_minor -= minor
            conversion.parties += 1
    findings: list[AuditFinding] = []
    for (subject, kind, _, quote), conversion in moved.items():
        # Each party's amount is rounded once; a correction is the difference of two such amounts.
        slack = conversion.parties - (1 if kind == "capture" else 0)
        if abs(convert(conversion.base_minor, conversion.lock) - conversion.quote_minor) > slack:
            detail = f"{conversion.quote_minor} {quote} is not its lock's amount"
            findings.append(
                AuditFinding(
                    check="fx_lock", subject=shown_subject("fx_lock", f"{subject} {kind}"), detail=detail
                )
            )
    return findings


@dataclass(slots=True, kw_only=True)
class _Conversion:
    """What one entry moved through one position: in base, in quote, and for how many parties."""

    lock: FxLock
    base_minor: int = 0
    quote_minor: int = 0
    parties: int = 0


def _lock(row: Any) -> FxLock:
    return FxLock(**{name: row[name] for name in FxLock.__dataclass_fields__})


def shown_subject(check: str, subject: str) -> str:
    """A subject with its leading id in the one public spelling; what has no public id keeps its UUID."""
    try:
        identifier = UUID(subject[:_UUID_LENGTH])
    except ValueError:
        return subject
    rest = subject[_UUID_LENGTH:]
    kind = rest.split()[0] if rest.split() else ""
    prefix = _PREFIXES.get(check) or (
        "dis" if kind in _OF_DISBURSEMENTS else "ses" if kind in _OF_SESSIONS or not kind else None
    )
    return f"{format_id(prefix, identifier)}{rest}" if prefix else subject
