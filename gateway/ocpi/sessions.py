"""The sessions module as receiver: PUT, PATCH and GET of a running session.

Owns: merging updates, charging periods above all. Must not know: payments; a session's figures never bill.
Source: OCPI mod_sessions, Receiver Interface: PUT replaces, also the periods; PATCH must carry last_updated
and appends the periods it holds. A push that is older than what is kept changes nothing.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from clearing.money import Rounding, round_units
from clearing.pricing.ocpi_version import OcpiVersion
from gateway.clock import Clock
from gateway.database import Connection, transaction
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse
from gateway.ocpi.errors import OcpiRejectionError, StatusCode
from gateway.ocpi.locations import check_owner
from gateway.ocpi.repository import objects as stored_objects
from gateway.ocpi.repository.cdrs import session_or_authorization
from gateway.ocpi.repository.objects import Saved, SessionUpdate
from gateway.ocpi.request_bodies import (
    Tree,
    encode,
    identifier,
    number,
    objects,
    optional_text,
    read_object,
    same_identifier,
    text,
)

_NAME: Final = "session"
_MAX_ENERGY_KWH: Final = Decimal(10) ** 9


async def get_session(call: OcpiRequest) -> OcpiResponse:
    """GET a session as it is kept here; HTTP 404 when unknown."""
    party, session_ref = call.party(), call.segment("object_id")
    async with call.services.pool.acquire() as connection:
        stored = await stored_objects.load_session(connection, party_id=party, session_ref=session_ref)
    if stored is None:
        raise _unknown(session_ref)
    return OcpiResponse(data=msgspec.Raw(stored.body))


async def put_session(call: OcpiRequest) -> OcpiResponse:
    """PUT a new session, or replace one; 201 when it is new."""
    party, session_ref, tree = call.party(), call.segment("object_id"), call.body(_NAME).tree
    same_identifier(tree, "id", session_ref)
    update = read_session(tree, party=party, version=call.version, changed_at=call.changed_at(tree))
    async with call.services.pool.acquire() as connection:
        saved = await keep_session(connection, update, clock=call.services.clock)
        if saved is Saved.STALE:
            await stored_objects.count_stale(connection, peer_id=call.peer.id)
    return OcpiResponse(http_status=201 if saved is Saved.CREATED else 200)


async def patch_session(call: OcpiRequest) -> OcpiResponse:
    """PATCH fields of a session that is known, appending its charging periods."""
    party, session_ref, changes = call.party(), call.segment("object_id"), call.body(_NAME).tree
    changed_at = call.changed_at(changes)
    if "id" in changes:
        same_identifier(changes, "id", session_ref)
    check_owner(changes, party=party, required=False)
    async with transaction(call.services.pool) as connection:
        stored = await stored_objects.load_session(
            connection, party_id=party, session_ref=session_ref, lock=True
        )
        if stored is None:
            raise _unknown(session_ref)
        if changed_at < stored.last_updated:
            await stored_objects.count_stale(connection, peer_id=call.peer.id)
            return OcpiResponse()
        tree = _merged(read_object(stored.body, name=_NAME).tree, changes)
        update = read_session(tree, party=party, version=call.version, changed_at=call.changed_at(tree))
        await keep_session(connection, update, clock=call.services.clock)
    return OcpiResponse()


async def keep_session(connection: Connection, update: SessionUpdate, *, clock: Clock) -> Saved:
    """Keep a running session, pushed or pulled, in one statement, unless a newer one is kept.

    One that runs on our authorization has its cost compared with what is held.
    """
    watched = (
        update.status == "ACTIVE" and session_or_authorization(update.authorization_reference) is not None
    )
    return await stored_objects.save_session(
        connection, update, watched=watched, now=clock.now(), wall_now=clock.wall_now()
    )


def _merged(kept: Tree, changes: Tree) -> dict[str, Any]:
    """`kept` with the changes; periods are appended.

    A period that is there already is not added twice.

    A retried PATCH would otherwise double its periods: OCPI gives the receiver no other sign of a repetition.
    """
    periods = list(objects(kept, "charging_periods"))
    periods.extend(period for period in objects(changes, "charging_periods") if period not in periods)
    return {**kept, **changes, "charging_periods": periods}


def read_session(tree: Tree, *, party: str, version: OcpiVersion, changed_at: datetime) -> SessionUpdate:
    """A running session of `party` to keep, pushed or pulled. Raises Refusal when it can't be one."""
    check_owner(tree, party=party, required=version is not OcpiVersion.V2_1_1)
    energy_kwh = number(tree, "kwh")
    if abs(energy_kwh) > _MAX_ENERGY_KWH:
        raise OcpiRejectionError("$.kwh: expected at most a billion kWh")
    objects(tree, "charging_periods")
    return SessionUpdate(
        party_id=party,
        session_ref=identifier(tree, "id"),
        version=version,
        body=encode(tree, name=_NAME),
        status=text(tree, "status", limit=40),
        currency=text(tree, "currency", limit=3).upper(),
        energy_wh=round_units(energy_kwh * 1000, rounding=Rounding.HALF_AWAY),
        authorization_reference=authorization_reference(tree),
        last_updated=changed_at,
    )


def authorization_reference(tree: Tree) -> str | None:
    """The reference to our authorization that a session or CDR carries.

    Versions before 2.2 have no such field; there a token of ours may bear the reference as its auth_id, and
    from
    2.2 on as its contract_id.
    """
    stated = optional_text(tree, "authorization_reference", limit=64)
    if stated is not None:
        return stated
    token = tree.get("cdr_token")
    named = (
        optional_text(token, "contract_id", at="$.cdr_token", limit=64)
        if isinstance(token, dict)
        else optional_text(tree, "auth_id", limit=64)
    )
    return named if session_or_authorization(named) is not None else None


def _unknown(session_ref: str) -> OcpiRejectionError:
    return OcpiRejectionError(
        f"session {session_ref} is unknown here; PUT it", code=StatusCode.INVALID_PARAMETERS, http_status=404
    )
