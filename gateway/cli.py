"""The command `networkcore`: finds the subcommand, and turns every failure into one line and an exit status.

Owns the list of subcommands and the exit statuses. Must not know what a subcommand does; each is imported
only when it is called, so that one broken room leaves the others usable.

Exit statuses: 0 done; 1 the answer is no (a proof that fails, something pending); 2 bad input, a bad
setting or something unreachable, said in one line; 70 a bug, said in one line too; 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Final, NoReturn

import click
from typing_extensions import override

from clearing.errors import ClearingError
from gateway.errors import GatewayError
from pnc.errors import PncError

STATUS_NO: Final = 1
STATUS_REFUSED: Final = 2
STATUS_BUG: Final = 70
STATUS_INTERRUPTED: Final = 130
_TRACEBACK_VARIABLE: Final = "NETWORKCORE_TRACEBACK"

# Group -> subcommand -> (module, what it does in a few words).
COMMANDS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Try it": {
        "demo": ("gateway.commands.demo", "Play one market day on embedded PostgreSQL and the sandbox PSP."),
        "dev": ("gateway.commands.dev", "Start the whole stack with a seeded market and stay up."),
        "sandbox-psp": ("gateway.commands.sandbox_psp", "Run the Stripe-compatible sandbox PSP alone."),
        "pki": ("gateway.commands.pki", "Make test certificates for Plug & Charge."),
    },
    "Run it": {
        "serve": (
            "gateway.commands.serve",
            "Run the gateway: capture API, OCPI, Plug & Charge hook.",
        ),
        "work": ("gateway.commands.work", "Run the workers: capture, clearing, disbursement, delivery."),
        "migrate": ("gateway.commands.migrate", "Bring the database's schemas forward."),
        "status": ("gateway.commands.status", "Show what is queued, due and stuck."),
        "ocpi": ("gateway.commands.ocpi", "Connect CPOs; list and replay CDRs that wait."),
    },
    "Check the money": {
        "audit": (
            "gateway.commands.audit",
            "Recompute the proof: captures = postings = payouts + open payables.",
        ),
        "verify": ("gateway.commands.verify", "Prove statements offline, line by line."),
        "price": ("gateway.commands.price", "Price a CDR from its tariff and explain every line."),
        "tariff": ("gateway.commands.tariff", "Read a tariff and say what it charges and when."),
        "reconcile": (
            "gateway.commands.reconcile",
            "Compare books, PSP and bank; the bank's files in and out.",
        ),
        "fx": ("gateway.commands.fx", "Exchange rates in and looked up; positions, executed exchanges."),
        "payouts": ("gateway.commands.payouts", "Show closing days; count due days again."),
        "clearing": (
            "gateway.commands.clearing",
            "Try agreements; write statements and invoices; close the books.",
        ),
    },
}


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are called, and listed by what they are for."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for commands in COMMANDS.values() for name in commands]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for commands in COMMANDS.values():
            if cmd_name in commands:
                return _load(cmd_name, commands[cmd_name][0])
        return None

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group, commands in COMMANDS.items():
            with formatter.section(group):
                formatter.write_dl([(name, about) for name, (_, about) in commands.items()])


@click.group(name="networkcore", cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="networkcore", prog_name="networkcore", message="%(prog)s %(version)s")
def networkcore() -> None:
    """The settlement layer for EV charging: one captured payment per session, cleared and disbursed."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with a status; every failure is one line on standard error."""
    try:
        result = networkcore.main(
            args=list(arguments) if arguments is not None else None,
            prog_name="networkcore",
            standalone_mode=False,
        )
    except click.UsageError as error:
        hint = f"; see {error.ctx.command_path} --help" if error.ctx is not None else ""
        _refuse(f"{error.format_message().rstrip('.')}{hint}")
    except click.ClickException as error:
        _refuse(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        _end("interrupted", STATUS_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away: nothing to say, and nobody to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _refuse(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except (GatewayError, ClearingError, PncError) as error:
        _refuse(str(error))
    except Exception as error:  # noqa: BLE001 - the process boundary
        _bug(error)
    sys.exit(result if isinstance(result, int) else 0)


def _load(name: str, module_name: str) -> click.Command:
    """Return the subcommand `name` of its module.

    Raises:
        ClickException: the module is missing or broken, or has no command of that name.
    """
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if os.environ.get(_TRACEBACK_VARIABLE):
            raise
        raise click.ClickException(f"{name} is not available in this installation: {error}") from None
    for found in vars(module).values():
        if isinstance(found, click.Command) and found.name == name:
            return found
    raise click.ClickException(
        f"{name} is not available in this installation: {module_name} does not define it"
    )


def _refuse(text: str) -> NoReturn:
    _end(text, STATUS_REFUSED)


def _bug(error: Exception) -> NoReturn:
    if os.environ.get(_TRACEBACK_VARIABLE):
        traceback.print_exc()
    about = f"{type(error).__name__}: {error}".rstrip(": ")
    hint = f"{_TRACEBACK_VARIABLE}=1 shows where, networkcore {version('networkcore')}"
    _end(f"this is a bug of ours, please report it: {about} ({hint})", STATUS_BUG)


def _end(text: str, status: int) -> NoReturn:
    click.echo(f"networkcore: {' '.join(text.split())}", err=True)
    sys.exit(status)
