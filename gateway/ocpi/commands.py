"""The commands module as sender: start, stop, reserve and unlock at a CPO's station, and what came of it.

Owns: the intent committed first, the request, the answer, the callback. Must not know: why a session
starts.
Source: OCPI mod_commands (StartSession, StopSession, ReserveNow, CancelReservation, UnlockConnector,
CommandResponse, CommandResult). In 2.1.1 the callback carries a CommandResponse, a reservation's id is a
number, a reservation can't be cancelled, and a session finds its authorization by the token's auth_id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import transaction
from gateway.errors import MalformedIdError
from gateway.ids import format_id, new_id, parse_id
from gateway.ocpi.client import PeerAnswer
from gateway.ocpi.command_state import CommandEvent, CommandState, advance, states_before
from gateway.ocpi.credentials_client import caller_of
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse, timestamp
from gateway.ocpi.errors import OcpiRejectionError, PeerRejectedError, PeerUnreachableError, StatusCode
from gateway.ocpi.hub_clients import why_not_reached
from gateway.ocpi.repository import commands, peers
from gateway.ocpi.repository.commands import CommandRecord
from gateway.ocpi.repository.peers import PeerRecord
from gateway.ocpi.repository.tokens import TokenRecord
from gateway.ocpi.request_bodies import optional_text, text
from gateway.ocpi.services import OcpiServices
from gateway.ocpi.tokens import token_object
from gateway.ocpi.versions import module_url

_FIRST_DEADLINE: Final = timedelta(minutes=5)
_LONGEST_TIMEOUT_SECONDS: Final = 3600
_INT_MASK: Final = 2**31 - 1  # a positive number in 32 bits
_FINAL: Final = frozenset(
    {CommandState.REJECTED, CommandState.SUCCEEDED, CommandState.FAILED, CommandState.TIMED_OUT}
)
_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSessionRequest:
    """Start a session whose payment is secured.

    Ids as the CPO published them; `connector_id` needs `evse_uid`.
    """

    cpo_id: str
    location_id: str
    evse_uid: str | None
    connector_id: str | None
    authorization_id: UUID
    token: TokenRecord | None = None  # the driver's; None makes one for this session alone


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationRequest:
    """Keep the charge point of a session, whose payment is secured, free until `expires_at`."""

    place: StartSessionRequest
    session_id: UUID
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSender:
    """Sends commands to registered CPOs. Holds no transaction while a peer is called."""

    services: OcpiServices

    async def start_session(self, request: StartSessionRequest) -> CommandRecord:
        """Ask the CPO to start a session.

        The result is in the command returned, now or when it is read later.

        Raises PeerRejectedError when no registered platform speaks for the CPO or it accepts no commands.
        """
        reference = format_id("auth", request.authorization_id)
        peer, url = await self._peer(request.cpo_id)
        version = peer.version or OcpiVersion.V2_2_1
        token = request.token or self._session_token(reference)
        body: dict[str, Any] = {
            "token": token_object(token, version=version),
            "location_id": request.location_id,
        }
        if request.evse_uid is not None:
            body["evse_uid"] = request.evse_uid
        if version is not OcpiVersion.V2_1_1:
            body["authorization_reference"] = reference
            if request.connector_id is not None and request.evse_uid is not None:
                body["connector_id"] = request.connector_id
        return await self._send(request.cpo_id, peer, url, "START_SESSION", body, reference=reference)

    async def stop_session(self, *, cpo_id: str, session_ref: str) -> CommandRecord:
        """Ask the CPO to stop its session `session_ref` (Session.id). Raises as `start_session`."""
        peer, url = await self._peer(cpo_id)
        return await self._send(
            cpo_id, peer, url, "STOP_SESSION", {"session_id": session_ref}, reference=None
        )

    async def reserve(self, request: ReservationRequest) -> CommandRecord:
        """Ask the CPO to keep a charge point free until a time; again with another time moves the end.

        Raises as `start_session`.
        """
        place = request.place
        reference = format_id("auth", place.authorization_id)
        peer, url = await self._peer(place.cpo_id)
        version = peer.version or OcpiVersion.V2_2_1
        body: dict[str, Any] = {
            "token": token_object(place.token or self._session_token(reference), version=version),
            "expiry_date": timestamp(request.expires_at),
            "reservation_id": _reservation_id(request.session_id, version=version),
            "location_id": place.location_id,
        }
        if place.evse_uid is not None:
            body["evse_uid"] = place.evse_uid
        if version is not OcpiVersion.V2_1_1:
            body["authorization_reference"] = reference
        return await self._send(place.cpo_id, peer, url, "RESERVE_NOW", body, reference=reference)

    async def cancel_reservation(self, *, cpo_id: str, session_id: UUID) -> CommandRecord:
        """Ask the CPO to end the reservation of our session.

        Raises PeerRejectedError as `start_session`, and where the CPO's version has no such command.
        """
        peer, url = await self._peer(cpo_id)
        version = peer.version or OcpiVersion.V2_2_1
        if version is OcpiVersion.V2_1_1:
            raise PeerRejectedError(
                "OCPI 2.1.1 cancels no reservation; it ends at its expiry", http_status=0, code=None
            )
        body = {"reservation_id": _reservation_id(session_id, version=version)}
        return await self._send(cpo_id, peer, url, "CANCEL_RESERVATION", body, reference=None)

    async def unlock(
        self, *, cpo_id: str, location_id: str, evse_uid: str, connector_id: str
    ) -> CommandRecord:
        """Ask the CPO to unlock a connector, when a cable is stuck. Raises as `start_session`."""
        peer, url = await self._peer(cpo_id)
        body = {"location_id": location_id, "evse_uid": evse_uid, "connector_id": connector_id}
        return await self._send(cpo_id, peer, url, "UNLOCK_CONNECTOR", body, reference=None)

    async def load(self, command_id: UUID) -> CommandRecord | None:
        """A command in its present state."""
        async with self.services.pool.acquire() as connection:
            return await commands.load_command(connection, command_id=command_id)

    def _session_token(self, reference: str) -> TokenRecord:
        """A token for one session: its uid is our authorization reference.

        Every version's session and CDR carry it back to us.
        """
        own = self.services.roles[0]
        return TokenRecord(
            uid=reference,
            type="AD_HOC_USER",
            country_code=own.country_code,
            party_code=own.party_code,
            contract_id=reference,
            visual_number=None,
            issuer=own.name,
            group_id=None,
            valid=True,
            whitelist="NEVER",
            language=None,
            demand_partner_id="",
            payment={},
            last_updated=self.services.clock.now(),
        )

    async def _peer(self, cpo_id: str) -> tuple[PeerRecord, str]:
        async with self.services.pool.acquire() as connection:
            peer = await peers.find_peer_of_party(connection, party_id=cpo_id)
            url = unreached = None
            if peer is not None:
                unreached = await why_not_reached(connection, peer, party_id=cpo_id)
                for role in ("RECEIVER", "SENDER"):
                    url = url or await peers.find_endpoint_url(
                        connection, peer_id=peer.id, module="commands", role=role
                    )
        if peer is None or peer.outbound is None:
            raise PeerRejectedError(f"no registered platform speaks for {cpo_id}", http_status=0, code=None)
        if url is None:
            raise PeerRejectedError(f"the platform of {cpo_id} accepts no commands", http_status=0, code=None)
        if unreached is not None:
            raise PeerRejectedError(unreached, http_status=0, code=None)
        return peer, url

    async def _send(
        self,
        cpo_id: str,
        peer: PeerRecord,
        url: str,
        command: str,
        body: Mapping[str, Any],
        *,
        reference: str | None,
    ) -> CommandRecord:
        services, command_id = self.services, new_id()
        version = peer.version or OcpiVersion.V2_2_1
        wall_now = services.clock.wall_now()
        here = module_url(services, version=version, module="commands")
        callback = f"{here}/{command}/{format_id('cmd', command_id)}"
        async with transaction(services.pool) as connection:
            await commands.add_command(
                connection,
                command_id=command_id,
                cpo_id=cpo_id,
                command=command,
                authorization_reference=reference,
                wall_now=wall_now,
                deadline=wall_now + _FIRST_DEADLINE,
            )
        caller = caller_of(services, peer, party_id=cpo_id)
        try:
            answer = await caller.call(
                "POST",
                f"{url.rstrip('/')}/{command}",
                body=_encoder.encode({"response_url": callback, **body}),
                routed=True,
            )
            event, said, timeout = _read_response(answer)
            await self._move(command_id, event, response=said, timeout_seconds=timeout)
        except PeerUnreachableError as error:
            await self._move(command_id, CommandEvent.ANSWER_LOST, reason=str(error))
        except PeerRejectedError as error:
            await self._move(command_id, CommandEvent.REJECTED, reason=str(error))
        found = await self.load(command_id)
        if found is None:
            raise PeerRejectedError("the command vanished", http_status=0, code=None)
        return found

    async def _move(
        self,
        command_id: UUID,
        event: CommandEvent,
        *,
        response: str | None = None,
        reason: str | None = None,
        timeout_seconds: int | None = None,
    ) -> None:
        wall_now = self.services.clock.wall_now()
        state = advance(CommandState.REQUESTED, event)
        if state is None:
            return
        async with transaction(self.services.pool) as connection:
            await commands.move_command(
                connection,
                command_id=command_id,
                expected=[CommandState.REQUESTED.value],
                state=state.value,
                final=state in _FINAL,
                wall_now=wall_now,
                response=response,
                reason=None if reason is None else reason[:500],
                deadline=None if timeout_seconds is None else wall_now + timedelta(seconds=timeout_seconds),
            )


def _reservation_id(session_id: UUID, *, version: OcpiVersion) -> str | int:
    """The reservation of a session: the session's id, or the number that 2.1.1 asks for."""
    return session_id.int & _INT_MASK if version is OcpiVersion.V2_1_1 else format_id("ses", session_id)


