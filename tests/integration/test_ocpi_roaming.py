"""Two platforms of our own, one as eMSP and one as CPO, over real HTTP: handshakes, pulls, commands.

Payments.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner, Result

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.cli.main import networkcore
from gateway.database import Pool, create_pool, transaction
from gateway.exceptions import repository as exception_repository
from gateway.ids import format_id, new_id, parse_id
from gateway.jobs.financial_advice import FinancialAdviceJob
from gateway.jobs.ocpi_outbox import OcpiOutboxJob
from gateway.jobs.ocpi_pull import OcpiPullJob
from gateway.migrations import migrate
from gateway.ocpi import credentials_client, endpoint
from gateway.ocpi.cdrs import keep_cdr, read_cdr
from gateway.ocpi.client import PeerCaller, discover
from gateway.ocpi.commands import CommandSender, StartSessionRequest
from gateway.ocpi.credentials import own_credentials
from gateway.ocpi.errors import PeerRejectedError
from gateway.ocpi.financial_advice import first_id_at
from gateway.ocpi.invoices import reconcile
from gateway.ocpi.locations import keep_location
from gateway.ocpi.outbox import RETRY
from gateway.ocpi.pull_sync import OVERLAP, PullSync
from gateway.ocpi.repository import lists, objects, payments, peers, pulls
from gateway.ocpi.repository.peers import PeerRecord, PeerRole
from gateway.ocpi.request_bodies import read_object
from gateway.ocpi.tariffs import read_tariff
from tests.fakes.ocpi_cpo_client import CpoClient, register_as_cpo
from tests.fakes.ocpi_edge import NOW, Edge, start_edge, stop_edge
from tests.fakes.ocpi_objects import cdr, location, tariff

CPO_ROLE = PeerRole(role="CPO", country_code="NL", party_code="ABC", name="Operator")


@pytest.fixture
async def edge(pool: Pool) -> AsyncIterator[Edge]:
    """The eMSP."""
    started = await start_edge(pool)
    yield started
    await stop_edge(started)


@pytest.fixture
async def other_pool(empty_database_url: str) -> AsyncIterator[Pool]:
    """The second instance's own database."""
    await migrate(empty_database_url)
    opened = await create_pool(empty_database_url, min_size=1, max_size=4, application="test")
    yield opened
    await asyncio.wait_for(opened.close(), timeout=10)


@pytest.fixture
async def operator(other_pool: Pool) -> AsyncIterator[Edge]:
    """A second instance of ourselves, as CPO."""
    started = await start_edge(other_pool, roles=(CPO_ROLE,), page_limit=2)
    yield started
    await stop_edge(started)


async def connected(edge: Edge, operator: Edge, version: OcpiVersion = OcpiVersion.V2_2_1) -> PeerRecord:
    """The eMSP registers at the CPO with the CPO's token A."""
    await edge.party("NL-ABC")
    await operator.party("NL-ABC")
    token_a = await operator.invite("CH-NWC")
    peer_id = await credentials_client.connect(
        edge.services,
        party_id="NL-ABC",
        versions_url=f"{operator.base}/versions",
        token_a=token_a,
        version=version,
    )
    async with edge.pool.acquire() as connection:
        peer = await peers.load_peer(connection, peer_id=peer_id)
    assert peer is not None
    return peer


async def push_own(operator: Edge, count: int) -> None:
    """The CPO's own objects, as its own system would keep them."""
    version = OcpiVersion.V2_2_1
    async with transaction(operator.pool) as connection:
        for number in range(count):
            raw = json.dumps(location(id=f"LOC{number}")).encode()
            await keep_location(
                connection,
                read_object(raw, name="location").tree,
                party="NL-ABC",
                version=version,
                changed_at=NOW,
                now=NOW,
            )
            raw = json.dumps(tariff(id=f"T{number}")).encode()
            kept = read_tariff(
                read_object(raw, name="tariff"), raw=raw, party="NL-ABC", version=version, now=NOW
            )
            await objects.save_tariff(connection, kept, now=NOW)
            raw = json.dumps(cdr(id=f"C{number}")).encode()
            record = read_cdr(read_object(raw, name="CDR"), raw=raw, party="NL-ABC", version=version)
            await keep_cdr(connection, record, now=NOW, wall_now=NOW)


