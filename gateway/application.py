"""The composition root: the only place where adapters are built and wired together.

Owns: which implementation stands behind which port, and the order in which things are opened and closed. Must
not know what any of them does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import aiohttp
import structlog
from aiohttp import web

from clearing.parties.party import PLATFORM_ID
from clearing.services import ClearingServices, build_clearing
from gateway import outbound
from gateway.acts.service import ActService
from gateway.adapters.contract_pool_http import contract_pool
from gateway.adapters.ecb_feed import EcbFeed
from gateway.adapters.opcp import OpcpProtocol
from gateway.adapters.revocation_http import HttpRevocationFetcher
from gateway.adapters.sanctions_file import SanctionsFile
from gateway.adapters.vies import Vies
from gateway.api.auth import KeyRing
from gateway.api.server import build_api
from gateway.api.services import ApiOptions, ApiServices
from gateway.books.services import build_books
from gateway.clock import Clock, MarketClock, SystemClock
from gateway.config import ClockSource, Environment, Settings
from gateway.console.server import add_console
from gateway.database import Pool, close_pool, create_pool_from, transaction
from gateway.documents.document_service import DocumentService
from gateway.driver_page.administration import DriverPageAdministration
from gateway.driver_page.routes import driver_page_routes
from gateway.driver_page.services import build_driver_page
from gateway.exceptions.administration import ExceptionAdministration
from gateway.exceptions.service import ExceptionService
from gateway.ids import every_shard, new_id
from gateway.jobs.act_seals import ActSealJob
from gateway.jobs.bank_files import bank_jobs
from gateway.jobs.clearing import ClearingJob
from gateway.jobs.connected_accounts import ConnectedAccountJob
from gateway.jobs.credit_cdrs import CreditCdrJob
from gateway.jobs.disbursements import DisbursementJob, PspRail
from gateway.jobs.dispute_deadlines import DisputeDeadlineJob
from gateway.jobs.driver_documents import DriverDocumentJob
from gateway.jobs.exceptions import ExceptionsJob
from gateway.jobs.fx_rates import FxRatesJob
from gateway.jobs.hold_monitor import HoldMonitorJob
from gateway.jobs.job import Job
from gateway.jobs.ocpi_jobs import ocpi_jobs
from gateway.jobs.outcome_resolution import OutcomeResolutionJob
from gateway.jobs.party_documents import PartyDocumentJob
from gateway.jobs.period_close import PeriodCloseJob
from gateway.jobs.plug_and_charge import plug_and_charge_jobs
from gateway.jobs.psp_event_poll import PspEventPollJob
from gateway.jobs.rate_retry import RateRetryJob
from gateway.jobs.reconciliation import ReconciliationJob
from gateway.jobs.retention import retention_jobs
from gateway.jobs.sanctions_screening import SanctionsScreeningJob
from gateway.jobs.task_handlers import TaskHandlers, task_jobs
from gateway.jobs.top_ups import TopUpJob
from gateway.jobs.vat_evidence import VatEvidenceJob
from gateway.limits.address_limit import AddressLimiter
from gateway.limits.edge_limits import edge_limits
from gateway.limits.rate_limit import Buckets
from gateway.migrations import migrate
from gateway.ocpi.booking_service import BookingService
from gateway.ocpi.cdr_settlement import CdrSettlementService
from gateway.ocpi.charging_preferences import ChargingPreferencesService
from gateway.ocpi.credit_cdrs import CreditCdrService
from gateway.ocpi.evse_directory import EvseDirectory
from gateway.ocpi.last_update import OcpiLastUpdates
from gateway.ocpi.registrations import OcpiRegistrationService
from gateway.ocpi.remote import RemoteControlService
from gateway.ocpi.routes import routes as ocpi_routes
from gateway.ocpi.services import PLATFORM_ROLE, OcpiServices
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.ocpi.token_authorization import TokenAuthorizationService
from gateway.ocpi.token_service import TokenService
from gateway.partners import party_repository
from gateway.partners.agreement_service import AgreementService
from gateway.partners.api_key_service import ApiKeyService
from gateway.partners.buyer_service import BuyerService
from gateway.partners.client_certificate_service import ClientCertificateService
from gateway.partners.market_clock_repository import market_anchor_reader
from gateway.partners.market_clock_service import MarketClockService
from gateway.partners.meter_key_service import MeterKeyService
from gateway.partners.party_service import PartyService
from gateway.partners.platform_party import platform_party
from gateway.payments.cdr_limits import CdrLimitService
from gateway.payments.funding import FundingService
from gateway.payments.ledger_corrections import LedgerCorrections
from gateway.payments.policy import FeatureChoice, PaymentPolicy, StatementSource
from gateway.payments.psp.stripe.adapter import StripePsp
from gateway.payments.psp_incidents import PspIncidentLog
from gateway.payments.service import PaymentService, build_payments
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.payouts.bank_details_service import BankDetailsService
from gateway.payouts.connected_account_service import ConnectedAccountService
from gateway.payouts.disbursement_service import DisbursementAdministration
from gateway.payouts.hold_service import PayoutHoldService
from gateway.payouts.party_check_service import PartyCheckService
from gateway.payouts.terms_service import PayoutTermsService
from gateway.personal_data.administration import build_persons
from gateway.plug_and_charge.contract_pool_service import ContractPoolService
from gateway.plug_and_charge.contract_service import ContractService
from gateway.plug_and_charge.contract_signals import ContractSignalService
from gateway.plug_and_charge.contract_spending import ContractSpendingService
from gateway.plug_and_charge.station_services import StationServices, build_station_services
from gateway.plug_and_charge.trust_service import TrustService
from gateway.reconciliation.bank_message_service import BankMessageService
from gateway.reconciliation.receivable_administration import ReceivableAdministration
from gateway.reconciliation.report_service import FinancialReportService
from gateway.reconciliation.resolution_administration import ResolutionAdministration
from gateway.secret_sealing import seal_secrets
from gateway.webhooks.endpoint_service import WebhookEndpointService
from gateway.webhooks.event_service import EventService
from gateway.webhooks.secret_cipher import SecretCipher
from pnc.revocation_checker import RevocationChecker
from pnc.service import PlugAndChargeService

_log = structlog.get_logger(__name__)
# Each worker process writes to one hash chain of these; two on one chain wait for each other.
_CHAINS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What every process has: opened once, closed at its end."""

    settings: Settings
    pool: Pool
    clock: Clock
    psp: StripePsp
    outbound: aiohttp.ClientSession
    clearing: ClearingServices
    payments: PaymentService
    plug_and_charge: PlugAndChargeService

    @property
    def sandbox(self) -> bool:
        """Whether this is a sandbox with test money: then partners may receive webhooks on this machine."""
        return self.settings.environment is Environment.SANDBOX


