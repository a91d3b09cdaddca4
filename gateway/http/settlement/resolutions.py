"""Decisions on what does not agree: proposed with a reason, booked at once or by another key holder.

Owns: the wire form, also of suspense. Must not know what is booked for which resolution. Who decides is the
key's principal, never a name in the body.
"""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.desks.decisions import Decision, known_limits, listed, set_limit
from clearing.desks.resolution_desk import ResolutionDesk, Wish
from clearing.reconciliation.deciding import DecisionState, Resolution
from gateway import objects
from gateway.database import transaction
from gateway.errors import MalformedIdError
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, QueryModel, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.models import MAX_AMOUNT_MINOR, NonNegativeMinor, Slug
from gateway.http.problems import ProblemError
from gateway.http.settlement.payout_access import principal
from gateway.ids import format_id, parse_id

DIFFERENCE: Final = "rdf"
DECISION: Final = "rdc"
_CREATED: Final = 201
_MOST: Final = 1000
_PLAIN: Final = r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$"
Reason = Annotated[
    str,
    Field(min_length=1, max_length=500, pattern=_PLAIN, description="why, for the record",
          examples=["card statement of October, line 14"]),
]  # fmt: skip


class ResolutionIn(WireModel):
    """How to book it."""

    resolution: Literal["match", "suspense", "fee", "write_off", "own_funds", "psp_payout", "collection"]
    reason: Reason
    party: Slug | None = Field(None, description="collection: whose debt was paid")
    alike: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200, pattern=_PLAIN)]],
        Field(
            max_length=20, description="further references of the same movement, such as those in `likely`"
        ),
    ] = Field(default_factory=list)


class ClearingIn(WireModel):
    """Where money in suspense belongs."""

    resolution: Literal["fee", "write_off", "own_funds", "psp_payout", "collection"]
    reason: Reason
    party: Slug | None = Field(None, description="collection: whose money it is")
    amount: Annotated[int, Field(ge=-MAX_AMOUNT_MINOR, le=MAX_AMOUNT_MINOR)] | None = Field(
        None, description="minor units with the item's sign; all that is left unless it says"
    )


class OffsetIn(WireModel):
    """Which two sums cancel each other."""

    against: Annotated[str, Field(max_length=64, description="id of the sum that stands the other way")]
    reason: Reason


class DecisionIn(WireModel):
    """Nothing to say: who agrees or refuses is the key's principal."""


class LimitIn(WireModel):
    """Above this amount two people decide."""

    limit: NonNegativeMinor


class DecisionsQuery(QueryModel):
    """Which decisions to show."""

    state: Literal["proposed", "booked", "refused"] | None = None
    limit: int = Field(100, ge=1, le=_MOST)


class SuspenseQuery(QueryModel):
    """How many to show."""

    limit: int = Field(100, ge=1, le=_MOST)


class DecisionOut(objects.PublicObject):
    """A decision; `amount` is how our balances change, money in positive, or by how much a debt shrinks."""

    id: str
    object: Literal["booking_decision"] = "booking_decision"
    resolution: str
    state: Literal["proposed", "booked", "refused"]
    subject: Literal["difference", "suspense", "debt"]
    leg: str
    references: list[str]
    party: str | None
    currency: objects.Currency
    amount: objects.Minor
    reason: str
    needs_second: bool
    proposed_by: str
    proposed_at: objects.Instant
    decided_by: str | None
    decided_at: objects.Instant | None


class SuspenseOut(objects.PublicObject):
    """Money without a home: what is left of it, whose search it is, since when. Positive: it came in."""

    id: str
    object: Literal["suspense_item"] = "suspense_item"
    currency: objects.Currency
    amount: objects.Minor
    left: objects.Minor
    since: date
    age_days: int
    owner: str
    detail: str


class LimitOut(objects.PublicObject):
    """A currency's limit; `*` holds for every currency without one."""

    object: Literal["booking_limit"] = "booking_limit"
    currency: str
    limit: objects.Minor


