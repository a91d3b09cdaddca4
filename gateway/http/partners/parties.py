"""Parties: the platform takes a partner on.

Owns: the wire form of a party. Must not know keys or agreements. A party is stored in the gateway, which
knows who it is, and in clearing, which knows its terms, in one transaction.
"""

from datetime import date, datetime
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from clearing.desks.payout_desk import PayoutDesk
from clearing.parties.party import DocumentCadence, Party, PartyKind, VatEvidence, VatRegistration
from gateway import objects
from gateway.database import Connection, transaction
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel, page
from gateway.http.idempotency import KeyRule
from gateway.http.models import CurrencyCode, Line, ListQuery, NonNegativeMinor, Slug, Token
from gateway.http.problems import ProblemError
from gateway.http.settlement.payout_access import principal
from gateway.lanes import payout_news
from gateway.store import parties
from gateway.store.parties import PartyRow

_CREATED: Final = 201
TerritoryCode = Annotated[str, Field(pattern=r"^[A-Z0-9-]{2,16}$", examples=["NL"])]
VatId = Annotated[str, Field(pattern=r"^[A-Za-z0-9. -]{4,24}$", examples=["NL004495445B01"])]


class VatEvidenceIn(WireModel):
    """What a register said of the VAT id."""

    effective_from: date
    valid: bool
    source: Annotated[str, Field(min_length=1, max_length=40)] = "declared"
    reference: Annotated[str, Field(max_length=100)] = ""


class VatRegistrationIn(WireModel):
    """A registration for VAT elsewhere than at the seat; evidence as for the seat's id."""

    territory: TerritoryCode
    vat_id: VatId
    valid_from: date
    valid_to: date | None = Field(None, description="last day; null is open")
    evidence: list[VatEvidenceIn] = Field(
        default_factory=list,
        max_length=50,
        description="none means: declared by the platform as valid from valid_from, unless there is evidence "
        "of that id already",
    )


