"""The capture API on a real PostgreSQL, with a PSP, a tariff and a clock of the test's."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDictProxy

from clearing.services import build_clearing
from gateway.acts.service import ActService
from gateway.adapters.opcp import OpcpProtocol
from gateway.api.auth import KeyRing
from gateway.api.server import build_api
from gateway.api.services import ApiOptions, ApiServices
from gateway.books.services import build_books
from gateway.database import Pool, transaction
from gateway.documents.document_service import DocumentService
from gateway.driver_page.administration import DriverPageAdministration
from gateway.exceptions.administration import ExceptionAdministration
from gateway.ids import new_id
from gateway.limits.address_limit import AddressLimiter
from gateway.ocpi.evse_directory import EvseDirectory
from gateway.ocpi.registrations import OcpiRegistrationService
from gateway.ocpi.services import PLATFORM_ROLE
from gateway.ocpi.token_service import TokenService
from gateway.partners import party_repository
from gateway.partners.agreement_service import AgreementService
from gateway.partners.api_key_service import ApiKeyService, create_key
from gateway.partners.buyer_service import BuyerService
from gateway.partners.client_certificate_service import ClientCertificateService
from gateway.partners.market_clock_service import MarketClockService
from gateway.partners.meter_key_service import MeterKeyService
from gateway.partners.party_repository import PartyRecord
from gateway.partners.party_service import PartyService
from gateway.payments import double_tap_repository
from gateway.payments.cdr_limits import CdrLimitService
from gateway.payments.funding import FundingService
from gateway.payments.missing_cdr import SessionUpdateSource
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp_incidents import PspIncidentLog
from gateway.payments.requests import (
    ANY_DRIVER,
    ChargePoint,
    EvseUnknown,
    TariffChoice,
    TariffMissing,
    TariffSource,
)
from gateway.payments.service import build_payments
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.payouts.bank_details_service import BankDetailsService
from gateway.payouts.connected_account_service import ConnectedAccountService
from gateway.payouts.disbursement_service import DisbursementAdministration
from gateway.payouts.hold_service import PayoutHoldService
from gateway.payouts.party_check_service import PartyCheckService
from gateway.payouts.terms_service import PayoutTermsService
from gateway.personal_data.administration import PersonAdministration
from gateway.personal_data.person_service import PersonService
from gateway.personal_data.rules import default_policy
from gateway.plug_and_charge.contract_pool_service import ContractPoolService
from gateway.plug_and_charge.contract_service import ContractService
from gateway.plug_and_charge.contract_signals import ContractSignalService
from gateway.plug_and_charge.contract_spending import ContractSpendingService
from gateway.plug_and_charge.station_services import build_station_services
from gateway.plug_and_charge.trust_service import TrustService
from gateway.reconciliation.bank_message_service import BankMessageService
from gateway.reconciliation.receivable_administration import ReceivableAdministration
from gateway.reconciliation.report_service import FinancialReportService
from gateway.reconciliation.resolution_administration import ResolutionAdministration
from gateway.scopes import Scope, ScopeSet
from gateway.webhooks.endpoint_service import WebhookEndpointService
from gateway.webhooks.event_service import EventService
from gateway.webhooks.secret_cipher import SecretCipher
from pnc.ev_certificate_pool import ContractPool
from pnc.service import PlugAndChargeService
from tests.fakes.acts import check_acts, is_checked, last_act
from tests.fakes.psp import FakePsp

START = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)
ADMIN = "an-admin-key-of-the-test-0123456789"
EVSE = "DE*ABC*E1"
PATIENCE = timedelta(seconds=1.5)
TARIFF = {
    "country_code": "DE",
    "party_id": "ABC",
    "id": "T1",
    "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.50, "vat": 19.0, "step_size": 1}]}],
    "last_updated": "2026-10-01T00:00:00Z",
}


@dataclass
class Hands:
    """A clock whose hands the test moves: business time, and wall time apart from it."""

    at: datetime = START
    wall: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return self.wall

    def pass_wall(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)


class OneTariff:
    """A tariff source with one EVSE that prices, and one that has no tariff."""

    async def tariff_for(
        self,
        connection: Any,
        *,
        evse_id: str,
        at: datetime,
        cpo_id: str | None = None,
        choice: TariffChoice = ANY_DRIVER,
    ) -> ChargePoint | EvseUnknown | TariffMissing:
        if cpo_id not in {None, "DE-ABC"} or evse_id not in {EVSE, "DE*ABC*E2"}:
            return EvseUnknown()
        if evse_id != EVSE:
            return TariffMissing(cpo_id="DE-ABC")
        return ChargePoint(
            cpo_id="DE-ABC",
            location_id="L1",
            evse_id=evse_id,
            time_zone="Europe/Berlin",
            country="DE",
            tax_jurisdiction="DE",
            max_power_w=150_000,
            tariff_raw=json.dumps(TARIFF).encode(),
            tariff_version="2.2.1",
        )


@dataclass
class Answer:
    """A response, read."""

    status: int
    headers: CIMultiDictProxy[str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Api:
    """A client of the API that can speak for each party."""

    client: TestClient[Any, Any]
    services: ApiServices
    psp: FakePsp
    clock: Hands
    keys: dict[str, str] = field(default_factory=dict)
    asked: set[tuple[str, str, bytes | None]] = field(default_factory=set)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        party: str | None = "parking",
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if party is not None:
            sent["Authorization"] = f"Bearer {ADMIN if party == 'admin' else self.keys[party]}"
        if key is not None:
            sent["Idempotency-Key"] = key
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        checked = is_checked(method, path)
        since = await last_act(self.services.pool) if checked else 0
        response: ClientResponse = await self.client.request(method, path, data=raw, headers=sent)
        answer = Answer(status=response.status, headers=response.headers, content=await response.read())
        if checked and answer.status < HTTPStatus.BAD_REQUEST:
            repeated = (method, path, raw) in self.asked  # it may find all done
            self.asked.add((method, path, raw))
            await check_acts(self.services.pool, method, path, answer.headers, since=since, repeated=repeated)
        return answer

    async def authorize(self, *, key: str, party: str = "parking", **changes: Any) -> Answer:
        return await self.call(
            "POST", "/v1/authorizations", authorization_body(**changes), party=party, key=key
        )


def authorization_body(**changes: Any) -> dict[str, Any]:
    """The body of an authorization on the test's EVSE."""
    body: dict[str, Any] = {
        "evse_id": EVSE,
        "method": "card",
        "payment": {"type": "psp_payment_method", "payment_method": "pm_good"},
        "estimate": {"energy_wh": 40_000, "duration_s": 3600},
    }
    return body | changes


