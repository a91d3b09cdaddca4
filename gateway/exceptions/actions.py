"""What resolving an exception does, for each kind that the machine can try again.

Owns: which existing action ends which cause. Must not know the queue's rows. An action runs in the caller's
transaction; it returns False, or raises the error of the part that it asks, where its cause is not there any
more.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from clearing.documents import driver_document_service, invoice_service
from clearing.documents.driver_document_service import DriverDocumentSources
from clearing.errors import InvalidDocumentError
from clearing.parties import service as party_service
from clearing.services import ClearingServices
from gateway.database import Connection
from gateway.documents.session_originals_repository import StoredSessionOriginals
from gateway.exception_kinds import ExceptionKind
from gateway.exceptions import repository
from gateway.exceptions.decisions import Decision
from gateway.exceptions.rules import KINDS, ExceptionRecord
from gateway.ids import parse_id
from gateway.ocpi.repository import cdrs
from gateway.payments import (
    cdr_correction_repository,
    psp_incident_repository,
    stated_usage,
    unbooked_charges,
)
from gateway.payments.stated_usage import UsageDecision
from gateway.payments.unbooked_charges import ChargeAction
from gateway.plug_and_charge import contract_pool_repository
from gateway.webhooks import events, payout_events
from gateway.webhooks import repository as webhook_repository
from gateway.webhooks.events import EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRequest:
    """Who wants which exception's cause tried again, at which business and wall time.

    `decision` is what is to be done, of a kind that needs an action; it fits the kind.
    """

    exception: ExceptionRecord
    clearing: ClearingServices
    by: str
    now: datetime
    wall_now: datetime
    decision: Decision | None = None

    @property
    def party_and_name(self) -> tuple[str, str]:
        """The two parts of a subject that is named by its party."""
        party, _, name = self.exception.subject_id.partition("/")
        return party, name


Action = Callable[[Connection, ActionRequest], Awaitable[bool]]


async def _retry_clearing(connection: Connection, asked: ActionRequest) -> bool:
    return await cdr_correction_repository.retry_clearing(
        connection, session_id=_uuid(asked), now=asked.now, wall_now=asked.wall_now
    )


async def _replay_cdr(connection: Connection, asked: ActionRequest) -> bool:
    party, name = asked.party_and_name
    return await cdrs.replay_cdr(connection, party, name, now=asked.now, wall_now=asked.wall_now)


async def _decide_usage(connection: Connection, asked: ActionRequest) -> bool:
    if not isinstance(asked.decision, UsageDecision):
        return False
    return await stated_usage.decide(
        connection, _uuid(asked), asked.decision, by=asked.by, now=asked.now, wall_now=asked.wall_now
    )


async def _decide_charge(connection: Connection, asked: ActionRequest) -> bool:
    if not isinstance(asked.decision, ChargeAction):
        return False
    return await unbooked_charges.decide(
        connection,
        asked.exception.subject_id,
        asked.decision,
        by=asked.by,
        now=asked.now,
        wall_now=asked.wall_now,
    )


async def _retry_task(connection: Connection, asked: ActionRequest) -> bool:
    return await repository.retry_task(connection, _uuid(asked), wall_now=asked.wall_now)


async def _ask_psp(connection: Connection, asked: ActionRequest) -> bool:
    return await repository.retry_psp_request(connection, _uuid(asked), wall_now=asked.wall_now)


async def _forget_incident(connection: Connection, asked: ActionRequest) -> bool:
    account, code = asked.party_and_name
    return await psp_incident_repository.forget(connection, account=account, code=code)


async def _issue_document(connection: Connection, asked: ActionRequest) -> bool:
    *_, start, end = asked.exception.subject_id.split("/")
    party = asked.exception.party_id
    try:
        await invoice_service.issue(
            connection,
            start=date.fromisoformat(start),
            end=date.fromisoformat(end),
            now=asked.now,
            parties=None if party is None else [party],
        )
    except InvalidDocumentError:  # the period is not over
        return False
    return True


async def _issue_driver_documents(connection: Connection, asked: ActionRequest) -> bool:
    await driver_document_service.issue_pending(
        connection,
        supplier_id=asked.exception.subject_id,
        now=asked.now,
        sources=DriverDocumentSources(originals=StoredSessionOriginals()),
    )
    return True


async def _lift_hold(connection: Connection, asked: ActionRequest) -> bool:
    hold_id = _uuid(asked)
    await asked.clearing.payouts.lift_hold(connection, hold_id, by=asked.by, now=asked.now)
    kept = await party_service.lock_payout_hold(connection, hold_id)
    if kept is None:
        return False
    event = payout_events.hold(EventType.PAYOUT_HOLD_LIFTED, kept)
    await events.record(connection, [event], now=asked.now)
    return True


async def _pull(connection: Connection, asked: ActionRequest) -> bool:
    party, module = asked.party_and_name
    return await repository.retry_pull(connection, party, module, wall_now=asked.wall_now)


async def _send_again(connection: Connection, asked: ActionRequest) -> bool:
    return await repository.retry_message(connection, _uuid(asked), wall_now=asked.wall_now)


async def _enable_endpoint(connection: Connection, asked: ActionRequest) -> bool:
    return await webhook_repository.update_endpoint(
        connection, endpoint_id=_uuid(asked), url=None, event_types=None, state="enabled"
    )


async def _apply_pool_event(connection: Connection, asked: ActionRequest) -> bool:
    return await contract_pool_repository.retry_event(connection, _uuid(asked))


def _uuid(asked: ActionRequest) -> UUID:
    prefix = KINDS[asked.exception.kind].prefix
    return parse_id(prefix or "", asked.exception.subject_id)


ACTIONS: Final[Mapping[ExceptionKind, Action]] = MappingProxyType(
    {
        ExceptionKind.UNCLEARED_SESSION: _retry_clearing,
        ExceptionKind.UNMATCHED_CDR: _replay_cdr,
        ExceptionKind.FAILED_CDR_CHECK: _decide_usage,
        ExceptionKind.UNBOOKED_CHARGE: _decide_charge,
        ExceptionKind.FAILED_TASK: _retry_task,
        ExceptionKind.UNKNOWN_PSP_OUTCOME: _ask_psp,
        ExceptionKind.PSP_CONFIGURATION: _forget_incident,
        ExceptionKind.DOCUMENT_EXCEPTION: _issue_document,
        ExceptionKind.PENDING_DRIVER_DOCUMENTS: _issue_driver_documents,
        ExceptionKind.PAYOUT_HOLD: _lift_hold,
        ExceptionKind.FAILING_OCPI_PULL: _pull,
        ExceptionKind.UNDELIVERED_OCPI_MESSAGE: _send_again,
        ExceptionKind.FAILING_WEBHOOK_ENDPOINT: _enable_endpoint,
        ExceptionKind.UNAPPLIED_POOL_EVENT: _apply_pool_event,
    }
)
