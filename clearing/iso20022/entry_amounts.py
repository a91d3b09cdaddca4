"""Amounts in a statement: exact, signed, and divided among the transactions of one entry.

Owns: which of a transaction's amounts is its part of the entry. Must not know: dates, references.
Source: ISO 20022 EntryTransaction (Amt, AmtDtls, Chrgs): InstdAmt what was ordered, TxAmt what was executed,
CntrValAmt its value in the account's currency.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from xml.etree.ElementTree import Element

from clearing.errors import UnknownCurrencyError, UnreadableMessageError
from clearing.iso20022.safe_xml import child, children, text
from clearing.money import exponent

# ISO 20022: 18 digits in all, at most 5 decimals in every schema here.
_AMOUNT: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,5})?")
# The most exact first: each is tried for the whole entry, and only one that adds up is taken.
_SOURCES: Final = (
    "Amt",
    "AmtDtls/TxAmt/Amt",
    "AmtDtls/CntrValAmt/Amt",
    "AmtDtls/InstdAmt/Amt",
    "AmtDtls/AnncdPstngAmt/Amt",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrySplit:
    """The signed amount of each transaction, and the charges that the bank took in the same entry."""

    amounts_minor: Sequence[int]
    charges_minor: int = 0


def split_entry(
    entry: Element, details: Sequence[Element], *, whole_minor: int, currency: str, where: str
) -> EntrySplit | None:
    """The parts of an entry, which sum to it exactly; None if no reading of its amounts does."""
    sign = -1 if whole_minor < 0 else 1
    of_entry = _charges(entry, currency, where)
    of_details = sum(_charges(one, currency, where) for one in details)
    # A bank states its charges on the entry, on the transactions, or on both for the same money.
    charges = {0, of_entry, of_details, of_entry + of_details}
    readings: list[Callable[[Element], Element | None]] = [
        *(_reader((source,), currency) for source in _SOURCES),
        _reader(_SOURCES, currency),
    ]
    for found in readings:
        amounts = [found(detail) for detail in details]
        parts = [
            _signed(amount, detail, currency, sign, f"{where}/TxDtls[{place}]")
            for place, (amount, detail) in enumerate(zip(amounts, details, strict=True), 1)
            if amount is not None
        ]
        charged = whole_minor - sum(parts)
        if len(parts) == len(details) and charged in charges:
            return EntrySplit(amounts_minor=parts, charges_minor=charged)
    return None


def _reader(paths: Sequence[str], currency: str) -> Callable[[Element], Element | None]:
    """Reads the first of these amounts that is in the account's currency."""

    def read(detail: Element) -> Element | None:
        found = (child(detail, path) for path in paths)
        return next((one for one in found if one is not None and one.get("Ccy") == currency), None)

    return read


def _signed(amount: Element, detail: Element, currency: str, sign: int, where: str) -> int:
    minor = to_minor_exactly(amount.text or "", currency, where)
    return minor * (sign if text(detail, "CdtDbtInd") is None else read_sign(detail, where))


def _charges(element: Element, currency: str, where: str) -> int:
    """Signed charges in the account's currency: a debit unless the bank says otherwise."""
    total = 0
    for block in children(element, "Chrgs"):
        records = children(block, "Rcrd") or [block]
        for record in records:
            stated = child(record, "Amt")
            amount = child(block, "TtlChrgsAndTaxAmt") if stated is None else stated
            if amount is None or amount.get("Ccy") != currency:
                continue
            sign = -1 if text(record, "CdtDbtInd") is None else read_sign(record, where)
            total += sign * to_minor_exactly(amount.text or "", currency, where)
    return total


def read_amount(element: Element, where: str) -> tuple[int, str]:
    """The `Amt` of an element in minor units, unsigned, with its currency. Raises UnreadableMessageError."""
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


def read_sign(element: Element, where: str) -> int:
    """1 for a credit, -1 for a debit. Raises UnreadableMessageError."""
    match text(element, "CdtDbtInd"):
        case "CRDT":
            return 1
        case "DBIT":
            return -1
        case other:
            raise UnreadableMessageError(f"{where}/CdtDbtInd", f"{other!r} is neither CRDT nor DBIT")
