"""The sender interfaces: lists of what we own, for peers that pull.

Owns: who may read which list. As CPO we show our locations and tariffs to every peer, sessions and CDRs to
the owner of the token; as payment terminal provider a CPO's terminals and advices to that CPO.
Source: OCPI mod_locations, mod_tariffs, mod_sessions, mod_cdrs, mod_payments, Sender Interface.
"""

from collections.abc import Awaitable, Callable

import msgspec

from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse
from gateway.ocpi.pagination import answer_page, read_page
from gateway.ocpi.repository import lists, peers
from gateway.ocpi.repository.lists import SenderList


def list_of(listed: SenderList, *, path: str) -> Callable[[OcpiRequest], Awaitable[OcpiResponse]]:
    """The handler of one list; `path` is where it lies below /ocpi, without the version's slash."""

    async def handler(call: OcpiRequest) -> OcpiResponse:
        page = read_page(call)
        own = [role.party_id for role in call.services.roles if role.role == "CPO"]
        theirs = listed in {SenderList.TERMINALS, SenderList.ADVICES}
        async with call.services.pool.acquire() as connection:
            readers = [role.party_id for role in await peers.list_roles(connection, peer_id=call.peer.id)]
            found, total = await lists.read_list(
                connection,
                listed,
                parties=call.peer.parties if theirs else own,
                readers=readers,
                date_from=page.date_from,
                date_to=page.date_to,
                offset=page.offset,
                limit=page.limit,
            )
        url = f"{call.services.public_url}/ocpi/{path.format(version=call.version)}"
        objects = [msgspec.Raw(raw) for raw in found]
        return answer_page(call, page, objects=objects, total=total, url=url)

    return handler
