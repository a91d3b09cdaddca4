"""Conversions that the PSP makes by itself, where its account does not settle in the currency of a charge.

Owns: the entry of one conversion, what the position gives for it, and the difference to that, which is the
result. Must not know: which PSP, what was charged, the store.

A charge in JPY on an account that settles in EUR is received in JPY by the entry of its capture. The
conversion moves those JPY into the pair's position and the EUR that the PSP credits out of it: at the cost of
what the position holds (the locks of parties that are paid in EUR), else at the reference rate of the day.
What the PSP credited more or less than that is gain or loss, on the pair's result account. A refund or a
dispute is the same with the opposite sign.
"""

from dataclasses import dataclass
from decimal import Decimal

from clearing.errors import CurrencyMismatchError, InvalidAmountError
from clearing.fx import FxLock, convert
from clearing.ledger.adjustments import between, entry
from clearing.ledger.journal_entry import (
    PSP_RECEIVABLE,
    EntryKind,
    JournalEntry,
    position_account,
    result_account,
)
from clearing.money import half_away


@dataclass(frozen=True, slots=True, kw_only=True)
class PspConversion:
    """One converted movement of the PSP's balance.

    `sold_minor` of `base`, the currency of the charge, became `bought_minor` of `quote`, the currency of the
    account. Both are negative where money goes back. `source` is the PSP's charge, refund or dispute.
    """

    movement_id: str
    source: str
    base: str
    quote: str
    sold_minor: int
    bought_minor: int
    rate: Decimal

    def __post_init__(self) -> None:
        """Raise CurrencyMismatchError, InvalidAmountError."""
        if self.base == self.quote:
            raise CurrencyMismatchError(self.base, self.quote)
        if self.sold_minor == 0 or self.sold_minor * self.bought_minor < 0:
            raise InvalidAmountError(
                f"a conversion of {self.sold_minor} {self.base} into {self.bought_minor} {self.quote}: "
                "expected amounts of one sign"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPosition:
    """A pair's position: what it holds in base, and what was credited for that in quote, both signed."""

    base_minor: int
    cost_minor: int


def post_conversion(
    conversion: PspConversion, position: OpenPosition, lock: FxLock | None
) -> tuple[JournalEntry, OpenPosition]:
    """The entry of a conversion, and the position after it.

    `lock` is the reference rate of the day without markup; None: there is none, and the PSP's own amount
    counts.
    """
    one = conversion
    expected = _expected_minor(one, position, lock)
    account, result = position_account(one.base, one.quote), result_account(one.base, one.quote)
    transfers = [
        *between({account: one.sold_minor, PSP_RECEIVABLE: -one.sold_minor}, one.base),
        *between(
            {PSP_RECEIVABLE: one.bought_minor, account: -expected, result: expected - one.bought_minor},
            one.quote,
        ),
    ]
    posted = entry(EntryKind.PSP_CONVERSION, one.movement_id, transfers, reference=one.source)
    after = OpenPosition(
        base_minor=position.base_minor - one.sold_minor, cost_minor=position.cost_minor - expected
    )
    return posted, after


def _expected_minor(conversion: PspConversion, position: OpenPosition, lock: FxLock | None) -> int:
    """What the position gives for the base that it hands over, in quote.

    A position that holds nothing has no value: what is left of its cost is closed with this conversion.
    """
    sold, held = conversion.sold_minor, position.base_minor
    if held == 0:
        closed, cost = 0, position.cost_minor
    elif sold * held < 0:
        closed, cost = 0, 0
    else:
        closed = sold if abs(sold) <= abs(held) else held
        cost = half_away(position.cost_minor * abs(closed), abs(held))
    rest = sold - closed
    if rest == 0:
        return cost
    if lock is None:
        return cost + half_away(conversion.bought_minor * abs(rest), abs(sold))
    return cost + convert(rest, lock)
