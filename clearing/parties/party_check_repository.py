"""Checks of parties' identity in PostgreSQL.

Owns: rows to values and back. Must not know: what a check is needed for.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.parties.party_checks import PartyCheck, PartyCheckKind, PartyCheckResult

_sql = named_queries("party_check")


async def insert_check(connection: Connection, check: PartyCheck) -> None:
    """Store a check."""
    await _sql.insert_check(
        connection,
        id=check.id,
        party_id=check.party_id,
        kind=check.kind,
        result=check.result,
        performed_by=check.performed_by,
        checked_on=check.checked_on,
        valid_until=check.valid_until,
        reference=check.reference,
        note=check.note,
        details_version=check.details_version,
        confirms=check.confirms,
        by=check.recorded_by,
        now=check.recorded_at,
    )


async def list_checks(connection: Connection, party_id: str) -> list[PartyCheck]:
    """A party's checks, the latest first; a thousand at most."""
    return [_check(row) for row in await rows(_sql.checks_of(connection, party_id=party_id))]


async def find_check(connection: Connection, party_id: str, check_id: UUID) -> PartyCheck | None:
    """One check of a party."""
    row = await _sql.check(connection, party_id=party_id, id=check_id)
    return None if row is None else _check(row)


async def latest_check(
    connection: Connection, party_id: str, kind: PartyCheckKind, *, details_version: int | None
) -> PartyCheck | None:
    """The latest check of a kind, of a payee name that of these bank details."""
    row = await _sql.latest_check(connection, party_id=party_id, kind=kind, details_version=details_version)
    return None if row is None else _check(row)


async def latest_checks(
    connection: Connection, names: Sequence[str]
) -> dict[str, dict[PartyCheckKind, PartyCheck]]:
    """The latest check of each kind, by party; a payee name's is that of the approved bank details."""
    found: defaultdict[str, dict[PartyCheckKind, PartyCheck]] = defaultdict(dict)
    for row in await rows(_sql.latest_checks(connection, parties=list(names))):
        check = _check(row)
        found[check.party_id][check.kind] = check
    return found


async def approved_versions(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """The version of the approved bank details, by party."""
    found = await rows(_sql.approved_versions(connection, parties=list(names)))
    return {row["party_id"]: row["version"] for row in found}


async def has_details(connection: Connection, party_id: str, version: int) -> bool:
    """Whether the party has bank details of that version."""
    found: bool = await _sql.has_details(connection, party_id=party_id, version=version)
    return found


async def last_position(connection: Connection) -> int:
    """The position of the latest check of any party; 0: there is none."""
    found: int = await _sql.last_position(connection)
    return found


def _check(row: Any) -> PartyCheck:
    fields = dict(row.items())
    fields["kind"] = PartyCheckKind(fields["kind"])
    fields["result"] = PartyCheckResult(fields["result"])
    return PartyCheck(**fields)
