"""Payout terms, holds and bank details in PostgreSQL.

Owns: rows to values and back; every change renews the parties' epoch, so that each worker reads them again.
Must not know: when to pay.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.parties.bank_details import BankDetails, DetailsState, PostalAddress, SubmittedDetails
from clearing.parties.payout_terms import Cadence, PayoutHold, PayoutHoldRecord, PayoutTerms

_sql = named_queries("payout_terms")
_ADDRESS = ("street", "building", "post_code", "town", "country")


async def load_all_terms(connection: Connection) -> dict[str, PayoutTerms]:
    """The terms of each party that has any, with its holds and bank details."""
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for row in await rows(_sql.terms(connection)):
        fields = dict(row.items())
        party_id = fields.pop("party_id")
        found[party_id].update(fields, cadence=Cadence(fields["cadence"]))
    for row in await rows(_sql.open_holds(connection)):
        hold = PayoutHold(
            reason=row["reason"], since=row["since"], until=row["until"], rail=row["rail"], cause=row["cause"]
        )
        held: tuple[PayoutHold, ...] = found[row["party_id"]].get("holds", ())
        found[row["party_id"]]["holds"] = (*held, hold)
    for row in await rows(_sql.current_details(connection)):
        if row["state"] == DetailsState.PENDING:
            found[row["party_id"]]["bank_pending"] = True
        else:
            found[row["party_id"]]["bank"] = _details(row)
    return {party_id: PayoutTerms(**fields) for party_id, fields in found.items()}


def _details(row: Any) -> BankDetails:
    return BankDetails(
        name=row["name"],
        iban=row["iban"],
        bic=row["bic"],
        address=PostalAddress(**{field: row[field] for field in _ADDRESS}),
        reference=row["reference"],
    )


async def lock_party(connection: Connection, party_id: str) -> None:
    """Lock the party against other changes of its payouts until the transaction ends."""
    await _sql.lock_party(connection, party_id=party_id)


async def put_terms(
    connection: Connection, party_id: str, terms: PayoutTerms, *, by: str, now: datetime
) -> None:
    """Store a party's cadence, reserve, approval limit and deregistration, but not holds and bank details."""
    await _sql.put_terms(
        connection,
        party_id=party_id,
        cadence=terms.cadence,
        cadence_day=terms.cadence_day,
        reserve_bps=terms.reserve_bps,
        reserve_days=terms.reserve_days,
        approval_above_minor=terms.approval_above_minor,
        instant_up_to_minor=terms.instant_up_to_minor,
        deregistered_on=terms.deregistered_on,
        by=by,
        now=now,
    )
    await _sql.renew_epoch(connection)


async def place_hold(
    connection: Connection, party_id: str, hold: PayoutHold, *, hold_id: UUID, by: str, four_eyes: bool
) -> None:
    """Place a payout hold; the same id again changes nothing.

    `four_eyes`: the person who placed it can't lift it.
    """
    await _sql.place_hold(
        connection,
        id=hold_id,
        four_eyes=four_eyes,
        party_id=party_id,
        reason=hold.reason,
        since=hold.since,
        until=hold.until,
        rail=hold.rail,
        cause=hold.cause,
        by=by,
    )
    await _sql.renew_epoch(connection)


async def lock_hold(connection: Connection, hold_id: UUID) -> PayoutHoldRecord | None:
    """One hold, locked until the transaction ends."""
    row = await _sql.lock_hold(connection, id=hold_id)
    return None if row is None else PayoutHoldRecord(**dict(row.items()))


async def list_holds(connection: Connection, party_id: str) -> list[PayoutHoldRecord]:
    """A party's holds, those in force first, then the latest; a thousand at most."""
    return [
        PayoutHoldRecord(**dict(row.items()))
        for row in await rows(_sql.holds_of(connection, party_id=party_id))
    ]


async def list_details(connection: Connection, party_id: str) -> list[SubmittedDetails]:
    """Every version of a party's bank details, the latest first; a thousand at most."""
    return [
        SubmittedDetails(
            party_id=row["party_id"],
            version=row["version"],
            details=_details(row),
            state=DetailsState(row["state"]),
            submitted_by=row["submitted_by"],
            submitted_at=row["submitted_at"],
            decided_by=row["decided_by"],
            decided_at=row["decided_at"],
        )
        for row in await rows(_sql.details_of(connection, party_id=party_id))
    ]


async def lift_hold(connection: Connection, hold_id: UUID, *, by: str, now: datetime) -> str | None:
    """Lift a hold; its party, or None if there is no such hold in force."""
    party_id: str | None = await _sql.lift_hold(connection, id=hold_id, by=by, now=now)
    await _sql.renew_epoch(connection)
    return party_id


async def submit_details(
    connection: Connection, party_id: str, details: BankDetails, *, by: str, now: datetime
) -> int:
    """Store new bank details as pending; their version."""
    version: int = await _sql.next_details_version(connection, party_id=party_id, now=now)
    await _sql.insert_details(
        connection,
        party_id=party_id,
        version=version,
        name=details.name,
        iban=details.iban,
        bic=details.bic,
        reference=details.reference,
        by=by,
        now=now,
        **{field: getattr(details.address, field) for field in _ADDRESS},
    )
    await _sql.renew_epoch(connection)
    return version


async def lock_details(
    connection: Connection, party_id: str, version: int
) -> tuple[DetailsState, str] | None:
    """State and submitter of one version, locked until the transaction ends."""
    row = await _sql.lock_details(connection, party_id=party_id, version=version)
    return None if row is None else (DetailsState(row["state"]), row["submitted_by"])


async def decide_details(
    connection: Connection, party_id: str, version: int, *, state: DetailsState, by: str, now: datetime
) -> None:
    """Record the decision; an approval retires the details approved before."""
    if state is DetailsState.APPROVED:
        await _sql.retire_details(connection, party_id=party_id)
    await _sql.decide_details(connection, party_id=party_id, version=version, state=state, by=by, now=now)
    await _sql.renew_epoch(connection)
