"""Disputes over the wire: retrieve, list, evidence, accepting the loss. What they cost is in `disputing`."""

from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.dispute_funds import CLOSED, EVIDENCE_FIELDS, close_dispute
from sandbox.stripe.files import FILE_FIELDS, check_evidence
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.parameters import VALUE, takes
from sandbox.stripe.problems import Json, PspProblem

MAX_CHARACTERS: Final = 150_000
_DECIDING: Final = {"winning_evidence": "won", "losing_evidence": "lost"}


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/disputes/{id}."""
    return call.state.get("dispute", call.ids[0], call.account)


@takes(*PAGING, "charge", "payment_intent", "created")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/disputes, by charge, payment_intent, created."""
    params = call.params
    charge, intent = params.text("charge"), params.text("payment_intent")
    lookup, value = ("charge", charge) if charge is not None else ("payment_intent", intent)
    return page(call, "dispute", lookup=lookup, value=value)


@takes("metadata", "submit", evidence=dict.fromkeys(EVIDENCE_FIELDS, VALUE))
def update(call: PspApiRequest) -> Json:
    """POST /v1/disputes/{id}: evidence; the documented texts decide the test dispute at once."""
    params = call.params
    dispute = call.state.get("dispute", call.ids[0], call.account)
    if dispute["status"] in CLOSED:
        raise PspProblem(
            f"This dispute is already closed ({dispute['status']}).", code="dispute_already_closed"
        )
    evidence = params.section("evidence")
    due = dispute["evidence_details"]["due_by"]
    if evidence.raw() and (not dispute["status"].endswith("needs_response") or call.state.now > due):
        raise PspProblem(
            f"Evidence is not accepted: this dispute is {dispute['status']}, evidence was due by {due}.",
            param="evidence",
        )
    dispute["metadata"] = params.metadata(dispute["metadata"])
    given = {name: evidence.text(name, longest=150_000) for name in evidence.raw()}
    dispute["evidence"] = {**dispute["evidence"], **given}
    check_evidence(call.state, dispute["evidence"], call.account)
    written = sum(
        len(text)
        for name, text in dispute["evidence"].items()
        if isinstance(text, str) and name not in FILE_FIELDS
    )
    if written > MAX_CHARACTERS:
        raise PspProblem(f"Evidence must have at most {MAX_CHARACTERS} characters in all.", param="evidence")
    submitted = bool(given) and params.boolean("submit", default=True)
    details = dispute["evidence_details"]
    dispute["evidence_details"] = {
        **details,
        "has_evidence": details["has_evidence"] or bool(given),
        "submission_count": details["submission_count"] + submitted,
        "submission_method": "manual" if submitted else details["submission_method"],
    }
    if submitted:
        dispute["status"] = dispute["status"].replace("needs_response", "under_review")
    call.state.put("dispute", dispute, call.account)
    call.state.emit("charge.dispute.updated", dispute, call.account)
    outcome = _DECIDING.get(dispute["evidence"]["uncategorized_text"] or "")
    if submitted and outcome is not None:
        return close_dispute(call.state, dispute, outcome, call.account)
    return dispute


@takes()
def close(call: PspApiRequest) -> Json:
    """POST /v1/disputes/{id}/close: the loss is accepted."""
    dispute = call.state.get("dispute", call.ids[0], call.account)
    return close_dispute(call.state, dispute, "lost", call.account)
