"""Stripe's balance transactions as movements of this system, and their sums for the daily proof.

Owns: what each type is to us, and both currencies of a movement that Stripe converted. Must not know: how
Stripe is called, what is booked of it.
Source: docs.stripe.com/reports/balance-transaction-types, docs.stripe.com/currencies/conversions.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from gateway.payments.psp.movement_port import PspMovement, PspPresentment
from gateway.payments.psp.stripe.objects import fee_minor, from_stripe_amount
from gateway.payments.psp.stripe.responses import StripeBalanceTransaction

# Balance transaction types as fields of PspTotals, with the sign that makes them positive there.
_RECORD_FIELDS: Final[Mapping[str, tuple[str, int]]] = {
    "charge": ("captured_minor", 1),
    "payment": ("captured_minor", 1),
    "refund": ("refunded_minor", -1),
    "payment_refund": ("refunded_minor", -1),
    "refund_failure": ("refunded_minor", -1),
    "payment_refund_failure": ("refunded_minor", -1),
    "transfer": ("transferred_minor", -1),
    "topup": ("topped_up_minor", 1),
}


def add_movement(sums: dict[str, dict[str, int]], movement: StripeBalanceTransaction) -> None:
    """Add a balance transaction to the sums of its currencies, in the fields of PspTotals."""
    line = movement_of(movement)
    name, sign = _RECORD_FIELDS.get(line.kind, ("other_minor", 1))
    settled = sums.setdefault(line.currency, defaultdict(int))
    settled["fee_minor"] += line.fee_minor
    if line.presentment is None:
        settled[name] += sign * line.amount_minor
        return
    presented = sums.setdefault(line.presentment.currency, defaultdict(int))
    presented[name] += sign * line.presentment.amount_minor
    presented["converted_minor"] -= line.presentment.amount_minor
    settled["converted_minor"] += line.amount_minor


def movement_of(transaction: StripeBalanceTransaction) -> PspMovement:
    """A balance transaction (docs.stripe.com/api/balance_transactions/object)."""
    currency = transaction.currency.upper()
    source = transaction.source
    return PspMovement(
        id=transaction.id,
        kind=transaction.type,
        source=str(source.get("id", "")) if isinstance(source, dict) else source or "",
        amount_minor=from_stripe_amount(transaction.amount, currency),
        currency=currency,
        created_at=datetime.fromtimestamp(transaction.created, tz=UTC),
        fee_minor=fee_minor(transaction.fee, currency),
        description=transaction.description or "",
        presentment=_presentment(transaction),
        psp_payment=_text(source, "payment_intent"),
        psp_account=_text(source, "destination"),
        end_to_end_id=_text(source, "transfer_group"),
    )


def _text(source: object, name: str) -> str | None:
    value = source.get(name) if isinstance(source, dict) else None
    return value if isinstance(value, str) else None


def _presentment(transaction: StripeBalanceTransaction) -> PspPresentment | None:
    """The converted charge, refund or dispute in its own currency; None where the PSP converted nothing.

    The amount is the source's own: the movement's, divided by its rate, would be rounded twice.
    """
    source, rate = transaction.source, transaction.exchange_rate
    if rate is None or not isinstance(source, dict):
        return None
    currency = str(source.get("currency") or transaction.currency).upper()
    if currency == transaction.currency.upper():
        return None
    captured_only = source.get("object") == "charge" and source.get("amount_captured") is not None
    amount = from_stripe_amount(int(source["amount_captured" if captured_only else "amount"]), currency)
    is_outgoing = transaction.amount < 0 or (
        transaction.amount == 0 and transaction.type in {"refund", "payment_refund"}
    )
    return PspPresentment(
        amount_minor=-amount if is_outgoing else amount, currency=currency, exchange_rate=rate
    )
