"""The driver page on a real PostgreSQL: an operator with OCPI, a PSP, a phone's browser without cookies."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from html import unescape
from typing import Any, cast

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDictProxy

from clearing.services import ClearingServices, build_clearing
from gateway.database import Pool, transaction
from gateway.documents.document_service import DocumentService
from gateway.driver_page import repository
from gateway.driver_page.errors import DriverPageError
from gateway.driver_page.repository import DriverPageRecord
from gateway.driver_page.routes import driver_page_routes
from gateway.driver_page.services import DriverPageServices, build_driver_page
from gateway.ids import format_id
from gateway.jobs.clearing import ClearingJob
from gateway.jobs.driver_documents import DriverDocumentJob
from gateway.jobs.driver_payments import DriverPaymentJob
from gateway.limits.edge_limits import EdgeLimits
from gateway.ocpi.last_update import OcpiLastUpdates
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.partners.buyer_service import BuyerService
from gateway.payments.policy import PaymentPolicy
from gateway.payments.service import PaymentService, build_payments
from tests.fakes import clearing_fixtures as world
from tests.fakes.ocpi_edge import NOW, Edge, start_edge, stop_edge
from tests.fakes.ocpi_objects import cdr, location, tariff
from tests.fakes.psp import FakePsp

EVSE = "NL*ABC*E0001"
PAGE = f"/c/{EVSE}"
BRAND = "Kade Laden"
PARTNER = "superapp"


@dataclass
class Seen:
    """What the phone was shown."""

    status: int
    text: str
    headers: CIMultiDictProxy[str]

    @property
    def stage(self) -> str:
        found = re.search(r'data-stage="(\w+)"', self.text)
        assert found, self.text
        return found[1]

    @property
    def words(self) -> str:
        """The page's text without markup."""
        return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", self.text)))

    def value(self, name: str) -> str:
        """The value of a form's hidden field."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text)
        assert found, self.text
        return unescape(found[1])

    def figure(self, name: str) -> str:
        found = re.search(rf'data-field="{name}">([^<]*)<', self.text)
        assert found, self.text
        return unescape(found[1])

    @property
    def location(self) -> str:
        return self.headers["Location"]


@dataclass
class CommandReceiver:
    """The operator's receiver of commands, and what it answers."""

    commands: list[tuple[str, Any]] = field(default_factory=list)
    answer: str = "ACCEPTED"

    async def handle(self, request: web.Request) -> web.Response:
        self.commands.append((request.path.rpartition("/")[2], json.loads(await request.read())))
        return web.json_response(
            {
                "data": {"result": self.answer, "timeout": 30},
                "status_code": 1000,
                "timestamp": "2026-10-29T08:00:00Z",
            }
        )


