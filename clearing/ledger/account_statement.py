"""Account statements with their proof: an account's lines with the hashes that tie them to the journal.

Owns: the format, one JSON object a line, and its verification without database, network or trust in this
program.
Must not know: where lines come from.

The first line is a header, then one line a batch, then a footer:

    {"format": "clearing-statement-1", "account", "currency", "since", "until", "opening_minor"}
    {"batch", "chain", "position", "booked_at", "previous_hash", "hash", "entries": [{"subject_id", "kind",
     "reference", "tariff_sha256", "cdr_id", "legs_sha256", "transfers": [...], "path": [[side, hash], ...]}]}
    {"closing_minor", "lines"}

A transfer is either shown, {"debit", "credit", "minor", "currency", "blind"}, or only its hash as text.
Whoever verifies computes each shown transfer's hash, the entry's, the way up the Merkle tree, and the
batch's; the balance must run from opening to closing. Compared with an earlier statement or a published head,
nothing can have changed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from clearing.errors import StatementError
from clearing.ledger import hash_chain
from clearing.ledger.journal_entry import Transfer

FORMAT: Final = "clearing-statement-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementEntry:
    """An entry of a statement: what it is about, its transfers with blinds, its way to the root."""

    subject_id: UUID
    kind: str
    reference: str
    tariff_sha256: str
    cdr_id: str
    legs_sha256: str
    transfers: tuple[tuple[Transfer, bytes], ...]
    path: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementBatch:
    """A batch of a statement with those of its entries that touch the account."""

    batch: UUID
    chain: int
    position: int
    booked_at: datetime
    previous_hash: bytes
    hash: bytes
    entries: tuple[StatementEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedStatement:
    """What a verified statement says: balances in minor units, how many lines and batches proved it."""

    account: str
    currency: str
    opening_minor: int
    closing_minor: int
    lines: int
    batches: int
    heads: Mapping[int, tuple[int, str]] = field(default_factory=dict)


def header(*, account: str, currency: str, since: datetime, until: datetime, opening_minor: int) -> str:
    """The first line."""
    return _line(
        {
            "format": FORMAT,
            "account": account,
            "currency": currency,
            "since": since.isoformat(),
            "until": until.isoformat(),
            "opening_minor": opening_minor,
        }
    )


def batch_line(batch: StatementBatch, *, account: str, currency: str) -> tuple[str, int, int]:
    """A batch's line, the signed sum that it moved the account by, and how many transfers it shows."""
    record, moved, shown = batch_record(batch, account=account, currency=currency)
    return _line(record), moved, shown


def batch_record(batch: StatementBatch, *, account: str, currency: str) -> tuple[dict[str, Any], int, int]:
    """A batch as JSON-ready values that prove it, with what `batch_line` gives beside them."""
    moved = shown = 0
    entries = []
    for entry in batch.entries:
        transfers: list[Any] = []
        for transfer, blind in entry.transfers:
            if transfer.currency == currency and account in (transfer.debit_account, transfer.credit_account):
                moved += (
                    transfer.amount_minor if transfer.credit_account == account else -transfer.amount_minor
                )
                shown += 1
                debit, credit, minor, unit = transfer
                transfers.append(
                    {"debit": debit, "credit": credit, "minor": minor, "currency": unit, "blind": blind.hex()}
                )
            else:
                transfers.append(hash_chain.transfer_hash(transfer, blind=blind).hex())
        entries.append(
            {
                "subject_id": str(entry.subject_id),
                "kind": entry.kind,
                "reference": entry.reference,
                "tariff_sha256": entry.tariff_sha256,
                "cdr_id": entry.cdr_id,
                "legs_sha256": entry.legs_sha256,
                "transfers": transfers,
                "path": [[side, sibling.hex()] for side, sibling in entry.path],
            }
        )
    record = {
        "batch": str(batch.batch),
        "chain": batch.chain,
        "position": batch.position,
        "booked_at": batch.booked_at.isoformat(),
        "previous_hash": batch.previous_hash.hex(),
        "hash": batch.hash.hex(),
        "entries": entries,
    }
    return record, moved, shown


def footer(*, closing_minor: int, lines: int) -> str:
    """The last line."""
    return _line({"closing_minor": closing_minor, "lines": lines})


