"""By when an exception is handled: an age limit for each kind, the default or one that was set.

Owns: the defaults and what may be set. Must not know the clock, the queue, who is alerted.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from gateway.exception_kinds import ExceptionKind
from gateway.exceptions.rules import ExceptionRecord

_HOURS_4: Final = timedelta(hours=4)
_DAY: Final = timedelta(days=1)
# Counted from when the cause arose. Money that moves wrongly, or not at all, is a matter of hours; a hold
# ends within days; documents and partners' receivers have until the next period or disable themselves.
DUE_AFTER: Final[Mapping[ExceptionKind, timedelta]] = MappingProxyType(
    {
        ExceptionKind.UNCLEARED_SESSION: timedelta(days=2),  # the due date of its payables: T + 2
        ExceptionKind.UNPAID_SESSION: timedelta(days=14),
        ExceptionKind.UNMATCHED_CDR: timedelta(days=2),
        ExceptionKind.FAILED_CDR_CHECK: timedelta(days=2),  # the shortest hold of a card ends after two days
        ExceptionKind.UNAPPLIED_CREDIT: timedelta(days=7),
        ExceptionKind.REJECTED_CDR: timedelta(days=7),
        ExceptionKind.FAILED_TASK: _DAY,
        ExceptionKind.UNKNOWN_PSP_OUTCOME: timedelta(days=2),  # it is an exception after a day
        ExceptionKind.PSP_CONFIGURATION: timedelta(hours=1),
        ExceptionKind.UNBOOKED_CHARGE: timedelta(days=2),
        ExceptionKind.TOPUP_NOT_ARRIVED: timedelta(days=14),  # one on its way is an exception after ten
        ExceptionKind.DISPUTE_RESPONSE: timedelta(days=5),  # the schemes leave seven at least
        ExceptionKind.UNKNOWN_DISBURSEMENT_OUTCOME: _DAY,
        ExceptionKind.RECONCILIATION_DIFFERENCE: timedelta(days=7),
        ExceptionKind.DOCUMENT_EXCEPTION: timedelta(days=7),
        ExceptionKind.PENDING_DRIVER_DOCUMENTS: timedelta(days=7),
        ExceptionKind.PAYOUT_HOLD: timedelta(days=7),
        ExceptionKind.UNPAYABLE_ACCOUNT: timedelta(days=7),
        ExceptionKind.UNCHECKED_PARTY: timedelta(days=7),
        ExceptionKind.LAPSING_PARTY_CHECK: timedelta(days=7),  # then the check has lapsed
        ExceptionKind.APPROVAL_REQUEST: _DAY,
        ExceptionKind.DISBURSEMENT_APPROVAL: _HOURS_4,  # paid today, or late
        ExceptionKind.PENDING_BANK_DETAILS: _DAY,
        ExceptionKind.OLD_SUSPENSE: timedelta(days=14),  # it is an exception after seven
        ExceptionKind.UNSENT_PAYMENT_FILE: _HOURS_4,
        ExceptionKind.REJECTED_BANK_MESSAGE: _DAY,
        ExceptionKind.FAILING_OCPI_PULL: _DAY,
        ExceptionKind.UNDELIVERED_OCPI_MESSAGE: _DAY,
        ExceptionKind.FAILING_WEBHOOK_ENDPOINT: timedelta(days=5),  # it is disabled then
        ExceptionKind.CHANGED_METER_KEY: timedelta(days=2),
        ExceptionKind.UNAPPLIED_POOL_EVENT: timedelta(days=2),
        ExceptionKind.AUDIT_DIFFERENCE: _DAY,
    }
)


MIN_HOURS: Final = 1
MAX_HOURS: Final = 8760  # a year


def limits_with(hours: Mapping[ExceptionKind, int]) -> Mapping[ExceptionKind, timedelta]:
    """The age limit of every kind, where these were set."""
    return dict(DUE_AFTER) | {kind: timedelta(hours=limit) for kind, limit in hours.items()}


def hours_of(limit: timedelta) -> int:
    """An age limit in whole hours, as it is shown and set."""
    return int(limit.total_seconds()) // 3600


def is_allowed(hours: int) -> bool:
    """Whether an age limit may be set to so many hours."""
    return MIN_HOURS <= hours <= MAX_HOURS


def due_at(record: ExceptionRecord) -> datetime:
    """By when it is to be handled, business time."""
    limit = None if record.limit_hours is None else timedelta(hours=record.limit_hours)
    return record.since + (limit or DUE_AFTER[record.kind])
