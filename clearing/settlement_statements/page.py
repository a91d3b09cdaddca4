"""A disbursement's statement as a page for people: the balance, the sums, the first lines, how to check it.

Owns: which facts the page shows, in which order and texts; what of a long statement fits on paper. Must not
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

from clearing.documents.printed_page import printable
from clearing.language import Language
from clearing.money import to_major
from clearing.settlement_statements.lines import CAPTURE, LineOrigin, SettlementLine
from clearing.settlement_statements.statement import (
    DisbursementStatus,
    Statement,
    StatementTotals,
    later_minor,
)
from clearing.settlement_statements.translations import statement_labels

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
    deducted_minor: int = 0
    part_minor: int = 0
    part_vat_minor: int = 0
    fees_minor: int = 0
    amount_minor: int = 0


@dataclass(slots=True, kw_only=True)
class Digest:
    """What of a statement's lines is printed, in bounded memory. An accumulator."""

    days: dict[tuple[date | None, str], DaySums] = field(default_factory=dict)
    lines: list[SettlementLine] = field(default_factory=list)
    seen: int = 0
    deducts: bool = False

    def add(self, line: SettlementLine) -> None:
        """Count a line; the first ones are stored as they are."""
        self.seen += 1
        if len(self.lines) < PRINTED_LINES:
            self.lines.append(line)
        sums = self.days.setdefault(self._key(line), DaySums())
        sums.amount_minor += line.amount_minor
        sums.part_minor += line.part.net_minor + line.part.other_minor
        sums.part_vat_minor += line.part.vat_minor
        sums.fees_minor += line.part.psp_fee_minor
        if line.deducted_minor is not None:
            self.deducts = True
            sums.deducted_minor += line.deducted_minor
        if line.price is not None:
            sums.gross_minor += line.price.gross_minor
            sums.vat_minor += line.price.vat_minor
        if line.kind == CAPTURE:
            sums.sessions += 1
            sums.energy_kwh += line.energy_kwh or 0

    def _key(self, line: SettlementLine) -> tuple[date | None, str]:
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
    issuer: Sequence[str]
    issuer_label: str
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
    status: DisbursementStatus,
    tally: StatementTotals,
    digest: Digest,
    seal: str,
    attached: bool,
    language: Language = Language.ENGLISH,
) -> StatementPage:
    """The page of a statement whose lines were all read. `attached`: its CSV and JSON come with it."""
    texts = statement_labels(language)
    currency = statement.currency
    hidden = digest.seen - len(digest.lines)
    more = texts["more" if attached else "more_apart"].format(count=hidden) if hidden else ""
    return StatementPage(
        language=language,
        title=texts["title"],
        number=f"{texts['number']} {statement.number}",
        author=f"{statement.account} {currency}",
        party=statement.party or [statement.party_name, f"{statement.party_id}, {statement.country}"],
        party_label=texts["for"],
        issuer=statement.issuer,
        issuer_label=texts["issuer"] if statement.issuer else "",
        payout=(texts["payout"], _money(statement.payout.amount_minor, currency)),
        facts=_facts(statement, status, texts),
        notice=_notice(status, texts),
        balance_title=texts["balance"],
        balance=_balance(statement, tally, texts),
        proof_label=texts["proof"],
        proof=_proof(statement, tally, texts),
        contents_title=texts["contents"],
        contents_head=["", texts["count"], f"{texts['amount']} {currency}"],
        contents=[
            [_kind(kind, texts), str(count), _amount(minor, currency)]
            for kind, (count, minor) in tally.by_kind.items()
        ],
        contents_total=[texts["total"], str(tally.lines), _amount(tally.total_minor, currency)],
        days_title=texts["days"],
        days_head=_days_head(digest, currency, texts),
        days=_days(digest, currency, texts),
        lines_title=texts["lines"],
        lines_head=_lines_head(digest, currency, texts),
        lines=[_line(line, currency, texts, deducts=digest.deducts) for line in digest.lines],
        more=more,
        holds_title=texts["holds"],
        holds=[_hold_text(hold.since, hold.until, hold.reason) for hold in statement.holds[:_MOST_NOTES]],
        documents_title=texts["documents"],
        documents=[
            [one.number, one.issued_at.date().isoformat(), _money(one.gross_minor, one.currency)]
            for one in statement.documents[:_MOST_NOTES]
        ],
        more_documents=_more_documents(statement, texts),
        seal_label=texts["seal"],
        seal=seal,
        how=texts["how"],
    )


