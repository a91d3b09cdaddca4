"""How old a debt is: what a party owes, by the day since which it owes it, in buckets.

Owns: the buckets, which debt a credit pays first, when a debt may be given up. Must not know: the store, how
it is collected.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Final

# Upper ends in days, inclusive; the last bucket has none.
BUCKETS: Final = ((30, "0-30"), (60, "31-60"), (90, "61-90"), (None, "over-90"))
GIVEN_UP_AFTER_DAYS: Final = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class DebtLine:
    """What a party in debt owes (negative) or is owed by one due date, in minor units."""

    party_id: str
    currency: str
    due_date: date
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgedDebt:
    """One party's debt in one currency: `debt_minor` > 0, by bucket; `since`: the day of its oldest part."""

    party_id: str
    currency: str
    debt_minor: int
    since: date
    age_days: int
    buckets: Sequence[tuple[str, int]]


def aged(lines: Iterable[DebtLine], *, today: date) -> list[AgedDebt]:
    """Each debt with its age, the oldest first. What a party is owed pays its oldest debt first."""
    ordered = sorted(lines, key=lambda line: (line.party_id, line.currency, line.due_date))
    found = [
        debt
        for _, group in groupby(ordered, key=lambda line: (line.party_id, line.currency))
        if (debt := _aged_one(list(group), today=today)) is not None
    ]
    return sorted(found, key=lambda debt: (debt.since, debt.party_id, debt.currency))


def _aged_one(lines: Sequence[DebtLine], *, today: date) -> AgedDebt | None:
    credit = sum(line.amount_minor for line in lines if line.amount_minor > 0)
    left: list[tuple[date, int]] = []
    for line in lines:
        if line.amount_minor >= 0:
            continue
        paid = min(credit, -line.amount_minor)
        credit -= paid
        if -line.amount_minor > paid:
            left.append((line.due_date, -line.amount_minor - paid))
    if not left:
        return None
    since = left[0][0]
    sums = {name: 0 for _, name in BUCKETS}
    for due, minor in left:
        sums[bucket((today - due).days)] += minor
    return AgedDebt(
        party_id=lines[0].party_id,
        currency=lines[0].currency,
        debt_minor=sum(sums.values()),
        since=since,
        age_days=max(0, (today - since).days),
        buckets=tuple(sums.items()),
    )


def bucket(age_days: int) -> str:
    """The bucket of an age in days; what is not due yet is in the first."""
    return next(name for end, name in BUCKETS if end is None or age_days <= end)


def may_be_given_up(age_days: int, *, deregistered: bool) -> bool:
    """Only the debt of a party that has left, or one older than 90 days, may be written off."""
    return deregistered or age_days > GIVEN_UP_AFTER_DAYS
