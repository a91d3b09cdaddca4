"""The locations module as receiver: PUT, PATCH and GET of a location, one of its EVSEs, or one connector.

Owns: merging a pushed part into its location. Must not know: what a location is used for.
Source: OCPI mod_locations, Receiver Interface: a part's push renews last_updated of its parents; PATCH must
carry last_updated and leaves absent fields as they are; nothing is deleted, an EVSE's status becomes REMOVED.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.database import Connection, transaction
from gateway.ocpi.connectors import read_connectors
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse, timestamp
from gateway.ocpi.errors import OcpiRejectionError, StatusCode
from gateway.ocpi.repository import objects as stored_objects
from gateway.ocpi.repository.objects import OcpiObjectRecord
from gateway.ocpi.request_bodies import (
    Tree,
    check_identifier,
    encode,
    identifier,
    objects,
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
        raise _unknown("location", path[0])
    if len(path) == 1:
        return OcpiResponse(data=msgspec.Raw(stored.body))
    tree = read_object(stored.body, name=_NAME).tree
    part = _find(tree, "evses", "uid", path[1])
    if part is not None and len(path) > 2:  # noqa: PLR2004 - location, EVSE, connector
        part = _find(part, "connectors", "id", path[2])
    if part is None:
        raise _unknown("EVSE or connector", "/".join(path))
    return OcpiResponse(data=msgspec.Raw(encode(part, name=_NAME)))


async def put_location(call: OcpiRequest) -> OcpiResponse:
    """PUT a location, or an EVSE or connector into a known location; 201 when it is new."""
    party, path, pushed = call.party(), _path(call), call.body(_NAME).tree
    same_identifier(pushed, ("id", "uid", "id")[len(path) - 1], path[-1])
    changed_at = call.changed_at(pushed)
    if len(path) == 1:
        async with transaction(call.services.pool) as connection:
            created = await keep_location(
                connection,
                pushed,
                party=party,
                version=call.version,
                changed_at=changed_at,
                now=call.services.clock.now(),
            )
        return OcpiResponse(http_status=201 if created else 200)
    async with transaction(call.services.pool) as connection:
        stored = await stored_objects.load_location(
            connection, party_id=party, location_id=path[0], lock=True
        )
        if stored is None:
            raise _unknown("location", path[0], hint="; PUT the location first")
        tree = _mutable(stored)
        created = _place(tree, path[1:], pushed, merge=False)
        _touch(tree, path[1:-1], changed_at=changed_at)
        await keep_location(
            connection,
            tree,
            party=party,
            version=call.version,
            changed_at=changed_at,
            now=call.services.clock.now(),
        )
    return OcpiResponse(http_status=201 if created else 200)


async def patch_location(call: OcpiRequest) -> OcpiResponse:
    """PATCH fields of a location, EVSE or connector that is known."""
    party, path, changes = call.party(), _path(call), call.body(_NAME).tree
    changed_at = call.changed_at(changes)
    name = ("id", "uid", "id")[len(path) - 1]
    if name in changes:
        same_identifier(changes, name, path[-1])
    async with transaction(call.services.pool) as connection:
        stored = await stored_objects.load_location(
            connection, party_id=party, location_id=path[0], lock=True
        )
        if stored is None:
            raise _unknown("location", path[0], hint="; PUT it")
        tree = _mutable(stored)
        if len(path) == 1:
            _check_owner(changes, party=party, version=call.version)
            tree.update(changes)
        else:
            _place(tree, path[1:], changes, merge=True)
            _touch(tree, path[1:-1], changed_at=changed_at)
        await keep_location(
            connection,
            tree,
            party=party,
            version=call.version,
            changed_at=changed_at,
            now=call.services.clock.now(),
        )
    return OcpiResponse()


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
) -> bool:
    """Keep a whole location of `party`, pushed or pulled; True when it is new.

    Raises Refusal. In a transaction.
    """
    _check_owner(tree, party=party, version=version)
    return await stored_objects.save_location(
        connection,
        party_id=party,
        location_id=identifier(tree, "id", limit=39),
        stored=OcpiObjectRecord(body=encode(tree, name=_NAME), version=version, last_updated=changed_at),
        connectors=read_connectors(tree, party_id=party),
        now=now,
    )


def _mutable(stored: OcpiObjectRecord) -> dict[str, Any]:
    return dict(read_object(stored.body, name=_NAME).tree)


def _find(tree: Tree, members: str, key: str, wanted: str) -> dict[str, Any] | None:
    for member in objects(tree, members):
        if str(member.get(key, "")).lower() == wanted.lower() and isinstance(member, dict):
            return member
    return None


def _place(tree: dict[str, Any], path: list[str], part: Mapping[str, Any], *, merge: bool) -> bool:
    """Put an EVSE or connector into a location's tree; True when it is new.

    Raises Refusal when a parent is unknown.
    """
    parent, members, key = tree, "evses", "uid"
    if len(path) > 1:
        evse = _find(tree, "evses", "uid", path[0])
        if evse is None:
            raise _unknown("EVSE", path[0], hint="; PUT the EVSE first")
        parent, members, key = evse, "connectors", "id"
    known = _find(parent, members, key, path[-1])
    if known is None and merge:
        raise _unknown("EVSE or connector", path[-1], hint="; PUT it")
    if known is None:
        parent[members] = [*objects(parent, members), dict(part)]
        return True
    if not merge:
        known.clear()
    known.update(part)
    return False


def _touch(tree: dict[str, Any], parents: list[str], *, changed_at: datetime) -> None:
    """The parents of a pushed part carry its last_updated."""
    tree["last_updated"] = timestamp(changed_at)
    if parents:
        evse = _find(tree, "evses", "uid", parents[0])
        if evse is not None:
            evse["last_updated"] = timestamp(changed_at)


def _unknown(what: str, name: str, *, hint: str = "") -> OcpiRejectionError:
    return OcpiRejectionError(
        f"{what} {name} is unknown here{hint}", code=StatusCode.UNKNOWN_LOCATION, http_status=404
    )
