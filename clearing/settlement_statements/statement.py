"""The settlement statement of one disbursement: its lines, and the balance before and after it.

Owns: the values, the records they are written as, the seal over them, the sum proof. Must not know: the
store, how a partner calls an id, paper.

JSON lines, each in canonical form (RFC 8785 for what occurs here: sorted names, no spaces, integers and
texts), each with `sha256` over the one of the record before it and its own text without it:

    {"type": "statement", "format": "disbursement-statement-1", ...}     whose, which disbursement, opening
    {"type": "line", "line": 1, ...}                                      one payable that the disbursement
    nets {"type": "batch", "batch", "chain", "position", ..., "entries"}       proves the lines before it
    {"type": "payment", ...}                                              proved by the batch before it
    {"type": "closing", ...}                                              the sums and the proof
    {"type": "status", "as_of", ...}                                      what became of it; may be left out

The seal of the closing record is the statement's: the same whenever it is written. A batch is shown as in
`clearing.ledger.account_statement`: the party's own transfers with their blinds, bare hashes of the rest,
the way to the root.

    opening + new + returned + later = payout + closing
    new + returned + carried forward = payout

`new` was booked since the disbursement before, `returned` was given back by one that returned since, `carried
forward` was in the opening balance; `later` is what was booked since and is not in this disbursement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec

from clearing.errors import ClearingInvariantViolation
from clearing.settlement_statements.lines import LineOrigin, SettlementLine, line_record

FORMAT: Final = "disbursement-statement-1"
_encoder: Final = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why the party was not paid for a while before this disbursement."""

    reason: str
    since: date
    until: date | None
    lifted_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementDocument:
    """An invoice or credit note of the party, issued since the disbursement before."""

    number: str
    type_code: int
    gross_minor: int
    currency: str
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """How it was paid. `destination` shows only the end of an account; `file` is the bank file, if any."""

    rail: str
    amount_minor: int
    end_to_end_id: str
    rail_reference: str
    destination: str
    file: str | None
    planned_at: datetime
    paid_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Everything of a statement but its lines. `number` counts the party's statements in the currency.

    Of many documents only the first are named; `documents_total` counts them all. `issuer` and `party` are
    name and address as printed; empty on a statement of before.
    """

    number: int
    disbursement: str
    disbursement_id: UUID
    party_id: str
    party_name: str
    country: str
    time_zone: str
    account: str
    currency: str
    period: date
    opening_minor: int
    closing_minor: int
    payout: Payout
    issued_at: datetime
    issuer: Sequence[str] = ()
    party: Sequence[str] = ()
    holds: Sequence[Hold] = ()
    documents: Sequence[StatementDocument] = ()
    documents_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DisbursementStatus:
    """What became of a payment: the bank's line of it, once matched; when and why it came back."""

    as_of: datetime
    state: str
    returned_at: datetime | None = None
    reason: str | None = None
    bank_line: str | None = None
    bank_day: date | None = None


@dataclass(slots=True, kw_only=True)
class StatementTotals:
    """Sums over the lines seen so far. An accumulator."""

    lines: int = 0
    by_origin: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LineOrigin, 0))
    by_kind: dict[str, list[int]] = field(default_factory=dict)

    def add(self, *, origin: str, kind: str, amount_minor: int) -> None:
        """Count a line."""
        self.lines += 1
        self.by_origin[LineOrigin(origin)] += amount_minor
        known = self.by_kind.setdefault(kind, [0, 0])
        known[0] += 1
        known[1] += amount_minor

    @property
    def total_minor(self) -> int:
        """What all lines come to."""
        return sum(self.by_origin.values())

    @property
    def since_minor(self) -> int:
        """What came to the account since the disbursement before."""
        return self.by_origin[LineOrigin.NEW] + self.by_origin[LineOrigin.RETURNED]


def canonical(record: Mapping[str, Any]) -> str:
    """The one text of a record (RFC 8785: names in order, no spaces; our numbers are integers)."""
    return _encoder.encode(record).decode()


def seal(before: str, record: Mapping[str, Any]) -> str:
    """The hash of a record, given the one before it."""
    return sha256(f"{before}\n{canonical(record)}".encode()).hexdigest()


