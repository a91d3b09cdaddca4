"""`networkcore ocpi limits`: the limits by which a CPO's CDRs are checked, shown and set.

Owns: the options and what is printed. Must not know what a limit is used for.
"""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import asyncpg
import click

from clearing.cdr_checks.limits import LimitName
from gateway.cli.clock import business_now
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction
from gateway.database import Connection
from gateway.payments.cdr_limits import PartyLimits, read_limits, set_limits
from gateway.payments.errors import PaymentError


@click.command(name="limits")
@click.argument("party_id")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="Set a limit; repeatable.")
@click.option(
    "--from",
    "valid_from",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]),
    help="For sessions authorized from then on, UTC; now if it is not given.",
)
@click.option("--by", help="The person who sets it.")
@as_json_option
def limits(
    *, party_id: str, given: tuple[str, ...], valid_from: datetime | None, by: str | None, as_json: bool
) -> None:
    """Show the limits by which PARTY_ID's CDRs are checked, or set some.

    With the platform's id the limits are those of every CPO that has none of its own.
    """
    values = dict(_value(text) for text in given)
    if values and not by:
        raise click.UsageError("--set needs --by, the person who sets it")

    async def work(connection: Connection) -> PartyLimits:
        now = await business_now(connection)
        if values:
            since = now if valid_from is None else valid_from.replace(tzinfo=UTC)
            await set_limits(connection, values, party_id=party_id, valid_from=since, by=by or "", now=now)
        return await read_limits(connection, party_id=party_id, at=now)

    try:
        found = in_transaction(work, command="ocpi limits")
    except asyncpg.ForeignKeyViolationError:
        raise click.UsageError("no such party; create it first with POST /v1/parties") from None
    except PaymentError as error:
        raise click.UsageError(str(error)) from None
    show_rows(_rows(found), title=f"Limits of {party_id}", none="No limits.", as_json=as_json)


def _value(text: str) -> tuple[LimitName, Decimal]:
    name, _, number = text.partition("=")
    try:
        return LimitName(name.strip()), Decimal(number.strip())
    except (ValueError, InvalidOperation):
        names = ", ".join(LimitName)
        raise click.UsageError(f"--set {text!r}: expected NAME=NUMBER, NAME one of {names}") from None


def _rows(found: PartyLimits) -> list[dict[str, Any]]:
    """The values in force, and every value that was set for the party."""
    rows: list[dict[str, Any]] = [
        {"limit": name.value, "value": format(found.values[name], "f"), "from": None, "set_by": "in force"}
        for name in LimitName
    ]
    rows += [
        {
            "limit": one.name.value,
            "value": format(one.value, "f"),
            "from": one.valid_from,
            "set_by": one.set_by,
        }
        for one in found.own
    ]
    return rows
