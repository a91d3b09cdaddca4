"""The port to a payment service provider: orders out, typed outcomes back.

Owns: the Protocol and its values. A second PSP is one more file that implements it.
Must not know: any provider's SDK, HTTP, SQL. An adapter never raises for what a PSP may answer: a decline, a
demand for authentication and a lost answer are outcomes. `OutcomeUnknown` means that the effect may or may
not have taken place; the caller asks again under the same idempotency key and never under a new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

CARD_PRESENT: Final = "card_present"  # stands for a payment method: the card is presented to a terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOrder:
    """Reserve `amount_minor` (ISO minor units) on a tokenized payment method; capture later.

    With `payment_method` CARD_PRESENT the card comes later, at a terminal: the answer is RequiresAction.
    """

    idempotency_key: str
    session_id: UUID
    authorization_id: UUID
    amount_minor: int
    currency: str
    payment_method: str
    customer: str | None = None
    off_session: bool = False  # merchant-initiated under a stored mandate
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureOrder:
    """Capture `amount_minor` of a held payment; the rest of the hold is released at once."""

    idempotency_key: str
    psp_payment: str
    amount_minor: int
    currency: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidOrder:
    """Release a hold whole."""

    idempotency_key: str
    psp_payment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementOrder:
    """Raise a hold to `amount_minor` in all."""

    idempotency_key: str
    psp_payment: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeOrder:
    """Charge what a hold did not cover, at once, merchant-initiated under the stored mandate."""

    idempotency_key: str
    session_id: UUID
    authorization_id: UUID
    amount_minor: int
    currency: str
    payment_method: str
    customer: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundOrder:
    """Give back `amount_minor` of a captured payment."""

    idempotency_key: str
    psp_charge: str
    amount_minor: int
    currency: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOrder:
    """Pay a connected account from the platform's balance."""

    idempotency_key: str
    amount_minor: int
    currency: str
    connected_account: str
    end_to_end_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopUpOrder:
    """Bring money from the platform's bank into its PSP balance; `top_up_id` is kept with it at the PSP."""

    idempotency_key: str
    top_up_id: UUID
    amount_minor: int
    currency: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The hold stands."""

    psp_payment: str
    amount_minor: int
    capture_before: datetime | None
    incrementable: bool = False  # the PSP offers to raise it
    max_capture_minor: int | None = None  # the PSP offers to capture up to this
    scheme: str | None = None  # the card's, as the PSP calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiresAction:
    """The cardholder must authenticate; `next_action` goes to the app untouched."""

    psp_payment: str
    next_action: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """Money was taken, once."""

    psp_charge: str
    amount_minor: int
    fee_minor: int | None
    fee_currency: str | None
    psp_payment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Voided:
    """The hold is gone and nothing was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """A final no to this order; `retryable` says whether another try may ever succeed."""

    code: str
    retryable: bool
    psp_payment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeUnknown:
    """No answer, or one that says nothing (timeout, reset, 5xx, rate limit): ask again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """The connected account was credited."""

    psp_transfer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToppedUp:
    """The platform's balance was raised."""

    psp_topup: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded:
    """The money is on its way back."""

    psp_refund: str


