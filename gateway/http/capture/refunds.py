"""Refunds: give captured money back, look at what was given.

Owns: the wire form. Must not know how money travels back or who bears it.
"""

from typing import Final, Literal
from uuid import UUID

from pydantic import Field

from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, WireModel, page
from gateway.http.idempotency import KeyRule
from gateway.http.models import ListQuery, MetadataIn, PositiveMinor, before
from gateway.ids import parse_id
from gateway.payments.public import refund_object
from gateway.payments.refund import RefundReason, RefundRequest

_CREATED: Final = 201


class RefundIn(WireModel):
    """An order to give money back."""

    session: str = Field(examples=["ses_01jd2w3x4y5z6a7b8c9d0e1f2g"])
    amount: PositiveMinor | None = Field(None, description="minor units; all that is left when absent")
    reason: Literal["requested_by_driver", "duplicate", "fraudulent"] = "requested_by_driver"
    metadata: MetadataIn = Field(default_factory=dict)


class RefundsQuery(ListQuery):
    """A page of refunds, of one session where it is named."""

    session: str | None = None


def _party(call: Call) -> str | None:
    return None if call.caller.admin else call.caller.party_id


async def create(call: Call) -> Answer:
    """Give money back from a session's capture."""
    refund = await call.services.payments.refunds.refund(
        RefundRequest(
            refund_id=call.resource_id,
            session_id=parse_id("ses", call.body.session),
            amount_minor=call.body.amount,
            reason=RefundReason(call.body.reason),
            metadata=call.body.metadata,
        ),
        party_id=_party(call),
    )
    shown = refund_object(refund)
    return Answer(body=shown, status=_CREATED, headers={"Location": f"/v1/refunds/{shown.id}"})


async def get(call: Call) -> Answer:
    """One refund, as it stands."""
    refund = await call.services.payments.refunds.get(
        party_id=_party(call), refund_id=call.path_id("id", "ref")
    )
    return Answer(body=refund_object(refund))


async def list_all(call: Call) -> Answer:
    """Refunds, newest first."""
    session: UUID | None = parse_id("ses", call.query.session) if call.query.session else None
    found = await call.services.payments.refunds.list(
        party_id=_party(call),
        session_id=session,
        before=before(call.query, "ref"),
        limit=call.query.limit + 1,
    )
    return Answer(body=page([refund_object(refund) for refund in found], limit=call.query.limit))


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/v1/refunds",
        operation="createRefund",
        summary="Refund a session",
        description="Full or partial, as often as you like, never more than was captured. "
        "`requested` means that the PSP has not answered yet: wait for a webhook or poll.",
        tag="Refunds",
        scope=Scope.CAPTURE,
        handler=create,
        body=RefundIn,
        answers={201: objects.Refund},
        key_rule=KeyRule.REQUIRED,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT, problems.REFUND_EXCEEDS_CAPTURE),
    ),
    Endpoint(
        method="GET",
        path="/v1/refunds",
        operation="listRefunds",
        summary="List refunds",
        tag="Refunds",
        scope=Scope.CAPTURE,
        handler=list_all,
        query=RefundsQuery,
        answers={200: objects.Refund},
        listed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/refunds/{id}",
        operation="getRefund",
        summary="Get a refund",
        tag="Refunds",
        scope=Scope.CAPTURE,
        handler=get,
        answers={200: objects.Refund},
        problems=(problems.NOT_FOUND,),
    ),
)
