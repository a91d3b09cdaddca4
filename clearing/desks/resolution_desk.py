"""What people decide about differences and suspense: proposed with a reason, booked at once or by two.

Owns: which items a decision is about, that they are still the same when it is booked. Must not know: HTTP,
who is logged in: `by` names a person for the record. Every method takes the connection; none commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from clearing.connection import Connection, named_queries, rows
from clearing.desks import decisions
from clearing.desks.debt_desk import DebtDesk
from clearing.desks.decisions import Decision, Proposal
from clearing.errors import InvalidPartyError, StateConflictError
from clearing.journal.resolutions import Choice, Sides, clear_suspense, settle
from clearing.parties.party import Party
from clearing.reconciliation.comparing import DifferenceType, Leg
from clearing.reconciliation.deciding import DecisionState, Resolution
from clearing.service import ClearingService

_sql = named_queries("decisions")
_runs = named_queries("reconciliation")
_NAMESPACE: Final = UUID("a41f5a0e-77c2-5b6e-8f0d-2f6f6f0b9d31")
_DIFFERENCE, _SUSPENSE, _DEBT = "difference", "suspense", "debt"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspenseItem:
    """Money without a home: `left_minor` of `amount_minor` (positive: it came in), its owner and age."""

    id: UUID
    currency: str
    amount_minor: int
    left_minor: int
    since: date
    owner: str
    detail: str
    age_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How somebody wants it booked: `alike` are further references that belong to the same movement."""

    resolution: Resolution
    reason: str
    by: str
    party_id: str | None = None
    alike: Sequence[str] = ()


