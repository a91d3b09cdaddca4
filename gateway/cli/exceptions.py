"""`networkcore exceptions`: what waits for a person, why, and what to do next.

Owns: the options and what is printed. Must not know any kind of exception. Who acts is named with `--by`:
whoever can reach the database is trusted to name themselves.
"""

import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

import click

from clearing.services import build_clearing
from gateway.cli.clock import read_clock
from gateway.cli.command_group import CommandGroup
from gateway.cli.public_id import PublicId
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction
from gateway.clock import Clock
from gateway.database import Connection
from gateway.exception_kinds import ExceptionKind, ExceptionState
from gateway.exceptions.age_limits import AgeLimits, read_age_limits, set_age_limits
from gateway.exceptions.decisions import decision_of
from gateway.exceptions.due import DUE_AFTER, MAX_HOURS, MIN_HOURS, due_at, hours_of, is_allowed
from gateway.exceptions.presenter import PREFIX, next_step_of
from gateway.exceptions.repository import ExceptionFilter
from gateway.exceptions.rules import KINDS, ExceptionRecord
from gateway.exceptions.service import ExceptionService, ExceptionView
from gateway.ids import format_id
from gateway.payments.stated_usage import UsageAction
from gateway.payments.unbooked_charges import ChargeAction

_Result = TypeVar("_Result")
_MOST: Final = 10_000
_STATES: Final = [*(state.value for state in ExceptionState), "all"]
_BY = click.option("--by", required=True, help="The person who decides.")
_ONE_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, not lines.")


@click.group(name="exceptions", cls=CommandGroup)
def command() -> None:
    """List, show, assign and resolve what waits for a person."""


@command.command(name="list")
@click.option("--kind", type=click.Choice([kind.value for kind in ExceptionKind]), help="Only this kind.")
@click.option("--owner", help="Only what this owner looks after.")
@click.option("--party", help="Only what is about this party.")
@click.option(
    "--state", type=click.Choice(_STATES), default="open", show_default=True, help="Only in this state."
)
@click.option("--overdue", is_flag=True, help="Only those past the age limit of their kind.")
@click.option("--older-than", type=click.IntRange(min=0), help="Only older than so many hours.")
@as_json_option
def list_command(
    *,
    kind: str | None,
    owner: str | None,
    party: str | None,
    state: str,
    older_than: int | None,
    overdue: bool,
    as_json: bool,
) -> None:
    """List exceptions, newest first. Exit status 0 whether there are any or not."""

    async def work(connection: Connection, service: ExceptionService, now: datetime) -> list[dict[str, Any]]:
        wanted = ExceptionFilter(
            state=None if state == "all" else ExceptionState(state),
            kind=None if kind is None else ExceptionKind(kind),
            owner=owner,
            party_id=party,
            since_before=None if older_than is None else now - timedelta(hours=older_than),
            overdue_at=now if overdue else None,
        )
        found = await service.list_exceptions(connection, wanted, limit=_MOST)
        return [_row(one, now=now) for one in found]

    rows = _with_queue(work)
    if not as_json:
        rows = [{name: value for name, value in row.items() if name not in _JSON_ONLY} for row in rows]
    show_rows(rows, title="Exceptions", none="Nothing waits for a person.", as_json=as_json)


@command.command(name="show")
@click.argument("exception", type=PublicId(PREFIX))
@_ONE_AS_JSON
def show_command(*, exception: UUID, as_json: bool) -> None:
    """Show EXCEPTION with its next step and history."""

    async def work(connection: Connection, service: ExceptionService, now: datetime) -> dict[str, Any]:
        return _details(await service.get(connection, exception), now=now)

    _print(_with_queue(work), as_json=as_json)


@command.command(name="assign")
@click.argument("exception", type=PublicId(PREFIX))
@click.argument("assignee")
@click.option("--note", default="", help="Kept in the history.")
@_BY
@_ONE_AS_JSON
def assign_command(*, exception: UUID, assignee: str, note: str, by: str, as_json: bool) -> None:
    """Name ASSIGNEE as the person who looks after EXCEPTION."""

    async def work(connection: Connection, service: ExceptionService, now: datetime) -> dict[str, Any]:
        view = await service.assign(
            connection, exception, assignee=assignee, by=by, note=note.strip(), now=now
        )
        return _details(view, now=now)

    _print(_with_queue(work), as_json=as_json)


@command.command(name="resolve")
@click.argument("exception", type=PublicId(PREFIX))
@click.option("--reason", required=True, help="What was mended, or why it may end; kept in the history.")
@click.option(
    "--action",
    type=click.Choice([action.value for action in (*UsageAction, *ChargeAction)]),
    help="What is done about usage that failed a check (take_as_is, take_lower, set_amount, reject, "
    "release), or about money at the PSP that is in no book (adopt, refund, leave).",
)
@click.option("--amount", type=click.IntRange(min=0), help="With set_amount: minor units, VAT included.")
@_BY
@_ONE_AS_JSON
def resolve_command(
    *, exception: UUID, reason: str, action: str | None, amount: int | None, by: str, as_json: bool
) -> None:
    """Try again what stopped at EXCEPTION, or carry out the action that its kind needs.

    It is resolved as soon as its cause is gone. Where nothing can be tried again, the command that ends the
    cause is named and the exit status is 2.
    """
    if not reason.strip():
        raise click.UsageError("--reason is empty")
    if (amount is not None) != (action == UsageAction.SET_AMOUNT):
        raise click.UsageError("--amount goes with --action set_amount")
    decision = None
    if action is not None:
        of_charge = action in {one.value for one in ChargeAction}
        chosen = ChargeAction(action) if of_charge else UsageAction(action)
        decision = decision_of(chosen, amount_minor=amount)

    async def work(connection: Connection) -> dict[str, Any]:
        clock = await read_clock(connection)
        view = await ExceptionService(clearing=build_clearing()).resolve(
            connection,
            exception,
            by=by,
            note=reason.strip(),
            decision=decision,
            now=clock.now(),
            wall_now=clock.wall_now(),
        )
        return _details(view, now=clock.now())

    _print(in_transaction(work, command="exceptions resolve"), as_json=as_json)


