"""The composition root: the only place where adapters are built and wired together.

Owns: which implementation stands behind which port, and the order in which things are opened and closed. Must
not know what any of them does.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import aiohttp
import structlog
from aiohttp import web

from clearing.parties.party import PLATFORM_ID, Party, PartyKind
from clearing.service import ClearingService
from gateway import outbound
from gateway.clock import Clock, MarketClock, SystemClock
from gateway.config import ClockSource, Environment, Settings
from gateway.database import Pool, create_pool_from, market_anchor_reader, transaction
from gateway.ecb_feed import EcbFeed
from gateway.http.auth import KeyRing
from gateway.http.server import KEEPALIVE_SECONDS, LINGERING_SECONDS, build_api
from gateway.http.services import ApiOptions, ApiServices
from gateway.http.tls import server_context
from gateway.ids import new_id
from gateway.lanes.bank_files import bank_lanes
from gateway.lanes.certificate_status import CertificateStatusLane
from gateway.lanes.clearing_lane import ClearingLane
from gateway.lanes.correction_lane import CorrectionLane
from gateway.lanes.disbursement_lane import DisbursementLane, PspRail
from gateway.lanes.document_lane import ClosingLane, DriverDocumentLane, PartyDocumentLane
from gateway.lanes.errands import Errands, errand_lanes
from gateway.lanes.fx_rates import FxRatesLane, RateWaitLane
from gateway.lanes.hold_watch import HoldWatchLane
from gateway.lanes.key_sweep import KeySweepLane
from gateway.lanes.pnc_settlement import PncSettlementLane
from gateway.lanes.psp_sweep import PspSweepLane
from gateway.lanes.reconciliation import ReconciliationLane
from gateway.lanes.resolving import ResolvingLane
from gateway.lanes.vat_evidence import VatEvidenceLane
from gateway.migrations import migrate
from gateway.notify.back_pressure import Limits
from gateway.notify.delivery import DeliveryLane
from gateway.notify.resealing import reseal
from gateway.notify.secret_box import SecretBox
from gateway.ocpi.lanes import ocpi_lanes
from gateway.ocpi.last_update import OcpiLastUpdates
from gateway.ocpi.registry import OcpiRegistry
from gateway.ocpi.remote import RemoteControl
from gateway.ocpi.routes import routes as ocpi_routes
from gateway.ocpi.services import OcpiServices
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.ocpi.token_payments import TokenPayments
from gateway.payments.funding import Funding
from gateway.payments.policy import PaymentPolicy
from gateway.payments.service import PaymentService, build_payments
from gateway.payments.stripe_psp import StripePsp
from gateway.revocation import HttpRevocationFetcher
from gateway.store import parties
from gateway.store.ocpi_cdrs import OcpiStore
from gateway.vies import Vies
from gateway.worker import Lane, run_lanes
from pnc.inquiry import Inquiry
from pnc.service import PlugAndChargeService

_log = structlog.get_logger(__name__)
_DELIVERIES: Final = Limits()
_COLLECTOR_THRESHOLDS: Final = (200_000, 50, 100)
_CHAINS: Final = 16  # each worker process writes to one hash chain of these; two on one chain only take turns


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What every process has: opened once, closed at its end."""

    settings: Settings
    pool: Pool
    clock: Clock
    psp: StripePsp
    outbound: aiohttp.ClientSession
    clearing: ClearingService
    payments: PaymentService
    plug_and_charge: PlugAndChargeService

    @property
    def sandbox(self) -> bool:
        """Whether the money is play money: then partners may listen on this machine."""
        return self.settings.environment is Environment.SANDBOX


@dataclass(frozen=True, slots=True, kw_only=True)
class _Registrar:
    """OCPI invitations for the admin API."""

    house: House

    async def register(self, *, party_id: str) -> str:
        """A fresh token A for a party, shown once."""
        async with transaction(self.house.pool) as connection:
            return await OcpiRegistry().create_registration(connection, party_id, self.house.clock.now())


async def run_gateway(settings: Settings, stop: asyncio.Event) -> None:
    """Serve HTTP until `stop`; with `workers_in_process` the lanes run here too."""
    tls = server_context(settings)
    async with open_house(settings, application="gateway") as house:
        await prepare(house)
        runner = web.AppRunner(
            build_web(house),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=settings.shutdown_grace_seconds,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGERING_SECONDS,
        )
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port, ssl_context=tls).start()
        _log.info("gateway_ready", url=settings.base_url)
        try:
            if settings.workers_in_process:
                await work(house, stop)
            await stop.wait()
        finally:
            await runner.cleanup()


