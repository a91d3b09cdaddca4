"""The settlement notice: what an operator learns about the payment of a session at its station.

Owns: which sessions an operator may read, and closing a decision together with its event. Must not know:
certificates, HTTP, how a payment is captured, when it is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id, parse_id
from gateway.payments.errors import NotFoundError, PaymentConflictError
from gateway.payments.service import PaymentService
from gateway.payments.views import SessionView
from gateway.plug_and_charge import repository
from gateway.plug_and_charge.receipts import ReceiptService
from gateway.plug_and_charge.session_cost import find_station_session
from gateway.plug_and_charge.settlement_outcome import session_has_ended, settlement_object
from gateway.schemas.plug_and_charge import SettlementNoticeSchema
from gateway.webhooks import events
from gateway.webhooks.events import EventType, NewEvent
from pnc import decision_lifecycle
from pnc.authorization import AuthorizationDecision
from pnc.messages import SettlementStatus

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementNoticeService:
    """Reads and publishes how Plug & Charge sessions were settled."""

    pool: Pool
    clock: Clock
    payments: PaymentService
    receipts: ReceiptService

    async def get(self, *, operator_id: str, session_id: UUID, admin: bool = False) -> SettlementNoticeSchema:
        """Return the settlement of a session at one of the operator's stations; `admin` reads them all.

        Raises:
            NotFoundError: no Plug & Charge session of that id at the operator's stations.
            PaymentConflictError: the session is not settled yet.
        """
        view = await find_station_session(
            self.payments, operator_id=operator_id, session_id=session_id, admin=admin
        )
        notice = await self.describe(view)
        if notice is None:
            raise PaymentConflictError(
                "the session is not settled yet; wait for the event plug_and_charge.settled"
            )
        return notice

    async def describe(self, view: SessionView) -> SettlementNoticeSchema | None:
        """How an ended session was settled, with the link to its receipt; None while that is not known."""
        notice = settlement_object(view, now=self.clock.now()) if session_has_ended(view) else None
        if notice is None or notice.receipt is None:
            return notice
        async with self.pool.acquire() as connection:
            return await self._with_receipt(connection, view, notice)

    async def _with_receipt(
        self, connection: Connection, view: SessionView, notice: SettlementNoticeSchema
    ) -> SettlementNoticeSchema:
        if notice.receipt is None:
            return notice
        url = await self.receipts.create_url(connection, view.session)
        return notice.model_copy(update={"receipt_url": url})

    async def select_ended(self, decisions: Sequence[AuthorizationDecision]) -> list[AuthorizationDecision]:
        """Return the decisions whose session has ended; all are looked up in one query."""
        by_authorization = {
            parse_id("auth", decision.authorization_id or ""): decision for decision in decisions
        }
        if not by_authorization:
            return []
        async with self.pool.acquire() as connection:
            ended = await repository.list_ended_sessions(connection, list(by_authorization))
        return [decision for identifier, decision in by_authorization.items() if identifier in ended]

    async def finish(self, decision: AuthorizationDecision) -> bool:
        """Close a decision whose session has ended, and publish its settlement once that is known.

        Returns whether anything changed; a repeat changes nothing.
        """
        view = await self._session(decision)
        if view is None or not session_has_ended(view):
            return False
        now = self.clock.now()
        notice = settlement_object(view, now=now)
        if notice is None:  # ended, and not captured yet
            return await decision_lifecycle.close_decision(self.pool, decision, now=now)
        async with transaction(self.pool) as connection:
            status = SettlementStatus(notice.status)
            if not await decision_lifecycle.record_settlement(connection, decision, status=status, now=now):
                return False
            published = await self._with_receipt(connection, view, notice)
            event = NewEvent(
                type=EventType.PLUG_AND_CHARGE_SETTLED,
                party_id=decision.operator_id,
                object_id=published.id,
                data=published.as_json(),
                shard=view.session.shard,
            )
            await events.record(connection, [event], now=now)
        return True

    async def _session(self, decision: AuthorizationDecision) -> SessionView | None:
        """The decision's session with its payment. Only the operator's own: the decision names both."""
        authorization_id = parse_id("auth", decision.authorization_id or "")
        try:
            authorized = await self.payments.get_authorization(
                party_id=decision.operator_id, authorization_id=authorization_id, admin=True
            )
            return await self.payments.get_session(
                party_id=decision.operator_id, session_id=authorized.session.id
            )
        except NotFoundError:
            _log.error("decision_without_session", decision=format_id("dec", decision.id))
            return None
