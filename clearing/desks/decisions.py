"""Decisions on money, kept and booked: what was proposed is booked to the letter, once, or never.

Owns: rows to values, the limit that asks for a second person, posting. Must not know: what a decision is
about. Every function takes the connection; none commits.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.errors import InvalidAmountError, StateConflictError
from clearing.journal.adjustments import entries_from, entries_json
from clearing.journal.ledger import JournalEntry
from clearing.money import exponent
from clearing.reconciliation.deciding import (
    DecisionEvent,
    DecisionState,
    Resolution,
    advance,
    check_second,
    check_words,
    limits,
    needs_second,
    same_person,
)
from clearing.service import ClearingService

_sql = named_queries("decisions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision: `amount_minor` as our balances change, money in positive, or as a debt shrinks.

    `subject` says what it is about (a difference, a suspense item, a debt), `reference` which one.
    """

    id: UUID
    resolution: Resolution
    state: DecisionState
    subject: str
    leg: str
    reference: str
    party_id: str | None
    currency: str
    amount_minor: int
    entries: str
    reason: str
    needs_second: bool
    proposed_by: str
    proposed_at: datetime
    decided_by: str | None
    decided_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is to be decided: `entries` are named by the decision's id; `at_stake_minor` meets the limit."""

    id: UUID
    resolution: Resolution
    subject: str
    leg: str
    reference: str
    party_id: str | None
    currency: str
    amount_minor: int
    at_stake_minor: int
    entries: Sequence[JournalEntry]
    reason: str
    by: str


@cache
def bundled_limits() -> Mapping[str, int]:
    """The limits of `reconciliation/limits.csv`."""
    text = (files("clearing.reconciliation") / "limits.csv").read_text(encoding="utf-8")
    return limits(csv.DictReader(text.splitlines()))


async def known_limits(connection: Connection, *, by: str | None = None) -> dict[str, int]:
    """Limits by currency: those that were set before those that ship with the code.

    For a decision `by` somebody who raised a limit, that limit is not raised: nobody frees their own hand.
    """
    shipped = bundled_limits()
    known = dict(shipped)
    for row in await rows(_sql.limits(connection)):
        limit = row["limit_minor"]
        if by is not None and same_person(row["set_by"], by):
            before = limit if row["before_minor"] is None else row["before_minor"]
            limit = min(limit, before, shipped.get(row["currency"], shipped["*"]))
        known[row["currency"]] = limit
    return known


async def set_limit(
    connection: Connection, currency: str, limit_minor: int, *, by: str, now: datetime
) -> None:
    """From now on decisions above it need two people. Raises InvalidAmountError, UnknownCurrencyError."""
    exponent(currency)
    if limit_minor < 0:
        raise InvalidAmountError(f"a limit of {limit_minor} {currency}: expected 0 or more")
    check_words("set", by)
    await _sql.put_limit(connection, currency=currency, limit_minor=limit_minor, by=by.strip(), now=now)


async def hold(connection: Connection) -> None:
    """One decision at a time, until the transaction ends."""
    await _sql.hold_decisions(connection)


async def propose(connection: Connection, proposal: Proposal, *, now: datetime) -> Decision:
    """Write a decision down; the same again answers what is there. A refused one may be proposed anew.

    Raises StateConflictError without a reason or name, or when another decision on the same is known.
    """
    check_words(proposal.reason, proposal.by)
    second = needs_second(
        proposal.resolution, amount_minor=proposal.at_stake_minor, currency=proposal.currency,
        known=await known_limits(connection, by=proposal.by),
    )  # fmt: skip
    fields: dict[str, Any] = {
        "id": proposal.id,
        "resolution": proposal.resolution,
        "party_id": proposal.party_id,
        "amount_minor": proposal.amount_minor,
        "entries": entries_json([(str(proposal.id), one) for one in proposal.entries]),
        "reason": proposal.reason.strip(),
        "needs_second": second,
        "proposed_by": proposal.by.strip(),
        "now": now,
    }
    written = await _sql.insert_decision(
        connection, state=DecisionState.PROPOSED, subject=proposal.subject, leg=proposal.leg,
        reference=proposal.reference, currency=proposal.currency, **fields,
    )  # fmt: skip
    if written is None and await _sql.renew_decision(connection, **fields) is None:
        known = await get(connection, proposal.id)
        if (known.resolution, known.party_id) != (proposal.resolution, proposal.party_id):
            raise StateConflictError(
                f"{known.proposed_by} wants it booked as {known.resolution}; refuse that decision first"
            )
        return known
    return await get(connection, proposal.id)


async def get(connection: Connection, decision_id: UUID) -> Decision:
    """One decision. Raises StateConflictError when there is none."""
    row = await _sql.decision(connection, id=decision_id)
    if row is None:
        raise StateConflictError(f"there is no decision {decision_id}")
    return _decision(row)


async def listed(
    connection: Connection, *, state: DecisionState | None = None, limit: int = 100
) -> list[Decision]:
    """Decisions of one state, or all, the latest first."""
    return [_decision(row) for row in await rows(_sql.decisions(connection, state=state, limit=limit))]


async def agree(
    connection: Connection, decision_id: UUID, *, by: str, now: datetime, clearing: ClearingService
) -> Decision:
    """Book it as it was proposed. Raises StateConflictError for the proposer where a second is needed."""
    known = await _hold(connection, decision_id)
    if known.needs_second:
        check_second(known.proposed_by, by)
    state = advance(known.state, DecisionEvent.AGREE)
    await _sql.decide(connection, id=decision_id, state=state, by=by.strip(), now=now)
    entries = entries_from(known.entries)
    if entries:
        await clearing.post_entries(connection, entries, now=now)
    return await get(connection, decision_id)


async def refuse(connection: Connection, decision_id: UUID, *, by: str, now: datetime) -> Decision:
    """Nothing is booked; what it was about stays open. Its proposer may withdraw it, too."""
    check_words("refused", by)
    known = await _hold(connection, decision_id)
    state = advance(known.state, DecisionEvent.REFUSE)
    await _sql.decide(connection, id=decision_id, state=state, by=by.strip(), now=now)
    return await get(connection, decision_id)


async def _hold(connection: Connection, decision_id: UUID) -> Decision:
    row = await _sql.hold_decision(connection, id=decision_id)
    if row is None:
        raise StateConflictError(f"there is no decision {decision_id}")
    return _decision(row)


def _decision(row: Any) -> Decision:
    fields = dict(row.items())
    return Decision(
        **{
            **fields,
            "resolution": Resolution(fields["resolution"]),
            "state": DecisionState(fields["state"]),
        }
    )