@pytest.mark.parametrize("version", list(OcpiVersion))
async def test_one_platform_registers_at_the_other_in_every_version(
    edge: Edge, operator: Edge, version: OcpiVersion
) -> None:
    peer = await connected(edge, operator, version)
    assert (peer.state, peer.version) == ("registered", version)
    async with operator.pool.acquire() as connection:
        seen = await peers.find_peer_of_party(connection, party_id="CH-NWC")
    assert seen is not None
    # What each sends is what the other expects.
    assert peers.hash_token(edge.services.token_of(peer)) == seen.token_hash
    assert peers.hash_token(operator.services.token_of(seen)) == peer.token_hash


async def test_renewing_exchanges_both_tokens_and_leaving_ends_both_sides(edge: Edge, operator: Edge) -> None:
    before = await connected(edge, operator)
    await credentials_client.renew(edge.services, peer_id=before.id, version=OcpiVersion.V2_3_0)
    async with edge.pool.acquire() as connection:
        after = await peers.load_peer(connection, peer_id=before.id)
    assert after is not None
    assert after.version is OcpiVersion.V2_3_0
    assert after.outbound != before.outbound
    assert after.token_hash != before.token_hash
    await credentials_client.leave(edge.services, peer_id=before.id)
    for side, party in ((edge, "NL-ABC"), (operator, "CH-NWC")):
        async with side.pool.acquire() as connection:
            assert await peers.find_peer_of_party(connection, party_id=party) is None


async def test_an_operator_renews_and_ends_a_registration_by_command(
    edge: Edge, operator: Edge, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await connected(edge, operator)
    for name, value in {
        "DATABASE_URL": database_url,
        "NETWORKCORE_ENVIRONMENT": "sandbox",
        "NETWORKCORE_PUBLIC_URL": edge.services.public_url,
    }.items():  # and no key of a PSP: these commands move no money
        monkeypatch.setenv(name, value)

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, networkcore, ["ocpi", *arguments])

    done = await run("renew", "NL-ABC", "--version", "2.3.0")
    assert done.exception is None
    assert done.output.endswith("renewed the credentials shared with NL-ABC\n")
    async with edge.pool.acquire() as connection:
        after = await peers.load_peer(connection, peer_id=before.id)
    assert after is not None
    assert after.version is OcpiVersion.V2_3_0
    assert after.outbound != before.outbound
    done = await run("leave", "NL-ABC")
    assert done.output.endswith("ended the registration with NL-ABC\n")
    for side, party in ((edge, "NL-ABC"), (operator, "CH-NWC")):
        async with side.pool.acquire() as connection:
            assert await peers.find_peer_of_party(connection, party_id=party) is None
    done = await run("leave", "NL-ABC")
    assert done.exit_code == 1
    assert "NL-ABC has no registered platform; see networkcore ocpi peers" in done.output


async def test_a_peer_that_knows_bare_tokens_only_is_connected_all_the_same(
    edge: Edge, operator: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "_decoded", lambda _credential: None)
    peer = await connected(edge, operator)
    assert peer.outbound_raw
    assert peer.outbound is not None
    caller = credentials_client.caller_of(edge.services, peer)
    assert (await caller.page(f"{operator.base}/cpo/2.2.1/locations")).objects == []


async def test_a_failed_handshake_leaves_nothing_registered(edge: Edge, operator: Edge) -> None:
    await edge.party("NL-ABC")
    with pytest.raises(PeerRejectedError, match="HTTP 401"):
        await credentials_client.connect(
            edge.services,
            party_id="NL-ABC",
            versions_url=f"{operator.base}/versions",
            token_a="wrong",
            version=OcpiVersion.V2_2_1,
        )
    token_a = await operator.invite("CH-NWC")
    await edge.party("DE-XYZ")
    with pytest.raises(PeerRejectedError, match="isn't agreed"):
        await credentials_client.connect(
            edge.services,
            party_id="DE-XYZ",
            versions_url=f"{operator.base}/versions",
            token_a=token_a,
            version=OcpiVersion.V2_2_1,
        )
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_peer WHERE state <> 'ended'") == 0


async def pull_all(edge: Edge) -> None:
    job = OcpiPullJob(services=edge.services)
    for _ in range(20):
        if not await job.run_once():
            return