class ResolutionDesk:
    """Decisions on differences and on suspense."""

    def __init__(self, clearing: ClearingService) -> None:
        """`clearing` posts what is decided."""
        self._clearing = clearing
        self._debts = DebtDesk(clearing)

    async def resolve(
        self, connection: Connection, difference_id: UUID, wish: Wish, *, now: datetime
    ) -> Decision:
        """Book a difference as wished, or keep the wish until a second person agrees; repeatable.

        Raises StateConflictError where there is no such difference, the wish doesn't fit, or another is
        known.
        """
        await self._hold(connection)
        row = await _sql.difference_of(connection, id=difference_id)
        if row is None:
            raise StateConflictError(f"no difference {difference_id} is open")
        if row["type"] == DifferenceType.STATEMENT_GAP:
            raise StateConflictError("a statement is missing: take it in, there is nothing to book")
        items = await self._items(connection, row["leg"], [row["reference"], *wish.alike], row["currency"])
        decision_id = _decision_id(row, items)
        party = await self._party(connection, wish.party_id)
        choice = Choice(resolution=wish.resolution, party=party, due=_local_day(party, now))
        made, debited = settle(
            Leg(row["leg"]), _sides(row, items), choice, named=str(decision_id), currency=row["currency"]
        )
        if wish.resolution is Resolution.SUSPENSE and debited == 0:
            raise StateConflictError("nothing of it would stand in suspense: choose match or fee")
        fee = sum(item["fee_minor"] for item in items if item["side"] == "right") - sum(
            item["fee_minor"] for item in items if item["side"] == "left"
        )
        proposal = Proposal(
            id=decision_id, resolution=wish.resolution, subject=_DIFFERENCE, leg=row["leg"],
            reference="\x1f".join([row["reference"], *sorted(wish.alike)]), party_id=wish.party_id,
            currency=row["currency"], amount_minor=-debited, at_stake_minor=abs(debited) + abs(fee),
            entries=[] if made is None else [made], reason=wish.reason, by=wish.by,
        )  # fmt: skip
        return await self._propose(connection, proposal, now=now)

    async def clear(
        self, connection: Connection, suspense_id: UUID, wish: Wish, *, minor: int | None, now: datetime
    ) -> Decision:
        """Take `minor` (by default all that is left; the item's sign) out of suspense; its owner is found.

        The whole item meets the limit: parts of a large one are not small.

        Raises StateConflictError where less is left or the wish doesn't fit.
        """
        await self._hold(connection)
        row = await self._suspended(connection, suspense_id)
        taken = row["left_minor"] if minor is None else minor
        _check_left(row, taken)
        decision_id = uuid5(_NAMESPACE, f"suspense/{suspense_id}/{row['left_minor']}/{taken}")
        party = await self._party(connection, wish.party_id)
        choice = Choice(resolution=wish.resolution, party=party, due=_local_day(party, now))
        made = clear_suspense(
            Leg(row["leg"]), taken, choice, named=str(decision_id), currency=row["currency"]
        )
        proposal = Proposal(
            id=decision_id, resolution=wish.resolution, subject=_SUSPENSE, leg=row["leg"],
            reference=str(suspense_id), party_id=wish.party_id, currency=row["currency"], amount_minor=taken,
            at_stake_minor=row["amount_minor"], entries=[made], reason=wish.reason, by=wish.by,
        )  # fmt: skip
        return await self._propose(connection, proposal, now=now)

    async def offset(
        self,
        connection: Connection,
        suspense_id: UUID,
        other_id: UUID,
        *,
        reason: str,
        by: str,
        now: datetime,
    ) -> Decision:
        """Two sums in suspense are one movement, come and gone: the smaller one ends both. Nothing is booked.

        Raises StateConflictError where they are not of one currency and of opposite signs.
        """
        await self._hold(connection)
        first, second = sorted(
            [await self._suspended(connection, suspense_id), await self._suspended(connection, other_id)],
            key=lambda row: -int(row["left_minor"]),
        )
        minor = min(first["left_minor"], -second["left_minor"])
        if first["currency"] != second["currency"] or minor <= 0:
            raise StateConflictError("only what came in and what went out in one currency cancel each other")
        named = f"{first['id']}/{first['left_minor']}/{second['id']}/{second['left_minor']}"
        proposal = Proposal(
            id=uuid5(_NAMESPACE, f"offset/{named}"), resolution=Resolution.MATCH, subject=_SUSPENSE,
            leg=first["leg"], reference=f"{first['id']}\x1f{second['id']}", party_id=None,
            currency=first["currency"], amount_minor=minor, at_stake_minor=first["amount_minor"], entries=[],
            reason=reason, by=by,
        )  # fmt: skip
        return await self._propose(connection, proposal, now=now)

    async def agree(self, connection: Connection, decision_id: UUID, *, by: str, now: datetime) -> Decision:
        """The second person's word: booked as proposed, if what it is about has not changed meanwhile.

        Raises StateConflictError; a decision that is booked already is answered as it is.
        """
        await self._hold(connection)
        known = await decisions.get(connection, decision_id)
        if known.state is DecisionState.BOOKED:
            return known
        return await self._book(connection, known, by=by, now=now)

    async def refuse(self, connection: Connection, decision_id: UUID, *, by: str, now: datetime) -> Decision:
        """Nothing is booked. Raises StateConflictError when it was decided before."""
        await self._hold(connection)
        return await decisions.refuse(connection, decision_id, by=by, now=now)

    async def suspense(
        self, connection: Connection, *, now: datetime, limit: int = 1000
    ) -> list[SuspenseItem]:
        """What stands in suspense, the oldest first."""
        return [
            SuspenseItem(**dict(row.items()), age_days=max(0, (now.date() - row["since"]).days))
            for row in await rows(_sql.suspense(connection, limit=limit))
        ]

    # Inside one decision

    async def _propose(self, connection: Connection, proposal: Proposal, *, now: datetime) -> Decision:
        made = await decisions.propose(connection, proposal, now=now)
        if made.needs_second or made.state is not DecisionState.PROPOSED:
            return made
        return await self._book(connection, made, by=proposal.by, now=now)

    async def _book(self, connection: Connection, known: Decision, *, by: str, now: datetime) -> Decision:
        if known.subject == _DEBT:
            await self._debts.check(connection, known, now=now)
        elif known.subject == _SUSPENSE:
            # The second, where there are two, stands the other way round.
            for item, sign in zip(known.reference.split("\x1f"), (1, -1), strict=False):
                row = await self._suspended(connection, UUID(item))
                _check_left(row, sign * known.amount_minor)
                await _sql.take_from_suspense(connection, id=row["id"], minor=sign * known.amount_minor)
        booked = await decisions.agree(connection, known.id, by=by, now=now, clearing=self._clearing)
        if known.subject == _DIFFERENCE:
            await self._end(connection, known, now=now)
        return booked

    async def _end(self, connection: Connection, known: Decision, *, now: datetime) -> None:
        """The difference is gone; its items are matched by the decision, its money may stand in suspense."""
        refs = known.reference.split("\x1f")
        named = await rows(_sql.difference_named(connection, leg=known.leg, reference=refs[0]))
        row = next((one for one in named if one["currency"] == known.currency), None)
        if row is None:
            raise StateConflictError(
                f"{refs[0]} is no longer open: refuse the decision, it has settled itself"
            )
        full = await _sql.difference_of(connection, id=row["id"])
        items = await self._items(connection, known.leg, refs, known.currency)
        if _decision_id(full, items) != known.id:
            raise StateConflictError(
                f"{refs[0]} has changed since it was proposed: refuse it, and look again"
            )
        if known.resolution is Resolution.SUSPENSE:
            await _sql.insert_suspense(
                connection, id=known.id, currency=known.currency, amount_minor=known.amount_minor,
                since=full["since"], owner=full["owner"], detail=f"{known.leg} {refs[0]}: {full['detail']}",
            )  # fmt: skip
        await _sql.resolve_items(
            connection, leg=known.leg, refs=refs, currency=known.currency, decision_id=known.id, now=now
        )
        await _sql.end_differences(connection, leg=known.leg, refs=refs, currency=known.currency, now=now)

    async def _hold(self, connection: Connection) -> None:
        """No comparison runs meanwhile, and no other decision."""
        await _runs.hold_run(connection)
        await decisions.hold(connection)

    async def _items(self, connection: Connection, leg: str, refs: Sequence[str], currency: str) -> list[Any]:
        return await rows(_sql.open_items(connection, leg=leg, refs=list(refs), currency=currency))

    async def _suspended(self, connection: Connection, suspense_id: UUID) -> Any:
        row = await _sql.hold_suspense(connection, id=suspense_id)
        if row is None:
            raise StateConflictError(f"nothing in suspense is called {suspense_id}")
        return row

    async def _party(self, connection: Connection, party_id: str | None) -> Party | None:
        if party_id is None:
            return None
        party = await self._clearing.party(connection, party_id)
        if party is None:
            raise InvalidPartyError(party_id, "is not registered")
        return party


