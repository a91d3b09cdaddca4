"""What clearing holds open for a person: sessions, differences, documents, holds, disbursements, keys.

Owns: the lists and what each entry says of itself. Must not know: who shows them, or what a person does about
them. It only reads; an entry is gone as soon as its row is closed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from clearing.connection import Connection, named_queries, rows

_QUERIES: Final[Any] = named_queries("open_items")
# An outcome that is still unknown after this long is no longer a matter of waiting.
UNKNOWN_OUTCOME_AFTER: Final = timedelta(hours=24)


class OpenCauseKind(StrEnum):
    """The lists."""

    SESSION = "uncleared_session"
    DIFFERENCE = "reconciliation_difference"
    DOCUMENT = "document_exception"
    PAYOUT_HOLD = "payout_hold"
    DISBURSEMENT = "unknown_disbursement_outcome"
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


async def open_causes(connection: Connection, *, now: datetime) -> list[OpenCause]:
    """Every open entry at business time `now`, list by list, the oldest of each first."""
    unknown_before = now - UNKNOWN_OUTCOME_AFTER
    return [
        *map(_session, await rows(_QUERIES.session_exceptions(connection))),
        *map(_difference, await rows(_QUERIES.differences(connection))),
        *map(_document, await rows(_QUERIES.document_exceptions(connection))),
        *map(_payout_hold, await rows(_QUERIES.payout_holds(connection, now=now))),
        *map(
            _disbursement,
            await rows(_QUERIES.unknown_disbursements(connection, unknown_before=unknown_before)),
        ),
        *map(_meter_key, await rows(_QUERIES.proposed_meter_keys(connection))),
    ]


def _session(row: Mapping[str, Any]) -> OpenCause:
    return OpenCause(
        kind=OpenCauseKind.SESSION,
        id=row["session_id"],
        reason=row["reason"],
        detail=row["detail"],
        since=row["since"],
    )


def _difference(row: Mapping[str, Any]) -> OpenCause:
    return OpenCause(
        kind=OpenCauseKind.DIFFERENCE,
        id=row["id"],
        owner=row["owner"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        reason=row["type"],
        detail=f"{row['pair']} {row['reference']}: {row['detail']}",
        since=_start(row["since"]),
    )


def _document(row: Mapping[str, Any]) -> OpenCause:
    parts = (row["supplier_id"], row["customer_id"], row["currency"], str(row["period_start"]))
    return OpenCause(
        kind=OpenCauseKind.DOCUMENT,
        name="/".join((*parts, str(row["period_end"]))),
        party_id=row["party_id"],
        reason="document_not_issued",
        detail=row["reason"],
        since=row["since"],
    )


def _payout_hold(row: Mapping[str, Any]) -> OpenCause:
    return OpenCause(
        kind=OpenCauseKind.PAYOUT_HOLD,
        id=row["id"],
        party_id=row["party_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        reason="four_eyes_hold" if row["four_eyes"] else "payout_hold",
        detail=f"{row['reason']} (placed by {row['placed_by']})",
        since=_start(row["since"]),
    )


def _disbursement(row: Mapping[str, Any]) -> OpenCause:
    return OpenCause(
        kind=OpenCauseKind.DISBURSEMENT,
        id=row["id"],
        party_id=row["party_id"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        reason=f"{row['rail']}_outcome_unknown",
        detail=f"no answer after {row['attempts']} attempts",
        since=row["since"],
    )


def _meter_key(row: Mapping[str, Any]) -> OpenCause:
    named = " ".join(filter(None, (row["meter_serial"], row["gateway_serial"], row["charge_point_id"])))
    return OpenCause(
        kind=OpenCauseKind.METER_KEY,
        id=row["id"],
        party_id=row["party_id"],
        reason="meter_key_changed",
        detail=f"another key for meter {named} (entered by {row['entered_by']})",
        since=row["since"],
    )


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
