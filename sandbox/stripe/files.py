"""Files: uploaded as evidence, retrieved, listed; and what the evidence of a dispute may name.

Owns: what may be uploaded, and how large. Must not know: what a file shows. The bytes are not kept.
Source: docs.stripe.com/api/files; docs.stripe.com/file-upload.
"""

from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.parameters import takes
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem
from sandbox.stripe.state import PspState

EVIDENCE: Final = "dispute_evidence"
MOST_BYTES: Final = 5 * 1024 * 1024
MOST_EVIDENCE_BYTES: Final = 4_718_592  # of all files of one dispute: 4.5 MB
_KINDS: Final = {b"%PDF-": "pdf", b"\x89PNG\r\n": "png", b"\xff\xd8\xff": "jpg"}
# The fields of a dispute's evidence that name a file (docs.stripe.com/api/disputes/evidence_object).
FILE_FIELDS: Final = (
    "cancellation_policy",
    "customer_communication",
    "customer_signature",
    "duplicate_charge_documentation",
    "receipt",
    "refund_policy",
    "service_documentation",
    "shipping_documentation",
    "uncategorized_file",
)


@takes("file", "purpose")
def create(call: PspApiRequest) -> Json:
    """POST /v1/files, as multipart/form-data, whose file arrives as one character for each byte."""
    params, state = call.params, call.state
    purpose = params.required_text("purpose")
    if purpose != EVIDENCE:
        raise ParameterProblem(f"This PSP plays the purpose {EVIDENCE} only.", param="purpose")
    content = (params.text("file", longest=MOST_BYTES + 1) or "").encode("latin-1", errors="replace")
    kind = next((name for head, name in _KINDS.items() if content.startswith(head)), None)
    if kind is None:
        raise PspProblem(
            "The file you uploaded is not of a type that this purpose takes: pdf, jpg or png.", param="file"
        )
    if len(content) > MOST_BYTES:
        raise PspProblem(f"The file is larger than {MOST_BYTES} bytes.", param="file")
    file_id = state.new_id("file_1")
    uploaded: Json = {
        "id": file_id,
        "object": "file",
        "created": state.now,
        "expires_at": None,
        "filename": f"evidence.{kind}",
        "links": None,
        "purpose": purpose,
        "size": len(content),
        "title": None,
        "type": kind,
        "url": f"{state.public_url}/v1/files/{file_id}/contents",
    }
    return state.put("file", uploaded, call.account)


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/files/{id}."""
    return call.state.get("file", call.ids[0], call.account)


@takes(*PAGING, "created", "purpose")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/files."""
    return page(call, "file")


def check_evidence(state: PspState, evidence: Json, account: str) -> None:
    """Each file that the evidence names exists, was uploaded as evidence, and all of them are small enough.

    Raises PspProblem.
    """
    size = 0
    for name in FILE_FIELDS:
        file_id = evidence.get(name)
        if not file_id:
            continue
        record = state.records.find(file_id)
        if record is None or record.kind != "file" or record.account != account:
            raise PspProblem(
                f"No such file upload: '{file_id[:60]}'", code="resource_missing", param=f"evidence[{name}]"
            )
        size += record.body["size"]
    if size > MOST_EVIDENCE_BYTES:
        raise PspProblem("The combined size of your evidence files is too large.", param="evidence")
