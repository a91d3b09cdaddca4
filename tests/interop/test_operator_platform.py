"""A fresh peer: a CPO's platform of the `extrawest-ocpi` package is connected, read and settled.

Handshake, token push, pull of every list, real-time authorization, price, capture, journal, renewal, end:
each over HTTP between two processes. Needs OCPI_PYTHON naming an interpreter that has the packages
`extrawest-ocpi` and `uvicorn`; skips with the reason elsewhere. CONTRIBUTING.md says how to run it.
"""

import base64
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from clearing.audit import audit_ledger
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.services import build_clearing
from gateway.database import Pool, transaction
from gateway.jobs.clearing import ClearingJob
from gateway.jobs.ocpi_outbox import OcpiOutboxJob
from gateway.jobs.ocpi_pull import OcpiPullJob
from gateway.ocpi import credentials_client
from gateway.ocpi.cdr_settlement import CdrSettlementService
from gateway.ocpi.charging_preferences import (
    ChargingPreferences,
    ChargingPreferencesService,
    PreferencesAnswer,
    ProfileType,
)
from gateway.ocpi.errors import PeerRejectedError
from gateway.ocpi.repository import cdrs, peers, pulls
from gateway.ocpi.repository.cdrs import CdrStatus
from gateway.ocpi.services import PLATFORM_ROLE
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.ocpi.token_authorization import TokenAuthorizationService
from gateway.ocpi.token_service import TokenService, TokenType, TokenUpdate, WhitelistType
from gateway.payments.policy import PaymentPolicy
from gateway.payments.service import PaymentService, build_payments
from gateway.task_kinds import TaskKind
from tests.fakes import clearing_fixtures as world
from tests.fakes.ocpi_edge import NOW, Edge, start_edge, stop_edge
from tests.fakes.ocpi_objects import cdr, location, tariff
from tests.fakes.psp import FakePsp
from tests.fakes.tasks import jobs_by_kind

PYTHON = os.environ.get("OCPI_PYTHON")
HERE = Path(__file__).parent
TOKEN_A = "token-a-of-the-operator"
WAIT_SECONDS = 60.0


