"""The command `networkcore`: finds the subcommand, and turns every failure into one line and an exit status.

Owns the list of subcommands and the exit statuses. Must not know what a subcommand does; each is imported
only when it is called, so that one broken command leaves the others usable.

Exit statuses: 0 done; 1 the answer is no (a proof that fails, something pending); 2 bad input, a bad
setting or something unreachable; 70 a bug; 130 interrupted. Each failure is reported in one line.
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
from gateway.cli.command_group import CommandGroup
from gateway.errors import GatewayError
from pnc.errors import PncError
from sandbox.errors import SandboxError

STATUS_NO: Final = 1
STATUS_REJECTED: Final = 2
STATUS_BUG: Final = 70
STATUS_INTERRUPTED: Final = 130
_HELP_WIDTH: Final = 120  # at most; a narrower terminal wraps earlier
_TRACEBACK_VARIABLE: Final = "NETWORKCORE_TRACEBACK"

# Group -> subcommand -> (module, what it does in a few words).
COMMANDS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "Try it": {
        "demo": ("gateway.cli.demo", "Simulate one market day on embedded PostgreSQL and the sandbox PSP."),
        "dev": ("gateway.cli.dev", "Run the whole stack with a prepared market until it is stopped."),
        "sandbox-contract-pool": (
            "gateway.cli.sandbox_contract_pool",
            "Run the stand-in for a contract certificate pool alone.",
        ),
        "sandbox-psp": ("gateway.cli.sandbox_psp", "Run the Stripe-compatible sandbox PSP alone."),
        "listen": (
            "gateway.cli.listen",
            "Forward a party's events to a program on this machine, signed as webhooks are.",
        ),
        "trigger": (
            "gateway.cli.trigger",
            "Make an event happen at a sandbox, by the calls that lead to it.",
        ),
        "pki": ("gateway.cli.pki", "Create test certificates for Plug & Charge."),
    },
    "Run it": {
        "serve": ("gateway.cli.serve", "Run the gateway: capture API, OCPI, Plug & Charge."),
        "work": ("gateway.cli.work", "Run the workers: capture, clearing, disbursement, delivery."),
        "migrate": ("gateway.cli.migrate", "Migrate the database."),
        "distribute": (
            "gateway.cli.distribute",
            "Distribute the database over several machines with Citus; check what it would scatter.",
        ),
        "status": ("gateway.cli.status", "Show queues, overdue work and exceptions."),
        "exceptions": (
            "gateway.cli.exceptions",
            "List, show, assign and resolve what waits for a person.",
        ),
        "people": ("gateway.cli.people", "Let people sign in to the console; end their access."),
        "retention": (
            "gateway.cli.retention",
            "Show what personal data are kept, until when, and what is due to be removed.",
        ),
        "erase": ("gateway.cli.erase", "Find and erase the personal data of a driver."),
        "personal-data": (
            "gateway.cli.personal_data",
            "Export the personal data of a driver; list erasures.",
        ),
        "acts": ("gateway.cli.acts", "Show who changed what, when, and at whose request."),
        "secrets": ("gateway.cli.secrets", "Seal stored secrets with the first key."),
        "contract-pool": (
            "gateway.cli.contract_pool",
            "Show contract pool feeds and their events; send an event as a pool does.",
        ),
        "restore-check": (
            "gateway.cli.restore_check",
            "After a restore: bring back what the PSP, banks and partners saw since.",
        ),
        "qr": ("gateway.cli.qr", "Draw the QR code of an EVSE's driver page."),
        "psp": ("gateway.cli.psp", "Check the account at the payment service provider; create its webhooks."),
        "ocpi": (
            "gateway.cli.ocpi",
            "Connect CPOs; show and replay unmatched CDRs, rejected and unsent messages.",
        ),
    },
    "Check the money": {
        "audit": (
            "gateway.cli.audit",
            "Recompute the books and compare them with captures and the PSP.",
        ),
        "trace": (
            "gateway.cli.trace",
            "Show one session from its meter to the bank's line; verify it offline.",
        ),
        "verify": ("gateway.cli.verify", "Verify statements offline, line by line."),
        "meter": (
            "gateway.cli.meter",
            "Verify signed meter data offline; register keys of meters.",
        ),
        "price": ("gateway.cli.price", "Price a CDR from its tariff and explain every line."),
        "tariff": ("gateway.cli.tariff", "Check a tariff, show its prices, quote a session."),
        "reconcile": (
            "gateway.cli.reconcile",
            "Compare books, PSP and bank; import and write bank files; resolve differences.",
        ),
        "books": (
            "gateway.cli.books",
            "Export the general ledger, show VAT figures and balances, close a period.",
        ),
        "fx": (
            "gateway.cli.fx",
            "Import and show exchange rates; show positions, record executed exchanges.",
        ),
        "payouts": (
            "gateway.cli.payouts",
            "Record parties' checks; show closing days; reschedule due dates.",
        ),
        "clearing": (
            "gateway.cli.clearing",
            "Try agreements; issue documents, write statements, close periods.",
        ),
    },
}


class LazyGroup(CommandGroup):
    """The commands by purpose; each is imported when it is called."""

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


@click.group(
    name="networkcore",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _HELP_WIDTH},
)
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
        _reject(f"{error.format_message().rstrip('.')}{hint}")
    except click.ClickException as error:
        _reject(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        _end("interrupted", STATUS_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone: nothing can be reported to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _reject(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except (GatewayError, ClearingError, PncError, SandboxError) as error:
        _reject(str(error))
    except Exception as error:  # noqa: BLE001 - the process boundary
        if (outage := _outage_of(error)) is not None:
            _reject(f"the database can't do this now: {outage}; try again")
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


def _reject(text: str) -> NoReturn:
    _end(text, STATUS_REJECTED)


def _outage_of(error: Exception) -> str | None:
    """What the database says of trouble of its own that passes: read-only, full, shutting down; else None."""
    from asyncpg import PostgresError  # noqa: PLC0415 - commands without a database start without it

    from gateway.failure_log import first_cause, is_transient  # noqa: PLC0415 - likewise

    cause = first_cause(error)
    return str(cause) if is_transient(error) and isinstance(cause, PostgresError) else None


def _bug(error: Exception) -> NoReturn:
    if os.environ.get(_TRACEBACK_VARIABLE):
        traceback.print_exc()
    about = f"{type(error).__name__}: {error}".rstrip(": ")
    hint = f"{_TRACEBACK_VARIABLE}=1 shows where, networkcore {version('networkcore')}"
    _end(f"this is a bug of ours, please report it: {about} ({hint})", STATUS_BUG)


def _end(text: str, status: int) -> NoReturn:
    click.echo(f"networkcore: {' '.join(text.split())}", err=True)
    sys.exit(status)
