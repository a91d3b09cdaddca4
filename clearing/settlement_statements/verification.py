"""Proving a disbursement's statement offline.

The seal, each line's arithmetic, the journal behind it, the sums.

Owns: what a reader of the file can check with nothing but the file. Must not know: the repository, networks.
The memory that it needs is that of one batch's lines.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from clearing.errors import StatementError
from clearing.ledger.account_statement import AccountProof
from clearing.settlement_statements.lines import check_record
from clearing.settlement_statements.statement import FORMAT, StatementTotals, canonical, seal

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedStatement:
    """What a statement says, proved: `sha256` is the seal to compare with the printed or published one.

    `status` is what had become of the disbursement when the file was written; it is no part of the statement.
    """

    disbursement: str
    party_id: str
    account: str
    currency: str
    number: int
    opening_minor: int
    payout_minor: int
    closing_minor: int
    lines: int
    batches: int
    sha256: str
    heads: Mapping[int, tuple[int, str]]
    status: str | None = None


def verify_settlement_statement(lines: Iterable[str]) -> ProvedStatement:
    """Prove a statement, record by record.

    Raises StatementError naming the first line of the file that was altered, is missing or doesn't add up.
    """
    records = _records(lines)
    number, head = next(records, (1, {}))
    if head.get("type") != "statement" or head.get("format") != FORMAT:
        raise StatementError(1, f"is not a disbursement's statement: expected format {FORMAT!r}")
    try:
        reading = _Reading(
            head=head,
            account=AccountProof(account=head["account"], currency=head["currency"], balance=0),
        )
    except KeyError as error:
        raise StatementError(1, f"has no {error}") from error
    for number, record in records:
        try:
            ended = reading.take(number, record)
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise StatementError(number, f"is not a record of this format: {error!r}") from error
        if ended is not None:
            return _with_status(ended, records)
    raise StatementError(number, "is the last: the closing record is missing, the statement is cut off")


def _with_status(ended: ProvedStatement, records: Iterator[tuple[int, dict[str, Any]]]) -> ProvedStatement:
    """After the closing record there may be one on what became of the disbursement, and nothing else."""
    number, record = next(records, (0, None))
    if record is None:
        return ended
    following, more = next(records, (number, None))
    if record.get("type") != "status" or more is not None:
        raise StatementError(following, "follows the closing record")
    return replace(ended, status=str(record.get("state")))


def check_following(earlier: ProvedStatement, later: ProvedStatement) -> None:
    """Nothing lies between two statements of one account: the closing of one is the opening of the next.

    Raises StatementError (of the later one's first line) where it is not, or where the journal that both name
    is not the same.
    """
    same = (earlier.account, earlier.currency, earlier.number + 1) == (
        later.account,
        later.currency,
        later.number,
    )
    if not same:
        raise StatementError(
            1,
            f"is no. {later.number} of {later.account} {later.currency}; "
            f"no. {earlier.number + 1} of {earlier.account} {earlier.currency} would follow",
        )
    if earlier.closing_minor != later.opening_minor:
        raise StatementError(
            1,
            f"opens with {later.opening_minor}, but no. {earlier.number} closed with {earlier.closing_minor}",
        )
    for chain, (position, digest) in earlier.heads.items():
        known = later.heads.get(chain)
        if known is not None and known[0] == position and known[1] != digest:
            raise StatementError(
                1, f"names another batch {position} of chain {chain} than no. {earlier.number}"
            )


def _records(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each record whose seal fits the one before it."""
    before = ""
    for number, raw in enumerate(lines, start=1):
        text = raw.rstrip("\r\n")
        if not text:
            continue
        try:
            record = json.loads(text, parse_float=_rejected, parse_constant=_rejected)
        except (ValueError, RecursionError) as error:
            raise StatementError(number, f"is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise StatementError(number, "is not a JSON object")
        try:
            written = canonical(record)
        except (ValueError, OverflowError, RecursionError) as error:
            raise StatementError(number, f"has content that a statement can't have: {error}") from error
        if written != text:
            raise StatementError(number, "was altered: it is not in the form that it was written in")
        stated = record.pop("sha256", None)
        if stated != seal(before, record):
            raise StatementError(
                number, "was altered: its hash does not match its content and the line before"
            )
        before = stated
        yield number, {**record, "sha256": stated}


@dataclass(slots=True, kw_only=True)
class _Reading:
    """How far the statement has been read: what waits for its batch, and the sums."""

    head: Mapping[str, Any]
    account: AccountProof
    tally: StatementTotals = field(default_factory=StatementTotals)
    waiting: dict[_Key, tuple[int, Mapping[str, Any]]] = field(default_factory=dict)
    proved: dict[_Key, int] = field(default_factory=dict)
    payout_minor: int | None = None

    def take(self, number: int, record: Mapping[str, Any]) -> ProvedStatement | None:
        """One record; the end's verdict with the last."""
        match record["type"]:
            case "line":
                self._line(number, record)
            case "batch":
                self._batch(number, record)
            case "payment":
                self._payment(number, record)
            case "closing":
                return self._closing(number, record)
            case other:
                raise StatementError(number, f"is of unknown type {other!r}")
        return None

    def _line(self, number: int, record: Mapping[str, Any]) -> None:
        if self.payout_minor is not None:
            raise StatementError(number, "is a line after the payment")
        if record["line"] != self.tally.lines + 1:
            raise StatementError(number, f"is line {record['line']}, expected {self.tally.lines + 1}")
        wrong = check_record(record)
        if wrong is not None:
            raise StatementError(number, wrong)
        self.proved = {}
        key = (record["subject_id"], record["kind"], record["reference"])
        if key in self.waiting:
            raise StatementError(number, f"shows entry {key[0]} {key[1]} twice")
        self.waiting[key] = (number, record)
        self.tally.add(origin=record["origin"], kind=record["kind"], amount_minor=record["amount_minor"])

    def _batch(self, number: int, record: Mapping[str, Any]) -> None:
        """By the journal: every waiting line is an entry of this batch, with that very amount."""
        found = {_key(entry): self._moved(entry) for entry in record["entries"]}
        cdrs = {_key(entry): entry["cdr_id"] for entry in record["entries"]}
        for key, (number_of_line, line) in self.waiting.items():
            stated = (line["amount_minor"], line["cdr_id"] or "", line["booked_at"])
            if key not in found:
                raise StatementError(number_of_line, f"is not in batch {record['batch']} of the journal")
            if stated != (found[key], cdrs[key], record["booked_at"]):
                raise StatementError(
                    number_of_line,
                    f"nets {stated[0]} for CDR {stated[1]!r} booked {stated[2]}, but the journal has "
                    f"{found[key]} for {cdrs[key]!r} booked {record['booked_at']}",
                )
        extra = [key for key in found if key not in self.waiting]
        if extra and self.waiting:
            raise StatementError(number, f"proves entry {extra[0][0]} {extra[0][1]}, which has no line")
        self.account.add(number, record)
        self.proved = {} if self.waiting else found
        self.waiting = {}

    def _moved(self, entry: Mapping[str, Any]) -> int:
        """What an entry moved the party's account by."""
        shown = [transfer for transfer in entry["transfers"] if not isinstance(transfer, str)]
        return sum(
            transfer["minor"] if transfer["credit"] == self.account.account else -transfer["minor"]
            for transfer in shown
        )

    def _payment(self, number: int, record: Mapping[str, Any]) -> None:
        if self.payout_minor is not None:
            raise StatementError(number, "is a second payment")
        if self.waiting:
            raise StatementError(number, f"comes before the proof of {len(self.waiting)} lines")
        amount: int = record["amount_minor"]
        posted = self.proved.get((self.head["disbursement_id"], "disbursement", ""))
        if posted != -amount:
            raise StatementError(number, f"pays {amount}, but the journal has {posted}")
        self.payout_minor = amount

    def _closing(self, number: int, record: Mapping[str, Any]) -> ProvedStatement:
        proof, tally, payout = record["proof"], self.tally, self.payout_minor
        if payout is None:
            raise StatementError(number, "comes before the payment")
        self._compare(number, record)
        opening, closing = proof["opening_minor"], proof["closing_minor"]
        if tally.total_minor != payout:
            raise StatementError(
                number, f"the lines sum to {tally.total_minor}, the disbursement is {payout}"
            )
        if opening + tally.since_minor + proof["later_minor"] != payout + closing:
            raise StatementError(
                number,
                "opening balance, lines and later entries do not sum to the payout and the closing balance",
            )
        return ProvedStatement(
            disbursement=self.head["disbursement"],
            party_id=self.head["party"]["id"],
            account=self.account.account,
            currency=self.account.currency,
            number=self.head["number"],
            opening_minor=opening,
            payout_minor=payout,
            closing_minor=closing,
            lines=tally.lines,
            batches=self.account.batches,
            sha256=record["sha256"],
            heads=self.account.heads,
        )

    def _compare(self, number: int, record: Mapping[str, Any]) -> None:
        """What the closing record repeats is what the records before it say."""
        proof, tally = record["proof"], self.tally
        stated = {
            "lines": (record["lines"], tally.lines),
            "sums": (
                {kind: [sums["count"], sums["amount_minor"]] for kind, sums in record["sums"].items()},
                tally.by_kind,
            ),
            "opening": (proof["opening_minor"], self.head["opening_minor"]),
            "payout": (proof["payout_minor"], self.payout_minor),
            **{str(origin): (proof[f"{origin}_minor"], minor) for origin, minor in tally.by_origin.items()},
        }
        for name, (said, counted) in stated.items():
            if said != counted:
                raise StatementError(number, f"says {name} {said}, but the records before it give {counted}")


def _rejected(text: str) -> NoReturn:
    raise ValueError(f"{text} is a number that no statement holds")


def _key(entry: Mapping[str, Any]) -> _Key:
    return entry["subject_id"], entry["kind"], entry["reference"]
