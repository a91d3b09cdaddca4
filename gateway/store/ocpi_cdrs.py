"""CDRs as CPOs sent them, in PostgreSQL: kept once, followed until they are settled, replayed after mending.

Owns: the row of a CDR, its errand for the worker, the search for the session it belongs to.
Must not know: how a CDR is priced, or HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from clearing.pricing import json_document as document
from clearing.pricing.ocpi import OcpiVersion
from gateway.database import Connection, named_queries
from gateway.errors import MalformedIdError
from gateway.ids import lane_of, new_id, parse_id

_sql = named_queries("gateway", "ocpi_cdrs.sql")
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CdrStatus(StrEnum):
    """What became of a CDR."""

    PENDING = "pending"  # the worker has it to do
    MATCHED = "matched"  # its session is found and completed
    UNMATCHED = "unmatched"  # no session of ours; waits with a reason
    UNPRICEABLE = "unpriceable"  # the session's tariff can't price it; waits with a reason
    SETTLED = "settled"  # captured and handed to clearing
    CREDIT = "credit"  # reverses another CDR; kept for the refund


WAITING: Final = (CdrStatus.UNMATCHED, CdrStatus.UNPRICEABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCdr:
    """A CDR about to be kept: raw bytes and what is looked up by.

    `fingerprint` is the SHA-256 of its content.
    """

    cpo_id: str
    cdr_id: str
    version: OcpiVersion
    raw: bytes
    fingerprint: bytes
    session_ref: str | None
    authorization_reference: str | None
    currency: str
    ended_at: datetime
    credit: bool
    credit_reference_id: str | None
    last_updated: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCdr:
    """A kept CDR and what became of it.

    `session_ref` is the CPO's Session.id, `session_id` our session's id.
    """

    cpo_id: str
    cdr_id: str
    version: OcpiVersion
    raw: bytes
    fingerprint: bytes
    session_ref: str | None
    authorization_reference: str | None
    currency: str
    ended_at: datetime
    credit: bool
    credit_reference_id: str | None
    last_updated: datetime
    received_at: datetime
    status: CdrStatus
    reason: str | None
    session_id: UUID | None
    replays: int


class OcpiStore:
    """CDRs for the worker. Stateless; every method takes the caller's connection and transaction."""

    async def add_cdr(
        self, connection: Connection, cdr: NewCdr, *, now: datetime, wall_now: datetime
    ) -> bool:
        """Keep a CDR and its errand `complete` together; False when its id is known already.

        A credit CDR is kept without an errand. `now` is business time, `wall_now` wall time.
        """
        task_id = new_id()
        named = session_or_authorization(cdr.authorization_reference)
        added = await _sql.add_cdr(
            connection,
            party_id=cdr.cpo_id,
            cdr_key=cdr.cdr_id.lower(),
            cdr_id=cdr.cdr_id,
            version=cdr.version.value,
            raw=cdr.raw,
            fingerprint=cdr.fingerprint,
            session_ref=cdr.session_ref,
            authorization_reference=cdr.authorization_reference,
            currency=cdr.currency,
            ended_at=cdr.ended_at,
            credit=cdr.credit,
            credit_reference_id=cdr.credit_reference_id,
            last_updated=cdr.last_updated,
            now=now,
            status=(CdrStatus.CREDIT if cdr.credit else CdrStatus.PENDING).value,
            lane=lane_of(task_id if named is None else named[1]),
            task_id=task_id,
            wall_now=wall_now,
        )
        return added is not None

    async def load_cdr(self, connection: Connection, cpo_id: str, cdr_id: str) -> StoredCdr | None:
        """The CDR `cdr_id` of `cpo_id`, ids without regard to case, or None."""
        row = await _sql.load_cdr(connection, party_id=cpo_id, cdr_key=cdr_id.lower())
        return None if row is None else _stored(row)

    async def mark_cdr(
        self,
        connection: Connection,
        cpo_id: str,
        cdr_id: str,
        *,
        status: CdrStatus,
        now: datetime,
        reason: str | None = None,
        session_id: UUID | None = None,
    ) -> bool:
        """Record what became of a CDR; False when there is none, or it is settled or a credit CDR.

        `reason` is required for unmatched and unpriceable, `session_id` for matched and settled (kept once
        known).
        Raises asyncpg.CheckViolationError otherwise.
        """
        marked = await _sql.mark_cdr(
            connection,
            party_id=cpo_id,
            cdr_key=cdr_id.lower(),
            status=status.value,
            reason=reason,
            session_id=session_id,
            now=now,
        )
        return marked is not None

    async def resolve_session(self, connection: Connection, cdr: StoredCdr) -> UUID | None:
        """The session of ours that a CDR belongs to, always one at this CPO's charge points, or None.

        In this order: the CDR's authorization reference; that of the OCPI session it names; the CPO's
        session id given when the session was authorized; the driver's token, by the latest authorization
        given for it at that EVSE (2.1.1 carries no reference).
        """
        references = [cdr.authorization_reference]
        if cdr.session_ref is not None:
            references.append(
                await _sql.reference_of_session(
                    connection, party_id=cdr.cpo_id, session_key=cdr.session_ref.lower()
                )
            )
        for reference in references:
            found = await self._session_of_reference(connection, reference, cpo_id=cdr.cpo_id)
            if found is not None:
                return found
        row = None
        if cdr.session_ref is not None:
            row = await _sql.session_by_name(
                connection, foreign_ids=[f"{cdr.cpo_id}:{cdr.session_ref}"], cpo_id=cdr.cpo_id
            )
        token = _token_and_evse(cdr)
        if row is None and token is not None:
            row = await _sql.session_of_token(
                connection,
                cpo_id=cdr.cpo_id,
                contract_key=token[0].lower(),
                evse_uid_key=token[1].lower(),
                ended_at=cdr.ended_at,
            )
        return None if row is None else row["id"]

    async def _session_of_reference(
        self, connection: Connection, reference: str | None, *, cpo_id: str
    ) -> UUID | None:
        named = session_or_authorization(reference)
        if named is None:
            return None
        prefix, identifier = named
        query = _sql.session_of_cpo if prefix == "ses" else _sql.session_of_authorization
        row = await query(connection, lane=lane_of(identifier), id=identifier, cpo_id=cpo_id)
        return None if row is None else row["id"]

    async def queued_cdrs(
        self,
        connection: Connection,
        *,
        cpo_id: str | None = None,
        statuses: Sequence[CdrStatus] = WAITING,
        after: StoredCdr | None = None,
        limit: int = 100,
    ) -> list[StoredCdr]:
        """CDRs in `statuses`, the longest waiting first, `limit` a page.

        `after` is the last one of the page before.
        """
        return [
            _stored(row)
            async for row in _sql.queued_cdrs(
                connection,
                party_id=cpo_id,
                statuses=[status.value for status in statuses],
                after_received=_EARLIEST if after is None else after.received_at,
                after_key="" if after is None else after.cdr_id.lower(),
                row_limit=limit,
            )
        ]

    async def replay_cdr(
        self, connection: Connection, cpo_id: str, cdr_id: str, *, now: datetime, wall_now: datetime
    ) -> bool:
        """Give a waiting CDR to the worker again; False when it doesn't wait."""
        task_id = new_id()
        replayed = await _sql.replay_cdr(
            connection,
            party_id=cpo_id,
            cdr_key=cdr_id.lower(),
            now=now,
            wall_now=wall_now,
            task_id=task_id,
            lane=lane_of(task_id),
        )
        return replayed is not None

    async def replay_waiting(
        self,
        connection: Connection,
        *,
        now: datetime,
        wall_now: datetime,
        cpo_id: str | None = None,
        limit: int = 1000,
    ) -> int:
        """Give up to `limit` waiting CDRs to the worker again, the longest waiting first.

        Returns how many.
        """
        waiting = await self.queued_cdrs(connection, cpo_id=cpo_id, limit=limit)
        replayed = 0
        for cdr in waiting:
            replayed += await self.replay_cdr(connection, cdr.cpo_id, cdr.cdr_id, now=now, wall_now=wall_now)
        return replayed

    async def credits_of(self, connection: Connection, cpo_id: str, cdr_id: str) -> list[str]:
        """Ids of the credit CDRs that reverse `cdr_id`."""
        found = _sql.credits_of(connection, party_id=cpo_id, cdr_key=cdr_id.lower())
        return [row["cdr_id"] async for row in found]


