"""`networkcore trace`: one session from its meter to the bank's line, shown, written and verified offline.

Owns: the arguments and what is printed. Must not know how a link is proved.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from clearing.session_trace.verification import StepState, TraceStep, verify_trace
from gateway.cli.documents import read_document
from gateway.cli.transaction import open_pool
from gateway.errors import MalformedIdError, RecordConflictError, RecordNotFoundError
from gateway.ids import parse_id
from gateway.payments.session_trace import read_trace

_NO: Final = 1


@click.command(name="trace")
@click.argument("subject", metavar="SESSION|FILE")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the trace here, for others to verify.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not lines.")
def command(*, subject: str, output: Path | None, as_json: bool) -> None:
    """Show one session from its meter to the bank: meter, CDR, price, capture, entry, payout, bank line.

    SESSION is read from DATABASE_URL. A FILE that --output wrote is verified offline. Exit status 1 if a
    link does not hold. Amounts are minor units.
    """
    record = _of_file(subject) if Path(subject).is_file() else asyncio.run(_of_session(subject))
    if output is not None:
        try:
            output.write_text(json.dumps(record, sort_keys=True) + "\n", encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"{output}: {error.strerror or error}") from None
    steps = verify_trace(record)
    if as_json:
        shown = [{"link": one.name, "state": one.state.value, "text": one.text} for one in steps]
        click.echo(json.dumps({"session": _name(record), "links": shown}, ensure_ascii=False))
    else:
        _show(record, steps)
    if any(one.state is StepState.FAILED for one in steps):
        sys.exit(_NO)


def _show(record: Any, steps: list[TraceStep]) -> None:
    click.echo(f"session {_name(record)}")
    for one in steps:
        click.echo(f"{one.name:<10} {one.state:<9} {one.text}")


def _name(record: Any) -> str:
    found = record.get("session") if isinstance(record, Mapping) else None
    return found if isinstance(found, str) else "unknown"


def _of_file(name: str) -> Any:
    try:
        return json.loads(read_document(name))
    except (ValueError, RecursionError) as error:
        raise click.ClickException(f"{name}: is not JSON: {error}") from None


async def _of_session(text: str) -> Mapping[str, Any]:
    try:
        session_id = parse_id("ses", text)
    except MalformedIdError as error:
        raise click.UsageError(f"{text!r} is neither a file nor a session: {error}") from None
    async with open_pool("trace", reading=True) as pool:
        try:
            return await read_trace(pool, session_id)
        except (RecordNotFoundError, RecordConflictError) as error:
            raise click.UsageError(str(error)) from None