def _days_head(digest: Digest, currency: str, texts: Mapping[str, str]) -> list[str]:
    return [
        texts["day"],
        texts["kind_capture"],
        "kWh",
        *_amounts_head(texts, deducts=digest.deducts),
        f"{texts['amount']} {currency}",
    ]


def _lines_head(digest: Digest, currency: str, texts: Mapping[str, str]) -> list[str]:
    amounts = _amounts_head(texts, deducts=digest.deducts)
    return [texts["sale"], "kWh", *amounts, f"{texts['amount']} {currency}"]


def _amounts_head(texts: Mapping[str, str], *, deducts: bool) -> list[str]:
    """What a line adds up from: the price less VAT and what others have of it is the party's part."""
    price = ["gross", "less_vat", "deducted"] if deducts else ["gross"]
    signs = ("", "\u2013 ", "\u2013 ")
    shown = [f"{sign}{texts[key]}" for sign, key in zip(signs, price, strict=False)]
    part = f"= {texts['part']}" if deducts else texts["part"]
    return [*shown, part, f"+ {texts['part_vat']}", f"\u2013 {texts['fees']}"]


def _facts(statement: Statement, status: DisbursementStatus, texts: Mapping[str, str]) -> _Rows:
    payout = statement.payout
    facts = [
        (texts["period"], statement.period.isoformat()),
        (texts["paid_on"], payout.paid_at.date().isoformat()),
        (texts["disbursement"], statement.disbursement),
        (texts["end_to_end_id"], payout.end_to_end_id),
        (texts["destination"], payout.destination),
    ]
    if payout.rail_reference != payout.end_to_end_id:
        facts.append((texts["rail_reference"], payout.rail_reference))
    if payout.file is not None:
        facts.append((texts["file"], payout.file))
    if status.bank_line is not None:
        facts.append((texts["bank_line"], f"{status.bank_day} {status.bank_line}"))
    return facts


def _notice(status: DisbursementStatus, texts: Mapping[str, str]) -> str:
    if status.returned_at is None:
        return ""
    return texts["returned"].format(day=status.returned_at.date().isoformat(), reason=status.reason or "")


def _more_documents(statement: Statement, texts: Mapping[str, str]) -> str:
    more = statement.documents_total - min(len(statement.documents), _MOST_NOTES)
    return texts["more_documents"].format(count=more) if more > 0 else ""


def _balance(
    statement: Statement, tally: StatementTotals, texts: Mapping[str, str]
) -> Sequence[tuple[str, str, bool]]:
    currency = statement.currency
    rows = [
        (texts["opening"], statement.opening_minor, True),
        (texts["new"], tally.by_origin[LineOrigin.NEW], False),
    ]
    if tally.by_origin[LineOrigin.RETURNED]:
        rows.append((texts["returned_sum"], tally.by_origin[LineOrigin.RETURNED], False))
    rows += [
        (texts["later"], later_minor(statement, tally), False),
        (texts["payout"], -statement.payout.amount_minor, False),
        (texts["closing"], statement.closing_minor, True),
    ]
    return [(label, _amount(minor, currency), strong) for label, minor, strong in rows]


def _proof(statement: Statement, tally: StatementTotals, texts: Mapping[str, str]) -> Sequence[str]:
    """Both equations of the statement in figures."""
    currency = statement.currency
    origins = tally.by_origin

    def shown(minor: int) -> str:
        text = _amount(minor, currency)
        return text if minor >= 0 else f"({text})"

    since = [origins[LineOrigin.NEW]] + (
        [origins[LineOrigin.RETURNED]] if origins[LineOrigin.RETURNED] else []
    )
    left = [statement.opening_minor, *since, later_minor(statement, tally)]
    sums = [*since, origins[LineOrigin.CARRIED_FORWARD]]
    return [
        (
            f"{' + '.join(shown(minor) for minor in left)} = "
            f"{shown(statement.payout.amount_minor)} + {shown(statement.closing_minor)} {currency}"
        ),
        (
            f"{' + '.join(shown(minor) for minor in sums)} ({texts['carried_forward']}) = "
            f"{shown(statement.payout.amount_minor)} {currency}"
        ),
    ]


