"""Parties: the platform takes a partner on.

Owns: the wire form of a party. Must not know keys or agreements. A party is stored in the gateway, which
knows who it is, and in clearing, which knows its terms, in one transaction.
"""

from datetime import date, datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from clearing.parties.party import Party, PartyKind, VatEvidence
from gateway import objects
from gateway.database import transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel, page
from gateway.http.idempotency import KeyRule
from gateway.http.models import CurrencyCode, Line, ListQuery, NonNegativeMinor, Slug, Token
from gateway.http.problems import ProblemError
from gateway.store import parties
from gateway.store.parties import PartyRow

_CREATED: Final = 201


class VatEvidenceIn(WireModel):
    """What a register said of the VAT id."""

    effective_from: date
    valid: bool
    source: Annotated[str, Field(min_length=1, max_length=40)] = "declared"
    reference: Annotated[str, Field(max_length=100)] = ""


class PartyIn(WireModel):
    """A party to take on, or to renew the terms of."""

    id: Slug
    kind: Literal["cpo", "demand_partner", "emsp", "site_host", "platform"]
    name: Line
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2", examples=["NL"])]
    territory: Annotated[str, Field(pattern=r"^[A-Z0-9-]{2,10}$")] | None = Field(
        None, description="tax territory of its seat; the country unless it differs"
    )
    vat_id: Annotated[str, Field(pattern=r"^[A-Z0-9. -]{4,20}$")] | None = None
    vat_evidence: list[VatEvidenceIn] = Field(
        default_factory=list,
        max_length=50,
        description="none means: declared by the platform as valid from the start",
    )
    taxable_dealer: bool = Field(default=False, description="resells electricity (VAT directive art. 38)")
    small_business: bool = False
    self_billing_since: date | None = None
    settlement_currency: CurrencyCode
    terms_days: int = Field(2, ge=0, le=60, description="paid so many clearing days after the sales day")
    time_zone: Annotated[str, Field(max_length=64, examples=["Europe/Amsterdam"])]
    cut_off_minute: int = Field(
        1440, ge=1, le=1440, description="end of the sales day, minutes from midnight"
    )
    minimum_payout: NonNegativeMinor = 0
    connected_account: Token | None = Field(None, description="the PSP's account that is paid")


class PartyOut(objects.PublicObject):
    """A party."""

    id: str
    object: Literal["party"] = "party"
    kind: str
    name: str
    created: objects.Instant


async def create(call: Call) -> Answer:
    """Take a party on; the same id again renews its terms, but never its kind."""
    body: PartyIn = call.body
    now = call.services.now()
    known = _clearing_party(body, now=now)
    async with transaction(call.services.pool) as connection:
        stored = await parties.add_party(
            connection, PartyRow(id=body.id, kind=body.kind, name=body.name, created_at=now)
        )
        if stored.kind != body.kind:
            raise ProblemError(problems.ALREADY_EXISTS, f"Party {body.id} is a {stored.kind}.")
        await call.services.clearing.register_party(connection, known, now=now)
    return Answer(body=_shown(stored), status=_CREATED, headers={"Location": f"/v1/parties/{stored.id}"})


async def get(call: Call) -> Answer:
    """One party."""
    async with call.services.pool.acquire() as connection:
        found = await parties.find_party(connection, call.path["id"])
    if found is None:
        raise ProblemError(problems.NOT_FOUND, f"There is no party {call.path['id']}.")
    return Answer(body=_shown(found))


async def list_all(call: Call) -> Answer:
    """All parties by id."""
    async with call.services.pool.acquire() as connection:
        found = await parties.list_parties(
            connection, after=call.query.cursor or "", limit=call.query.limit + 1
        )
    return Answer(body=page([_shown(party) for party in found], limit=call.query.limit))


def _shown(party: PartyRow) -> PartyOut:
    return PartyOut(id=party.id, kind=party.kind, name=party.name, created=party.created_at)


def _clearing_party(body: PartyIn, *, now: datetime) -> Party:
    return Party(
        id=body.id,
        kind=PartyKind(body.kind),
        name=body.name,
        country=body.country,
        territory=body.territory or body.country,
        vat_id=body.vat_id,
        vat_evidence=_evidence(body, now=now),
        taxable_dealer=body.taxable_dealer,
        small_business=body.small_business,
        self_billing_since=body.self_billing_since,
        settlement_currency=body.settlement_currency,
        terms_days=body.terms_days,
        time_zone=body.time_zone,
        cut_off_minute=body.cut_off_minute,
        minimum_payout_minor=body.minimum_payout,
        connected_account=body.connected_account,
    )


def _evidence(body: PartyIn, *, now: datetime) -> tuple[VatEvidence, ...]:
    if body.vat_id is None:
        return ()
    given = body.vat_evidence or [VatEvidenceIn(effective_from=now.date(), valid=True)]
    return tuple(
        VatEvidence(
            effective_from=evidence.effective_from,
            vat_id=body.vat_id,
            valid=evidence.valid,
            source=evidence.source,
            reference=evidence.reference,
            checked_at=now,
        )
        for evidence in given
    )


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/parties",
        operation="createParty",
        summary="Take a party on",
        description="The same id again renews the party's terms.",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=create,
        body=PartyIn,
        answers={201: PartyOut},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.ALREADY_EXISTS,),
    ),
    Endpoint(
        method="GET",
        path="/v1/parties",
        operation="listParties",
        summary="List parties",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=list_all,
        query=ListQuery,
        answers={200: PartyOut},
        listed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/parties/{id}",
        operation="getParty",
        summary="Get a party",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=get,
        answers={200: PartyOut},
        problems=(problems.NOT_FOUND,),
    ),
)
