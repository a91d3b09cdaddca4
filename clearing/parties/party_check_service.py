"""Checks of parties' identity: recorded, confirmed, listed; and what keeps a party from being paid.

Owns: the order of these steps, the bundled list of required checks. Must not know: HTTP, how a payout hold is
placed. Every function takes the connection; none commits.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from clearing.connection import Connection
from clearing.errors import InvalidPartyCheckError
from clearing.parties import party_check_repository as repository
from clearing.parties import payout_terms_repository
from clearing.parties.party import Party
from clearing.parties.party_checks import (
    CheckedParty,
    NewPartyCheck,
    PartyCheck,
    PartyCheckKind,
    RequiredCheck,
    check_confirmation,
    check_new,
    required_checks,
    valid_until,
    withholding_reason,
)

CHECK: Final = "pck"  # the prefix of its public id


@cache
def bundled_required_checks() -> tuple[RequiredCheck, ...]:
    """The required checks of `parties/required_checks.csv`."""
    text = (files("clearing.parties") / "required_checks.csv").read_text(encoding="utf-8")
    return required_checks(csv.DictReader(text.splitlines()))


async def record_check(
    connection: Connection, party: Party, new: NewPartyCheck, *, check_id: UUID, by: str, now: datetime
) -> PartyCheck:
    """Record a check of a party; it takes the place of the one before.

    Raises InvalidPartyCheckError, naming the field, and ClearingConflictError where it ends an adverse check
    of the same person.
    """
    await payout_terms_repository.lock_party(connection, party.id)
    current = await repository.latest_check(
        connection, party.id, new.kind, details_version=new.details_version
    )
    today = _today(party, now)
    check_new(new, current=current, by=by, today=today)
    version = new.details_version
    if version is not None and not await repository.has_details(connection, party.id, version):
        raise InvalidPartyCheckError(
            "bank_details_version", f"{party.id} has no bank details of version {version}"
        )
    check = PartyCheck(
        id=check_id,
        party_id=party.id,
        kind=new.kind,
        result=new.result,
        performed_by=new.performed_by.strip(),
        checked_on=new.checked_on,
        valid_until=valid_until(new, party.kind, bundled_required_checks(), today=today),
        reference=new.reference.strip(),
        note=new.note.strip(),
        details_version=version,
        confirms=None,
        recorded_by=by,
        recorded_at=now,
    )
    await repository.insert_check(connection, check)
    return check


async def confirm_payee_name(
    connection: Connection,
    party: Party,
    known: PartyCheck,
    *,
    check_id: UUID,
    note: str,
    by: str,
    now: datetime,
) -> PartyCheck:
    """Confirm a payee name that did not match, as a second person, with the reason why it is paid to.

    Raises InvalidPartyCheckError and ClearingConflictError.
    """
    await payout_terms_repository.lock_party(connection, party.id)
    latest = await repository.latest_check(
        connection, party.id, PartyCheckKind.PAYEE_NAME, details_version=known.details_version
    )
    current = check_confirmation(latest, known.id, by=by)
    if not note.strip():
        raise InvalidPartyCheckError("note", "say why a name that did not match is paid to")
    confirmed = replace(
        current, id=check_id, confirms=current.id, note=note.strip(), recorded_by=by, recorded_at=now
    )
    await repository.insert_check(connection, confirmed)
    return confirmed


async def list_checks(connection: Connection, party_id: str) -> Sequence[PartyCheck]:
    """A party's checks, the latest first; a thousand at most."""
    return await repository.list_checks(connection, party_id)


async def find_check(connection: Connection, party_id: str, check_id: UUID) -> PartyCheck | None:
    """One check of a party."""
    return await repository.find_check(connection, party_id, check_id)


async def last_position(connection: Connection) -> int:
    """A number that rises with each check of any party."""
    return await repository.last_position(connection)


async def withholding_reasons(
    connection: Connection, parties: Mapping[str, Party], *, required: bool, now: datetime
) -> dict[str, str | None]:
    """By party why nothing is paid to it on its local day; None: its checks are in order.

    `required` False: only an adverse check counts.
    """
    names = list(parties)
    checks = await repository.latest_checks(connection, names)
    versions = await repository.approved_versions(connection, names)
    rules = bundled_required_checks() if required else ()
    return {
        name: withholding_reason(
            CheckedParty(kind=party.kind, details_version=versions.get(name), checks=checks.get(name, {})),
            rules,
            today=_today(party, now),
        )
        for name, party in parties.items()
    }


def _today(party: Party, now: datetime) -> date:
    return now.astimezone(ZoneInfo(party.time_zone)).date()
