"""Netting of what is due to a party, and the reasons not to pay it.

Owns: the sum of a party's due payables, where it is paid, why it waits. Must not know: the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from clearing.errors import CurrencyMismatchError
from clearing.parties.bank_details import is_payable_by_bank
from clearing.parties.party import Party
from clearing.parties.payout_terms import PayoutHold
from clearing.payouts.minimum_increment import minimum_increment_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class DueSum:
    """What is due to one party in one currency on its local day `period`.

    The signed sum of `count` open payables; `sales_minor` is without reserves, `held_minor` was withheld by a
    failed attempt, `attempts` is the number of disbursements of that day.
    """

    party_id: str
    currency: str
    period: date
    amount_minor: int
    count: int
    sales_minor: int = 0
    held_minor: int = 0
    attempts: int = 0


class HoldReason(StrEnum):
    """Why a due sum is not paid today; the party reads it in its forecast."""

    RECEIVABLE = "negative_balance_carried_forward"
    BELOW_MINIMUM = "below_minimum_payout"
    BELOW_INCREMENT = "below_minimum_increment"
    NO_DESTINATION = "no_connected_account"
    ON_HOLD = "payout_hold"
    BANK_DETAILS = "bank_details_pending"
    CURRENCY = "currency_not_payable_by_bank"


def hold_reason(due: DueSum, party: Party) -> HoldReason | None:
    """Why `due` is not paid, or None if it is to be paid.

    Receivables first, then holds, then the party's minimum payout.
    """
    if due.amount_minor <= 0:
        return HoldReason.RECEIVABLE
    terms = party.payout_terms
    if party.payout_hold is not None or held_on(party, due.period) is not None:
        return HoldReason.ON_HOLD
    if terms.bank_pending:
        return HoldReason.BANK_DETAILS
    paid_to = destination(party)
    if paid_to is None:
        return HoldReason.NO_DESTINATION
    if paid_to[0] == "bank" and not is_payable_by_bank(due.currency, paid_to[1]):
        return HoldReason.CURRENCY
    if due.amount_minor < minimum_increment_minor(paid_to[0], due.currency):
        return HoldReason.BELOW_INCREMENT
    if terms.deregistered(due.period):
        return None
    # The minimum is agreed in the settlement currency; an older payable in another currency has none.
    if due.currency == party.settlement_currency and due.amount_minor < party.minimum_payout_minor:
        return HoldReason.BELOW_MINIMUM
    return None


def destination(party: Party) -> tuple[str, str] | None:
    """Where a party is paid: the rail ("bank" or "psp") and its IBAN or connected account.

    An approved bank account comes first.
    """
    bank = party.payout_terms.bank
    if bank is not None:
        return "bank", bank.iban
    return None if party.connected_account is None else ("psp", party.connected_account)


def held_on(party: Party, day: date) -> PayoutHold | None:
    """The first hold that keeps a party from being paid on its local day `day` where it is paid now."""
    paid_to = destination(party)
    return party.payout_terms.held_on(day, rail=None if paid_to is None else paid_to[0])


def net(amounts: Sequence[tuple[int, str]]) -> tuple[int, str]:
    """The signed sum of amounts of one currency.

    Receivables reduce what is paid. Raises CurrencyMismatchError.
    """
    currency = amounts[0][1]
    for _, other in amounts:
        if other != currency:
            raise CurrencyMismatchError(currency, other)
    return sum(minor for minor, _ in amounts), currency
