"""Charging preferences by the capture API's names, as the CPO's platform hears them."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.database import Pool
from gateway.ids import format_id
from gateway.ocpi.charging_preferences import (
    ChargingPreferences,
    ChargingPreferencesService,
    PreferencesAnswer,
    ProfileType,
    read_answer,
)
from gateway.payments.errors import InvalidPaymentRequestError, NotFoundError, PaymentConflictError
from gateway.payments.views import AuthorizationView
from tests.fakes.ocpi_edge import NOW, start_edge, stop_edge
from tests.fakes.ocpi_objects import location, tariff
from tests.integration.test_ocpi_remote import Platform

FAST = ChargingPreferences(profile=ProfileType.FAST)


class SessionsPlatform(Platform):
    """The CPO's sender of sessions, which takes preferences."""

    answer: Any = "ACCEPTED"
    status = 200
    code = 1000

    async def handle(self, request: web.Request) -> web.Response:
        self.received.append((f"{request.method} {request.path}", json.loads(await request.read())))
        envelope = {"data": self.answer, "status_code": self.code, "timestamp": "2026-10-29T08:00:00Z"}
        return web.json_response(envelope, status=self.status)

    async def send(self, wanted: ChargingPreferences, view: AuthorizationView, party: str = "app") -> Any:
        service = ChargingPreferencesService(services=self.edge.services, payments=self.payments)
        return await service.send(wanted, party_id=party, session_id=view.session.id)

    async def running(self) -> AuthorizationView:
        """An authorized session that the CPO has reported as S/9."""
        view = await self.authorize()
        await self.edge.pool.execute(
            "INSERT INTO gateway.ocpi_session (party_id, session_key, session_ref, version, body, status, "
            "currency, energy_wh, authorization_reference, last_updated, received_at, updated_at) "
            "VALUES ('NL-ABC', 's/9', 'S/9', '2.2.1', '{}', 'ACTIVE', 'EUR', 0, $1, now(), now(), now())",
            format_id("auth", view.authorization.id),
        )
        return view


@pytest.fixture
async def platform(pool: Pool) -> AsyncIterator[SessionsPlatform]:
    edge = await start_edge(pool)
    there = SessionsPlatform(edge)
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", there.handle)
    server = TestServer(application)
    await server.start_server()
    url = f"http://127.0.0.1:{server.port}/sessions/"
    edge.cpo.endpoints = [{"identifier": "sessions", "role": "SENDER", "url": url}]
    await edge.party("app", "demand_partner")
    token = await edge.register("NL-ABC")
    place = location()
    place["evses"][0]["capabilities"] = ["RFID_READER", "CHARGING_PREFERENCES_CAPABLE"]
    await edge.call("PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", token, place)
    await edge.call("PUT", "/emsp/2.2.1/tariffs/NL/ABC/T1", token, tariff())
    there.token = token
    yield there
    await server.close()
    await stop_edge(edge)


async def test_preferences_reach_the_operators_session_in_its_units(platform: SessionsPlatform) -> None:
    view = await platform.running()
    wanted = ChargingPreferences(
        profile=ProfileType.GREEN,
        departure_at=NOW + timedelta(hours=8),
        energy_need_wh=15_500,
        discharge_allowed=True,
    )
    assert await platform.send(wanted, view) is PreferencesAnswer.ACCEPTED
    assert platform.received == [
        (
            "PUT /sessions/S/9/charging_preferences",
            {
                "profile_type": "GREEN",
                "departure_time": "2026-10-29T16:00:00.000Z",
                "energy_need": 15.5,
                "discharge_allowed": True,
            },
        )
    ]


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        ("DEPARTURE_REQUIRED", "departure_required"),
        ("ENERGY_NEED_REQUIRED", "energy_need_required"),
        ("NOT_POSSIBLE", "not_possible"),
        ("PROFILE_TYPE_NOT_SUPPORTED", "profile_type_not_supported"),
        ("UNANSWERED", "other"),
        ("YES", "other"),
        (None, "other"),
        ([{"profile_type": "FAST"}], "other"),
        (["ACCEPTED"], "other"),
    ],
)
def test_only_what_the_specification_has_is_an_answer(data: Any, answer: str) -> None:
    assert read_answer(data) == answer


async def test_a_refusal_is_a_conflict_with_its_reason(platform: SessionsPlatform) -> None:
    view = await platform.running()
    platform.status, platform.code = 404, 2001
    with pytest.raises(PaymentConflictError, match=r"refused.*HTTP 404, OCPI status 2001"):
        await platform.send(FAST, view)


async def test_an_operator_that_does_not_answer_is_not_taken_for_one_that_agrees(
    platform: SessionsPlatform,
) -> None:
    view = await platform.running()
    await platform.edge.pool.execute(
        "UPDATE gateway.ocpi_peer_endpoint SET url = 'http://127.0.0.1:1/sessions'"
    )
    assert await platform.send(FAST, view) is PreferencesAnswer.UNANSWERED


async def test_preferences_need_a_running_session_of_the_caller_and_a_charge_point_that_takes_them(
    platform: SessionsPlatform,
) -> None:
    view = await platform.authorize()
    with pytest.raises(PaymentConflictError, match="not reported"):
        await platform.send(FAST, view)
    view = await platform.running()
    with pytest.raises(NotFoundError):
        await platform.send(FAST, view, party="other")
    late = ChargingPreferences(profile=ProfileType.FAST, departure_at=NOW)
    with pytest.raises(InvalidPaymentRequestError, match="/departure_at"):
        await platform.send(late, view)
    await platform.edge.call("PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", platform.token, location())
    with pytest.raises(PaymentConflictError, match="takes no charging preferences"):
        await platform.send(FAST, view)
    assert platform.received == []


async def test_2_1_1_has_no_preferences(platform: SessionsPlatform) -> None:
    view = await platform.running()
    await platform.edge.pool.execute("UPDATE gateway.ocpi_peer SET version = '2.1.1'")
    with pytest.raises(PaymentConflictError, match="no registered platform of NL-ABC accepts"):
        await platform.send(FAST, view)
