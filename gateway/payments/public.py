"""Records as the objects that partners see, and the events that carry them.

Owns: which field shows what, and who is told of what. Must not know: SQL, HTTP, how a state came about.
"""

from collections.abc import Sequence
from typing import Any

from gateway import objects
from gateway.ids import format_id, new_id
from gateway.notify.events import EventType, NewEvent
from gateway.payments.orders import SessionView
from gateway.payments.payment import PaymentState
from gateway.payments.records import (
    AuthorizationRecord,
    CaptureRecord,
    DisputeRecord,
    RefundRecord,
    SessionRecord,
)

_AUTHORIZATION_EVENTS = {
    PaymentState.AUTHORIZED: EventType.AUTHORIZATION_AUTHORIZED,
    PaymentState.REQUIRES_ACTION: EventType.AUTHORIZATION_REQUIRES_ACTION,
    PaymentState.FAILED: EventType.AUTHORIZATION_FAILED,
    PaymentState.OUTCOME_UNKNOWN: EventType.AUTHORIZATION_OUTCOME_UNKNOWN,
    PaymentState.VOIDED: EventType.AUTHORIZATION_VOIDED,
}


def authorization_object(
    authorization: AuthorizationRecord,
    session: SessionRecord,
    *,
    tariff_version: str | None = None,
    tariff_display: Sequence[str] = (),
) -> objects.Authorization:
    """The public authorization."""
    return objects.Authorization(
        id=format_id("auth", authorization.id),
        session=format_id("ses", authorization.session_id),
        state=objects.AuthorizationState(authorization.state.value),
        rail=objects.Rail(authorization.rail),
        amount=authorization.hold_minor,
        currency=authorization.currency,
        cost_limit=authorization.hold_minor,
        capture_before=authorization.capture_before,
        next_action=dict(authorization.next_action) if authorization.next_action else None,
        decline_code=authorization.decline_code,
        version=authorization.version,
        created=authorization.created_at,
        evse_id=session.evse_id,
        session_ref=session.session_ref,
        metadata=dict(authorization.metadata),
        tariff=objects.TariffReference(
            sha256=session.tariff_sha256, version=tariff_version, display=list(tariff_display)
        ),
    )


def capture_object(capture: CaptureRecord) -> objects.Capture:
    """The public capture."""
    return objects.Capture(
        id=format_id("cap", capture.id),
        session=format_id("ses", capture.session_id),
        authorization=format_id("auth", capture.authorization_id),
        state=objects.CaptureState(capture.state),
        amount=capture.amount_minor,
        receivable=capture.receivable_minor,
        currency=capture.currency,
        fee=capture.fee_minor,
        fee_currency=capture.fee_currency,
        refunded=capture.refunded_minor,
        disputed=capture.disputed_minor,
        captured_at=capture.captured_at,
    )


def refund_object(refund: RefundRecord) -> objects.Refund:
    """The public refund."""
    return objects.Refund(
        id=format_id("ref", refund.id),
        session=format_id("ses", refund.session_id),
        state=refund.state,
        amount=refund.amount_minor,
        currency=refund.currency,
        reason=refund.reason,
        failure_code=refund.failure_code,
        metadata=dict(refund.metadata),
        created=refund.created_at,
    )


def dispute_object(dispute: DisputeRecord) -> objects.Dispute:
    """The public dispute."""
    return objects.Dispute(
        id=format_id("dsp", dispute.id),
        session=format_id("ses", dispute.session_id),
        state=dispute.state,
        amount=dispute.amount_minor,
        fee=dispute.fee_minor,
        currency=dispute.currency,
        reason=dispute.reason,
        opened_at=dispute.opened_at,
        closed_at=dispute.closed_at,
    )


def session_object(view: SessionView) -> objects.Session:
    """The public session with its latest authorization and its capture."""
    session = view.session
    price = None
    if session.price_minor is not None:
        price = objects.SessionPrice(incl_vat=session.price_minor, excl_vat=session.price_net_minor)
    return objects.Session(
        id=format_id("ses", session.id),
        state=objects.SessionState(session.state),
        cpo=session.cpo_id,
        evse_id=session.evse_id,
        location_id=session.location_id,
        session_ref=session.session_ref,
        rail=objects.Rail(view.authorization.rail) if view.authorization else None,
        currency=session.currency,
        price=price,
        authorization=format_id("auth", view.authorization.id) if view.authorization else None,
        capture=capture_object(view.capture) if view.capture else None,
        energy_wh=session.energy_wh,
        ended_at=session.ended_at,
        flags=list(session.flags),
        cdr_id=session.cdr_id,
        tariff=objects.TariffReference(sha256=session.tariff_sha256),
        metadata=dict(session.metadata),
        created=session.created_at,
    )


def authorization_events(authorization: AuthorizationRecord, session: SessionRecord) -> list[NewEvent]:
    """What the demand partner hears of an authorization's new state; some states are no news."""
    kind = _AUTHORIZATION_EVENTS.get(authorization.state)
    if kind is None:
        return []
    shown = authorization_object(authorization, session)
    return [
        NewEvent(
            type=kind,
            party_id=authorization.party_id,
            object_id=shown.id,
            data=shown.as_json(),
            lane=session.lane,
        )
    ]


def capture_events(capture: CaptureRecord, session: SessionRecord) -> list[NewEvent]:
    """Who hears of a capture's end: the demand partner and the CPO."""
    kind = EventType.CAPTURE_SUCCEEDED if capture.state == "succeeded" else EventType.CAPTURE_FAILED
    shown = capture_object(capture)
    return [
        NewEvent(type=kind, party_id=party, object_id=shown.id, data=shown.as_json(), lane=session.lane)
        for party in (session.demand_partner_id, session.cpo_id)
    ]


def refund_events(refund: RefundRecord, session: SessionRecord) -> list[NewEvent]:
    """Who hears of a refund's end: the demand partner and the CPO."""
    kind = EventType.REFUND_SUCCEEDED if refund.state == "succeeded" else EventType.REFUND_FAILED
    shown = refund_object(refund)
    return [
        NewEvent(type=kind, party_id=party, object_id=shown.id, data=shown.as_json(), lane=session.lane)
        for party in (session.demand_partner_id, session.cpo_id)
    ]


def dispute_events(dispute: DisputeRecord, session: SessionRecord) -> list[NewEvent]:
    """Who hears of a dispute's news: the demand partner and the CPO."""
    shown = dispute_object(dispute)
    kind = EventType(f"dispute.{dispute.state}")
    return [
        NewEvent(type=kind, party_id=party, object_id=shown.id, data=shown.as_json(), lane=session.lane)
        for party in (session.demand_partner_id, session.cpo_id)
    ]


def session_events(kind: EventType, view: SessionView) -> list[NewEvent]:
    """A session's news, for the demand partner and the CPO."""
    shown = session_object(view)
    return [
        NewEvent(type=kind, party_id=party, object_id=shown.id, data=shown.as_json(), lane=view.session.lane)
        for party in (view.session.demand_partner_id, view.session.cpo_id)
    ]


def event_rows(events: Sequence[NewEvent]) -> list[dict[str, Any]]:
    """Events as the rows that a phase's statement inserts with what it changes."""
    return [
        {
            "lane": event.lane,
            "id": str(new_id(lane=event.lane)),
            "party_id": event.party_id,
            "type": event.type.value,
            "object_id": event.object_id,
            "data": event.data,
        }
        for event in events
    ]
