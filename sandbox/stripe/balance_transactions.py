"""The provider's own ledger: balance transactions, and what they sum to per account and currency.

Owns: every change of a balance (there is no other way to change one), maturity of pending money, the totals
by type. Must not know: why money moved; callers name type and source.
"""

import heapq
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from sandbox.stripe.problems import Json

DAY_S: Final = 86_400

REPORTING: Final = {
    "charge": "charge",
    "payment": "charge",
    "refund": "refund",
    "payment_refund": "refund",
    "refund_failure": "refund_failure",
    "transfer": "transfer",
    "transfer_refund": "transfer_reversal",
    "topup": "topup",
    "topup_reversal": "topup_reversal",
    "payout": "payout",
    "payout_failure": "payout_reversal",
    "payout_cancel": "payout_reversal",
    "adjustment": "dispute",
}


@dataclass(slots=True)
class PspBalance:
    """One account's money in one currency; `maturing` holds (available_on, net) of what is pending."""

    available: int = 0
    pending: int = 0
    maturing: list[tuple[int, int]] = field(default_factory=list)

    def mature(self, now: int) -> None:
        """Move what has become available by `now`."""
        while self.maturing and self.maturing[0][0] <= now:
            _, net = heapq.heappop(self.maturing)
            self.pending -= net
            self.available += net


@dataclass(slots=True)
class Total:
    """Count and sums of the balance transactions of one type."""

    count: int = 0
    amount: int = 0
    fee: int = 0
    net: int = 0


class Ledger:
    """Balances and totals, derived from balance transactions alone."""

    def __init__(self) -> None:
        self._balances: dict[tuple[str, str], PspBalance] = {}
        self._totals: dict[tuple[str, str, str], Total] = {}
        self._staged: list[tuple[str, Json]] = []

    def stage(self, account: str, transaction: Json) -> None:
        """Stage a transaction that takes effect with `commit`."""
        self._staged.append((account, transaction))

    def commit(self, now: int) -> None:
        """Let the staged transactions count."""
        for account, transaction in self._staged:
            self.count(account, transaction, now)
        self._staged = []

    def rollback(self) -> None:
        """Forget the staged transactions."""
        self._staged = []

    def count(self, account: str, transaction: Json, now: int) -> None:
        """Add one stored transaction to the balance and the totals."""
        currency, net = transaction["currency"], transaction["net"]
        balance = self._balances.setdefault((account, currency), PspBalance())
        if transaction["available_on"] <= now:
            balance.available += net
        else:
            balance.pending += net
            heapq.heappush(balance.maturing, (transaction["available_on"], net))
        total = self._totals.setdefault((account, currency, transaction["reporting_category"]), Total())
        total.count += 1
        total.amount += transaction["amount"]
        total.fee += transaction["fee"]
        total.net += net

    def available(self, account: str, currency: str, now: int) -> int:
        """Spendable minor units, what this request staged included."""
        staged: int = sum(
            item["net"]
            for owner, item in self._staged
            if owner == account and item["currency"] == currency and item["available_on"] <= now
        )
        balance = self._balances.get((account, currency))
        if balance is None:
            return staged
        balance.mature(now)
        return balance.available + staged

    def currencies(self, account: str, now: int) -> dict[str, tuple[int, int]]:
        """(available, pending) of each currency that the account has ever held, in alphabetical order."""
        found: dict[str, tuple[int, int]] = {}
        for (owner, currency), balance in sorted(self._balances.items()):
            if owner == account:
                balance.mature(now)
                found[currency] = (balance.available, balance.pending)
        return found

    def totals(self, account: str) -> dict[str, dict[str, Total]]:
        """Totals of the account by currency and reporting category."""
        found: dict[str, dict[str, Total]] = {}
        for (owner, currency, category), total in sorted(self._totals.items()):
            if owner == account:
                found.setdefault(currency, {})[category] = total
        return found


def balance_transaction(
    *,
    transaction_id: str,
    kind: str,
    source: str,
    amount: int,
    fee: int,
    currency: str,
    now: int,
    available_on: int,
    description: str | None,
    category: str | None = None,
    exchange_rate: Decimal | None = None,
) -> Json:
    """The object of one change: `amount` and `fee` signed as the account feels them, net = amount - fee.

    All are in `currency`, the account's; `exchange_rate` is the one at which its source was converted.
    """
    details = [
        {
            "amount": fee,
            "application": None,
            "currency": currency,
            "description": "Processing fees",
            "type": "stripe_fee",
        }
    ]
    return {
        "id": transaction_id,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": available_on,
        "balance_type": "payments",
        "created": now,
        "currency": currency,
        "description": description,
        "exchange_rate": None if exchange_rate is None else float(exchange_rate),
        "fee": fee,
        "fee_details": details if fee else [],
        "net": amount - fee,
        "reporting_category": category or REPORTING[kind],
        "source": source,
        "status": "available" if available_on <= now else "pending",
        "type": kind,
    }
