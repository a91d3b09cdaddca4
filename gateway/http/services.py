"""What the edge needs from the rooms below it, and how much it grants a caller.

Owns: the Protocols that handlers call and the one object that carries their implementations. Must not know
how any of them works. The composition root fills it in; a service that is not wired leaves its paths out.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from clearing.service import ClearingService
from gateway import objects
from gateway.clock import Clock
from gateway.database import Pool
from gateway.http.auth import KeyRing
from gateway.http.rate_limit import RateRule
from gateway.notify.secret_box import SecretBox
from gateway.payments.dispute import Disputes
from gateway.payments.missing import MissingCdrs
from gateway.payments.orders import (
    AuthorizationView,
    AuthorizeOrder,
    Estimate,
    PriceView,
    QuoteView,
    SessionFilter,
    SessionView,
)
from gateway.payments.records import AccountRecord, CaptureRecord, SessionRecord
from gateway.payments.refund import Refunds
from pnc.service import PlugAndChargeService


class PaymentService(Protocol):
    """The single capture. Raises `payments.orders.PaymentError`; `admin` sees every party's objects."""

    @property
    def refunds(self) -> Refunds:
        """What gives captured money back."""
        ...

    @property
    def disputes(self) -> Disputes:
        """What cardholders' banks take back."""
        ...

    async def clear_again(self, *, session_id: UUID) -> SessionView:
        """Hand a session that was set aside to clearing once more."""
        ...

    @property
    def missing(self) -> MissingCdrs:
        """What becomes of sessions whose CDR never comes."""
        ...

    async def quote(self, *, evse_id: str, estimate: Estimate) -> QuoteView:
        """What an expected session would cost; nothing is stored."""
        ...

    async def increment(
        self,
        *,
        party_id: str,
        authorization_id: UUID,
        amount_minor: int,
        expected_version: int | None,
        admin: bool = False,
    ) -> AuthorizationView:
        """Raise a hold."""
        ...

    async def authorize(self, order: AuthorizeOrder) -> AuthorizationView:
        """Secure the payment of a session; a decline is a failed authorization, not an error."""
        ...

    async def release(
        self, *, party_id: str, authorization_id: UUID, expected_version: int | None, admin: bool = False
    ) -> AuthorizationView:
        """Give a hold back whole."""
        ...

    async def complete(
        self,
        *,
        party_id: str,
        session_id: UUID,
        cdr_raw: bytes | Callable[[SessionRecord], bytes],
        cdr_version: str,
        expected_version: int | None,
        admin: bool = False,
    ) -> SessionView:
        """End a session by its CDR: priced, captured once."""
        ...

    async def get_authorization(
        self, *, party_id: str, authorization_id: UUID, admin: bool = False
    ) -> AuthorizationView:
        """One authorization."""
        ...

    async def list_authorizations(
        self, *, party_id: str, admin: bool = False, limit: int, before: UUID | None
    ) -> Sequence[AuthorizationView]:
        """Authorizations, newest first, those older than `before`."""
        ...

    async def get_session(self, *, party_id: str, session_id: UUID, admin: bool = False) -> SessionView:
        """One session."""
        ...

    async def list_sessions(
        self, *, party_id: str, admin: bool = False, wanted: SessionFilter, limit: int, before: UUID | None
    ) -> Sequence[SessionView]:
        """Sessions, newest first, those older than `before`."""
        ...

    async def price_breakdown(self, *, party_id: str, session_id: UUID, admin: bool = False) -> PriceView:
        """A completed session's price, line by line."""
        ...

    async def get_capture(self, *, party_id: str, capture_id: UUID, admin: bool = False) -> CaptureRecord:
        """One capture."""
        ...

    async def list_captures(
        self, *, party_id: str, admin: bool = False, limit: int, before: UUID | None
    ) -> Sequence[CaptureRecord]:
        """Captures, newest first, those older than `before`."""
        ...

    async def psp_webhook(self, *, body: bytes, signature: str) -> None:
        """Take one authentic event of the PSP. Raises `gateway.payments.psp.WebhookRefusedError`."""
        ...


class FundingService(Protocol):
    """Money brought in ahead of captures. Repeating a reference with the same figures changes nothing."""

    async def fund_partner(
        self, *, funding_id: UUID, party_id: str, currency: str, amount_minor: int, reference: str
    ) -> AccountRecord:
        """Top up at the PSP, raise the account, book it; returns the account as it then stands."""
        ...

    async def set_credit_limit(
        self, *, party_id: str, currency: str, credit_limit_minor: int
    ) -> AccountRecord:
        """Set how far an account may go below zero; opens the account where there is none."""
        ...

    async def get_account(self, *, party_id: str, currency: str) -> AccountRecord:
        """One funded account. Raises NotFoundError."""
        ...

    async def top_up_treasury(self, *, currency: str, amount_minor: int, reference: str) -> None:
        """Bring the platform's own money to its PSP balance and book it."""
        ...


class DisbursementRunner(Protocol):
    """Plans and executes what is due."""

    async def run(self) -> int:
        """Plan and pay what is due at business time; how many payments were made."""
        ...


class RemoteControl(Protocol):
    """Starts and stops sessions at their CPO."""

    async def start(self, *, party_id: str, session_id: UUID, admin: bool = False) -> objects.Command:
        """Ask the CPO to start a session whose payment is secured."""
        ...

    async def stop(self, *, party_id: str, session_id: UUID, admin: bool = False) -> objects.Command:
        """Ask the CPO to stop a running session."""
        ...


class OcpiRegistrar(Protocol):
    """Opens an OCPI registration for a party."""

    async def register(self, *, party_id: str) -> str:
        """A fresh token A, shown once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """Limits and addresses of the edge."""

    base_url: str
    sandbox: bool
    max_body_bytes: int = 1_048_576
    small_body_bytes: int = 65_536
    body_timeout_seconds: float = 10.0
    request_timeout_seconds: float = 30.0
    idempotency_lock: timedelta = timedelta(seconds=45)
    allow_private_receivers: bool = False
    key_rate: RateRule = field(default_factory=lambda: RateRule(name="key", per_second=500, burst=1000))
    address_rate: RateRule = field(default_factory=lambda: RateRule(name="address", per_second=50, burst=200))

    @property
    def environment(self) -> str:
        """Which trust and which contracts count."""
        return "sandbox" if self.sandbox else "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """Everything a handler may use."""

    pool: Pool
    clock: Clock
    keys: KeyRing
    options: ApiOptions
    payments: PaymentService
    clearing: ClearingService
    webhook_secrets: SecretBox = field(default_factory=SecretBox)
    funding: FundingService | None = None
    disbursements: DisbursementRunner | None = None
    ocpi: OcpiRegistrar | None = None
    remote: RemoteControl | None = None
    plug_and_charge: PlugAndChargeService | None = None
    # Statements are long to write: so many at a time, and the others wait.
    statement_turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    def now(self) -> datetime:
        """Business time."""
        return self.clock.now()
