"""The command line: what it lists, and one line and a status for every failure."""

import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg
import click
import pytest

from clearing.connection import Connection
from clearing.reference_data.service import ReferenceDataService
from gateway.cli import main
from gateway.cli.clock import business_now
from gateway.cli.public_id import PublicId
from gateway.cli.tables import show_rows
from gateway.cli.transaction import in_transaction
from gateway.clock import MarketAnchor
from gateway.errors import ConfigurationError
from gateway.ids import format_id
from gateway.partners.market_clock_repository import set_market_clock
from tests.fakes import clearing_fixtures as world

ROOT = Path(__file__).parents[3]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """A subcommand `fail` that raises what the test puts under "error"."""
    held: dict[str, BaseException] = {}

    @click.command(name="fail")
    def fail() -> None:
        raise held["error"]

    module = type(sys)("failing_command")
    module.command = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "failing_command", module)
    monkeypatch.setitem(main.COMMANDS, "Test", {"fail": ("failing_command", "Fail.")})
    monkeypatch.delenv("NETWORKCORE_TRACEBACK", raising=False)
    return held


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main.main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_help_lists_every_command_under_its_purpose_without_importing_any() -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gateway", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for group, commands in main.COMMANDS.items():
        assert f"{group}:" in result.stdout
        assert all(name in result.stdout for name in commands)
    for module in ("gateway.cli.serve", "gateway.application", "asyncpg", "aiohttp", "stripe"):
        assert f" {module}\n" not in result.stderr


def groups() -> list[list[str]]:
    """Each command that has commands of its own."""
    context = main.networkcore.make_context("networkcore", ["--help"], resilient_parsing=True)
    found = [
        (name, main.networkcore.get_command(context, name))
        for name in main.networkcore.list_commands(context)
    ]
    return [[], *([name] for name, one in found if isinstance(one, click.Group))]


@pytest.mark.parametrize("name", groups(), ids="-".join)
def test_a_bare_group_prints_its_help_in_full(name: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*name) == 0
    bare = capsys.readouterr()
    assert run(*name, "--help") == 0
    assert bare.out == capsys.readouterr().out
    assert bare.err == ""
    usage, *lines = bare.out.splitlines()
    assert not [line for line in lines if line.endswith("...")]
    assert usage.startswith(f"Usage: {' '.join(['networkcore', *name])} ")
    assert len(lines) > 5


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (["reconsile"], "; did you mean reconcile?"),
        (["reconcile", "receivable"], "; did you mean receivables?"),
        (["ocpi", "xyz"], ""),
        (["sell"], ""),
    ],
)
def test_an_unknown_command_is_answered_with_a_near_one_or_none(
    arguments: list[str], suggested: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert f"there is no command '{arguments[-1]}'{suggested}; see networkcore" in capsys.readouterr().err


@pytest.mark.parametrize("locale", ["xx", "english", ""])
def test_an_unknown_locale_is_rejected(locale: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["price", "x.json"], ["tariff", "show", "x.json"]):
        assert run(*command, "--locale", locale) == 2
        assert f"{locale!r} is not available; languages are en, de, fr, it" in capsys.readouterr().err


def all_commands() -> dict[str, click.Command]:
    context = main.networkcore.make_context("networkcore", ["--help"], resilient_parsing=True)
    found: dict[str, click.Command] = {}

    def collect(prefix: str, group: click.Group) -> None:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                collect(f"{prefix}{name} ", command)
            else:
                found[f"{prefix}{name}"] = command

    collect("", main.networkcore)
    return found


def test_every_command_that_shows_a_table_can_print_json() -> None:
    # What calls show_rows takes --json by its signature; these lay out tables of their own.
    with_tables = {
        path.stem for path in (ROOT / "gateway/cli").glob("*.py") if "rich.table" in path.read_text()
    }
    assert with_tables == {"tables", "audit", "clearing", "restore_check", "status"}
    commands = all_commands()
    for name in (
        "audit",
        "restore-check",
        "status",
        "clearing simulate",
        "reconcile suspense",
        "fx rates",
        "ocpi queue",
    ):
        assert any("--json" in parameter.opts for parameter in commands[name].params), name


PROCESSES = {"demo", "dev", "pki", "sandbox-contract-pool", "sandbox-psp", "serve", "work"}


def value_for(parameter: click.Parameter, garbage: str) -> str:
    """What passes click's own check where it has one, else garbage."""
    match parameter.type:
        case click.Choice(choices=choices):
            return str(next(iter(choices)))
        case click.types.IntParamType():
            return "5"
        case _:
            return garbage


@pytest.mark.parametrize("garbage", ["x", "-", "2026-13-45", "EUR", "binary"])
@pytest.mark.parametrize("name", sorted(set(all_commands()) - PROCESSES))
def test_bad_input_is_one_line_and_never_a_traceback(
    name: str,
    garbage: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("DATABASE_URL", "NETWORKCORE_DATABASE_URL", "NETWORKCORE_TRACEBACK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\x00")))
    if garbage == "binary":
        (tmp_path / "binary").write_bytes(bytes(range(256)))
        garbage = str(tmp_path / "binary")
    parameters = all_commands()[name].params
    with_value = [one for one in parameters if not (isinstance(one, click.Option) and one.is_flag)]
    required = [one for one in with_value if one.required or isinstance(one, click.Argument)]
    for further in [None, *(one for one in with_value if one not in required)]:
        line = name.split()
        for one in [*required, *([further] if further else [])]:
            value = str(tmp_path / "out") if one.name == "output" else value_for(one, garbage)
            line += [one.opts[0], value] if isinstance(one, click.Option) else [value]
        status = run(*line)
        printed = capsys.readouterr().err
        assert status in {0, 1, 2}, (line, printed)
        assert status != 2 or len(printed.splitlines()) == 1, (line, printed)


