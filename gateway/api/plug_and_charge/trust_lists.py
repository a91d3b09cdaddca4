"""Trust lists, as administrators bring them in: the roots of a PKI in one file.

Owns: the wire form. Must not know certificates: pnc decides which roots may be trusted and records each.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from gateway.api.endpoint import ApiRequest, ApiResponse, WireModel
from gateway.api.idempotency import KeyRule
from gateway.api.plug_and_charge.contracts import Environment, Reason, endpoint
from gateway.api.plug_and_charge.trust import change_of, environment_of
from gateway.schemas import api_schemas
from pnc.trust import AnchorPurpose, RevocationPolicy
from pnc.trust_list_administration import TrustList

_MAX_CHARACTERS: Final = 1_000_000


class TrustListBody(WireModel):
    """The roots of a PKI, in one text: PEM with or without remarks, PKCS #7, or base64 of DER."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")] = Field(
        description="names the list: a later one of the same name retires the roots it no longer holds"
    )
    kind: AnchorPurpose
    roots: Annotated[str, Field(min_length=64, max_length=_MAX_CHARACTERS)] = Field(
        description="the file's content"
    )
    policy: RevocationPolicy
    policy_reason: Reason = ""
    dry_run: bool = Field(default=False, description="true reports what would change, and changes nothing")
    reason: Reason = ""
    environment: Environment | None = None


class RootReportSchema(api_schemas.PublicSchema):
    """What the list does to one root."""

    sha256: str = Field(description="empty for one that can't be read")
    subject: str = Field(description="the root's name (RFC 4514)")
    outcome: Literal["added", "kept", "removed", "rejected"] = Field(description="what became of the root")
    detail: str = Field("", description="why it was rejected")


class TrustListReportSchema(api_schemas.PublicSchema):
    """What a list changed, or would change."""

    object: Literal["trust_list_report"] = "trust_list_report"
    name: str = Field(description="the list's name")
    environment: str
    dry_run: bool = Field(description="whether nothing was changed")
    roots: list[RootReportSchema] = Field(description="each root of the list, and those it retires")


async def import_list(call: ApiRequest) -> ApiResponse:
    """Add the roots of a list, retire those that it no longer holds, and report each."""
    body: TrustListBody = call.body
    environment = environment_of(call, body.environment)
    trust_list = TrustList(
        name=body.name,
        text=body.roots,
        purpose=body.kind,
        policy=body.policy,
        policy_reason=body.policy_reason,
    )
    reports = await call.services.trust.import_list(
        trust_list,
        environment=environment,
        dry_run=body.dry_run,
        change=change_of(call, body.reason),
    )
    shown = [
        RootReportSchema(
            sha256=item.sha256, subject=item.subject, outcome=item.outcome.value, detail=item.detail
        )
        for item in reports
    ]
    return ApiResponse(
        body=TrustListReportSchema(name=body.name, environment=environment, dry_run=body.dry_run, roots=shown)
    )


_CHANGED: Final[dict[str, Any]] = {"key_rule": KeyRule.OPTIONAL}
ENDPOINTS: Final = (
    endpoint(
        "POST",
        "trust-lists",
        "importTrustList",
        "Import a list of roots",
        handler=import_list,
        body=TrustListBody,
        large_body=True,
        answers={200: TrustListReportSchema},
        **_CHANGED,
    ),
)
