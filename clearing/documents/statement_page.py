"""A payment's statement as a page for people: the balance, the sums, the first lines, how to check it.

Owns: which facts the page shows, in which order and words; what of a long statement fits on paper. Must not
know: type, paper, PDF, what is attached.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Final

from clearing.documents.labels import Language
from clearing.documents.printing import printable
from clearing.documents.statement_labels import statement_labels
from clearing.money import to_major
from clearing.payouts.payment_statement import Statement, Status, Tally, later_minor
from clearing.payouts.statement_lines import CAPTURE, Origin, PaymentLine

PRINTED_LINES: Final = 120
_MOST_DAYS: Final = 62
_MOST_NOTES: Final = 50
_Rows = Sequence[Sequence[str]]


@dataclass(slots=True, kw_only=True)
class DaySums:
    """What one local day of sales came to, in the currency of the sessions and in the party's own."""

    sessions: int = 0
    energy_kwh: Decimal = Decimal(0)
    gross_minor: int = 0
    vat_minor: int = 0
    part_minor: int = 0
    amount_minor: int = 0


@dataclass(slots=True, kw_only=True)
class Digest:
    """What of a statement's lines is printed, in bounded memory. An accumulator."""

    days: dict[tuple[date | None, str], DaySums] = field(default_factory=dict)
    lines: list[PaymentLine] = field(default_factory=list)
    seen: int = 0

    def add(self, line: PaymentLine) -> None:
        """Count a line; the first ones are kept as they are."""
        self.seen += 1
        if len(self.lines) < PRINTED_LINES:
            self.lines.append(line)
        sums = self.days.setdefault(self._key(line), DaySums())
        sums.amount_minor += line.amount_minor
        sums.part_minor += line.part.net_minor
        if line.price is not None:
            sums.gross_minor += line.price.gross_minor
            sums.vat_minor += line.price.vat_minor
        if line.kind == CAPTURE:
            sums.sessions += 1
            sums.energy_kwh += line.energy_kwh or 0

    def _key(self, line: PaymentLine) -> tuple[date | None, str]:
        day = None if line.sale_at is None else line.sale_at.date()
        key = (day, line.currency)
        full = len(self.days) >= _MOST_DAYS and key not in self.days
        return (date.min, line.currency) if full and day is not None else key


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementPage:
    """Texts by their place on the page."""

    language: str
    title: str
    number: str
    author: str
    party: Sequence[str]
    party_label: str
    payout: tuple[str, str]
    facts: _Rows
    notice: str
    balance_title: str
    balance: Sequence[tuple[str, str, bool]]
    proof_label: str
    proof: Sequence[str]
    contents_title: str
    contents_head: Sequence[str]
    contents: _Rows
    contents_total: Sequence[str]
    days_title: str
    days_head: Sequence[str]
    days: _Rows
    lines_title: str
    lines_head: Sequence[str]
    lines: _Rows
    more: str
    holds_title: str
    holds: Sequence[str]
    documents_title: str
    documents: _Rows
    more_documents: str
    seal_label: str
    seal: str
    how: str

    def data(self) -> str:
        """The page as the JSON that the template reads."""
        return json.dumps(printable(asdict(self)), ensure_ascii=False)


@cache
def statement_template() -> bytes:
    """The page's layout, in typst's language."""
    return (files("clearing") / "templates" / "statement.typ").read_bytes()