async def test_a_pull_reads_every_page_of_every_list_once(edge: Edge, operator: Edge) -> None:
    await push_own_after_party(operator)
    peer = await connected(edge, operator)
    edge.clock.at = NOW + timedelta(hours=1)
    await pull_all(edge)
    counts = await edge.pool.fetchrow(
        "SELECT (SELECT count(*) FROM gateway.ocpi_location), (SELECT count(*) FROM gateway.ocpi_tariff),"
        " (SELECT count(*) FROM gateway.ocpi_cdr), (SELECT count(*) FROM gateway.task)"
    )
    assert counts is not None
    assert tuple(counts) == (5, 5, 5, 5)
    async with edge.pool.acquire() as connection:
        pull = await pulls.load(connection, peer_id=peer.id, module="cdrs")
    assert pull is not None
    assert (pull.seen, pull.next_url, pull.since) == (5, None, NOW + timedelta(hours=1) - OVERLAP)


async def push_own_after_party(operator: Edge, count: int = 5) -> None:
    await operator.party("NL-ABC")
    await push_own(operator, count)


async def test_what_was_pushed_and_is_pulled_again_has_no_second_effect(edge: Edge, operator: Edge) -> None:
    await push_own_after_party(operator)
    peer = await connected(edge, operator)
    for hours in (1, 2):
        edge.clock.at = NOW + timedelta(hours=hours)
        async with transaction(edge.pool) as connection:
            for module in ("locations", "tariffs", "sessions", "cdrs"):
                await pulls.run_now(connection, peer_id=peer.id, module=module, wall_now=NOW)
            await connection.execute("UPDATE gateway.ocpi_pull SET since = NULL")
        await pull_all(edge)
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.task") == 5
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_tariff") == 5
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_rejected_push") == 0


async def test_an_interrupted_pull_resumes_at_its_page(edge: Edge, operator: Edge) -> None:
    await push_own_after_party(operator)
    peer = await connected(edge, operator)
    edge.clock.at = NOW + timedelta(hours=1)
    job = OcpiPullJob(services=edge.services)
    async with transaction(edge.pool) as connection:
        await connection.execute("DELETE FROM gateway.ocpi_pull WHERE module <> 'cdrs'")
        await pulls.run_now(connection, peer_id=peer.id, module="cdrs", wall_now=NOW)
    async with edge.pool.acquire() as connection:
        pull = await pulls.claim(connection, wall_now=edge.clock.at, leased_until=edge.clock.at)
    assert pull is not None
    # One page is read and committed, then the process ends.
    assert await PullSync(services=edge.services).run(pull, pages=1) == 2
    stored = await edge.pool.fetchrow("SELECT next_url, seen FROM gateway.ocpi_pull")
    assert stored is not None
    assert "offset=2" in stored["next_url"]
    assert stored["seen"] == 2
    edge.clock.at += timedelta(hours=1)
    assert await job.run_once() == 3
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_cdr") == 5


async def test_one_unfit_object_does_not_hold_up_the_others(edge: Edge, operator: Edge) -> None:
    await push_own_after_party(operator)
    await operator.pool.execute(
        "UPDATE gateway.ocpi_cdr SET raw = "
        "convert_to(replace(convert_from(raw, 'UTF8'), '\"currency\"', '\"cur\"'), 'UTF8')"
        " WHERE cdr_id = 'C1'"
    )
    peer = await connected(edge, operator)
    edge.clock.at = NOW + timedelta(hours=1)
    async with transaction(edge.pool) as connection:
        await connection.execute("DELETE FROM gateway.ocpi_pull WHERE module <> 'cdrs'")
        await pulls.run_now(connection, peer_id=peer.id, module="cdrs", wall_now=NOW)
    await pull_all(edge)
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_cdr") == 4
    assert await edge.pool.fetchval("SELECT reason FROM gateway.ocpi_rejected_push") == (
        "$.currency: missing; expected a string of 1 to 3 characters"
    )


async def test_what_was_rejected_is_read_again_when_the_whole_list_is(edge: Edge, operator: Edge) -> None:
    await push_own_after_party(operator)
    spoil = (
        "UPDATE gateway.ocpi_tariff SET raw = convert_to(replace(convert_from(raw, 'UTF8'), $1, $2), 'UTF8')"
    )
    await operator.pool.execute(spoil, '"elements"', '"parts"')
    peer = await connected(edge, operator)
    edge.clock.at = NOW + timedelta(hours=1)
    for whole, kept in ((False, 0), (False, 0), (True, 5)):
        async with transaction(edge.pool) as connection:
            await connection.execute("DELETE FROM gateway.ocpi_pull WHERE module <> 'tariffs'")
            await pulls.run_now(
                connection, peer_id=peer.id, module="tariffs", wall_now=edge.clock.at, whole=whole
            )
        await pull_all(edge)
        assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_tariff") == kept
        await operator.pool.execute(spoil, '"parts"', '"elements"')
        edge.clock.at += timedelta(hours=2)


