"""What parties owe: by age, set against claims in another currency, given up by two key holders.

Owns: the wire form. Must not know how a debt is aged or booked. Only the platform sees any of it.
"""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.desks.debt_desk import DebtDesk
from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, QueryModel, WireModel
from gateway.http.idempotency import KeyRule
from gateway.http.models import CurrencyCode, Line, Slug
from gateway.http.settlement.payout_access import principal
from gateway.http.settlement.resolutions import DecisionOut, Reason, decision_object

_CREATED: Final = 201


class DebtsQuery(QueryModel):
    """Whose debts."""

    party: Slug | None = None


class CompensationIn(WireModel):
    """Which claim pays the debt."""

    currency: CurrencyCode = Field(description="of the debt")
    from_currency: CurrencyCode = Field(description="of the claim")
    reason: Reason


class WriteOffIn(WireModel):
    """Which debt is given up."""

    currency: CurrencyCode
    reason: Reason


class ConsentIn(WireModel):
    """The party lets its debts be set against its claims."""

    agreed_on: date
    evidence: Line = Field(description="where its consent is kept", examples=["contract 7, annex B"])


class ConsentOut(objects.PublicObject):
    """Since when a party's debts may be set against its claims."""

    object: Literal["compensation_agreement"] = "compensation_agreement"
    party: str
    agreed_on: date
    evidence: str


class DebtOut(objects.PublicObject):
    """A party's debt in one currency; `buckets` are minor units by age in days."""

    object: Literal["debt"] = "debt"
    party: str
    currency: objects.Currency
    amount: objects.Minor
    since: date
    age_days: int
    buckets: Annotated[dict[str, int], Field(examples=[{"0-30": 400, "31-60": 0, "61-90": 0, "over-90": 0}])]


async def list_debts(call: Call) -> Answer:
    """Every debt, the oldest first."""
    async with call.services.pool.acquire() as connection:
        found = await _desk(call).debts(connection, now=call.services.now(), party_id=call.query.party)
    shown = [
        DebtOut(
            party=one.party_id, currency=one.currency, amount=one.debt_minor, since=one.since,
            age_days=one.age_days, buckets=dict(one.buckets),
        )
        for one in found
    ]  # fmt: skip
    return Answer(body={"object": "list", "data": shown, "has_more": False, "next_cursor": None})


async def compensate(call: Call) -> Answer:
    """Pay a debt out of what the party is owed in another currency, at the day's locked rate."""
    body: CompensationIn = call.body
    async with transaction(call.services.pool) as connection:
        made = await _desk(call).compensate(
            connection, call.path["party"], currency=body.currency, from_currency=body.from_currency,
            reason=body.reason, by=await principal(call, connection), now=call.services.now(),
        )  # fmt: skip
    return Answer(body=decision_object(made), status=_CREATED)


async def write_off(call: Call) -> Answer:
    """Propose to give a debt up; another key holder books it."""
    body: WriteOffIn = call.body
    async with transaction(call.services.pool) as connection:
        made = await _desk(call).write_off(
            connection, call.path["party"], currency=body.currency, reason=body.reason,
            by=await principal(call, connection), now=call.services.now(),
        )  # fmt: skip
    return Answer(body=decision_object(made), status=_CREATED)


async def consent(call: Call) -> Answer:
    """Record a party's consent to compensation."""
    body: ConsentIn = call.body
    async with transaction(call.services.pool) as connection:
        await _desk(call).agree_to_compensation(
            connection, call.path["party"], agreed_on=body.agreed_on, evidence=body.evidence,
            by=await principal(call, connection),
        )  # fmt: skip
    shown = ConsentOut(party=call.path["party"], agreed_on=body.agreed_on, evidence=body.evidence)
    return Answer(body=shown, status=_CREATED)


def _desk(call: Call) -> DebtDesk:
    return DebtDesk(call.services.clearing)


_REFUSALS: Final = (problems.NOT_FOUND, problems.STATE_CONFLICT)
ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/debts",
        operation="listDebts",
        summary="List what parties owe, by age",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=list_debts,
        query=DebtsQuery,
        answers={200: DebtOut},
        listed=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/debts/{party}/compensations",
        operation="compensateDebt",
        summary="Set a debt against a claim in another currency",
        description="As much as both allow, where the party has agreed to it.",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=compensate,
        body=CompensationIn,
        answers={201: DecisionOut},
        key_rule=KeyRule.OPTIONAL,
        problems=_REFUSALS,
    ),
    Endpoint(
        method="POST",
        path="/v1/debts/{party}/write-offs",
        operation="writeOffDebt",
        summary="Give a debt up",
        description="Of a party that has left, or older than 90 days; a second key holder books it.",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=write_off,
        body=WriteOffIn,
        answers={201: DecisionOut},
        key_rule=KeyRule.OPTIONAL,
        problems=_REFUSALS,
    ),
    Endpoint(
        method="POST",
        path="/v1/debts/{party}/compensation-agreements",
        operation="agreeToCompensation",
        summary="Record a party's consent to compensation",
        tag="Settlement",
        scope=Scope.ADMIN,
        handler=consent,
        body=ConsentIn,
        answers={201: ConsentOut},
        key_rule=KeyRule.OPTIONAL,
        problems=_REFUSALS,
    ),
)
