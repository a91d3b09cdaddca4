"""Remote start and stop of a session that the capture API knows, as commands to its CPO.

Owns: from our session to the CPO's names for it. Must not know: the capture API, how a command travels.
"""

from dataclasses import dataclass
from uuid import UUID

from gateway import objects
from gateway.database import named_queries
from gateway.ids import format_id
from gateway.ocpi.commands import CommandSender, StartOrder
from gateway.ocpi.connectors import evse_key
from gateway.ocpi.errors import PeerRefusedError
from gateway.ocpi.services import OcpiServices
from gateway.payments.orders import SessionView, StateConflictError
from gateway.payments.payment import PaymentState
from gateway.payments.service import PaymentService
from gateway.store import ocpi_objects
from gateway.store.ocpi_commands import StoredCommand

_sql = named_queries("gateway", "ocpi_commands.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteControl:
    """START_SESSION and STOP_SESSION for the driver's partner (OCPI mod_commands)."""

    services: OcpiServices
    payments: PaymentService

    async def start(self, *, party_id: str, session_id: UUID, admin: bool = False) -> objects.Command:
        """Ask the CPO to start a session whose payment is secured.

        Raises NotFoundError, StateConflictError (nothing is secured, or the CPO takes no commands).
        """
        view = await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        standing = view.authorization
        if standing is None or standing.state is not PaymentState.AUTHORIZED:
            raise StateConflictError("the session's payment is not secured; authorize it first")
        session = view.session
        async with self.services.pool.acquire() as connection:
            found = await ocpi_objects.find_connectors(
                connection,
                evse_key=evse_key(session.evse_id),
                evse_uid=session.evse_id,
                party_id=session.cpo_id,
            )
        place = found[0] if found else None
        order = StartOrder(
            cpo_id=session.cpo_id,
            location_id=session.location_id,
            evse_uid=place.evse_uid if place else None,
            connector_id=place.connector_id if place else None,
            authorization_id=standing.id,
        )
        try:
            return _shown(await CommandSender(services=self.services).start_session(order), session_id)
        except PeerRefusedError as error:
            raise StateConflictError(f"the CPO was not asked: {error}") from error

    async def stop(self, *, party_id: str, session_id: UUID, admin: bool = False) -> objects.Command:
        """Ask the CPO to stop a session it has told us of. Raises NotFoundError, StateConflictError."""
        view = await self.payments.get_session(party_id=party_id, session_id=session_id, admin=admin)
        running = await self._running(view)
        if running is None:
            raise StateConflictError("the CPO has not told of a running session yet")
        try:
            command = await CommandSender(services=self.services).stop_session(
                cpo_id=view.session.cpo_id, session_ref=running
            )
        except PeerRefusedError as error:
            raise StateConflictError(f"the CPO was not asked: {error}") from error
        return _shown(command, session_id)

    async def _running(self, view: SessionView) -> str | None:
        references = [format_id("ses", view.session.id)]
        if view.authorization is not None:
            references.append(format_id("auth", view.authorization.id))
        async with self.services.pool.acquire() as connection:
            told: str | None = await _sql.session_of_reference(
                connection, party_id=view.session.cpo_id, references=references
            )
        return told or view.session.session_ref


def _shown(command: StoredCommand, session_id: UUID) -> objects.Command:
    return objects.Command(
        id=format_id("cmd", command.id),
        session=format_id("ses", session_id),
        command=command.command,
        state=command.state,
        response=command.response,
        result=command.result,
        reason=command.reason,
        created=command.created_at,
    )