@asynccontextmanager
async def open_application(settings: Settings, *, application: str) -> AsyncIterator[Application]:
    """Migrate, then open what every process has; close it in reverse."""
    await migrate(settings.direct_url)
    async with AsyncExitStack() as stack:
        pool = await create_pool_from(settings, application=application)
        stack.push_async_callback(close_pool, pool)
        clock = await _clock(settings, pool, stack)
        incidents = PspIncidentLog(pool=pool, clock=clock)
        psp = StripePsp(
            api_key=settings.psp_api_key.get_secret_value(),
            webhook_secret=settings.psp_webhook_secret.get_secret_value(),
            base_url=settings.psp_base_url,
            publishable_key=settings.psp_publishable_key.get_secret_value()
            if settings.psp_publishable_key
            else None,
            timeout_s=settings.psp_timeout_seconds,
            report=incidents.report,
        )
        stack.push_async_callback(psp.close)
        client = outbound.session(settings.environment is Environment.SANDBOX)
        stack.push_async_callback(client.close)
        fetcher = await stack.enter_async_context(
            HttpRevocationFetcher(allow_private=settings.environment is Environment.SANDBOX)
        )
        policy = PaymentPolicy(
            call_grace=timedelta(seconds=settings.psp_timeout_seconds + 10),
            increments=FeatureChoice(settings.psp_incremental_authorization),
            over_capture=FeatureChoice(settings.psp_overcapture),
            statement=StatementSource(settings.psp_statement_suffix),
        )
        yield Application(
            settings=settings,
            pool=pool,
            clock=clock,
            psp=psp,
            outbound=client,
            clearing=build_clearing(),
            payments=build_payments(
                pool=pool,
                psp=psp,
                tariffs=OcpiTariffSource(),
                clock=clock,
                policy=policy,
                updates=OcpiLastUpdates(),
                incidents=incidents,
            ),
            plug_and_charge=PlugAndChargeService(revocation_checker=RevocationChecker(fetcher=fetcher)),
        )


