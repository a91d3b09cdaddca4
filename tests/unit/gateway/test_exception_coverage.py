"""Every state that something may stay in opens an exception, or is named here with why it needs no person.

The states are read from the CHECKs of the three schemas, so a new state fails here until it is decided on.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.exception_kinds import ExceptionKind

ROOT = Path(__file__).resolve().parents[3]
_TABLE = re.compile(r"CREATE TABLE (\w+\.\w+) \((.*?)\n\);", re.DOTALL)
_STATE = re.compile(
    r"^\s+(?:state|status)\s+text[^,\n]*CHECK \(\s*(?:state|status) IN \((.*?)\)\)", re.MULTILINE | re.DOTALL
)
_TASK_KIND = re.compile(r"^\s+kind\s+text[^,\n]*CHECK \(kind IN \((.*?)\)\)", re.MULTILINE | re.DOTALL)
_CHANGE = re.compile(r"ALTER TABLE (\w+\.\w+)\b(.*?);", re.DOTALL)
_CHANGED = re.compile(r"CHECK \((state|status|kind) IN \((.*?)\)\)", re.DOTALL)
_ADDED = re.compile(r"ADD COLUMN (\w+_state) text CHECK \(\1 IN \((.*?)\)\)", re.DOTALL)
_OPEN_UNTIL = re.compile(r"^\s+(exception_at|resolved_at|lifted_at|sent_at)\s+timestamptz", re.MULTILINE)

# A state in which something waits for a person, and the kinds that it opens.
WAITS: dict[tuple[str, str], set[ExceptionKind]] = {
    ("gateway.session", "exception"): {ExceptionKind.UNCLEARED_SESSION, ExceptionKind.UNPAID_SESSION},
    ("gateway.psp_request", "intended"): {ExceptionKind.UNKNOWN_PSP_OUTCOME},
    ("gateway.psp_request", "unknown"): {ExceptionKind.UNKNOWN_PSP_OUTCOME},
    ("gateway.webhook_endpoint", "enabled"): {ExceptionKind.FAILING_WEBHOOK_ENDPOINT},
    ("gateway.webhook_endpoint", "disabled"): {ExceptionKind.FAILING_WEBHOOK_ENDPOINT},
    ("gateway.ocpi_peer", "registered"): {ExceptionKind.FAILING_OCPI_PULL},
    ("gateway.ocpi_cdr", "unmatched"): {ExceptionKind.UNMATCHED_CDR},
    ("gateway.ocpi_cdr", "unpriceable"): {ExceptionKind.UNMATCHED_CDR},
    ("gateway.ocpi_cdr", "exception"): {ExceptionKind.FAILED_CDR_CHECK},
    ("gateway.ocpi_cdr", "credit_state exception"): {ExceptionKind.UNAPPLIED_CREDIT},
    ("gateway.stated_usage", "exception"): {ExceptionKind.FAILED_CDR_CHECK},
    ("gateway.contract_pool_event", "waiting"): {ExceptionKind.UNAPPLIED_POOL_EVENT},
    ("gateway.top_up", "requested"): {ExceptionKind.TOPUP_NOT_ARRIVED},
    ("gateway.top_up", "pending"): {ExceptionKind.TOPUP_NOT_ARRIVED},
    ("gateway.top_up", "failed"): {ExceptionKind.TOPUP_NOT_ARRIVED},
    ("gateway.top_up", "cancelled"): {ExceptionKind.TOPUP_NOT_ARRIVED},
    ("gateway.top_up", "reversed"): {ExceptionKind.TOPUP_NOT_ARRIVED},
    ("gateway.unbooked_charge", "open"): {ExceptionKind.UNBOOKED_CHARGE},
    ("gateway.unbooked_charge", "adopting"): {ExceptionKind.UNBOOKED_CHARGE},
    ("gateway.unbooked_charge", "refunding"): {ExceptionKind.UNBOOKED_CHARGE},
    ("clearing.bank_details", "pending"): {ExceptionKind.PENDING_BANK_DETAILS},
    ("clearing.disbursement", "planned"): {ExceptionKind.DISBURSEMENT_APPROVAL},
    ("clearing.disbursement", "outcome_unknown"): {ExceptionKind.UNKNOWN_DISBURSEMENT_OUTCOME},
    ("clearing.bank_message", "rejected"): {ExceptionKind.REJECTED_BANK_MESSAGE},
    ("clearing.approval_request", "pending"): {ExceptionKind.APPROVAL_REQUEST},
    ("clearing.meter_key", "proposed"): {ExceptionKind.CHANGED_METER_KEY},
    # Rows that are open until a time is set.
    ("gateway.task", "exception_at"): {ExceptionKind.FAILED_TASK},
    ("gateway.session", "exception_at"): {ExceptionKind.UNCLEARED_SESSION, ExceptionKind.UNPAID_SESSION},
    ("gateway.ocpi_outbox", "exception_at"): {ExceptionKind.UNDELIVERED_OCPI_MESSAGE},
    ("clearing.session_exception", "resolved_at"): {ExceptionKind.UNCLEARED_SESSION},
    ("clearing.session_exception", "exception_at"): {ExceptionKind.UNCLEARED_SESSION},
    ("clearing.payout_hold", "lifted_at"): {
        ExceptionKind.PAYOUT_HOLD,
        ExceptionKind.UNPAYABLE_ACCOUNT,
        ExceptionKind.UNCHECKED_PARTY,
    },
    ("clearing.payment_file", "sent_at"): {ExceptionKind.UNSENT_PAYMENT_FILE},
    ("clearing.reconciliation_difference", "resolved_at"): {ExceptionKind.RECONCILIATION_DIFFERENCE},
}
# Kinds whose cause is a row without a state: it exists, or has an amount left.
WITHOUT_A_STATE = {
    ExceptionKind.AUDIT_DIFFERENCE,
    ExceptionKind.DISPUTE_RESPONSE,
    ExceptionKind.DOCUMENT_EXCEPTION,
    ExceptionKind.LAPSING_PARTY_CHECK,
    ExceptionKind.OLD_SUSPENSE,
    ExceptionKind.PENDING_DRIVER_DOCUMENTS,
    ExceptionKind.PSP_CONFIGURATION,
    ExceptionKind.REJECTED_CDR,
}

_ENDED = "it has ended"
_JOB = "a job ends it; if its task fails for good, the task opens the exception"
# Table, states, and why they need no person.
NEEDS_NOBODY: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("gateway.session", ("active",), "its CDR, or the policy for sessions without one, ends it"),
    ("gateway.session", ("completed",), _JOB),
    ("gateway.session", ("cancelled", "cleared"), _ENDED),
    (
        "gateway.payment_authorization",
        ("requires_authorization", "capture_requested", "outcome_unknown"),
        "its open PSP request opens the exception",
    ),
    ("gateway.payment_authorization", ("requires_action",), "the driver answers, or it is voided in time"),
    (
        "gateway.payment_authorization",
        ("authorized",),
        "its session ends it, or its hold is renewed or voided",
    ),
    ("gateway.payment_authorization", ("captured", "voided", "failed"), _ENDED),
    (
        "gateway.payment_method_setup",
        ("requires_payment_method", "requires_action", "processing"),
        "the driver finishes it, or gives it up: no money waits for it",
    ),
    ("gateway.payment_method_setup", ("succeeded", "cancelled"), _ENDED),
    ("gateway.capture", ("requested",), "its open PSP request opens the exception"),
    ("gateway.capture", ("succeeded",), _ENDED),
    ("gateway.capture", ("failed",), "its session opens the exception"),
    ("gateway.refund", ("requested",), "its open PSP request opens the exception"),
    ("gateway.refund", ("succeeded", "failed"), "it has ended; refund.failed reports a failure to its party"),
    (
        "gateway.dispute",
        ("inquiry", "opened"),
        "while the bank waits for evidence, that opens the exception; else the PSP's answer ends it",
    ),
    ("gateway.dispute", ("won", "lost", "closed"), _ENDED),
    ("gateway.psp_request", ("succeeded", "declined"), _ENDED),
    ("gateway.exception", ("open", "resolved"), "the queue itself"),
    ("gateway.exception", ("resolved_at",), "the queue itself"),
    ("gateway.webhook_endpoint", ("deleted",), _ENDED),
    ("gateway.delivery", ("pending", "failed"), "it is retried; its endpoint opens the exception"),
    ("gateway.delivery", ("delivered",), _ENDED),
    ("gateway.delivery", ("abandoned",), "its endpoint was disabled, which opens the exception"),
    ("gateway.ocpi_peer", ("invited",), "the peer registers, or the invitation expires"),
    ("gateway.ocpi_peer", ("ended",), _ENDED),
    ("gateway.ocpi_cdr", ("pending",), _JOB),
    ("gateway.ocpi_cdr", ("completed", "rejected", "credit"), _ENDED),
    ("gateway.ocpi_cdr", ("credit_state pending",), "its CDR comes or is reversed, or a job gives it up"),
    ("gateway.ocpi_cdr", ("credit_state applied",), _ENDED),
    ("gateway.stated_usage", ("accepted", "rejected"), "a person has decided"),
    ("gateway.stated_usage", ("replaced",), _ENDED),
    ("gateway.top_up", ("arrived",), "it is booked"),
    ("gateway.unbooked_charge", ("adopted", "refunded", "left"), "a person has decided"),
    ("gateway.ocpi_command", ("requested", "accepted"), "the CPO answers, or it times out"),
    (
        "gateway.ocpi_command",
        ("unanswered", "rejected", "succeeded", "failed", "timed_out"),
        "its caller reads the answer and decides",
    ),
    ("gateway.ocpi_terminal", ("active", "deactivated"), "what the CPO reported"),
    (
        "gateway.task",
        (
            "complete_session",
            "capture_session",
            "charge_residual",
            "clear_session",
            "book_correction",
            "handle_psp_event",
            "settle_unbooked_charge",
        ),
        "it runs by itself; if it fails for good, `exception_at` opens the exception",
    ),
    ("gateway.contract_pool_event", ("pending",), _JOB),
    ("gateway.contract_pool_event", ("applied", "superseded", "ignored"), _ENDED),
    ("gateway.contract_pool_event", ("dismissed",), "a person has decided"),
    ("clearing.payable", ("open", "scheduled"), "a disbursement pays it; what prevents that is an exception"),
    ("clearing.bank_details", ("approved", "rejected", "retired"), "a person has decided"),
    (
        "clearing.disbursement",
        ("requested",),
        "the PSP or the bank answers; one that the bank never confirms becomes a reconciliation difference",
    ),
    (
        "clearing.disbursement",
        ("cancelled", "paid", "failed", "returned"),
        "it has ended; its payables are planned again, unless a payout hold opens an exception",
    ),
    ("clearing.bank_message", ("imported",), _ENDED),
    ("clearing.approval_request", ("booked", "rejected"), "a person has decided"),
    ("clearing.meter_key", ("active",), "it verifies records until it ends"),
    ("clearing.meter_key", ("rejected",), "a person has decided"),
    ("pnc.contract", ("active", "cancelled"), "an administrator decided"),
    ("pnc.contract", ("blocked",), "an administrator blocked it on purpose"),
    ("pnc.revocation_status", ("good", "revoked", "unknown"), "it is requested again when it is due"),
    ("pnc.decision", ("awaiting_payment",), "the PSP's answer or the station's next request ends it"),
    ("pnc.decision", ("rejected", "accepted", "payment_rejected", "closed"), "the vehicle was answered"),
)


def _listed(text: str) -> list[str]:
    return re.findall(r"'([a-z_]+)'", text)


def _states() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.glob("*/sql/migrations/*.sql")):
        for table, columns in _TABLE.findall(path.read_text("utf-8")):
            yield from ((table, state) for found in _STATE.findall(columns) for state in _listed(found))
            yield from ((table, column) for column in _OPEN_UNTIL.findall(columns))
            if table == "gateway.task":
                yield from ((table, kind) for found in _TASK_KIND.findall(columns) for kind in _listed(found))


def _changed_states() -> Iterator[tuple[str, str]]:
    """States that a later migration gives a table."""
    for path in sorted(ROOT.glob("*/sql/migrations/*.sql")):
        for table, change in _CHANGE.findall(path.read_text("utf-8")):
            for column, listed in _CHANGED.findall(change):
                if column != "kind" or table == "gateway.task":
                    yield from ((table, state) for state in _listed(listed))
            for column, listed in _ADDED.findall(change):
                yield from ((table, f"{column} {state}") for state in _listed(listed))
            yield from (
                (table, column) for column in re.findall(r"ADD COLUMN (exception_at|resolved_at)", change)
            )


def test_every_state_opens_an_exception_or_needs_no_person_for_a_named_reason() -> None:
    named = [(table, state) for table, states, _ in NEEDS_NOBODY for state in states]
    assert len(set(named)) == len(named)
    assert not WAITS.keys() & set(named)
    assert WAITS.keys() | set(named) == set(_states()) | set(_changed_states())
    assert all(reason for _, _, reason in NEEDS_NOBODY)


@pytest.mark.parametrize("kind", list(ExceptionKind))
def test_every_kind_has_a_state_that_opens_it(kind: ExceptionKind) -> None:
    assert kind in set().union(*WAITS.values()) | WITHOUT_A_STATE
