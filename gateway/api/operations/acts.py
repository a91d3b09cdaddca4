"""Administrative acts over HTTP: who changed what, when, and at whose request.

Owns: the paths and the wire form. Must not know how an act is recorded.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway.acts.repository import ActFilter, ActRecord
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, page
from gateway.api.field_types import InstantIn, Line, ListQuery, foreign_cursor
from gateway.schemas import api_schemas

_PREFIX: Final = "act_"
_LARGEST_ID: Final = 2**63 - 1
ActKind = Literal["created", "changed", "removed", "carried_out", "read"]


class ActsQuery(ListQuery):
    """A page of acts; all filters in the query must match."""

    principal: Line | None = Field(None, description="whose key or command it was")
    unnamed: bool = Field(default=False, description="only acts at which nobody is named")
    object_type: Annotated[str, Field(pattern=r"^[a-z]+\.[a-z_0-9]+$", max_length=100)] | None = Field(
        None, description="what was changed, such as gateway.api_key"
    )
    object_id: Line | None = Field(None, description="the id of what was changed")
    request: Line | None = Field(None, description="the X-Request-Id of the request")
    since: InstantIn | None = Field(None, description="inclusive, RFC 3339; wall time")
    until: InstantIn | None = Field(None, description="exclusive, RFC 3339; wall time")


class AdministrativeActSchema(api_schemas.PublicSchema):
    """One administrative act: a change of one object, an operation, or a reading of personal data."""

    id: str = Field(examples=["act_4711"])
    object: Literal["administrative_act"] = "administrative_act"
    kind: ActKind
    created: api_schemas.Instant
    principal: str | None = Field(description="whose key or command it was; null: nobody is named")
    key_prefix: str | None = Field(description="the public part of the API key")
    party: str | None = Field(description="the party of the key")
    scope: str | None = Field(description="the scope that the key had for it")
    request: str | None = Field(description="the X-Request-Id of the request")
    operation: str | None = Field(description="the operation, the command or the migration")
    path: str | None = Field(description="method and path, without what is personal")
    reason: str | None
    object_type: str | None = Field(description="what was changed; null: see the operation")
    object_id: str | None
    before: dict[str, Any] | None = Field(description="what changed, as it was; secrets are hidden")
    after: dict[str, Any] | None = Field(description="what changed, as it is; secrets are hidden")
    process: str = Field(description="the program")
    database_user: str = Field(description="the role at the database")


async def list_acts(call: ApiRequest) -> ApiResponse:
    """Administrative acts, newest first."""
    query: ActsQuery = call.query
    wanted = ActFilter(
        principal=query.principal,
        unnamed=query.unnamed,
        object_table=query.object_type,
        object_id=query.object_id,
        request_id=query.request,
        since=query.since,
        until=query.until,
    )
    found = await call.services.acts.list_acts(wanted, before=_before(query.cursor), limit=query.limit + 1)
    return ApiResponse(body=page([act_object(act) for act in found], limit=query.limit))


def _before(cursor: str | None) -> int | None:
    """The act that a cursor names. Raises ProblemError."""
    if cursor is None:
        return None
    digits = cursor.removeprefix(_PREFIX)
    fits = cursor.startswith(_PREFIX) and digits.isascii() and digits.isdigit()
    if not fits or int(digits) > _LARGEST_ID:
        raise foreign_cursor()
    return int(digits)


def act_object(act: ActRecord) -> AdministrativeActSchema:
    """The public form of an act."""
    return AdministrativeActSchema(
        id=f"{_PREFIX}{act.id}",
        kind=act.kind,
        created=act.acted_at,
        principal=act.principal,
        key_prefix=act.key_prefix,
        party=act.party_id,
        scope=act.scope,
        request=act.request_id,
        operation=act.operation,
        path=act.path,
        reason=act.reason,
        object_type=act.object_table,
        object_id=act.object_id,
        before=None if act.before is None else dict(act.before),
        after=None if act.after is None else dict(act.after),
        process=act.process,
        database_user=act.database_user,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/administrative-acts",
        operation="listAdministrativeActs",
        summary="List administrative acts",
        description=(
            "Who changed what, newest first: every change of a party, key, agreement, trust anchor, limit, "
            "policy, approval or webhook endpoint, every operation of the platform that changes something "
            "else, and every reading of drivers' data by the platform."
        ),
        tag="Operations",
        handler=list_acts,
        query=ActsQuery,
        answers={200: AdministrativeActSchema},
        listed=True,
    ),
)
