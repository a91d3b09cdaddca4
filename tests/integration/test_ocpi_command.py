"""`networkcore ocpi`: what an operator sees of OCPI, and corrects."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.cli.main import networkcore
from gateway.database import connect
from gateway.ids import new_id
from gateway.ocpi.cdrs import keep_cdr, read_cdr
from gateway.ocpi.repository import cdrs, payments
from gateway.ocpi.repository.cdrs import CdrStatus
from gateway.ocpi.request_bodies import read_object
from tests.fakes.ocpi_objects import cdr

AT = datetime(2026, 10, 29, 8, tzinfo=UTC)


async def seed(dsn: str) -> None:
    async with connect(dsn) as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO gateway.party (id, kind, created_at) VALUES ('NL-ABC', 'cpo', now())"
        )
        for name in ("A", "B"):
            raw = json.dumps(cdr(id=name)).encode()
            record = read_cdr(
                read_object(raw, name="CDR"), raw=raw, party="NL-ABC", version=OcpiVersion.V2_2_1
            )
            await keep_cdr(connection, record, now=AT, wall_now=AT)
        await connection.execute("DELETE FROM gateway.task")
        await cdrs.mark_cdr(
            connection, "NL-ABC", "A", status=CdrStatus.UNMATCHED, reason="no session of ours", now=AT
        )
        await payments.add_message(
            connection,
            party_id="NL-ABC",
            module="payments",
            method="POST",
            path="/x",
            object_id=str(new_id()),
            body=b"{}",
            now=AT,
            wall_now=AT,
        )
        await connection.execute(
            "UPDATE gateway.ocpi_outbox SET exception_at = now(), last_error = 'HTTP 500'"
        )


@pytest.fixture
def seeded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DATABASE_URL", database_url)
    asyncio.run(seed(database_url))
    return database_url


def run(*arguments: str) -> Result:
    return CliRunner().invoke(networkcore, ["ocpi", *arguments])


def test_waiting_cdrs_are_shown_with_their_reason_and_replayed(seeded: str) -> None:
    rows = json.loads(run("queue", "--json").stdout)
    assert [(row["cdr"], row["status"], row["reason"]) for row in rows] == [
        ("A", "unmatched", "no session of ours")
    ]
    assert len(json.loads(run("queue", "--all", "--json").stdout)) == 2
    assert (
        "no session of ours" in run("queue").stdout.replace("\n", " ") or "unmatched" in run("queue").stdout
    )
    assert run("replay", "NL-ABC", "A").stdout == "1 to be processed again\n"
    again = run("replay", "NL-ABC", "A")
    assert again.exit_code == 1
    assert "does not wait" in again.output
    assert run("queue").stdout == "No CDR waits.\n"
    assert run("replay", "NL-ABC").stdout == "0 to be processed again\n"


def test_a_party_is_invited_and_an_unknown_one_is_not(seeded: str) -> None:
    token = run("invite", "NL-ABC").stdout.strip()
    assert 32 <= len(token) <= 64
    rejected = run("invite", "NL-NOP")
    assert rejected.exit_code == 1
    assert "no such party" in rejected.output


def test_messages_in_exception_are_shown_and_sent_again(seeded: str) -> None:
    rows = json.loads(run("messages", "--json").stdout)
    assert [(row["exception"], row["last_error"]) for row in rows] == [(True, "HTTP 500")]
    assert run("messages", "--retry").stdout.startswith("1 to be sent again")
    assert json.loads(run("messages", "--json").stdout)[0]["exception"] is False


def test_what_is_not_there_is_said_in_one_line(seeded: str) -> None:
    assert run("peers").stdout == "No peers are registered.\n"
    assert run("rejected").stdout == "No push was rejected.\n"
    for arguments, words in (
        (("pull", "NL-ABC"), "no registered platform"),
        (("check-invoice", "NL-ABC", "R1"), "no invoice record R1"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert words in result.output
