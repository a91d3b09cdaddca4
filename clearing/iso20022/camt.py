"""Bank statements (camt.053), notifications (camt.054) and intraday reports (camt.052), any version.

Owns: reading entries and balances. Must not know: what a line is matched to. A statement of a million entries
is read in the memory of one. An entry or balance that breaks the rules is returned as such: it spoils no
other. Source: ISO 20022 BankToCustomerStatement and BankToCustomerDebitCreditNotification; Swiss Payment
Standards, Implementation Guidelines for cash management messages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import sha256
from typing import IO, Final
from xml.etree.ElementTree import Element, tostring  # only elements that were read safely

from clearing.errors import UnreadableMessageError
from clearing.iso20022.bank_day import bank_day, last_day
from clearing.iso20022.bank_entry import BankBalance, BankEntry, BankLine, BankLineState, UnreadableEntry
from clearing.iso20022.entry_amounts import EntrySplit, read_amount, read_sign, split_entry
from clearing.iso20022.safe_xml import child, children, local, subtrees, text

# Direct children of a report, also those that are not read: elements inside them are not read by mistake.
_PARTS: Final = (
    "GrpHdr",
    "Id",
    "ElctrncSeqNb",
    "CreDtTm",
    "Acct",
    "RltdAcct",
    "Bal",
    "Intrst",
    "TxsSummry",
    "RptgSrc",
    "StmtPgntn",
    "NtfctnPgntn",
    "FrToDt",
    "Ntry",
)
_NOT_PROVIDED: Final = "NOTPROVIDED"
_BOOKED: Final = "BOOK"
_MAX_TEXT: Final = 500
_SEQUENCE: Final = 18
_STATEMENT: Final = "camt.053"
_MESSAGES: Final = ("camt.052", _STATEMENT, "camt.054")
_UNDATED: Final = "undated"


@dataclass(slots=True)
class _Report:
    """The header of the statement that is being read."""

    statement_id: str = ""
    iban: str = ""
    currency: str = ""
    sequence: int | None = None
    created: str = ""
    until: str = ""
    entries: int = 0
    notice: bool = False

    def day(self) -> date:
        """The day of what has none. Raises UnreadableMessageError if the statement has none either."""
        if self.until:
            return last_day(self.until, iban=self.iban)
        if self.created:
            return bank_day(self.created, iban=self.iban)
        raise UnreadableMessageError("Stmt", "has neither a FrToDt nor a CreDtTm")


@dataclass(slots=True)
class _Seen:
    """How often the same facts occurred in this message, so that equal lines remain several."""

    lines: dict[str, int] = field(default_factory=dict)
    entries: dict[str, int] = field(default_factory=dict)


def read(stream: IO[bytes]) -> Iterator[BankEntry | BankBalance | UnreadableEntry]:
    """Every balance and entry, in document order.

    Raises UnreadableMessageError only where the rest of the file can't be read either.
    """
    report, created, seen = _Report(), "", _Seen()
    kind: str | None = None
    for found_in, element in subtrees(stream, names=_PARTS):
        kind = kind or _message_kind(found_in)
        match local(element.tag):
            case "GrpHdr":
                created = text(element, "CreDtTm") or ""
            case "Id":
                identifier = (element.text or "").strip()
                report = _Report(statement_id=identifier, created=created, notice=kind != _STATEMENT)
            case "ElctrncSeqNb":
                report.sequence = _number(element.text)
            case "CreDtTm":
                report.created = (element.text or "").strip() or report.created
            case "FrToDt":
                report.until = text(element, "ToDtTm") or text(element, "ToDt") or ""
            case "Acct":
                report.iban = text(element, "Id/IBAN") or text(element, "Id/Othr/Id") or ""
                report.currency = text(element, "Ccy") or ""
            case "Bal":
                yield _read_or_report(element, report, seen)
            case "Ntry":
                report.entries += 1
                yield _read_or_report(element, report, seen)
            case _:
                continue
    if kind is None:
        raise UnreadableMessageError("/", "is not a camt.052, camt.053 or camt.054")


def _message_kind(found_in: str) -> str:
    for name in _MESSAGES:
        if name in found_in:
            return name
    raise UnreadableMessageError(
        "/Document", f"is of {found_in or 'no namespace'!r}; expected camt.053 or camt.054"
    )


def _read_or_report(
    element: Element, report: _Report, seen: _Seen
) -> BankEntry | BankBalance | UnreadableEntry:
    try:
        if local(element.tag) == "Bal":
            return _balance(element, report)
        return _entry(element, report, seen)
    except UnreadableMessageError as error:
        return _unreadable(element, report, error)


def _unreadable(element: Element, report: _Report, error: UnreadableMessageError) -> UnreadableEntry:
    """What is left of it: identified by its own text, so that the same one in another file is the same."""
    minor, currency = 0, report.currency or "EUR"
    is_entry = local(element.tag) == "Ntry"
    if is_entry and not report.notice and _status(element) == _BOOKED:
        try:
            amount, stated = read_amount(element, "")
            minor, currency = read_sign(element, "") * amount, stated
        except UnreadableMessageError:
            minor = 0
    where = f"Ntry[{report.entries}]" if is_entry else "Bal"
    facts = f"{report.iban}|{report.statement_id}|{where}|".encode() + tostring(element)
    return UnreadableEntry(
        entry_id=sha256(b"unreadable|" + facts).hexdigest()[:32],
        iban=report.iban,
        statement_id=report.statement_id,
        where=where,
        problem=str(error),
        amount_minor=minor,
        currency=currency,
        on=_day_of_report(report),
    )


def _day_of_report(report: _Report) -> date | None:
    try:
        return report.day()
    except UnreadableMessageError:
        return None


def _entry(entry: Element, report: _Report, seen: _Seen) -> BankEntry:
    """The entry with one line for each transaction, or one for itself if none adds up."""
    where = f"Ntry[{report.entries}]"
    details = [one for block in children(entry, "NtryDtls") for one in children(block, "TxDtls")]
    amount, currency = read_amount(entry, where)
    whole = read_sign(entry, where) * amount
    split = split_entry(entry, details, whole_minor=whole, currency=currency, where=where)
    lines: list[BankLine]
    if details and split is not None:
        lines = _split_lines(entry, details, split, currency=currency, report=report, seen=seen)
    else:
        # Details that don't add up to the entry prove nothing: the entry is one line.
        only = details[0] if len(details) == 1 else None
        lines = [_line(entry, only, (whole, currency), report, seen)]
    itemized = len(lines) > 1 or lines[0].end_to_end_id is not None
    first = lines[0]
    facts = "|".join(
        (
            report.iban,
            text(entry, "AcctSvcrRef") or first.entry_reference or _instead_of_reference(report, lines),
            str(whole),
            currency,
            _day_in_facts(entry, first),
        )
    )
    seen.entries[facts] = seen.entries.get(facts, 0) + 1
    return BankEntry(
        entry_id=sha256(f"entry|{facts}|{seen.entries[facts]}".encode()).hexdigest()[:32],
        iban=report.iban,
        currency=currency,
        amount_minor=whole,
        booked_on=first.booked_on,
        value_on=first.value_on,
        dated=_is_dated(entry),
        state=first.state,
        references=_references(entry, details),
        lines=lines,
        itemized=itemized,
        payment_ids=() if itemized else [one for one in map(_payment_id, details) if one is not None],
        batch_ids=() if itemized else _batch_ids(entry, details),
        notice=report.notice,
    )


def _split_lines(
    entry: Element,
    details: Sequence[Element],
    split: EntrySplit,
    *,
    currency: str,
    report: _Report,
    seen: _Seen,
) -> list[BankLine]:
    lines = [
        _line(entry, detail, (minor, currency), report, seen)
        for detail, minor in zip(details, split.amounts_minor, strict=True)
    ]
    if split.charges_minor:
        charged = _line(entry, None, (split.charges_minor, currency), report, seen)
        lines.append(replace(charged, remittance=f"bank charges {charged.remittance}".strip()))
    return lines


def _line(
    entry: Element, detail: Element | None, money: tuple[int, str], report: _Report, seen: _Seen
) -> BankLine:
    booked = _day(child(entry, "BookgDt"), report) or _day(child(entry, "ValDt"), report) or report.day()
    minor, currency = money
    end_to_end = text(detail, "Refs/EndToEndId")
    bank_reference = text(detail, "Refs/AcctSvcrRef") or text(entry, "AcctSvcrRef") or ""
    entry_reference = text(entry, "NtryRef") or ""
    line = BankLine(
        line_id="",
        iban=report.iban,
        statement_id=report.statement_id,
        entry_reference=entry_reference,
        amount_minor=minor,
        currency=currency,
        booked_on=booked,
        value_on=_day(child(entry, "ValDt"), report) or booked,
        end_to_end_id=_payment_id(detail),
        message_id=text(detail, "Refs/MsgId"),
        bank_reference=bank_reference,
        counterparty=_counterparty(detail, credit=minor > 0),
        remittance=_remittance(detail) or (text(entry, "AddtlNtryInf") or "")[:_MAX_TEXT],
        return_reason=_return_reason(entry, detail),
        reversal=text(entry, "RvslInd") in {"true", "1"},
        state=BankLineState.BOOKED if _status(entry) == _BOOKED else BankLineState.PENDING,
    )
    facts = "|".join(
        (
            report.iban,
            bank_reference
            or entry_reference
            or ("" if end_to_end or report.notice else _instead_of_reference(report, ())),
            end_to_end or "",
            str(minor),
            currency,
            _day_in_facts(entry, line),
        )
    )
    seen.lines[facts] = seen.lines.get(facts, 0) + 1
    return replace(line, line_id=sha256(f"{facts}|{seen.lines[facts]}".encode()).hexdigest()[:32])


def _instead_of_reference(report: _Report, lines: Sequence[BankLine]) -> str:
    """What tells two equal movements of a day apart where the bank gives no reference.

    A movement is in one statement only, and a statement that is sent again has its own id again. Reports
    repeat a movement under other ids: there it is the payments that they name.
    """
    if report.notice:
        return ",".join(sorted(one.end_to_end_id or "" for one in lines))
    return f"statement {report.statement_id}"


def _is_dated(entry: Element) -> bool:
    return any(
        text(child(entry, name), part) is not None for name in ("BookgDt", "ValDt") for part in ("Dt", "DtTm")
    )


def _day_in_facts(entry: Element, line: BankLine) -> str:
    """An entry without a day, but with a reference, is the same in a statement of another day."""
    if not _is_dated(entry) and (line.bank_reference or line.entry_reference):
        return _UNDATED
    return line.booked_on.isoformat()


def _references(entry: Element, details: Sequence[Element]) -> frozenset[str]:
    """Every name that the bank gives to the entry or to one of its transactions."""
    found = [text(entry, "NtryRef"), text(entry, "AcctSvcrRef")]
    for one in details:
        found += [text(one, "Refs/AcctSvcrRef"), text(one, "Refs/TxId"), _payment_id(one)]
    return frozenset(one for one in found if one is not None and one != _NOT_PROVIDED)


def _payment_id(detail: Element | None) -> str | None:
    """The end-to-end id, else the instruction id, which has the same text in our files."""
    for path in ("Refs/EndToEndId", "Refs/InstrId"):
        found = text(detail, path)
        if found is not None and found != _NOT_PROVIDED:
            return found
    return None


def _batch_ids(entry: Element, details: Sequence[Element]) -> list[str]:
    """The names of our payment batch or file that the bank gives for a collective entry."""
    found = [
        text(batch, name)
        for block in children(entry, "NtryDtls")
        for batch in children(block, "Btch")
        for name in ("PmtInfId", "MsgId")
    ]
    found += [text(one, f"Refs/{name}") for one in details for name in ("PmtInfId", "MsgId")]
    return list(dict.fromkeys(one for one in found if one is not None and one != _NOT_PROVIDED))


def _status(entry: Element) -> str:
    """Versions up to 07 have the code as text, later ones as a choice."""
    return text(entry, "Sts/Cd") or text(entry, "Sts") or _BOOKED


def _return_reason(entry: Element, detail: Element | None) -> str | None:
    information = None if detail is None else child(detail, "RtrInf")
    if information is not None:
        return text(information, "Rsn/Cd") or text(information, "Rsn/Prtry") or "returned"
    family = text(detail, "BkTxCd/Domn/Fmly/SubFmlyCd") or text(entry, "BkTxCd/Domn/Fmly/SubFmlyCd")
    return "returned" if family == "RRTN" else None


def _counterparty(detail: Element | None, *, credit: bool) -> str:
    side = "Dbtr" if credit else "Cdtr"
    found = (
        text(detail, f"RltdPties/{role}{party}/Nm")
        for role in (side, f"Ultmt{side}")
        for party in ("/Pty", "")
    )
    return (next((name for name in found if name is not None), None) or "")[:_MAX_TEXT]


def _remittance(detail: Element | None) -> str:
    information = None if detail is None else child(detail, "RmtInf")
    if information is None:
        return ""
    parts = [one.text.strip() for one in children(information, "Ustrd") if one.text]
    parts += [
        reference for one in children(information, "Strd") if (reference := text(one, "CdtrRefInf/Ref"))
    ]
    return " ".join(parts)[:_MAX_TEXT]


def _balance(element: Element, report: _Report) -> BankBalance:
    minor, currency = read_amount(element, "Bal")
    on = _day(child(element, "Dt"), report)
    if on is None:
        raise UnreadableMessageError("Bal/Dt", "is missing")
    report.currency = report.currency or currency
    return BankBalance(
        iban=report.iban,
        statement_id=report.statement_id,
        sequence=report.sequence,
        code=text(element, "Tp/CdOrPrtry/Cd") or "",
        amount_minor=read_sign(element, "Bal") * minor,
        currency=currency,
        on=on,
    )


def _day(element: Element | None, report: _Report) -> date | None:
    day = text(element, "Dt") or text(element, "DtTm")
    return None if day is None else bank_day(day, iban=report.iban)


def _number(content: str | None) -> int | None:
    digits = (content or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _SEQUENCE else None
