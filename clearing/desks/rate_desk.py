"""Published rates taken in, and the positions that exchange opens and closes.

Owns: which of the rates read are new, known or refused; what an executed exchange is checked against. Must
not know: files, who fetched them. Every method takes the connection; none commits.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from clearing.connection import Connection, named_queries
from clearing.errors import InvalidAmountError, RateUnavailableError, StateConflictError
from clearing.fx import FRANKFURT, RateTable, ReferenceRate, publication_day
from clearing.journal import treasury
from clearing.journal.ledger import EntryKind
from clearing.money import EXACT, exponent
from clearing.results import FxTotal
from clearing.service import ClearingService
from clearing.store import books, captures, references

_sql = named_queries("rate_feed")
# Of 221,000 daily steps since 1999 eight were larger, each in a currency crisis.
MAX_STEP: Final = Decimal("0.20")
# Sessions are cleared within days of their capture; older rates bind nothing any more.
KEPT_DAYS: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A rate that is not taken, and why in words."""

    rate: ReferenceRate
    why: str
    awaits_word: bool  # a person may accept it; a known day's figure stays whoever says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What becomes of the rates of a file."""

    new: Sequence[ReferenceRate]
    known: int
    refused: Sequence[Refusal]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What stands open between two currencies, in minor units, and what executions gained so far."""

    total: FxTotal
    result_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """An exchange executed at a bank or PSP: `sold_minor` of `base` for `bought_minor` of `quote`."""

    base: str
    quote: str
    sold_minor: int
    bought_minor: int
    reference: str


@dataclass(slots=True)
class _Line:
    """The rates of one currency, known or taken, while a file is judged by rising days."""

    table: RateTable
    quote: str
    taken: list[ReferenceRate] = field(default_factory=list)

    def neighbor(self, day: date) -> ReferenceRate | None:
        """The last rate before `day`; where there is none, the first after it."""
        known = self.table.of(self.quote)
        before = self.table.last_day(self.quote, before=day)
        stored = None if before is None else known[before]
        taken = self.taken[-1] if self.taken else None
        if stored is not None and taken is not None:
            return max(stored, taken, key=lambda one: one.rate_date)
        return stored or taken or next((known[later] for later in sorted(known) if later > day), None)


def judge(
    rates: Iterable[ReferenceRate], table: RateTable, *, accepted: Collection[tuple[str, date]] = ()
) -> Judgement:
    """Each rate against those known: new, known, or refused.

    A known day with another figure is refused always: sessions are locked at the first. A step of more than
    20 % from the last rate before it (else the first after) is refused unless (currency, day) is `accepted`;
    what follows a refused rate is measured from the last one taken.
    """
    new: list[ReferenceRate] = []
    refused: list[Refusal] = []
    lines: dict[str, _Line] = {}
    known = 0
    for rate in sorted(rates, key=lambda one: (one.quote, one.rate_date)):
        line = lines.setdefault(rate.quote, _Line(table, rate.quote))
        stored = table.of(rate.quote).get(rate.rate_date)
        if stored is not None and stored.rate == rate.rate:
            known += 1
        elif stored is not None:
            refused.append(_differs(rate, stored))
        elif (neighbor := line.neighbor(rate.rate_date)) is not None and (
            _leaps(neighbor.rate, rate.rate) and (rate.quote, rate.rate_date) not in accepted
        ):
            why = (
                f"more than 20 % from {neighbor.rate} of {neighbor.rate_date}; "
                f"if it is right: --accept {rate.quote}:{rate.rate_date}"
            )
            refused.append(Refusal(rate=rate, why=why, awaits_word=True))
        else:
            new.append(rate)
            line.taken.append(rate)
    return Judgement(new=new, known=known, refused=refused)


def _differs(rate: ReferenceRate, stored: ReferenceRate) -> Refusal:
    return Refusal(rate=rate, why=f"{stored.rate} is known of that day, and stays", awaits_word=False)


def _leaps(before: Decimal, after: Decimal) -> bool:
    return EXACT.abs(EXACT.subtract(after, before)) > EXACT.multiply(before, MAX_STEP)


class RateDesk:
    """What people and the worker do with rates and positions."""

    def __init__(self, clearing: ClearingService) -> None:
        """`clearing` posts what is executed."""
        self._clearing = clearing

    async def take(
        self,
        connection: Connection,
        rates: Sequence[ReferenceRate],
        *,
        now: datetime,
        accepted: Collection[tuple[str, date]] = (),
    ) -> Judgement:
        """Take in what is new of a file, and say what was not.

        Days of more than 400 days ago are left out. Imports take turns until their transaction ends.
        """
        first = now.astimezone(FRANKFURT).date() - timedelta(days=KEPT_DAYS)
        recent = [rate for rate in rates if rate.rate_date >= first]
        await _sql.hold_rates(connection)
        table = await references.rate_table(connection)
        judged = judge(recent, table, accepted=accepted)
        if judged.new:
            await self._clearing.import_rates(connection, judged.new, now=now)
        return replace(judged, left_out=len(rates) - len(recent))

    async def table(self, connection: Connection) -> RateTable:
        """Every rate that is known."""
        return await references.rate_table(connection)

    async def positions(self, connection: Connection) -> list[Position]:
        """Every pair that was ever exchanged, in order."""
        found = await books.balances(connection, prefix="fx:")
        results: Counter[str] = Counter()
        for balance in found:
            _, pair, what = balance.account.split(":")
            if what == "result":
                results[pair] += balance.minor
        return [
            Position(total=total, result_minor=results[f"{total.base}-{total.quote}"])
            for total in books.fx_totals(found)
        ]

    async def execute(
        self, connection: Connection, wish: Execution, *, now: datetime, off_market: bool = False
    ) -> bool:
        """Book an executed exchange, once per reference; False: it is booked already, to the letter.

        Raises StateConflictError for another exchange under that reference, more than the position holds, or
        a rate more than 20 % off the reference rate that is not marked `off_market`; InvalidAmountError.
        """
        if not wish.reference.strip():
            raise InvalidAmountError("--reference is empty: give the bank's or PSP's id of the exchange")
        await books.hold_position(connection, wish.base, wish.quote)
        if await self._is_booked(connection, wish):
            return False
        if not off_market:
            self._check_rate(wish, await references.rate_table(connection), day=publication_day(now))
        booked = await self._clearing.record_fx_execution(
            connection,
            base=wish.base,
            quote=wish.quote,
            sold_minor=wish.sold_minor,
            bought_minor=wish.bought_minor,
            reference=wish.reference,
            now=now,
        )
        if not booked:  # another pair's exchange came in between under the same reference
            await self._is_booked(connection, wish)
        return booked

    async def _is_booked(self, connection: Connection, wish: Execution) -> bool:
        entry = treasury.execution(
            base=wish.base,
            quote=wish.quote,
            sold_minor=wish.sold_minor,
            bought_minor=wish.bought_minor,
            taken_minor=wish.sold_minor,
            given_minor=wish.bought_minor,
            reference=wish.reference,
        )
        booked = await captures.transfers_of(
            connection, entry.subject_id, EntryKind.FX_RESULT, wish.reference
        )
        if not booked:
            return False
        if list(booked[:2]) != list(entry.transfers[:2]):
            told = ", ".join(f"{one.amount_minor} {one.currency}" for one in booked[:2])
            raise StateConflictError(
                f"reference {wish.reference!r} is booked with other figures ({told}); it stays"
            )
        return True

    @staticmethod
    def _check_rate(wish: Execution, table: RateTable, *, day: date) -> None:
        """Against a slipped digit: a bank's rate is never a fifth off the market's."""
        try:
            lock = table.lock(base=wish.base, quote=wish.quote, day=day)
        except RateUnavailableError as error:
            raise StateConflictError(
                f"the executed rate can't be checked: {error}; --off-market books it as told"
            ) from None
        shift = exponent(wish.quote) - exponent(wish.base)
        rate = EXACT.divide(Decimal(wish.bought_minor).scaleb(-shift), Decimal(wish.sold_minor))
        if _leaps(lock.rate, rate):
            raise StateConflictError(
                f"{rate:.6f} {wish.quote} a {wish.base} is more than 20 % off the reference rate "
                f"{lock.rate:.6f} of {lock.rate_date}; are both in minor units? --off-market books it as told"
            )
