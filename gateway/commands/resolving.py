"""`networkcore reconcile resolve` and its like: people decide what is booked, from the command line.

Owns: the words and what is printed. Must not know what is booked for which resolution. Who decides is named
with `--by`: whoever can reach the database is trusted to name themselves.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import click

from clearing.connection import named_queries, rows
from clearing.desks.debt_desk import DebtDesk
from clearing.desks.decisions import Decision, listed, set_limit
from clearing.desks.resolution_desk import ResolutionDesk, Wish
from clearing.errors import StateConflictError
from clearing.reconciliation.comparing import Leg
from clearing.reconciliation.deciding import OF_DIFFERENCES, OF_SUSPENSE, DecisionState, Resolution
from clearing.service import ClearingService
from gateway.clock import SystemClock
from gateway.commands.in_transaction import in_transaction
from gateway.database import Connection

_REASON = click.option("--reason", required=True, help="Why, for the record.")
_BY = click.option("--by", required=True, help="The person who decides.")
_PARTY = click.option("--party", help="With collection: whose debt was paid.")


@click.command(name="resolve")
@click.argument("leg", type=click.Choice([leg.value for leg in Leg]))
@click.argument("reference")
@click.option(
    "--as", "how", required=True, type=click.Choice([one.value for one in OF_DIFFERENCES]),
    help="How it is booked.",
)  # fmt: skip
@click.option("--currency", help="Where one reference differs in several currencies.")
@click.option("--with", "alike", multiple=True, help="A further reference of the same movement.")
@_PARTY
@_REASON
@_BY
def resolve_command(
    *, leg: str, reference: str, how: str, currency: str | None, alike: tuple[str, ...], party: str | None,
    reason: str, by: str,
) -> None:  # fmt: skip
    """Book the difference of REFERENCE, or propose it where two people must agree."""

    async def work(connection: Connection) -> Decision:
        difference_id = await _difference(connection, leg, reference, currency)
        wish = Wish(resolution=Resolution(how), reason=reason, by=by, party_id=party, alike=alike)
        return await _desk().resolve(connection, difference_id, wish, now=SystemClock().now())

    _tell(in_transaction(work))


@click.command(name="agree")
@click.argument("decision", type=click.UUID)
@_BY
def agree_command(*, decision: UUID, by: str) -> None:
    """Book DECISION as it was proposed by somebody else."""

    async def work(connection: Connection) -> Decision:
        return await _desk().agree(connection, decision, by=by, now=SystemClock().now())

    _tell(in_transaction(work))


@click.command(name="refuse")
@click.argument("decision", type=click.UUID)
@_BY
def refuse_command(*, decision: UUID, by: str) -> None:
    """Leave what DECISION is about open."""

    async def work(connection: Connection) -> Decision:
        return await _desk().refuse(connection, decision, by=by, now=SystemClock().now())

    _tell(in_transaction(work))


@click.command(name="decisions")
@click.option("--state", type=click.Choice([state.value for state in DecisionState]))
def decisions_command(*, state: str | None) -> None:
    """List decisions, the latest first."""

    async def work(connection: Connection) -> Sequence[Decision]:
        return await listed(connection, state=None if state is None else DecisionState(state), limit=1000)

    found = in_transaction(work)
    for one in found:
        _tell(one)
    if not found:
        click.echo("no decision", err=True)


@click.command(name="suspense")
def suspense_command() -> None:
    """List what stands in suspense, the oldest first."""

    async def work(connection: Connection) -> list[str]:
        found = await _desk().suspense(connection, now=SystemClock().now())
        return [
            f"{one.id}  {one.left_minor} {one.currency}  {one.age_days} days  {one.owner}  {one.detail}"
            for one in found
        ]

    _list(in_transaction(work), none="nothing stands in suspense")


@click.command(name="clear-suspense")
@click.argument("item", type=click.UUID)
@click.option("--as", "how", required=True, type=click.Choice([one.value for one in OF_SUSPENSE]))
@click.option("--amount", type=int, help="Minor units with the item's sign; default: all that is left.")
@_PARTY
@_REASON
@_BY
def clear_command(
    *, item: UUID, how: str, amount: int | None, party: str | None, reason: str, by: str
) -> None:
    """Take ITEM out of suspense to where it belongs."""

    async def work(connection: Connection) -> Decision:
        wish = Wish(resolution=Resolution(how), reason=reason, by=by, party_id=party)
        return await _desk().clear(connection, item, wish, minor=amount, now=SystemClock().now())

    _tell(in_transaction(work))


@click.command(name="offset-suspense")
@click.argument("item", type=click.UUID)
@click.argument("other", type=click.UUID)
@_REASON
@_BY
def offset_command(*, item: UUID, other: UUID, reason: str, by: str) -> None:
    """ITEM and OTHER are one movement, come and gone: neither has to look for a home any more."""

    async def work(connection: Connection) -> Decision:
        return await _desk().offset(connection, item, other, reason=reason, by=by, now=SystemClock().now())

    _tell(in_transaction(work))


@click.command(name="limit")
@click.argument("currency")
@click.argument("minor", type=click.IntRange(min=0))
@_BY
def limit_command(*, currency: str, minor: int, by: str) -> None:
    """Above MINOR units of CURRENCY two people decide; 0: always."""

    async def work(connection: Connection) -> None:
        await set_limit(connection, currency, minor, by=by, now=SystemClock().now())

    in_transaction(work)
    click.echo(f"above {minor} {currency} two people decide")


@click.command(name="debts")
def debts_command() -> None:
    """List what parties owe, by age."""

    async def work(connection: Connection) -> list[str]:
        found = await DebtDesk(ClearingService()).debts(connection, now=SystemClock().now())
        return [
            f"{one.party_id}  {one.debt_minor} {one.currency}  {one.age_days} days  "
            + "  ".join(f"{name}: {minor}" for name, minor in one.buckets)
            for one in found
        ]

    _list(in_transaction(work), none="nobody owes anything")


@click.command(name="consent")
@click.argument("party")
@click.option("--on", "day", required=True, type=click.DateTime(["%Y-%m-%d"]), help="When it agreed.")
@click.option("--evidence", required=True, help="Where the party's consent is kept.")
@_BY
def consent_command(*, party: str, day: datetime, evidence: str, by: str) -> None:
    """Record that PARTY lets its debts be set against its claims."""

    async def work(connection: Connection) -> None:
        await DebtDesk(ClearingService()).agree_to_compensation(
            connection, party, agreed_on=day.replace(tzinfo=UTC).date(), evidence=evidence, by=by
        )

    in_transaction(work)
    click.echo(f"{party} agreed on {day:%Y-%m-%d}")


@click.command(name="compensate")
@click.argument("party")
@click.option("--currency", required=True, help="Of the debt.")
@click.option("--from", "source", required=True, help="Currency of the claim that pays it.")
@_REASON
@_BY
def compensate_command(*, party: str, currency: str, source: str, reason: str, by: str) -> None:
    """Set PARTY's debt against what it is owed in another currency, where it agreed to that."""

    async def work(connection: Connection) -> Decision:
        return await DebtDesk(ClearingService()).compensate(
            connection, party, currency=currency, from_currency=source, reason=reason, by=by,
            now=SystemClock().now(),
        )  # fmt: skip

    _tell(in_transaction(work))


