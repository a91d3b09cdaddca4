"""Names of the exceptions queue that rules, rows and the public API share: kinds, states, lines of history.

Owns: these names. Must not know: what a person does about a kind (gateway/exceptions/rules.py).
"""

from enum import StrEnum


class ExceptionState(StrEnum):
    """Open while its cause exists, then resolved. If the cause occurs again, a new exception opens."""

    OPEN = "open"
    RESOLVED = "resolved"


class ExceptionEventKind(StrEnum):
    """The kinds of lines in an exception's history."""

    OPENED = "opened"
    CHANGED = "changed"
    ASSIGNED = "assigned"
    PROPOSED = "proposed"
    RETRIED = "retried"
    RESOLVED = "resolved"


class ExceptionKind(StrEnum):
    """What stopped."""

    UNCLEARED_SESSION = "uncleared_session"
    UNPAID_SESSION = "unpaid_session"
    UNMATCHED_CDR = "unmatched_cdr"
    FAILED_CDR_CHECK = "failed_cdr_check"
    UNAPPLIED_CREDIT = "unapplied_credit"
    REJECTED_CDR = "rejected_cdr"
    FAILED_TASK = "failed_task"
    UNKNOWN_PSP_OUTCOME = "unknown_psp_outcome"
    PSP_CONFIGURATION = "psp_configuration"
    UNBOOKED_CHARGE = "unbooked_charge"
    TOPUP_NOT_ARRIVED = "topup_not_arrived"
    DISPUTE_RESPONSE = "dispute_response"
    UNKNOWN_DISBURSEMENT_OUTCOME = "unknown_disbursement_outcome"
    RECONCILIATION_DIFFERENCE = "reconciliation_difference"
    DOCUMENT_EXCEPTION = "document_exception"
    PENDING_DRIVER_DOCUMENTS = "pending_driver_documents"
    PAYOUT_HOLD = "payout_hold"
    UNPAYABLE_ACCOUNT = "unpayable_account"
    UNCHECKED_PARTY = "unchecked_party"
    APPROVAL_REQUEST = "approval_request"
    DISBURSEMENT_APPROVAL = "disbursement_approval"
    PENDING_BANK_DETAILS = "pending_bank_details"
    OLD_SUSPENSE = "old_suspense"
    UNSENT_PAYMENT_FILE = "unsent_payment_file"
    REJECTED_BANK_MESSAGE = "rejected_bank_message"
    FAILING_OCPI_PULL = "failing_ocpi_pull"
    UNDELIVERED_OCPI_MESSAGE = "undelivered_ocpi_message"
    FAILING_WEBHOOK_ENDPOINT = "failing_webhook_endpoint"
    CHANGED_METER_KEY = "changed_meter_key"
    UNAPPLIED_POOL_EVENT = "unapplied_pool_event"
    AUDIT_DIFFERENCE = "audit_difference"
