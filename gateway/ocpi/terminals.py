"""The payments module of 2.3.0 as payment terminal provider: terminals and financial advices for CPOs.

Owns: what a CPO may read and change of its terminals. Must not know: how a payment is captured.
Source: OCPI 2.3.0 mod_payments, Sender Interface (PTP): PUT and PATCH by the CPO change its data and the
assigned locations; activate answers by creating the terminal at the CPO; deactivate takes it out of
service.
"""

from typing import Any, Final
from uuid import uuid4

import msgspec

from gateway.database import transaction
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse, timestamp
from gateway.ocpi.errors import OcpiRejectionError, StatusCode
from gateway.ocpi.repository import payments
from gateway.ocpi.repository.payments import TerminalRecord
from gateway.ocpi.request_bodies import (
    Tree,
    check_identifier,
    encode,
    identifier,
    optional_text,
    read_object,
    shown,
)

_NAME: Final = "terminal"
MODULE: Final = "payments"
_FIXED: Final = frozenset({"terminal_id", "reference"})  # the provider's, whatever a CPO sends
_MAX_ASSIGNED: Final = 1000


async def get_terminal(call: OcpiRequest) -> OcpiResponse:
    """GET one of the CPO's terminals."""
    terminal = await _find(call)
    return OcpiResponse(data=msgspec.Raw(terminal.body))


async def put_terminal(call: OcpiRequest) -> OcpiResponse:
    """PUT or PATCH: the CPO's data of its terminal, the assigned locations and EVSEs among them."""
    changes = call.body(_NAME).tree
    _check(changes)
    now = call.services.clock.now()
    async with transaction(call.services.pool) as connection:
        terminal = await payments.load_terminal(
            connection, terminal_id=call.segment("object_id"), parties=call.peer.parties, lock=True
        )
        if terminal is None:
            raise _unknown(call.segment("object_id"))
        current = read_object(terminal.body, name=_NAME).tree
        kept = {name: value for name, value in changes.items() if name not in _FIXED}
        await _save(connection, terminal.cpo_id, {**current, "last_updated": timestamp(now), **kept}, call)
    return OcpiResponse()


async def activate_terminal(call: OcpiRequest) -> OcpiResponse:
    """POST activate: the CPO names a terminal by its reference; it is created here and pushed to the CPO."""
    wanted = call.body(_NAME).tree
    _check(wanted)
    now, clock = call.services.clock.now(), call.services.clock
    terminal_id = optional_text(wanted, "terminal_id", limit=36) or str(uuid4())
    tree = {**wanted, "terminal_id": terminal_id, "last_updated": timestamp(now)}
    party = call.peer.parties[0] if len(call.peer.parties) == 1 else _owner(call, wanted)
    async with transaction(call.services.pool) as connection:
        await _save(connection, party, tree, call)
        await payments.add_message(
            connection,
            party_id=party,
            module=MODULE,
            method="POST",
            path="/terminals",
            object_id=terminal_id,
            body=encode(tree, name=_NAME),
            now=now,
            wall_now=clock.wall_now(),
        )
    return OcpiResponse()


async def deactivate_terminal(call: OcpiRequest) -> OcpiResponse:
    """POST {id}/deactivate: the terminal no longer accepts payments."""
    async with transaction(call.services.pool) as connection:
        terminal = await payments.load_terminal(
            connection, terminal_id=call.segment("object_id"), parties=call.peer.parties, lock=True
        )
        if terminal is None:
            raise _unknown(call.segment("object_id"))
        tree = dict(read_object(terminal.body, name=_NAME).tree)
        await _save(connection, terminal.cpo_id, tree, call, state="deactivated")
    return OcpiResponse()


async def get_advice(call: OcpiRequest) -> OcpiResponse:
    """GET one financial advice confirmation that was sent to this CPO."""
    async with call.services.pool.acquire() as connection:
        found = await payments.load_advice(
            connection, advice_id=call.segment("object_id"), parties=call.peer.parties
        )
    if found is None:
        raise _unknown(call.segment("object_id"))
    return OcpiResponse(data=msgspec.Raw(found))


async def _find(call: OcpiRequest) -> TerminalRecord:
    terminal_id = call.segment("object_id")
    async with call.services.pool.acquire() as connection:
        found = await payments.load_terminal(connection, terminal_id=terminal_id, parties=call.peer.parties)
    if found is None:
        raise _unknown(terminal_id)
    return found


async def _save(
    connection: Any, cpo_id: str, tree: Tree, call: OcpiRequest, *, state: str = "active"
) -> None:
    now = call.services.clock.now()
    terminal = TerminalRecord(
        terminal_id=identifier(tree, "terminal_id"),
        cpo_id=cpo_id,
        state=state,
        body=encode(tree, name=_NAME),
        last_updated=now,
    )
    if not await payments.save_terminal(connection, terminal, now=now):
        raise OcpiRejectionError(
            f"terminal {terminal.terminal_id} is another operator's; leave terminal_id out"
        )


def _owner(call: OcpiRequest, tree: Tree) -> str:
    country, party = optional_text(tree, "country_code", limit=2), optional_text(tree, "party_id", limit=3)
    if country is None or party is None:
        raise OcpiRejectionError(
            "$.country_code, $.party_id: missing; this connection speaks for several parties"
        )
    return call.own_party(country, party)


def _check(tree: Tree) -> None:
    """Assigned ids are lists of ids; the rest is the CPO's own business and kept as sent."""
    for name in ("location_ids", "evse_uids"):
        listed = tree.get(name)
        if listed is None:
            continue
        if not isinstance(listed, list) or len(listed) > _MAX_ASSIGNED:
            raise OcpiRejectionError(
                f"$.{name}: expected a list of at most {_MAX_ASSIGNED} ids, got {shown(listed)}"
            )
        for position, member in enumerate(listed):
            check_identifier(str(member), at=f"$.{name}[{position}]", limit=39)
    optional_text(tree, "invoice_creator", limit=20)


def _unknown(name: str) -> OcpiRejectionError:
    return OcpiRejectionError(f"{name} is unknown here", code=StatusCode.INVALID_PARAMETERS, http_status=404)
