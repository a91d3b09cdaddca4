"""The command line: what it lists, and one line and a status for every failure."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gateway import cli
from gateway.errors import ConfigurationError

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
    monkeypatch.setitem(cli.COMMANDS, "Test", {"fail": ("failing_command", "Fail.")})
    monkeypatch.delenv("NETWORKCORE_TRACEBACK", raising=False)
    return held


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_help_lists_every_command_under_its_purpose_without_importing_any() -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gateway", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for group, commands in cli.COMMANDS.items():
        assert f"{group}:" in result.stdout
        assert all(name in result.stdout for name in commands)
    for room in ("gateway.commands.serve", "gateway.app", "asyncpg", "aiohttp", "stripe"):
        assert f" {room}\n" not in result.stderr


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == "networkcore 0.1.0\n"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigurationError("NETWORKCORE_PORT is wrong"), 2, "networkcore: NETWORKCORE_PORT is wrong\n"),
        (
            FileNotFoundError(2, "No such file or directory", "cdr.json"),
            2,
            "networkcore: cdr.json: No such file or directory\n",
        ),
        (click.ClickException("two\nlines"), 2, "networkcore: two lines\n"),
        (click.UsageError("what?"), 2, "networkcore: what?"),
        (KeyboardInterrupt(), 130, "networkcore: interrupted\n"),
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


def test_a_missing_room_leaves_the_others_usable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NETWORKCORE_TRACEBACK", raising=False)
    monkeypatch.setitem(cli.COMMANDS, "Test", {"gone": ("gateway.commands.gone", "Gone.")})
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
    assert applied.stdout.replace("applied", "pending") == before.stdout
    assert migrate("--check").stdout == "nothing pending\n"
    assert migrate().stdout == "nothing to apply\n"


def test_migrate_without_a_database_is_one_line() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gateway", "migrate"],
        cwd=ROOT, env={"PATH": os.defpath}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr == "networkcore: DATABASE_URL is missing: set it, or NETWORKCORE_DATABASE_URL_FILE\n"