def test_every_command_and_option_says_what_it_does() -> None:
    for name, command in all_commands().items():
        assert command.get_short_help_str(1000), name
    for purpose in main.COMMANDS.values():
        assert all(about.endswith(".") for _, about in purpose.values())


def test_rows_are_one_line_each_where_no_terminal_is_attached(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = "reason " * 60
    show_rows([{"id": "x" * 90, "why": long}], title="Rows", none="None.", as_json=False)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "x" * 90 in line]
    assert long.strip() in line


def test_rows_become_one_json_array_and_an_empty_result_is_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {
        "day": date(2026, 11, 1),
        "at": datetime(2026, 11, 1, tzinfo=UTC),
        "rate": Decimal("0.10"),
        "of": ["[x]"],
    }
    show_rows([row], title="Rows", none="None.", as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {"day": "2026-11-01", "at": "2026-11-01T00:00:00+00:00", "rate": "0.10", "of": ["[x]"]}
    ]
    show_rows([row], title="Rows", none="None.", as_json=False)
    assert "[x]" in capsys.readouterr().out  # no markup
    show_rows([], title="Rows", none="No rows are stored.", as_json=False)
    assert capsys.readouterr().out == "No rows are stored.\n"
    show_rows([], title="Rows", none="No rows are stored.", as_json=True)
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ocpi", "peers"], "No peers are registered."),
        (["ocpi", "queue"], "No CDR waits."),
        (["ocpi", "rejected"], "No push was rejected."),
        (["ocpi", "messages"], "No message waits to be sent."),
        (["fx", "rates"], "No exchange rates are stored."),
        (["fx", "positions"], "No FX position was ever opened."),
        (["reconcile", "approvals"], "There are no approval requests."),
        (["reconcile", "suspense"], "There are no suspense items."),
        (["reconcile", "receivables"], "No party owes anything."),
        (["clearing", "document-exceptions"], "Every document could be issued."),
    ],
)
def test_an_empty_result_says_so(
    arguments: list[str],
    said: str,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert run(*arguments) == 0
    assert capsys.readouterr().out == f"{said}\n"
    assert run(*arguments, "--json") == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["ocpi", "peers"],
        ["audit"],
        ["fx", "rates"],
        ["reconcile", "run"],
        ["clearing", "document-exceptions"],
    ],
)
def test_a_database_that_is_not_migrated_is_one_line(
    arguments: list[str],
    empty_database_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    assert run(*arguments) == 2
    assert capsys.readouterr().err == ("networkcore: the database is not migrated; run networkcore migrate\n")


def test_a_command_asks_the_markets_clock_where_one_is_set(
    database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    business_at = datetime(2026, 3, 2, 12, tzinfo=UTC)
    anchor = MarketAnchor(business_at=business_at, anchored_at=datetime(2026, 1, 1, tzinfo=UTC), rate=0)
    monkeypatch.setenv("DATABASE_URL", database_url)
    before = in_transaction(business_now, command="test")
    assert abs(before - datetime.now(UTC)) < timedelta(minutes=1)
    in_transaction(lambda connection: set_market_clock(connection, anchor), command="test")
    assert in_transaction(business_now, command="test") == business_at

    async def register(connection: Connection) -> None:
        await ReferenceDataService().register_party(connection, world.PLATFORM, now=business_at)

    in_transaction(register, command="test")
    assert run("books", "close", "2026-03", "--by", "anna") == 2
    assert "still to come" in capsys.readouterr().err  # a month of the market that is not over


def test_one_module_chooses_the_clock_of_every_command() -> None:
    readers = {
        path.name
        for path in (ROOT / "gateway/cli").glob("*.py")
        if re.search(
            r"SystemClock|MarketClock|market_anchor|datetime\.now|utcnow|date\.today", path.read_text()
        )
    }
    assert readers <= {"clock.py", "status.py"}  # status takes wall time from it, and measures both


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == "networkcore 0.1.0\n"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigurationError("NETWORKCORE_PORT is invalid"), 2, "networkcore: NETWORKCORE_PORT is invalid\n"),
        (
            FileNotFoundError(2, "No such file or directory", "cdr.json"),
            2,
            "networkcore: cdr.json: No such file or directory\n",
        ),
        (click.ClickException("two\nlines"), 2, "networkcore: two lines\n"),
        (click.UsageError("what?"), 2, "networkcore: what?"),
        (KeyboardInterrupt(), 130, "networkcore: interrupted\n"),
        (
            asyncpg.ReadOnlySQLTransactionError("cannot execute UPDATE in a read-only transaction"),
            2,
            "can't do this now: cannot execute UPDATE in a read-only transaction; try again\n",
        ),
        (
            ExceptionGroup("jobs", [asyncpg.DiskFullError("no space"), asyncpg.DiskFullError("no space")]),
            2,
            "can't do this now: no space; try again\n",
        ),
        (asyncpg.UndefinedColumnError("no column x"), 70, "a bug of ours"),
        (
            ExceptionGroup("jobs", [asyncpg.DiskFullError("no space"), KeyError("x")]),
            70,
            "a bug of ours",
        ),
        (
            ZeroDivisionError("division by zero"),
            70,
            "a bug of ours, please report it: ZeroDivisionError: division",
        ),
    ],
)
def test_each_failure_is_one_line_and_its_status(
    failing: dict[str, BaseException],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    said: str,
) -> None:
    failing["error"] = error
    assert run("fail") == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    # click ends the line of ^C before ours.
    assert printed.err.lstrip("\n").count("\n") == 1
    assert "Traceback" not in printed.err