async def prepare(app: Application) -> None:
    """What must be in place before the first request: the platform as a party, rates, readable secrets.

    Raises ConfigurationError where secrets are sealed with a key that the settings lack.
    """
    await seal_secrets(app.pool, secret_cipher(app.settings))
    async with transaction(app.pool) as connection:
        now = app.clock.now()
        await party_repository.ensure_platform(connection, now=now)
        if await app.clearing.reference_data.find_party(connection, PLATFORM_ID) is None:
            await app.clearing.reference_data.register_party(connection, platform_party(), now=now)
        await app.clearing.reference_data.import_bundled_rates(connection, now=now)


def secret_cipher(settings: Settings) -> SecretCipher:
    """Seals and opens the secrets that we must send again."""
    return SecretCipher(settings.webhook_keys)


def build_web(app: Application, *, buckets: Buckets | None = None) -> web.Application:
    """The HTTP application: the capture API with the OCPI edge beside it. `buckets`: None, its own."""
    settings = app.settings
    limits = edge_limits(settings, buckets)
    admin_key = settings.admin_api_key.get_secret_value() if settings.admin_api_key else None
    keys = KeyRing(pool=app.pool, clock=app.clock, admin_api_key=admin_key)
    cipher = secret_cipher(settings)
    services = ApiServices(
        pool=app.pool,
        clock=app.clock,
        keys=keys,
        options=ApiOptions(
            base_url=settings.base_url,
            sandbox=app.sandbox,
            max_body_bytes=settings.max_body_bytes,
            request_timeout_seconds=settings.request_timeout_seconds,  # then another may claim its key
            allow_private_receivers=app.sandbox,
            own_tls=settings.tls_certificate_path is not None,
            recovery_mode=settings.recovery_mode,
        ),
        limits=limits,
        addresses=limits.by_address(),
        payments=app.payments,
        clearing=app.clearing,
        funding=_funding(app),
        parties=PartyService(pool=app.pool, clock=app.clock, clearing=app.clearing),
        buyers=BuyerService(pool=app.pool, clock=app.clock, clearing=app.clearing),
        agreements=AgreementService(pool=app.pool, clock=app.clock, clearing=app.clearing),
        meter_keys=MeterKeyService(pool=app.pool, clock=app.clock, clearing=app.clearing),
        api_keys=ApiKeyService(pool=app.pool, clock=app.clock, cache=keys),
        client_certificates=ClientCertificateService(pool=app.pool, clock=app.clock),
        market_clock=MarketClockService(pool=app.pool, clock=app.clock),
        webhook_endpoints=WebhookEndpointService(pool=app.pool, clock=app.clock, secrets=cipher),
        events=EventService(pool=app.pool, clock=app.clock),
        documents=DocumentService(pool=app.pool, clock=app.clock, payments=app.payments),
        exceptions=ExceptionAdministration(pool=app.pool, clock=app.clock, clearing=app.clearing),
        cdr_limits=CdrLimitService(pool=app.pool, clock=app.clock),
        persons=build_persons(settings, pool=app.pool, clock=app.clock),
        payout_terms=PayoutTermsService(pool=app.pool, clock=app.clock, clearing=app.clearing),
        payout_holds=PayoutHoldService(pool=app.pool, clock=app.clock, clearing=app.clearing),
        bank_details=BankDetailsService(pool=app.pool, clock=app.clock, clearing=app.clearing),
        party_checks=_party_checks(app),
        connected_accounts=_accounts(app),
        disbursement_administration=DisbursementAdministration(
            pool=app.pool, clock=app.clock, clearing=app.clearing
        ),
        bank_messages=BankMessageService(pool=app.pool, clock=app.clock, clearing=app.clearing),
        receivables=ReceivableAdministration(pool=app.pool, clock=app.clock, clearing=app.clearing),
        resolutions=ResolutionAdministration(pool=app.pool, clock=app.clock, clearing=app.clearing),
        financial_reports=FinancialReportService(pool=app.pool, clock=app.clock),
        books=build_books(app.pool, app.clock, app.clearing, chart_path=app.settings.chart_of_accounts_path),
        trust=TrustService(pool=app.pool),
        acts=ActService(pool=app.pool),
        disbursements=_disbursements(app),
        ocpi=OcpiRegistrationService(pool=app.pool, clock=app.clock),
        ocpi_tokens=TokenService(pool=app.pool, clock=app.clock, role=PLATFORM_ROLE),
        remote=RemoteControlService(services=_ocpi(app), payments=app.payments),
        charging_preferences=ChargingPreferencesService(services=_ocpi(app), payments=app.payments),
        bookings=BookingService(services=_ocpi(app), payments=app.payments),
        driver_pages=DriverPageAdministration(pool=app.pool, clock=app.clock),
        evse_directory=EvseDirectory(pool=app.pool, clock=app.clock, tariffs=TariffSnapshotService()),
        plug_and_charge=app.plug_and_charge,
        stations=_stations(app),
        contract_pool=contract_pool(settings),
        contracts=_contracts(app),
        contract_pools=_contract_pools(app),
    )
    web_application = build_api(services)
    web_application.add_routes(_other_routes(app, services))
    return add_console(web_application, services, settings)


