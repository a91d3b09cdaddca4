"""The port to a PSP's connected accounts: where parties are paid, and whether the PSP can pay them now.

Owns: the Protocol and its values. Must not know: any provider's SDK, HTTP, SQL. No call here moves money, so
a repeat under the same idempotency key is always safe.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from gateway.payments.psp.failures import Declined, PspOutcomeUnknown

# Codes of our own for a value of the caller's that the PSP does not take.
INVALID_COUNTRY: Final = "invalid_country"
INVALID_EMAIL: Final = "invalid_email"
# The account does not exist, or the party has ended its connection to the platform.
UNKNOWN_ACCOUNT: Final = "account_invalid"


class TransferCapability(StrEnum):
    """Whether the PSP lets an account receive transfers. `unknown`: it knows no such account of ours."""

    ACTIVE = "active"
    PENDING = "pending"
    INACTIVE = "inactive"
    UNREQUESTED = "unrequested"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class PspAccountRequest:
    """Create a connected account for a party. `country` is where its business is established."""

    idempotency_key: str
    account_id: UUID
    party_id: str
    country: str
    email: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PspAccount:
    """A connected account as the PSP has it.

    `requirements` names what the PSP still wants to know, what is overdue first; `requirements_due` is when
    the account is restricted unless it is given. `disabled_reason` is the PSP's code.
    """

    psp_account: str
    transfers: TransferCapability
    payouts_enabled: bool = False
    details_submitted: bool = False
    country: str | None = None
    currency: str | None = None
    disabled_reason: str | None = None
    requirements: Sequence[str] = ()
    requirements_due: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardingLink:
    """Where the party tells the PSP what it asks: a bearer secret, for one visit in a few minutes."""

    url: str = field(repr=False)
    expires_at: datetime


AccountOutcome = PspAccount | Declined | PspOutcomeUnknown
LinkOutcome = OnboardingLink | Declined | PspOutcomeUnknown


class ConnectPsp(Protocol):
    """What this system needs of a PSP's connected accounts."""

    async def create_account(self, request: PspAccountRequest) -> AccountOutcome:
        """Create an account that can receive transfers once the PSP knows whose it is."""
        ...

    async def inspect_account(self, *, psp_account: str) -> AccountOutcome:
        """Read an account; Declined: the PSP knows none of that id that is connected to ours."""
        ...

    async def create_onboarding_link(
        self, *, psp_account: str, return_url: str, refresh_url: str, idempotency_key: str
    ) -> LinkOutcome:
        """A link to the PSP's own form; the party comes back to `return_url`, which proves nothing."""
        ...
