"""What handlers may use, and how much the edge grants a caller.

Owns: the services of this process in one object, and the limits and addresses of the edge. Must not know how
any service works. The composition root fills it in; an endpoint of a service that is not wired answers
`unavailable`.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from clearing.services import ClearingServices
from gateway.acts.service import ActService
from gateway.api.auth import KeyRing
from gateway.api.idempotency import LOCK
from gateway.api_versions import VERSIONS
from gateway.books.services import BookServices
from gateway.clock import Clock
from gateway.database import Pool
from gateway.documents.document_service import DocumentService
from gateway.driver_page.administration import DriverPageAdministration
from gateway.exceptions.administration import ExceptionAdministration
from gateway.jobs.disbursements import DisbursementJob
from gateway.limits.address_limit import AddressLimiter
from gateway.limits.edge_limits import EdgeLimits
from gateway.limits.rate_limit import RateRule
from gateway.ocpi.booking_service import BookingService
from gateway.ocpi.charging_preferences import ChargingPreferencesService
from gateway.ocpi.evse_directory import EvseDirectory
from gateway.ocpi.operator_directory import OperatorDirectory
from gateway.ocpi.registrations import OcpiRegistrationService
from gateway.ocpi.remote import RemoteControlService
from gateway.ocpi.token_service import TokenService
from gateway.partners.agreement_service import AgreementService
from gateway.partners.api_key_service import ApiKeyService
from gateway.partners.buyer_service import BuyerService
from gateway.partners.client_certificate_service import ClientCertificateService
from gateway.partners.market_clock_service import MarketClockService
from gateway.partners.meter_key_service import MeterKeyService
from gateway.partners.party_service import PartyService
from gateway.partners.request_log_service import RequestLogService
from gateway.payments.cdr_limits import CdrLimitService
from gateway.payments.funding import FundingService
from gateway.payments.service import PaymentService
from gateway.payouts.bank_details_service import BankDetailsService
from gateway.payouts.connected_account_service import ConnectedAccountService
from gateway.payouts.disbursement_service import DisbursementAdministration
from gateway.payouts.hold_service import PayoutHoldService
from gateway.payouts.party_check_service import PartyCheckService
from gateway.payouts.terms_service import PayoutTermsService
from gateway.people.saved_views import SavedViewService
from gateway.people.service import PeopleService
from gateway.personal_data.administration import PersonAdministration
from gateway.plug_and_charge.contract_pool_service import ContractPoolService
from gateway.plug_and_charge.contract_service import ContractService
from gateway.plug_and_charge.station_services import StationServices
from gateway.plug_and_charge.trust_service import TrustService
from gateway.reconciliation.bank_message_service import BankMessageService
from gateway.reconciliation.evidence_service import EvidenceService
from gateway.reconciliation.receivable_administration import ReceivableAdministration
from gateway.reconciliation.report_service import FinancialReportService
from gateway.reconciliation.resolution_administration import ResolutionAdministration
from gateway.settings.operations import RecoveryMode
from gateway.version_rules import VersionCatalogue
from gateway.webhooks.endpoint_service import WebhookEndpointService
from gateway.webhooks.event_service import EventService
from pnc.ev_certificate_pool import ContractPool
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
    idempotency_lock: timedelta = LOCK
    allow_private_receivers: bool = False
    own_tls: bool = False
    recovery_mode: RecoveryMode = RecoveryMode.OFF
    versions: VersionCatalogue = VERSIONS
    key_rate: RateRule = field(default_factory=lambda: RateRule(name="key", per_second=500, burst=1000))

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
    limits: EdgeLimits = field(default_factory=EdgeLimits)
    addresses: AddressLimiter = field(default_factory=AddressLimiter)
    payments: PaymentService
    clearing: ClearingServices
    parties: PartyService
    buyers: BuyerService
    agreements: AgreementService
    meter_keys: MeterKeyService
    api_keys: ApiKeyService
    client_certificates: ClientCertificateService
    market_clock: MarketClockService
    webhook_endpoints: WebhookEndpointService
    events: EventService
    documents: DocumentService
    exceptions: ExceptionAdministration
    cdr_limits: CdrLimitService
    persons: PersonAdministration
    payout_terms: PayoutTermsService
    payout_holds: PayoutHoldService
    bank_details: BankDetailsService
    party_checks: PartyCheckService
    connected_accounts: ConnectedAccountService
    disbursement_administration: DisbursementAdministration
    bank_messages: BankMessageService
    receivables: ReceivableAdministration
    resolutions: ResolutionAdministration
    financial_reports: FinancialReportService
    books: BookServices
    driver_pages: DriverPageAdministration
    trust: TrustService
    acts: ActService
    funding: FundingService | None = None
    disbursements: DisbursementJob | None = None
    ocpi: OcpiRegistrationService | None = None
    ocpi_tokens: TokenService | None = None
    remote: RemoteControlService | None = None
    charging_preferences: ChargingPreferencesService | None = None
    bookings: BookingService | None = None
    evse_directory: EvseDirectory | None = None
    plug_and_charge: PlugAndChargeService | None = None
    contracts: ContractService | None = None
    contract_pool: ContractPool | None = None
    contract_pools: ContractPoolService | None = None
    stations: StationServices | None = None
    # A statement is long to write: two at a time, the others wait.
    statement_turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    @property
    def people(self) -> PeopleService:
        """Who may sign in, and what people did."""
        return PeopleService(pool=self.pool, clock=self.clock)

    @property
    def operators(self) -> OperatorDirectory:
        """What operators are and have sent, for people."""
        return OperatorDirectory(pool=self.pool)

    @property
    def request_log(self) -> RequestLogService:
        """What API keys asked, for their developers."""
        return RequestLogService(pool=self.pool)

    @property
    def evidence(self) -> EvidenceService:
        """What people attach to differences."""
        return EvidenceService(pool=self.pool, clock=self.clock)

    @property
    def saved_views(self) -> SavedViewService:
        """The filters that people keep under a name."""
        return SavedViewService(pool=self.pool, clock=self.clock)

    def now(self) -> datetime:
        """Business time."""
        return self.clock.now()
