"""What is kept of a Stripe event: all that is read of it, and little of what a driver's card says."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ids import format_id, new_id, shard_of
from gateway.payments.psp.stripe.event_types import ACCOUNT_EVENTS, CONNECT_EVENTS
from gateway.payments.psp.stripe.events import read_signed_event
from gateway.payments.psp.stripe.kept_events import kept_body
from gateway.payments.psp_events import shard_of_event

SESSION = new_id()
CARD = {
    "card": {"last4": "4242", "exp_year": 2034, "fingerprint": "F"},
    "billing_details": {"email": "a@b.example"},
}


def event(kind: str, subject: dict[str, Any], **more: Any) -> bytes:
    said = {
        "id": "evt_1",
        "type": kind,
        "livemode": False,
        "created": 1_793_000_000,
        "data": {"object": subject},
    }
    return json.dumps(said | more).encode()


def subjects() -> dict[str, dict[str, Any]]:
    """An object of each kind, with what surrounds it at Stripe."""
    ours = {"session": format_id("ses", SESSION), "authorization": "auth_1", "tariff_sha256": "f" * 64}
    charge = {"object": "charge", "id": "ch_1", "metadata": ours, "payment_method_details": CARD}
    return {
        "payment_intent": {
            "object": "payment_intent",
            "id": "pi_1",
            "status": "requires_payment_method",
            "amount": 6100,
            "currency": "eur",
            "client_secret": "pi_1_secret_x",
            "last_payment_error": {
                "code": "card_declined",
                "decline_code": "fraudulent",
                "payment_method": CARD,
            },
            "metadata": ours,
            "latest_charge": charge,
        },
        "charge": {**charge, "payment_intent": "pi_1", "receipt_email": "a@b.example"},
        "refund of ours": {
            "object": "refund",
            "id": "re_1",
            "status": "succeeded",
            "payment_intent": "pi_1",
            "metadata": {"refund": format_id("ref", SESSION)},
        },
        "refund by hand": {"object": "refund", "id": "re_2", "status": "pending", "payment_intent": "pi_1"},
        "dispute": {
            "object": "dispute",
            "id": "du_1",
            "payment_intent": "pi_1",
            "charge": "ch_1",
            "evidence": {"a": "b"},
        },
        "dispute, expanded": {
            "object": "dispute",
            "id": "du_1",
            "payment_intent": {"object": "payment_intent", "id": "pi_1"},
            "charge": charge,
        },
        "setup_intent": {
            "object": "setup_intent",
            "id": "seti_1",
            "status": "succeeded",
            "payment_method": "pm_1",
        },
        "payment_method": {"object": "payment_method", "id": "pm_1", "customer": "cus_1", **CARD},
        "mandate": {"object": "mandate", "id": "mandate_1", "status": "inactive", "payment_method": "pm_1"},
        "topup": {
            "object": "topup",
            "id": "tu_1",
            "status": "failed",
            "failure_code": "x",
            "metadata": {"top_up": "fund_1"},
        },
        "account": {
            "object": "account",
            "id": "acct_1",
            "charges_enabled": True,
            "requirements": {"eventually_due": ["x"] * 90},
        },
        "capability": {"object": "capability", "id": "transfers", "account": "acct_1", "status": "active"},
    }


@pytest.mark.parametrize("kind", sorted(ACCOUNT_EVENTS | CONNECT_EVENTS))
@pytest.mark.parametrize("name", list(subjects()))
def test_what_is_kept_says_what_the_event_said(kind: str, name: str) -> None:
    body = event(kind, subjects()[name])
    kept = kept_body(body)
    assert read_signed_event(kept, live=False) == read_signed_event(body, live=False)
    assert kept_body(kept) == kept
    assert len(kept) <= len(body)


def test_a_drivers_data_and_secrets_are_not_kept() -> None:
    for name, subject in subjects().items():
        kept = kept_body(event("charge.updated", subject, request={"id": "req_1"})).decode()
        for word in ("a@b.example", "4242", "fingerprint", "secret_x", "f" * 64, "eventually_due"):
            assert word not in kept, name
    declined = json.loads(kept_body(event("payment_intent.payment_failed", subjects()["payment_intent"])))
    assert declined["data"]["object"]["last_payment_error"] == {
        "code": "card_declined",
        "decline_code": "fraudulent",
    }


def test_which_attributes_changed_is_kept_without_their_values() -> None:
    body = event("account.updated", subjects()["account"])
    changed = json.loads(body)
    changed["data"]["previous_attributes"] = {"email": "a@b.example", "charges_enabled": False}
    kept = kept_body(json.dumps(changed).encode())
    assert json.loads(kept)["data"]["changed"] == ["charges_enabled", "email"]
    assert kept_body(kept) == kept


@given(st.one_of(st.binary(max_size=80), st.text(max_size=80).map(lambda text: text.encode())))
def test_a_body_that_is_no_event_is_kept_as_it_came(body: bytes) -> None:
    assert kept_body(body) == body


def test_events_lie_with_their_session_or_with_the_others_of_their_object() -> None:
    read = {
        name: read_signed_event(event("charge.updated", subject), live=False)
        for name, subject in subjects().items()
    }
    for name in ("payment_intent", "charge", "refund of ours", "dispute, expanded"):
        assert shard_of_event(read[name]) == shard_of(SESSION), name
    for name in ("refund by hand", "dispute", "setup_intent", "topup", "account"):
        one = event("charge.updated", subjects()[name])
        other = one.replace(b"evt_1", b"evt_2")
        assert shard_of_event(read_signed_event(other, live=False)) == shard_of_event(read[name]), name
