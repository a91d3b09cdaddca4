"""Charging preferences: what a driver wants of a running session, sent to its CPO, and what the CPO answers.

Owns: from our session to the CPO's, and the CPO's answer. Must not know: the capture API, prices; a
preference changes no tariff, the driver pays what was frozen at the start.
Source: OCPI 2.2.1 and 2.3.0 mod_sessions, Sender Interface, PUT charging_preferences (ChargingPreferences,
ChargingPreferencesResponse); an EVSE takes them when it is CHARGING_PREFERENCES_CAPABLE; 2.1.1 has none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import msgspec

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.ocpi.credentials_client import caller_of
from gateway.ocpi.envelope import timestamp
from gateway.ocpi.errors import PeerRejectedError, PeerUnreachableError
from gateway.ocpi.hub_clients import why_not_reached
from gateway.ocpi.location_tree import find_part
from gateway.ocpi.remote import find_running_session
from gateway.ocpi.repository import objects, peers
from gateway.ocpi.request_bodies import read_object
from gateway.ocpi.services import OcpiServices
from gateway.payments.errors import InvalidPaymentRequestError, PaymentConflictError
from gateway.payments.records import SessionRecord
from gateway.payments.service import PaymentService

_CAPABLE: Final = "CHARGING_PREFERENCES_CAPABLE"
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


class ProfileType(StrEnum):
    """ProfileType of OCPI."""

    CHEAP = "CHEAP"
    FAST = "FAST"
    GREEN = "GREEN"
    REGULAR = "REGULAR"


class PreferencesAnswer(StrEnum):
    """ChargingPreferencesResponse of OCPI; `other`: the CPO's answer is none of these, `unanswered`: none."""

    ACCEPTED = "accepted"
    DEPARTURE_REQUIRED = "departure_required"
    ENERGY_NEED_REQUIRED = "energy_need_required"
    NOT_POSSIBLE = "not_possible"
    PROFILE_TYPE_NOT_SUPPORTED = "profile_type_not_supported"
    OTHER = "other"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargingPreferences:
    """What the driver wants: by when, how many watt-hours, and whether the vehicle may be discharged."""

    profile: ProfileType
    departure_at: datetime | None = None
    energy_need_wh: int | None = None
    discharge_allowed: bool = False


def preferences_object(wanted: ChargingPreferences) -> dict[str, Any]:
    """A ChargingPreferences object; energy in kWh, optional fields that are unset stay out."""
    shown: dict[str, Any] = {"profile_type": wanted.profile.value}
    if wanted.departure_at is not None:
        shown["departure_time"] = timestamp(wanted.departure_at)
    if wanted.energy_need_wh is not None:
        shown["energy_need"] = Decimal(wanted.energy_need_wh) / 1000
    if wanted.discharge_allowed:
        shown["discharge_allowed"] = True
    return shown


def read_answer(data: Any) -> PreferencesAnswer:
    """What a CPO's answer says; a text that is no ChargingPreferencesResponse is `other`, never accepted."""
    named = str(data).lower() if isinstance(data, str) else ""
    if named in {PreferencesAnswer.OTHER, PreferencesAnswer.UNANSWERED}:
        return PreferencesAnswer.OTHER
    return PreferencesAnswer(named) if named in set(PreferencesAnswer) else PreferencesAnswer.OTHER


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargingPreferencesService:
    """Sends preferences of running sessions. Holds no transaction while a peer is called."""

    services: OcpiServices
    payments: PaymentService

    async def send(
        self, wanted: ChargingPreferences, *, party_id: str, session_id: UUID, admin: bool = False
    ) -> PreferencesAnswer:
        """Send what the driver wants of a session to its CPO; the same again does no harm.

        Raises:
            NotFoundError: the caller has no such session.
            InvalidPaymentRequestError: the departure has passed.
            PaymentConflictError: the session isn't running, its EVSE takes no preferences, the CPO refuses.
        """
        if wanted.departure_at is not None and wanted.departure_at <= self.services.clock.now():
            raise InvalidPaymentRequestError("/departure_at: expected a time that has not passed")
        view = await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        session = view.session
        running = await find_running_session(self.services, view)
        if running is None:
            raise PaymentConflictError("the CPO has not reported a running session yet")
        if not await self._is_capable(session):
            raise PaymentConflictError("this charge point takes no charging preferences")
        async with self.services.pool.acquire() as connection:
            peer = await peers.find_peer_of_party(connection, party_id=session.cpo_id)
            url = unreached = None
            if peer is not None:
                unreached = await why_not_reached(connection, peer, party_id=session.cpo_id)
            if peer is not None and peer.version is not OcpiVersion.V2_1_1:
                url = await peers.find_endpoint_url(
                    connection, peer_id=peer.id, module="sessions", role="SENDER"
                )
        if peer is None or url is None or peer.outbound is None:
            raise PaymentConflictError(
                f"no registered platform of {session.cpo_id} accepts charging preferences"
            )
        if unreached is not None:
            raise PaymentConflictError(unreached)
        caller = caller_of(self.services, peer, party_id=session.cpo_id)
        target = f"{url.rstrip('/')}/{quote(running, safe='')}/charging_preferences"
        body = _encoder.encode(preferences_object(wanted))
        try:
            answer = await caller.call("PUT", target, body=body, routed=True)
        except PeerUnreachableError:
            return PreferencesAnswer.UNANSWERED
        except PeerRejectedError as error:
            raise PaymentConflictError(f"the CPO refused the charging preferences: {error}") from error
        return read_answer(answer.data)

    async def _is_capable(self, session: SessionRecord) -> bool:
        """Whether the session's EVSE is published as one that takes preferences."""
        if session.evse_uid is None or session.location_id is None:
            return False
        async with self.services.pool.acquire() as connection:
            stored = await objects.load_location(
                connection, party_id=session.cpo_id, location_id=session.location_id
            )
        tree: Mapping[str, Any] = {} if stored is None else read_object(stored.body, name="location").tree
        evse = find_part(dict(tree), [session.evse_uid])
        capabilities = None if evse is None else evse.get("capabilities")
        return isinstance(capabilities, list) and _CAPABLE in capabilities
