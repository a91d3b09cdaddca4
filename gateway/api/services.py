"""What handlers may use, and how much the edge grants a caller.

Owns: the services of this process in one object, and the limits and addresses of the edge. Must not know how
any service works. The composition root fills it in; an endpoint of a service that is not wired answers
`unavailable`.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from clearing.services import ClearingServices
from gateway.api.auth import KeyRing
from gateway.api.rate_limit import RateRule
from gateway.clock import Clock
from gateway.database import Pool
from gateway.jobs.disbursements import DisbursementJob
from gateway.ocpi.registrations import OcpiRegistrationService
from gateway.ocpi.remote import RemoteControlService
from gateway.ocpi.token_service import TokenService
from gateway.partners.agreement_service import AgreementService
from gateway.partners.api_key_service import ApiKeyService
from gateway.partners.client_certificate_service import ClientCertificateService
from gateway.partners.market_clock_service import MarketClockService
from gateway.partners.meter_key_service import MeterKeyService
from gateway.partners.party_service import PartyService
from gateway.payments.funding import FundingService
from gateway.payments.service import PaymentService
from gateway.plug_and_charge.authorization_service import VehicleAuthorizationService
from gateway.plug_and_charge.settlement_notice import SettlementNoticeService
from gateway.webhooks.endpoint_service import WebhookEndpointService
from gateway.webhooks.event_service import EventService
from pnc.service import PlugAndChargeService


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
    clearing: ClearingServices
    parties: PartyService
    agreements: AgreementService
    meter_keys: MeterKeyService
    api_keys: ApiKeyService
    client_certificates: ClientCertificateService
    market_clock: MarketClockService
    webhook_endpoints: WebhookEndpointService
    events: EventService
    funding: FundingService | None = None
    disbursements: DisbursementJob | None = None
    ocpi: OcpiRegistrationService | None = None
    ocpi_tokens: TokenService | None = None
    remote: RemoteControlService | None = None
    plug_and_charge: PlugAndChargeService | None = None
    vehicle_authorization: VehicleAuthorizationService | None = None
    settlement_notices: SettlementNoticeService | None = None
    # A statement is long to write: two at a time, the others wait.
    statement_turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    def now(self) -> datetime:
        """Business time."""
        return self.clock.now()
