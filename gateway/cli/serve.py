"""`networkcore serve`: the gateway on its port until it is stopped."""

import sys
from functools import partial
from typing import Final

import click

from gateway.cli.process import run_process

_MOST_PROCESSES: Final = 64


@click.command(name="serve")
@click.option(
    "--processes",
    type=click.IntRange(1, _MOST_PROCESSES),
    default=1,
    show_default=True,
    help="How many processes serve the port; one that dies is replaced.",
)
@click.option(
    "--console-processes",
    "consoles",
    type=click.IntRange(0, _MOST_PROCESSES),
    default=0,
    show_default=True,
    help="How many further processes make people's pages, so that these hold up nobody else.",
)
@click.option("--member", "member_text", hidden=True, help="One process of a group; set by its parent.")
def command(*, processes: int, consoles: int, member_text: str | None) -> None:
    """Run the gateway until SIGTERM; requests in flight are finished first.

    Settings come from the environment (NETWORKCORE_...), secret files and NETWORKCORE_CONFIG. With
    NETWORKCORE_WORKERS_IN_PROCESS=true the workers run here too, with --processes in the first one. Each
    process has a pool of database connections of its own; rate limits are counted once for all.

    With --console-processes pages of the console are made by processes that yield to all others; requests for
    them at the port are passed on. NETWORKCORE_CONSOLE_PORT is a port of their own beside it.
    """
    from gateway.process_group import GroupMember, ProcessGroup  # noqa: PLC0415 - by this command only
    from gateway.processes import run_gateway, run_member  # noqa: PLC0415 - likewise

    if member_text is not None:
        try:
            member = GroupMember.from_text(member_text)
        except ValueError:
            raise click.BadParameter("is set by the parent process alone", param_hint="--member") from None
        run_process(partial(run_member, member=member), number=member.number)
    elif processes == 1 and not consoles:
        run_process(run_gateway)
    else:
        group = ProcessGroup(count=processes, consoles=consoles)
        run_process(group.run)
        sys.exit(group.status)
