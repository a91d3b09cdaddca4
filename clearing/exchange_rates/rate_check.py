"""Check of published rates against the known ones: new, known, or rejected.

Owns: which rate is accepted. Must not know: files, the database.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from clearing.fx import RateTable, ReferenceRate
from clearing.money import EXACT

# Of 221,000 daily steps since 1999 eight were larger, each in a currency crisis.
MAX_STEP: Final = Decimal("0.20")


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRate:
    """A rate that is not imported, and why."""

    rate: ReferenceRate
    why: str
    needs_confirmation: bool  # a person may accept it; the known rate of a day never changes


@dataclass(frozen=True, slots=True, kw_only=True)
class RateCheck:
    """The result for the rates of a file."""

    new: Sequence[ReferenceRate]
    known: int
    rejected: Sequence[RejectedRate]
    left_out: int = 0


@dataclass(slots=True)
class _CurrencyRates:
    """The rates of one currency, known or accepted, while a file is checked by rising days."""

    table: RateTable
    quote: str
    accepted: list[ReferenceRate] = field(default_factory=list)

    def neighbor(self, day: date) -> ReferenceRate | None:
        """The last rate before `day`; if there is none, the first after it."""
        known = self.table.of(self.quote)
        before = self.table.last_day(self.quote, before=day)
        stored = None if before is None else known[before]
        accepted = self.accepted[-1] if self.accepted else None
        if stored is not None and accepted is not None:
            return max(stored, accepted, key=lambda one: one.rate_date)
        return stored or accepted or next((known[later] for later in sorted(known) if later > day), None)


def check_rates(
    rates: Iterable[ReferenceRate], table: RateTable, *, accepted: Collection[tuple[str, date]] = ()
) -> RateCheck:
    """Each rate against those known: new, known, or rejected.

    Another figure for a known day is always rejected: sessions are locked at the first. A step of more than
    20 % from the last rate before it (else the first after) is rejected unless (currency, day) is `accepted`;
    what follows a rejected rate is measured from the last one accepted.
    """
    new: list[ReferenceRate] = []
    rejected: list[RejectedRate] = []
    currencies: dict[str, _CurrencyRates] = {}
    known = 0
    for rate in sorted(rates, key=lambda one: (one.quote, one.rate_date)):
        currency = currencies.setdefault(rate.quote, _CurrencyRates(table, rate.quote))
        stored = table.of(rate.quote).get(rate.rate_date)
        if stored is not None and stored.rate == rate.rate:
            known += 1
        elif stored is not None:
            rejected.append(_differs(rate, stored))
        elif (neighbor := currency.neighbor(rate.rate_date)) is not None and (
            exceeds_max_step(neighbor.rate, rate.rate) and (rate.quote, rate.rate_date) not in accepted
        ):
            why = (
                f"more than 20 % from {neighbor.rate} of {neighbor.rate_date}; "
                f"if it is right: --accept {rate.quote}:{rate.rate_date}"
            )
            rejected.append(RejectedRate(rate=rate, why=why, needs_confirmation=True))
        else:
            new.append(rate)
            currency.accepted.append(rate)
    return RateCheck(new=new, known=known, rejected=rejected)


def _differs(rate: ReferenceRate, stored: ReferenceRate) -> RejectedRate:
    return RejectedRate(
        rate=rate,
        why=f"the known rate of that day is {stored.rate} and does not change",
        needs_confirmation=False,
    )


def exceeds_max_step(before: Decimal, after: Decimal) -> bool:
    """Whether `after` is more than 20 % above or below `before`."""
    return EXACT.abs(EXACT.subtract(after, before)) > EXACT.multiply(before, MAX_STEP)
