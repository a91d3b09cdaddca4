"""Records as the objects that partners see, and the events that carry them.

Owns: one builder per public object, which the REST answer, the list, `expand` and the event share, and which
party each event is for. Must not know: SQL, HTTP, how a state came about.
"""

from typing import Any, Literal

from clearing.captured_session import AuthorizationMethod
from clearing.cdr_checks.finding import CheckCode
from clearing.parties.party import PLATFORM_ID
from gateway.ids import format_id, shard_of
from gateway.payments.payer_records import CustomerRecord, SavedMethodRecord, SetupRecord
from gateway.payments.psp.payer_port import SetupState
from gateway.payments.records import (
    AuthorizationRecord,
    CaptureRecord,
    DisputeRecord,
    RefundRecord,
    SessionRecord,
    TopUpRecord,
    UsageSource,
)
from gateway.payments.state_machine import PaymentState
from gateway.payments.usage_repository import ProvisionalUsage, StatedUsage
from gateway.payments.views import AuthorizationView, SessionView, SetupView, TariffReference
from gateway.schemas import api_schemas, funding, payers
from gateway.webhooks.events import EventType, NewEvent

_AUTHORIZATION_EVENTS = {
    PaymentState.AUTHORIZED: EventType.AUTHORIZATION_AUTHORIZED,
    PaymentState.REQUIRES_ACTION: EventType.AUTHORIZATION_REQUIRES_ACTION,
    PaymentState.FAILED: EventType.AUTHORIZATION_FAILED,
    PaymentState.OUTCOME_UNKNOWN: EventType.AUTHORIZATION_OUTCOME_UNKNOWN,
    PaymentState.VOIDED: EventType.AUTHORIZATION_VOIDED,
}


def tariff_object(tariff: TariffReference) -> api_schemas.TariffReferenceSchema:
    """The public tariff of a session."""
    return api_schemas.TariffReferenceSchema(
        sha256=tariff.sha256, version=tariff.version, display=list(tariff.display)
    )


def authorization_object(view: AuthorizationView) -> api_schemas.AuthorizationSchema:
    """The public authorization."""
    authorization, session = view.authorization, view.session
    return api_schemas.AuthorizationSchema(
        id=format_id("auth", authorization.id),
        session=format_id("ses", authorization.session_id),
        state=api_schemas.AuthorizationState(authorization.state.value),
        method=AuthorizationMethod(authorization.authorization_method),
        amount=authorization.hold_minor,
        currency=authorization.currency,
        cost_limit=authorization.hold_minor,
        capture_before=authorization.capture_before,
        next_action=_action(view),
        client_secret=view.action.client_secret if view.action else None,
        redirect_url=view.action.redirect_url if view.action else None,
        return_url=authorization.return_url,
        publishable_key=view.publishable_key if view.action else None,
        decline_code=authorization.decline_code,
        version=authorization.version,
        created=authorization.created_at,
        evse_id=session.evse_id,
        session_ref=session.session_ref,
        metadata=dict(authorization.metadata),
        tariff=tariff_object(view.tariff),
    )


def _action(view: AuthorizationView) -> dict[str, Any] | None:
    """What the cardholder must do: whole where it was read from the PSP for this answer, else its type."""
    action = view.action.next_action if view.action else view.authorization.next_action
    return dict(action) if action else None


def customer_object(customer: CustomerRecord) -> payers.CustomerSchema:
    """The public customer."""
    return payers.CustomerSchema(
        id=customer.psp_customer or "",
        reference=customer.reference,
        metadata=dict(customer.metadata),
        created=customer.created_at,
    )


def setup_object(view: SetupView, *, publishable_key: str | None) -> payers.SetupSchema:
    """The public setup; its secrets only where they were read from the PSP for this answer."""
    setup = view.setup
    return payers.SetupSchema(
        id=format_id("setup", setup.id),
        customer=setup.psp_customer,
        state=setup.state.value,
        usage="off_session" if setup.off_session else "on_session",
        return_url=setup.return_url,
        payment_method=setup.psp_method,
        mandate=setup.mandate,
        error=setup.error,
        client_secret=view.client_secret,
        redirect_url=view.redirect_url,
        publishable_key=publishable_key if view.client_secret else None,
        version=setup.version,
        metadata=dict(setup.metadata),
        created=setup.created_at,
    )


def saved_method_object(method: SavedMethodRecord) -> payers.PaymentMethodSchema:
    """The public payment method: what a driver recognizes it by."""
    return payers.PaymentMethodSchema(
        id=method.psp_method,
        customer=method.psp_customer,
        brand=method.brand,
        last4=method.last4,
        exp_month=method.exp_month,
        exp_year=method.exp_year,
        wallet=method.wallet,
        mandate=method.mandate,
        setup=None if method.setup_id is None else format_id("setup", method.setup_id),
        authorization=None if method.authorization_id is None else format_id("auth", method.authorization_id),
        consent=method.consent,
        created=method.created_at,
    )


