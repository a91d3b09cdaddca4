"""`networkcore ocpi`: connections to CPOs, CDRs that wait, and what was refused or could not be sent."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import click
from rich.console import Console
from rich.table import Table

from clearing.pricing.ocpi import OcpiVersion
from gateway import outbound
from gateway.clock import SystemClock
from gateway.config import Environment, load_database_url, load_settings
from gateway.database import Connection, connect, create_pool_from
from gateway.errors import GatewayError
from gateway.ocpi import connecting
from gateway.ocpi.invoices import reconcile
from gateway.ocpi.registry import OcpiRegistry
from gateway.ocpi.services import OcpiServices
from gateway.store import ocpi_objects, ocpi_payments, ocpi_peers, ocpi_pulls
from gateway.store.ocpi_cdrs import CdrStatus, OcpiStore

T = TypeVar("T")
_MAX_ROWS: Final = 10_000
_STATUS_DIFFERS: Final = 1


@click.group(name="ocpi")
def command() -> None:
    """Connections to CPOs, CDRs that wait, and what was refused or could not be sent."""


@command.command(name="invite")
@click.argument("party_id")
@click.option("--also", multiple=True, help="A further party that its platform operates for; repeatable.")
def invite(party_id: str, also: tuple[str, ...]) -> None:
    """Make a token A for PARTY_ID; it is shown once."""
    now = datetime.now(UTC)
    token = _run(lambda connection: OcpiRegistry().create_registration(connection, party_id, now, also=also))
    click.echo(token)


@command.command(name="connect")
@click.argument("party_id")
@click.argument("versions_url")
@click.option("--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option(
    "--version",
    type=click.Choice([version.value for version in OcpiVersion]),
    default="2.2.1",
    show_default=True,
)
@click.option("--bare-token", is_flag=True, help="The CPO wants tokens bare, not in Base64.")
def connect_to(party_id: str, versions_url: str, *, token_file: Path, version: str, bare_token: bool) -> None:
    """Register at the CPO PARTY_ID with the token A that it gave us.

    The gateway must be serving meanwhile.
    """
    token_a = token_file.read_text(encoding="utf-8").strip()
    peer = asyncio.run(
        _connect(party_id, versions_url, token_a=token_a, version=OcpiVersion(version), bare_token=bare_token)
    )
    click.echo(f"registered at {party_id} as peer {peer}")


async def _connect(
    party_id: str, versions_url: str, *, token_a: str, version: OcpiVersion, bare_token: bool
) -> str:
    settings = load_settings(os.environ)
    sandbox = settings.environment is Environment.SANDBOX
    pool = await create_pool_from(settings, application="networkcore ocpi")
    try:
        async with outbound.session(allow_private=sandbox) as http:
            services = OcpiServices(
                pool=pool,
                clock=SystemClock(),
                public_url=settings.base_url,
                outbound=http,
                allow_private_peers=sandbox,
            )
            peer_id = await connecting.connect(
                services,
                party_id=party_id,
                versions_url=versions_url,
                token_a=token_a,
                version=version,
                raw_token=bare_token,
            )
            return str(peer_id)
    finally:
        await pool.close()


@command.command(name="peers")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def peers(*, as_json: bool) -> None:
    """Show the registered peers."""
    found = _run(ocpi_peers.registered_peers)
    rows = [
        {
            "id": str(peer.id),
            "party": peer.party_id,
            "speaks_for": list(peer.parties),
            "version": peer.version.value if peer.version else None,
            "versions_url": peer.versions_url,
        }
        for peer in found
    ]
    _show(rows, title="Registered peers", as_json=as_json)


@command.command(name="queue")
@click.option("--cpo", help="Only this CPO's CDRs.")
@click.option("--all", "every", is_flag=True, help="CDRs that the workers are about to take as well.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def queue(*, cpo: str | None, every: bool, as_json: bool) -> None:
    """Show the CDRs that wait, the longest waiting first, with the reason."""
    statuses = [CdrStatus.UNMATCHED, CdrStatus.UNPRICEABLE]
    if every:
        statuses += [CdrStatus.PENDING, CdrStatus.MATCHED]
    waiting = _run(
        lambda connection: OcpiStore().queued_cdrs(connection, cpo_id=cpo, statuses=statuses, limit=_MAX_ROWS)
    )
    rows = [
        {
            "cpo": cdr.cpo_id,
            "cdr": cdr.cdr_id,
            "received": cdr.received_at.isoformat(),
            "status": cdr.status.value,
            "reason": cdr.reason,
            "replays": cdr.replays,
        }
        for cdr in waiting
    ]
    _show(rows, title="CDRs that wait", as_json=as_json)


@command.command(name="replay")
@click.argument("cpo")
@click.argument("cdr_id", required=False)
def replay(cpo: str, cdr_id: str | None) -> None:
    """Give CDR_ID of CPO, or all of its waiting CDRs, to the workers again."""
    now = datetime.now(UTC)
    store = OcpiStore()
    if cdr_id is None:
        count = _run(lambda connection: store.replay_waiting(connection, now=now, wall_now=now, cpo_id=cpo))
    elif _run(lambda connection: store.replay_cdr(connection, cpo, cdr_id, now=now, wall_now=now)):
        count = 1
    else:
        raise click.ClickException(f"CDR {cdr_id} of {cpo} does not wait; see networkcore ocpi queue --all")
    click.echo(f"{count} to be tried again")


@command.command(name="refused")
@click.option("--cpo", help="Only this CPO's pushes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def refused(*, cpo: str | None, as_json: bool) -> None:
    """Show the newest pushes that were refused, with the reason that the CPO was given."""
    found = _run(lambda connection: ocpi_objects.list_refusals(connection, party_id=cpo))
    rows = [
        {
            "party": row["party_id"],
            "module": row["module"],
            "object": row["object_id"],
            "received": row["received_at"].isoformat(),
            "reason": row["reason"],
        }
        for row in found
    ]
    _show(rows, title="Refused pushes", as_json=as_json)


@command.command(name="messages")
@click.option("--party", help="Only messages to this party.")
@click.option("--revive", is_flag=True, help="Give the parked ones another chance.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array instead of a table.")
def messages(*, party: str | None, revive: bool, as_json: bool) -> None:
    """Show the messages to peers that are not sent yet."""
    now = datetime.now(UTC)
    if revive:
        count = _run(
            lambda connection: ocpi_payments.revive_messages(connection, wall_now=now, party_id=party)
        )
        click.echo(f"{count} to be tried again", err=as_json)
    found = _run(lambda connection: ocpi_payments.waiting_messages(connection, party_id=party))
    rows = [
        {
            "party": row["party_id"],
            "module": row["module"],
            "object": row["object_id"],
            "attempts": row["attempts"],
            "parked": row["parked_at"] is not None,
            "last_error": row["last_error"],
        }
        for row in found
    ]
    _show(rows, title="Messages to peers", as_json=as_json)


@command.command(name="pull")
@click.argument("party_id")
def pull(party_id: str) -> None:
    """Have the lists of PARTY_ID's platform read now rather than when they are due."""
    due = _run(lambda connection: _hasten(connection, party_id))
    if not due:
        raise click.ClickException(f"no registered platform of {party_id} has lists to read")
    click.echo(f"due now: {', '.join(due)}")


