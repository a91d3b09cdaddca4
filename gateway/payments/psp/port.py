"""The port to a payment service provider: requests out, typed outcomes back.

Owns: the Protocol and its values. A second PSP is one more file that implements it.
Must not know: any provider's SDK, HTTP, SQL. An adapter never raises for what a PSP may answer: a decline, a
demand for authentication and a lost answer are outcomes. `PspOutcomeUnknown` means that the effect may or may
not have taken place; the caller repeats it under the same idempotency key and never under a new one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

from gateway.payments.psp import dispute_port as disputes
from gateway.payments.psp.connect_port import ConnectPsp
from gateway.payments.psp.failures import Declined, PspMisconfigured, PspOutcomeUnknown
from gateway.payments.psp.movement_port import PspTotals
from gateway.payments.psp.payer_port import PayerPsp
from gateway.payments.psp.payment_port import PspPayment, TopUpState
from gateway.payments.psp.rules import PspRules
from gateway.payments.psp.terminal_port import TerminalPsp

# Codes of our own for a decline that is not the card's: a value of the caller's that the PSP does not take,
# and a mistake in this system's configuration, for which the caller can do nothing.
INVALID_PAYMENT_METHOD: Final = "invalid_payment_method"
INVALID_CUSTOMER: Final = "invalid_customer"
INVALID_AMOUNT: Final = "invalid_amount"
PSP_CONFIGURATION: Final = "psp_configuration"
CARD_PRESENT: Final = "card_present"  # instead of a payment method: the card is presented to a terminal
HOSTED_PAGE: Final = "hosted_page"  # likewise: the driver pays on a page of the PSP's own


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldFeatures:
    """What is asked of a hold beyond itself: that it may be raised, that more than it may be captured."""

    increments: bool = True
    over_capture: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PspHoldRequest:
    """Reserve `amount_minor` (ISO minor units) on a tokenized payment method; capture later.

    With `payment_method` CARD_PRESENT the card comes later, at a terminal, with HOSTED_PAGE on a page of the
    PSP's: the answer is RequiresAction. Such a page is in the language `locale` and ends by itself soon after
    `page_until`; the driver comes back to `return_url`, paid or not.
    `return_url` is where a driver who is there comes back to from authentication. `statement_suffix` is what
    the card statement says after the account's own name, as far as the PSP can write it.
    """

    idempotency_key: str
    session_id: UUID
    authorization_id: UUID
    amount_minor: int
    currency: str
    payment_method: str
    customer: str | None = None
    off_session: bool = False  # merchant-initiated under a stored mandate
    return_url: str | None = None  # where the driver returns to after a challenge
    save_usage: str | None = None  # save the method with its customer: off_session or on_session
    features: HoldFeatures = HoldFeatures()
    description: str | None = None
    receipt_email: str | None = None
    statement_suffix: str | None = None
    locale: str | None = None
    page_until: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PspCaptureRequest:
    """Capture `amount_minor` of a held payment; the rest of the hold is released at once."""

    idempotency_key: str
    psp_payment: str
    amount_minor: int
    currency: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PspVoidRequest:
    """Release a hold whole."""

    idempotency_key: str
    psp_payment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PspIncrementRequest:
    """Raise a hold to `amount_minor` in all."""

    idempotency_key: str
    psp_payment: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PspChargeRequest:
    """Charge what a hold did not cover, at once, merchant-initiated under the stored mandate."""

    idempotency_key: str
    session_id: UUID
    authorization_id: UUID
    amount_minor: int
    currency: str
    payment_method: str
    customer: str
    description: str | None = None
    receipt_email: str | None = None
    statement_suffix: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PspRefundRequest:
    """Refund `amount_minor` of a captured payment."""

    idempotency_key: str
    psp_charge: str
    amount_minor: int
    currency: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PspTransferRequest:
    """Pay a connected account from the platform's balance."""

    idempotency_key: str
    amount_minor: int
    currency: str
    connected_account: str
    end_to_end_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PspTopUpRequest:
    """Bring money from the platform's bank into its PSP balance; `top_up_id` is kept with it at the PSP."""

    idempotency_key: str
    top_up_id: UUID
    amount_minor: int
    currency: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The hold is active. `currency` None: the PSP does not say it."""

    psp_payment: str
    amount_minor: int
    capture_before: datetime | None
    incrementable: bool = False  # the PSP offers to raise it
    max_capture_minor: int | None = None  # the PSP offers to capture up to this
    scheme: str | None = None  # the card's, as the PSP calls it
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiresAction:
    """The cardholder must authenticate; `next_action` goes to the app untouched.

    `client_secret` is a bearer secret, and `next_action` may hold others: both go to the driver's app, and
    are neither stored nor logged nor part of an event.
    """

    psp_payment: str
    next_action: Mapping[str, Any] = field(repr=False)
    client_secret: str | None = field(default=None, repr=False)
    redirect_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """Money was captured, once."""

    psp_charge: str
    amount_minor: int
    fee_minor: int | None
    fee_currency: str | None
    psp_payment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Voided:
    """The hold has ended and nothing was captured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesRefused:
    """The account may not have the features that were asked of the hold; nothing took effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """The connected account was credited."""

    psp_transfer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToppedUp:
    """A top-up as the PSP has it. Only one that has arrived has raised the platform's balance.

    `top_up_id` is the mark that was sent with it, None where it is not ours.
    """

    psp_topup: str
    state: TopUpState = TopUpState.ARRIVED
    code: str | None = None  # why it failed
    top_up_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refunded:
    """The money is on its way back."""

    psp_refund: str


HoldOutcome = Held | RequiresAction | Declined | FeaturesRefused | PspMisconfigured | PspOutcomeUnknown
PaymentStatus = Held | RequiresAction | Declined | Captured | Voided | PspOutcomeUnknown
CaptureOutcome = Captured | Voided | Declined | PspOutcomeUnknown
VoidOutcome = Voided | Captured | Declined | PspOutcomeUnknown
IncrementOutcome = Held | Declined | PspMisconfigured | PspOutcomeUnknown
ChargeOutcome = Captured | Declined | PspOutcomeUnknown
RefundOutcome = Refunded | Declined | PspOutcomeUnknown
TransferOutcome = Transferred | Declined | PspOutcomeUnknown
DisputeOutcome = disputes.DisputeUpdate | Declined | PspOutcomeUnknown
FileOutcome = disputes.FileUploaded | Declined | PspOutcomeUnknown
TopUpOutcome = ToppedUp | Declined | PspOutcomeUnknown


class PspEventKind(StrEnum):
    """What an event of the PSP means to a payment of ours."""

    PAYMENT_CHANGED = "payment_changed"  # something may have changed: read the payment where we wait for it
    HOLD_ENDED = "hold_ended"  # an active hold may have ended at the PSP: read it there
    MONEY_CAPTURED = "money_captured"  # a payment has brought money, by our request or by hand


@dataclass(frozen=True, slots=True, kw_only=True)
class PspEvent:
    """One authenticated event of the PSP: its id, what it means and the payment it speaks of, if any.

    It is a hint: what is recorded is read at the PSP. One of the other mode, test or live, names nothing.

    `psp_type` is the PSP's own name of it, kept for people to read; `subject` its id of the object.
    `problem`: why nothing can be made of an authentic body, which is kept all the same. One that is not
    `relevant` can change nothing here and is not kept.
    """

    id: str
    relevant: bool = True
    subject: str | None = None
    created: int = 0  # Unix second
    kind: PspEventKind = PspEventKind.PAYMENT_CHANGED
    psp_type: str
    psp_payment: str | None
    session_id: UUID | None
    refund_id: UUID | None = None  # our refund, as the object names it
    dispute: str | None = None  # the PSP's id of a dispute: read it there
    refund: str | None = None  # the PSP's id of a refund that may be news: read it there
    problem: str | None = None
    psp_setup: str | None = None  # the setup of a payment method that it speaks of
    detached_method: str | None = None  # a saved method that can't be charged any more
    psp_topup: str | None = None  # a top-up: read it there
    updated_method: str | None = None  # a saved method whose card the network has replaced: read it there
    revoked_mandate: str | None = None  # a driver's consent to charges while away has ended
    attached_method: str | None = None  # a method that may be saved from now on: read it there
    connected_account: str | None = None  # what can be sent to it may have changed: read it there


@dataclass(frozen=True, slots=True, kw_only=True)
class PspIncident:
    """Something at the PSP that only the operator can mend, each time that a request meets it."""

    code: str
    detail: str
    account: str  # which of the PSP's accounts, without saying its key


IncidentReporter = Callable[[PspIncident], Awaitable[None]]


class WebhookRejectedError(Exception):
    """The PSP's webhook is not authentic: wrong signature, or too old."""