async def resolve(call: Call) -> Answer:
    """Book a difference, or keep the wish until a second key holder agrees."""
    body: ResolutionIn = call.body
    difference_id = call.path_id("id", DIFFERENCE)
    async with transaction(call.services.pool) as connection:
        wish = Wish(
            resolution=Resolution(body.resolution), reason=body.reason, party_id=body.party,
            alike=tuple(body.alike), by=await principal(call, connection),
        )  # fmt: skip
        made = await _desk(call).resolve(connection, difference_id, wish, now=call.services.now())
    return Answer(body=decision_object(made), status=_CREATED)


async def clear(call: Call) -> Answer:
    """Take money out of suspense to where it belongs."""
    body: ClearingIn = call.body
    suspense_id = call.path_id("id", DECISION)
    async with transaction(call.services.pool) as connection:
        wish = Wish(
            resolution=Resolution(body.resolution), reason=body.reason, party_id=body.party,
            by=await principal(call, connection),
        )  # fmt: skip
        made = await _desk(call).clear(
            connection, suspense_id, wish, minor=body.amount, now=call.services.now()
        )
    return Answer(body=decision_object(made), status=_CREATED)


async def offset(call: Call) -> Answer:
    """Two sums in suspense are one movement, come and gone."""
    body: OffsetIn = call.body
    suspense_id = call.path_id("id", DECISION)
    try:
        other_id = parse_id(DECISION, body.against)
    except MalformedIdError as error:
        raise ProblemError(problems.NOT_FOUND, f"{error}.") from None
    async with transaction(call.services.pool) as connection:
        made = await _desk(call).offset(
            connection, suspense_id, other_id, reason=body.reason, by=await principal(call, connection),
            now=call.services.now(),
        )  # fmt: skip
    return Answer(body=decision_object(made), status=_CREATED)


async def agree(call: Call) -> Answer:
    """Book what another key holder proposed."""
    decision_id = call.path_id("id", DECISION)
    async with transaction(call.services.pool) as connection:
        by = await principal(call, connection)
        made = await _desk(call).agree(connection, decision_id, by=by, now=call.services.now())
    return Answer(body=decision_object(made))


async def refuse(call: Call) -> Answer:
    """Leave it open."""
    decision_id = call.path_id("id", DECISION)
    async with transaction(call.services.pool) as connection:
        by = await principal(call, connection)
        made = await _desk(call).refuse(connection, decision_id, by=by, now=call.services.now())
    return Answer(body=decision_object(made))


async def list_decisions(call: Call) -> Answer:
    """Decisions, the latest first."""
    query: DecisionsQuery = call.query
    state = None if query.state is None else DecisionState(query.state)
    async with call.services.pool.acquire() as connection:
        found = await listed(connection, state=state, limit=query.limit + 1)
    return _list([decision_object(one) for one in found[: query.limit]], more=len(found) > query.limit)


async def list_suspense(call: Call) -> Answer:
    """What has no home, the oldest first."""
    limit: int = call.query.limit
    async with call.services.pool.acquire() as connection:
        found = await _desk(call).suspense(connection, now=call.services.now(), limit=limit + 1)
    shown = [
        SuspenseOut(
            id=format_id(DECISION, one.id), currency=one.currency, amount=one.amount_minor,
            left=one.left_minor, since=one.since, age_days=one.age_days, owner=one.owner, detail=one.detail,
        )
        for one in found[:limit]
    ]  # fmt: skip
    return _list(shown, more=len(found) > limit)


async def list_limits(call: Call) -> Answer:
    """The limits in force."""
    async with call.services.pool.acquire() as connection:
        found = await known_limits(connection)
    return _list([LimitOut(currency=currency, limit=minor) for currency, minor in sorted(found.items())])


async def put_limit(call: Call) -> Answer:
    """Set a currency's limit; 0 asks two people for everything."""
    currency, body = call.path["currency"], call.body
    async with transaction(call.services.pool) as connection:
        by = await principal(call, connection)
        await set_limit(connection, currency, body.limit, by=by, now=call.services.now())
    return Answer(body=LimitOut(currency=currency, limit=body.limit))