async def _hasten(connection: Connection, party_id: str) -> list[str]:
    peer = await ocpi_peers.peer_of_party(connection, party_id=party_id)
    if peer is None:
        return []
    now = datetime.now(UTC)
    return [
        module
        for module in ("locations", "tariffs", "sessions", "cdrs")
        if await ocpi_pulls.hasten(connection, peer_id=peer.id, module=module, wall_now=now)
    ]


@command.command(name="reconcile")
@click.argument("cpo")
@click.argument("record_id")
def reconcile_invoice(cpo: str, record_id: str) -> None:
    """Compare the invoice record RECORD_ID of CPO with the CDRs that we have.

    Exit status 1 if they differ.
    """
    found = _run(lambda connection: reconcile(connection, party_id=cpo, record_id=record_id))
    if found is None:
        raise click.ClickException(f"{cpo} has sent no invoice record {record_id}")
    click.echo(f"settled {len(found.settled)}")
    for words, cdr_ids in (
        ("waiting", found.waiting),
        ("unknown here", found.unknown),
        ("credited", found.credited),
        ("on another invoice too", found.invoiced_twice),
    ):
        if cdr_ids:
            click.echo(f"{words}: {', '.join(cdr_ids)}")
    if not found.agrees:
        sys.exit(_STATUS_DIFFERS)


def _run(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do `work` in one transaction on DATABASE_URL."""

    async def run() -> T:
        async with connect(load_database_url(os.environ)) as connection, connection.transaction():
            return await work(connection)

    try:
        return asyncio.run(run())
    except asyncpg.ForeignKeyViolationError:
        raise click.ClickException("no such party; create it first by POST /v1/parties") from None
    except asyncpg.UndefinedTableError:
        raise GatewayError("the database is not migrated; run networkcore migrate") from None


def _show(rows: list[dict[str, Any]], *, title: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo(f"{title}: none")
        return
    table = Table(title=title)
    for heading in rows[0]:
        table.add_column(heading.replace("_", " "), overflow="fold")  # an id cut off is no id
    for row in rows:
        cells = [", ".join(value) if isinstance(value, list) else value for value in row.values()]
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    Console().print(table)
