"""Captures: the one taking of money of each session, to read.

Owns: the paths. Must not know how money is taken.
"""

from typing import Final

from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, page
from gateway.http.models import ListQuery, before
from gateway.payments.public import capture_object


async def get(call: Call) -> Answer:
    """One capture."""
    record = await call.services.payments.get_capture(
        party_id=call.caller.party_id, capture_id=call.path_id("id", "cap"), admin=call.caller.admin
    )
    return Answer(body=capture_object(record))


async def list_all(call: Call) -> Answer:
    """The caller's captures, newest first."""
    records = await call.services.payments.list_captures(
        party_id=call.caller.party_id,
        admin=call.caller.admin,
        limit=call.query.limit + 1,
        before=before(call.query, "cap"),
    )
    return Answer(body=page([capture_object(record) for record in records], limit=call.query.limit))


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/captures",
        operation="listCaptures",
        summary="List captures",
        tag="Captures",
        scope=Scope.CAPTURE,
        handler=list_all,
        query=ListQuery,
        answers={200: objects.Capture},
        listed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/captures/{id}",
        operation="getCapture",
        summary="Get a capture",
        tag="Captures",
        scope=Scope.CAPTURE,
        handler=get,
        answers={200: objects.Capture},
        problems=(problems.NOT_FOUND,),
    ),
)
