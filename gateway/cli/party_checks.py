"""`networkcore payouts checks`, `record-check`: checks of parties' identity.

Owns: the options and what is printed. Must not know which checks a party needs. A payee name that did not
match is confirmed over the API, where keys identify people.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import click

from clearing.errors import InvalidPartyCheckError
from clearing.parties import party_check_service
from clearing.parties.party_checks import NewPartyCheck, PartyCheck, PartyCheckKind, PartyCheckResult
from clearing.services import build_clearing
from gateway.cli.clock import business_now
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction
from gateway.database import Connection
from gateway.ids import format_id, new_id
from gateway.payouts.party_check_service import recorded
from gateway.webhooks import events

_DAY: Final = click.DateTime(formats=["%Y-%m-%d"])


@click.command(name="checks")
@click.argument("party")
@as_json_option
def checks_command(*, party: str, as_json: bool) -> None:
    """List the checks of a party's identity, the latest first."""

    async def work(connection: Connection) -> Sequence[PartyCheck]:
        return await party_check_service.list_checks(connection, party)

    rows = [_row(one) for one in in_transaction(work, command="payouts checks")]
    show_rows(rows, title=f"Checks of {party}", none=f"No check of {party} is recorded.", as_json=as_json)


@click.command(name="record-check")
@click.argument("party")
@click.argument("kind", type=click.Choice([kind.value for kind in PartyCheckKind]))
@click.argument("result", type=click.Choice([result.value for result in PartyCheckResult]))
@click.option("--performed-by", required=True, help="The person or service that did the check.")
@click.option("--checked-on", type=_DAY, required=True, help="Day of the check, YYYY-MM-DD.")
@click.option("--valid-until", type=_DAY, help="Day on which it lapses; by default the longest allowed.")
@click.option("--reference", default="", help="Extract, file or screening run.")
@click.option("--note", default="", help="Needed for close_match and not_possible: why it is enough.")
@click.option("--bank-details-version", type=int, help="Of a payee name: the bank details compared.")
@click.option("--by", required=True, metavar="NAME", help="Who records it.")
def record_command(
    *,
    party: str,
    kind: str,
    result: str,
    performed_by: str,
    checked_on: datetime,
    valid_until: datetime | None,
    reference: str,
    note: str,
    bank_details_version: int | None,
    by: str,
) -> None:
    """Record a check of a PARTY's identity. A worker places or lifts its payout hold within a moment."""
    new = NewPartyCheck(
        kind=PartyCheckKind(kind),
        result=PartyCheckResult(result),
        performed_by=performed_by,
        checked_on=checked_on.date(),
        valid_until=None if valid_until is None else valid_until.date(),
        reference=reference,
        note=note,
        details_version=bank_details_version,
    )

    async def work(connection: Connection) -> PartyCheck:
        found = await build_clearing().reference_data.find_party(connection, party)
        if found is None:
            raise click.UsageError(f"there is no party {party}; create it first")
        now = await business_now(connection)
        check = await party_check_service.record_check(
            connection, found, new, check_id=new_id(), by=by, now=now
        )
        await events.record(connection, [recorded(check)], now=now)
        return check

    try:
        check = in_transaction(work, command="payouts record-check")
    except InvalidPartyCheckError as error:
        raise click.UsageError(f"{error}") from None
    lapses = "does not lapse" if check.valid_until is None else f"lapses on {check.valid_until}"
    click.echo(f"{format_id(party_check_service.CHECK, check.id)}: {party} {kind} {result}, {lapses}")


COMMANDS: Final = (checks_command, record_command)


def _row(check: PartyCheck) -> dict[str, Any]:
    return {
        "id": format_id(party_check_service.CHECK, check.id),
        "kind": check.kind.value,
        "result": check.result.value,
        "performed_by": check.performed_by,
        "checked_on": check.checked_on,
        "valid_until": check.valid_until or "-",
        "bank_details": check.details_version or "-",
        "reference": check.reference or "-",
        "note": check.note or "-",
        "recorded_by": check.recorded_by,
    }
