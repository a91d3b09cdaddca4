"""Bookings for the driver's partner: requested, changed and cancelled at the operator, for a paid session.

Owns: the intent committed first, the request, its answer. Must not know: the capture API's wire form.
Source: OCPI 2.3.0 bookings, Sender Interface, POST (BookingRequest: the same request_id for every change).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import transaction
from gateway.ids import format_id
from gateway.ocpi.booking_records import record_answer, record_booking, shown
from gateway.ocpi.booking_rules import (
    ENDED,
    BookingRequestStatus,
    ReservationStatus,
    Timeslot,
    why_not_bookable,
    why_too_late,
)
from gateway.ocpi.client import PeerCaller
from gateway.ocpi.credentials_client import caller_of
from gateway.ocpi.envelope import timestamp
from gateway.ocpi.errors import OcpiRejectionError, PeerRejectedError, PeerUnreachableError
from gateway.ocpi.hub_clients import why_not_reached
from gateway.ocpi.repository import bookings, peers
from gateway.ocpi.repository.bookings import BookingAnswer, BookingLocationRecord, BookingRecord
from gateway.ocpi.request_bodies import Tree, read_object
from gateway.ocpi.services import PLATFORM_ROLE, OcpiServices
from gateway.ocpi.versions import BOOKINGS
from gateway.payments.errors import InvalidPaymentRequestError, NotFoundError, PaymentConflictError
from gateway.payments.service import PaymentService
from gateway.payments.state_machine import PaymentState
from gateway.payments.views import SessionView
from gateway.schemas.bookings import BookingSchema

_encoder: Final = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingCaller:
    """Who asks: its party, and whether it may touch every party's sessions."""

    party_id: str
    admin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BookingService:
    """Requests bookings. Holds no transaction while a peer is called."""

    services: OcpiServices
    payments: PaymentService

    async def book(
        self, caller: BookingCaller, *, session_id: UUID, booking_location_id: str, period: Timeslot
    ) -> BookingSchema:
        """Request a booking for a session whose payment is secured; again with another period changes it.

        Raises:
            NotFoundError: there is no such session of the caller.
            InvalidPaymentRequestError: the place or the period is not offered.
            PaymentConflictError: nothing is secured, the booking has ended or can't be changed any more, or
                the operator takes no bookings.
        """
        view = await self._view(caller, session_id)
        authorization = view.authorization
        if authorization is None or authorization.state is not PaymentState.AUTHORIZED:
            raise PaymentConflictError("the session's payment is not secured; authorize it first")
        place, known = await self._known(view, booking_location_id)
        if place is None or place.location_key != (view.session.location_id or "").lower():
            raise InvalidPaymentRequestError(
                "/booking_location: the operator takes no bookings under this id at the session's location"
            )
        tree, now = read_object(place.body, name="booking location").tree, self.services.clock.now()
        reason = why_not_bookable(tree, period, now=now)
        if reason is not None:
            raise InvalidPaymentRequestError(reason)
        if known is not None:
            self._check_open(known, tree, now=now, cancels=False)
        body = _request(view, place, tree, period, reference=format_id("auth", authorization.id))
        return await self._send(view, place.booking_location_id, period, body)

    async def cancel(self, caller: BookingCaller, *, session_id: UUID, reason: str) -> BookingSchema:
        """Request the end of a booking, with a CanceledReason of OCPI. Raises as `book`."""
        view = await self._view(caller, session_id)
        place, known = await self._known(view, None)
        if known is None:
            raise NotFoundError(f"session {format_id('ses', session_id)} has no booking")
        tree: Tree = {} if place is None else read_object(place.body, name="booking location").tree
        self._check_open(known, tree, now=self.services.clock.now(), cancels=True)
        period = Timeslot(begins_at=known.begins_at, ends_at=known.ends_at)
        reference = "" if view.authorization is None else format_id("auth", view.authorization.id)
        body = _request(view, place, tree, period, reference=reference)
        body["booking_location_id"] = known.booking_location_id
        body["canceled"] = {"cancellation_reason": reason, "who_canceled": "EMSP"}
        return await self._send(view, known.booking_location_id, period, body)

    async def load(self, caller: BookingCaller, *, session_id: UUID) -> BookingSchema:
        """The booking of a session. Raises NotFoundError."""
        view = await self._view(caller, session_id)
        _, known = await self._known(view, None)
        if known is None:
            raise NotFoundError(f"session {format_id('ses', session_id)} has no booking")
        return shown(known)

    async def list_places(
        self, *, cpo_id: str | None, location_id: str | None, after: tuple[str, str], limit: int
    ) -> Sequence[BookingLocationRecord]:
        """Where operators take bookings, behind `after` (operator, id)."""
        async with self.services.pool.acquire() as connection:
            return await bookings.list_booking_locations(
                connection, party_id=cpo_id, location_id=location_id, after=after, limit=limit
            )

    async def _view(self, caller: BookingCaller, session_id: UUID) -> SessionView:
        return await self.payments.get_session(
            party_id=caller.party_id, session_id=session_id, admin=caller.admin
        )

    async def _known(
        self, view: SessionView, booking_location_id: str | None
    ) -> tuple[BookingLocationRecord | None, BookingRecord | None]:
        """The place, named or the booking's own, and the booking of the session, if there is one."""
        async with self.services.pool.acquire() as connection:
            known = await bookings.load_booking(connection, session_id=view.session.id)
            named = booking_location_id or (known.booking_location_id if known else None)
            place = None
            if named is not None:
                place = await bookings.load_booking_location(
                    connection, party_id=view.session.cpo_id, booking_location_id=named
                )
        return place, known

    def _check_open(self, known: BookingRecord, place: Tree, *, now: datetime, cancels: bool) -> None:
        if ReservationStatus(known.status) in ENDED:
            raise PaymentConflictError(f"the booking has ended: {known.status.lower()}")
        late = why_too_late(place, begins_at=known.begins_at, now=now, cancels=cancels)
        if late is not None:
            raise PaymentConflictError(late)

    async def _send(
        self, view: SessionView, booking_location_id: str, period: Timeslot, body: dict[str, Any]
    ) -> BookingSchema:
        """Record the intent, send the request, record what the operator answers."""
        session, services = view.session, self.services
        caller, url = await self._peer(session.cpo_id)
        now = services.clock.now()
        wanted = BookingRecord(
            session_id=session.id,
            cpo_id=session.cpo_id,
            demand_partner_id=session.demand_partner_id,
            request_key=format_id("ses", session.id),
            booking_location_id=booking_location_id,
            begins_at=period.begins_at,
            ends_at=period.ends_at,
            status=ReservationStatus.PENDING.value,
            request_status=BookingRequestStatus.PENDING.value,
            reason=None,
            body=None,
            last_updated=None,
            created_at=now,
        )
        async with transaction(services.pool) as connection:
            await bookings.request_booking(connection, wanted, now=now)
        try:
            answer = await caller.call("POST", url, body=_encoder.encode(body), routed=True)
        except PeerUnreachableError as error:
            return await self._failed(session.id, BookingRequestStatus.UNANSWERED, str(error))
        except PeerRejectedError as error:
            return await self._failed(session.id, BookingRequestStatus.DECLINED, str(error))
        return await self._answered(session.id, answer.data)

    async def _answered(self, session_id: UUID, data: Any) -> BookingSchema:
        """Record the Booking that the operator answered with; what is none leaves the request unanswered."""
        now = self.services.clock.now()
        try:
            async with transaction(self.services.pool) as connection:
                known = await bookings.load_booking(connection, session_id=session_id)
                if known is None:
                    raise NotFoundError("the booking vanished")
                tree: Tree = data if isinstance(data, dict) else {}
                return shown(await record_booking(connection, known, tree, changed_at=now, now=now))
        except OcpiRejectionError as error:
            reason = f"the operator's answer is no booking: {error}"
            return await self._failed(session_id, BookingRequestStatus.UNANSWERED, reason)

    async def _failed(self, session_id: UUID, status: BookingRequestStatus, reason: str) -> BookingSchema:
        """Record that a request failed; a booking that was never reserved has failed with it, if declined."""
        async with transaction(self.services.pool) as connection:
            known = await bookings.load_booking(connection, session_id=session_id)
            if known is None:
                raise NotFoundError("the booking vanished")
            first = known.body is None and status is BookingRequestStatus.DECLINED
            answer = BookingAnswer(
                status=ReservationStatus.FAILED.value if first else known.status,
                request_status=status.value,
                reason=reason,
            )
            changed = await record_answer(connection, known, answer, now=self.services.clock.now())
        return shown(changed)

    async def _peer(self, cpo_id: str) -> tuple[PeerCaller, str]:
        """The operator's platform and its bookings address. Raises PaymentConflictError."""
        async with self.services.pool.acquire() as connection:
            peer = await peers.find_peer_of_party(connection, party_id=cpo_id)
            url = unreached = None
            if peer is not None and peer.version is OcpiVersion.V2_3_0:
                unreached = await why_not_reached(connection, peer, party_id=cpo_id)
                for module in BOOKINGS:
                    url = url or await peers.find_endpoint_url(
                        connection, peer_id=peer.id, module=module, role="SENDER"
                    )
        if peer is None or url is None or peer.outbound is None:
            raise PaymentConflictError(f"no registered platform of {cpo_id} takes bookings")
        if unreached is not None:
            raise PaymentConflictError(unreached)
        return caller_of(self.services, peer, party_id=cpo_id), url


