"""The bank's stated balances against our books: the closing balance, and whether a statement is missing.

Owns: what explains the distance between the two. Must not know: how a statement is read, who investigates.

    our books + lines that only the bank has - movements that only we have = the bank's balance
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from clearing.reconciliation.comparison import Difference, DifferenceType, balance_difference
from clearing.reconciliation.report import BankPosition


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingBalance:
    """An account's last closing balance, and the sum of the lines booked after it."""

    iban: str
    currency: str
    on_day: date
    amount_minor: int
    after_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementGap:
    """A closing balance that is not the previous one plus the lines between them."""

    iban: str
    currency: str
    on_day: date
    amount_minor: int
    before_on: date
    before_minor: int
    between_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneNotice:
    """A movement that only a notification or intraday report has, long after its day."""

    notice_id: str
    iban: str
    currency: str
    amount_minor: int
    booked_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """Movements of one currency that only our books have, and that only the bank has."""

    currency: str
    ours_minor: int
    theirs_minor: int


def bank_positions(
    closings: Sequence[ClosingBalance], in_flight: Mapping[str, InFlight], books: Mapping[str, int]
) -> list[BankPosition]:
    """Each currency in which the bank has stated a closing balance; `books`: our balance by currency."""
    found: list[BankPosition] = []
    for currency in sorted({closing.currency for closing in closings}):
        of_currency = [closing for closing in closings if closing.currency == currency]
        bank = sum(closing.amount_minor + closing.after_minor for closing in of_currency)
        flight = in_flight.get(currency)
        ours = flight.ours_minor if flight else 0
        theirs = flight.theirs_minor if flight else 0
        booked = books.get(currency, 0)
        found.append(
            BankPosition(
                currency=currency,
                books_minor=booked,
                bank_minor=bank,
                ours_in_flight_minor=ours,
                theirs_in_flight_minor=theirs,
                unexplained_minor=booked + theirs - ours - bank,
                as_of=max(closing.on_day for closing in of_currency),
            )
        )
    return found


def balance_differences(
    positions: Iterable[BankPosition], gaps: Iterable[StatementGap], notices: Iterable[LoneNotice] = ()
) -> list[Difference]:
    """Unexplained balances, statements that do not follow from the one before, lone notifications."""
    found = [
        balance_difference(
            reference=f"balance:{position.currency}",
            currency=position.currency,
            kind=DifferenceType.BALANCE,
            amount_minor=position.unexplained_minor,
            since=position.as_of,
            detail=(
                f"books {position.books_minor}, bank {position.bank_minor}, "
                f"only in our books {position.ours_in_flight_minor}, "
                f"only at the bank {position.theirs_in_flight_minor}"
            ),
        )
        for position in positions
        if position.unexplained_minor
    ]
    found += [
        balance_difference(
            reference=f"statement:{gap.iban}:{gap.on_day}",
            currency=gap.currency,
            kind=DifferenceType.STATEMENT_GAP,
            amount_minor=gap.before_minor + gap.between_minor - gap.amount_minor,
            since=gap.before_on,
            detail=(
                f"{gap.before_minor} on {gap.before_on}, lines of {gap.between_minor}, "
                f"{gap.amount_minor} on {gap.on_day}"
            ),
        )
        for gap in gaps
    ]
    found += [
        balance_difference(
            reference=f"notice:{notice.notice_id}",
            currency=notice.currency,
            kind=DifferenceType.NOTICE_ALONE,
            amount_minor=-notice.amount_minor,
            since=notice.booked_on,
            detail=f"a notification of {notice.amount_minor} on {notice.booked_on}, which no statement has",
        )
        for notice in notices
    ]
    return found
