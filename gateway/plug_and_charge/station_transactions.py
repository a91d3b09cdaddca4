"""The station's own transactions: named after the authorization, and found again when money is settled.

Owns: which authorization a transaction belongs to, and the EVSE of a station that named it late. Must not
know HTTP or the text of OCPP's messages.
"""

from dataclasses import dataclass
from uuid import UUID

from gateway.api_schemas_plug_and_charge import SettlementNoticeSchema
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ids import parse_id
from gateway.payments.errors import PaymentConflictError
from gateway.payments.service import PaymentService
from gateway.plug_and_charge import repository
from gateway.plug_and_charge.settlement_notice import SettlementNoticeService
from gateway.plug_and_charge.vehicle_hold import VehicleHoldService
from pnc import decision_lifecycle
from pnc.authorization import AuthorizationDecision
from pnc.messages import StationSettlement


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
        self, *, operator_id: str, decision_id: UUID, transaction_id: str | None, evse_id: str | None
    ) -> AuthorizationDecision:
        """Name the EVSE and the transaction of an authorization; the same names again change nothing.

        Raises:
            UnknownRecordError: the operator has no such authorization.
            ConflictingRecordError: it was not accepted, its transaction has another id, or the EVSE is none
                that its request named.
            PaymentConflictError: its session has ended.
            PaymentError: the EVSE has no tariff in force.
        """
        decision = await decision_lifecycle.find_decision(
            self.pool, decision_id, environment=self.environment, operator_id=operator_id
        )
        if evse_id is not None:
            decision = await self._name_evse(decision, evse_id)
        if transaction_id is not None:
            decision = await decision_lifecycle.name_transaction(
                self.pool,
                decision_id,
                environment=self.environment,
                operator_id=operator_id,
                transaction_id=transaction_id,
            )
        return decision

    async def _name_evse(self, decision: AuthorizationDecision, evse_id: str) -> AuthorizationDecision:
        """Bind decision and session to the EVSE, and the session to its tariff, in one transaction."""
        if not decision.evse_ids or decision.authorization_id is None:
            return await decision_lifecycle.name_evse(self.pool, decision, evse_id=evse_id)
        held = await self.payments.get_authorization(
            party_id=decision.operator_id,
            authorization_id=parse_id("auth", decision.authorization_id),
            admin=True,
        )
        begun = decision.offline_since or decision.decided_at
        found = await self.holds.find_point(evse_id, operator_id=decision.operator_id, at=begun)
        async with transaction(self.pool) as connection:
            named = await decision_lifecycle.name_evse(connection, decision, evse_id=evse_id)
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