def statement_page(
    statement: Statement,
    *,
    status: Status,
    tally: Tally,
    digest: Digest,
    seal: str,
    attached: bool,
    language: Language = Language.ENGLISH,
) -> StatementPage:
    """The page of a statement whose lines were all read. `attached`: its CSV and JSON come with it."""
    words = statement_labels(language)
    currency = statement.currency
    hidden = digest.seen - len(digest.lines)
    more = words["more" if attached else "more_apart"].format(count=hidden) if hidden else ""
    return StatementPage(
        language=language,
        title=words["title"],
        number=f"{words['number']} {statement.number}",
        author=f"{statement.account} {currency}",
        party=[statement.party_name, f"{statement.party_id}, {statement.country}"],
        party_label=words["for"],
        payout=(words["payout"], _money(statement.payout.amount_minor, currency)),
        facts=_facts(statement, status, words),
        notice=_notice(status, words),
        balance_title=words["balance"],
        balance=_balance(statement, tally, words),
        proof_label=words["proof"],
        proof=_proof(statement, tally, words),
        contents_title=words["contents"],
        contents_head=["", words["count"], f"{words['amount']} {currency}"],
        contents=[
            [_kind(kind, words), str(count), _amount(minor, currency)]
            for kind, (count, minor) in tally.by_kind.items()
        ],
        contents_total=[words["total"], str(tally.lines), _amount(tally.total_minor, currency)],
        days_title=words["days"],
        days_head=[
            words["day"], words["kind_capture"], "kWh", words["gross"], words["vat"], words["part"],
            f"{words['amount']} {currency}",
        ],
        days=_days(digest, currency, words),
        lines_title=words["lines"],
        lines_head=[
            words["sale"], words["session"], "kWh", words["gross"], words["part"], words["part_vat"],
            words["fees"], words["due"], f"{words['amount']} {currency}",
        ],
        lines=[_line(line, currency, words) for line in digest.lines],
        more=more,
        holds_title=words["holds"],
        holds=[_hold_text(hold.since, hold.until, hold.reason) for hold in statement.holds[:_MOST_NOTES]],
        documents_title=words["documents"],
        documents=[
            [one.number, one.issued_at.date().isoformat(), _money(one.gross_minor, one.currency)]
            for one in statement.documents[:_MOST_NOTES]
        ],
        more_documents=_more_documents(statement, words),
        seal_label=words["seal"],
        seal=seal,
        how=words["how"],
    )  # fmt: skip


def _facts(statement: Statement, status: Status, words: Mapping[str, str]) -> _Rows:
    payout = statement.payout
    facts = [
        (words["period"], statement.period.isoformat()),
        (words["paid_on"], payout.paid_at.date().isoformat()),
        (words["disbursement"], statement.disbursement),
        (words["end_to_end_id"], payout.end_to_end_id),
        (words["destination"], payout.destination),
    ]
    if payout.rail_reference != payout.end_to_end_id:
        facts.append((words["rail_reference"], payout.rail_reference))
    if payout.file is not None:
        facts.append((words["file"], payout.file))
    if status.bank_line is not None:
        facts.append((words["bank_line"], f"{status.bank_day} {status.bank_line}"))
    return facts


def _notice(status: Status, words: Mapping[str, str]) -> str:
    if status.returned_at is None:
        return ""
    return words["returned"].format(day=status.returned_at.date().isoformat(), reason=status.reason or "")


def _more_documents(statement: Statement, words: Mapping[str, str]) -> str:
    more = statement.documents_total - min(len(statement.documents), _MOST_NOTES)
    return words["more_documents"].format(count=more) if more > 0 else ""


def _balance(statement: Statement, tally: Tally, words: Mapping[str, str]) -> Sequence[tuple[str, str, bool]]:
    currency = statement.currency
    rows = [
        (words["opening"], statement.opening_minor, True),
        (words["new"], tally.by_origin[Origin.NEW], False),
    ]
    if tally.by_origin[Origin.RETURNED]:
        rows.append((words["returned_sum"], tally.by_origin[Origin.RETURNED], False))
    rows += [
        (words["later"], later_minor(statement, tally), False),
        (words["payout"], -statement.payout.amount_minor, False),
        (words["closing"], statement.closing_minor, True),
    ]
    return [(label, _amount(minor, currency), strong) for label, minor, strong in rows]