async def test_a_peer_that_is_unreachable_is_called_again_later(edge: Edge, operator: Edge) -> None:
    peer = await connected(edge, operator)
    async with transaction(edge.pool) as connection:
        await connection.execute("DELETE FROM gateway.ocpi_pull WHERE module <> 'cdrs'")
        await pulls.run_now(connection, peer_id=peer.id, module="cdrs", wall_now=NOW)
        await connection.execute("UPDATE gateway.ocpi_peer_endpoint SET url = 'http://127.0.0.1:1/cdrs'")
    job = OcpiPullJob(services=edge.services)
    for _ in range(3):
        assert await job.run_once() == 1
        edge.clock.at += timedelta(minutes=10)
    row = await edge.pool.fetchrow("SELECT failures, due_at, last_error FROM gateway.ocpi_pull")
    assert row is not None
    assert row["failures"] == 3
    assert row["due_at"] > NOW
    assert "127.0.0.1:1/cdrs" in row["last_error"]


async def test_sessions_and_cdrs_of_other_drivers_are_not_listed(edge: Edge, operator: Edge) -> None:
    await push_own_after_party(operator)
    await operator.pool.execute(
        "UPDATE gateway.ocpi_cdr SET raw = "
        "convert_to(replace(convert_from(raw, 'UTF8'), 'NWC', 'OTH'), 'UTF8')"
        " WHERE cdr_id <> 'C1'"
    )
    peer = await connected(edge, operator)
    caller = credentials_client.caller_of(edge.services, peer)
    page = await caller.page(f"{operator.base}/cpo/2.2.1/cdrs")
    assert [row["id"] for row in page.objects] == ["C1"]
    assert (page.next_url, page.total) == (None, 1)


async def test_lists_are_paged_with_totals_and_links_that_keep_their_filters(
    edge: Edge, operator: Edge
) -> None:
    await push_own_after_party(operator)
    peer = await connected(edge, operator)
    token = edge.services.token_of(peer)
    url = f"{operator.base}/cpo/2.2.1/locations?date_from=2026-10-29T07:00:00Z&limit=50"
    response, answer = await operator.send("GET", url, token)
    assert (response.headers["X-Total-Count"], response.headers["X-Limit"]) == ("5", "2")
    assert 'rel="next"' in response.headers["Link"]
    assert "date_from=2026-10-29T07%3A00%3A00Z" in response.headers["Link"]
    assert "offset=2" in response.headers["Link"]
    assert [row["id"] for row in answer["data"]] == ["LOC0", "LOC1"]
    response, answer = await operator.send("GET", f"{operator.base}/cpo/2.2.1/locations?offset=4", token)
    assert "Link" not in response.headers
    assert [row["id"] for row in answer["data"]] == ["LOC4"]
    response, answer = await operator.send("GET", f"{operator.base}/cpo/2.2.1/locations?offset=9", token)
    assert (answer["data"], response.headers["X-Total-Count"]) == ([], "5")
    _, answer = await operator.send(
        "GET", f"{operator.base}/cpo/2.2.1/locations?date_to=2026-10-29T07:00:00Z", token
    )
    assert answer["data"] == []
    for query in ("limit=-1", "offset=x", "date_from=soon"):
        _, answer = await operator.send("GET", f"{operator.base}/cpo/2.2.1/locations?{query}", token)
        assert answer["status_code"] == 2001


async def test_a_cpo_client_pushes_what_the_receiver_keeps(edge: Edge) -> None:
    token_c = await edge.register("NL-ABC")
    caller = PeerCaller(http=edge.services.outbound, token=token_c, allow_private=True)
    remote = await discover(caller, versions_url=f"{edge.base}/versions", version=OcpiVersion.V2_2_1)
    assert remote is not None
    client = CpoClient(caller=caller, remote=remote, role=CPO_ROLE)
    await client.put("locations", "LOC1", body=json.dumps(location()).encode())
    await client.put("tariffs", "T1", body=json.dumps(tariff()).encode())
    await client.patch(
        "locations", "LOC1", "E1", changes={"status": "CHARGING", "last_updated": "2026-10-29T09:00:00Z"}
    )
    found = await client.get("locations", "LOC1", "E1")
    assert found.data["status"] == "CHARGING"
    place = await client.post_cdr(json.dumps(cdr()).encode())
    assert place.endswith("/emsp/2.2.1/cdrs/NL/ABC/CDR1")
    await client.delete("tariffs", "T1")
    with pytest.raises(PeerRejectedError, match="tariff T1 is unknown"):
        await client.get("tariffs", "T1")


