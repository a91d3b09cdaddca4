"""The proof of a page of batches from its rows, as pure rules.

Owns: what must hold of an entry with its transfers, payables, supplies and deltas. Must not know: how rows
are read, whether the page is new or proved again. The same rules are computed by SQL in the full audit, so
that neither rests on the other.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from clearing.audit import AuditFinding, fx_findings, seal_findings, shown_subject
from clearing.daily_audit.figures import CAPTURED_SIGN, LedgerFigures
from clearing.ledger.journal_entry import SESSION_TRANSIT, EntryKind, Transfer

_PAID: Final = frozenset({EntryKind.DISBURSEMENT.value, EntryKind.DISBURSEMENT_RETURN.value})
_EntryKey = tuple[UUID, str, str]  # subject, kind, reference
_DeltaKey = tuple[UUID, str, str]  # batch, account, currency


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPage:
    """Batches of one chain with the rows of their entries, as the repository reads them."""

    batches: Sequence[Any]
    entries: Sequence[Any]
    lines: Mapping[_EntryKey, Sequence[Transfer]]  # each entry's transfers in their order
    moved: Mapping[_DeltaKey, Sequence[int]]  # debits and credits by them
    payables: Sequence[Any]
    deltas: Sequence[Any]
    fx_transfers: Sequence[Any]


@dataclass(slots=True, kw_only=True)
class PageProof:
    """What a page came to: `sessions` and `disbursements` are the subjects of its entries."""

    findings: list[AuditFinding] = field(default_factory=list)
    sessions: set[UUID] = field(default_factory=set)
    disbursements: set[UUID] = field(default_factory=set)

    def find(self, check: str, subject: str, detail: str) -> None:
        """Note what does not hold."""
        self.findings.append(AuditFinding(check=check, subject=shown_subject(check, subject), detail=detail))


def lines_by_entry(transfers: Sequence[Any]) -> dict[_EntryKey, list[Transfer]]:
    """The transfers of each entry in their order."""
    found: dict[_EntryKey, list[Transfer]] = defaultdict(list)
    for subject, kind, reference, _, debit, credit, minor, currency in transfers:
        found[subject, kind, reference].append(Transfer(debit, credit, minor, currency))
    return found


def moved_accounts(
    entries: Sequence[Any], lines: Mapping[_EntryKey, Sequence[Transfer]]
) -> dict[_DeltaKey, list[int]]:
    """Debits and credits of each batch, account and currency, by the transfers."""
    moved: dict[_DeltaKey, list[int]] = defaultdict(lambda: [0, 0])
    for entry in entries:
        batch = entry["batch_id"]
        for debit, credit, minor, currency in lines.get(_key(entry), ()):
            moved[batch, debit, currency][0] += minor
            moved[batch, credit, currency][1] += minor
    return moved


def prove_page(page: BatchPage, figures: LedgerFigures | None) -> PageProof:
    """Prove every batch of a page, and add its entries to `figures` unless they are in them already (None).

    A batch follows the one before it in its chain: `hash_before` of its row, None at position 1.
    """
    proof = PageProof()
    by_batch: dict[UUID, list[Any]] = defaultdict(list)
    payables: dict[_EntryKey, dict[tuple[str, str], int]] = defaultdict(dict)
    for subject, kind, reference, party, minor, currency in page.payables:
        payables[subject, kind, reference][party, currency] = minor
    for entry in page.entries:
        by_batch[entry["batch_id"]].append(entry)
        key = _key(entry)
        transfers = page.lines.get(key, ())
        _prove_entry(proof, entry, transfers, payables.get(key, {}))
        if figures is not None:
            figures.add(
                kind=entry["kind"],
                currency=entry["currency"],
                gross_minor=entry["gross_minor"],
                transfers=transfers,
            )
    for batch in page.batches:
        proof.findings += seal_findings(
            batch,
            by_batch[batch["id"]],
            page.lines,
            position=batch["position"] - 1,
            previous=bytes(32) if batch["position"] == 1 else batch["hash_before"],
        )
    _prove_deltas(proof, page.deltas, page.moved)
    proof.findings += fx_findings(page.fx_transfers)
    return proof


def missing_positions(asked: Sequence[int], found: Sequence[int], *, chain: int) -> Iterator[AuditFinding]:
    """A finding for each batch that is not there."""
    for position in sorted(set(asked) - set(found)):
        yield AuditFinding(
            check="hash_chain", subject=f"chain {chain}", detail=f"position {position} is missing"
        )


def _key(entry: Any) -> _EntryKey:
    return entry["subject_id"], entry["kind"], entry["reference"]


def _prove_entry(
    proof: PageProof,
    entry: Any,
    transfers: Sequence[Transfer],
    payables: Mapping[tuple[str, str], int],
) -> None:
    kind, subject = entry["kind"], f"{entry['subject_id']} {entry['kind']}"
    transit: dict[str, int] = {}
    posted: dict[tuple[str, str], int] = {}
    for debit, credit, minor, currency in transfers:
        for account, signed in ((debit, -minor), (credit, minor)):
            if account == SESSION_TRANSIT:
                transit[currency] = transit.get(currency, 0) + signed
            elif account.endswith(":payable"):
                owed = account.split(":")[1], currency
                posted[owed] = posted.get(owed, 0) + signed
    for currency, minor in transit.items():
        if minor:
            proof.find("transit_not_zero", f"{subject} {currency}", f"transit is {minor}")
    if kind in _PAID:
        proof.disbursements.add(entry["subject_id"])
        posted = {}
    posted = {owed: minor for owed, minor in posted.items() if minor}
    if posted != payables:
        for owed in sorted({*posted, *payables}):
            if posted.get(owed, 0) != payables.get(owed, 0):
                detail = f"posted {posted.get(owed, 0)}, payable {payables.get(owed, 0)}"
                proof.find("payables_unequal", f"{subject} {owed[0]}", detail)
    if kind in CAPTURED_SIGN:
        proof.sessions.add(entry["subject_id"])
    if kind == EntryKind.CAPTURE.value:
        _prove_capture(proof, entry, transfers)


def _prove_capture(proof: PageProof, entry: Any, transfers: Sequence[Transfer]) -> None:
    """Every captured minor unit is posted, and the driver's net and VAT are the capture."""
    subject, gross, currency = str(entry["subject_id"]), entry["gross_minor"], entry["currency"]
    first = transfers[0] if transfers else None
    if first is None or (first.amount_minor, first.currency) != (gross, currency):
        posted = "nothing" if first is None else f"{first.amount_minor} {first.currency}"
        proof.find("captures_unposted", subject, f"captured {gross} {currency}, posted {posted}")
    for leg in json.loads(entry["legs"]):
        if leg.get("leg") == "to_driver" and int(leg["net"]) + int(leg["vat"]) != gross:
            detail = f"driver leg of {leg['net']} + {leg['vat']} is not the capture of {gross}"
            proof.find("supplies_unequal", subject, detail)


def _prove_deltas(proof: PageProof, deltas: Sequence[Any], moved: Mapping[_DeltaKey, Sequence[int]]) -> None:
    stored = {tuple(row)[:3]: [row["debit_minor"], row["credit_minor"]] for row in deltas}
    for (batch, account, currency), sums in moved.items():
        found = stored.get((batch, account, currency), [0, 0])
        if found != sums:
            detail = f"transfers {sums[0]}/{sums[1]}, deltas {found[0]}/{found[1]}"
            proof.find("deltas_unequal", f"{account} {currency} batch {batch}", detail)