def _proof(statement: Statement, tally: Tally, words: Mapping[str, str]) -> Sequence[str]:
    """Both equations of the statement in figures."""
    currency = statement.currency
    origins = tally.by_origin

    def shown(minor: int) -> str:
        text = _amount(minor, currency)
        return text if minor >= 0 else f"({text})"

    since = [origins[Origin.NEW]] + ([origins[Origin.RETURNED]] if origins[Origin.RETURNED] else [])
    left = [statement.opening_minor, *since, later_minor(statement, tally)]
    sums = [*since, origins[Origin.CARRIED_FORWARD]]
    return [
        (
            f"{' + '.join(shown(minor) for minor in left)} = "
            f"{shown(statement.payout.amount_minor)} + {shown(statement.closing_minor)} {currency}"
        ),
        (
            f"{' + '.join(shown(minor) for minor in sums)} ({words['carried_forward']}) = "
            f"{shown(statement.payout.amount_minor)} {currency}"
        ),
    ]


def _days(digest: Digest, currency: str, words: Mapping[str, str]) -> _Rows:
    def order(key: tuple[date | None, str]) -> tuple[date, str]:
        return (key[0] or date.max, key[1])

    rows = []
    for day, unit in sorted(digest.days, key=order):
        sums = digest.days[day, unit]
        named = (
            words["other_days"] if day is None else words["earlier"] if day == date.min else day.isoformat()
        )
        of_sale = ["", "", "", "", ""]
        if day is not None:
            of_sale = [
                str(sums.sessions),
                f"{sums.energy_kwh.normalize():f}",
                _foreign(sums.gross_minor, unit, currency),
                _foreign(sums.vat_minor, unit, currency),
                _foreign(sums.part_minor, unit, currency),
            ]
        rows.append([named, *of_sale, _amount(sums.amount_minor, currency)])
    return rows


def _line(line: PaymentLine, currency: str, words: Mapping[str, str]) -> Sequence[str]:
    unit, part = line.currency, line.part
    named = line.session or line.about or line.reference or str(line.subject_id)
    kind = "" if line.kind == CAPTURE else _kind(line.kind, words)
    moved = [words["moved"].format(old=move.old.isoformat(), reason=move.reason) for move in line.moved]
    told = (kind, line.cdr_id or "", _rate(line), *moved, *line.flags)
    below = " · ".join(text for text in told if text)
    return [
        "" if line.sale_at is None else line.sale_at.strftime("%Y-%m-%d %H:%M"),
        named,
        below,
        "" if line.energy_kwh is None or line.kind != CAPTURE else f"{line.energy_kwh.normalize():f}",
        "" if line.price is None else _foreign(line.price.gross_minor, unit, currency),
        _foreign(part.net_minor, unit, currency) if part.supplies else "",
        _foreign(part.vat_minor, unit, currency) if part.vat_minor else "",
        _foreign(part.other_minor - part.psp_fee_minor, unit, currency)
        if part.psp_fee_minor or part.other_minor
        else "",
        line.due_date.isoformat(),
        _amount(line.amount_minor, currency),
    ]


def _rate(line: PaymentLine) -> str:
    lock = line.lock
    if lock is None:
        return ""
    return f"{lock.base}/{lock.quote} {lock.applied_rate.normalize():f} ({lock.source} {lock.rate_date})"


def _hold_text(since: date, until: date | None, reason: str) -> str:
    span = since.isoformat() if until is None else f"{since.isoformat()} \u2013 {until.isoformat()}"
    return f"{span}: {reason}"


def _kind(kind: str, words: Mapping[str, str]) -> str:
    known = words.get(f"kind_{kind}")
    return f"{words['kind_other']} ({kind})" if known is None else known


def _amount(minor: int, currency: str) -> str:
    return f"{to_major(minor, currency):f}"


def _foreign(minor: int, unit: str, currency: str) -> str:
    """An amount of the session's currency, which is named where it is not the statement's."""
    return _amount(minor, unit) if unit == currency else _money(minor, unit)


def _money(minor: int, currency: str) -> str:
    return f"{_amount(minor, currency)} {currency}"