async def run_workers(settings: Settings, stop: asyncio.Event) -> None:
    """Run the lanes until `stop`."""
    async with open_house(settings, application="worker") as house:
        await prepare(house)
        _log.info("worker_ready")
        await work(house, stop)


async def work(house: House, stop: asyncio.Event) -> None:
    """Run every lane and the delivery of webhooks until `stop`."""
    _rest_the_collector()
    poll_s = house.settings.worker_poll_ms / 1000
    # Connections of their own: receivers that have died keep none from the OCPI peers.
    client = outbound.session(
        house.sandbox, connections=_DELIVERIES.all, connections_per_host=_DELIVERIES.per_endpoint
    )
    delivery = DeliveryLane(
        pool=house.pool,
        client=client,
        clock=house.clock,
        secrets=secret_box(house.settings),
        limits=_DELIVERIES,
    )
    async with client, asyncio.TaskGroup() as group:
        group.create_task(run_lanes(lanes(house), stop=stop, poll_s=poll_s), name="lanes")
        group.create_task(delivery.run(stop=stop, poll_s=poll_s), name="delivery")


def _rest_the_collector() -> None:
    """Look for cycles less often: batches make many short-lived values, and what is loaded stays anyway."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)


@asynccontextmanager
async def open_house(settings: Settings, *, application: str) -> AsyncIterator[House]:
    """Migrate, then open what every process has; close it in reverse."""
    await migrate(settings.database_url.get_secret_value())
    async with AsyncExitStack() as stack:
        pool = await create_pool_from(settings, application=application)
        stack.push_async_callback(_close_pool, pool)
        clock = await _clock(settings, pool, stack)
        psp = StripePsp(
            api_key=settings.psp_api_key.get_secret_value(),
            webhook_secret=settings.psp_webhook_secret.get_secret_value(),
            base_url=settings.psp_base_url,
            timeout_s=settings.psp_timeout_seconds,
        )
        stack.push_async_callback(psp.close)
        client = outbound.session(settings.environment is Environment.SANDBOX)
        stack.push_async_callback(client.close)
        fetcher = await stack.enter_async_context(
            HttpRevocationFetcher(allow_private=settings.environment is Environment.SANDBOX)
        )
        policy = PaymentPolicy(call_grace=timedelta(seconds=settings.psp_timeout_seconds + 10))
        yield House(
            settings=settings,
            pool=pool,
            clock=clock,
            psp=psp,
            outbound=client,
            clearing=ClearingService(),
            payments=build_payments(
                pool=pool,
                psp=psp,
                tariffs=OcpiTariffSource(),
                clock=clock,
                policy=policy,
                updates=OcpiLastUpdates(),
            ),
            plug_and_charge=PlugAndChargeService(inquiry=Inquiry(fetcher=fetcher)),
        )


async def prepare(house: House) -> None:
    """What must be there before the first call: the platform as a party, rates, secrets that open.

    Raises ConfigurationError where webhook secrets are sealed with a key that the settings lack.
    """
    await reseal(house.pool, secret_box(house.settings))
    async with transaction(house.pool) as connection:
        now = house.clock.now()
        await parties.ensure_platform(connection, now=now)
        if await house.clearing.party(connection, PLATFORM_ID) is None:
            await house.clearing.register_party(connection, platform_party(), now=now)
        await house.clearing.load_reference_data(connection, now=now)


def secret_box(settings: Settings) -> SecretBox:
    """What seals and opens webhook secrets."""
    return SecretBox(settings.webhook_keys)


def platform_party() -> Party:
    """This system's operator, seated in Switzerland, until the admin API says more about it."""
    return Party(
        id=PLATFORM_ID,
        kind=PartyKind.PLATFORM,
        name="Platform",
        country="CH",
        territory="CH",
        taxable_dealer=True,
        settlement_currency="CHF",
        time_zone="Europe/Zurich",
    )