async def test_an_operator_registers_through_the_client_and_pushes(edge: Edge, operator: Edge) -> None:
    """The second instance as sender of the handshake: our versions endpoint answers its peer's call back."""
    token_a = await edge.invite("NL-ABC")
    token_b = "token-b-of-the-second-instance"
    await operator.party("CH-NWC")
    async with transaction(operator.pool) as connection:
        await peers.invite(
            connection,
            peer_id=new_id(),
            party_id="CH-NWC",
            parties=(),
            token_hash=peers.hash_token(token_b),
            now=NOW,
        )
    client = await register_as_cpo(
        PeerCaller(http=operator.services.outbound, token=token_a, allow_private=True),
        versions_url=f"{edge.base}/versions",
        version=OcpiVersion.V2_3_0,
        own_credentials=own_credentials(operator.services, version=OcpiVersion.V2_3_0, token=token_b),
        role=CPO_ROLE,
    )
    assert (await client.put("locations", "LOC1", body=json.dumps(location()).encode())).http_status == 201
    async with edge.pool.acquire() as connection:
        peer = await peers.find_peer_of_party(connection, party_id="NL-ABC")
        assert peer is not None
        assert (
            await peers.find_endpoint_url(connection, peer_id=peer.id, module="cdrs", role="SENDER")
            == f"{operator.base}/cpo/2.3.0/cdrs"
        )


