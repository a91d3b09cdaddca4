"""The locations module as receiver: PUT, PATCH and GET of a location, one of its EVSEs, or one connector.

Owns: what a push of a location or of a part does to what is kept. Must not know: what a location is used for.
Source: OCPI mod_locations, Receiver Interface: a part's push renews last_updated of its parents; PATCH must
carry last_updated and leaves absent fields as they are; nothing is deleted, an EVSE's status becomes REMOVED.
A push that is older than what is kept is answered with success and changes nothing.
"""

from datetime import datetime

import msgspec

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Connection, transaction
from gateway.ocpi.connectors import read_connectors
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse
from gateway.ocpi.errors import OcpiRejectionError
from gateway.ocpi.location_tree import (
    find_part,
    is_stale,
    merge,
    merge_part,
    place_part,
    touch_parents,
    unknown,
)
from gateway.ocpi.public_evses import read_public_evses
from gateway.ocpi.repository import objects as stored_objects
from gateway.ocpi.repository.objects import OcpiObjectRecord, Saved
from gateway.ocpi.repository.public_evses import rewrite_public_evses
from gateway.ocpi.request_bodies import (
    Tree,
    check_identifier,
    encode,
    identifier,
    read_object,
    same_identifier,
)

_NAME = "location"


async def get_location(call: OcpiRequest) -> OcpiResponse:
    """GET a location, EVSE or connector as it is kept here; HTTP 404 when it doesn't exist."""
    party, path = call.party(), _path(call)
    async with call.services.pool.acquire() as connection:
        stored = await stored_objects.load_location(connection, party_id=party, location_id=path[0])
    if stored is None:
        raise unknown("location", path[0])
    if len(path) == 1:
        return OcpiResponse(data=msgspec.Raw(stored.body))
    part = find_part(read_object(stored.body, name=_NAME).tree, path[1:])
    if part is None:
        raise unknown("EVSE or connector", "/".join(path))
    return OcpiResponse(data=msgspec.Raw(encode(part, name=_NAME)))


async def put_location(call: OcpiRequest) -> OcpiResponse:
    """PUT a location, or an EVSE or connector into a known location; 201 when it is new."""
    party, path, pushed = call.party(), _path(call), call.body(_NAME).tree
    same_identifier(pushed, ("id", "uid", "id")[len(path) - 1], path[-1])
    changed_at, now = call.changed_at(pushed), call.services.clock.now()
    async with transaction(call.services.pool) as connection:
        if len(path) == 1:
            saved = await _keep(call, connection, pushed, party=party, changed_at=changed_at)
            return OcpiResponse(http_status=201 if saved is Saved.CREATED else 200)
        tree = await _locked(connection, party=party, location_id=path[0], hint="; PUT the location first")
        if is_stale(find_part(tree, path[1:]), changed_at=changed_at, now=now):
            await _ignore_stale(call, connection)
            return OcpiResponse()
        created = place_part(tree, path[1:], pushed)
        touch_parents(tree, path[1:], changed_at=changed_at, now=now)
        await _keep(call, connection, tree, party=party, changed_at=changed_at, part=True)
    return OcpiResponse(http_status=201 if created else 200)


async def patch_location(call: OcpiRequest) -> OcpiResponse:
    """PATCH fields of a location, EVSE or connector that is known."""
    party, path, changes = call.party(), _path(call), call.body(_NAME).tree
    changed_at, now = call.changed_at(changes), call.services.clock.now()
    name = ("id", "uid", "id")[len(path) - 1]
    if name in changes:
        same_identifier(changes, name, path[-1])
    async with transaction(call.services.pool) as connection:
        tree = await _locked(connection, party=party, location_id=path[0], hint="; PUT it")
        kept = tree if len(path) == 1 else find_part(tree, path[1:])
        if is_stale(kept, changed_at=changed_at, now=now):
            await _ignore_stale(call, connection)
            return OcpiResponse()
        if len(path) == 1:
            _check_owner(changes, party=party, version=call.version)
            merge(tree, changes)
        else:
            merge_part(tree, path[1:], changes)
            touch_parents(tree, path[1:], changed_at=changed_at, now=now)
        await _keep(call, connection, tree, party=party, changed_at=changed_at, part=len(path) > 1)
    return OcpiResponse()


async def _locked(connection: Connection, *, party: str, location_id: str, hint: str) -> dict[str, object]:
    stored = await stored_objects.load_location(
        connection, party_id=party, location_id=location_id, lock=True
    )
    if stored is None:
        raise unknown("location", location_id, hint=hint)
    return dict(read_object(stored.body, name=_NAME).tree)


async def _keep(
    call: OcpiRequest,
    connection: Connection,
    tree: Tree,
    *,
    party: str,
    changed_at: datetime,
    part: bool = False,
) -> Saved:
    """Keep the tree; a changed `part` keeps the location's own time where that is newer."""
    own_at = call.changed_at(tree) if part else changed_at
    saved = await keep_location(
        connection,
        tree,
        party=party,
        version=call.version,
        changed_at=max(own_at, changed_at),
        now=call.services.clock.now(),
    )
    if saved is Saved.STALE:
        await _ignore_stale(call, connection)
    return saved


async def _ignore_stale(call: OcpiRequest, connection: Connection) -> None:
    await stored_objects.count_stale(connection, peer_id=call.peer.id)


def _path(call: OcpiRequest) -> list[str]:
    """Location id, then EVSE uid, then connector id, as far as the URL goes."""
    found = call.request.match_info
    names = [name for name in ("object_id", "evse_uid", "connector_id") if name in found]
    return [check_identifier(found[name], at=f"URL segment {name}", limit=39) for name in names]


def _check_owner(tree: Tree, *, party: str, version: OcpiVersion) -> None:
    """Country and party of the object are those of the URL; 2.1.1 has neither."""
    check_owner(tree, party=party, required=version is not OcpiVersion.V2_1_1 and "id" in tree)


def check_owner(tree: Tree, *, party: str, required: bool) -> None:
    """Refuse an object whose country_code and party_id are not the URL's (OCPI: they SHALL be the same)."""
    country, code = party.split("-", 1)
    for name, expected in (("country_code", country), ("party_id", code)):
        found = tree.get(name)
        if found is None and not required:
            continue
        if not isinstance(found, str) or found.upper() != expected:
            raise OcpiRejectionError(f"$.{name}: expected {expected} as in the URL")


async def keep_location(
    connection: Connection,
    tree: Tree,
    *,
    party: str,
    version: OcpiVersion,
    changed_at: datetime,
    now: datetime,
) -> Saved:
    """Keep a whole location of `party`, pushed or pulled, unless a newer one is kept.

    Raises OcpiRejectionError. In a transaction.
    """
    _check_owner(tree, party=party, version=version)
    location_id, connectors = identifier(tree, "id", limit=39), read_connectors(tree, party_id=party)
    saved = await stored_objects.save_location(
        connection,
        party_id=party,
        location_id=location_id,
        stored=OcpiObjectRecord(body=encode(tree, name=_NAME), version=version, last_updated=changed_at),
        connectors=connectors,
        now=now,
    )
    if saved is not Saved.STALE:
        await rewrite_public_evses(
            connection,
            party_id=party,
            location_id=location_id,
            evses=read_public_evses(tree, connectors=connectors, version=version, changed_at=changed_at),
        )
    return saved
