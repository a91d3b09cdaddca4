"""Remote start and stop by the capture API's names, as the CPO's platform hears them."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.database import Pool
from gateway.ids import format_id, new_id
from gateway.ocpi.remote import RemoteControlService
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.payments.errors import InvalidPaymentRequestError, NotFoundError, PaymentConflictError
from gateway.payments.policy import PaymentPolicy
from gateway.payments.requests import AuthorizationRequest, PspMethod
from gateway.payments.service import build_payments
from gateway.payments.views import AuthorizationView
from tests.fakes.ocpi_edge import Edge, start_edge, stop_edge
from tests.fakes.ocpi_objects import location, tariff
from tests.fakes.psp import FakePsp


class Platform:
    """The CPO's receiver of commands, an edge with one charge point, and remote control over both."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.received: list[tuple[str, Any]] = []
        self.payments = build_payments(
            pool=edge.pool,
            psp=FakePsp(),
            tariffs=OcpiTariffSource(),
            clock=edge.clock,
            policy=PaymentPolicy(),
        )
        self.remote = RemoteControlService(services=edge.services, payments=self.payments)

    async def handle(self, request: web.Request) -> web.Response:
        self.received.append((request.path, json.loads(await request.read())))
        answer = {"result": "ACCEPTED", "timeout": 30}
        return web.json_response({"data": answer, "status_code": 1000, "timestamp": "2026-10-29T08:00:00Z"})

    async def authorize(self, method: str = "pm_good") -> AuthorizationView:
        return await self.payments.authorize(
            AuthorizationRequest(
                authorization_id=new_id(),
                party_id="app",
                evse_id="NL*ABC*E0001",
                method="card",
                payment=PspMethod(payment_method=method),
            )
        )


@pytest.fixture
async def platform(pool: Pool) -> AsyncIterator[Platform]:
    edge = await start_edge(pool)
    there = Platform(edge)
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", there.handle)
    server = TestServer(application)
    await server.start_server()
    url = f"http://127.0.0.1:{server.port}/commands"
    edge.cpo.endpoints = [{"identifier": "commands", "role": "RECEIVER", "url": url}]
    await edge.party("app", "demand_partner")
    token = await edge.register("NL-ABC")
    await edge.call("PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", token, location())
    await edge.call("PUT", "/emsp/2.2.1/tariffs/NL/ABC/T1", token, tariff())
    yield there
    await server.close()
    await stop_edge(edge)


async def test_a_start_names_the_operators_place_and_carries_our_reference(platform: Platform) -> None:
    view = await platform.authorize()
    command = await platform.remote.start(party_id="app", session_id=view.session.id)
    assert (command.command, command.state, command.response) == ("START_SESSION", "accepted", "ACCEPTED")
    path, body = platform.received[0]
    assert path == "/commands/START_SESSION"
    assert (body["location_id"], body["evse_uid"]) == ("LOC1", "E1")
    assert body["authorization_reference"] == format_id("auth", view.authorization.id)


async def test_nothing_is_started_that_nobody_pays_for(platform: Platform) -> None:
    view = await platform.authorize("pm_declined")
    with pytest.raises(PaymentConflictError, match="authorize it first"):
        await platform.remote.start(party_id="app", session_id=view.session.id)
    assert platform.received == []


async def test_a_stop_names_the_session_as_its_operator_does(platform: Platform) -> None:
    view = await platform.authorize()
    with pytest.raises(PaymentConflictError, match="not reported"):
        await platform.remote.stop(party_id="app", session_id=view.session.id)
    await platform.edge.pool.execute(
        "INSERT INTO gateway.ocpi_session (party_id, session_key, session_ref, version, body, status, "
        "currency, energy_wh, authorization_reference, last_updated, received_at, updated_at) "
        "VALUES ('NL-ABC', 's9', 'S9', '2.2.1', '{}', 'ACTIVE', 'EUR', 0, $1, now(), now(), now())",
        format_id("auth", view.authorization.id),
    )
    command = await platform.remote.stop(party_id="app", session_id=view.session.id)
    assert command.command == "STOP_SESSION"
    assert platform.received[-1][1]["session_id"] == "S9"


async def test_a_reservation_names_the_session_its_end_and_its_payment(platform: Platform) -> None:
    view = await platform.authorize()
    end = platform.edge.clock.at + timedelta(minutes=30)
    command = await platform.remote.reserve(party_id="app", session_id=view.session.id, expires_at=end)
    assert (command.command, command.state) == ("RESERVE_NOW", "accepted")
    path, body = platform.received[0]
    assert path == "/commands/RESERVE_NOW"
    assert body["reservation_id"] == format_id("ses", view.session.id)
    assert body["expiry_date"] == end.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert (body["location_id"], body["evse_uid"]) == ("LOC1", "E1")
    assert body["authorization_reference"] == format_id("auth", view.authorization.id)
    cancelled = await platform.remote.cancel_reservation(party_id="app", session_id=view.session.id)
    assert cancelled.command == "CANCEL_RESERVATION"
    response_url = platform.received[1][1].pop("response_url")
    assert response_url.endswith(f"/commands/CANCEL_RESERVATION/{cancelled.id}")
    assert platform.received[1][1] == {"reservation_id": format_id("ses", view.session.id)}


@pytest.mark.parametrize("minutes", [-1, 0, 24 * 60 + 1])
async def test_a_reservation_ends_within_a_day(platform: Platform, minutes: int) -> None:
    view = await platform.authorize()
    end = platform.edge.clock.at + timedelta(minutes=minutes)
    with pytest.raises(InvalidPaymentRequestError, match="expires_at"):
        await platform.remote.reserve(party_id="app", session_id=view.session.id, expires_at=end)
    assert platform.received == []


async def test_nothing_is_reserved_that_nobody_pays_for(platform: Platform) -> None:
    view = await platform.authorize("pm_declined")
    end = platform.edge.clock.at + timedelta(minutes=30)
    with pytest.raises(PaymentConflictError, match="authorize it first"):
        await platform.remote.reserve(party_id="app", session_id=view.session.id, expires_at=end)


async def test_in_2_1_1_a_reservation_has_a_number_and_ends_by_itself(platform: Platform) -> None:
    view = await platform.authorize()
    await platform.edge.pool.execute("UPDATE gateway.ocpi_peer SET version = '2.1.1'")
    end = platform.edge.clock.at + timedelta(minutes=30)
    await platform.remote.reserve(party_id="app", session_id=view.session.id, expires_at=end)
    body = platform.received[0][1]
    assert 0 <= body["reservation_id"] < 2**31
    assert "authorization_reference" not in body
    with pytest.raises(PaymentConflictError, match=r"2\.1\.1 cancels no reservation"):
        await platform.remote.cancel_reservation(party_id="app", session_id=view.session.id)


async def test_a_stuck_cable_is_unlocked_at_the_sessions_connector(platform: Platform) -> None:
    view = await platform.authorize()
    command = await platform.remote.unlock(party_id="app", session_id=view.session.id)
    assert command.command == "UNLOCK_CONNECTOR"
    body = platform.received[0][1]
    assert (body["location_id"], body["evse_uid"], body["connector_id"]) == ("LOC1", "E1", "1")


async def test_another_partys_session_is_not_found(platform: Platform) -> None:
    view = await platform.authorize()
    remote = platform.remote
    for act in (remote.start, remote.stop, remote.cancel_reservation, remote.unlock):
        with pytest.raises(NotFoundError):
            await act(party_id="parking", session_id=view.session.id)