def _other_routes(app: Application, services: ApiServices) -> list[web.RouteDef]:
    known = (app.payments, services.buyers, services.documents, services.limits)
    page = driver_page_routes(build_driver_page(_ocpi(app), *known))
    return [*ocpi_routes(_ocpi(app, addresses=services.addresses)), *page]


def _stations(app: Application) -> StationServices:
    return build_station_services(
        pool=app.pool,
        clock=app.clock,
        environment=app.settings.environment.value,
        base_url=app.settings.base_url,
        payments=app.payments,
        decisions=app.plug_and_charge,
        spending=ContractSpendingService(pool=app.pool, clock=app.clock, clearing=app.clearing),
        signals=ContractSignalService(pool=app.pool, clock=app.clock),
        patience=timedelta(seconds=app.settings.plug_and_charge_patience_seconds),
    )


def _contracts(app: Application) -> ContractService:
    return ContractService(
        pool=app.pool, clock=app.clock, clearing=app.clearing, decisions=app.plug_and_charge
    )


def _contract_pools(app: Application) -> ContractPoolService:
    return ContractPoolService(
        pool=app.pool,
        clock=app.clock,
        environment=app.settings.environment.value,
        decisions=app.plug_and_charge,
        secrets=secret_cipher(app.settings),
        protocols={"opcp": OpcpProtocol()},
    )


def _funding(app: Application) -> FundingService:
    return FundingService(
        pool=app.pool, clock=app.clock, psp=app.psp, currencies=app.settings.top_up_currencies
    )


def _ocpi(app: Application, *, addresses: AddressLimiter | None = None) -> OcpiServices:
    return OcpiServices(
        addresses=addresses or AddressLimiter(),
        pool=app.pool,
        clock=app.clock,
        public_url=app.settings.base_url,
        outbound=app.outbound,
        allow_private_peers=app.sandbox,
        secrets=secret_cipher(app.settings),
        max_body_bytes=app.settings.max_body_bytes,
        authorizer=TokenAuthorizationService(
            pool=app.pool, clock=app.clock, payments=app.payments, environment=app.settings.environment.value
        ),
    )


