"""Driver pages and drivers' payments in PostgreSQL.

Owns: the translation between values and rows. Must not know: when a session is started, stopped or released.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from gateway.database import Connection, FromRow, named_queries
from gateway.driver_page.start_state import StartState
from gateway.ids import shard_of

_sql: Final[Any] = named_queries("gateway", "driver_pages.sql")


class ReleaseReason(StrEnum):
    """Why a hold was released by the page; a CHECK of gateway.driver_payment repeats the reasons."""

    DRIVER = "driver"
    PRICE_CHANGED = "price_changed"
    NOT_STARTED = "not_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverPageRecord(FromRow):
    """The page of a CPO's EVSEs, or with the platform's id that of every CPO without one."""

    party_id: str
    demand_partner_id: str
    brand: str
    support: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverPaymentRecord(FromRow):
    """A driver's payment. Times are wall time; `command_state` is that of the start's OCPI command."""

    token: str
    authorization_id: UUID
    party_id: str
    page_id: str
    cpo_id: str
    evse_id: str
    tariff_sha256: str
    language: str
    start: StartState
    start_asked_at: datetime | None
    stop_asked_at: datetime | None
    released_because: ReleaseReason | None
    closed_at: datetime | None
    created_at: datetime
    command_state: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", StartState(self.start))
        if self.released_because is not None:
            object.__setattr__(self, "released_because", ReleaseReason(self.released_because))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedSession(FromRow):
    """What the operator reports: Status of OCPI, watt-hours so far, and when."""

    status: str
    energy_wh: int
    last_updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayment:
    """A driver's payment before anything is asked of the PSP."""

    token: str
    authorization_id: UUID
    page: DriverPageRecord
    cpo_id: str
    evse_id: str
    tariff_sha256: str
    language: str


async def set_page(connection: Connection, page: DriverPageRecord, *, now: datetime) -> None:
    """Set the page of a party. Raises asyncpg.ForeignKeyViolationError where a party does not exist."""
    await _sql.set_page(
        connection,
        party_id=page.party_id,
        demand_partner_id=page.demand_partner_id,
        brand=page.brand,
        support=page.support,
        now=now,
    )


async def remove_page(connection: Connection, *, party_id: str) -> bool:
    """Remove a party's own page; False: it has none."""
    return await _sql.remove_page(connection, party_id=party_id) is not None


async def load_page(connection: Connection, *, party_id: str) -> DriverPageRecord | None:
    """A party's own page."""
    row = await _sql.load_page(connection, party_id=party_id)
    return None if row is None else DriverPageRecord.from_row(row)


async def page_of_cpo(connection: Connection, *, cpo_id: str, platform_id: str) -> DriverPageRecord | None:
    """The page that counts at a CPO's EVSEs: its own, else the platform's."""
    row = await _sql.page_of_cpo(connection, cpo_id=cpo_id, platform_id=platform_id)
    return None if row is None else DriverPageRecord.from_row(row)


async def add_payment(connection: Connection, new: NewPayment, *, wall_now: datetime) -> None:
    """Keep a payment, once for each token."""
    await _sql.add_payment(
        connection,
        token=new.token,
        authorization_id=new.authorization_id,
        party_id=new.page.demand_partner_id,
        page_id=new.page.party_id,
        cpo_id=new.cpo_id,
        evse_id=new.evse_id,
        tariff_sha256=new.tariff_sha256,
        language=new.language,
        wall_now=wall_now,
    )


async def find_payment(connection: Connection, *, token: str, oldest: datetime) -> DriverPaymentRecord | None:
    """A payment younger than `oldest`."""
    row = await _sql.find_payment(connection, token=token, oldest=oldest)
    return None if row is None else DriverPaymentRecord.from_row(row)


async def count_recent(connection: Connection, *, evse_id: str, since: datetime) -> int:
    """How many payments were begun at an EVSE."""
    return int(await _sql.count_recent(connection, evse_id=evse_id, since=since))


async def claim_start(
    connection: Connection, *, token: str, wall_now: datetime, lost_before: datetime, again: bool
) -> bool:
    """Claim to send the start; False: another has. `again`: also where the operator has refused one."""
    claimed = await _sql.claim_start(
        connection, token=token, wall_now=wall_now, lost_before=lost_before, again=again
    )
    return claimed is not None


async def record_start(
    connection: Connection, *, token: str, asked_at: datetime, command_id: UUID | None
) -> None:
    """Record the command that was claimed at `asked_at`; None: the operator takes no commands."""
    await _sql.record_start(connection, token=token, asked_at=asked_at, command_id=command_id)


async def ask_stop(connection: Connection, *, token: str, wall_now: datetime, again_before: datetime) -> bool:
    """Claim to send a stop; False: one was sent a moment ago."""
    asked = await _sql.ask_stop(connection, token=token, wall_now=wall_now, again_before=again_before)
    return asked is not None


async def forget_stop(connection: Connection, *, token: str) -> None:
    """The stop was not sent."""
    await _sql.forget_stop(connection, token=token)


async def record_release(
    connection: Connection, *, token: str, because: ReleaseReason, wall_now: datetime
) -> None:
    """The hold was released, and why; the first reason stays."""
    await _sql.record_release(connection, token=token, because=because.value, wall_now=wall_now)


async def close_payment(connection: Connection, *, token: str, wall_now: datetime) -> None:
    """Nothing is left for the worker to do."""
    await _sql.close_payment(connection, token=token, wall_now=wall_now)


async def list_open(
    connection: Connection, *, before: datetime, after: datetime, batch: int
) -> Sequence[tuple[str, datetime]]:
    """Payments begun between `after` and `before` and not closed, the oldest first: token and begin."""
    rows = _sql.open_payments(connection, before=before, after=after, batch=batch)
    return [(row["token"], row["created_at"]) async for row in rows]


async def delete_old(connection: Connection, *, before: datetime, batch: int) -> None:
    """Forget payments begun before; what was paid stays in the payments' own tables."""
    await _sql.delete_old(connection, before=before, batch=batch)


async def find_running(
    connection: Connection, *, cpo_id: str, references: Sequence[str]
) -> ReportedSession | None:
    """The last update of the session that carries one of our references."""
    row = await _sql.running_session(connection, cpo_id=cpo_id, references=list(references))
    return None if row is None else ReportedSession.from_row(row)


async def find_buyer(connection: Connection, *, session_id: UUID) -> str | None:
    """Who buys a session, if somebody was named."""
    found: str | None = await _sql.buyer_of_session(
        connection, shard=shard_of(session_id), session_id=session_id
    )
    return found
