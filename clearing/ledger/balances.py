"""Balances of accounts as values.

Owns: their shape, and what they say about exchange positions. Must not know: how they are stored.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBalance:
    """An account's balance: `minor` is credits minus debits, so what is owed to a party is positive."""

    account: str
    currency: str
    debit_minor: int
    credit_minor: int

    @property
    def minor(self) -> int:
        """Credits minus debits."""
        return self.credit_minor - self.debit_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class FxTotal:
    """What went through one position account: sold of the captured currency, bought of the settlement one."""

    base: str
    quote: str
    sold_minor: int
    bought_minor: int


def fx_totals(balances: Iterable[AccountBalance]) -> list[FxTotal]:
    """What each position took in its base and gave in its quote, each a positive amount."""
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for balance in balances:
        kind, _, rest = balance.account.partition(":")
        pair, _, what = rest.partition(":")
        if kind == "fx" and what == "position":
            base, _, quote = pair.partition("-")
            sums.setdefault((base, quote), {})[balance.currency] = balance.minor
    return [
        FxTotal(base=base, quote=quote, sold_minor=found.get(base, 0), bought_minor=-found.get(quote, 0))
        for (base, quote), found in sorted(sums.items())
    ]
