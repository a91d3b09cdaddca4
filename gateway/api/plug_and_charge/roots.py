"""Trusted roots and their changes, as operators of stations read them, to load their stations.

Owns: the wire form. Must not know who changed trust and why: that is the platform's.
"""

from typing import Final, Literal

from pydantic import Field

from gateway.api.endpoint import ApiRequest, ApiResponse, QueryModel, whole
from gateway.api.field_types import MAX_PAGE
from gateway.api.plug_and_charge.contracts import endpoint
from gateway.schemas import api_schemas
from pnc import trust_administration


class RootChangesQuery(QueryModel):
    """Changes after a cursor; continue with `next_cursor`."""

    cursor: int = Field(0, ge=0, le=2**62, description="`next_cursor` of the previous page")
    limit: int = Field(50, ge=1, le=MAX_PAGE)


class TrustedRootSchema(api_schemas.PublicSchema):
    """A root that contract certificates may chain to."""

    object: Literal["trusted_root"] = "trusted_root"
    sha256: str = Field(description="SHA-256 of the certificate, in hexadecimal")
    kind: Literal["mo_root", "v2g_root"] = Field(description="MO root or V2G root")
    subject: str = Field(description="the root's name (RFC 4514)")
    pem: str = Field(description="the certificate, to be installed in stations")
    not_after: api_schemas.Instant
    added_at: api_schemas.Instant


class RootChangeSchema(api_schemas.PublicSchema):
    """A root that was added or retired."""

    object: Literal["root_change"] = "root_change"
    sha256: str = Field(description="SHA-256 of the certificate, in hexadecimal")
    change: Literal["added", "retired"] = Field(description="what happened to the root")
    at: api_schemas.Instant


async def list_roots(call: ApiRequest) -> ApiResponse:
    """The roots that are trusted now, oldest first, each with its certificate."""
    found = await trust_administration.list_roots(
        call.services.pool, environment=call.services.options.environment
    )
    return ApiResponse(
        body=whole(
            TrustedRootSchema(
                sha256=root.certificate.sha256.hex(),
                kind=root.purpose.value,
                subject=root.subject,
                pem=root.certificate.pem,
                not_after=root.certificate.not_after,
                added_at=root.added_at,
            )
            for root in found
        )
    )


async def list_root_changes(call: ApiRequest) -> ApiResponse:
    """Roots that were added or retired after a cursor, oldest first."""
    query: RootChangesQuery = call.query
    found = await trust_administration.load_history(
        call.services.pool,
        environment=call.services.options.environment,
        after=query.cursor,
        limit=query.limit + 1,
        kinds=tuple(_CHANGE_OF_KIND),
    )
    page = found[: query.limit]
    shown = [
        RootChangeSchema(sha256=row["sha256"], change=_CHANGE_OF_KIND[row["kind"]], at=row["at"])
        for row in page
    ]
    cursor = str(page[-1]["version"] if page else query.cursor)
    more = len(found) > query.limit
    return ApiResponse(body={"object": "list", "data": shown, "has_more": more, "next_cursor": cursor})


_CHANGE_OF_KIND: Final[dict[str, Literal["added", "retired"]]] = {
    "anchor_added": "added",
    "anchor_retired": "retired",
}
ENDPOINTS: Final = (
    endpoint(
        "GET",
        "roots",
        "listTrustedRoots",
        "List trusted roots",
        handler=list_roots,
        answers={200: TrustedRootSchema},
        listed=True,
    ),
    endpoint(
        "GET",
        "root-changes",
        "listRootChanges",
        "List changes of trusted roots",
        handler=list_root_changes,
        query=RootChangesQuery,
        answers={200: RootChangeSchema},
        listed=True,
    ),
)
