"""`networkcore clearing settlement-statement`: statements of disbursements, one or many, into a directory.

Owns the options and where a file goes. Must not know what a statement says.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final
from uuid import UUID

import click
from rich.console import Console
from rich.progress import Progress

from clearing.language import Language
from clearing.settlement_statements.service import list_paid_between
from gateway.cli.clock import business_now
from gateway.cli.transaction import open_pool
from gateway.database import Pool
from gateway.errors import MalformedIdError
from gateway.ids import format_id, parse_id
from gateway.settlement_export import StatementForm, write_statement

_FAILED: Final = 1


@click.command(name="settlement-statement")
@click.argument("ids", nargs=-1)
@click.option(
    "--since", help="Instead of IDS: disbursements paid from this day on (UTC), such as 2026-10-01."
)
@click.option("--until", help="Last day, inclusive.")
@click.option("--party", help="Only those of this party.")
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in StatementForm]),
    default="json",
    show_default=True,
)
@click.option(
    "--language",
    type=click.Choice([language.value for language in Language]),
    default="en",
    show_default=True,
)
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for the files.",
)
def settlement_statement_command(
    *,
    ids: Sequence[str],
    since: str | None,
    until: str | None,
    party: str | None,
    form: str,
    language: str,
    output: Path,
) -> None:
    """Write settlement statements of disbursements, by IDS such as dis_01jd... or by days.

    `networkcore verify` verifies the JSON offline. Exit status 1 if there is no such disbursement.
    """
    if bool(ids) == (since is not None):
        raise click.UsageError("name disbursements, or --since and --until")
    span = None if since is None else (_day(since, "--since"), _day(until or since, "--until"))
    output.mkdir(parents=True, exist_ok=True)
    wanted = [_id(text) for text in ids]
    missing = asyncio.run(
        _write_all(
            wanted, span, party=party, form=StatementForm(form), language=Language(language), output=output
        )
    )
    for name in missing:
        click.echo(f"{name}: there is no such disbursement", err=True)
    if missing:
        sys.exit(_FAILED)


async def _write_all(
    wanted: Sequence[UUID],
    span: tuple[date, date] | None,
    *,
    party: str | None,
    form: StatementForm,
    language: Language,
    output: Path,
) -> list[str]:
    """The names of those that were not found."""
    missing = []
    async with open_pool("clearing settlement-statement", reading=True) as pool:
        if span is not None:
            async with pool.acquire() as connection:
                wanted = await list_paid_between(connection, since=span[0], until=span[1], party_id=party)
            if not wanted:
                click.echo(f"No disbursement was paid from {span[0]} to {span[1]}.", err=True)
        with Progress(console=Console(stderr=True), disable=len(wanted) < 2) as progress:  # noqa: PLR2004 - one needs no bar
            for identifier in progress.track(wanted, description="statements"):
                name = format_id("dis", identifier)
                line = await _write(
                    pool, identifier, party=party, form=form, language=language, output=output
                )
                if line is None:
                    missing.append(name)
                else:
                    click.echo(line)
    return missing


async def _write(
    pool: Pool, identifier: UUID, *, party: str | None, form: StatementForm, language: Language, output: Path
) -> str | None:
    """A reader of the directory sees the whole file or none."""
    async with pool.acquire() as connection:
        now = await business_now(connection)
    with tempfile.TemporaryDirectory(prefix=".statement-", dir=output) as directory:
        written = await write_statement(
            pool,
            identifier,
            party_id=party,
            form=form,
            language=language,
            now=now,
            directory=Path(directory),
        )
        if written is None:
            return None
        target = output / written.path.name
        written.path.replace(target)
    return f"{target}  no. {written.number}  {written.lines} lines  sha256 {written.sha256}"


def _id(text: str) -> UUID:
    try:
        return parse_id("dis", text)
    except MalformedIdError as error:
        raise click.UsageError(f"{text!r} is no disbursement: {error}") from None


def _day(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"{name}: {text!r} is not a day such as 2026-10-01") from error