HoldOutcome = Held | RequiresAction | Declined | OutcomeUnknown
CaptureOutcome = Captured | Voided | Declined | OutcomeUnknown
VoidOutcome = Voided | Captured | Declined | OutcomeUnknown
IncrementOutcome = Held | Declined | OutcomeUnknown
ChargeOutcome = Captured | Declined | OutcomeUnknown
RefundOutcome = Refunded | Declined | OutcomeUnknown
TransferOutcome = Transferred | Declined | OutcomeUnknown
TopUpOutcome = ToppedUp | Declined | OutcomeUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class PspMovement:
    """One line of the PSP's balance, gross: money in positive; `source` is the charge, transfer, payout.

    `fee_minor` is what the PSP kept beside it, `description` what was said when it was made.
    """

    id: str
    kind: str
    source: str
    amount_minor: int
    currency: str
    created_at: datetime
    fee_minor: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PspRecord:
    """What the PSP itself says of one currency, in minor units, for the daily proof."""

    currency: str
    captured_minor: int = 0
    refunded_minor: int = 0
    fee_minor: int = 0
    transferred_minor: int = 0
    topped_up_minor: int = 0
    other_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeNews:
    """What the PSP says of a dispute."""

    psp_dispute: str
    state: str  # opened, won, lost
    amount_minor: int
    fee_minor: int
    currency: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalNews:
    """The PSP gave money back without our asking."""

    psp_refund: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PspEvent:
    """One authenticated event of the PSP: its id, type and the payment it speaks of, if any."""

    id: str
    type: str
    psp_payment: str | None
    session_id: UUID | None
    dispute: DisputeNews | None = None
    reversal: ReversalNews | None = None
    failed_refund: str | None = None  # a refund of the PSP's that did not reach its card after all


class WebhookRefusedError(Exception):
    """The PSP's webhook is not authentic: wrong signature, or too old."""


class Psp(Protocol):
    """What this house asks of a PSP. Every call has a timeout of its own and repeats nothing by itself."""

    async def hold(self, order: HoldOrder) -> HoldOutcome:
        """Reserve funds."""
        ...

    async def capture(self, order: CaptureOrder) -> CaptureOutcome:
        """Capture a held payment, once."""
        ...

    async def void(self, order: VoidOrder) -> VoidOutcome:
        """Release a held payment; `Captured` when it turns out that it was captured already."""
        ...

    async def increment(self, order: IncrementOrder) -> IncrementOutcome:
        """Raise a hold, where the payment method allows it."""
        ...

    async def charge(self, order: ChargeOrder) -> ChargeOutcome:
        """Charge at once under a stored mandate."""
        ...

    async def refund(self, order: RefundOrder) -> RefundOutcome:
        """Give captured money back, bounded by what was captured."""
        ...

    async def transfer(self, order: TransferOrder) -> TransferOutcome:
        """Pay a connected account."""
        ...

    async def top_up(self, order: TopUpOrder) -> TopUpOutcome:
        """Fund the platform's balance."""
        ...

    async def find_hold(self, *, authorization_id: UUID) -> HoldOutcome | Captured | Voided | None:
        """Look a payment up by our metadata, past the idempotency key's lifetime; None: it never existed."""
        ...

    async def inspect(self, *, psp_payment: str) -> HoldOutcome | Captured | Voided:
        """What became of a payment."""
        ...

    async def find_charge(self, *, authorization_id: UUID) -> Captured | OutcomeUnknown | None:
        """Look an off-session charge up by our metadata; None: it never existed."""
        ...

    async def find_refund(self, *, psp_charge: str, refund_id: UUID) -> Refunded | OutcomeUnknown | None:
        """Look a refund up by our metadata; None: it never existed."""
        ...

    async def find_transfer(self, *, end_to_end_id: str) -> Transferred | OutcomeUnknown | None:
        """Look a transfer up by our metadata; None: it never existed."""
        ...

    async def find_top_up(self, *, top_up_id: UUID) -> ToppedUp | Declined | OutcomeUnknown | None:
        """Look a top-up up by our metadata; None: it never existed."""
        ...

    async def records(self) -> Sequence[PspRecord] | OutcomeUnknown:
        """The PSP's own balance movements, summed per currency, since the account was opened."""
        ...

    def read_event(self, *, body: bytes, signature: str, tolerance_s: int) -> PspEvent:
        """Authenticate a webhook over its raw body. Raises WebhookRefusedError."""
        ...

    def parse_event(self, body: bytes) -> PspEvent:
        """Read an event that was authenticated before and kept."""
        ...

    async def events_since(self, *, since: datetime, limit: int) -> Sequence[bytes] | OutcomeUnknown:
        """The PSP's own list of events, oldest first, to find those whose webhook was lost."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
