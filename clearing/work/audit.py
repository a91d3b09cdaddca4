"""The proof: everything that must hold about the books, recomputed from the stored rows.

Owns: the list of checks, the proof per currency, the recomputation of every hash. Must not know: how it came
to be wrong. It reads only, and streams: memory doesn't grow with the journal.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from clearing.connection import Connection, named_queries, rows
from clearing.fx import FxLock, convert
from clearing.journal import chain as hashing
from clearing.journal.ledger import Transfer
from clearing.results import AuditReport, Balance, Finding, ProofLine
from clearing.store import books
from clearing.work import documents

_sql = named_queries("audit")
_books_sql = named_queries("books")
_SQL_CHECKS: Final = (
    "transit_left",
    "orphan_transfers",
    "orphan_payables",
    "captures_unposted",
    "supplies_unequal",
    "deltas_unequal",
    "snapshots_unequal",
    "payables_unequal",
    "open_unequal",
    "disbursements_unequal",
    "payments_unposted",
    "strays",
    "documents_gapped",
    "documents_unequal",
    "suspense_unequal",
    "decisions_unposted",
    "statements_unequal",
    "returned_unequal",
)
_OTHER_KINDS: Final = ("reserve", "driver", "suspense")
_OTHER_ACCOUNTS: Final = ("platform:dispute:expense", "platform:debt:expense")
_BATCH_PAGE: Final = 100
_ALTERED: Final = "the content is not what was issued"
# Kinds that give money back to the driver, each with its sign in "captured".
_CAPTURED_SIGN: Final = {
    "capture": 1, "reversal": -1, "refund": -1, "refund_failed": 1, "dispute": -1, "dispute_won": 1,
}  # fmt: skip


async def audit(connection: Connection, *, now: datetime) -> AuditReport:
    """Every check, on one snapshot if the caller's transaction is repeatable read."""
    findings: list[Finding] = []
    checks: dict[str, int] = {}
    for name in _SQL_CHECKS:
        found = await rows(getattr(_sql, name)(connection))
        findings.extend(Finding(check=name, subject=row["subject"], detail=row["detail"]) for row in found)
        checks[name] = len(found)
    batches = 0
    hash_findings: list[Finding] = []
    async for finding in _chains(connection):
        if finding is None:
            batches += 1
        else:
            hash_findings.append(finding)
    for name in ("hash_chain", "fx_lock"):
        checks[name] = sum(finding.check == name for finding in hash_findings)
    altered = await documents.altered(connection)
    findings += [Finding(check="documents_altered", subject=name, detail=_ALTERED) for name in altered]
    checks["documents_altered"] = len(altered)
    proof = await prove(connection)
    return AuditReport(
        proof=proof, findings=[*findings, *hash_findings], checks=checks, batches=batches, audited_at=now
    )


async def prove(connection: Connection) -> list[ProofLine]:
    """Each currency's equation, its terms taken from separate tables.

    captured + received + input VAT + bought = output VAT + platform + paid + open + sold + other, where
    `received` is what was booked as come in for a party or into suspense, less what went out of it.
    """
    captured: dict[str, int] = {}
    for row in await rows(_books_sql.captured(connection)):
        captured[row["currency"]] = (
            captured.get(row["currency"], 0) + _CAPTURED_SIGN[row["kind"]] * row["gross_minor"]
        )
    unpaid: dict[str, int] = {}
    for row in await rows(_books_sql.payable_sums(connection)):
        if row["state"] != "paid":
            unpaid[row["currency"]] = unpaid.get(row["currency"], 0) + row["amount_minor"]
    paid = {row["currency"]: row["amount_minor"] for row in await rows(_books_sql.disbursed(connection))}
    received = {row["currency"]: row["minor"] for row in await rows(_sql.received(connection))}
    # A position that was closed by an execution still stood against its captures; a fee that the PSP gave
    # back was borne by nobody else.
    aside = dict(await books.executed(connection))
    for row in await rows(_sql.fees_back(connection)):
        aside["platform:psp:expense", row["currency"]] = row["minor"]
    accounts = [
        replace(
            balance, credit_minor=balance.credit_minor - aside.get((balance.account, balance.currency), 0)
        )
        for balance in await books.balances(connection)
    ]
    currencies = sorted({*captured, *unpaid, *paid, *(balance.currency for balance in accounts)})
    return [
        _proof_line(
            currency, [balance for balance in accounts if balance.currency == currency],
            captured=captured.get(currency, 0), unpaid=unpaid.get(currency, 0), paid=paid.get(currency, 0),
            received=received.get(currency, 0),
        )
        for currency in currencies
    ]  # fmt: skip


