"""Import of published rates, and the positions that currency exchange opens and closes.

Owns: the order of an import, and the checks of an executed exchange. Must not know: files, who fetched them.
Every method takes the connection; none commits.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from clearing.connection import Connection
from clearing.errors import ClearingConflictError, InvalidAmountError, RateUnavailableError
from clearing.exchange_rates import repository
from clearing.exchange_rates.rate_check import RateCheck, check_rates, exceeds_max_step
from clearing.fx import FRANKFURT, FxLock, RateTable, ReferenceRate, publication_day
from clearing.ledger import balance_repository, treasury
from clearing.ledger import repository as ledger_repository
from clearing.ledger import service as ledger_service
from clearing.ledger.adjustments import subject_of
from clearing.ledger.balances import FxTotal, fx_totals
from clearing.ledger.journal_entry import EntryKind, JournalEntry
from clearing.ledger.psp_conversion import OpenPosition, PspConversion, post_conversion
from clearing.money import EXACT, exponent
from clearing.reference_data import repository as reference_repository
from clearing.reference_data.service import ReferenceDataService

# Sessions are cleared within days of their capture: older rates are not needed.
IMPORTED_DAYS: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class FxPosition:
    """The open amounts between two currencies, in minor units, and the result of executions so far."""

    total: FxTotal
    result_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FxExecution:
    """An exchange executed at a bank or PSP: `sold_minor` of `base` for `bought_minor` of `quote`."""

    base: str
    quote: str
    sold_minor: int
    bought_minor: int
    reference: str


class ExchangeRateService:
    """Imports rates and books executed exchanges."""

    def __init__(self, reference_data: ReferenceDataService) -> None:
        """`reference_data` stores the rates."""
        self._reference_data = reference_data

    async def import_rates(
        self,
        connection: Connection,
        rates: Sequence[ReferenceRate],
        *,
        now: datetime,
        accepted: Collection[tuple[str, date]] = (),
    ) -> RateCheck:
        """Import the new rates of a file; the result says which were known, rejected or left out.

        Days of more than 400 days ago are left out. Imports run one after the other.
        """
        first = now.astimezone(FRANKFURT).date() - timedelta(days=IMPORTED_DAYS)
        recent = [rate for rate in rates if rate.rate_date >= first]
        await repository.lock_rates(connection)
        table = await reference_repository.load_rate_table(connection)
        checked = check_rates(recent, table, accepted=accepted)
        if checked.new:
            await self._reference_data.import_rates(connection, checked.new, now=now)
        return replace(checked, left_out=len(rates) - len(recent))

    async def table(self, connection: Connection) -> RateTable:
        """Every known rate."""
        return await reference_repository.load_rate_table(connection)

    async def list_positions(self, connection: Connection) -> list[FxPosition]:
        """Every currency pair that was ever exchanged, in order."""
        found = await balance_repository.list_balances(connection, prefix="fx:")
        results: Counter[str] = Counter()
        for balance in found:
            _, pair, what = balance.account.split(":")
            if what == "result":
                results[pair] += balance.minor
        return [
            FxPosition(total=total, result_minor=results[f"{total.base}-{total.quote}"])
            for total in fx_totals(found)
        ]

    async def execute(
        self, connection: Connection, execution: FxExecution, *, now: datetime, off_market: bool = False
    ) -> bool:
        """Book an executed exchange, once per reference; False: it is booked already with the same figures.

        Raises ClearingConflictError for another exchange under that reference, more than the position holds,
        or a rate more than 20 % off the reference rate unless `off_market`; InvalidAmountError.
        """
        if not execution.reference.strip():
            raise InvalidAmountError("the reference is empty: give the bank's or PSP's id of the exchange")
        await balance_repository.lock_position(connection, execution.base, execution.quote)
        if await self._is_booked(connection, execution):
            return False
        if not off_market:
            self._check_rate(
                execution, await reference_repository.load_rate_table(connection), day=publication_day(now)
            )
        booked = await ledger_service.record_fx_execution(
            connection,
            base=execution.base,
            quote=execution.quote,
            sold_minor=execution.sold_minor,
            bought_minor=execution.bought_minor,
            reference=execution.reference,
            now=now,
        )
        if not booked:  # meanwhile another pair's exchange was booked under the same reference
            await self._is_booked(connection, execution)
        return booked

    async def record_psp_conversions(
        self, connection: Connection, conversions: Sequence[PspConversion], *, now: datetime
    ) -> int:
        """Book what the PSP converted by itself, each movement once; how many were new.

        Positions are taken in order of pair, conversions of one pair in the order given. Raises
        ClosedPeriodError.
        """
        by_pair: dict[tuple[str, str], list[PspConversion]] = {}
        for one in conversions:
            by_pair.setdefault((one.base, one.quote), []).append(one)
        if not by_pair:
            return 0
        table, day = await reference_repository.load_rate_table(connection), publication_day(now)
        entries: list[JournalEntry] = []
        for (base, quote), of_pair in sorted(by_pair.items()):
            await balance_repository.lock_position(connection, base, quote)
            known = await repository.list_booked_conversions(
                connection, [subject_of(EntryKind.PSP_CONVERSION, one.movement_id) for one in of_pair]
            )
            held, cost = await balance_repository.load_position(connection, base, quote)
            position = OpenPosition(base_minor=held, cost_minor=cost)
            lock = _reference_rate(table, base=base, quote=quote, day=day)
            for one in of_pair:
                if subject_of(EntryKind.PSP_CONVERSION, one.movement_id) not in known:
                    posted, position = post_conversion(one, position, lock)
                    entries.append(posted)
        if entries:
            await ledger_service.post_entries(connection, entries, now=now)
        return len(entries)

    async def _is_booked(self, connection: Connection, execution: FxExecution) -> bool:
        entry = treasury.execution(
            base=execution.base,
            quote=execution.quote,
            sold_minor=execution.sold_minor,
            bought_minor=execution.bought_minor,
            position_minor=execution.sold_minor,
            cost_minor=execution.bought_minor,
            reference=execution.reference,
        )
        booked = await ledger_repository.load_posted_transfers(connection, entry)
        if not booked:
            return False
        if list(booked[:2]) != list(entry.transfers[:2]):
            figures = ", ".join(f"{one.amount_minor} {one.currency}" for one in booked[:2])
            raise ClearingConflictError(
                f"reference {execution.reference!r} is booked already with other figures ({figures})"
            )
        return True

    @staticmethod
    def _check_rate(execution: FxExecution, table: RateTable, *, day: date) -> None:
        """Reject a mistyped amount: a bank's rate is never 20 % off the market rate."""
        try:
            lock = table.lock(base=execution.base, quote=execution.quote, day=day)
        except RateUnavailableError as error:
            raise ClearingConflictError(
                f"the executed rate can't be checked: {error}; to book it anyway, mark it as off-market"
            ) from None
        shift = exponent(execution.quote) - exponent(execution.base)
        rate = EXACT.divide(Decimal(execution.bought_minor).scaleb(-shift), Decimal(execution.sold_minor))
        if exceeds_max_step(lock.rate, rate):
            raise ClearingConflictError(
                f"{rate:.6f} {execution.quote} a {execution.base} is more than 20 % off the reference rate "
                f"{lock.rate:.6f} of {lock.rate_date}; are both amounts in minor units? "
                "To book it anyway, mark it as off-market"
            )


def _reference_rate(table: RateTable, *, base: str, quote: str, day: date) -> FxLock | None:
    """The reference rate of the day, without markup; None where none is known."""
    try:
        return table.lock(base=base, quote=quote, day=day)
    except RateUnavailableError:
        return None