def _read_response(answer: PeerAnswer) -> tuple[CommandEvent, str, int | None]:
    """What a CommandResponse says.

    Accepted or not, the response itself, the seconds to wait for the result.
    """
    data = answer.data if isinstance(answer.data, dict) else {}
    said = str(data.get("result", ""))[:40]
    stated = data.get("timeout")
    timeout = None
    if isinstance(stated, Decimal) and 1 <= stated <= _LONGEST_TIMEOUT_SECONDS:
        timeout = int(stated)
    return (CommandEvent.ACCEPTED if said == "ACCEPTED" else CommandEvent.REJECTED), said, timeout


async def receive_result(call: OcpiRequest) -> OcpiResponse:
    """POST at the response_url: what the charge point made of a command. Again and again changes nothing."""
    try:
        command_id = parse_id("cmd", call.request.match_info["command_id"])
    except MalformedIdError:
        raise _unknown() from None
    tree = call.body("command result").tree
    said = text(tree, "result", limit=40)
    event = CommandEvent.SUCCEEDED if said == "ACCEPTED" else CommandEvent.FAILED
    state = CommandState.SUCCEEDED if event is CommandEvent.SUCCEEDED else CommandState.FAILED
    async with transaction(call.services.pool) as connection:
        known = await commands.load_command(connection, command_id=command_id)
        if known is None or known.cpo_id not in call.peer.parties:
            raise _unknown()
        await commands.move_command(
            connection,
            command_id=command_id,
            expected=[before.value for before in states_before(event)],
            state=state.value,
            final=True,
            wall_now=call.services.clock.wall_now(),
            result=said,
            reason=_message(tree),
        )
    return OcpiResponse()


def _message(tree: Mapping[str, Any]) -> str | None:
    """The first of the messages that a result may carry."""
    messages = tree.get("message")
    first = messages[0] if isinstance(messages, list) and messages else messages
    return optional_text(first, "text", limit=512) if isinstance(first, dict) else None


def _unknown() -> OcpiRejectionError:
    return OcpiRejectionError("no such command of yours", code=StatusCode.INVALID_PARAMETERS, http_status=404)