class Station:
    """A CPO's receiver of commands, payments and advices."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Any]] = []
        self.answer: dict[str, Any] = {"result": "ACCEPTED", "timeout": 30}
        self.status = 200

    async def handle(self, request: web.Request) -> web.Response:
        self.received.append((request.path, json.loads(await request.read())))
        envelope = {"data": self.answer, "status_code": 1000, "timestamp": "2026-10-29T08:00:00Z"}
        return web.json_response(envelope, status=self.status)


@pytest.fixture
async def station() -> AsyncIterator[tuple[Station, str]]:
    station, application = Station(), web.Application()
    application.router.add_route("*", "/{tail:.*}", station.handle)
    server = TestServer(application)
    await server.start_server()
    yield station, f"http://127.0.0.1:{server.port}"
    await server.close()


async def registered_with(edge: Edge, base: str, *, version: str = "2.3.0") -> str:
    edge.cpo.endpoints = [
        {"identifier": name, "role": "RECEIVER", "url": f"{base}/{name}"} for name in ("commands", "payments")
    ]
    return await edge.register("NL-ABC", version=version)


def start_request() -> StartSessionRequest:
    return StartSessionRequest(
        cpo_id="NL-ABC", location_id="LOC1", evse_uid="E1", connector_id="1", authorization_id=new_id()
    )


@pytest.mark.parametrize("version", ["2.1.1", "2.2.1", "2.3.0"])
async def test_a_start_command_carries_the_reference_and_its_result_comes_back(
    edge: Edge, station: tuple[Station, str], version: str
) -> None:
    server, base = station
    token_c = await registered_with(edge, base, version=version)
    request = start_request()
    sent = await CommandSender(services=edge.services).start_session(request)
    assert (sent.state, sent.response) == ("accepted", "ACCEPTED")
    assert sent.deadline == NOW + timedelta(seconds=30)
    path, body = server.received[0]
    assert path == "/commands/START_SESSION"
    reference = format_id("auth", request.authorization_id)
    if version == "2.1.1":
        assert body["token"]["auth_id"] == reference
        assert "authorization_reference" not in body
    else:
        assert body["authorization_reference"] == reference
        assert body["connector_id"] == "1"
    for _ in range(2):
        answer, _ = await edge.call("POST", body["response_url"], token_c, {"result": "ACCEPTED"})
        assert answer["status_code"] == 1000
    done = await CommandSender(services=edge.services).load(sent.id)
    assert done is not None
    assert (done.state, done.result, done.finished_at) == ("succeeded", "ACCEPTED", NOW)


async def test_a_rejected_command_and_an_unanswered_one_are_distinguished(
    edge: Edge, station: tuple[Station, str]
) -> None:
    server, base = station
    await registered_with(edge, base)
    sender = CommandSender(services=edge.services)
    server.answer = {"result": "REJECTED", "timeout": 0}
    assert (await sender.start_session(start_request())).state == "rejected"
    await edge.pool.execute("UPDATE gateway.ocpi_peer_endpoint SET url = 'http://127.0.0.1:1/commands'")
    lost = await sender.stop_session(cpo_id="NL-ABC", session_ref="S1")
    assert lost.state == "unanswered"
    edge.clock.at += timedelta(minutes=6)
    await OcpiOutboxJob(services=edge.services).run_once()
    found = await sender.load(lost.id)
    assert found is not None
    assert found.state == "timed_out"


async def test_a_result_of_another_partys_command_is_not_found(
    edge: Edge, station: tuple[Station, str]
) -> None:
    _, base = station
    await registered_with(edge, base)
    sent = await CommandSender(services=edge.services).start_session(start_request())
    other = await edge.register("DE-XYZ")
    path = f"/emsp/2.2.1/commands/START_SESSION/{format_id('cmd', sent.id)}"
    for target in (path, "/emsp/2.2.1/commands/START_SESSION/nonsense"):
        assert (await edge.call("POST", target, other, {"result": "ACCEPTED"}))[1] == 404
    with pytest.raises(PeerRejectedError, match="no registered platform"):
        await CommandSender(services=edge.services).start_session(replace(start_request(), cpo_id="FR-NOP"))


async def test_a_terminal_is_activated_assigned_and_deactivated(
    edge: Edge, station: tuple[Station, str]
) -> None:
    server, base = station
    token_c = await registered_with(edge, base)
    where = "/ptp/2.3.0/payments/terminals"
    answer, _ = await edge.call("POST", f"{where}/activate", token_c, {"reference": "SN-1", "city": "Wien"})
    assert answer["status_code"] == 1000
    assert await OcpiOutboxJob(services=edge.services).run_once() == 1
    path, created = server.received[0]
    assert path == "/payments/terminals"
    terminal = f"{where}/{created['terminal_id']}"
    answer, _ = await edge.call(
        "PATCH",
        terminal,
        token_c,
        {"location_ids": ["LOC1"], "reference": "other", "last_updated": "2026-10-29T07:00:00Z"},
    )
    found, _ = await edge.call("GET", terminal, token_c)
    assert found["data"]["location_ids"] == ["LOC1"]
    assert found["data"]["reference"] == "SN-1"
    listed, _ = await edge.call("GET", where, token_c)
    assert [row["terminal_id"] for row in listed["data"]] == [created["terminal_id"]]
    other = await edge.register("DE-XYZ", version="2.3.0")
    assert (await edge.call("GET", terminal, other))[1] == 404
    assert (await edge.call("POST", f"{terminal}/deactivate", token_c, {}))[0]["status_code"] == 1000
    assert await edge.pool.fetchval("SELECT state FROM gateway.ocpi_terminal") == "deactivated"


async def captured(edge: Edge, *, amount: int, receivable: int = 0, state: str = "succeeded") -> None:
    """A capture in the rows that payments writes."""
    session, authorization, capture = new_id(shard=5), new_id(shard=5), new_id(shard=5)
    await edge.party("app", "demand_partner")
    async with transaction(edge.pool) as connection:
        await connection.execute(
            "INSERT INTO gateway.tariff_snapshot VALUES ($1, '2.2.1', 'x', 'EUR', $2) ON CONFLICT DO NOTHING",
            "0" * 64,
            NOW,
        )
        await connection.execute(
            "INSERT INTO gateway.session (shard, id, demand_partner_id, cpo_id, evse_id, location_id,"
            " tax_jurisdiction,"
            " time_zone, currency, tariff_sha256, state, cdr_id, cdr, price_minor, price_net_minor, ended_at,"
            " created_at, updated_at)"
            " VALUES (5, $1, 'app', 'NL-ABC', 'E1', 'LOC1', 'NL', 'Europe/Amsterdam', 'EUR',"
            " $2, 'completed', 'CDR1', 'x', 1210, 1000, $3, $3, $3)",
            session,
            "0" * 64,
            NOW,
        )
        await connection.execute(
            "INSERT INTO gateway.payment_authorization (shard, id, session_id, party_id,"
            " authorization_method, funding, state, hold_minor, currency, psp_payment, created_at,"
            " updated_at) VALUES"
            " (5, $1, $2, 'app', 'card', 'psp', 'captured', 2000, 'EUR', 'pi_1', $3, $3)",
            authorization,
            session,
            NOW,
        )
        await connection.execute(
            "INSERT INTO gateway.capture (shard, session_id, id, authorization_id, state, amount_minor,"
            " receivable_minor, currency, captured_at, created_at)"
            " VALUES (5, $1, $2, $3, $4, $5, $6, 'EUR', $7, $8)",
            session,
            capture,
            authorization,
            state,
            amount,
            receivable,
            NOW if state == "succeeded" else None,
            NOW,
        )


@pytest.mark.parametrize(
    ("capture", "status", "net", "tax"),
    [
        ({"amount": 1210}, "SUCCESS", 10, 2.1),
        ({"amount": 605, "receivable": 605}, "PARTIAL_SUCCESS", 5, 1.05),
        ({"amount": 1210, "state": "failed"}, "FAILED", 0, 0),
    ],
)
async def test_each_capture_is_reported_once_to_a_cpo_with_a_payments_module(
    edge: Edge, station: tuple[Station, str], capture: dict[str, Any], *, status: str, net: float, tax: float
) -> None:
    server, base = station
    token_c = await registered_with(edge, base)
    edge.clock.at = edge.clock.at.replace(
        year=2020
    )  # the ids of these rows are made now, later than any floor
    await captured(edge, **capture)
    job = FinancialAdviceJob(services=edge.services)
    assert await job.run_once() == 1
    assert await job.run_once() == 0
    assert await OcpiOutboxJob(services=edge.services).run_once() == 1
    assert await OcpiOutboxJob(services=edge.services).run_once() == 0
    assert len(server.received) == 1
    path, body = server.received[0]
    assert path == "/payments/financial-advice-confirmations"
    assert body["capture_status_code"] == status
    assert body["total_costs"] == {"before_taxes": net, "taxes": [{"name": "VAT", "amount": tax}]}
    assert parse_id("auth", body["authorization_reference"])
    url = f"/ptp/2.3.0/payments/financial-advice-confirmations/{body['id']}"
    assert (await edge.call("GET", url, token_c))[0]["data"] == body


async def test_a_message_that_is_not_accepted_is_retried_in_order_then_an_exception_then_sent_again(
    edge: Edge, station: tuple[Station, str]
) -> None:
    server, base = station
    await registered_with(edge, base)
    async with transaction(edge.pool) as connection:
        for body in (b'{"n":1}', b'{"n":2}'):
            await payments.add_message(
                connection,
                party_id="NL-ABC",
                module="payments",
                method="POST",
                path="/x",
                object_id="o1",
                body=body,
                now=NOW,
                wall_now=NOW,
            )
    server.status = 500
    job = OcpiOutboxJob(services=edge.services)
    for _ in range(RETRY.max_attempts or 0):
        assert await job.run_once() == 1
        assert await job.run_once() == 0
        edge.clock.at += timedelta(days=2)
    assert {body["n"] for _, body in server.received} == {1}
    async with transaction(edge.pool) as connection:
        waiting = await payments.list_waiting_messages(connection, party_id="NL-ABC")
        assert waiting[0]["exception_at"] is not None
        assert "HTTP 500" in waiting[0]["last_error"]
        server.status = 200
        assert await payments.retry_messages(connection, wall_now=edge.clock.at) == 1
    server.received.clear()
    assert await job.run_once() == 1
    assert await job.run_once() == 1
    assert [body["n"] for _, body in server.received] == [1, 2]


async def test_an_invoice_record_is_compared_with_the_cdrs_we_have(edge: Edge) -> None:
    token = await edge.register("NL-ABC", version="2.3.0")
    for name in ("A", "B"):
        answer, _ = await edge.call("POST", "/emsp/2.3.0/cdrs", token, cdr(id=name))
        assert answer["status_code"] == 1000
    await edge.pool.execute(
        "UPDATE gateway.ocpi_cdr SET status = 'completed', session_id = $1 WHERE cdr_id = 'A'", new_id()
    )
    record = {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "R1",
        "invoice_id": "INV-1",
        "cdrs": ["A"],
        "last_updated": "2026-10-31T00:00:00Z",
    }
    where = "/emsp/2.3.0/invoicereconciliation"
    assert (await edge.call("POST", where, token, record))[1] == 201
    async with edge.pool.acquire() as connection:
        found = await reconcile(connection, party_id="NL-ABC", record_id="R1")
        assert found is not None
        assert found.agrees
    changed = {**record, "cdrs": ["a", "B", "Z"]}
    assert (await edge.call("PUT", f"{where}/NL/ABC/R1", token, changed))[1] == 200
    assert (await edge.call("POST", where, token, {**record, "id": "R2"}))[1] == 201
    async with edge.pool.acquire() as connection:
        found = await reconcile(connection, party_id="NL-ABC", record_id="r1")
    assert found is not None
    assert (found.completed, found.waiting, found.unknown, found.invoiced_twice) == (
        ["a"],
        ["b"],
        ["z"],
        ["a"],
    )
    assert not found.agrees
    assert (await edge.call("DELETE", f"{where}/NL/ABC/R1", token))[1] == 200
    assert (await edge.call("GET", f"{where}/NL/ABC/R1", token))[1] == 404


def test_ids_made_from_an_instant_on_are_above_its_first_id() -> None:
    made = new_id()
    assert (
        first_id_at(datetime.now(UTC) - timedelta(seconds=5))
        < made
        < first_id_at(datetime.now(UTC) + timedelta(seconds=5))
    )


async def pulled_once(edge: Edge, operator: Edge, monkeypatch: pytest.MonkeyPatch, *, count: int) -> Any:
    """Pull the operator's CDRs, whose list says that there are `count`, and return the pull's row."""
    peer = await connected(edge, operator)
    edge.clock.at = NOW + timedelta(hours=1)
    async with transaction(edge.pool) as connection:
        await connection.execute("DELETE FROM gateway.ocpi_pull WHERE module <> 'cdrs'")
        await pulls.run_now(connection, peer_id=peer.id, module="cdrs", wall_now=NOW)
    read_list = lists.read_list

    async def claiming(*arguments: Any, **named: Any) -> tuple[Any, int]:
        found, _ = await read_list(*arguments, **named)
        return found, count

    with monkeypatch.context() as patched:
        patched.setattr(lists, "read_list", claiming)
        await OcpiPullJob(services=edge.services).run_once()
    return await edge.pool.fetchrow("SELECT * FROM gateway.ocpi_pull")


async def test_a_short_list_is_kept_raised_and_read_again_from_where_it_began(
    edge: Edge, operator: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    await push_own_after_party(operator)
    row = await pulled_once(edge, operator, monkeypatch, count=7)
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_cdr") == 5, "what was read is kept"
    assert (row["since"], row["next_url"], row["list_short"], row["failures"]) == (None, None, True, 1)
    assert "7" in row["last_error"]
    async with edge.pool.acquire() as connection:
        causes = await exception_repository.list_causes(connection, wall_now=edge.clock.at)
    assert "failing_ocpi_pull" in {cause.kind.value for cause in causes}
    edge.clock.at += timedelta(hours=1)
    await pull_all(edge)
    row = await edge.pool.fetchrow("SELECT * FROM gateway.ocpi_pull")
    assert row is not None
    assert (row["list_short"], row["failures"], row["seen"]) == (False, 0, 5)
    assert row["since"] is not None


async def test_a_cdr_that_was_read_and_rejected_waits_for_a_person_until_it_is_taken(
    edge: Edge, operator: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    await push_own_after_party(operator)
    damage = (
        "UPDATE gateway.ocpi_cdr SET raw = convert_to(replace(convert_from(raw, 'UTF8'), $1, $2), 'UTF8')"
        " WHERE cdr_id = 'C1'"
    )
    await operator.pool.execute(damage, '"currency"', '"cur"')
    await pulled_once(edge, operator, monkeypatch, count=5)
    await edge.pool.execute("UPDATE gateway.ocpi_pull SET since = NULL, due_at = '2020-01-01Z'")
    await pull_all(edge)
    kept = await edge.pool.fetch("SELECT object_id, pulled, url FROM gateway.ocpi_rejected_push")
    assert [(row["object_id"], row["pulled"]) for row in kept] == [("C1", True)], "kept once"
    assert "/cdrs?" in kept[0]["url"]

    async def rejected() -> list[str]:
        async with edge.pool.acquire() as connection:
            causes = await exception_repository.list_causes(connection, wall_now=edge.clock.at)
        return [cause.subject_name for cause in causes if cause.kind.value == "rejected_cdr"]

    assert await rejected() == ["NL-ABC/C1"]
    await operator.pool.execute(damage, '"cur"', '"currency"')
    await edge.pool.execute("UPDATE gateway.ocpi_pull SET since = NULL, due_at = '2020-01-01Z'")
    await pull_all(edge)
    assert await rejected() == []