def _decision_id(row: Any, items: Sequence[Any]) -> UUID:
    """One id for a difference and the very items that it is made of: other items, another decision."""
    told = "/".join(f"{item['side']}:{item['source_id']}" for item in items)
    if not items:
        told = f"{row['since']}/{row['amount_minor']}"
    return uuid5(_NAMESPACE, f"{row['leg']}/{row['currency']}/{row['reference']}/{told}")


def _sides(row: Any, items: Sequence[Any]) -> Sides:
    if row["leg"] == Leg.BANK_BALANCE:
        return Sides(left_minor=row["amount_minor"], right_minor=0)
    if not items:
        raise StateConflictError(f"nothing of {row['reference']} is open any more: compare again")
    sums = {(side, what): 0 for side in ("left", "right") for what in ("amount_minor", "fee_minor")}
    for item in items:
        for what in ("amount_minor", "fee_minor"):
            sums[item["side"], what] += item[what]
    return Sides(
        left_minor=sums["left", "amount_minor"],
        right_minor=sums["right", "amount_minor"],
        left_fee_minor=sums["left", "fee_minor"],
        right_fee_minor=sums["right", "fee_minor"],
    )


def _check_left(row: Any, minor: int) -> None:
    left = row["left_minor"]
    if minor == 0 or (minor > 0) != (left > 0) or abs(minor) > abs(left):
        raise StateConflictError(f"{left} {row['currency']} are left of it in suspense, not {minor}")


def _local_day(party: Party | None, now: datetime) -> date:
    """A sum that is credited counts from the party's own day on."""
    return now.date() if party is None else now.astimezone(ZoneInfo(party.time_zone)).date()
