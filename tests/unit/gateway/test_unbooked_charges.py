"""Which decisions fit money that is in no book, and what the PSP's record says of a payment's session."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from gateway.exception_kinds import ExceptionKind
from gateway.exceptions.decisions import ACTIONS_OF, decision_of, misfit
from gateway.ids import format_id
from gateway.payments import psp_record
from gateway.payments.records import AuthorizationRecord, CaptureRecord
from gateway.payments.state_machine import PaymentState
from gateway.payments.stated_usage import UsageAction
from gateway.payments.unbooked_charge_repository import UnbookedCharge, UnbookedReason
from gateway.payments.unbooked_charge_state import UnbookedState
from gateway.payments.unbooked_charges import ChargeAction, rejection

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SESSION = UUID("01a22c01-1c3a-77b1-8df2-0ec5a7c3e8bf")
CHARGE = UnbookedCharge(
    psp_payment="pi_1",
    psp_charge="ch_1",
    shard=63,
    session_id=SESSION,
    reason=UnbookedReason.CAPTURED_BY_HAND,
    state=UnbookedState.OPEN,
    amount_minor=1190,
    refunded_minor=0,
    currency="EUR",
    fee_minor=43,
    fee_currency="EUR",
    decided_by=None,
    decided_at=None,
    refund_id=None,
    psp_refund=None,
    updated_at=NOW,
)


def authorization(state: PaymentState, *, psp_payment: str = "pi_1") -> AuthorizationRecord:
    return AuthorizationRecord(
        shard=63,
        id=SESSION,
        session_id=SESSION,
        party_id="parking",
        authorization_method="card",
        funding="psp",
        account_party_id=None,
        state=state,
        version=1,
        hold_minor=2000,
        currency="EUR",
        payment_method="pm_1",
        customer=None,
        off_session=False,
        psp_payment=psp_payment,
        capture_before=None,
        incrementable=False,
        max_capture_minor=None,
        next_action=None,
        decline_code=None,
        metadata={},
        created_at=NOW,
        updated_at=NOW,
    )


def capture(state: str) -> CaptureRecord:
    return CaptureRecord(
        shard=63,
        session_id=SESSION,
        id=SESSION,
        authorization_id=SESSION,
        state=state,
        amount_minor=1190,
        receivable_minor=0,
        currency="EUR",
        psp_charge="ch_0",
        fee_minor=None,
        fee_currency=None,
        residual_charge_minor=0,
        refunded_minor=0,
        disputed_minor=0,
        captured_at=NOW if state == "succeeded" else None,
        created_at=NOW,
    )


FAILED = authorization(PaymentState.FAILED)


@pytest.mark.parametrize(
    ("charge", "held", "taken", "refused"),
    [
        (CHARGE, FAILED, None, set()),
        (CHARGE, None, None, set()),
        (CHARGE, FAILED, capture("failed"), set()),
        (CHARGE, authorization(PaymentState.AUTHORIZED), None, {"adopt", "refund", "leave"}),
        (CHARGE, authorization(PaymentState.OUTCOME_UNKNOWN), None, {"adopt", "refund", "leave"}),
        (CHARGE, authorization(PaymentState.AUTHORIZED, psp_payment="pi_2"), None, {"adopt"}),
        (CHARGE, authorization(PaymentState.CAPTURED), capture("succeeded"), {"adopt"}),
        (CHARGE, FAILED, capture("requested"), {"adopt"}),
        (replace(CHARGE, session_id=None), None, None, {"adopt"}),
        (replace(CHARGE, refunded_minor=1), FAILED, None, {"adopt"}),
        (replace(CHARGE, psp_refund="re_1"), FAILED, None, {"adopt"}),
    ],
)
def test_a_charge_is_adopted_only_by_a_session_without_another_payment(
    charge: UnbookedCharge,
    held: AuthorizationRecord | None,
    taken: CaptureRecord | None,
    refused: set[str],
) -> None:
    for action in ChargeAction:
        why_not = rejection(charge, action, authorization=held, capture=taken)
        assert (why_not is not None) == (action.value in refused), (action, why_not)


def test_each_kind_takes_its_own_actions_and_no_other() -> None:
    for kind in ExceptionKind:
        for actions in (UsageAction, ChargeAction):
            for action in actions:
                fits = ACTIONS_OF.get(kind) is actions
                assert (misfit(kind, decision_of(action, amount_minor=None)) is None) == fits
        assert (misfit(kind, None) is None) == (kind not in ACTIONS_OF)


def test_a_record_at_the_psp_names_what_a_session_is_rebuilt_from() -> None:
    whole = {
        "session": format_id("ses", SESSION),
        "party": "parking",
        "authorization_method": "app",
        "cpo": "DE-ABC",
        "evse": "DE*ABC*E1",
        "tariff_sha256": "0" * 64,
    }
    found = psp_record.read(whole)
    assert (found.session_id, found.authorization_method, found.session_ref) == (SESSION, "app", None)
    assert found.missing == []
    for name in ("session", "party", "cpo", "evse", "tariff_sha256"):
        assert psp_record.read({key: value for key, value in whole.items() if key != name}).missing == [name]
    assert psp_record.read({"session": "no id", "authorization_method": "cash"}).session_id is None
