"""What clearing holds open for a person: sessions, differences, documents, payouts, approvals, meter keys.

Owns: the lists and what each entry says of itself. Must not know: who shows them, or what a person does about
them. It only reads; an entry is gone as soon as its row is closed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.sanctions.screening import SCREENER

_QUERIES: Final[Any] = named_queries("open_items")
# An outcome that is still unknown after this long is no longer a matter of waiting.
UNKNOWN_OUTCOME_AFTER: Final = timedelta(hours=24)
# Suspense is cleared within a week, and a payment file reaches the bank in the round that creates it.
OLD_SUSPENSE_AFTER: Final = timedelta(days=7)
UNSENT_FILE_AFTER: Final = timedelta(hours=1)
LAPSING_DAYS: Final = 7  # before a check lapses: time to do it again, or to fetch a newer list


class OpenCauseKind(StrEnum):
    """The lists."""

    SESSION = "uncleared_session"
    DIFFERENCE = "reconciliation_difference"
    DOCUMENT = "document_exception"
    DRIVER_DOCUMENT = "pending_driver_documents"
    PAYOUT_HOLD = "payout_hold"
    UNPAYABLE_ACCOUNT = "unpayable_account"
    UNCHECKED_PARTY = "unchecked_party"
    LAPSING_CHECK = "lapsing_party_check"
    DISBURSEMENT = "unknown_disbursement_outcome"
    APPROVAL_REQUEST = "approval_request"
    DISBURSEMENT_APPROVAL = "disbursement_approval"
    BANK_DETAILS = "pending_bank_details"
    SUSPENSE = "old_suspense"
    PAYMENT_FILE = "unsent_payment_file"
    BANK_MESSAGE = "rejected_bank_message"
    METER_KEY = "changed_meter_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCause:
    """One entry of a list. Its subject has an id, or a `name` of several parts where it has none.

    `amount_minor` goes with `currency`; `owner` is None where the kind alone decides who looks after it.
    """

    kind: OpenCauseKind
    id: UUID | None = None
    name: str | None = None
    party_id: str | None = None
    owner: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    reason: str
    detail: str
    since: datetime


async def list_psp_differences(connection: Connection, *, limit: int) -> dict[str, list[str]]:
    """References of lines in which books and PSP differ, by currency: up to `limit` of each, oldest first."""
    found: dict[str, list[str]] = {}
    async for row in _QUERIES.psp_differences(connection, limit=limit):
        found.setdefault(row["currency"], []).append(row["reference"])
    return found


async def open_causes(connection: Connection, *, now: datetime) -> list[OpenCause]:
    """Every open entry at business time `now`, list by list, the oldest of each first."""
    lists = {
        OpenCauseKind.SESSION: _QUERIES.session_exceptions(connection),
        OpenCauseKind.DIFFERENCE: _QUERIES.differences(connection),
        OpenCauseKind.DOCUMENT: _QUERIES.document_exceptions(connection),
        OpenCauseKind.DRIVER_DOCUMENT: _QUERIES.pending_driver_documents(connection),
        OpenCauseKind.PAYOUT_HOLD: _QUERIES.payout_holds(connection, now=now),
        OpenCauseKind.UNPAYABLE_ACCOUNT: _QUERIES.unpayable_accounts(connection),
        OpenCauseKind.UNCHECKED_PARTY: _QUERIES.unchecked_parties(connection),
        OpenCauseKind.LAPSING_CHECK: _QUERIES.lapsing_checks(
            connection,
            lapses_by=now.date() + timedelta(days=LAPSING_DAYS),
            notice_days=LAPSING_DAYS,
            screener=SCREENER,
        ),
        OpenCauseKind.DISBURSEMENT: _QUERIES.unknown_disbursements(
            connection, requested_before=now - UNKNOWN_OUTCOME_AFTER
        ),
        OpenCauseKind.APPROVAL_REQUEST: _QUERIES.approval_requests(connection),
        OpenCauseKind.DISBURSEMENT_APPROVAL: _QUERIES.disbursement_approvals(connection),
        OpenCauseKind.BANK_DETAILS: _QUERIES.pending_bank_details(connection),
        OpenCauseKind.SUSPENSE: _QUERIES.old_suspense(
            connection, since_before=now.date() - OLD_SUSPENSE_AFTER
        ),
        OpenCauseKind.PAYMENT_FILE: _QUERIES.unsent_payment_files(
            connection, created_before=now - UNSENT_FILE_AFTER
        ),
        OpenCauseKind.BANK_MESSAGE: _QUERIES.rejected_bank_messages(connection),
        OpenCauseKind.METER_KEY: _QUERIES.proposed_meter_keys(connection),
    }
    return [
        OpenCause(kind=kind, **dict(row.items()))
        for kind, found in lists.items()
        for row in await rows(found)
    ]