def jobs(app: Application, *, owned: Callable[[], Collection[int]] = every_shard) -> Sequence[Job]:
    """Every job of a process that owns these shards, but webhook delivery, which has a loop of its own."""
    settings = app.settings
    return [
        *task_jobs(
            _task_handlers(app),
            pool=app.pool,
            clock=app.clock,
            lease_s=settings.worker_lease_seconds,
            parallel_shards=settings.worker_parallel_shards,
        ),
        OutcomeResolutionJob(pool=app.pool, clock=app.clock, resolver=app.payments.resolver),
        ClearingJob(
            pool=app.pool,
            clock=app.clock,
            sessions=app.clearing.sessions,
            batch_size=settings.worker_batch_size,
            chain=new_id().int % _CHAINS,
            tariffs=app.payments.tariffs,
        ),
        HoldMonitorJob(clock=app.clock, payments=app.payments, owned=owned),
        CreditCdrJob(
            clock=app.clock,
            credits=CreditCdrService(pool=app.pool, clock=app.clock, payments=app.payments),
        ),
        DisputeDeadlineJob(clock=app.clock, payments=app.payments),
        PspEventPollJob(clock=app.clock, payments=app.payments),
        TopUpJob(clock=app.clock, funding=_funding(app)),
        ReconciliationJob(pool=app.pool, clock=app.clock, source=app.psp, payments=app.payments),
        *retention_jobs(settings, pool=app.pool, clock=app.clock),
        ActSealJob(pool=app.pool, clock=app.clock),
        ExceptionsJob(pool=app.pool, clock=app.clock, exceptions=ExceptionService(clearing=app.clearing)),
        _disbursements(app),
        ConnectedAccountJob(clock=app.clock, accounts=_accounts(app)),
        *bank_jobs(
            settings,
            pool=app.pool,
            clock=app.clock,
            clearing=app.clearing,
            checks=_party_checks(app),
        ),
        DriverDocumentJob(pool=app.pool, clock=app.clock, owned=owned),
        PartyDocumentJob(pool=app.pool, clock=app.clock, clearing=app.clearing),
        *_sanctions(app),
        *_vat_evidence(app),
        *_fx_rates(app),
        RateRetryJob(pool=app.pool, clock=app.clock),
        PeriodCloseJob(
            pool=app.pool, clock=app.clock, clearing=app.clearing, after=settings.close_books_after
        ),
        *plug_and_charge_jobs(
            pool=app.pool,
            clock=app.clock,
            environment=settings.environment.value,
            plug_and_charge=app.plug_and_charge,
            notices=_stations(app).notices,
            pools=_contract_pools(app),
        ),
        *ocpi_jobs(_ocpi(app), payments=app.payments, environment=settings.environment.value),
    ]


def _task_handlers(app: Application) -> TaskHandlers:
    return TaskHandlers(
        pool=app.pool,
        payments=app.payments,
        cdrs=CdrSettlementService(
            pool=app.pool,
            clock=app.clock,
            payments=app.payments,
            environment=app.settings.environment.value,
        ),
        corrections=LedgerCorrections(clock=app.clock, sessions=app.clearing.sessions),
        accounts=_accounts(app),
    )


def _sanctions(app: Application) -> list[SanctionsScreeningJob]:
    path = app.settings.sanctions_list_path
    if path is None:
        return []
    source = SanctionsFile(path=Path(path))
    return [SanctionsScreeningJob(pool=app.pool, clock=app.clock, clearing=app.clearing, source=source)]


def _vat_evidence(app: Application) -> list[VatEvidenceJob]:
    address = app.settings.vies_url
    if address is None:
        return []
    return [
        VatEvidenceJob(
            pool=app.pool,
            clock=app.clock,
            clearing=app.clearing,
            source=Vies(client=app.outbound, address=address),
            after=timedelta(days=app.settings.vat_recheck_days),
        )
    ]


def _fx_rates(app: Application) -> list[FxRatesJob]:
    address = app.settings.ecb_rates_url
    if address is None:
        return []
    feed = EcbFeed(client=app.outbound, url=address)
    return [FxRatesJob(pool=app.pool, clock=app.clock, clearing=app.clearing, feed=feed)]


def _disbursements(app: Application) -> DisbursementJob:
    return DisbursementJob(
        pool=app.pool,
        clock=app.clock,
        clearing=app.clearing,
        rail=PspRail(psp=app.psp),
        accounts=_accounts(app),
        checks=_party_checks(app),
    )


def _party_checks(app: Application) -> PartyCheckService:
    settings = app.settings
    required = (
        settings.environment is Environment.PRODUCTION
        if settings.party_checks == "auto"
        else settings.party_checks == "required"
    )
    return PartyCheckService(pool=app.pool, clock=app.clock, clearing=app.clearing, required=required)


def _accounts(app: Application) -> ConnectedAccountService:
    return ConnectedAccountService(pool=app.pool, clock=app.clock, clearing=app.clearing, psp=app.psp.connect)


async def _clock(settings: Settings, pool: Pool, stack: AsyncExitStack) -> Clock:
    if settings.clock is ClockSource.SYSTEM:
        return SystemClock()
    clock = MarketClock(read_anchor=market_anchor_reader(pool))
    await clock.refresh()
    follower = asyncio.create_task(clock.run(), name="market clock")

    async def end() -> None:
        follower.cancel()
        with suppress(asyncio.CancelledError):
            await follower

    stack.push_async_callback(end)
    return clock
