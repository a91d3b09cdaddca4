"""People who sign in to the console: invited, given one-time links, listed, revoked; and what they did.

Owns: the paths and the wire form. Must not know how a session works. The person or key that asks is recorded.
"""

from typing import Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, WireModel, page, whole
from gateway.api.field_types import Email, Line, ListQuery, Slug, before
from gateway.api.idempotency import KeyRule
from gateway.api.payouts.payout_access import own_party
from gateway.ids import format_id
from gateway.people.person import PERSON_PREFIX, PersonActRecord, PersonRecord
from gateway.people.roles import PersonRole
from gateway.schemas.api_schemas import Instant, PublicSchema

SIGN_IN_PATH: Final = "/console/sign-in"
_ACT_PREFIX: Final = "act"
_CREATED: Final = 201
_NO_CONTENT: Final = 204


class PersonSchema(PublicSchema):
    """Somebody who may sign in to the console. Their id is the principal of what they decide."""

    id: str
    object: Literal["person"] = "person"
    party: str
    email: str = Field(description="the address by which the OpenID provider knows them, in lower case")
    name: str
    role: PersonRole = Field(description="what the person may see and do")
    created: Instant
    created_by: str = Field(description="the person or API key that invited them")
    revoked: Instant | None = Field(description="when their access ended; null while they may sign in")
    last_seen: Instant | None = Field(description="when they last used the console; null in most answers")


class PersonLinkSchema(PublicSchema):
    """A link that signs a person in once."""

    object: Literal["person_link"] = "person_link"
    person: str = Field(description="id of the person")
    url: str | None = Field(description="shown once; null in a replayed response")
    expires: Instant = Field(description="when the link ends, used or not")


class PersonActSchema(PublicSchema):
    """One act of a person in the console."""

    id: str
    object: Literal["person_act"] = "person_act"
    person: str = Field(description="id of the person who did it")
    name: str
    party: str
    operation: str = Field(description="the operation of this API, or signIn, signOut, signOutEverywhere")
    subject: str = Field(description="what it was done to; empty where nothing is named")
    status: int = Field(description="the HTTP status that answered it")
    acted: Instant = Field(description="when they did it")


class InvitePersonBody(WireModel):
    """Somebody who may sign in from now on."""

    email: Email
    name: Line = Field(max_length=120, examples=["Anna Keller"])
    role: PersonRole


class PeopleQuery(QueryModel):
    """Of one party, or of all."""

    party: Slug | None = None


class PersonActsQuery(ListQuery):
    """A page of acts, newest first."""

    party: Slug | None = None


async def invite(call: ApiRequest) -> ApiResponse:
    """Let somebody sign in."""
    person = await call.services.people.invite(
        person_id=call.resource_id,
        party_id=own_party(call),
        email=call.body.email,
        name=call.body.name,
        role=call.body.role,
        by=call.caller.principal or call.caller.key,
        maker=call.caller.scopes,
    )
    return ApiResponse(body=person_object(person), status=_CREATED)


async def link(call: ApiRequest) -> ApiResponse:
    """Make a one-time link."""
    person_id = call.path_id("id", PERSON_PREFIX)
    made = await call.services.people.link(
        person_id,
        party_id=call.own_party,
        by=call.caller.principal or call.caller.key,
        maker=call.caller.scopes,
    )
    shown = PersonLinkSchema(
        person=format_id(PERSON_PREFIX, person_id),
        url=sign_in_address(call.services.options.base_url, made.token),
        expires=made.expires_at,
    )
    return ApiResponse(body=shown, status=_CREATED, secrets=("url",))


async def list_all(call: ApiRequest) -> ApiResponse:
    """People in the order in which they were invited."""
    found = await call.services.people.list(party_id=call.own_party or call.query.party)
    return ApiResponse(body=whole([person_object(person) for person in found]))


async def revoke(call: ApiRequest) -> ApiResponse:
    """End a person's access."""
    await call.services.people.revoke(
        call.path_id("id", PERSON_PREFIX),
        party_id=call.own_party,
        by=call.caller.principal or call.caller.key,
    )
    return ApiResponse(body=None, status=_NO_CONTENT)


async def list_acts(call: ApiRequest) -> ApiResponse:
    """What people did, newest first."""
    found = await call.services.people.list_acts(
        party_id=call.query.party, before=before(call.query, _ACT_PREFIX), limit=call.query.limit + 1
    )
    return ApiResponse(body=page([act_object(act) for act in found], limit=call.query.limit))


def sign_in_address(base_url: str, token: str) -> str:
    """Where a one-time link leads."""
    return f"{base_url}{SIGN_IN_PATH}/{token}"


def person_object(person: PersonRecord) -> PersonSchema:
    """The public person."""
    return PersonSchema(
        id=person.public_id,
        party=person.party_id,
        email=person.email,
        name=person.name,
        role=person.role,
        created=person.created_at,
        created_by=person.created_by,
        revoked=person.revoked_at,
        last_seen=person.last_seen_at,
    )


def act_object(act: PersonActRecord) -> PersonActSchema:
    """The public act."""
    return PersonActSchema(
        id=format_id(_ACT_PREFIX, act.id),
        person=format_id(PERSON_PREFIX, act.person_id),
        name=act.person,
        party=act.party_id,
        operation=act.operation,
        subject=act.subject,
        status=act.status,
        acted=act.acted_at,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/parties/{id}/people",
        operation="invitePerson",
        summary="Invite a person",
        description=(
            "Lets somebody sign in to the console: at the OpenID provider by this e-mail address, or with a "
            "one-time link. An address has one access at a time."
        ),
        tag="Parties",
        handler=invite,
        body=InvitePersonBody,
        answers={201: PersonSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.ALREADY_EXISTS),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/people/{id}/links",
        operation="createPersonLink",
        summary="Create a sign-in link",
        description="The link works once, for 24 hours, and ends those before it.",
        tag="Parties",
        handler=link,
        answers={201: PersonLinkSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/people",
        operation="listPeople",
        summary="List people",
        tag="Parties",
        handler=list_all,
        query=PeopleQuery,
        answers={200: PersonSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="DELETE",
        path="/v1/people/{id}",
        operation="revokePerson",
        summary="Revoke a person's access",
        description="Ends the access with every session and link at once.",
        tag="Parties",
        handler=revoke,
        answers={204: None},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/people-acts",
        operation="listPersonActs",
        summary="List what people did",
        description="Every sign-in, sign-out and act in the console, with the status that answered it.",
        tag="Parties",
        handler=list_acts,
        query=PersonActsQuery,
        answers={200: PersonActSchema},
        listed=True,
    ),
)
