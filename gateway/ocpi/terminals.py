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
from gateway.ocpi.bodies import Tree, check_identifier, encode, identifier, optional_text, read_object, shown
from gateway.ocpi.endpoint import Call
from gateway.ocpi.envelope import Answer, timestamp
from gateway.ocpi.errors import Refusal, StatusCode
from gateway.store import ocpi_payments
from gateway.store.ocpi_payments import Terminal

_NAME: Final = "terminal"
MODULE: Final = "payments"
_FIXED: Final = frozenset({"terminal_id", "reference"})  # the provider's, whatever a CPO sends
_MAX_ASSIGNED: Final = 1000


async def get_terminal(call: Call) -> Answer:
    """GET one of the CPO's terminals."""
    terminal = await _find(call)
    return Answer(data=msgspec.Raw(terminal.body))


async def put_terminal(call: Call) -> Answer:
    """PUT or PATCH: the CPO's data of its terminal, the assigned locations and EVSEs among them."""
    changes = call.body(_NAME).tree
    _check(changes)
    now = call.services.clock.now()
    async with transaction(call.services.pool) as connection:
        terminal = await ocpi_payments.load_terminal(
            connection, terminal_id=call.segment("object_id"), parties=call.peer.parties, lock=True
        )
        if terminal is None:
            raise _unknown(call.segment("object_id"))
        standing = read_object(terminal.body, name=_NAME).tree
        kept = {name: value for name, value in changes.items() if name not in _FIXED}
        await _save(connection, terminal.cpo_id, {**standing, "last_updated": timestamp(now), **kept}, call)
    return Answer()


async def activate_terminal(call: Call) -> Answer:
    """POST activate: the CPO names a terminal by its reference; it is created here and pushed to the CPO."""
    wanted = call.body(_NAME).tree
    _check(wanted)
    now, clock = call.services.clock.now(), call.services.clock
    terminal_id = optional_text(wanted, "terminal_id", limit=36) or str(uuid4())
    tree = {**wanted, "terminal_id": terminal_id, "last_updated": timestamp(now)}
    party = call.peer.parties[0] if len(call.peer.parties) == 1 else _owner(call, wanted)
    async with transaction(call.services.pool) as connection:
        await _save(connection, party, tree, call)
        await ocpi_payments.add_message(
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
    return Answer()


async def deactivate_terminal(call: Call) -> Answer:
    """POST {id}/deactivate: the terminal takes no payments any more."""
    async with transaction(call.services.pool) as connection:
        terminal = await ocpi_payments.load_terminal(
            connection, terminal_id=call.segment("object_id"), parties=call.peer.parties, lock=True
        )
        if terminal is None:
            raise _unknown(call.segment("object_id"))
        tree = dict(read_object(terminal.body, name=_NAME).tree)
        await _save(connection, terminal.cpo_id, tree, call, state="deactivated")
    return Answer()


async def get_advice(call: Call) -> Answer:
    """GET one financial advice confirmation that was told to this CPO."""
    async with call.services.pool.acquire() as connection:
        found = await ocpi_payments.load_advice(
            connection, advice_id=call.segment("object_id"), parties=call.peer.parties
        )
    if found is None:
        raise _unknown(call.segment("object_id"))
    return Answer(data=msgspec.Raw(found))


async def _find(call: Call) -> Terminal:
    terminal_id = call.segment("object_id")
    async with call.services.pool.acquire() as connection:
        found = await ocpi_payments.load_terminal(
            connection, terminal_id=terminal_id, parties=call.peer.parties
        )
    if found is None:
        raise _unknown(terminal_id)
    return found


async def _save(connection: Any, cpo_id: str, tree: Tree, call: Call, *, state: str = "active") -> None:
    now = call.services.clock.now()
    terminal = Terminal(
        terminal_id=identifier(tree, "terminal_id"),
        cpo_id=cpo_id,
        state=state,
        body=encode(tree, name=_NAME),
        last_updated=now,
    )
    if not await ocpi_payments.save_terminal(connection, terminal, now=now):
        raise Refusal(f"terminal {terminal.terminal_id} is another operator's; leave terminal_id out")


def _owner(call: Call, tree: Tree) -> str:
    country, party = optional_text(tree, "country_code", limit=2), optional_text(tree, "party_id", limit=3)
    if country is None or party is None:
        raise Refusal("$.country_code, $.party_id: missing; this connection speaks for several parties")
    return call.own_party(country, party)


def _check(tree: Tree) -> None:
    """Assigned ids are lists of ids; the rest is the CPO's own business and kept as sent."""
    for name in ("location_ids", "evse_uids"):
        listed = tree.get(name)
        if listed is None:
            continue
        if not isinstance(listed, list) or len(listed) > _MAX_ASSIGNED:
            raise Refusal(f"$.{name}: expected a list of at most {_MAX_ASSIGNED} ids, got {shown(listed)}")
        for position, member in enumerate(listed):
            check_identifier(str(member), at=f"$.{name}[{position}]", limit=39)
    optional_text(tree, "invoice_creator", limit=20)


def _unknown(name: str) -> Refusal:
    return Refusal(f"{name} is unknown here", code=StatusCode.INVALID_PARAMETERS, http_status=404)