@click.command(name="write-off")
@click.argument("party")
@click.option("--currency", required=True, help="Of the debt.")
@_REASON
@_BY
def write_off_command(*, party: str, currency: str, reason: str, by: str) -> None:
    """Propose to give PARTY's debt up; a second person books it with `agree`."""

    async def work(connection: Connection) -> Decision:
        return await DebtDesk(ClearingService()).write_off(
            connection, party, currency=currency, reason=reason, by=by, now=SystemClock().now()
        )

    _tell(in_transaction(work))


COMMANDS: tuple[click.Command, ...] = (
    resolve_command, agree_command, refuse_command, decisions_command, suspense_command, clear_command,
    offset_command, limit_command, debts_command, consent_command, compensate_command, write_off_command,
)  # fmt: skip


def _desk() -> ResolutionDesk:
    return ResolutionDesk(ClearingService())


async def _difference(connection: Connection, leg: str, reference: str, currency: str | None) -> UUID:
    """The one open difference of that name."""
    found = await rows(named_queries("decisions").difference_named(connection, leg=leg, reference=reference))
    mine = [row for row in found if currency in (None, row["currency"])]
    if len(mine) > 1:
        told = ", ".join(row["currency"] for row in mine)
        raise StateConflictError(f"{reference} differs in {told}: name one with --currency")
    if not mine:
        raise StateConflictError(f"no difference of {leg} called {reference!r} is open")
    (row,) = mine
    difference_id: UUID = row["id"]
    return difference_id


def _list(lines: Sequence[str], *, none: str) -> None:
    """The lines; that there are none is told beside the output, which stays empty for programs."""
    for line in lines:
        click.echo(line)
    if not lines:
        click.echo(none, err=True)


def _tell(one: Decision) -> None:
    names = one.reference.replace("\x1f", " + ")
    waits = " and waits for a second person" if one.state is DecisionState.PROPOSED else ""
    click.echo(
        f"{one.id}  {one.state}{waits}  {one.resolution} of {one.amount_minor} {one.currency}  "
        f"{one.subject} {names}  {one.proposed_by}: {one.reason}"
    )