def decision_object(made: Decision) -> DecisionOut:
    """A decision's public form."""
    return DecisionOut.model_validate(
        {
            "id": format_id(DECISION, made.id), "resolution": made.resolution.value,
            "state": made.state.value, "subject": made.subject, "leg": made.leg,
            "references": made.reference.split("\x1f"), "party": made.party_id, "currency": made.currency,
            "amount": made.amount_minor, "reason": made.reason, "needs_second": made.needs_second,
            "proposed_by": made.proposed_by, "proposed_at": made.proposed_at, "decided_by": made.decided_by,
            "decided_at": made.decided_at,
        }
    )  # fmt: skip


def _desk(call: Call) -> ResolutionDesk:
    return ResolutionDesk(call.services.clearing)


def _list(shown: Sequence[objects.PublicObject], *, more: bool = False) -> Answer:
    return Answer(body={"object": "list", "data": list(shown), "has_more": more, "next_cursor": None})


_REFUSALS: Final = (problems.NOT_FOUND, problems.STATE_CONFLICT)
ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/reconciliation/differences/{id}/resolutions",
        operation="resolveReconciliationDifference",
        summary="Book a difference",
        description=(
            "Up to the currency's limit it is booked at once; above it, it waits for a key holder of another "
            "principal. The same again changes nothing."
        ),
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=resolve,
        body=ResolutionIn,
        answers={201: DecisionOut},
        key_rule=KeyRule.OPTIONAL,
        problems=_REFUSALS,
    ),
    Endpoint(
        method="GET",
        path="/v1/reconciliation/decisions",
        operation="listBookingDecisions",
        summary="List decisions on money",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=list_decisions,
        query=DecisionsQuery,
        answers={200: DecisionOut},
        listed=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/reconciliation/decisions/{id}/agreements",
        operation="agreeToBookingDecision",
        summary="Agree to a decision",
        description=(
            "Booked as it was proposed, if what it is about has not changed. Never by who proposed it."
        ),
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=agree,
        body=DecisionIn,
        body_required=False,
        answers={200: DecisionOut},
        problems=_REFUSALS,
    ),
    Endpoint(
        method="POST",
        path="/v1/reconciliation/decisions/{id}/refusals",
        operation="refuseBookingDecision",
        summary="Refuse a decision",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=refuse,
        body=DecisionIn,
        body_required=False,
        answers={200: DecisionOut},
        problems=_REFUSALS,
    ),
    Endpoint(
        method="GET",
        path="/v1/reconciliation/suspense",
        operation="listSuspense",
        summary="List what stands in suspense",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=list_suspense,
        query=SuspenseQuery,
        answers={200: SuspenseOut},
        listed=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/reconciliation/suspense/{id}/clearings",
        operation="clearSuspense",
        summary="Clear money out of suspense",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=clear,
        body=ClearingIn,
        answers={201: DecisionOut},
        key_rule=KeyRule.OPTIONAL,
        problems=_REFUSALS,
    ),
    Endpoint(
        method="POST",
        path="/v1/reconciliation/suspense/{id}/offsets",
        operation="offsetSuspense",
        summary="Set two sums in suspense against each other",
        description="What came in and what went out are one movement: nothing is booked, both are ended.",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=offset,
        body=OffsetIn,
        answers={201: DecisionOut},
        key_rule=KeyRule.OPTIONAL,
        problems=_REFUSALS,
    ),
    Endpoint(
        method="GET",
        path="/v1/reconciliation/limits",
        operation="listBookingLimits",
        summary="List the limits above which two people decide",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=list_limits,
        answers={200: LimitOut},
        listed=True,
    ),
    Endpoint(
        method="PUT",
        path="/v1/reconciliation/limits/{currency}",
        operation="setBookingLimit",
        summary="Set a currency's limit",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=put_limit,
        body=LimitIn,
        answers={200: LimitOut},
    ),
)