def saved_method_events(method: SavedMethodRecord) -> list[NewEvent]:
    """The event of a saved method whose card was replaced, for its party."""
    shown = saved_method_object(method)
    return [
        NewEvent(
            type=EventType.PAYMENT_METHOD_UPDATED,
            party_id=method.party_id,
            object_id=shown.id,
            data=shown.as_json(),
            shard=shard_of(method.id),
        )
    ]


def setup_events(before: SetupRecord, after: SetupRecord) -> list[NewEvent]:
    """The event of a setup's end, or of a try that failed, for the party whose driver it is."""
    if after.state is SetupState.SUCCEEDED:
        kind = EventType.SETUP_SUCCEEDED
    elif after.error is not None and after.last_attempt != before.last_attempt:
        kind = EventType.SETUP_FAILED
    elif after.state is SetupState.CANCELLED:
        kind = EventType.SETUP_CANCELLED
    else:
        return []
    shown = setup_object(SetupView(setup=after), publishable_key=None)
    return [
        NewEvent(
            type=kind,
            party_id=after.party_id,
            object_id=shown.id,
            data=shown.as_json(),
            shard=shard_of(after.id),
        )
    ]


def capture_object(capture: CaptureRecord) -> api_schemas.CaptureSchema:
    """The public capture."""
    return api_schemas.CaptureSchema(
        id=format_id("cap", capture.id),
        session=format_id("ses", capture.session_id),
        authorization=format_id("auth", capture.authorization_id),
        state=api_schemas.CaptureState(capture.state),
        amount=capture.amount_minor,
        receivable=capture.receivable_minor,
        currency=capture.currency,
        fee=capture.fee_minor,
        fee_currency=capture.fee_currency,
        refunded=capture.refunded_minor,
        disputed=capture.disputed_minor,
        captured_at=capture.captured_at,
    )


