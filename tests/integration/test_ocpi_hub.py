"""A roaming hub as peer: its own party, the parties behind it, and where its messages are routed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.database import Pool, transaction
from gateway.ids import new_id
from gateway.jobs.ocpi_outbox import OcpiOutboxJob
from gateway.jobs.ocpi_pull import OcpiPullJob
from gateway.ocpi.commands import CommandSender, StartSessionRequest
from gateway.ocpi.errors import PeerRejectedError
from gateway.ocpi.repository import hub_clients, peers, pulls
from gateway.ocpi.services import PLATFORM_ROLE, PULLED
from gateway.ocpi.token_service import TokenService
from tests.fakes.ocpi_edge import NOW, Edge, start_edge, stop_edge
from tests.integration.test_ocpi_token_push import update

CLIENT = {
    "country_code": "NL",
    "party_id": "ABC",
    "role": "CPO",
    "status": "OFFLINE",
    "last_updated": "2026-10-29T07:00:00Z",
}
ROUTING = ("OCPI-to-country-code", "OCPI-to-party-id", "OCPI-from-country-code", "OCPI-from-party-id")


@dataclass
class Hub:
    """A hub's platform: it keeps what it was sent, with the routing headers, and lists its clients."""

    edge: Edge
    clients: list[Any] = field(default_factory=list)
    received: list[tuple[str, list[str | None]]] = field(default_factory=list)
    token: str = ""

    async def handle(self, request: web.Request) -> web.Response:
        headers = [request.headers.get(name) for name in ROUTING]
        self.received.append((f"{request.method} {request.path}", headers))
        if request.method == "GET":
            data: Any = self.clients if request.path == "/hubclientinfo" else []
        else:
            data = {"result": "ACCEPTED", "timeout": 30}
        return web.json_response({"data": data, "status_code": 1000, "timestamp": "2026-10-29T08:00:00Z"})

    async def put(self, body: Any, path: str = "NL/ABC", version: str = "2.3.0") -> tuple[Any, int]:
        return await self.edge.call("PUT", f"/emsp/{version}/hubclientinfo/{path}", self.token, body)

    async def start(self) -> Any:
        request = StartSessionRequest(
            cpo_id="NL-ABC",
            location_id="LOC1",
            evse_uid="E1",
            connector_id="1",
            authorization_id=new_id(),
        )
        return await CommandSender(services=self.edge.services).start_session(request)


@pytest.fixture
async def edge(pool: Pool) -> AsyncIterator[Edge]:
    started = await start_edge(pool)
    yield started
    await stop_edge(started)


@pytest.fixture
async def hub(edge: Edge) -> AsyncIterator[Hub]:
    """Registered in 2.3.0 as the hub NL-HUB, for NL-ABC; it reaches DE-XYZ too, which was not agreed."""
    there = Hub(edge)
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", there.handle)
    server = TestServer(application)
    await server.start_server()
    base = f"http://127.0.0.1:{server.port}"
    edge.cpo.endpoints = [
        *({"identifier": name, "role": "SENDER", "url": f"{base}/{name}"} for name in PULLED),
        *(
            {"identifier": name, "role": "RECEIVER", "url": f"{base}/{name}"}
            for name in ("tokens", "commands")
        ),
    ]
    token_a = await edge.invite("NL-ABC")
    roles = edge.credentials("NL-ABC", "DE-XYZ", version="2.3.0") | {"hub_party_id": "nlhub"}
    answer, _ = await edge.call("POST", "/2.3.0/credentials", token_a, roles)
    assert answer["status_code"] == 1000, answer
    there.token = answer["data"]["token"]
    yield there
    await server.close()


async def hub_of(edge: Edge) -> str | None:
    async with edge.pool.acquire() as connection:
        (peer,) = await peers.list_registered_peers(connection)
    return peer.hub_party_id


async def test_a_hub_names_parties_that_were_not_agreed_and_speaks_only_for_those_that_were(hub: Hub) -> None:
    assert await hub_of(hub.edge) == "NL-HUB"
    roles = await hub.edge.pool.fetch("SELECT country_code, party_code FROM gateway.ocpi_peer_role")
    assert [tuple(row) for row in roles] == [("NL", "ABC")]
    answer, status = await hub.edge.call("GET", "/emsp/2.3.0/locations/DE/XYZ/L1", hub.token)
    assert (status, answer["status_code"]) == (404, 2001)


async def test_in_2_2_1_a_hub_is_known_by_its_role(edge: Edge) -> None:
    token_a = await edge.invite("NL-ABC")
    credentials = edge.credentials("NL-HUB") | {}
    credentials["roles"][0]["role"] = "HUB"
    answer, _ = await edge.call("POST", "/2.2.1/credentials", token_a, credentials)
    assert answer["status_code"] == 1000, answer
    assert await hub_of(edge) == "NL-HUB"


async def test_a_malformed_hub_is_refused(edge: Edge) -> None:
    token_a = await edge.invite("NL-ABC")
    for wrong in ("NL", "N1HUB", "NL-HU", 7):
        credentials = edge.credentials("NL-ABC") | {"hub_party_id": wrong}
        answer, _ = await edge.call("POST", "/2.3.0/credentials", token_a, credentials)
        assert answer["status_code"] == 2001
        assert "$.hub_party_id" in answer["status_message"]


