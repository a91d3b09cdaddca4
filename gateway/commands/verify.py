"""`networkcore verify`: proves a statement offline, with no database, network or setting."""

import json
import sys
from pathlib import Path
from typing import Final

import click

from clearing.errors import StatementError
from clearing.journal.statement import verify
from clearing.money import to_major

_FAILED: Final = 1


@click.command(name="verify")
@click.argument("statement", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def command(*, statement: Path, as_json: bool) -> None:
    """Prove STATEMENT: every line hashes into its batch, and the balance runs from opening to closing.

    The printed heads are what to compare with the platform's published ones, or with your last statement's.
    """
    try:
        with statement.open(encoding="utf-8") as lines:
            found = verify(lines)
    except StatementError as error:
        click.echo(json.dumps({"ok": False, "error": str(error)}) if as_json else f"NOT PROVED: {error}")
        sys.exit(_FAILED)
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{statement} is not a text file: {error.reason}") from error
    if as_json:
        heads = {
            str(chain): {"position": position, "hash": digest}
            for chain, (position, digest) in found.heads.items()
        }
        click.echo(
            json.dumps(
                {
                    "ok": True,
                    "account": found.account,
                    "currency": found.currency,
                    "opening_minor": found.opening_minor,
                    "closing_minor": found.closing_minor,
                    "lines": found.lines,
                    "batches": found.batches,
                    "heads": heads,
                }
            )
        )
        return
    click.echo(f"proved   {found.account} {found.currency}: {found.lines} lines in {found.batches} batches")
    click.echo(f"opening  {to_major(found.opening_minor, found.currency)}")
    click.echo(f"closing  {to_major(found.closing_minor, found.currency)}")
    for chain, (position, digest) in sorted(found.heads.items()):
        click.echo(f"head     chain {chain} position {position} {digest}")