@dataclass
class Driver:
    """A phone at the charger, and everything behind the page."""

    edge: Edge
    psp: Any
    payments: PaymentService
    services: DriverPageServices
    clearing: ClearingServices
    client: TestClient[Any, Any]
    ocpi_token: str
    operator: CommandReceiver

    @property
    def pool(self) -> Pool:
        return self.edge.pool

    async def get(self, path: str, **headers: str) -> Seen:
        return await self._seen("GET", path, None, headers)

    async def post(self, path: str, form: dict[str, str], **headers: str) -> Seen:
        return await self._seen("POST", path, form, headers)

    async def pay(self, method: str = "pm_good", *, page: Seen | None = None, **changes: str) -> Seen:
        """Open the page and pay; returns the payment's page."""
        sent = await self.send_payment(method, page=page, **changes)
        assert sent.status == 303, sent.text
        return await self.get(sent.location)

    async def send_payment(
        self, method: str = "pm_good", *, page: Seen | None = None, **changes: str
    ) -> Seen:
        shown = page or await self.get(PAGE)
        form = {name: shown.value(name) for name in ("token", "tariff", "cpo", "lang")}
        return await self.post(f"{PAGE}/pay", form | {"payment_method": method} | changes)

    async def authorization(self, token: str) -> str:
        """The reference that the operator was given."""
        found = await self.pool.fetchval(
            "SELECT authorization_id FROM gateway.driver_payment WHERE token = $1", token
        )
        return format_id("auth", found)

    async def report(
        self, token: str, *, kwh: float = 10.0, status: str = "ACTIVE", minutes: int = 20
    ) -> None:
        """The operator reports the running session."""
        self.edge.clock.at = max(self.edge.clock.at, NOW + timedelta(minutes=minutes))
        answer, http = await self.edge.call(
            "PUT",
            "/emsp/2.2.1/sessions/NL/ABC/S1",
            self.ocpi_token,
            {
                "country_code": "NL",
                "party_id": "ABC",
                "id": "S1",
                "start_date_time": "2026-10-29T08:00:00Z",
                "kwh": kwh,
                "cdr_token": {
                    "country_code": "CH",
                    "party_id": "NWC",
                    "uid": await self.authorization(token),
                    "type": "AD_HOC_USER",
                    "contract_id": await self.authorization(token),
                },
                "auth_method": "COMMAND",
                "authorization_reference": await self.authorization(token),
                "location_id": "LOC1",
                "evse_uid": "E1",
                "connector_id": "1",
                "currency": "EUR",
                "status": status,
                "last_updated": (NOW + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z"),
            },
        )
        assert (http, answer["status_code"]) in {(200, 1000), (201, 1000)}, answer

    async def complete(self, token: str, *, kwh: float = 20.5, **changes: Any) -> None:
        """The operator's CDR ends the session, and its price is captured."""
        self.edge.clock.at = max(self.edge.clock.at, NOW + timedelta(hours=1))
        authorization = await self.authorization(token)
        session = await self.pool.fetchval(
            "SELECT session_id FROM gateway.payment_authorization WHERE id = "
            "(SELECT authorization_id FROM gateway.driver_payment WHERE token = $1)",
            token,
        )
        tree = cdr(authorization_reference=authorization, session_id=None, total_energy=kwh, **changes)
        tree["charging_periods"][0]["dimensions"][0]["volume"] = kwh
        await self.payments.complete(
            party_id="NL-ABC",
            session_id=session,
            cdr_raw=json.dumps(tree).encode(),
            cdr_version="2.2.1",
        )

    async def clear(self) -> None:
        """Clear what was captured, and issue the drivers' documents."""
        async with transaction(self.pool) as connection:
            now = self.edge.clock.now()
            await self.clearing.reference_data.import_bundled_rates(connection, now=now)
            await self.clearing.reference_data.put_agreement(
                connection, world.agreement(world.NL_CPO), now=now
            )
        clock = self.edge.clock
        cleared = await ClearingJob(
            pool=self.pool, clock=clock, sessions=self.clearing.sessions, batch_size=10, chain=0
        ).run_once()
        assert cleared
        assert await DriverDocumentJob(pool=self.pool, clock=clock).run_once()

    async def run_job(self, *, after: timedelta) -> None:
        self.edge.clock.at += after
        job = DriverPaymentJob(
            pool=self.pool, clock=self.edge.clock, driver_payments=self.services.driver_payments
        )
        await job.run_once()

    async def _seen(
        self, method: str, path: str, form: dict[str, str] | None, headers: dict[str, str]
    ) -> Seen:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.request(
            method, path, data=form, headers=named, allow_redirects=False
        ) as answer:
            return Seen(
                status=answer.status,
                text=(await answer.read()).decode(errors="replace"),
                headers=answer.headers,
            )


def token_of(seen: Seen) -> str:
    """The token of a payment's page, or of the way to it."""
    text = seen.headers.get("Location", "") or seen.text
    found = re.search(r"/charge/([A-Za-z0-9_-]{43})", text)
    assert found, text
    return found[1]


async def ends_paid_once(driver: Driver, token: str) -> None:
    """A started charge goes its way to one capture, and a cancel that comes late changes nothing."""
    service, reference = driver.services.driver_payments, await driver.authorization(token)
    starts = [
        body
        for name, body in driver.operator.commands
        if name == "START_SESSION" and body["authorization_reference"] == reference
    ]
    # One that was sent and not recorded is sent again under the same reference.
    assert 1 <= len(starts) <= 2
    before = driver.psp.capture_effects
    await driver.complete(token, id=f"CDR-{token[-6:]}")
    with suppress(DriverPageError):
        await service.cancel(token)
    assert driver.psp.capture_effects == before + 1
    assert (await service.read(token)).stage == "paid"


@asynccontextmanager
async def open_driver_page(
    pool: Pool,
    *,
    psp: Any = None,
    connected: bool = True,
    set_up: bool = True,
    base_url: str = "http://page.test",
    place: dict[str, Any] | None = None,
    price: dict[str, Any] | None = None,
    port: int | None = None,
    **changes: Any,
) -> AsyncIterator[Driver]:
    """The page for the operator NL-ABC, whose platform takes commands if `connected`."""
    edge, psp = await start_edge(pool), psp or FakePsp()
    clearing = build_clearing()
    payments = build_payments(
        pool=pool,
        psp=psp,
        tariffs=OcpiTariffSource(),
        clock=edge.clock,
        policy=PaymentPolicy(),
        checked=False,
        updates=OcpiLastUpdates(),
    )
    services = build_driver_page(
        edge.services,
        payments,
        BuyerService(pool=pool, clock=edge.clock, clearing=clearing),
        DocumentService(pool=pool, clock=edge.clock, payments=payments),
        EdgeLimits(),
    )
    services = replace(services, base_url=base_url)
    services = replace(services, **({"live_seconds": 0.05} | changes))
    app = web.Application()
    app.router.add_routes(driver_page_routes(services))
    try:
        cpo, operator = web.Application(), CommandReceiver()
        cpo.router.add_route("POST", "/commands/{command}", operator.handle)
        # A platform without a receiver of commands still sends its CDRs.
        module = "commands" if connected else "cdrs"
        async with TestServer(cpo) as platform, TestClient(TestServer(app, port=port)) as client:
            edge.cpo.endpoints = [
                {
                    "identifier": module,
                    "role": "RECEIVER" if connected else "SENDER",
                    "url": f"http://127.0.0.1:{platform.port}/{module}",
                }
            ]
            await edge.party(PARTNER, "demand_partner")
            driver = Driver(
                edge=edge,
                psp=psp,
                payments=payments,
                services=services,
                clearing=clearing,
                client=cast("TestClient[Any, Any]", client),
                operator=operator,
                ocpi_token=await edge.register("NL-ABC"),
            )
            await edge.call(
                "PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", driver.ocpi_token, location(**(place or {}))
            )
            await edge.call(
                "PUT", "/emsp/2.2.1/tariffs/NL/ABC/T1", driver.ocpi_token, tariff(**(price or {}))
            )
            async with transaction(pool) as connection:
                for party in world.PARTIES.values():
                    await clearing.reference_data.register_party(connection, party, now=NOW)
                if set_up:
                    page = DriverPageRecord(
                        party_id="NL-ABC", demand_partner_id=PARTNER, brand=BRAND, support="+31 10 1234567"
                    )
                    await repository.set_page(connection, page, now=NOW)
            yield driver
    finally:
        await stop_edge(edge)