@command.command(name="limits")
@click.option("--set", "given", multiple=True, metavar="KIND=HOURS", help="Set a limit; repeatable.")
@click.option("--default", "dropped", multiple=True, metavar="KIND", help="Its default again; repeatable.")
@click.option("--by", help="The person who sets it.")
@as_json_option
def limits_command(
    *, given: tuple[str, ...], dropped: tuple[str, ...], by: str | None, as_json: bool
) -> None:
    """Show from which age exceptions of each kind are overdue, or set some limits."""
    wanted: dict[ExceptionKind, int | None] = dict(_limit(text) for text in given)
    wanted |= {_kind(text): None for text in dropped}
    if wanted and not by:
        raise click.UsageError("--set and --default need --by, the person who sets it")

    async def work(connection: Connection) -> AgeLimits:
        if wanted:
            now = (await read_clock(connection)).now()
            return await set_age_limits(connection, wanted, by=by or "", now=now)
        return await read_age_limits(connection)

    found = in_transaction(work, command="exceptions limits")
    own = {one.kind: one for one in found.own}
    rows = [
        {
            "kind": kind.value,
            "hours": hours_of(found.values[kind]),
            "default": hours_of(DUE_AFTER[kind]),
            "set_by": own[kind].set_by if kind in own else None,
            "set_at": own[kind].set_at if kind in own else None,
        }
        for kind in ExceptionKind
    ]
    show_rows(rows, title="Age limits of exceptions", none="No kinds.", as_json=as_json)


def _limit(text: str) -> tuple[ExceptionKind, int]:
    name, _, hours = text.partition("=")
    if not hours.strip().isdecimal() or not is_allowed(int(hours)):
        raise click.UsageError(f"--set {text!r}: expected KIND=HOURS, HOURS from {MIN_HOURS} to {MAX_HOURS}")
    return _kind(name), int(hours)


def _kind(text: str) -> ExceptionKind:
    try:
        return ExceptionKind(text.strip())
    except ValueError:
        kinds = ", ".join(ExceptionKind)
        raise click.UsageError(f"{text.strip()!r} is no kind of exception; one of {kinds}") from None


def _with_queue(work: Callable[[Connection, ExceptionService, datetime], Awaitable[_Result]]) -> _Result:
    """Bring the queue in step with its causes, then do `work` at business time, in one transaction."""

    async def run(connection: Connection) -> _Result:
        clock: Clock = await read_clock(connection)
        service, now = ExceptionService(clearing=build_clearing()), clock.now()
        await service.refresh(connection, now=now, wall_now=clock.wall_now())
        return await work(connection, service, now)

    return in_transaction(run, command="exceptions")


_JSON_ONLY: Final = frozenset({"opened_at", "resolved_at", "next_step", "command"})


def _row(one: ExceptionRecord, *, now: datetime) -> dict[str, Any]:
    step = next_step_of(one)
    return {
        "id": format_id(PREFIX, one.id),
        "kind": one.kind.value,
        "subject": one.subject_id,
        "state": one.state.value,
        "since": one.since,
        "age": _age(now - one.since),
        "due_at": due_at(one),
        "overdue": one.state is ExceptionState.OPEN and due_at(one) <= now,
        "owner": one.owner,
        "assignee": one.assignee,
        "party": one.party_id,
        "amount_minor": one.amount_minor,
        "currency": one.currency,
        "reason": one.reason,
        "detail": one.detail,
        "opened_at": one.opened_at,
        "resolved_at": one.resolved_at,
        "next_step": step.text,
        "command": step.command,
    }


def _details(view: ExceptionView, *, now: datetime) -> dict[str, Any]:
    return _row(view.record, now=now) | {
        "title": KINDS[view.record.kind].title,
        "history": [
            {"at": one.at, "kind": one.kind.value, "actor": one.actor, "note": one.note}
            for one in view.history
        ],
    }


def _age(age: timedelta) -> str:
    """Days and hours, or minutes of what is younger than an hour."""
    minutes = max(0, int(age.total_seconds()) // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h" if hours else f"{minutes} min"


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, default=lambda value: value.isoformat()))
        return
    history = found.pop("history")
    for name, value in found.items():
        if value is not None:
            click.echo(f"{name.replace('_', ' ')}: {value}")
    click.echo("history:")
    for line in history:
        click.echo(f"  {line['at']:%F %H:%M} {line['kind']} by {line['actor']}: {line['note']}")
