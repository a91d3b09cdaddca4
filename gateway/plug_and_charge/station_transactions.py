"""The station's own transactions: named after the authorization, and found again when money is settled.

Owns: which authorization a transaction belongs to, and the EVSE of a station that named it late. Must not
know HTTP or the text of OCPP's messages.
"""

from dataclasses import dataclass
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ids import parse_id
from gateway.payments.errors import PaymentConflictError
from gateway.payments.service import PaymentService
from gateway.plug_and_charge import repository
from gateway.plug_and_charge.settlement_notice import SettlementNoticeService
from gateway.plug_and_charge.vehicle_hold import VehicleHoldService
from gateway.schemas.plug_and_charge import SettlementNoticeSchema
from pnc import decision_lifecycle
from pnc.authorization import AuthorizationDecision
from pnc.errors import ConflictingRecordError
from pnc.messages import StationSettlement


@dataclass(frozen=True, slots=True, kw_only=True)
class StationNames:
    """What a station says after the authorization; None: nothing of it.

    `station_id` is its identity in OCPP, `connector_id` the operator's own id of the connector (OCPI).
    """

    transaction_id: str | None = None
    station_id: str | None = None
    evse_id: str | None = None
    connector_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StationTransactionService:
    """Names and finds the transactions of an operator's stations."""

    pool: Pool
    clock: Clock
    environment: str
    payments: PaymentService
    notices: SettlementNoticeService
    holds: VehicleHoldService

    async def name(
        self, *, operator_id: str, decision_id: UUID, names: StationNames
    ) -> AuthorizationDecision:
        """Name place and transaction of an authorization; the same names again change nothing.

        A connector, with the EVSE or of the one that is known, fixes the tariff of the session.

        Raises:
            UnknownRecordError: the operator has no such authorization.
            ConflictingRecordError: it was not accepted, its transaction, station or connector has another
                name, the EVSE is none that its request named, or a connector is named without an EVSE.
            PaymentConflictError: its session has ended.
            PaymentError: the EVSE has no such connector, or no tariff in force.
        """
        decision = await decision_lifecycle.find_decision(
            self.pool, decision_id, environment=self.environment, operator_id=operator_id
        )
        evse_id = names.evse_id
        if names.connector_id is not None and evse_id is None:
            if decision.evse_ids:
                raise ConflictingRecordError("a connector is one of an EVSE: name evse_id, too")
            evse_id = decision.evse_id
        if evse_id is not None:
            decision = await self._name_evse(decision, evse_id, connector_id=names.connector_id)
        if names.station_id is not None:
            decision = await decision_lifecycle.name_place(
                self.pool, decision, station_id=names.station_id, connector_id=None
            )
        if names.transaction_id is not None:
            decision = await decision_lifecycle.name_transaction(
                self.pool,
                decision_id,
                environment=self.environment,
                operator_id=operator_id,
                transaction_id=names.transaction_id,
            )
        return decision

    async def _name_evse(
        self, decision: AuthorizationDecision, evse_id: str, *, connector_id: str | None
    ) -> AuthorizationDecision:
        """Bind decision and session to the EVSE, and the session to its tariff, in one transaction."""
        known = not decision.evse_ids and connector_id in {None, decision.connector_id}
        if known or decision.authorization_id is None:
            return await decision_lifecycle.name_evse(self.pool, decision, evse_id=evse_id)
        held = await self.payments.get_authorization(
            party_id=decision.operator_id,
            authorization_id=parse_id("auth", decision.authorization_id),
            admin=True,
        )
        begun = decision.offline_since or decision.decided_at
        found = await self.holds.find_point(
            evse_id, operator_id=decision.operator_id, at=begun, connector_id=connector_id
        )
        async with transaction(self.pool) as connection:
            named = await decision_lifecycle.name_evse(connection, decision, evse_id=evse_id)
            if connector_id is not None:
                named = await decision_lifecycle.name_place(
                    connection, named, station_id=None, connector_id=connector_id
                )
            bound = await repository.name_evse(
                connection,
                shard=held.session.shard,
                session_id=held.session.id,
                point=found.point,
                snapshot=found.snapshot,
                now=self.clock.now(),
            )
            if not bound:
                raise PaymentConflictError(
                    "the session has ended, or the EVSE is of another location or currency"
                )
        return named

    async def find_transaction_id(
        self, *, operator_id: str, session_ref: str, authorization_id: str
    ) -> str | None:
        """The transaction of a session, where the operator has named it."""
        decision = await decision_lifecycle.find_by_authorization(
            self.pool,
            environment=self.environment,
            operator_id=operator_id,
            session_ref=session_ref,
            authorization_id=authorization_id,
        )
        return None if decision is None else decision.transaction_id

    async def find_settlement(
        self, settlement: StationSettlement, *, operator_id: str
    ) -> SettlementNoticeSchema | None:
        """Our settlement of the payment that a station reports as settled, where that payment is ours.

        Its transaction must name exactly one session of the operator; a terminal's payment is not ours.
        """
        if settlement.transaction_id is None:
            return None
        decision = await decision_lifecycle.find_by_transaction(
            self.pool,
            environment=self.environment,
            operator_id=operator_id,
            transaction_id=settlement.transaction_id,
        )
        if decision is None or decision.authorization_id is None:
            return None
        view = await self.payments.get_authorization(
            party_id=operator_id, authorization_id=parse_id("auth", decision.authorization_id), admin=True
        )
        session = await self.payments.get_session(
            party_id=operator_id, session_id=view.session.id, admin=True
        )
        return await self.notices.describe(session)
