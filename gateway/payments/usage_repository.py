"""Stated usage that waits for a person, and the limits of the checks, in PostgreSQL.

Owns: the translation between values and rows. Must not know: what a check finds, what a decision means.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from clearing.cdr_checks.limits import LimitName, LimitRow
from gateway.database import Connection, FromRow, named_queries
from gateway.ids import new_id
from gateway.payments.records import SessionRecord, UsageSource

_sql = named_queries("gateway", "stated_usage.sql")
PREFIX: Final = "usg"


class UsageState(StrEnum):
    """What became of usage that a check found odd; a CHECK of gateway.stated_usage repeats the states."""

    EXCEPTION = "exception"  # waits for a person
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    REPLACED = "replaced"  # its CDR was credited


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedUsage(FromRow):
    """Usage that a check found odd. Amounts are minor units of `currency`, VAT included.

    `lower_minor` is the lowest of the amounts that somebody states, `in_time_minor` what is captured if
    nobody decides before the hold ends; both None where no amount can be defended.
    """

    shard: int
    id: UUID
    session_id: UUID
    cpo_id: str
    source: UsageSource
    cdr_id: str
    cdr_key: str
    cdr_version: str
    cdr: bytes
    state: UsageState
    reasons: Sequence[str]
    detail: str
    currency: str
    price_minor: int | None
    lower_minor: int | None
    in_time_minor: int | None
    settled_minor: int | None
    amount_minor: int | None
    decided_by: str | None
    received_at: datetime
    updated_at: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", UsageSource(self.source))
        object.__setattr__(self, "state", UsageState(self.state))


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlappingSession:
    """Another session with a CDR at the same EVSE at the same time."""

    session_id: UUID
    cdr: bytes
    cdr_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionalUsage(FromRow):
    """Usage that the payer stated of a session whose billing record is the operator's CDR.

    `price_minor` is what it costs by the frozen tariff, VAT included; `cdr` the usage as a CDR.
    """

    shard: int
    session_id: UUID
    party_id: str
    cdr_version: str
    cdr: bytes
    price_minor: int
    energy_wh: int
    started_at: datetime
    ended_at: datetime
    stated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFactsRecord:
    """What a check reads of one CDR: dated limits, earlier statements, other sessions."""

    provisional: ProvisionalUsage | None
    limits: Sequence[LimitRow]
    known_state: UsageState | None
    known_amount_minor: int | None
    authorizations: Sequence[UUID]
    other_cdr_id: str | None
    overlapping: Sequence[OverlappingSession]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRecord:
    """A limit that was set, with who set it."""

    party_id: str
    name: LimitName
    valid_from: datetime
    value: Decimal
    set_by: str
    created_at: datetime

    @property
    def as_limit(self) -> LimitRow:
        """The value by its date."""
        return LimitRow(party_id=self.party_id, name=self.name, value=self.value, valid_from=self.valid_from)


async def load_check_facts(
    connection: Connection, session: SessionRecord, *, cdr_id: str, started_at: datetime, ended_at: datetime
) -> CheckFactsRecord:
    """What is compared with a CDR that says it lasted from `started_at` to `ended_at`."""
    row = await _sql.check_facts(
        connection,
        shard=session.shard,
        session_id=session.id,
        cpo_id=session.cpo_id,
        evse_id=session.evse_id,
        cdr_key=cdr_id.lower(),
        started_at=started_at,
        ended_at=ended_at,
    )
    known: Mapping[str, Any] | None = row["known"]
    return CheckFactsRecord(
        provisional=_provisional(row["provisional"]),
        limits=[
            LimitRow(
                party_id=one["party_id"],
                name=LimitName(one["name"]),
                value=Decimal(one["value"]),
                valid_from=datetime.fromisoformat(one["valid_from"]),
            )
            for one in row["limits"]
        ],
        known_state=None if known is None else UsageState(known["state"]),
        known_amount_minor=None if known is None else known["amount_minor"],
        authorizations=row["authorizations"],
        other_cdr_id=row["other_cdr_id"],
        overlapping=[
            OverlappingSession(
                session_id=UUID(one["id"]), cdr=base64.b64decode(one["cdr"]), cdr_version=one["version"]
            )
            for one in row["overlapping"]
        ],
    )


async def keep(connection: Connection, usage: StatedUsage) -> StatedUsage:
    """Keep usage that waits, once. Returns what is stored under its CDR's id, decided before or not."""
    await _sql.add_usage(
        connection,
        shard=usage.shard,
        id=usage.id,
        session_id=usage.session_id,
        cpo_id=usage.cpo_id,
        source=usage.source.value,
        cdr_id=usage.cdr_id,
        cdr_key=usage.cdr_key,
        cdr_version=usage.cdr_version,
        cdr=usage.cdr,
        reasons=list(usage.reasons) or ["unknown"],
        detail=usage.detail,
        currency=usage.currency,
        price_minor=usage.price_minor,
        lower_minor=usage.lower_minor,
        in_time_minor=usage.in_time_minor,
        now=usage.received_at,
    )
    row = await _sql.usage_of_cdr(
        connection, shard=usage.shard, session_id=usage.session_id, cdr_key=usage.cdr_key
    )
    return usage if row is None else StatedUsage.from_row(row)


