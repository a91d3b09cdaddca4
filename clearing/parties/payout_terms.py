"""When a party is paid: daily, weekly or monthly, with a reserve, dated holds and four-eyes approval.

Owns: payout terms and the end of a payout period. Must not know: clearing days (`clearing.calendar` counts
them), amounts due, the repository.
"""

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from clearing.errors import InvalidAmountError
from clearing.parties.bank_details import BankDetails

_WEEK: Final = 7
_LAST_DAY: Final = 31
_WHOLE_BPS: Final = 10_000


class Cadence(StrEnum):
    """How often sales become due."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutHold:
    """Nothing is paid from `since` on, until `until` (exclusive) or until it is lifted. It says why.

    `rail` "bank" or "psp": nothing is paid over that rail; None: over none. `cause`: what placed it and alone
    lifts it; None: a person.
    """

    reason: str
    since: date
    until: date | None = None
    rail: str | None = None
    cause: str | None = None

    def holds_on(self, day: date) -> bool:
        """Whether it is in force on a local day of the party."""
        return self.since <= day and (self.until is None or day < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutHoldRecord:
    """A payout hold: who placed it, who lifted it and when."""

    id: UUID
    party_id: str
    reason: str
    since: date
    until: date | None
    placed_by: str
    four_eyes: bool
    lifted_at: datetime | None
    lifted_by: str | None
    rail: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutTerms:
    """What was agreed on payouts beyond T + n.

    `cadence_day`: weekly 1 (Monday) to 7, monthly 1 to 31, of which 31 is always the month's last day.
    `reserve_bps` of each payment's sales are withheld for `reserve_days`. A payment above
    `approval_above_minor` waits for two people; one in euro of at most `instant_up_to_minor` goes as SEPA
    Instant. Raises InvalidAmountError, naming the field.
    """

    cadence: Cadence = Cadence.DAILY
    cadence_day: int = 1
    reserve_bps: int = 0
    reserve_days: int = 0
    approval_above_minor: int | None = None
    instant_up_to_minor: int | None = None
    deregistered_on: date | None = None
    holds: Sequence[PayoutHold] = ()
    bank: BankDetails | None = None
    bank_pending: bool = False

    def __post_init__(self) -> None:
        last = _LAST_DAY if self.cadence is Cadence.MONTHLY else _WEEK
        if not 1 <= self.cadence_day <= last:
            raise InvalidAmountError(f"cadence_day: {self.cadence_day} is not within 1 to {last}")
        if not 0 <= self.reserve_bps <= _WHOLE_BPS:
            raise InvalidAmountError(f"reserve_bps: {self.reserve_bps} is not within 0 to {_WHOLE_BPS}")
        if self.reserve_bps and self.reserve_days < 1:
            raise InvalidAmountError("reserve_days: a reserve needs the days after which it is released")
        if self.approval_above_minor is not None and self.approval_above_minor < 0:
            raise InvalidAmountError(f"approval_above_minor: {self.approval_above_minor} is negative")
        if self.instant_up_to_minor is not None and self.instant_up_to_minor < 1:
            raise InvalidAmountError(
                f"instant_up_to_minor: {self.instant_up_to_minor} is not above 0; none: leave it out"
            )

    def instant(self, minor: int, currency: str) -> bool:
        """Whether a payment of so much goes as SEPA Instant."""
        limit = self.instant_up_to_minor
        return limit is not None and currency == "EUR" and minor <= limit

    def deregistered(self, day: date) -> bool:
        """Whether the party has left by that day: the minimum payout no longer holds its money back."""
        return self.deregistered_on is not None and self.deregistered_on <= day

    def held_on(self, day: date, *, rail: str | None) -> PayoutHold | None:
        """The first hold in force on that day for a party that is paid over `rail`; None: over none yet."""
        return next((hold for hold in self.holds if hold.holds_on(day) and hold.rail in {None, rail}), None)


DAILY_TERMS: Final = PayoutTerms()


def period_end(sales_day: date, terms: PayoutTerms) -> date:
    """The day that closes the payout period of a sales day; clearing days are counted from it.

    Weekly: the next such weekday, the day itself included. Monthly: the next such day of a month; a month
    that is too short closes on its last day.
    """
    match terms.cadence:
        case Cadence.DAILY:
            return sales_day
        case Cadence.WEEKLY:
            return sales_day + timedelta(days=(terms.cadence_day - sales_day.isoweekday()) % _WEEK)
        case Cadence.MONTHLY:
            closing = _closing(sales_day.year, sales_day.month, terms.cadence_day)
            if sales_day <= closing:
                return closing
            following = closing.replace(day=1) + timedelta(days=_LAST_DAY + 1)
            return _closing(following.year, following.month, terms.cadence_day)


def _closing(year: int, month: int, day: int) -> date:
    return date(year, month, min(day, calendar.monthrange(year, month)[1]))