def _proof_line(
    currency: str, accounts: list[Balance], *, captured: int, unpaid: int, paid: int, received: int
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


async def _chains(connection: Connection) -> AsyncIterator[Finding | None]:
    """None for every batch that was read, a finding for everything that is wrong with it."""
    for chain in [row["chain"] for row in await rows(_sql.chains(connection))]:
        position, previous = 0, hashing.GENESIS
        while True:
            page = await rows(_sql.batches(connection, chain=chain, after=position, limit=_BATCH_PAGE))
            for batch in page:
                for finding in await _check_batch(connection, batch, position=position, previous=previous):
                    yield finding
                position, previous = batch["position"], batch["hash"]
                yield None
            if len(page) < _BATCH_PAGE:
                break


async def _check_batch(
    connection: Connection, batch: Any, *, position: int, previous: bytes
) -> list[Finding]:
    subject = f"batch {batch['id']}"
    findings: list[Finding] = []
    if batch["position"] != position + 1:
        findings.append(
            Finding(check="hash_chain", subject=subject, detail=f"position {position + 1} is missing")
        )
    if batch["previous_hash"] != previous:
        findings.append(
            Finding(check="hash_chain", subject=subject, detail="does not follow the batch before it")
        )
    entries = await rows(_sql.batch_entries(connection, batch_id=batch["id"]))
    transfers = await _transfers_by_entry(connection, batch["id"])
    leaves: list[bytes] = []
    for entry in entries:
        lines = transfers.get((entry["subject_id"], entry["kind"], entry["reference"]), [])
        leaf = _recompute(entry, lines, batch["blinding_key"])
        if leaf != entry["hash"]:
            who = f"{entry['subject_id']} {entry['kind']}"
            findings.append(
                Finding(check="hash_chain", subject=who, detail="was changed after it was booked")
            )
        leaves.append(entry["hash"])
    root = hashing.merkle_root(leaves)
    expected = hashing.batch_hash(
        previous=batch["previous_hash"], root=root, chain=batch["chain"],
        position=batch["position"], booked_at=batch["booked_at"],
    )  # fmt: skip
    if root != batch["merkle_root"] or expected != batch["hash"]:
        findings.append(
            Finding(check="hash_chain", subject=subject, detail="entries were added, removed or re-sealed")
        )
    findings.extend(await _check_fx(connection, batch["id"]))
    return findings


async def _transfers_by_entry(
    connection: Connection, batch_id: Any
) -> dict[tuple[Any, str, str], list[Transfer]]:
    found: dict[tuple[Any, str, str], list[Transfer]] = {}
    for row in await rows(_sql.batch_transfers(connection, batch_id=batch_id)):
        line = Transfer(row["debit_account"], row["credit_account"], row["amount_minor"], row["currency"])
        found.setdefault((row["subject_id"], row["kind"], row["reference"]), []).append(line)
    return found


def _recompute(entry: Any, lines: list[Transfer], blinding_key: bytes) -> bytes:
    header = hashing.entry_header(
        subject_id=entry["subject_id"],
        kind=entry["kind"],
        reference=entry["reference"],
        tariff_sha256=entry["tariff_sha256"],
        cdr_id=entry["cdr_id"],
        legs_sha256=sha256(entry["legs"].encode()).hexdigest(),
    )
    blinds = hashing.blinds(
        blinding_key,
        subject_id=entry["subject_id"],
        kind=entry["kind"],
        reference=entry["reference"],
        count=len(lines),
    )
    return hashing.hash_entry(header, lines, blinds)


async def _check_fx(connection: Connection, batch_id: Any) -> list[Finding]:
    """Each entry's conversions are its lock's: given is what was taken, converted and rounded per party."""
    moved: dict[tuple[Any, str, str, str], _Conversion] = {}
    for row in await rows(_sql.fx_legs(connection, batch_id=batch_id)):
        # A compensation is two entries of one subject, one for each currency.
        named = "" if row["kind"] == "debt_compensation" else row["reference"]
        key = (row["subject_id"], row["kind"], named, row["quote"])
        conversion = moved.setdefault(key, _Conversion(lock=_lock(row)))
        position = f"fx:{row['base']}-{row['quote']}:position"
        minor = row["amount_minor"] if row["credit_account"] == position else -row["amount_minor"]
        if row["currency"] == row["base"]:
            conversion.taken += minor
        else:
            conversion.given -= minor
            conversion.parties += 1
    findings: list[Finding] = []
    for (subject, kind, _, quote), conversion in moved.items():
        # Each party's amount is rounded once; a correction is the difference of two such amounts.
        slack = conversion.parties - (1 if kind == "capture" else 0)
        if abs(convert(conversion.taken, conversion.lock) - conversion.given) > slack:
            detail = f"{conversion.given} {quote} is not its lock's amount"
            findings.append(Finding(check="fx_lock", subject=f"{subject} {kind}", detail=detail))
    return findings


@dataclass(slots=True, kw_only=True)
class _Conversion:
    """What one entry moved through one position: taken in base, given in quote, to how many parties."""

    lock: FxLock
    taken: int = 0
    given: int = 0
    parties: int = 0


def _lock(row: Any) -> FxLock:
    return FxLock(**{name: row[name] for name in FxLock.__dataclass_fields__})
