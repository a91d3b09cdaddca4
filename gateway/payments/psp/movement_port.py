"""What a PSP's own record says: movements of money, line by line and in sum.

Owns: these values. Must not know how a PSP writes them, or what they are compared with.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PspMovement:
    """One line of the PSP's balance, gross: money in positive; `source` is the charge, transfer, payout.

    `fee_minor` is what the PSP kept beside it, in `currency`; `description` what was said when it was made.
    `presentment` is what the source moved in its own currency, where the PSP converted it into `currency`.
    """

    id: str
    kind: str
    source: str
    amount_minor: int
    currency: str
    created_at: datetime
    fee_minor: int = 0
    description: str = ""
    presentment: "PspPresentment | None" = None
    psp_payment: str | None = None  # of a charge, the payment that it is part of
    psp_account: str | None = None  # of a transfer, the connected account that got it
    end_to_end_id: str | None = None  # of a transfer, our own name for it


@dataclass(frozen=True, slots=True, kw_only=True)
class PspPresentment:
    """What a converted movement was in the currency of its charge: signed minor units, and the PSP's rate.

    One major unit of `currency` is `exchange_rate` major units of the movement's currency.
    """

    amount_minor: int
    currency: str
    exchange_rate: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PspTotals:
    """What the PSP itself says of one currency, in minor units, for the daily proof.

    Captures, refunds and disputes are in the currency of their charge; `converted_minor` is what the PSP's
    conversions brought into this currency less what they took out of it. Fees are in the settlement currency.
    """

    currency: str
    captured_minor: int = 0
    refunded_minor: int = 0
    fee_minor: int = 0
    transferred_minor: int = 0
    topped_up_minor: int = 0
    other_minor: int = 0
    converted_minor: int = 0