def _token(reference: str) -> dict[str, Any]:
    """The token of this session alone, which also starts it (START_SESSION)."""
    return {
        "country_code": PLATFORM_ROLE.country_code,
        "party_id": PLATFORM_ROLE.party_code,
        "uid": reference,
        "type": "AD_HOC_USER",
        "contract_id": reference,
    }


def _request(
    view: SessionView,
    place: BookingLocationRecord | None,
    tree: Tree,
    period: Timeslot,
    *,
    reference: str,
) -> dict[str, Any]:
    """A BookingRequest. The authorization reference comes back in the session and the CDR."""
    session = view.session
    own = session.evse_uid
    option = tree.get("booking_option")
    evse_uid = option.get("evse_uid") if isinstance(option, dict) else None
    body: dict[str, Any] = {
        "country_code": PLATFORM_ROLE.country_code,
        "party_id": PLATFORM_ROLE.party_code,
        "request_id": format_id("ses", session.id),
        "location_id": tree.get("location_id", session.location_id),
        "booking_location_id": None if place is None else place.booking_location_id,
        "tokens": [_token(reference)] if reference else [],
        "period": {
            "start_date_time": timestamp(period.begins_at),
            "end_date_time": timestamp(period.ends_at),
        },
        "authorization_reference": reference,
    }
    chosen = evse_uid or own
    return body if chosen is None else body | {"booking_option": {"evse_uid": chosen}}