def _days(digest: Digest, currency: str, texts: Mapping[str, str]) -> _Rows:
    def order(key: tuple[date | None, str]) -> tuple[date, str]:
        return (key[0] or date.max, key[1])

    rows = []
    for day, unit in sorted(digest.days, key=order):
        sums = digest.days[day, unit]
        named = (
            texts["other_days"] if day is None else texts["earlier"] if day == date.min else day.isoformat()
        )
        of_sale = [""] * (8 if digest.deducts else 6)
        if day is not None:
            price = [sums.gross_minor, sums.vat_minor, sums.deducted_minor]
            amounts = [
                *(price if digest.deducts else price[:1]),
                sums.part_minor,
                sums.part_vat_minor,
                sums.fees_minor,
            ]
            of_sale = [
                str(sums.sessions),
                f"{sums.energy_kwh.normalize():f}",
                *(_foreign(minor, unit, currency) for minor in amounts),
            ]
        rows.append([named, *of_sale, _amount(sums.amount_minor, currency)])
    return rows


def _line(line: SettlementLine, currency: str, texts: Mapping[str, str], *, deducts: bool) -> Sequence[str]:
    """When and what, then amounts that add up: price - VAT - deducted = part, + VAT on it - fees = amount."""
    unit, part = line.currency, line.part
    named = line.session or line.about or line.reference or str(line.subject_id)
    kind = "" if line.kind == CAPTURE else _kind(line.kind, texts)
    moved = [texts["moved"].format(old=move.old.isoformat(), reason=move.reason) for move in line.moved]
    due = f"{texts['due']} {line.due_date.isoformat()}"
    stated = (kind, named, line.cdr_id or "", _rate(line), due, *moved, *line.flags)
    price = line.price

    def shown(minor: int | None) -> str:
        return "" if minor is None else _foreign(minor, unit, currency)

    priced = [shown(None if price is None else price.gross_minor)]
    if deducts:
        priced += [shown(None if price is None else price.vat_minor), shown(line.deducted_minor)]
    return [
        "" if line.sale_at is None else line.sale_at.strftime("%Y-%m-%d %H:%M"),
        " · ".join(text for text in stated if text),
        "" if line.energy_kwh is None or line.kind != CAPTURE else f"{line.energy_kwh.normalize():f}",
        *priced,
        shown(part.net_minor + part.other_minor if part.supplies or part.other_minor else None),
        shown(part.vat_minor or None),
        shown(part.psp_fee_minor or None),
        _amount(line.amount_minor, currency),
    ]


def _rate(line: SettlementLine) -> str:
    lock = line.lock
    if lock is None:
        return ""
    return f"{lock.base}/{lock.quote} {lock.applied_rate.normalize():f} ({lock.source} {lock.rate_date})"


def _hold_text(since: date, until: date | None, reason: str) -> str:
    span = since.isoformat() if until is None else f"{since.isoformat()} \u2013 {until.isoformat()}"
    return f"{span}: {reason}"


def _kind(kind: str, texts: Mapping[str, str]) -> str:
    known = texts.get(f"kind_{kind}")
    return f"{texts['kind_other']} ({kind})" if known is None else known


def _amount(minor: int, currency: str) -> str:
    return f"{to_major(minor, currency):f}"


def _foreign(minor: int, unit: str, currency: str) -> str:
    """An amount of the session's currency, which is named where it is not the statement's."""
    return _amount(minor, unit) if unit == currency else _money(minor, unit)


def _money(minor: int, currency: str) -> str:
    return f"{_amount(minor, currency)} {currency}"
