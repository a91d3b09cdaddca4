"""Bank statements (camt.053) and notifications (camt.054), in any of their versions.

Owns: reading entries, one bank line for each transaction in them. Must not know: what a line is matched to. A
statement of a million entries is read in the memory of one.
Source: ISO 20022 BankToCustomerStatement and BankToCustomerDebitCreditNotification; Swiss Payment Standards,
Implementation Guidelines for cash management messages.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from hashlib import sha256
from typing import IO, Final
from xml.etree.ElementTree import Element

from clearing.errors import UnknownCurrencyError, UnreadableMessageError
from clearing.iso20022.safe_xml import child, children, local, subtrees, text
from clearing.money import exponent

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
# ISO 20022: 18 digits in all, at most 5 decimals in every schema here.
_AMOUNT: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,5})?")
_MESSAGES: Final = ("camt.052", "camt.053", "camt.054")


class BankLineState(StrEnum):
    """Whether the bank has booked the line; only a booked one counts."""

    BOOKED = "booked"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankLine:
    """One transaction on the account: signed minor units, money received positive.

    `line_id` identifies it for ever, in any message and order. `return_reason` is set for a returned payment.
    `end_to_end_id` is None if the bank gives none.
    """

    line_id: str
    iban: str
    statement_id: str
    entry_reference: str
    amount_minor: int
    currency: str
    booked_on: date
    value_on: date
    end_to_end_id: str | None
    message_id: str | None
    bank_reference: str
    counterparty: str
    remittance: str
    return_reason: str | None
    reversal: bool
    state: BankLineState


@dataclass(frozen=True, slots=True, kw_only=True)
class BankBalance:
    """A balance that the statement states: OPBD opening, CLBD closing; credit positive."""

    iban: str
    statement_id: str
    sequence: int | None
    code: str
    amount_minor: int
    currency: str
    on: date


@dataclass(slots=True)
class _Report:
    """The header of the statement that is being read."""

    statement_id: str = ""
    iban: str = ""
    sequence: int | None = None
    entries: int = 0


def read(stream: IO[bytes]) -> Iterator[BankLine | BankBalance]:
    """Every balance and line, in document order. Raises UnreadableMessageError, which names the element."""
    report = _Report()
    seen: dict[str, int] = {}
    recognized = False
    for found_in, element in subtrees(stream, names=_PARTS):
        if not recognized:
            _check_message(found_in)
            recognized = True
        match local(element.tag):
            case "Id":
                report = _Report(statement_id=(element.text or "").strip())
            case "ElctrncSeqNb":
                report.sequence = _number(element.text)
            case "Acct":
                report.iban = text(element, "Id/IBAN") or text(element, "Id/Othr/Id") or ""
            case "Bal":
                yield _balance(element, report)
            case "Ntry":
                report.entries += 1
                yield from _lines(element, report, seen)
            case _:
                continue
    if not recognized:
        raise UnreadableMessageError("/", "is not a camt.052, camt.053 or camt.054")


def _check_message(found_in: str) -> None:
    if not any(name in found_in for name in _MESSAGES):
        raise UnreadableMessageError(
            "/Document", f"is of {found_in or 'no namespace'!r}; expected camt.053 or camt.054"
        )


def _lines(entry: Element, report: _Report, seen: dict[str, int]) -> Iterator[BankLine]:
    """One line for each transaction of the entry, or one for the entry if the bank gives no details."""
    details = [one for block in children(entry, "NtryDtls") for one in children(block, "TxDtls")]
    where = f"Ntry[{report.entries}]"
    whole, currency = _amount(entry, where)
    sign = _sign(entry, where)
    if len(details) <= 1:
        yield _line(
            entry, details[0] if details else None, (sign * whole, currency), report, seen, where=where
        )
        return
    split = [
        _detail_amount(one, currency, sign, f"{where}/TxDtls[{place}]")
        for place, one in enumerate(details, 1)
    ]
    if None in split or sum(one for one in split if one is not None) != sign * whole:
        # Details that don't add up to the entry prove nothing: the entry is one line, for a person to check.
        yield _line(entry, None, (sign * whole, currency), report, seen, where=where)
        return
    for one, minor in zip(details, split, strict=True):
        if minor is not None:
            yield _line(entry, one, (minor, currency), report, seen, where=where)


def _line(
    entry: Element,
    detail: Element | None,
    money: tuple[int, str],
    report: _Report,
    seen: dict[str, int],
    *,
    where: str,
) -> BankLine:
    booked = _day(child(entry, "BookgDt")) or _day(child(entry, "ValDt"))
    if booked is None:
        raise UnreadableMessageError(where, "has neither a BookgDt nor a ValDt")
    minor, currency = money
    end_to_end = text(detail, "Refs/EndToEndId")
    bank_reference = text(detail, "Refs/AcctSvcrRef") or text(entry, "AcctSvcrRef") or ""
    entry_reference = text(entry, "NtryRef") or ""
    facts = "|".join(
        (
            report.iban,
            bank_reference or entry_reference,
            end_to_end or "",
            str(minor),
            currency,
            booked.isoformat(),
        )
    )
    seen[facts] = seen.get(facts, 0) + 1
    return BankLine(
        line_id=sha256(f"{facts}|{seen[facts]}".encode()).hexdigest()[:32],
        iban=report.iban,
        statement_id=report.statement_id,
        entry_reference=entry_reference,
        amount_minor=minor,
        currency=currency,
        booked_on=booked,
        value_on=_day(child(entry, "ValDt")) or booked,
        end_to_end_id=None if end_to_end in (None, _NOT_PROVIDED) else end_to_end,
        message_id=text(detail, "Refs/MsgId"),
        bank_reference=bank_reference,
        counterparty=_counterparty(detail, credit=minor > 0),
        remittance=_remittance(detail) or (text(entry, "AddtlNtryInf") or "")[:_MAX_TEXT],
        return_reason=_return_reason(entry, detail),
        reversal=text(entry, "RvslInd") in {"true", "1"},
        state=BankLineState.BOOKED if _status(entry) == _BOOKED else BankLineState.PENDING,
    )


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
    name = text(detail, f"RltdPties/{side}/Pty/Nm") or text(detail, f"RltdPties/{side}/Nm") or ""
    return name[:_MAX_TEXT]


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
    minor, currency = _amount(element, "Bal")
    on = _day(child(element, "Dt"))
    if on is None:
        raise UnreadableMessageError("Bal/Dt", "is missing")
    return BankBalance(
        iban=report.iban,
        statement_id=report.statement_id,
        sequence=report.sequence,
        code=text(element, "Tp/CdOrPrtry/Cd") or "",
        amount_minor=_sign(element, "Bal") * minor,
        currency=currency,
        on=on,
    )


def _detail_amount(detail: Element, currency: str, sign: int, where: str) -> int | None:
    """A transaction's signed amount in the account's currency; None if it is not stated there."""
    found = child(detail, "Amt")
    if found is None:
        found = child(detail, "AmtDtls/TxAmt/Amt")
    if found is None or found.get("Ccy") != currency:
        return None
    minor = to_minor_exactly(found.text or "", currency, where)
    indicator = text(detail, "CdtDbtInd")
    return minor * (sign if indicator is None else _sign(detail, where))


def _amount(element: Element, where: str) -> tuple[int, str]:
    found = child(element, "Amt")
    if found is None:
        raise UnreadableMessageError(f"{where}/Amt", "is missing")
    currency = found.get("Ccy") or ""
    return to_minor_exactly(found.text or "", currency, where), currency


def to_minor_exactly(amount: str, currency: str, where: str) -> int:
    """Digits to minor units, never rounded. Raises UnreadableMessageError for anything else."""
    figure = amount.strip()
    if not _AMOUNT.fullmatch(figure):
        raise UnreadableMessageError(f"{where}/Amt", f"{amount[:40]!r} is not an amount of 0 or more")
    try:
        digits = exponent(currency)
    except UnknownCurrencyError as error:
        raise UnreadableMessageError(f"{where}/Amt", str(error)) from None
    value = Decimal(figure)
    minor = value.scaleb(digits)
    if minor != minor.to_integral_value():
        raise UnreadableMessageError(f"{where}/Amt", f"{amount[:40]!r} has more decimals than {currency} has")
    return int(minor)


def _sign(element: Element, where: str) -> int:
    match text(element, "CdtDbtInd"):
        case "CRDT":
            return 1
        case "DBIT":
            return -1
        case other:
            raise UnreadableMessageError(f"{where}/CdtDbtInd", f"{other!r} is neither CRDT nor DBIT")


def _day(element: Element | None) -> date | None:
    day = text(element, "Dt") or text(element, "DtTm")
    if day is None:
        return None
    try:
        return date.fromisoformat(day[:10]) if "T" not in day else datetime.fromisoformat(day).date()
    except ValueError:
        raise UnreadableMessageError("Dt", f"{day[:40]!r} is not a date") from None


def _number(content: str | None) -> int | None:
    digits = (content or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _SEQUENCE else None
