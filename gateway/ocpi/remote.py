"""Remote control of a session that the capture API knows, as commands to its CPO.

Owns: from our session to the CPO's names for it. Must not know: the capture API, how a command travels.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from gateway.ids import format_id
from gateway.ocpi.commands import CommandSender, ReservationRequest, StartSessionRequest
from gateway.ocpi.connectors import evse_key
from gateway.ocpi.errors import PeerRejectedError
from gateway.ocpi.repository import commands, objects
from gateway.ocpi.repository.commands import CommandRecord
from gateway.ocpi.repository.objects import Connector
from gateway.ocpi.services import OcpiServices
from gateway.payments.errors import InvalidPaymentRequestError, PaymentConflictError
from gateway.payments.service import PaymentService
from gateway.payments.state_machine import PaymentState
from gateway.payments.views import SessionView
from gateway.schemas import api_schemas

LONGEST_RESERVATION: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteControlService:
    """Commands for the driver's partner (OCPI mod_commands), on sessions as the capture API names them."""

    services: OcpiServices
    payments: PaymentService

    async def start(
        self, *, party_id: str, session_id: UUID, admin: bool = False
    ) -> api_schemas.CommandSchema:
        """Ask the CPO to start a session whose payment is secured.

        Raises NotFoundError, PaymentConflictError (nothing is secured, or the CPO accepts no commands).
        """
        view = await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        place = await self._secured_place(view)
        return await self._sent(self._sender.start_session(place), session_id)

    async def stop(
        self, *, party_id: str, session_id: UUID, admin: bool = False
    ) -> api_schemas.CommandSchema:
        """Ask the CPO to stop a session that it has reported. Raises NotFoundError, PaymentConflictError."""
        view = await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        running = await find_running_session(self.services, view)
        if running is None:
            raise PaymentConflictError("the CPO has not reported a running session yet")
        sending = self._sender.stop_session(cpo_id=view.session.cpo_id, session_ref=running)
        return await self._sent(sending, session_id)

    async def reserve(
        self, *, party_id: str, session_id: UUID, expires_at: datetime, admin: bool = False
    ) -> api_schemas.CommandSchema:
        """Ask the CPO to keep the charge point free until `expires_at`.

        Raises as `start`; InvalidPaymentRequestError where the time has passed or is too far ahead.
        """
        now = self.services.clock.now()
        if not now < expires_at <= now + LONGEST_RESERVATION:
            raise InvalidPaymentRequestError("/expires_at: expected a time within the next 24 hours")
        view = await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        place = await self._secured_place(view)
        request = ReservationRequest(place=place, session_id=session_id, expires_at=expires_at)
        return await self._sent(self._sender.reserve(request), session_id)

    async def cancel_reservation(
        self, *, party_id: str, session_id: UUID, admin: bool = False
    ) -> api_schemas.CommandSchema:
        """Ask the CPO to end the session's reservation. Raises as `start`."""
        view = await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        sending = self._sender.cancel_reservation(cpo_id=view.session.cpo_id, session_id=session_id)
        return await self._sent(sending, session_id)

    async def unlock(
        self, *, party_id: str, session_id: UUID, admin: bool = False
    ) -> api_schemas.CommandSchema:
        """Ask the CPO to unlock the connector of a session. Raises as `start`."""
        view = await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        place = await self._place(view)
        if place is None:
            raise PaymentConflictError("the CPO has published no connector of this charge point")
        sending = self._sender.unlock(
            cpo_id=view.session.cpo_id,
            location_id=place.location_id,
            evse_uid=place.evse_uid,
            connector_id=place.connector_id,
        )
        return await self._sent(sending, session_id)

    @property
    def _sender(self) -> CommandSender:
        return CommandSender(services=self.services)

    async def _sent(self, sending: Awaitable[CommandRecord], session_id: UUID) -> api_schemas.CommandSchema:
        try:
            return _shown(await sending, session_id)
        except PeerRejectedError as error:
            raise PaymentConflictError(f"the command was not sent to the CPO: {error}") from error

    async def _place(self, view: SessionView) -> Connector | None:
        session = view.session
        async with self.services.pool.acquire() as connection:
            found = await objects.find_connectors(
                connection,
                evse_key=evse_key(session.evse_id),
                evse_uid=session.evse_id,
                party_id=session.cpo_id,
            )
        return found[0] if found else None

    async def _secured_place(self, view: SessionView) -> StartSessionRequest:
        """Where the session is, when its payment is secured. Raises PaymentConflictError where it is not."""
        authorization = view.authorization
        if authorization is None or authorization.state is not PaymentState.AUTHORIZED:
            raise PaymentConflictError("the session's payment is not secured; authorize it first")
        place = await self._place(view)
        return StartSessionRequest(
            cpo_id=view.session.cpo_id,
            location_id=view.session.location_id,
            evse_uid=place.evse_uid if place else None,
            connector_id=place.connector_id if place else None,
            authorization_id=authorization.id,
        )


async def find_running_session(services: OcpiServices, view: SessionView) -> str | None:
    """The CPO's id (Session.id) of a session of ours that it has reported; None: not yet."""
    references = [format_id("ses", view.session.id)]
    if view.authorization is not None:
        references.append(format_id("auth", view.authorization.id))
    async with services.pool.acquire() as connection:
        running = await commands.find_session_of_reference(
            connection, cpo_id=view.session.cpo_id, references=references
        )
    return running or view.session.session_ref


def _shown(command: CommandRecord, session_id: UUID) -> api_schemas.CommandSchema:
    return api_schemas.CommandSchema(
        id=format_id("cmd", command.id),
        session=format_id("ses", session_id),
        command=command.command,
        state=command.state,
        response=command.response,
        result=command.result,
        reason=command.reason,
        created=command.created_at,
    )
