"""`networkcore contract-pool`: feeds of contract pools and their events; one event sent as a pool sends it.

Owns: the options and what is printed. Must not know what an event leads to.
"""

import asyncio
import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import aiohttp
import click

from gateway import outbound
from gateway.cli.clock import offline_now
from gateway.cli.command_group import CommandGroup
from gateway.cli.documents import read_document
from gateway.cli.meter_keys import MomentParameter
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction
from gateway.database import Connection
from gateway.errors import GatewayError
from gateway.ids import format_id, new_id
from gateway.plug_and_charge import contract_pool_repository as repository
from gateway.plug_and_charge.contract_pool_service import EVENT_PREFIX
from pnc.certificate_input import leaf_first, read_certificates
from pnc.errors import MalformedCertificateError
from sandbox.contract_pool.events import EVENT_TYPES, PoolDelivery, SandboxContractPool

_SHOWN: Final = 1_000
_STATES: Final = ("pending", "applied", "superseded", "ignored", "waiting", "dismissed")
_TAKEN: Final = 200


@click.group(name="contract-pool", cls=CommandGroup)
def command() -> None:
    """Show contract pool feeds and their events; send an event as a pool does."""


@command.command(name="feeds")
@click.option("--party", help="Only the feed of this eMSP.")
@as_json_option
def feeds_command(*, party: str | None, as_json: bool) -> None:
    """List feeds: how many events were applied, how many wait, and since when."""

    async def work(connection: Connection) -> Sequence[repository.PoolFeedState]:
        return await repository.list_feeds(connection, party_id=party)

    found = in_transaction(work, command="contract-pool feeds")
    rows = [
        {
            "party": feed.party_id,
            "protocol": feed.protocol,
            "enabled": feed.enabled,
            "applied": feed.applied,
            "superseded": feed.superseded,
            "ignored": feed.ignored,
            "pending": feed.pending,
            "waiting": feed.waiting,
            "oldest_waiting": feed.oldest_waiting_at,
            "last_event": feed.last_received_at,
        }
        for feed in found
    ]
    show_rows(rows, title="Contract pool feeds", none="No party has a contract pool feed.", as_json=as_json)


@command.command(name="events")
@click.argument("party_id")
@click.option("--state", type=click.Choice(_STATES), help="Only events in this state.")
@as_json_option
def events_command(*, party_id: str, state: str | None, as_json: bool) -> None:
    """List the events of PARTY_ID's feed, the latest first."""

    async def work(connection: Connection) -> list[repository.PoolEventRecord]:
        feed = await repository.find_feed(connection, party_id)
        if feed is None:
            raise click.UsageError(f"{party_id} has no contract pool feed")
        return await repository.list_events(
            connection, feed_id=feed.id, state=state, before=None, limit=_SHOWN
        )

    found = in_transaction(work, command="contract-pool events", reading=True)
    rows: list[Mapping[str, Any]] = [
        {
            "id": format_id(EVENT_PREFIX, record.id),
            "type": record.name,
            "emaid": record.emaid,
            "state": record.state,
            "reason": record.reason,
            "detail": record.detail,
            "occurred": record.occurred_at,
            "received": record.received_at,
        }
        for record in found
    ]
    show_rows(rows, title=f"Events of {party_id}'s pool", none="There is no such event.", as_json=as_json)


@command.command(name="send")
@click.argument("url")
@click.option("--secret", required=True, envvar="CONTRACT_POOL_SECRET", help="The webhook's secret.")
@click.option("--type", "event_type", type=click.Choice(EVENT_TYPES), required=True)
@click.option("--emaid", required=True)
@click.option("--pcid", "vehicle", required=True, help="The vehicle's provisioning certificate id.")
@click.option("--certificate", metavar="FILE", help="The contract certificate; a bundle's leaf is sent.")
@click.option("--at", type=MomentParameter(), help="When it happened; now unless it is given.")
@click.option("--event-id", type=click.UUID, help="The same id again is the same event; new unless given.")
def send_command(
    *,
    url: str,
    secret: str,
    event_type: str,
    emaid: str,
    vehicle: str,
    certificate: str | None,
    at: datetime | None,
    event_id: UUID | None,
) -> None:
    """Send one event to URL as a contract pool does, to try a feed in a sandbox."""
    delivery = SandboxContractPool(secret).delivery(
        event_type,
        event_id=event_id or new_id(),
        emaid=emaid,
        vehicle=vehicle,
        at=at or offline_now(),
        certificate=None if certificate is None else _leaf(certificate),
    )
    try:
        outbound.check_url(url, allow_private=True)
        status, answer = asyncio.run(_post(url, delivery))
    except (aiohttp.ClientError, GatewayError, TimeoutError) as error:
        raise click.UsageError(f"{url}: {str(error) or 'no answer in time'}") from None
    click.echo(f"{status} {answer}")
    if status != _TAKEN:
        raise click.exceptions.Exit(1)


def _leaf(file: str) -> str:
    """The contract certificate of a file, in base64 of DER as a pool sends it."""
    try:
        leaf = leaf_first(read_certificates(read_document(file).decode("latin-1")))[0]
    except MalformedCertificateError as problem:
        raise click.UsageError(f"{file}: {problem}") from None
    return base64.b64encode(leaf.der).decode("ascii")


async def _post(url: str, delivery: PoolDelivery) -> tuple[int, str]:
    async with (
        outbound.session(allow_private=True) as session,
        session.post(url, data=delivery.body, headers=dict(delivery.headers)) as response,
    ):
        return response.status, (await outbound.read_bounded(response)).decode("utf-8", "replace")
