"""Disputes: what cardholders' banks reclaim, to read, to answer with evidence, or to accept.

Owns: the paths and the wire form. Must not know how a dispute ends, when evidence is accepted.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.api import problems
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, WireModel, page
from gateway.api.field_types import ListQuery, before
from gateway.api.idempotency import KeyRule
from gateway.documents.document_service import DisputeDocument
from gateway.ids import format_id
from gateway.payments.presenters import dispute_object
from gateway.payments.psp.dispute_port import EVIDENCE_FIELDS, EVIDENCE_FILES
from gateway.schemas import api_schemas

EvidenceText = Annotated[str, Field(max_length=20_000, pattern=r"^[^\x00]*$")]
EvidenceField = Literal[
    "statement",
    "product_description",
    "service_date",
    "access_log",
    "customer_name",
    "customer_email",
    "customer_ip_address",
    "billing_address",
    "refund_policy",
    "refund_refusal",
    "duplicate_explanation",
]


EvidenceFile = Literal["receipt", "service_documentation", "customer_communication", "other"]
FileToken = Annotated[str, Field(pattern=r"^(file_[A-Za-z0-9_]{1,250})?$")]


class EvidenceBody(WireModel):
    """Evidence to stage, and whether all that is staged is submitted now."""

    evidence: dict[EvidenceField, EvidenceText] = Field(
        default_factory=dict,
        description="texts by field, beside those staged before; an empty text removes one",
        examples=[{"statement": "12.4 kWh at DE*ABC*E1 on 2026-10-13, receipt DI-2026-000017."}],
    )
    files: dict[EvidenceFile, FileToken] = Field(
        default_factory=dict,
        description="the PSP's ids of files that were uploaded to it as evidence; an empty text removes one",
        examples=[{"customer_communication": "file_1OpQ"}],
    )
    documents: set[DisputeDocument] = Field(
        default_factory=set,
        description="what we have: `receipt` is uploaded as a PDF with the meter's signed record, `cdr` is "
        "given as the field access_log",
    )
    submit: bool = Field(
        default=False,
        description="submit what is staged to the cardholder's bank, once; otherwise it is only staged",
    )


class DisputeEvidenceSchema(api_schemas.PublicSchema):
    """The evidence that is staged or was submitted."""

    id: str
    object: Literal["dispute_evidence"] = "dispute_evidence"
    evidence: dict[str, str]
    files: dict[str, str] = Field(description="the PSP's ids of its files, by field")
    respond_by: api_schemas.Instant | None
    submissions: int


async def get(call: ApiRequest) -> ApiResponse:
    """One dispute."""
    party = None if call.caller.admin else call.caller.party_id
    dispute = await call.services.payments.disputes.get(party_id=party, dispute_id=call.path_id("id", "dsp"))
    return ApiResponse(body=dispute_object(dispute))


async def list_all(call: ApiRequest) -> ApiResponse:
    """Disputes, newest first."""
    party = None if call.caller.admin else call.caller.party_id
    found = await call.services.payments.disputes.list(
        party_id=party, before=before(call.query, "dsp"), limit=call.query.limit + 1
    )
    return ApiResponse(body=page([dispute_object(dispute) for dispute in found], limit=call.query.limit))


async def get_evidence(call: ApiRequest) -> ApiResponse:
    """The evidence of one dispute."""
    dispute = await call.services.payments.disputes.get(party_id=None, dispute_id=call.path_id("id", "dsp"))
    shown = DisputeEvidenceSchema(
        id=format_id("dsp", dispute.id),
        evidence={name: dispute.evidence[name] for name in EVIDENCE_FIELDS if name in dispute.evidence},
        files={name: dispute.evidence[name] for name in EVIDENCE_FILES if name in dispute.evidence},
        respond_by=dispute.respond_by,
        submissions=dispute.submissions,
    )
    return ApiResponse(body=shown)


async def respond(call: ApiRequest) -> ApiResponse:
    """Stage or submit evidence."""
    body: EvidenceBody = call.body
    dispute = await call.services.documents.answer_dispute(
        call.path_id("id", "dsp"),
        evidence={str(name): text for name, text in (*body.evidence.items(), *body.files.items())},
        documents=body.documents,
        submit=body.submit,
    )
    return ApiResponse(body=dispute_object(dispute))


async def accept(call: ApiRequest) -> ApiResponse:
    """Accept the loss."""
    dispute = await call.services.payments.dispute_evidence.accept(call.path_id("id", "dsp"))
    return ApiResponse(body=dispute_object(dispute))


ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/disputes",
        operation="listDisputes",
        summary="List disputes",
        tag="Disputes",
        handler=list_all,
        query=ListQuery,
        answers={200: api_schemas.DisputeSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/disputes/{id}",
        operation="getDispute",
        summary="Get a dispute",
        tag="Disputes",
        handler=get,
        answers={200: api_schemas.DisputeSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/disputes/{id}/evidence",
        operation="getDisputeEvidence",
        summary="Get a dispute's evidence",
        tag="Disputes",
        handler=get_evidence,
        answers={200: DisputeEvidenceSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/disputes/{id}/evidence",
        operation="submitDisputeEvidence",
        summary="Stage or submit evidence against a dispute",
        description="The platform is the merchant, so it answers: with texts, files, and documents that we "
        "have. Fields are staged beside those of before; "
        "with `submit` all of them go to the cardholder's bank, once, before `respond_by`.",
        tag="Disputes",
        handler=respond,
        body=EvidenceBody,
        answers={200: api_schemas.DisputeSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/disputes/{id}/accept",
        operation="acceptDispute",
        summary="Accept a dispute's loss",
        description="Final: the PSP closes the dispute as lost.",
        tag="Disputes",
        handler=accept,
        answers={200: api_schemas.DisputeSchema},
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