def cdr(*, kwh: str = "20", cdr_id: str = "C1") -> bytes:
    """A CDR of an hour at the test's EVSE; its numbers are written as given."""
    start, end = "2026-10-29T08:00:00Z", "2026-10-29T09:00:00Z"
    return (
        f'{{"country_code":"DE","party_id":"ABC","id":"{cdr_id}","start_date_time":"{start}",'
        f'"end_date_time":"{end}","currency":"EUR","charging_periods":[{{"start_date_time":"{start}",'
        f'"dimensions":[{{"type":"ENERGY","volume":{kwh}}}]}}],"total_energy":{kwh},"total_time":1,'
        f'"last_updated":"{end}"}}'
    ).encode()


@asynccontextmanager
async def open_api(
    pool: Pool,
    *,
    plug_and_charge: PlugAndChargeService | None = None,
    webhook_secrets: SecretCipher | None = None,
    addresses: AddressLimiter | None = None,
    psp: Any = None,
    policy: PaymentPolicy | None = None,
    incidents: PspIncidentLog | None = None,
    double_taps: bool = False,
    checked: bool = False,
    contract_pool: ContractPool | None = None,
    updates: SessionUpdateSource | None = None,
    tariffs: TariffSource | None = None,
    **options: Any,
) -> AsyncIterator[Api]:
    """The API with parties `parking`, `superapp` (capture) and `DE-ABC` (operator), each with a key.

    Most tests authorize one payment method at one EVSE again and again: `double_taps` leaves the policy on.
    With `checked` a CDR passes the checks; the clock must then stand after its end.
    """
    clock, psp = Hands(), psp or FakePsp()
    clearing = build_clearing()
    payments = build_payments(
        pool=pool,
        psp=psp,
        tariffs=tariffs or OneTariff(),
        clock=clock,
        policy=policy or PaymentPolicy(),
        incidents=incidents,
        checked=checked,
        updates=updates,
    )
    base = ApiOptions(base_url="http://api.test", sandbox=True, allow_private_receivers=True)
    ring = KeyRing(pool=pool, clock=clock, admin_api_key=ADMIN)
    services = ApiServices(
        pool=pool,
        clock=clock,
        keys=ring,
        options=replace(base, **options),
        addresses=addresses or AddressLimiter(),
        payments=payments,
        clearing=clearing,
        plug_and_charge=plug_and_charge,
        stations=build_station_services(
            pool=pool,
            clock=clock,
            environment="sandbox",
            base_url="http://api.test",
            payments=payments,
            decisions=plug_and_charge,
            spending=ContractSpendingService(pool=pool, clock=clock, clearing=clearing),
            signals=ContractSignalService(pool=pool, clock=clock),
            patience=PATIENCE,
        ),
        contract_pool=contract_pool,
        contracts=None
        if plug_and_charge is None
        else ContractService(pool=pool, clock=clock, clearing=clearing, decisions=plug_and_charge),
        contract_pools=None
        if plug_and_charge is None
        else ContractPoolService(
            pool=pool,
            clock=clock,
            environment="sandbox",
            decisions=plug_and_charge,
            secrets=webhook_secrets or SecretCipher(),
            protocols={"opcp": OpcpProtocol()},
        ),
        funding=FundingService(pool=pool, clock=clock, psp=psp),
        ocpi=OcpiRegistrationService(pool=pool, clock=clock),
        ocpi_tokens=TokenService(pool=pool, clock=clock, role=PLATFORM_ROLE),
        driver_pages=DriverPageAdministration(pool=pool, clock=clock),
        evse_directory=EvseDirectory(pool=pool, clock=clock, tariffs=TariffSnapshotService()),
        parties=PartyService(pool=pool, clock=clock, clearing=clearing),
        buyers=BuyerService(pool=pool, clock=clock, clearing=clearing),
        agreements=AgreementService(pool=pool, clock=clock, clearing=clearing),
        meter_keys=MeterKeyService(pool=pool, clock=clock, clearing=clearing),
        api_keys=ApiKeyService(pool=pool, clock=clock, cache=ring),
        client_certificates=ClientCertificateService(pool=pool, clock=clock),
        market_clock=MarketClockService(pool=pool, clock=clock),
        webhook_endpoints=WebhookEndpointService(
            pool=pool, clock=clock, secrets=webhook_secrets or SecretCipher()
        ),
        events=EventService(pool=pool, clock=clock),
        documents=DocumentService(pool=pool, clock=clock, payments=payments),
        exceptions=ExceptionAdministration(pool=pool, clock=clock, clearing=clearing),
        cdr_limits=CdrLimitService(pool=pool, clock=clock),
        persons=PersonAdministration(
            pool=pool,
            clock=clock,
            persons=PersonService(policy=default_policy(), environment="sandbox"),
        ),
        payout_terms=PayoutTermsService(pool=pool, clock=clock, clearing=clearing),
        payout_holds=PayoutHoldService(pool=pool, clock=clock, clearing=clearing),
        bank_details=BankDetailsService(pool=pool, clock=clock, clearing=clearing),
        party_checks=PartyCheckService(pool=pool, clock=clock, clearing=clearing, required=False),
        connected_accounts=ConnectedAccountService(
            pool=pool, clock=clock, clearing=clearing, psp=psp.connect
        ),
        disbursement_administration=DisbursementAdministration(pool=pool, clock=clock, clearing=clearing),
        bank_messages=BankMessageService(pool=pool, clock=clock, clearing=clearing),
        receivables=ReceivableAdministration(pool=pool, clock=clock, clearing=clearing),
        resolutions=ResolutionAdministration(pool=pool, clock=clock, clearing=clearing),
        financial_reports=FinancialReportService(pool=pool, clock=clock),
        books=build_books(pool, clock, clearing),
        trust=TrustService(pool=pool),
        acts=ActService(pool=pool),
    )
    scopes = {
        "parking": ("demand_partner", [ScopeSet.CAPTURE, Scope.SETTLEMENT_READ, ScopeSet.WEBHOOKS]),
        "superapp": ("demand_partner", [ScopeSet.CAPTURE, Scope.SETTLEMENT_READ, ScopeSet.WEBHOOKS]),
        "DE-ABC": ("cpo", [ScopeSet.PLUG_AND_CHARGE, Scope.SETTLEMENT_READ]),
    }
    keys = {}
    async with transaction(pool) as connection:
        await party_repository.ensure_platform(connection, now=START)
        for name, (kind, granted) in scopes.items():
            await party_repository.add_party(connection, PartyRecord(id=name, kind=kind, created_at=START))
            minted = await create_key(
                connection, key_id=new_id(), party_id=name, scopes=granted, now=clock.wall_now()
            )
            keys[name] = minted.token
            if not double_taps:
                await double_tap_repository.set_policy(connection, party_id=name, within_s=0)
    async with TestClient(TestServer(build_api(services))) as client:
        yield Api(client=client, services=services, psp=psp, clock=clock, keys=keys)
