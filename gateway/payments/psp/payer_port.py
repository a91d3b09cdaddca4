"""The port to what a PSP knows of payers: customers, setups of payment methods, saved methods, mandates.

Owns: the Protocol and its values. Must not know: any provider's SDK, HTTP, SQL. No call here moves money, so
a repeat under the same idempotency key is always safe.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from gateway.payments.psp.failures import Declined, PspOutcomeUnknown


class SetupState(StrEnum):
    """How far the setup of a payment method has come at the PSP."""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PspCustomerRequest:
    """Create a customer: a driver of `party_id`, whose payment methods may be saved."""

    idempotency_key: str
    customer_id: UUID
    party_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PspSetupRequest:
    """Open a setup of a payment method; the driver's app confirms it at the PSP.

    `off_session`: the method will be charged while the driver is away, so a mandate is asked for.
    """

    idempotency_key: str
    setup_id: UUID
    party_id: str
    psp_customer: str
    off_session: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerCreated:
    """The customer exists at the PSP."""

    psp_customer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSummary:
    """What a driver recognizes a saved card by. `wallet` is the wallet that holds it, such as `apple_pay`.

    `fingerprint` is the PSP's name of the card's number, the same for every saved copy; it is never shown.
    """

    brand: str
    last4: str
    exp_month: int
    exp_year: int
    wallet: str | None = None
    fingerprint: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupStatus:
    """A setup as the PSP has it.

    `client_secret` is a bearer secret: whoever holds it may confirm the setup. It goes to the driver's app
    and is neither stored nor logged. `attempt` names the last try, `error` says why it failed.
    """

    psp_setup: str
    state: SetupState
    client_secret: str | None = field(default=None, repr=False)
    redirect_url: str | None = field(default=None, repr=False)
    psp_method: str | None = None
    card: CardSummary | None = None
    mandate: str | None = None
    attempt: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodStatus:
    """A payment method as the PSP has it; `psp_customer` None: it is saved for nobody."""

    psp_method: str
    psp_customer: str | None
    card: CardSummary | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodDetached:
    """The saved method can't be charged any more."""


CustomerOutcome = CustomerCreated | Declined | PspOutcomeUnknown
SetupOutcome = SetupStatus | Declined | PspOutcomeUnknown
MethodOutcome = MethodStatus | Declined | PspOutcomeUnknown
DetachOutcome = MethodDetached | PspOutcomeUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSources:
    """The hosts that a page with the PSP's form needs, as sources of a Content-Security-Policy.

    `wallets`: the form offers Apple Pay and Google Pay beside cards. `pages`: where a form of ours may lead,
    to the PSP's own page.
    """

    scripts: tuple[str, ...]
    frames: tuple[str, ...]
    connections: tuple[str, ...] = ()
    pages: tuple[str, ...] = ()
    wallets: bool = False


class PayerPsp(Protocol):
    """What this system needs of a PSP about payers."""

    @property
    def publishable_key(self) -> str | None:
        """The key that a driver's app shows the PSP; no secret. None where none is configured."""
        ...

    @property
    def script_url(self) -> str:
        """The PSP's own script, which draws the form for cards and wallets in an app's page."""
        ...

    @property
    def page_sources(self) -> PageSources:
        """The hosts that a page with that form needs."""
        ...

    def form_amount(self, minor: int, currency: str) -> int:
        """An amount as the form is given it, which wallets show: in the PSP's unit, not ISO 4217's."""
        ...

    async def create_customer(self, request: PspCustomerRequest) -> CustomerOutcome:
        """Create a customer."""
        ...

    async def create_setup(self, request: PspSetupRequest) -> SetupOutcome:
        """Open a setup."""
        ...

    async def inspect_setup(self, *, psp_setup: str) -> SetupOutcome:
        """Read a setup."""
        ...

    async def cancel_setup(self, *, psp_setup: str, idempotency_key: str) -> SetupOutcome:
        """End a setup that the driver has not finished; one that has ended is answered as it is."""
        ...

    async def inspect_method(self, *, psp_method: str) -> MethodOutcome:
        """Read a payment method."""
        ...

    async def detach_method(self, *, psp_method: str, idempotency_key: str) -> DetachOutcome:
        """Make a saved method unusable; one that is so already counts as detached."""
        ...
