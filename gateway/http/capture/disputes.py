"""Disputes: what cardholders' banks take back, to read; the PSP's word moves them.

Owns: the paths. Must not know how a dispute ends.
"""

from typing import Final

from gateway import objects
from gateway.http import problems
from gateway.http.auth import Scope
from gateway.http.endpoint import Answer, Call, Endpoint, page
from gateway.http.models import ListQuery, before
from gateway.payments.public import dispute_object


async def get(call: Call) -> Answer:
    """One dispute."""
    party = None if call.caller.admin else call.caller.party_id
    dispute = await call.services.payments.disputes.get(party_id=party, dispute_id=call.path_id("id", "dsp"))
    return Answer(body=dispute_object(dispute))


async def list_all(call: Call) -> Answer:
    """Disputes, newest first."""
    party = None if call.caller.admin else call.caller.party_id
    found = await call.services.payments.disputes.list(
        party_id=party, before=before(call.query, "dsp"), limit=call.query.limit + 1
    )
    return Answer(body=page([dispute_object(dispute) for dispute in found], limit=call.query.limit))


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/v1/disputes",
        operation="listDisputes",
        summary="List disputes",
        tag="Disputes",
        scope=Scope.CAPTURE,
        handler=list_all,
        query=ListQuery,
        answers={200: objects.Dispute},
        listed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/disputes/{id}",
        operation="getDispute",
        summary="Get a dispute",
        tag="Disputes",
        scope=Scope.CAPTURE,
        handler=get,
        answers={200: objects.Dispute},
        problems=(problems.NOT_FOUND,),
    ),
)