def verify(lines: Iterable[str]) -> VerifiedStatement:
    """Prove a statement, line by line, in constant memory.

    Raises StatementError naming the line that fails.
    """
    numbered = _numbered(lines)
    number, head = next(numbered, (0, {}))
    if head.get("format") != FORMAT:
        raise StatementError(1, f"is not a statement: expected format {FORMAT!r}")
    account, currency = _field(number, head, "account", str), _field(number, head, "currency", str)
    opening = _field(number, head, "opening_minor", int)
    proof = AccountProof(account=account, currency=currency, balance=opening)
    for number, line in numbered:
        if "closing_minor" in line:
            if line["closing_minor"] != proof.balance or line.get("lines") != proof.lines:
                raise StatementError(
                    number, f"closes with {line['closing_minor']}, but its lines lead to {proof.balance}"
                )
            if next(numbered, None) is not None:
                raise StatementError(number + 1, "follows the closing line")
            return VerifiedStatement(
                account=account,
                currency=currency,
                opening_minor=opening,
                closing_minor=proof.balance,
                lines=proof.lines,
                batches=proof.batches,
                heads=proof.heads,
            )
        try:
            proof.add(number, line)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StatementError(number, f"is not a batch of this format: {error!r}") from error
    raise StatementError(number, "is the last: the closing line is missing, the statement is cut off")


@dataclass(slots=True, kw_only=True)
class AccountProof:
    """One account's batches, proved one after the other: what they moved it by, and each chain's head."""

    account: str
    currency: str
    balance: int
    lines: int = 0
    batches: int = 0
    heads: dict[int, tuple[int, str]] = field(default_factory=dict)

    def add(self, number: int, line: Mapping[str, Any]) -> None:
        """Prove a batch. Raises StatementError, or KeyError, TypeError, ValueError for what is none."""
        root: bytes | None = None
        seen: set[tuple[str, str, str]] = set()
        for entry in line["entries"]:
            key = (entry["subject_id"], entry["kind"], entry["reference"])
            if key in seen:
                raise StatementError(number, f"shows entry {key[0]} {key[1]} twice")
            seen.add(key)
            found = self._root(entry)
            if root not in (None, found):
                raise StatementError(number, f"entry {key[0]} {key[1]} is not of this batch")
            root = found
        if root is None:
            raise StatementError(number, "has no entry")
        expected = hash_chain.batch_hash(
            previous=bytes.fromhex(line["previous_hash"]),
            root=root,
            chain=line["chain"],
            position=line["position"],
            booked_at=datetime.fromisoformat(line["booked_at"]),
        )
        if expected.hex() != line["hash"]:
            raise StatementError(
                number, f"batch {line['batch']} does not have the hash that its entries give"
            )
        self._follow(number, line)
        self.batches += 1

    def _root(self, entry: Mapping[str, Any]) -> bytes:
        hashes = []
        for transfer in entry["transfers"]:
            if isinstance(transfer, str):
                hashes.append(bytes.fromhex(transfer))
                continue
            line = Transfer(
                transfer["debit"], transfer["credit"], int(transfer["minor"]), transfer["currency"]
            )
            if line.currency != self.currency or self.account not in (
                line.debit_account,
                line.credit_account,
            ):
                raise ValueError(
                    f"a transfer of another account, {line.debit_account} -> {line.credit_account}"
                )
            self.balance += line.amount_minor if line.credit_account == self.account else -line.amount_minor
            self.lines += 1
            hashes.append(hash_chain.transfer_hash(line, blind=bytes.fromhex(transfer["blind"])))
        return hash_chain.root_of_shown_entry(entry, hashes)

    def _follow(self, number: int, line: Mapping[str, Any]) -> None:
        """Batches of a chain come once and in order, and a direct successor names the one before it."""
        known = self.heads.get(line["chain"])
        if known is not None:
            position, digest = known
            if line["position"] <= position:
                raise StatementError(number, f"batch {line['batch']} comes twice or out of order")
            if line["position"] == position + 1 and line["previous_hash"] != digest:
                raise StatementError(number, f"batch {line['batch']} does not follow the one before it")
        self.heads[line["chain"]] = (line["position"], line["hash"])


def _numbered(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError as error:
            raise StatementError(number, f"is not JSON: {error}") from error
        if not isinstance(line, dict):
            raise StatementError(number, "is not a JSON object")
        yield number, line


def _field(number: int, line: Mapping[str, Any], name: str, kind: type) -> Any:
    value = line.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise StatementError(number, f"{name}: expected {kind.__name__}, got {value!r}")
    return value


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