def test_a_command_may_answer_no_with_a_status_of_its_own(failing: dict[str, BaseException]) -> None:
    failing["error"] = SystemExit(1)
    assert run("fail") == 1


def test_a_bug_shows_where_it_is_when_asked(
    failing: dict[str, BaseException], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETWORKCORE_TRACEBACK", "1")
    failing["error"] = KeyError("x")
    assert run("fail") == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("language", [[], ["--language", "de"]])
def test_invoices_are_asked_for_in_the_languages_of_the_guides(
    language: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("NETWORKCORE_DATABASE_URL", raising=False)
    days = ["2026-10-01", "2026-10-31"]
    assert run("clearing", "invoices", *days, "--output", str(tmp_path), *language) == 2
    assert "DATABASE_URL is missing" in capsys.readouterr().err


def test_a_simulation_names_the_file_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "agreement.json"
    wrong.write_text("[]", encoding="utf-8")
    assert run("clearing", "simulate", str(wrong), str(wrong)) == 2
    assert f"{wrong}: agreement $" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nothing"], ["migrate", "--what"], ["--what"]])
def test_a_mistyped_line_points_to_the_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert "see networkcore" in capsys.readouterr().err


def test_a_missing_command_leaves_the_others_usable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NETWORKCORE_TRACEBACK", raising=False)
    monkeypatch.setitem(main.COMMANDS, "Test", {"gone": ("gateway.cli.gone", "Gone.")})
    assert run("gone") == 2
    assert "gone is not available in this installation" in capsys.readouterr().err
    assert run("migrate", "--help") == 0


def test_a_closed_pipe_ends_quietly() -> None:
    command = f"{sys.executable} -m gateway --help | head -n 1"
    result = subprocess.run(["/bin/sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.stderr == ""


def test_migrate_brings_a_database_forward_and_check_says_so(empty_database_url: str) -> None:
    environment = {"PATH": os.defpath, "DATABASE_URL": empty_database_url}

    def migrate(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", "migrate", *options]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    before = migrate("--check")
    assert before.returncode == 1
    assert "pending gateway/0001_" in before.stdout
    applied = migrate()
    assert applied.returncode == 0, applied.stderr
    *pending, summary = before.stdout.splitlines()
    assert applied.stdout.replace("applied", "pending").splitlines() == pending
    assert summary == f"the database is older than this program by {len(pending)} migrations"
    assert migrate("--check").stdout == "the database is the same as this program, nothing pending\n"
    assert migrate().stdout == "nothing to apply\n"


def test_migrate_without_a_database_is_one_line() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gateway", "migrate"],
        cwd=ROOT,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == "networkcore: DATABASE_URL is missing: set it, or NETWORKCORE_DATABASE_URL_FILE\n"


@pytest.mark.parametrize("text", ["rdc_{body}", "{uuid}"])
def test_an_id_is_taken_in_its_public_form_or_as_a_uuid(text: str) -> None:
    identifier = UUID("01fc1cc1-2e6f-7c0d-9a43-9a0c0a1f2b3c")
    written = text.format(body=format_id("rdc", identifier)[4:], uuid=identifier)
    assert PublicId("rdc").convert(written, None, None) == identifier


@pytest.mark.parametrize("text", ["", "rdc_", "ses_01fwhe4ydgfk1shh6w1g60eecf", "x"])
def test_what_is_no_id_is_named(text: str) -> None:
    with pytest.raises(click.BadParameter, match="rdc_"):
        PublicId("rdc").convert(text, None, None)