def build_web(house: House) -> web.Application:
    """The HTTP application: the capture API with the OCPI edge beside it."""
    settings = house.settings
    services = ApiServices(
        pool=house.pool,
        clock=house.clock,
        keys=KeyRing(
            pool=house.pool,
            clock=house.clock,
            admin_api_key=settings.admin_api_key.get_secret_value() if settings.admin_api_key else None,
        ),
        options=ApiOptions(
            base_url=settings.base_url,
            sandbox=house.sandbox,
            max_body_bytes=settings.max_body_bytes,
            request_timeout_seconds=settings.request_timeout_seconds,
            # A request that outlives its time is gone: its key may be taken over soon after.
            idempotency_lock=timedelta(seconds=settings.request_timeout_seconds + 5),
            allow_private_receivers=house.sandbox,
        ),
        payments=house.payments,
        clearing=house.clearing,
        webhook_secrets=secret_box(settings),
        funding=Funding(pool=house.pool, clock=house.clock, psp=house.psp, clearing=house.clearing),
        disbursements=_disbursements(house),
        ocpi=_Registrar(house=house),
        remote=RemoteControl(services=_ocpi(house), payments=house.payments),
        plug_and_charge=house.plug_and_charge,
    )
    app = build_api(services)
    app.add_routes(ocpi_routes(_ocpi(house)))
    return app


def _ocpi(house: House) -> OcpiServices:
    return OcpiServices(
        pool=house.pool,
        clock=house.clock,
        public_url=house.settings.base_url,
        outbound=house.outbound,
        allow_private_peers=house.sandbox,
        max_body_bytes=house.settings.max_body_bytes,
        authorizer=TokenPayments(pool=house.pool, clock=house.clock, payments=house.payments),
    )


def lanes(house: House) -> Sequence[Lane]:
    """Every lane of work that a process runs."""
    settings = house.settings
    errands = Errands(pool=house.pool, clock=house.clock, payments=house.payments, cdrs=OcpiStore())
    return [
        *errand_lanes(
            errands,
            pool=house.pool,
            clock=house.clock,
            lease_s=settings.worker_lease_seconds,
            at_once=settings.worker_lanes,
        ),
        ResolvingLane(resolver=house.payments.resolver),
        ClearingLane(
            pool=house.pool,
            clock=house.clock,
            clearing=house.clearing,
            batch_size=settings.worker_batch_size,
            chain=new_id().int % _CHAINS,
        ),
        HoldWatchLane(clock=house.clock, payments=house.payments),
        PspSweepLane(clock=house.clock, payments=house.payments),
        ReconciliationLane(pool=house.pool, clock=house.clock, source=house.psp),
        KeySweepLane(pool=house.pool, clock=house.clock),
        CorrectionLane(pool=house.pool, clock=house.clock, clearing=house.clearing),
        _disbursements(house),
        *bank_lanes(settings, pool=house.pool, clock=house.clock, clearing=house.clearing),
        DriverDocumentLane(pool=house.pool, clock=house.clock),
        PartyDocumentLane(pool=house.pool, clock=house.clock, clearing=house.clearing),
        *_vat_evidence(house),
        *_fx_rates(house),
        RateWaitLane(pool=house.pool, clock=house.clock),
        ClosingLane(
            pool=house.pool,
            clock=house.clock,
            clearing=house.clearing,
            after=_grace(settings.close_books_after_days),
        ),
        CertificateStatusLane(
            pool=house.pool,
            clock=house.clock,
            plug_and_charge=house.plug_and_charge,
            environment=settings.environment.value,
        ),
        PncSettlementLane(
            pool=house.pool,
            clock=house.clock,
            payments=house.payments,
            environment=settings.environment.value,
        ),
        *ocpi_lanes(_ocpi(house)),
    ]


def _vat_evidence(house: House) -> list[VatEvidenceLane]:
    address = house.settings.vies_url
    if address is None:
        return []
    return [
        VatEvidenceLane(
            pool=house.pool,
            clock=house.clock,
            clearing=house.clearing,
            source=Vies(client=house.outbound, address=address),
            after=timedelta(days=house.settings.vat_recheck_days),
        )
    ]


def _fx_rates(house: House) -> list[FxRatesLane]:
    address = house.settings.ecb_rates_url
    if address is None:
        return []
    feed = EcbFeed(client=house.outbound, url=address)
    return [FxRatesLane(pool=house.pool, clock=house.clock, clearing=house.clearing, feed=feed)]


def _grace(days: int | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)


def _disbursements(house: House) -> DisbursementLane:
    return DisbursementLane(
        pool=house.pool, clock=house.clock, clearing=house.clearing, rail=PspRail(psp=house.psp)
    )


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


async def _close_pool(pool: Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), timeout=5.0)
    except TimeoutError:
        pool.terminate()