class StatementWriter:
    """Writes a statement's records in their order and proves its sums at the end."""

    __slots__ = ("_statement", "seal", "tally")

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self.tally = StatementTotals()
        self.seal = ""

    def opening(self) -> str:
        """The first record."""
        statement = self._statement
        named = {"issuer": list(statement.issuer)} if statement.issuer else {}
        return self._sealed(
            {
                "type": "statement",
                **named,
                "format": FORMAT,
                "number": statement.number,
                "disbursement": statement.disbursement,
                "disbursement_id": str(statement.disbursement_id),
                "party": {
                    "id": statement.party_id,
                    "name": statement.party_name,
                    "country": statement.country,
                    "time_zone": statement.time_zone,
                },
                "account": statement.account,
                "currency": statement.currency,
                "period": statement.period.isoformat(),
                "opening_minor": statement.opening_minor,
                "issued_at": statement.issued_at.isoformat(),
                "holds": [_hold(hold) for hold in statement.holds],
                "documents": [_document(document) for document in statement.documents],
                "documents_total": statement.documents_total,
            }
        )

    def line(self, line: SettlementLine) -> str:
        """One line."""
        self.tally.add(origin=line.origin, kind=line.kind, amount_minor=line.amount_minor)
        return self._sealed(line_record(line, self.tally.lines))

    def batch(self, record: Mapping[str, Any]) -> str:
        """The proof of the lines since the batch before."""
        return self._sealed({"type": "batch", **record})

    def payment(self) -> str:
        """The disbursement itself."""
        payout = self._statement.payout
        return self._sealed(
            {
                "type": "payment",
                "rail": payout.rail,
                "amount_minor": payout.amount_minor,
                "end_to_end_id": payout.end_to_end_id,
                "rail_reference": payout.rail_reference,
                "destination": payout.destination,
                "file": payout.file,
                "planned_at": payout.planned_at.isoformat(),
                "paid_at": payout.paid_at.isoformat(),
            }
        )

    def closing(self) -> str:
        """The last record. Raises ClearingInvariantViolation where the lines are not the disbursement."""
        statement, tally = self._statement, self.tally
        payout = statement.payout.amount_minor
        if tally.total_minor != payout:
            raise ClearingInvariantViolation(
                f"payment {statement.disbursement_id} is {payout} {statement.currency}, "
                f"its {tally.lines} lines sum to {tally.total_minor}"
            )
        return self._sealed(
            {
                "type": "closing",
                "lines": tally.lines,
                "sums": {
                    kind: {"count": count, "amount_minor": minor}
                    for kind, (count, minor) in tally.by_kind.items()
                },
                "proof": {
                    "opening_minor": statement.opening_minor,
                    "new_minor": tally.by_origin[LineOrigin.NEW],
                    "returned_minor": tally.by_origin[LineOrigin.RETURNED],
                    "carried_forward_minor": tally.by_origin[LineOrigin.CARRIED_FORWARD],
                    "later_minor": later_minor(statement, tally),
                    "payout_minor": payout,
                    "closing_minor": statement.closing_minor,
                },
            }
        )

    def status(self, status: DisbursementStatus) -> str:
        """What became of the disbursement since: a record after the statement, sealed but no part of it."""
        record = {
            "type": "status",
            "as_of": status.as_of.isoformat(),
            "state": status.state,
            "returned_at": None if status.returned_at is None else status.returned_at.isoformat(),
            "reason": status.reason,
            "bank_line": status.bank_line,
            "bank_day": None if status.bank_day is None else status.bank_day.isoformat(),
        }
        return canonical({**record, "sha256": seal(self.seal, record)})

    def _sealed(self, record: Mapping[str, Any]) -> str:
        self.seal = seal(self.seal, record)
        return canonical({**record, "sha256": self.seal})


def later_minor(statement: Statement, tally: StatementTotals) -> int:
    """What was booked since the disbursement before and is not in this one."""
    return (
        statement.closing_minor + statement.payout.amount_minor - statement.opening_minor - tally.since_minor
    )


def _hold(hold: Hold) -> dict[str, Any]:
    return {
        "reason": hold.reason,
        "since": hold.since.isoformat(),
        "until": None if hold.until is None else hold.until.isoformat(),
        "lifted_at": None if hold.lifted_at is None else hold.lifted_at.isoformat(),
    }


def _document(document: StatementDocument) -> dict[str, Any]:
    return {
        "number": document.number,
        "type_code": document.type_code,
        "gross_minor": document.gross_minor,
        "currency": document.currency,
        "issued_at": document.issued_at.isoformat(),
    }
