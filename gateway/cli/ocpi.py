"""`networkcore ocpi`: connections to CPOs, CDRs that wait, and messages that were rejected or not sent.

Owns the options and what is printed. Must not know how a message is exchanged.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import click

from clearing.pricing.ocpi_version import OcpiVersion
from gateway import outbound
from gateway.cli import ocpi_afir, ocpi_tokens
from gateway.cli.cdr_limits import limits
from gateway.cli.clock import business_now, read_clock
from gateway.cli.command_group import CommandGroup
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction, naming_missing_tables
from gateway.config import Environment, load_platform_settings
from gateway.database import Connection, create_pool
from gateway.ocpi import credentials_client
from gateway.ocpi.invoices import reconcile
from gateway.ocpi.registrations import OcpiRegistrations
from gateway.ocpi.repository import cdrs, hub_clients, objects, payments, pulls
from gateway.ocpi.repository import peers as stored_peers
from gateway.ocpi.repository.cdrs import CdrStatus
from gateway.ocpi.services import PULLED, OcpiServices
from gateway.webhooks.secret_cipher import SecretCipher

T = TypeVar("T")
_MAX_ROWS: Final = 10_000
_STATUS_DIFFERS: Final = 1


@click.group(name="ocpi", cls=CommandGroup)
def command() -> None:
    """Connect CPOs; show and replay unmatched CDRs, rejected and unsent messages."""


command.add_command(limits)
command.add_command(ocpi_tokens.command)
command.add_command(ocpi_afir.command)


@command.command(name="invite")
@click.argument("party_id")
@click.option("--also", multiple=True, help="Another party that its platform operates for; repeatable.")
def invite(party_id: str, also: tuple[str, ...]) -> None:
    """Create a token A for PARTY_ID. It is shown once."""

    async def work(connection: Connection) -> str:
        now = await business_now(connection)
        return await OcpiRegistrations().create_registration(connection, party_id, now, also=also)

    click.echo(_run(work, command="invite"))


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
@click.option(
    "--bare-token", is_flag=True, help="Send tokens bare only; by default both spellings are tried."
)
@click.option("--also", multiple=True, help="Another party that its platform operates for; repeatable.")
def connect_to(
    party_id: str,
    versions_url: str,
    *,
    token_file: Path,
    version: str,
    bare_token: bool,
    also: tuple[str, ...],
) -> None:
    """Register at the CPO PARTY_ID with the token A that it issued to us.

    The gateway must be running meanwhile. Tokens are sent in Base64, and bare where the platform does not
    know them then.
    """
    try:
        token_a = token_file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise click.UsageError(f"--token-file: {token_file} is not UTF-8 text") from None
    peer = asyncio.run(
        _at_peer(
            lambda services: credentials_client.connect(
                services,
                party_id=party_id,
                versions_url=versions_url,
                token_a=token_a,
                version=OcpiVersion(version),
                raw_token=True if bare_token else None,
                also=also,
            )
        )
    )
    click.echo(f"registered at {party_id} as peer {peer}")


@command.command(name="renew")
@click.argument("party_id")
@click.option(
    "--version",
    type=click.Choice([version.value for version in OcpiVersion]),
    help="Change to this version of OCPI; by default the version stays.",
)
def renew(party_id: str, *, version: str | None) -> None:
    """Renew the credentials that we share with PARTY_ID's platform.

    Both tokens are exchanged. The gateway must be running meanwhile.
    """
    asyncio.run(
        _at_registered_peer(
            party_id,
            lambda services, peer_id: credentials_client.renew(
                services, peer_id=peer_id, version=OcpiVersion(version) if version else None
            ),
        )
    )
    click.echo(f"renewed the credentials shared with {party_id}")


@command.command(name="leave")
@click.argument("party_id")
def leave(party_id: str) -> None:
    """End the registration with PARTY_ID's platform.

    Its token is rejected from then on, and its lists are no longer pulled. This happens even if the platform
    does not answer.
    """
    asyncio.run(
        _at_registered_peer(
            party_id, lambda services, peer_id: credentials_client.leave(services, peer_id=peer_id)
        )
    )
    click.echo(f"ended the registration with {party_id}")


async def _at_registered_peer(party_id: str, work: Callable[[OcpiServices, UUID], Awaitable[None]]) -> None:
    """Do `work` with the registered platform of a party."""

    async def at_peer(services: OcpiServices) -> None:
        async with services.pool.acquire() as connection:
            peer = await stored_peers.find_peer_of_party(connection, party_id=party_id)
        if peer is None:
            raise click.ClickException(f"{party_id} has no registered platform; see networkcore ocpi peers")
        await work(services, peer.id)

    await _at_peer(at_peer)


async def _at_peer(work: Callable[[OcpiServices], Awaitable[T]]) -> T:
    """Do `work`, which calls a peer, by the settings of this environment."""
    settings = load_platform_settings(os.environ)
    sandbox = settings.environment is Environment.SANDBOX
    pool = await create_pool(settings.database_url, min_size=1, max_size=4, application="networkcore ocpi")
    try:
        with naming_missing_tables():
            async with pool.acquire() as connection:
                clock = await read_clock(connection)
            async with outbound.session(allow_private=sandbox) as http:
                return await work(
                    OcpiServices(
                        pool=pool,
                        clock=clock,
                        public_url=settings.base_url,
                        outbound=http,
                        allow_private_peers=sandbox,
                        secrets=SecretCipher(settings.webhook_keys),
                    )
                )
    finally:
        await pool.close()


@command.command(name="peers")
@as_json_option
def peers(*, as_json: bool) -> None:
    """Show the registered peers, and how far each of their lists has been read."""
    found = _run(stored_peers.list_registered_peers, command="peers")
    lists = _run(pulls.list_pulls, command="peers")
    clients = _run(hub_clients.list_clients, command="peers")
    rows = [
        {
            "id": str(peer.id),
            "party": peer.party_id,
            "operates_for": list(peer.parties),
            "version": peer.version.value if peer.version else None,
            "versions_url": peer.versions_url,
            "hub": peer.hub_party_id,
            "hub_clients": [
                f"{client['party_id']} {client['role']} {client['status']}"
                for client in clients
                if client["peer_id"] == peer.id
            ],
            "lists": [_list_state(listed) for listed in lists if listed["peer_id"] == peer.id],
            "stale_pushes": next((row["stale_pushes"] for row in lists if row["peer_id"] == peer.id), 0),
        }
        for peer in found
    ]
    show_rows(rows, title="Registered peers", none="No peers are registered.", as_json=as_json)


def _list_state(listed: Mapping[str, Any]) -> str:
    """One list in a line: read up to when, or what is wrong with it."""
    if listed["failures"]:
        what = "short" if listed["list_short"] else "failing"
        return f"{listed['module']}: {what} ({listed['last_error']})"
    since = listed["since"]
    return f"{listed['module']}: {'not read yet' if since is None else f'read to {since:%Y-%m-%dT%H:%M:%SZ}'}"


@command.command(name="queue")
@click.option("--cpo", help="Only this CPO's CDRs.")
@click.option("--all", "every", is_flag=True, help="Include CDRs that the workers are about to process.")
@as_json_option
def queue(*, cpo: str | None, every: bool, as_json: bool) -> None:
    """Show the CDRs that could not be processed, oldest first, with the reason."""
    statuses = [CdrStatus.UNMATCHED, CdrStatus.UNPRICEABLE]
    if every:
        statuses.append(CdrStatus.PENDING)
    waiting = _run(
        lambda connection: cdrs.list_queued_cdrs(connection, cpo_id=cpo, statuses=statuses, limit=_MAX_ROWS),
        command="queue",
    )
    rows = [
        {
            "cpo": cdr.cpo_id,
            "cdr": cdr.cdr_id,
            "received": cdr.received_at,
            "status": cdr.status.value,
            "reason": cdr.reason,
            "replays": cdr.replays,
        }
        for cdr in waiting
    ]
    show_rows(rows, title="CDRs", none="No CDR waits.", as_json=as_json)


@command.command(name="replay")
@click.argument("cpo")
@click.argument("cdr_id", required=False)
def replay(cpo: str, cdr_id: str | None) -> None:
    """Replay CDR_ID, or all unmatched CDRs of CPO."""

    async def work(connection: Connection) -> int:
        clock = await read_clock(connection)
        now, wall_now = clock.now(), clock.wall_now()
        if cdr_id is None:
            return await cdrs.replay_waiting(connection, now=now, wall_now=wall_now, cpo_id=cpo)
        return int(await cdrs.replay_cdr(connection, cpo, cdr_id, now=now, wall_now=wall_now))

    count = _run(work, command="replay")
    if cdr_id is not None and not count:
        raise click.ClickException(f"CDR {cdr_id} of {cpo} does not wait; see networkcore ocpi queue --all")
    click.echo(f"{count} to be processed again")


@command.command(name="rejected")
@click.option("--cpo", help="Only this CPO's pushes.")
@as_json_option
def rejected(*, cpo: str | None, as_json: bool) -> None:
    """Show the newest pushes that were rejected, with the reason that the CPO received."""
    found = _run(lambda connection: objects.list_rejections(connection, party_id=cpo), command="rejected")
    rows = [
        {
            "party": row["party_id"],
            "module": row["module"],
            "object": row["object_id"],
            "received": row["received_at"],
            "reason": row["reason"],
            "url": row["url"],
        }
        for row in found
    ]
    show_rows(rows, title="Rejected pushes", none="No push was rejected.", as_json=as_json)


@command.command(name="messages")
@click.option("--party", help="Only messages to this party.")
@click.option("--retry", is_flag=True, help="Send those again that are exceptions.")
@as_json_option
def messages(*, party: str | None, retry: bool, as_json: bool) -> None:
    """Show the messages to peers that are not sent yet."""

    async def send_again(connection: Connection) -> int:
        wall_now = (await read_clock(connection)).wall_now()
        return await payments.retry_messages(connection, wall_now=wall_now, party_id=party)

    if retry:
        click.echo(f"{_run(send_again, command='messages')} to be sent again", err=as_json)
    found = _run(
        lambda connection: payments.list_waiting_messages(connection, party_id=party), command="messages"
    )
    rows = [
        {
            "party": row["party_id"],
            "module": row["module"],
            "object": row["object_id"],
            "attempts": row["attempts"],
            "exception": row["exception_at"] is not None,
            "last_error": row["last_error"],
        }
        for row in found
    ]
    show_rows(rows, title="Messages to peers", none="No message waits to be sent.", as_json=as_json)


@command.command(name="pull")
@click.argument("party_id")
@click.option("--whole", is_flag=True, help="Read the lists from their beginning, not what has changed.")
def pull(party_id: str, *, whole: bool) -> None:
    """Pull PARTY_ID's lists now, not when they are due.

    With --whole also what was rejected when it was read is read again. Nothing has an effect twice.
    """
    due = _run(lambda connection: _run_now(connection, party_id, whole=whole), command="pull")
    if not due:
        raise click.ClickException(f"no registered platform of {party_id} has lists to read")
    click.echo(f"due now: {', '.join(due)}")


async def _run_now(connection: Connection, party_id: str, *, whole: bool) -> list[str]:
    peer = await stored_peers.find_peer_of_party(connection, party_id=party_id)
    if peer is None:
        return []
    wall_now = (await read_clock(connection)).wall_now()
    return [
        module
        for module in PULLED
        if await pulls.run_now(connection, peer_id=peer.id, module=module, wall_now=wall_now, whole=whole)
    ]


@command.command(name="check-invoice")
@click.argument("cpo")
@click.argument("record_id")
def check_invoice(cpo: str, record_id: str) -> None:
    """Compare the invoice record RECORD_ID of CPO with its CDRs here.

    Exit status 1 if they differ.
    """
    found = _run(
        lambda connection: reconcile(connection, party_id=cpo, record_id=record_id), command="check-invoice"
    )
    if found is None:
        raise click.ClickException(f"{cpo} has sent no invoice record {record_id}")
    click.echo(f"completed {len(found.completed)}")
    for label, cdr_ids in (
        ("waiting", found.waiting),
        ("unknown here", found.unknown),
        ("credited", found.credited),
        ("on another invoice too", found.invoiced_twice),
    ):
        if cdr_ids:
            click.echo(f"{label}: {', '.join(cdr_ids)}")
    if not found.agrees:
        sys.exit(_STATUS_DIFFERS)


def _run(work: Callable[[Connection], Awaitable[T]], *, command: str) -> T:
    """Do `work` in one transaction on DATABASE_URL."""
    try:
        return in_transaction(work, command=f"ocpi {command}")
    except asyncpg.ForeignKeyViolationError:
        raise click.ClickException("no such party; create it first with POST /v1/parties") from None