async def load_usage(connection: Connection, *, shard: int, usage_id: UUID) -> StatedUsage | None:
    """One statement."""
    row = await _sql.load_usage(connection, shard=shard, id=usage_id)
    return None if row is None else StatedUsage.from_row(row)


async def find_provisional(
    connection: Connection, *, shard: int, session_id: UUID
) -> ProvisionalUsage | None:
    """What the payer stated of a session whose CDR is awaited, or has come since."""
    row = await _sql.provisional_usage(connection, shard=shard, session_id=session_id)
    return None if row is None else ProvisionalUsage.from_row(row)


async def keep_provisional(connection: Connection, usage: ProvisionalUsage, *, events: list[Any]) -> bool:
    """Keep what the payer states, in the place of what it stated before, with its events.

    False: the session runs no more, or the same was stated before.
    """
    kept = await _sql.keep_provisional_usage(
        connection,
        shard=usage.shard,
        session_id=usage.session_id,
        party_id=usage.party_id,
        cdr_version=usage.cdr_version,
        cdr=usage.cdr,
        price_minor=usage.price_minor,
        energy_wh=usage.energy_wh,
        started_at=usage.started_at,
        ended_at=usage.ended_at,
        now=usage.stated_at,
        events=events,
    )
    return kept is not None


async def find_waiting(connection: Connection, *, shard: int, session_id: UUID) -> StatedUsage | None:
    """The usage that waits for a session."""
    row = await _sql.waiting_usage(connection, shard=shard, session_id=session_id)
    return None if row is None else StatedUsage.from_row(row)


async def decide(
    connection: Connection,
    usage: StatedUsage,
    *,
    state: UsageState,
    amount_minor: int | None,
    release: bool,
    by: str,
    now: datetime,
    wall_now: datetime,
) -> bool:
    """Record a decision with its task; False when it was decided already."""
    decided = await _sql.decide(
        connection,
        shard=usage.shard,
        id=usage.id,
        state=state.value,
        amount_minor=amount_minor,
        release=release,
        by=by,
        task_id=new_id(shard=usage.shard),
        now=now,
        wall_now=wall_now,
    )
    return decided is not None


async def replace_usage(
    connection: Connection, *, shard: int, session_id: UUID, cdr_id: str, now: datetime
) -> bool:
    """Usage whose CDR was credited waits no longer; False when none waited."""
    replaced = await _sql.replace_usage(
        connection, shard=shard, session_id=session_id, cdr_key=cdr_id.lower(), now=now
    )
    return replaced is not None


async def record_settled(connection: Connection, usage: StatedUsage, *, minor: int, now: datetime) -> None:
    """Record what was captured before a person decided."""
    await _sql.record_settled(connection, shard=usage.shard, id=usage.id, settled_minor=minor, now=now)


async def list_to_settle(
    connection: Connection, *, shards: Sequence[int], before: datetime, batch: int
) -> list[tuple[int, UUID]]:
    """Usage in these shards that nobody has decided, whose hold ends by `before`: shard and id."""
    rows = _sql.usage_to_settle(connection, shards=list(shards), before=before, batch=batch)
    return [(row["shard"], row["id"]) async for row in rows]


async def list_limits(connection: Connection, party_ids: Sequence[str]) -> list[LimitRecord]:
    """The limits that were set for these parties."""
    rows = _sql.limit_rows(connection, party_ids=list(party_ids))
    return [LimitRecord(**{**dict(row), "name": LimitName(row["name"])}) async for row in rows]


async def set_limit(connection: Connection, record: LimitRecord) -> bool:
    """Set a limit from a time on; False when another value was set for that time."""
    done = await _sql.set_limit(
        connection,
        party_id=record.party_id,
        name=record.name.value,
        valid_from=record.valid_from,
        value=record.value,
        set_by=record.set_by,
        now=record.created_at,
    )
    return done is not None


def _provisional(row: Mapping[str, Any] | None) -> ProvisionalUsage | None:
    if row is None:
        return None
    return ProvisionalUsage(
        shard=row["shard"],
        session_id=UUID(row["session_id"]),
        party_id=row["party_id"],
        cdr_version=row["cdr_version"],
        cdr=base64.b64decode(row["cdr"]),
        price_minor=row["price_minor"],
        energy_wh=row["energy_wh"],
        started_at=datetime.fromisoformat(row["started_at"]),
        ended_at=datetime.fromisoformat(row["ended_at"]),
        stated_at=datetime.fromisoformat(row["stated_at"]),
    )
