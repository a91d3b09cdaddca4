"""Ageing of receivables: what a party owes, by the due date of each part, in buckets of days.

Owns: the buckets, which part a credit pays first, when a receivable may be written off. Must not know: the
database, how a receivable is collected.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Final

# Upper bounds in days, inclusive; the last bucket has none.
BUCKETS: Final = ((30, "0-30"), (60, "31-60"), (90, "61-90"), (None, "over-90"))
WRITE_OFF_AFTER_DAYS: Final = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivableLine:
    """A party's open payables of one due date, in minor units; negative: the party owes."""

    party_id: str
    currency: str
    due_date: date
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgedReceivable:
    """One party's receivable in one currency.

    `receivable_minor` > 0, by bucket; `since`: the due date of its oldest part.
    """

    party_id: str
    currency: str
    receivable_minor: int
    since: date
    age_days: int
    buckets: Sequence[tuple[str, int]]


def aged(lines: Iterable[ReceivableLine], *, today: date) -> list[AgedReceivable]:
    """Each receivable with its age, the oldest first.

    A party's positive payables pay the oldest part first.
    """
    ordered = sorted(lines, key=lambda line: (line.party_id, line.currency, line.due_date))
    found = [
        receivable
        for _, group in groupby(ordered, key=lambda line: (line.party_id, line.currency))
        if (receivable := _aged_one(list(group), today=today)) is not None
    ]
    return sorted(found, key=lambda receivable: (receivable.since, receivable.party_id, receivable.currency))


def _aged_one(lines: Sequence[ReceivableLine], *, today: date) -> AgedReceivable | None:
    credit = sum(line.amount_minor for line in lines if line.amount_minor > 0)
    remaining: list[tuple[date, int]] = []
    for line in lines:
        if line.amount_minor >= 0:
            continue
        paid = min(credit, -line.amount_minor)
        credit -= paid
        if -line.amount_minor > paid:
            remaining.append((line.due_date, -line.amount_minor - paid))
    if not remaining:
        return None
    since = remaining[0][0]
    sums = {name: 0 for _, name in BUCKETS}
    for due, minor in remaining:
        sums[bucket((today - due).days)] += minor
    return AgedReceivable(
        party_id=lines[0].party_id,
        currency=lines[0].currency,
        receivable_minor=sum(sums.values()),
        since=since,
        age_days=max(0, (today - since).days),
        buckets=tuple(sums.items()),
    )


def bucket(age_days: int) -> str:
    """The bucket of an age in days; a part that is not due yet is in the first."""
    return next(name for end, name in BUCKETS if end is None or age_days <= end)


def may_be_written_off(age_days: int, *, deregistered: bool) -> bool:
    """Whether a receivable may be written off: of a deregistered party, or older than 90 days."""
    return deregistered or age_days > WRITE_OFF_AFTER_DAYS
