"""`networkcore people`: who may sign in to the console, in the database alone.

Owns: the arguments and what is printed. Must not know how people sign in. Who has DATABASE_URL acts as the
installation itself: the record says `command line`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

import click

from clearing.parties.party import PLATFORM_ID
from gateway.api.partners.people import sign_in_address
from gateway.cli.clock import read_clock
from gateway.cli.command_group import CommandGroup
from gateway.cli.public_id import PublicId
from gateway.cli.transaction import open_pool
from gateway.config import load_platform_settings
from gateway.ids import new_id
from gateway.people.person import PERSON_PREFIX
from gateway.people.roles import PersonRole
from gateway.people.service import PeopleService
from gateway.scopes import ALL_SCOPES

_BY: Final = "command line"


@click.group(name="people", cls=CommandGroup)
def command() -> None:
    """Invite people to the console, make their sign-in links, list and revoke them."""


@command.command()
@click.option("--party", default=PLATFORM_ID, show_default=True, help="The party that the person works for.")
@click.option("--email", required=True, help="The address by which the OpenID provider knows them.")
@click.option("--name", required=True, help="Their name, as decisions show it.")
@click.option(
    "--role", required=True, type=click.Choice([role.value for role in PersonRole]), help="What they may do."
)
def invite(*, party: str, email: str, name: str, role: str) -> None:
    """Let somebody sign in, and print a link that does it once."""
    if "@" not in email or not name.strip():
        raise click.UsageError("--email takes an e-mail address, --name a name")

    async def work(people: PeopleService) -> None:
        person = await people.invite(
            person_id=new_id(),
            party_id=party,
            email=email,
            name=name,
            role=PersonRole(role),
            by=_BY,
            maker=ALL_SCOPES,
        )
        made = await people.link(person.id, party_id=None, by=_BY, maker=ALL_SCOPES)
        click.echo(person.public_id)
        click.echo(_address(made.token))

    _run(work)


@command.command()
@click.argument("person", type=PublicId(PERSON_PREFIX))
def link(*, person: Any) -> None:
    """Print a link that signs PERSON in once, within 24 hours; it ends those before."""

    async def work(people: PeopleService) -> None:
        made = await people.link(person, party_id=None, by=_BY, maker=ALL_SCOPES)
        click.echo(_address(made.token))

    _run(work)


@command.command(name="list")
@click.option("--party", help="Of this party alone.")
def list_people(*, party: str | None) -> None:
    """List people with their party, role and last use."""

    async def work(people: PeopleService) -> None:
        for person in await people.list(party_id=party):
            seen = f"{person.last_seen_at:%Y-%m-%d %H:%M}Z" if person.last_seen_at else "never"
            state = "revoked" if person.revoked_at else f"seen {seen}"
            click.echo(
                f"{person.public_id}  {person.party_id:<16} {person.role.value:<14} {person.email}  {state}"
            )

    _run(work, reading=True)


@command.command()
@click.argument("person", type=PublicId(PERSON_PREFIX))
def revoke(*, person: Any) -> None:
    """End the access of PERSON, with every session and link, at once."""

    async def work(people: PeopleService) -> None:
        await people.revoke(person, party_id=None, by=_BY)
        click.echo("revoked")

    _run(work)


def _address(token: str) -> str:
    return sign_in_address(load_platform_settings(os.environ).base_url, token)


def _run(work: Callable[[PeopleService], Awaitable[None]], *, reading: bool = False) -> None:
    async def run() -> None:
        async with open_pool("people", reading=reading) as pool:
            async with pool.acquire() as connection:
                clock = await read_clock(connection)
            await work(PeopleService(pool=pool, clock=clock))

    asyncio.run(run())
