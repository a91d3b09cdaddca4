"""The rows of a new authorization, from what was asked for and the tariff that was frozen.

Owns: which value each column begins with. Must not know the database, the PSP or whether the row is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from clearing.pricing.tariff import TariffSnapshot
from gateway.ids import new_id
from gateway.key_claim import UNKEYED, KeyClaim
from gateway.payments.records import AuthorizationRecord, SessionRecord
from gateway.payments.requests import AuthorizationRequest, ChargePoint, PartnerAccount, PspMethod
from gateway.payments.session_flags import flags_at_start
from gateway.payments.state_machine import PaymentState
from gateway.schemas.api_schemas import SessionState


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedHold:
    """What is about to be held, and for what."""

    request: AuthorizationRequest
    point: ChargePoint
    snapshot: TariffSnapshot
    amount_minor: int
    features: Sequence[str]
    now: datetime
    key: KeyClaim = UNKEYED


def new_session_record(hold: PlannedHold, shard: int) -> SessionRecord:
    """The session that the hold opens."""
    point, request = hold.point, hold.request
    return SessionRecord(
        shard=shard,
        id=new_id(shard=shard),
        demand_partner_id=request.party_id,
        cpo_id=point.cpo_id,
        evse_id=point.evse_id,
        location_id=point.location_id,
        session_ref=request.session_ref,
        tax_jurisdiction=point.tax_jurisdiction,
        time_zone=point.time_zone,
        currency=hold.snapshot.currency,
        tariff_sha256=hold.snapshot.sha256,
        state=SessionState.ACTIVE,
        cdr_id=None,
        cdr_version=None,
        cdr=None,
        price_minor=None,
        price_net_minor=None,
        energy_wh=None,
        started_at=None,
        ended_at=None,
        flags=flags_at_start(point, request),
        metadata=request.metadata,
        created_at=hold.now,
        updated_at=hold.now,
        evse_uid=point.evse_uid,
        evse_power_w=point.evse_power_w,
        power_type=point.power_type,
    )


def new_authorization_record(
    hold: PlannedHold, session: SessionRecord, authorization_id: UUID
) -> AuthorizationRecord:
    """The authorization of a session, before anything is asked of the PSP."""
    request = hold.request
    on_account = isinstance(request.payment, PartnerAccount)
    method = request.payment if isinstance(request.payment, PspMethod) else None
    account = (
        (request.payment.party_id or request.party_id)
        if isinstance(request.payment, PartnerAccount)
        else None
    )
    return AuthorizationRecord(
        shard=session.shard,
        id=authorization_id,
        session_id=session.id,
        party_id=request.party_id,
        authorization_method=request.method,
        funding="partner_account" if on_account else "psp",
        account_party_id=account,
        state=PaymentState.AUTHORIZED if on_account else PaymentState.REQUIRES_AUTHORIZATION,
        version=1,
        hold_minor=hold.amount_minor,
        currency=hold.snapshot.currency,
        payment_method=method.payment_method if method else None,
        customer=method.customer if method else None,
        off_session=method.off_session if method else False,
        return_url=method.return_url if method else None,
        psp_payment=None,
        capture_before=None,
        incrementable=on_account,
        max_capture_minor=None,
        next_action=None,
        decline_code=None,
        metadata=request.metadata,
        receipt_email=request.receipt_email,
        save_usage=method.save.usage if method and method.save else None,
        save_consent=method.save.consent if method and method.save else None,
        most_minor=request.max_amount_minor,
        created_at=hold.now,
        updated_at=hold.now,
    )


def stored_fields(authorization: AuthorizationRecord) -> dict[str, Any]:
    """What is stored of an authorization beside its names, by parameter."""
    return {
        "metadata": dict(authorization.metadata),
        "authorization_method": authorization.authorization_method,
        "funding": authorization.funding,
        "account_party_id": authorization.account_party_id,
        "state": authorization.state.value,
        "hold_minor": authorization.hold_minor,
        "payment_method": authorization.payment_method,
        "customer": authorization.customer,
        "off_session": authorization.off_session,
        "receipt_email": authorization.receipt_email,
        "return_url": authorization.return_url,
        "save_usage": authorization.save_usage,
        "save_consent": authorization.save_consent,
        "most_minor": authorization.most_minor,
    }
