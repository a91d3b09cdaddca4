"""Money that goes back through the PSP, as values of the port: disputes with their evidence, and refunds.

Owns: their states and figures. Must not know: any provider, what is booked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

# What evidence may say, each a text of at most 20,000 characters.
EVIDENCE_FIELDS: Final = (
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
)

# What evidence may be shown in: each names a file that was uploaded to the PSP.
EVIDENCE_FILES: Final = ("receipt", "service_documentation", "customer_communication", "other")


class DisputeState(StrEnum):
    """What a dispute means to the money of its charge."""

    INQUIRY = "inquiry"  # the card's bank asks; no money has moved
    OPENED = "opened"
    WON = "won"
    LOST = "lost"  # an appeal may still win it
    CLOSED = "closed"  # it ended and no money had moved: an inquiry, or one that was prevented


class DisputeResponse(StrEnum):
    """What the card's bank waits for."""

    NONE = "none"
    NEEDED = "needed"
    UNDER_REVIEW = "under_review"


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeUpdate:
    """What the PSP says of a dispute.

    `amount_minor` is claimed, `withdrawn_minor` was taken (0 after a full refund; None: no money has moved
    yet). The fee has the currency of the movement that charged it. Evidence is accepted until `respond_by`
    (None: none is).
    """

    psp_dispute: str
    psp_payment: str | None = None
    state: DisputeState
    amount_minor: int
    withdrawn_minor: int | None
    fee_minor: int
    fee_currency: str
    currency: str
    reason: str
    response: DisputeResponse = DisputeResponse.NONE
    respond_by: datetime | None = None
    submissions: int = 0
    is_refundable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PspEvidenceRequest:
    """Evidence against a dispute, by the names of `EVIDENCE_FIELDS` and `EVIDENCE_FILES`.

    A text, or the PSP's id of a file; an empty text clears a field.

    Staged only, or submitted to the card's bank, which happens once.
    """

    idempotency_key: str
    psp_dispute: str
    evidence: Mapping[str, str]
    submit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PspFileRequest:
    """Upload a PDF that evidence is shown in."""

    idempotency_key: str
    name: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUploaded:
    """The PSP has the file."""

    psp_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalUpdate:
    """The PSP gave money back without our asking."""

    psp_refund: str
    amount_minor: int
    currency: str


class RefundState(StrEnum):
    """What became of a refund at the PSP."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # it did not reach its card after all


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundUpdate:
    """What the PSP says of a refund; `is_ours`: it carries the mark of our request, with `refund_id`."""

    psp_refund: str
    psp_payment: str | None
    state: RefundState
    is_ours: bool
    amount_minor: int
    currency: str
    refund_id: UUID | None = None