class PartyIn(WireModel):
    """A party to take on, or to renew the terms of."""

    id: Slug
    kind: Literal["cpo", "demand_partner", "emsp", "site_host", "platform"]
    name: Line
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2", examples=["NL"])]
    territory: TerritoryCode | None = Field(
        None, description="tax territory of its seat; the country unless it differs"
    )
    vat_id: VatId | None = Field(None, description="the seat's; its check digits are checked")
    vat_evidence: list[VatEvidenceIn] = Field(
        default_factory=list,
        max_length=50,
        description="of the seat's id; none means: declared by the platform as valid from today, unless "
        "there is evidence of that id already",
    )
    vat_registrations: list[VatRegistrationIn] | None = Field(
        None, max_length=50, description="where it is registered beside its seat; left out: as before"
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
    document_cadence: DocumentCadence | None = Field(
        None,
        description="how many supplies an invoice between it and others covers; left out: as before "
        "(at first monthly)",
    )


class PartyOut(objects.PublicObject):
    """A party."""

    id: str
    object: Literal["party"] = "party"
    kind: str
    name: str
    created: objects.Instant


class VatFinding(objects.PublicObject):
    """Whether a VAT id was good, from which day on, and who said so."""

    effective_from: date
    valid: bool
    source: str
    reference: str = Field(description="the consultation number that a register gave")
    checked: objects.Instant


class VatIdOut(objects.PublicObject):
    """A VAT id of a party in its one written form, with its evidence, the oldest first."""

    territory: str
    vat_id: str
    seat: bool
    valid_from: date | None
    valid_to: date | None
    evidence: list[VatFinding]


class PartyVat(objects.PublicObject):
    """Where a party is registered for VAT."""

    object: Literal["party_vat"] = "party_vat"
    party: str
    ids: list[VatIdOut]


async def create(call: Call) -> Answer:
    """Take a party on; the same id again renews its terms, but never its kind."""
    body: PartyIn = call.body
    now = call.services.now()
    async with transaction(call.services.pool) as connection:
        before = await call.services.clearing.party(connection, body.id)
        known = _clearing_party(body, before=before, now=now)
        stored = await parties.add_party(
            connection, PartyRow(id=body.id, kind=body.kind, name=body.name, created_at=now)
        )
        if stored.kind != body.kind:
            raise ProblemError(problems.ALREADY_EXISTS, f"Party {body.id} is a {stored.kind}.")
        before = await call.services.clearing.party(connection, body.id)
        await call.services.clearing.register_party(connection, known, now=now)
        if before is not None and known.connected_account not in {None, before.connected_account}:
            await _hold_until_confirmed(call, connection, known, now=now)
    return Answer(body=_shown(stored), status=_CREATED, headers={"Location": f"/v1/parties/{stored.id}"})


async def get_vat(call: Call) -> Answer:
    """A party's VAT ids and what registers said of them."""
    async with call.services.pool.acquire() as connection:
        found = await call.services.clearing.party(connection, call.path["id"])
    if found is None:
        raise ProblemError(problems.NOT_FOUND, f"There is no party {call.path['id']}.")
    ids = [] if found.vat_id is None else [_vat_id(found, found.territory, found.vat_id, registration=None)]
    ids += [_vat_id(found, one.territory, one.vat_id, registration=one) for one in found.vat_registrations]
    return Answer(body=PartyVat(party=found.id, ids=ids))


def _vat_id(party: Party, territory: str, vat_id: str, *, registration: VatRegistration | None) -> VatIdOut:
    return VatIdOut(
        territory=territory,
        vat_id=vat_id,
        seat=registration is None,
        valid_from=None if registration is None else registration.valid_from,
        valid_to=None if registration is None else registration.valid_to,
        evidence=[
            VatFinding(
                effective_from=one.effective_from,
                valid=one.valid,
                source=one.source,
                reference=one.reference,
                checked=one.checked_at,
            )
            for one in sorted(party.vat_evidence, key=lambda one: (one.effective_from, one.checked_at))
            if one.vat_id == vat_id
        ],
    )


async def _hold_until_confirmed(call: Call, connection: Connection, party: Party, *, now: datetime) -> None:
    """Another account at the PSP is like other bank details: nothing is paid until a second person agrees."""
    desk = PayoutDesk(call.services.clearing)
    hold_id = await desk.hold(
        connection,
        party.id,
        reason=f"it is to be paid to {party.connected_account} from now on; to be confirmed with the party",
        since=now.astimezone(ZoneInfo(party.time_zone)).date(),
        until=None,
        by=await principal(call, connection),
        second_person=True,
    )
    await payout_news.record_hold(
        connection, hold_id, await desk.withdraw_stopped(connection, now=now, party_id=party.id), now=now
    )


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


def _clearing_party(body: PartyIn, *, before: Party | None, now: datetime) -> Party:
    return Party(
        id=body.id,
        kind=PartyKind(body.kind),
        name=body.name,
        country=body.country,
        territory=body.territory or body.country,
        vat_id=body.vat_id,
        vat_registrations=_registrations(body, before),
        vat_evidence=_evidence(body, before=before, now=now),
        taxable_dealer=body.taxable_dealer,
        small_business=body.small_business,
        self_billing_since=body.self_billing_since,
        settlement_currency=body.settlement_currency,
        terms_days=body.terms_days,
        time_zone=body.time_zone,
        cut_off_minute=body.cut_off_minute,
        minimum_payout_minor=body.minimum_payout,
        connected_account=body.connected_account,
        document_cadence=body.document_cadence or _cadence(before),
    )


def _registrations(body: PartyIn, before: Party | None) -> tuple[VatRegistration, ...]:
    if body.vat_registrations is None:
        return () if before is None else tuple(before.vat_registrations)
    return tuple(
        VatRegistration(
            territory=one.territory, vat_id=one.vat_id, valid_from=one.valid_from, valid_to=one.valid_to
        )
        for one in body.vat_registrations
    )


def _cadence(before: Party | None) -> DocumentCadence:
    return DocumentCadence.MONTHLY if before is None else before.document_cadence


def _evidence(body: PartyIn, *, before: Party | None, now: datetime) -> tuple[VatEvidence, ...]:
    """What was given, and for an id that nothing is known of that the platform declares it.

    A declaration never takes the place of what is known: renewing a party's terms can't make an id good that
    a register refused.
    """
    known = set() if before is None else {_bare(one.vat_id) for one in before.vat_evidence}
    given = [] if body.vat_id is None else [(body.vat_id, body.vat_evidence, now.date())]
    given += [(one.vat_id, one.evidence, one.valid_from) for one in body.vat_registrations or ()]
    found: list[VatEvidence] = []
    for vat_id, findings, first_day in given:
        declared = [] if _is_known(vat_id, known) else [VatEvidenceIn(effective_from=first_day, valid=True)]
        found += [
            VatEvidence(
                effective_from=one.effective_from,
                vat_id=vat_id,
                valid=one.valid,
                source=one.source,
                reference=one.reference,
                checked_at=now,
            )
            for one in findings or declared
        ]
    return tuple(found)


def _is_known(vat_id: str, known: set[str]) -> bool:
    """Whether there is evidence of that id, however it is written: with or without its prefix, EL or GR."""
    bare = _bare(vat_id)
    return any(bare in (one, one[2:]) or bare[2:] == one[2:] for one in known)


def _bare(vat_id: str) -> str:
    return "".join(sign for sign in vat_id.upper() if sign.isalnum())


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/parties",
        operation="createParty",
        summary="Take a party on",
        description="The same id again renews the party's terms. Another connected account holds its "
        "payouts until another principal lifts the hold.",
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
    Endpoint(
        method="GET",
        path="/v1/parties/{id}/vat",
        operation="getPartyVat",
        summary="Get a party's VAT ids",
        description="Each registration with its evidence: what a register said, when, under which "
        "consultation number. A finding binds supplies from its first day on.",
        tag="Parties",
        scope=Scope.ADMIN,
        handler=get_vat,
        answers={200: PartyVat},
        problems=(problems.NOT_FOUND,),
    ),
)
