"""Evidence for differences: files and references that people attach.

Owns: the request and response schemas, and the headers with which a file is downloaded. Must not know: which
file is accepted. A file is always a download: no browser shows it on our address.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from clearing.reconciliation.evidence import MOST_BYTES, DifferenceEvidence, check_file, check_reference
from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, whole
from gateway.api.field_types import Line
from gateway.api.idempotency import KeyRule
from gateway.api.problems import FieldError, ProblemError
from gateway.api.reconciliation.resolutions import DIFFERENCE
from gateway.ids import format_id
from gateway.schemas import api_schemas

EVIDENCE: Final = "rev"
_CREATED: Final = 201
_MOST_CHARACTERS: Final = MOST_BYTES * 4 // 3 + 4
_TYPES: Final = ("application/pdf", "image/png", "image/jpeg", "text/plain")


class DifferenceEvidenceBody(WireModel):
    """A file as base64 with its name, or a reference to where the evidence is."""

    name: Line | None = Field(None, description="the file's name", examples=["statement.pdf"])
    content: Annotated[str, Field(max_length=_MOST_CHARACTERS)] | None = Field(
        None, description=f"PDF, PNG, JPEG or UTF-8 text of at most {MOST_BYTES:,} bytes, in base64"
    )
    reference: Line | None = Field(None, examples=["bank's letter of 2026-11-20, file 12/26"])

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.content is None) == (self.reference is None):
            raise ValueError("content: send either a file or a reference")
        return self


class DifferenceEvidenceSchema(api_schemas.PublicSchema):
    """What was attached. The hash is of the file, or of the reference's UTF-8."""

    id: str
    object: Literal["evidence"] = "evidence"
    difference: str
    name: str
    content_type: str | None
    size_bytes: int | None
    reference: str | None
    sha256: str
    added_by: str
    added: api_schemas.Instant


async def add(call: ApiRequest) -> ApiResponse:
    """Attach a file or a reference; the very same again changes nothing."""
    body: DifferenceEvidenceBody = call.body
    if body.reference is not None:
        checked = check_reference(body.reference)
    else:
        try:
            content = b64decode(body.content or "", validate=True)
        except (Base64Error, ValueError):
            raise ProblemError(
                problems.INVALID_PARAMETERS,
                "/content is no base64.",
                errors=[FieldError(pointer="/content", expected="the file in base64")],
            ) from None
        checked = check_file(body.name or "", content)
    found = await call.services.evidence.add(
        call.path_id("id", DIFFERENCE), checked, evidence_id=call.resource_id, key=call.caller.key
    )
    shown = next(one for one in found if one.sha256 == checked.sha256)
    return ApiResponse(body=_shown(shown), status=_CREATED)


async def list_all(call: ApiRequest) -> ApiResponse:
    """What is attached to a difference, the first first."""
    found = await call.services.evidence.list(call.path_id("id", DIFFERENCE))
    return ApiResponse(body=whole(_shown(one) for one in found))


async def download(call: ApiRequest) -> ApiResponse:
    """The file's bytes, as attached; the text of a reference."""
    found = await call.services.evidence.get(call.path_id("id", EVIDENCE))
    content = (found.reference or "").encode() if found.content is None else found.content
    return ApiResponse(
        body=content,
        headers={
            "Content-Type": found.content_type or "text/plain; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{_ascii(found.name) or "reference.txt"}"',
            "X-Content-Type-Options": "nosniff",
            "X-Content-SHA256": found.sha256,
        },
    )


def _ascii(name: str) -> str:
    return "".join(one if one.isascii() else "_" for one in name)


def _shown(one: DifferenceEvidence) -> DifferenceEvidenceSchema:
    return DifferenceEvidenceSchema(
        id=format_id(EVIDENCE, one.id),
        difference=format_id(DIFFERENCE, one.difference_id),
        name=one.name,
        content_type=one.content_type,
        size_bytes=one.size_bytes,
        reference=one.reference,
        sha256=one.sha256,
        added_by=one.added_by,
        added=one.added_at,
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/reconciliation/differences/{id}/evidence",
        operation="addDifferenceEvidence",
        summary="Attach evidence to a difference",
        description="A file's type is read from its content. It is kept with its SHA-256 and never changed.",
        tag="Settlement",
        handler=add,
        body=DifferenceEvidenceBody,
        large_body=True,
        answers={201: DifferenceEvidenceSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/reconciliation/differences/{id}/evidence",
        operation="listDifferenceEvidence",
        summary="List the evidence of a difference",
        tag="Settlement",
        handler=list_all,
        answers={200: DifferenceEvidenceSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/reconciliation/evidence/{id}",
        operation="getDifferenceEvidence",
        summary="Download evidence",
        tag="Settlement",
        handler=download,
        answers={200: None},
        also_gives=_TYPES,
        problems=(problems.NOT_FOUND,),
    ),
)
