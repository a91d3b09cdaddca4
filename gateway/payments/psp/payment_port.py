"""A payment as the PSP's own record has it, whoever made it: a value of the port.

Owns: its fields. Must not know: any provider, what is recorded here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PspPayment:
    """Amounts in minor units of `currency`; `captured_minor` 0: it has brought no money (yet).

    `metadata` and `description` are what was sent with it; the fee is None where the PSP has not said it.
    """

    psp_payment: str
    psp_charge: str | None
    captured_minor: int
    refunded_minor: int
    currency: str
    fee_minor: int | None
    fee_currency: str | None
    created_at: datetime
    metadata: Mapping[str, str]
    payment_method: str | None = None
    customer: str | None = None
