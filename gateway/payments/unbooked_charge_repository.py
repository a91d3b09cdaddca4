"""Money that the PSP has captured and no capture here records, in PostgreSQL.

Owns: the translation between values and rows. Must not know: the PSP, what a person decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries
from gateway.ids import new_id
from gateway.payments.unbooked_charge_state import UnbookedState

_sql = named_queries("gateway", "unbooked_charges.sql")


class UnbookedReason(StrEnum):
    """How it came about; a CHECK of gateway.unbooked_charge repeats the reasons."""

    CAPTURED_BY_HAND = "captured_by_hand"  # of a hold of ours, at the PSP's dashboard
    CAPTURED_ABOVE_REQUEST = "captured_above_request"  # more than our capture asked for
    UNKNOWN_PAYMENT = "unknown_payment"  # of a payment that is not known here


@dataclass(frozen=True, slots=True, kw_only=True)
class UnbookedCharge(FromRow):
    """One charge. Minor units; `refunded_minor` is what the PSP refunded of it without our asking."""

    psp_payment: str
    psp_charge: str
    shard: int
    session_id: UUID | None
    reason: UnbookedReason
    state: UnbookedState
    amount_minor: int
    refunded_minor: int
    currency: str
    fee_minor: int | None
    fee_currency: str | None
    decided_by: str | None
    decided_at: datetime | None
    refund_id: UUID | None
    psp_refund: str | None
    updated_at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", UnbookedReason(self.reason))
        object.__setattr__(self, "state", UnbookedState(self.state))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPayment:
    """What is known here of a payment at the PSP.

    `is_undecided`: a request of its session is open, whose answer comes first. `is_booked`: a capture has it.
    """

    shard: int
    session_id: UUID
    is_undecided: bool
    is_booked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnbookedTotals:
    """Of one currency: captured at the PSP and in no capture here, and what was refunded of it."""

    currency: str
    captured: int
    refunded: int
    unposted: int  # the balance that our ledger does not have for it
    fee: int  # that the PSP kept of it in this currency, and that our ledger does not have
    waiting: int  # how many wait for a person


async def find_known(
    connection: Connection, *, psp_payment: str, psp_charge: str, shard: int | None, session_id: UUID | None
) -> KnownPayment | None:
    """What is known of a payment, by its id, else by the session that its record names."""
    row = await _sql.find_known(
        connection, psp_payment=psp_payment, psp_charge=psp_charge, shard=shard, session_id=session_id
    )
    return None if row is None else KnownPayment(**dict(row))


async def list_unknown_charges(
    connection: Connection, *, psp_payments: Sequence[str], psp_charges: Sequence[str]
) -> list[str]:
    """Of payments that the PSP lists with their charges, those that are in no book here."""
    rows = _sql.list_unknown_charges(connection, psp_payments=psp_payments, psp_charges=psp_charges)
    return [row["psp_payment"] async for row in rows]


async def record_charge(connection: Connection, **fields: Any) -> None:
    """Record a charge that was found, once; with `decided_by`, with the task that carries it out."""
    await _sql.record_charge(connection, **fields)


async def record_refunded(connection: Connection, **fields: Any) -> None:
    """The PSP has refunded it in part or whole without our asking."""
    await _sql.record_refunded(connection, **fields)


async def is_capture(connection: Connection, *, psp_payment: str) -> bool:
    """Whether the charge is the capture of its session."""
    return bool(await _sql.is_capture(connection, psp_payment=psp_payment))


async def resume_adoptions(connection: Connection, *, wall_now: datetime) -> int:
    """Leave a task for each charge to be adopted by a session that has a price, where there is none."""
    left = [row async for row in _sql.list_unsettled_adoptions(connection)]
    for row in left:
        task_id = new_id(shard=row["shard"])
        await _sql.add_settle_task(connection, task_id=task_id, wall_now=wall_now, **dict(row))
    return len(left)


async def load_charge(connection: Connection, *, psp_payment: str) -> UnbookedCharge | None:
    """One charge."""
    row = await _sql.load_charge(connection, psp_payment=psp_payment)
    return None if row is None else UnbookedCharge.from_row(row)


async def lock_charge(connection: Connection, *, psp_payment: str) -> UnbookedCharge | None:
    """One charge, locked until the caller's transaction ends."""
    row = await _sql.lock_charge(connection, psp_payment=psp_payment)
    return None if row is None else UnbookedCharge.from_row(row)


async def find_adopting(connection: Connection, *, shard: int, session_id: UUID) -> str | None:
    """The payment that was decided to be adopted for a session, and waited for its price."""
    row = await _sql.adopting_of_session(connection, shard=shard, session_id=session_id)
    return None if row is None else str(row["psp_payment"])


async def decide(connection: Connection, **fields: Any) -> None:
    """Record a person's decision, with the task that carries it out."""
    await _sql.decide(connection, **fields)


async def end_charge(connection: Connection, **fields: Any) -> None:
    """Record that a decision was carried out, or that it failed and why."""
    await _sql.end_charge(connection, **fields)


async def reopen_charge(connection: Connection, **fields: Any) -> None:
    """The card's bank sent the refund of a charge back."""
    await _sql.reopen_charge(connection, **fields)


async def rebuild_session(connection: Connection, **fields: Any) -> bool:
    """A session from the PSP's record; False when one of that id is there."""
    return bool(await _sql.rebuild_session(connection, **fields))


async def adopt_charge(connection: Connection, **fields: Any) -> bool:
    """The charge is the capture of its session; False when the session has changed."""
    return bool(await _sql.adopt_charge(connection, **fields))


async def list_refunded(connection: Connection, *, since: datetime) -> list[UnbookedCharge]:
    """Charges that were refunded since."""
    return [UnbookedCharge.from_row(row) async for row in _sql.list_refunded(connection, since=since)]


async def sum_by_currency(connection: Connection) -> list[UnbookedTotals]:
    """What is at the PSP and in no capture, by currency."""
    return [UnbookedTotals(**dict(row)) async for row in _sql.totals(connection)]