def _token_and_evse(cdr: StoredCdr) -> tuple[str, str] | None:
    """The contract of the driver's token and the EVSE's uid that a CDR names, in the words of its version."""
    tree = document.load(cdr.raw, document="CDR")
    if cdr.version is OcpiVersion.V2_1_1:
        location = tree.get("location")
        evses = location.get("evses") if isinstance(location, dict) else None
        evse = evses[0] if isinstance(evses, list) and evses else None
        found = tree.get("auth_id"), evse.get("uid") if isinstance(evse, dict) else None
    else:
        token, place = tree.get("cdr_token"), tree.get("cdr_location")
        found = (
            token.get("contract_id") if isinstance(token, dict) else None,
            place.get("evse_uid") if isinstance(place, dict) else None,
        )
    contract, evse_uid = found
    return (contract, evse_uid) if isinstance(contract, str) and isinstance(evse_uid, str) else None


def session_or_authorization(reference: str | None) -> tuple[str, UUID] | None:
    """The id that an authorization reference of ours names, with its prefix `auth` or `ses`.

    None for foreign text.

    OCPI compares references without regard to case, so case is folded first.
    """
    if reference is None:
        return None
    text = reference.lower()
    for prefix in ("auth", "ses"):
        if text.startswith(f"{prefix}_"):
            try:
                return prefix, parse_id(prefix, text)
            except MalformedIdError:
                return None
    return None


def _stored(row: Any) -> StoredCdr:
    values = dict(row)
    return StoredCdr(
        cpo_id=values.pop("party_id"),
        version=OcpiVersion(values.pop("version")),
        status=CdrStatus(values.pop("status")),
        **values,
    )