def _why_not() -> str | None:
    if PYTHON is None:
        return "OCPI_PYTHON names no interpreter with the extrawest-ocpi package"
    tried = subprocess.run([PYTHON, "-c", "import py_ocpi, uvicorn"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "OCPI_PYTHON has no packages extrawest-ocpi and uvicorn"


WHY_NOT = _why_not()
pytestmark = [
    pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""),
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


@dataclass
class Platform:
    """The operator's platform in a process of its own."""

    port: int
    http: aiohttp.ClientSession

    @property
    def versions_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ocpi/versions"

    async def publish(self, **objects: list[Any]) -> None:
        async with self.http.post(f"http://127.0.0.1:{self.port}/test/objects", json=objects) as response:
            assert response.status == 200, await response.text()

    async def state(self) -> dict[str, Any]:
        async with self.http.get(f"http://127.0.0.1:{self.port}/test/state") as response:
            shown: dict[str, Any] = await response.json()
            return shown

    async def push(self, edge: Edge, module: str, object_id: str) -> int:
        """Have the package push one object to us; the HTTP status that it got."""
        given = (await self.state())["registration"]["client"]["credentials"]["token"]
        receiver = {"endpoints_url": f"{edge.base}/2.2.1", "auth_token": given}
        body = {"module_id": module, "object_id": object_id, "receivers": [receiver]}
        headers = {"Authorization": await self.authorization()}
        url = f"http://127.0.0.1:{self.port}/push/2.2.1"
        async with self.http.post(url, json=body, headers=headers) as response:
            answer = await response.json()
            return int(answer["receiver_responses"][0]["status_code"])

    async def authorization(self) -> str:
        token = (await self.state())["registration"]["token_c"]
        return f"Token {base64.b64encode(token.encode()).decode()}"


@pytest.fixture
async def edge(pool: Pool) -> AsyncIterator[Edge]:
    started = await start_edge(pool)
    yield started
    await stop_edge(started)


@pytest.fixture
def platform_port(tmp_path: Path) -> Iterator[int]:
    """The port of a platform that runs in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [str(PYTHON), str(HERE / "operator_platform.py"), str(port), TOKEN_A]
    with (tmp_path / "platform.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not _answers(port):
            assert process.poll() is None, (tmp_path / "platform.log").read_text()
            assert time.monotonic() < deadline, "the platform did not start"
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
async def platform(edge: Edge, platform_port: int) -> Platform:
    return Platform(port=platform_port, http=edge.http)


async def connected(edge: Edge, platform: Platform) -> UUID:
    await edge.party("NL-ABC")
    return await credentials_client.connect(
        edge.services,
        party_id="NL-ABC",
        versions_url=platform.versions_url,
        token_a=TOKEN_A,
        version=OcpiVersion.V2_2_1,
    )


async def pull(edge: Edge, peer_id: UUID) -> None:
    async with transaction(edge.pool) as connection:
        for module in ("locations", "tariffs", "sessions", "cdrs"):
            assert await pulls.run_now(connection, peer_id=peer_id, module=module, wall_now=edge.clock.at)
    job = OcpiPullJob(services=edge.services)
    while await job.run_once():
        pass
    async with edge.pool.acquire() as connection:
        lists = await pulls.list_pulls(connection)
    assert [row["last_error"] for row in lists] == [None] * 4
    rejected = await edge.pool.fetch("SELECT module, reason FROM gateway.ocpi_rejected_push WHERE pulled")
    assert [dict(row) for row in rejected] == []


async def books(pool: Pool) -> Any:
    """Clearing's parties, rates and the agreement of the operator and its partner."""
    service = build_clearing()
    async with transaction(pool) as connection:
        await service.reference_data.import_bundled_rates(connection, now=NOW)
        for party in world.PARTIES.values():
            await service.reference_data.register_party(connection, party, now=NOW)
        await service.reference_data.put_agreement(connection, world.agreement(world.NL_CPO), now=NOW)
    return service


async def test_a_fresh_platform_is_connected_read_and_settled(edge: Edge, platform: Platform) -> None:
    service = await books(edge.pool)
    payments = build_payments(
        pool=edge.pool,
        psp=(psp := FakePsp()),
        tariffs=OcpiTariffSource(),
        clock=edge.clock,
        policy=PaymentPolicy(),
    )
    authorizer = TokenAuthorizationService(
        pool=edge.pool, clock=edge.clock, payments=payments, environment="sandbox"
    )
    object.__setattr__(edge.services, "authorizer", authorizer)
    await edge.party("superapp", "demand_partner")
    peer_id = await connected(edge, platform)

    place = location()
    place["evses"][0]["capabilities"] = ["CHARGING_PREFERENCES_CAPABLE"]
    await platform.publish(locations=[place], tariffs=[tariff()])
    await pull(edge, peer_id)
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_connector") == 1

    reference = await authorized(edge, platform)
    session, record = ended(reference)
    await platform.publish(sessions=[{**session, "status": "ACTIVE"}])
    await pull(edge, peer_id)
    await preferred(edge, platform, payments)
    await platform.publish(sessions=[session], cdrs=[record])
    edge.clock.at = NOW + timedelta(hours=2)
    await pull(edge, peer_id)
    assert await platform.push(edge, "cdrs", "CDR1") == 201  # the same CDR, pushed: no second effect

    settlement = CdrSettlementService(
        pool=edge.pool, clock=edge.clock, payments=payments, environment="sandbox"
    )
    jobs = jobs_by_kind(edge.pool, edge.clock, payments=payments, cdrs=settlement)
    assert await jobs[TaskKind.COMPLETE_SESSION].run_once() == 1
    async with edge.pool.acquire() as connection:
        kept = await cdrs.load_cdr(connection, "NL-ABC", "CDR1")
    assert kept is not None
    assert (kept.status, kept.reason) == (CdrStatus.COMPLETED, None)
    await jobs[TaskKind.CAPTURE_SESSION].run_once()
    assert psp.capture_effects == 1
    # 20.5 kWh at 0.49 are 10.045 net; with 21 % VAT 12.15445.
    assert await edge.pool.fetchval("SELECT amount_minor FROM gateway.capture") == 1215

    clearing = ClearingJob(
        pool=edge.pool, clock=edge.clock, sessions=service.sessions, batch_size=10, chain=0
    )
    assert await clearing.run_once() == 1
    assert await edge.pool.fetchval("SELECT state FROM gateway.session") == "cleared"
    async with edge.pool.acquire() as connection:
        assert not (await audit_ledger(connection, now=edge.clock.at)).findings


async def authorized(edge: Edge, platform: Platform) -> str:
    """A token is pushed to the platform, which then asks for it; the reference that it got."""
    tokens = TokenService(pool=edge.pool, clock=edge.clock, role=PLATFORM_ROLE)
    await tokens.save(
        TokenUpdate(
            uid="04A2B3C4",
            type=TokenType.RFID,
            contract_id="CH-NWC-C12345678-X",
            issuer="Super App",
            party_id="superapp",
            payment={"type": "psp_payment_method", "payment_method": "pm_good"},
            valid=True,
            whitelist=WhitelistType.NEVER,
        )
    )
    assert await OcpiOutboxJob(services=edge.services).run_once() == 1
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_outbox") == 0
    given = (await platform.state())["tokens"]["04a2b3c4"]
    assert (given["valid"], given["whitelist"], given["type"]) == (True, "NEVER", "RFID")
    token = (await platform.state())["registration"]["client"]["credentials"]["token"]
    answer, status = await edge.call(
        "POST",
        f"/emsp/2.2.1/tokens/{given['uid']}/authorize?type=RFID",
        token,
        {"location_id": "loc1", "evse_uids": ["e1"]},  # the package writes ids in lower case
    )
    assert (status, answer["data"]["allowed"]) == (200, "ALLOWED"), answer
    return str(answer["data"]["authorization_reference"])


async def preferred(edge: Edge, platform: Platform, payments: PaymentService) -> None:
    """A preference reaches the running session; the package answers with the object: nothing is accepted."""
    session_id = await edge.pool.fetchval("SELECT id FROM gateway.session")
    service = ChargingPreferencesService(services=edge.services, payments=payments)
    wanted = ChargingPreferences(profile=ProfileType.CHEAP, energy_need_wh=15_500)
    answer = await service.send(wanted, party_id="superapp", session_id=session_id)
    assert answer is PreferencesAnswer.OTHER
    given = (await platform.state())["preferences"]["s1"]
    assert (given["profile_type"], given["energy_need"]) == ("CHEAP", 15.5)


def ended(reference: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The session and its CDR as the platform's own system has them."""
    bearer = {
        "country_code": "CH",
        "party_id": "NWC",
        "uid": "04A2B3C4",
        "type": "RFID",
        "contract_id": "CH-NWC-C12345678-X",
    }
    place = location()
    connector = place["evses"][0]["connectors"][0]
    record = cdr(
        cdr_token=bearer,
        authorization_reference=reference,
        cdr_location={
            "id": "LOC1",
            "address": place["address"],
            "city": place["city"],
            "postal_code": place["postal_code"],
            "country": place["country"],
            "coordinates": place["coordinates"],
            "evse_uid": "E1",
            "evse_id": "NL*ABC*E0001",
            "connector_id": "1",
            "connector_standard": connector["standard"],
            "connector_format": connector["format"],
            "connector_power_type": connector["power_type"],
        },
        tariffs=[tariff()],
        total_cost={"excl_vat": 10.05, "incl_vat": 12.15},
    )
    session = {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "S1",
        "start_date_time": record["start_date_time"],
        "end_date_time": record["end_date_time"],
        "kwh": 20.5,
        "cdr_token": bearer,
        "auth_method": "AUTH_REQUEST",
        "authorization_reference": reference,
        "location_id": "LOC1",
        "evse_uid": "E1",
        "connector_id": "1",
        "currency": "EUR",
        "status": "COMPLETED",
        "last_updated": record["last_updated"],
    }
    return session, record


async def test_credentials_are_renewed_and_ended_at_a_fresh_platform(edge: Edge, platform: Platform) -> None:
    peer_id = await connected(edge, platform)
    before = (await platform.state())["registration"]
    await credentials_client.renew(edge.services, peer_id=peer_id)
    after = (await platform.state())["registration"]
    assert after["token_c"] != before["token_c"]
    assert after["client"]["credentials"]["token"] != before["client"]["credentials"]["token"]
    async with edge.pool.acquire() as connection:
        peer = await peers.load_peer(connection, peer_id=peer_id)
    assert peer is not None
    assert edge.services.token_of(peer) == after["token_c"]
    await credentials_client.leave(edge.services, peer_id=peer_id)
    assert (await platform.state())["registration"] == {}


async def test_a_wrong_token_connects_nothing(edge: Edge, platform: Platform) -> None:
    await edge.party("NL-ABC")
    with pytest.raises(PeerRejectedError, match="HTTP 401"):
        await credentials_client.connect(
            edge.services,
            party_id="NL-ABC",
            versions_url=platform.versions_url,
            token_a="another",
            version=OcpiVersion.V2_2_1,
        )
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_peer") == 0


async def test_a_push_to_a_wrong_address_leaves_a_trace(edge: Edge, platform: Platform) -> None:
    await connected(edge, platform)
    await platform.publish(locations=[location()])
    # The package joins our address and its path without a slash; the pull reads the location all the same.
    assert await platform.push(edge, "locations", "LOC1") == 404
    kept = await edge.pool.fetchrow("SELECT url, reason FROM gateway.ocpi_rejected_push")
    assert kept is not None
    assert kept["url"] == "/ocpi/emsp/2.2.1/locationsNL/ABC/LOC1"


async def test_a_list_whose_next_page_is_nowhere_is_kept_and_seen(edge: Edge, platform: Platform) -> None:
    """The package's links say https where it serves http: a page at another scheme is not read."""
    peer_id = await connected(edge, platform)
    await platform.publish(tariffs=[tariff(id=f"T{number}") for number in range(101)])
    async with transaction(edge.pool) as connection:
        await connection.execute("DELETE FROM gateway.ocpi_pull WHERE module <> 'tariffs'")
        await pulls.run_now(connection, peer_id=peer_id, module="tariffs", wall_now=edge.clock.at)
    await OcpiPullJob(services=edge.services).run_once()
    row = await edge.pool.fetchrow("SELECT since, list_short, failures, last_error FROM gateway.ocpi_pull")
    assert row is not None
    assert (row["since"], row["list_short"], row["failures"]) == (None, True, 1)
    assert f"another address (https://127.0.0.1:{platform.port})" in row["last_error"]
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_tariff") == 100, (
        "what was read is kept"
    )
