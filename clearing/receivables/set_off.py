"""Set-off of a receivable against payables in another currency: how much both allow.

Owns: this amount. Must not know: the database, who consented.
"""

from decimal import ROUND_FLOOR, Decimal

from clearing.fx import FxLock, convert
from clearing.money import exponent


def covering_amount(receivable_minor: int, lock: FxLock) -> int:
    """The most minor units of `lock.base` that convert to no more than the receivable in `lock.quote`.

    0 where one minor unit already converts to more.
    """
    shift = exponent(lock.quote) - exponent(lock.base)
    amount = int(
        (Decimal(receivable_minor) / lock.applied_rate).scaleb(-shift).to_integral_value(ROUND_FLOOR)
    )
    while convert(amount + 1, lock) <= receivable_minor:
        amount += 1
    while amount > 0 and convert(amount, lock) > receivable_minor:
        amount -= 1
    return amount