class Psp(Protocol):
    """What this system needs of a PSP. Every call has a timeout of its own and repeats nothing by itself."""

    @property
    def rules(self) -> PspRules:
        """What this PSP can charge, how long its holds and idempotency keys last."""
        ...

    @property
    def responding(self) -> bool:
        """Whether calls are sent: not while so many had no answer that they are held back for seconds."""
        ...

    @property
    def account(self) -> str:
        """Which of the PSP's accounts this is: a name for incidents, no secret."""
        ...

    @property
    def signature_header(self) -> str:
        """The HTTP header in which the PSP signs its webhooks."""
        ...

    @property
    def payers(self) -> "PayerPsp":
        """What this PSP knows of payers."""
        ...

    @property
    def terminals(self) -> "TerminalPsp":
        """This PSP's payment terminals."""
        ...

    @property
    def connect(self) -> "ConnectPsp":
        """This PSP's connected accounts."""
        ...

    async def hold(self, request: PspHoldRequest) -> HoldOutcome:
        """Reserve funds."""
        ...

    async def capture(self, request: PspCaptureRequest) -> CaptureOutcome:
        """Capture a held payment, once."""
        ...

    async def void(self, request: PspVoidRequest) -> VoidOutcome:
        """Release a held payment; `Captured` when it turns out that it was captured already."""
        ...

    async def increment(self, request: PspIncrementRequest) -> IncrementOutcome:
        """Raise a hold, where the payment method allows it."""
        ...

    async def charge(self, request: PspChargeRequest) -> ChargeOutcome:
        """Charge at once under a stored mandate."""
        ...

    async def refund(self, request: PspRefundRequest) -> RefundOutcome:
        """Give captured money back, bounded by what was captured."""
        ...

    async def transfer(self, request: PspTransferRequest) -> TransferOutcome:
        """Pay a connected account."""
        ...

    async def top_up(self, request: PspTopUpRequest) -> TopUpOutcome:
        """Fund the platform's balance."""
        ...

    async def find_hold(self, *, authorization_id: UUID) -> PaymentStatus | None:
        """Look a payment up by our metadata, past the idempotency key's lifetime; None: it never existed."""
        ...

    async def inspect(self, *, psp_payment: str) -> PaymentStatus:
        """What became of a payment."""
        ...

    async def find_charge(self, *, authorization_id: UUID) -> Captured | PspOutcomeUnknown | None:
        """Look an off-session charge up by our metadata; None: it never existed."""
        ...

    async def find_refund(self, *, psp_charge: str, refund_id: UUID) -> Refunded | PspOutcomeUnknown | None:
        """Look a refund up by our metadata; None: it never existed."""
        ...

    async def find_transfer(self, *, end_to_end_id: str) -> Transferred | PspOutcomeUnknown | None:
        """Look a transfer up by our metadata; None: it never existed."""
        ...

    async def read_top_up(self, *, psp_topup: str) -> ToppedUp | Declined | PspOutcomeUnknown:
        """A top-up as it is now; Declined: the PSP has none of that id."""
        ...

    async def find_top_up(self, *, top_up_id: UUID) -> ToppedUp | Declined | PspOutcomeUnknown | None:
        """Look a top-up up by our metadata; None: it never existed."""
        ...

    async def read_payment(self, *, psp_payment: str) -> PspPayment | Declined | PspOutcomeUnknown:
        """A payment as the PSP's own record has it; Declined: the PSP has none of that id."""
        ...

    async def read_refund(self, *, psp_refund: str) -> disputes.RefundUpdate | Declined | PspOutcomeUnknown:
        """A refund as it is now; Declined: the PSP has none of that id."""
        ...

    async def read_dispute(self, *, psp_dispute: str) -> DisputeOutcome:
        """A dispute as it is now; Declined: the PSP has none of that id."""
        ...

    async def submit_evidence(self, request: disputes.PspEvidenceRequest) -> DisputeOutcome:
        """Stage or submit evidence; the dispute as it is thereafter."""
        ...

    async def upload_evidence(self, request: disputes.PspFileRequest) -> FileOutcome:
        """Upload a file that evidence may name."""
        ...

    async def accept_dispute(self, *, psp_dispute: str, idempotency_key: str) -> DisputeOutcome:
        """Accept the loss of a dispute, for good."""
        ...

    async def list_records(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[PspTotals] | PspOutcomeUnknown:
        """The PSP's own balance movements, summed per currency; `until` is exclusive.

        None: since the account was opened, up to now.
        """
        ...

    def read_event(self, *, body: bytes, signature: str) -> PspEvent:
        """Authenticate a webhook over its raw body, which may be anything. Raises WebhookRejectedError."""
        ...

    def parse_event(self, body: bytes) -> PspEvent:
        """Read an event that was authenticated before and kept; whatever its body, it raises nothing."""
        ...

    def kept_body(self, body: bytes, *, whole: bool) -> bytes:
        """An authentic event as it is kept: what `parse_event` reads and what a person needs, and no secret.

        `whole`: all of it but the secrets, because nothing can be made of it.
        """
        ...

    def event_pages_since(
        self, *, since: datetime, limit: int
    ) -> AsyncIterator[Sequence[bytes] | PspOutcomeUnknown]:
        """The PSP's own list of events, page by page, to find those whose webhook was lost.

        Newest first; an unknown outcome is the last.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
