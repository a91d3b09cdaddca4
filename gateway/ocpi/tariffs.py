"""The tariffs module as receiver: PUT, GET, DELETE, and PATCH in 2.1.1.

Owns: what a push must hold to be kept. Must not know: prices; the bytes are kept as they came, and priced
later.
Source: OCPI mod_tariffs, Receiver Interface. A replaced or deleted tariff stays in the history, for a session
is priced by the tariff that stood when it was authorized.
"""

from datetime import datetime

import msgspec

from clearing.errors import ClearingError
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.tariff import parse_tariff
from gateway.database import transaction
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse, timestamp
from gateway.ocpi.errors import OcpiRejectionError, StatusCode
from gateway.ocpi.locations import check_owner
from gateway.ocpi.repository import objects as stored_objects
from gateway.ocpi.repository.objects import NewTariff, Saved
from gateway.ocpi.request_bodies import (
    Body,
    encode,
    identifier,
    objects,
    optional_moment,
    optional_text,
    read_object,
    same_identifier,
)

_NAME = "tariff"


async def get_tariff(call: OcpiRequest) -> OcpiResponse:
    """GET the tariff as it is kept here; HTTP 404 when it was never pushed or is deleted."""
    party, tariff_id = call.party(), call.segment("object_id")
    async with call.services.pool.acquire() as connection:
        stored = await stored_objects.find_current_tariff(connection, party_id=party, tariff_id=tariff_id)
    if stored is None:
        raise _unknown(tariff_id)
    return OcpiResponse(data=msgspec.Raw(stored.body))


async def put_tariff(call: OcpiRequest) -> OcpiResponse:
    """PUT a new or changed tariff; 201 when none stood under that id."""
    party, tariff_id, body = call.party(), call.segment("object_id"), call.body(_NAME)
    same_identifier(body.tree, "id", tariff_id)
    tariff = read_tariff(body, raw=call.raw, party=party, version=call.version, now=call.services.clock.now())
    async with transaction(call.services.pool) as connection:
        saved = await stored_objects.save_tariff(connection, tariff, now=call.services.clock.now())
        if saved is Saved.STALE:
            await stored_objects.count_stale(connection, peer_id=call.peer.id)
    return OcpiResponse(http_status=201 if saved is Saved.CREATED else 200)


async def patch_tariff(call: OcpiRequest) -> OcpiResponse:
    """PATCH fields of a current tariff (2.1.1 only); the result is a new version in the history."""
    party, tariff_id, changes = call.party(), call.segment("object_id"), call.body(_NAME).tree
    now = call.services.clock.now()
    async with transaction(call.services.pool) as connection:
        stored = await stored_objects.find_current_tariff(connection, party_id=party, tariff_id=tariff_id)
        if stored is None:
            raise _unknown(tariff_id)
        current = read_object(stored.body, name=_NAME).tree
        raw = encode({**current, "last_updated": timestamp(now), **changes}, name=_NAME)
        body = read_object(raw, name=_NAME)
        same_identifier(body.tree, "id", tariff_id)
        tariff = read_tariff(body, raw=raw, party=party, version=call.version, now=now)
        await stored_objects.save_tariff(connection, tariff, now=now)
    return OcpiResponse()


async def delete_tariff(call: OcpiRequest) -> OcpiResponse:
    """DELETE a tariff: no new session gets it, running ones keep it; HTTP 404 when there is none."""
    party, tariff_id = call.party(), call.segment("object_id")
    async with transaction(call.services.pool) as connection:
        ended = await stored_objects.delete_tariff(
            connection, party_id=party, tariff_id=tariff_id, now=call.services.clock.now()
        )
    if not ended:
        raise _unknown(tariff_id)
    return OcpiResponse()


def read_tariff(body: Body, *, raw: bytes, party: str, version: OcpiVersion, now: datetime) -> NewTariff:
    """A tariff of `party` to keep, pushed or pulled at `now`. Raises Refusal when it can't be one."""
    tree = body.tree
    check_owner(tree, party=party, required=version is not OcpiVersion.V2_1_1)
    objects(tree, "elements", required=True)
    try:
        parse_tariff(raw, version=version)
    except ClearingError as error:
        raise OcpiRejectionError(str(error)) from None
    return NewTariff(
        party_id=party,
        tariff_id=identifier(tree, "id"),
        version=version,
        raw=raw,
        type=optional_text(tree, "type", limit=40),
        valid_from=optional_moment(tree, "start_date_time"),
        valid_until=optional_moment(tree, "end_date_time"),
        # Required, yet missing in an example of the specification itself: then the push is the update.
        last_updated=min(optional_moment(tree, "last_updated") or now, now),
    )


def _unknown(tariff_id: str) -> OcpiRejectionError:
    return OcpiRejectionError(
        f"tariff {tariff_id} is unknown here", code=StatusCode.INVALID_PARAMETERS, http_status=404
    )
