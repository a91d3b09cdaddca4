"""Remote start and stop of a session that the capture API knows, as commands to its CPO.

Owns: from our session to the CPO's names for it. Must not know: the capture API, how a command travels.
"""

from dataclasses import dataclass
from uuid import UUID

from gateway import api_schemas
from gateway.ids import format_id
from gateway.ocpi.commands import CommandSender, StartSessionRequest
from gateway.ocpi.connectors import evse_key
from gateway.ocpi.errors import PeerRejectedError
from gateway.ocpi.repository import commands, objects
from gateway.ocpi.repository.commands import CommandRecord
from gateway.ocpi.services import OcpiServices
from gateway.payments.errors import PaymentConflictError
from gateway.payments.service import PaymentService
from gateway.payments.state_machine import PaymentState
from gateway.payments.views import SessionView


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteControlService:
    """START_SESSION and STOP_SESSION for the driver's partner (OCPI mod_commands)."""

    services: OcpiServices
    payments: PaymentService

    async def start(
        self, *, party_id: str, session_id: UUID, admin: bool = False
    ) -> api_schemas.CommandSchema:
        """Ask the CPO to start a session whose payment is secured.

        Raises NotFoundError, PaymentConflictError (nothing is secured, or the CPO accepts no commands).
        """
        view = await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        authorization = view.authorization
        if authorization is None or authorization.state is not PaymentState.AUTHORIZED:
            raise PaymentConflictError("the session's payment is not secured; authorize it first")
        session = view.session
        async with self.services.pool.acquire() as connection:
            found = await objects.find_connectors(
                connection,
                evse_key=evse_key(session.evse_id),
                evse_uid=session.evse_id,
                party_id=session.cpo_id,
            )
        place = found[0] if found else None
        request = StartSessionRequest(
            cpo_id=session.cpo_id,
            location_id=session.location_id,
            evse_uid=place.evse_uid if place else None,
            connector_id=place.connector_id if place else None,
            authorization_id=authorization.id,
        )
        try:
            return _shown(await CommandSender(services=self.services).start_session(request), session_id)
        except PeerRejectedError as error:
            raise PaymentConflictError(f"the command was not sent to the CPO: {error}") from error

    async def stop(
        self, *, party_id: str, session_id: UUID, admin: bool = False
    ) -> api_schemas.CommandSchema:
        """Ask the CPO to stop a session that it has reported. Raises NotFoundError, PaymentConflictError."""
        view = await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        running = await self._running(view)
        if running is None:
            raise PaymentConflictError("the CPO has not reported a running session yet")
        try:
            command = await CommandSender(services=self.services).stop_session(
                cpo_id=view.session.cpo_id, session_ref=running
            )
        except PeerRejectedError as error:
            raise PaymentConflictError(f"the command was not sent to the CPO: {error}") from error
        return _shown(command, session_id)

    async def _running(self, view: SessionView) -> str | None:
        references = [format_id("ses", view.session.id)]
        if view.authorization is not None:
            references.append(format_id("auth", view.authorization.id))
        async with self.services.pool.acquire() as connection:
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