async def test_a_client_is_kept_changed_and_shown(hub: Hub) -> None:
    assert (await hub.put(CLIENT))[1] == 201
    later = CLIENT | {"status": "connected", "last_updated": "2026-10-29T07:30:00Z"}
    assert (await hub.put(later))[1] == 200
    assert (await hub.put(CLIENT))[1] == 200, "older: answered, and nothing changes"
    assert (await hub.put(later | {"role": "EMSP", "last_updated": "2026-10-29T07:10:00Z"}))[1] == 201
    answer, status = await hub.edge.call("GET", "/emsp/2.3.0/hubclientinfo/nl/abc", hub.token)
    assert (status, answer["data"]["role"], answer["data"]["status"]) == (200, "CPO", "CONNECTED")
    assert (await hub.edge.call("GET", "/emsp/2.3.0/hubclientinfo/NL/XXX", hub.token))[1] == 404
    assert await hub.edge.pool.fetchval("SELECT stale_pushes FROM gateway.ocpi_peer") == 1


@pytest.mark.parametrize(
    "changes",
    [{"status": "AWAY"}, {"status": None}, {"role": None}, {"party_id": "XXX"}, {"country_code": "1"}],
)
async def test_a_client_that_is_none_is_refused(hub: Hub, changes: dict[str, Any]) -> None:
    answer, _ = await hub.put(CLIENT | changes)
    assert answer["status_code"] == 2001


async def test_a_client_without_its_time_was_updated_now(hub: Hub) -> None:
    body = {name: value for name, value in CLIENT.items() if name != "last_updated"}
    assert (await hub.put(body))[1] == 201
    assert await hub.edge.pool.fetchval("SELECT last_updated FROM gateway.ocpi_hub_client") == NOW


async def test_only_a_hub_has_clients(edge: Edge) -> None:
    token = await edge.register("NL-ABC")
    answer, status = await edge.call("PUT", "/emsp/2.2.1/hubclientinfo/NL/ABC", token, CLIENT)
    assert (status, answer["status_code"]) == (404, 2000)
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_hub_client") == 0


async def test_lists_are_requested_from_the_hub_and_its_clients_without_routing(hub: Hub) -> None:
    hub.clients = [CLIENT, CLIENT | {"country_code": "DE", "party_id": "XYZ", "status": "nothing"}]
    async with transaction(hub.edge.pool) as connection:
        peer = await peers.find_peer_of_party(connection, party_id="NL-ABC")
        assert peer is not None
        for module in PULLED:
            assert await pulls.run_now(connection, peer_id=peer.id, module=module, wall_now=NOW)
    job = OcpiPullJob(services=hub.edge.services)
    while await job.run_once():
        pass
    seen = dict(hub.received)
    assert seen.pop("GET /hubclientinfo") == [None] * 4
    assert set(seen) == {f"GET /{name}" for name in PULLED if name != "hubclientinfo"}
    assert all(headers == ["NL", "HUB", "CH", "NWC"] for headers in seen.values())
    async with hub.edge.pool.acquire() as connection:
        kept = await hub_clients.list_clients(connection)
    assert [(row["party_id"], row["status"]) for row in kept] == [("NL-ABC", "OFFLINE")]
    rejected = await hub.edge.pool.fetchval("SELECT reason FROM gateway.ocpi_rejected_push")
    assert rejected.startswith("$.status: expected CONNECTED, OFFLINE")


async def test_a_token_is_sent_to_the_hub_once_for_all_and_a_command_to_its_party(hub: Hub) -> None:
    await hub.edge.party("superapp")
    await hub.put(CLIENT)  # one party that is away does not keep the others from it
    tokens = TokenService(pool=hub.edge.pool, clock=hub.edge.clock, role=PLATFORM_ROLE)
    await tokens.save(update(uid="04A1"))
    await OcpiOutboxJob(services=hub.edge.services).run_once()
    assert hub.received == [("PUT /tokens/CH/NWC/04A1", ["NL", "HUB", "CH", "NWC"])]
    await hub.put(CLIENT | {"status": "CONNECTED"})
    command = await hub.start()
    assert (command.state, hub.received[1]) == (
        "accepted",
        ("POST /commands/START_SESSION", ["NL", "ABC", "CH", "NWC"]),
    )


async def test_a_party_that_its_hub_does_not_reach_is_not_called_until_it_is(hub: Hub) -> None:
    await hub.put(CLIENT)
    with pytest.raises(PeerRejectedError, match="the hub NL-HUB says that NL-ABC is OFFLINE"):
        await hub.start()
    await hub.edge.party("superapp")
    await hub.edge.pool.execute(
        "INSERT INTO gateway.ocpi_outbox "
        "(id, party_id, module, method, path, object_id, body, run_at, created_at)"
        " VALUES ($1, 'NL-ABC', 'commands', 'POST', '/X', 'x', '{}', $2, $2)",
        new_id(),
        NOW,
    )
    await OcpiOutboxJob(services=hub.edge.services).run_once()
    assert hub.received == []
    assert "is OFFLINE" in await hub.edge.pool.fetchval("SELECT last_error FROM gateway.ocpi_outbox")
    await hub.put(CLIENT | {"status": "CONNECTED", "last_updated": "2026-10-29T07:59:00Z"})
    assert (await hub.start()).state == "accepted"
    hub.edge.clock.at = NOW + timedelta(minutes=1)
    await OcpiOutboxJob(services=hub.edge.services).run_once()
    assert hub.received[-1][0] == "POST /commands/X"