def refund_object(refund: RefundRecord) -> api_schemas.RefundSchema:
    """The public refund."""
    return api_schemas.RefundSchema(
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


def top_up_object(top_up: TopUpRecord) -> funding.TopupSchema:
    """The public top-up."""
    return funding.TopupSchema(
        id=format_id("top", top_up.id),
        state=top_up.state,
        party=top_up.party_id,
        currency=top_up.currency,
        amount=top_up.amount_minor,
        reference=top_up.reference,
        failure_code=top_up.failure_code,
        overdrawn=top_up.overdrawn_minor,
        updated=top_up.updated_at,
    )


def top_up_events(top_up: TopUpRecord) -> list[NewEvent]:
    """The event of a top-up's new state, for the platform and the party whose account it is for."""
    shown = top_up_object(top_up)
    return [
        NewEvent(
            type=EventType(f"top_up.{top_up.state}"),
            party_id=party,
            object_id=shown.id,
            data=shown.as_json(),
            shard=shard_of(top_up.id),
        )
        for party in (PLATFORM_ID, top_up.party_id)
        if party is not None
    ]


def dispute_object(dispute: DisputeRecord) -> api_schemas.DisputeSchema:
    """The public dispute."""
    return api_schemas.DisputeSchema(
        id=format_id("dsp", dispute.id),
        session=format_id("ses", dispute.session_id),
        state=dispute.state,
        amount=dispute.amount_minor,
        withdrawn=dispute.withdrawn_minor,
        fee=dispute.fee_minor,
        fee_currency=dispute.fee_currency,
        currency=dispute.currency,
        reason=dispute.reason,
        response=dispute.response,
        respond_by=dispute.respond_by,
        submissions=dispute.submissions,
        refundable=dispute.is_refundable,
        opened_at=dispute.opened_at,
        closed_at=dispute.closed_at,
    )


def session_object(view: SessionView) -> api_schemas.SessionSchema:
    """The public session with its latest authorization and its capture."""
    session = view.session
    price = None
    if session.price_minor is not None:
        price = api_schemas.SessionPriceSchema(incl_vat=session.price_minor, excl_vat=session.price_net_minor)
    return api_schemas.SessionSchema(
        id=format_id("ses", session.id),
        state=session.state,
        cpo=session.cpo_id,
        evse_id=session.evse_id,
        location_id=session.location_id,
        session_ref=session.session_ref,
        authorization_method=AuthorizationMethod(view.authorization.authorization_method)
        if view.authorization
        else None,
        currency=session.currency,
        price=price,
        authorization=format_id("auth", view.authorization.id) if view.authorization else None,
        capture=capture_object(view.capture) if view.capture else None,
        energy_wh=session.energy_wh,
        started_at=session.started_at,
        ended_at=session.ended_at,
        flags=list(session.flags),
        cdr_id=session.cdr_id,
        stated_by=None if session.stated_by is None else session.stated_by.value,
        usage=None if view.usage is None else usage_object(view.usage),
        provisional_usage=None
        if view.provisional is None
        else provisional_usage_object(view.provisional, session),
        tariff=tariff_object(view.tariff),
        metadata=dict(session.metadata),
        created=session.created_at,
    )


def provisional_usage_object(
    usage: ProvisionalUsage, session: SessionRecord
) -> api_schemas.ProvisionalUsageSchema:
    """What the payer stated, and what has become of it since."""
    state: Literal["awaiting_cdr", "captured", "confirmed", "replaced"] = "awaiting_cdr"
    if session.stated_by is UsageSource.PAYER:
        state = "captured"
    elif session.stated_by is not None:
        state = "replaced" if CheckCode.USAGE_DIFFERS.value in session.flags else "confirmed"
    return api_schemas.ProvisionalUsageSchema(
        state=state,
        party=usage.party_id,
        energy_wh=usage.energy_wh,
        started_at=usage.started_at,
        ended_at=usage.ended_at,
        price=usage.price_minor,
        stated_at=usage.stated_at,
    )


def usage_object(usage: StatedUsage) -> api_schemas.StatedUsageSchema:
    """Usage that a check found odd."""
    return api_schemas.StatedUsageSchema(
        state=usage.state.value,
        source=usage.source.value,
        cdr_id=usage.cdr_id,
        reasons=list(usage.reasons),
        detail=usage.detail,
    )


def authorization_events(
    authorization: AuthorizationRecord, session: SessionRecord, *, tariff: TariffReference
) -> list[NewEvent]:
    """The event of an authorization's new state, for the demand partner; some states have none."""
    kind = _AUTHORIZATION_EVENTS.get(authorization.state)
    if kind is None:
        return []
    shown = authorization_object(
        AuthorizationView(authorization=authorization, session=session, tariff=tariff)
    )
    return [
        NewEvent(
            type=kind,
            party_id=authorization.party_id,
            object_id=shown.id,
            data=shown.as_json(),
            shard=session.shard,
        )
    ]


def capture_events(capture: CaptureRecord, session: SessionRecord) -> list[NewEvent]:
    """The event of a capture's end, for the demand partner and the CPO."""
    kind = EventType.CAPTURE_SUCCEEDED if capture.state == "succeeded" else EventType.CAPTURE_FAILED
    shown = capture_object(capture)
    return [
        NewEvent(type=kind, party_id=party, object_id=shown.id, data=shown.as_json(), shard=session.shard)
        for party in (session.demand_partner_id, session.cpo_id)
    ]


def refund_events(refund: RefundRecord, session: SessionRecord) -> list[NewEvent]:
    """The event of a refund's end, for the demand partner and the CPO."""
    kind = EventType.REFUND_SUCCEEDED if refund.state == "succeeded" else EventType.REFUND_FAILED
    shown = refund_object(refund)
    return [
        NewEvent(type=kind, party_id=party, object_id=shown.id, data=shown.as_json(), shard=session.shard)
        for party in (session.demand_partner_id, session.cpo_id)
    ]


def dispute_events(
    dispute: DisputeRecord, session: SessionRecord, *, changed: bool = False
) -> list[NewEvent]:
    """The event of a dispute's new state, or of a change within it, for the demand partner and the CPO."""
    shown = dispute_object(dispute)
    kind = EventType.DISPUTE_UPDATED if changed else EventType(f"dispute.{dispute.state}")
    return [
        NewEvent(type=kind, party_id=party, object_id=shown.id, data=shown.as_json(), shard=session.shard)
        for party in (session.demand_partner_id, session.cpo_id)
    ]


def evidence_due_events(dispute: DisputeRecord, session: SessionRecord) -> list[NewEvent]:
    """The event of a deadline that comes near, for the platform, the demand partner and the CPO."""
    shown = dispute_object(dispute)
    return [
        NewEvent(
            type=EventType.DISPUTE_EVIDENCE_DUE,
            party_id=party,
            object_id=shown.id,
            data=shown.as_json(),
            shard=session.shard,
        )
        for party in (PLATFORM_ID, session.demand_partner_id, session.cpo_id)
    ]


def session_events(kind: EventType, view: SessionView) -> list[NewEvent]:
    """The event of a session's new state, for the demand partner and the CPO."""
    shown = session_object(view)
    return [
        NewEvent(
            type=kind, party_id=party, object_id=shown.id, data=shown.as_json(), shard=view.session.shard
        )
        for party in (view.session.demand_partner_id, view.session.cpo_id)
    ]
