"""Bookings: pushed places, requests at the operator, and what it says of them; over real HTTP."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.database import Pool
from gateway.ids import format_id
from gateway.ocpi.booking_rules import Timeslot
from gateway.ocpi.booking_service import BookingCaller, BookingService
from gateway.payments.errors import InvalidPaymentRequestError, NotFoundError, PaymentConflictError
from gateway.payments.views import AuthorizationView
from tests.fakes.ocpi_edge import NOW, start_edge, stop_edge
from tests.fakes.ocpi_objects import AT, location, tariff
from tests.integration.test_ocpi_remote import Platform

APP = BookingCaller(party_id="app")
DAY = {"start_date_time": "2026-10-30T06:00:00Z", "end_date_time": "2026-10-30T18:00:00Z"}
PERIOD = Timeslot(begins_at=NOW + timedelta(hours=24), ends_at=NOW + timedelta(hours=25))


def booking_location(**changes: Any) -> dict[str, Any]:
    return {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "BL1",
        "location_id": "loc1",
        "booking_option": {"evse_uid": "E1"},
        "booking_terms": {"cancel_until_minutes": 60, "change_until_minutes": 120},
        "tariff_ids": ["T1"],
        "calendars": [{"id": "C1", "available_timeslots": [DAY], "last_updated": AT}],
        "last_updated": AT,
        **changes,
    }


class BookingPlatform(Platform):
    """The CPO's sender of bookings."""

    status = "PENDING"
    http_status = 200
    code = 1000
    answers_booking = True

    def booking(self, request: Any, **changes: Any) -> dict[str, Any]:
        return {
            "id": "B7",
            "country_code": "NL",
            "party_id": "ABC",
            "request_id": request["request_id"],
            "location_id": request["location_id"],
            "period": request["period"],
            "reservation_status": self.status,
            "authorization_reference": request["authorization_reference"],
            "booking_requests": [],
            "last_updated": "2026-10-29T08:00:00Z",
            **changes,
        }

    async def handle(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.received.append((f"{request.method} {request.path}", body))
        data = self.booking(body) if self.answers_booking else "ACCEPTED"
        envelope = {"data": data, "status_code": self.code, "timestamp": "2026-10-29T08:00:00Z"}
        return web.json_response(envelope, status=self.http_status)

    @property
    def service(self) -> BookingService:
        return BookingService(services=self.edge.services, payments=self.payments)

    async def book(self, view: AuthorizationView, period: Timeslot = PERIOD, place: str = "bl1") -> Any:
        return await self.service.book(
            APP, session_id=view.session.id, booking_location_id=place, period=period
        )

    async def push(self, method: str, path: str, body: Any) -> tuple[Any, int]:
        return await self.edge.call(method, f"/emsp/2.3.0/bookings/NL/ABC/{path}", self.token, body)

    async def events(self) -> list[tuple[str, str]]:
        rows = await self.edge.pool.fetch(
            "SELECT data FROM gateway.event WHERE type = 'booking.changed' AND party_id = 'app' ORDER BY id"
        )
        return [(row["data"]["status"], row["data"]["request_status"]) for row in rows]


@pytest.fixture
async def platform(pool: Pool) -> AsyncIterator[BookingPlatform]:
    edge = await start_edge(pool)
    there = BookingPlatform(edge)
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", there.handle)
    server = TestServer(application)
    await server.start_server()
    url = f"http://127.0.0.1:{server.port}/bookings"
    edge.cpo.endpoints = [{"identifier": "Booking", "role": "SENDER", "url": url}]
    await edge.party("app", "demand_partner")
    there.token = await edge.register("NL-ABC", version="2.3.0")
    await edge.call("PUT", "/emsp/2.3.0/locations/NL/ABC/LOC1", there.token, location())
    await edge.call("PUT", "/emsp/2.3.0/tariffs/NL/ABC/T1", there.token, tariff())
    assert (await there.push("PUT", "booking_locations/BL1", booking_location()))[1] == 201
    yield there
    await server.close()
    await stop_edge(edge)


async def test_a_booking_is_requested_with_its_payment_and_its_token(platform: BookingPlatform) -> None:
    view = await platform.authorize()
    booking = await platform.book(view)
    assert (booking.status, booking.request_status) == ("pending", "pending")
    reference = format_id("auth", view.authorization.id)
    ((path, body),) = platform.received
    assert path == "POST /bookings"
    assert body == {
        "country_code": "CH",
        "party_id": "NWC",
        "request_id": format_id("ses", view.session.id),
        "location_id": "loc1",
        "booking_location_id": "BL1",
        "booking_option": {"evse_uid": "E1"},
        "tokens": [
            {
                "country_code": "CH",
                "party_id": "NWC",
                "uid": reference,
                "type": "AD_HOC_USER",
                "contract_id": reference,
            }
        ],
        "period": {
            "start_date_time": "2026-10-30T08:00:00.000Z",
            "end_date_time": "2026-10-30T09:00:00.000Z",
        },
        "authorization_reference": reference,
    }


async def test_what_the_operator_says_later_is_kept_published_once_and_final(
    platform: BookingPlatform,
) -> None:
    view = await platform.authorize()
    await platform.book(view)
    request = platform.received[0][1]
    reserved = platform.booking(request, reservation_status="RESERVED", last_updated="2026-10-29T08:00:00Z")
    assert (await platform.push("PUT", request["request_id"], reserved))[1] == 200
    assert (await platform.push("PUT", request["request_id"], reserved))[1] == 200
    patch = {"reservation_status": "NO_SHOW", "last_updated": "2026-10-29T08:00:00Z"}
    assert (await platform.push("PATCH", "b7", patch))[1] == 200, "by the operator's own id too"
    answer, _ = await platform.push("PATCH", "B7", patch | {"reservation_status": "FULFILLED"})
    assert (answer["status_code"], "has ended as NO_SHOW" in answer["status_message"]) == (2001, True)
    assert await platform.events() == [("reserved", "accepted"), ("no_show", "accepted")]
    kept, _ = await platform.push("GET", "B7", None)
    assert (kept["data"]["reservation_status"], kept["data"]["location_id"]) == ("NO_SHOW", "loc1")
    shown = await platform.service.load(APP, session_id=view.session.id)
    assert shown.status == "no_show"
    with pytest.raises(PaymentConflictError, match="has ended: no_show"):
        await platform.book(view)


async def test_an_older_push_changes_nothing(platform: BookingPlatform) -> None:
    view = await platform.authorize()
    await platform.book(view)
    request = platform.received[0][1]
    late = platform.booking(request, reservation_status="CANCELED", last_updated="2026-10-29T07:00:00Z")
    assert (await platform.push("PUT", request["request_id"], late))[1] == 200
    assert (await platform.service.load(APP, session_id=view.session.id)).status == "pending"
    assert await platform.edge.pool.fetchval("SELECT stale_pushes FROM gateway.ocpi_peer") == 1


async def test_a_change_keeps_its_request_and_a_cancellation_says_why(platform: BookingPlatform) -> None:
    platform.status = "RESERVED"
    view = await platform.authorize()
    await platform.book(view)
    moved = Timeslot(
        begins_at=PERIOD.begins_at + timedelta(hours=1), ends_at=PERIOD.ends_at + timedelta(hours=1)
    )
    changed = await platform.book(view, moved)
    assert (changed.begins_at, changed.request_status) == (moved.begins_at, "accepted")
    platform.status = "CANCELED"
    ended = await platform.service.cancel(APP, session_id=view.session.id, reason="TRAFFIC")
    assert ended.status == "canceled"
    ids = {body["request_id"] for _, body in platform.received}
    assert len(ids) == 1
    assert platform.received[-1][1]["canceled"] == {"cancellation_reason": "TRAFFIC", "who_canceled": "EMSP"}
    assert await platform.edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_booking") == 1


async def test_terms_bound_changes_and_cancellations(platform: BookingPlatform) -> None:
    platform.status = "RESERVED"
    view = await platform.authorize()
    await platform.book(view)
    platform.edge.clock.at = PERIOD.begins_at - timedelta(minutes=90)
    moved = Timeslot(
        begins_at=PERIOD.begins_at + timedelta(hours=1), ends_at=PERIOD.ends_at + timedelta(hours=1)
    )
    with pytest.raises(PaymentConflictError, match="changes bookings until 120 minutes"):
        await platform.book(view, moved)
    platform.edge.clock.at = PERIOD.begins_at - timedelta(minutes=30)
    with pytest.raises(PaymentConflictError, match="cancels bookings until 60 minutes"):
        await platform.service.cancel(APP, session_id=view.session.id, reason="TRAFFIC")
    assert len(platform.received) == 1


async def test_a_refused_request_has_failed_and_a_refused_change_leaves_the_booking(
    platform: BookingPlatform,
) -> None:
    view = await platform.authorize()
    platform.http_status, platform.code = 404, 2001
    failed = await platform.book(view)
    assert (failed.status, failed.request_status) == ("failed", "declined")
    assert "HTTP 404" in (failed.reason or "")
    platform.http_status, platform.code, platform.status = 200, 1000, "RESERVED"
    other = await platform.authorize()
    await platform.book(other)
    platform.code = 2000
    kept = await platform.book(other)
    assert (kept.status, kept.request_status) == ("reserved", "declined")


@pytest.mark.parametrize("lost", [True, False])
async def test_an_answer_that_is_none_leaves_the_booking_open(
    platform: BookingPlatform,
    lost: bool,  # noqa: FBT001 - both kinds
) -> None:
    view = await platform.authorize()
    platform.answers_booking = False
    if lost:
        await platform.edge.pool.execute("UPDATE gateway.ocpi_peer_endpoint SET url = 'http://127.0.0.1:1/b'")
    booking = await platform.book(view)
    assert (booking.status, booking.request_status) == ("pending", "unanswered")
    request = {
        "request_id": format_id("ses", view.session.id),
        "location_id": "loc1",
        "period": {"start_date_time": "2026-10-30T08:00:00Z", "end_date_time": "2026-10-30T09:00:00Z"},
        "authorization_reference": "x",
    }
    platform.status = "RESERVED"
    assert (await platform.push("PUT", request["request_id"], platform.booking(request)))[1] == 200
    assert (await platform.service.load(APP, session_id=view.session.id)).status == "reserved"


async def test_what_is_not_paid_not_offered_or_not_the_callers_is_not_booked(
    platform: BookingPlatform,
) -> None:
    with pytest.raises(PaymentConflictError, match="authorize it first"):
        await platform.book(await platform.authorize("pm_declined"))
    view = await platform.authorize()
    with pytest.raises(InvalidPaymentRequestError, match="/booking_location"):
        await platform.book(view, place="other")
    night = Timeslot(begins_at=NOW + timedelta(hours=14), ends_at=NOW + timedelta(hours=15))
    with pytest.raises(InvalidPaymentRequestError, match="no time slot"):
        await platform.book(view, night)
    other = BookingCaller(party_id="other")
    with pytest.raises(NotFoundError):
        await platform.service.load(other, session_id=view.session.id)
    with pytest.raises(NotFoundError, match="has no booking"):
        await platform.service.cancel(APP, session_id=view.session.id, reason="TRAFFIC")
    await platform.edge.pool.execute("UPDATE gateway.ocpi_peer SET version = '2.2.1'")
    with pytest.raises(PaymentConflictError, match="takes bookings"):
        await platform.book(view)
    assert platform.received == []


async def test_a_place_and_its_calendars_are_changed_part_by_part(platform: BookingPlatform) -> None:
    later = "2026-10-29T07:30:00Z"
    calendar = {"id": "C2", "available_timeslots": [], "last_updated": later}
    assert (await platform.push("PUT", "booking_locations/BL1/C2", calendar))[1] == 201
    patch = {"timeslot_increment": 15, "last_updated": later}
    assert (await platform.push("PATCH", "booking_locations/bl1/c1", patch))[1] == 200
    old = {"timeslot_increment": 1, "last_updated": AT}
    assert (await platform.push("PATCH", "booking_locations/BL1/C1", old))[1] == 200
    assert (await platform.push("PATCH", "booking_locations/BL1/C9", patch))[1] == 404
    terms = {"booking_terms": {"cancel_until_minutes": 5}, "last_updated": "2026-10-29T07:40:00Z"}
    assert (await platform.push("PATCH", "booking_locations/BL1", terms))[1] == 200
    assert (await platform.push("PATCH", "booking_locations/BL1", {"location_id": "X", "last_updated": AT}))[
        1
    ] == 200
    answer, _ = await platform.push("GET", "booking_locations/BL1", None)
    kept = answer["data"]
    assert [one["id"] for one in kept["calendars"]] == ["C1", "C2"]
    assert (kept["calendars"][0]["timeslot_increment"], kept["location_id"]) == (15, "loc1")
    assert kept["booking_terms"] == {"cancel_until_minutes": 5}
    answer, _ = await platform.push("GET", "booking_locations/BL1/C2", None)
    assert answer["data"]["id"] == "C2"
    places = await platform.service.list_places(cpo_id="NL-ABC", location_id="LOC1", after=("", ""), limit=9)
    assert [one.booking_location_id for one in places] == ["BL1"]


async def test_what_is_no_booking_and_what_nobody_requested_is_refused(platform: BookingPlatform) -> None:
    view = await platform.authorize()
    await platform.book(view)
    request = platform.received[0][1]
    for changes, expected in (
        ({"reservation_status": None}, "$.reservation_status: missing"),
        ({"id": None}, "$.id: missing"),
        ({"party_id": "XYZ"}, "$.party_id: expected ABC"),
        ({"last_updated": None}, "$.last_updated: missing"),
    ):
        answer, _ = await platform.push("PUT", request["request_id"], platform.booking(request) | changes)
        assert answer["status_code"] == 2001
        assert expected in answer["status_message"]
    assert (await platform.push("PUT", "unknown", platform.booking(request)))[1] == 404
    for changes in ({"location_id": None}, {"country_code": "DE"}, {"id": "BL2"}):
        answer, _ = await platform.push("PUT", "booking_locations/BL1", booking_location() | changes)
        assert answer["status_code"] == 2001
