"""The console's documents that could not be issued: shown to the platform, with what to do."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from gateway.database import Pool
from gateway.ids import format_id, new_id, parse_id, shard_of
from tests.fakes.console import HOSTILE, ConsoleOfTest, open_console, paid_session

SINCE = datetime(2026, 9, 1, 10, 0, tzinfo=UTC)
MANY = 103  # more than a page of the file, and than the console's page shows


@pytest.fixture
async def console(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    async with open_console(pool) as opened:
        yield opened


async def _refuse(pool: Pool, session_id: UUID, *, reason: str, since: datetime = SINCE) -> None:
    await pool.execute(
        "INSERT INTO clearing.pending_driver_document (shard, session_id, kind, supplier_id, reason, "
        "first_at, last_at) VALUES ($1, $2, 'capture', 'DE-ABC', $3, $4, $4)",
        shard_of(session_id),
        session_id,
        reason,
        since,
    )


async def test_documents_that_could_not_be_issued_say_why_and_what_to_do(
    console: ConsoleOfTest, pool: Pool
) -> None:
    session = await paid_session(console.api)
    await pool.execute(
        "INSERT INTO clearing.document_exception (supplier_id, customer_id, currency, party_id, "
        "period_start, period_end, reason, first_at, last_at) "
        "VALUES ('DE-ABC', 'platform', 'EUR', 'DE-ABC', $1, $2, $3, $4, $4)",
        date(2026, 8, 1),
        date(2026, 8, 31),
        f"no VAT id {HOSTILE}",
        SINCE,
    )
    await _refuse(pool, parse_id("ses", session), reason="lacks the seller's address")
    platform = await console.signed_in()
    page = (await platform.get("/console/documents")).text
    shown = page[page.index('id="unissued"') :]
    assert "no VAT id &lt;script&gt;" in shown
    assert HOSTILE not in page
    assert "lacks the seller&#39;s address" in shown
    assert f'href="/console/sessions/{session}"' in shown
    assert 'class="market"' in shown  # the session's zone beside the viewer's
    exceptions = (await platform.get("/console/exceptions")).text
    kept = await pool.fetch(
        "SELECT id FROM gateway.exception WHERE kind IN ('document_exception', 'pending_driver_documents')"
    )
    assert len(kept) == 2
    for one in kept:
        address = f'href="/console/exceptions/{format_id("exc", one["id"])}"'
        assert address in exceptions
        assert address in shown
    assert shown.count("Complete the data") >= 2  # what to do, of each
    for who in ({"party": "DE-ABC", "role": "administrator"}, {"party": "parking", "role": "viewer"}):
        party = await console.signed_in(**who)
        theirs = await party.get("/console/documents")
        assert theirs.status == 200
        assert "no VAT id" not in theirs.text
        assert session not in theirs.text
        assert (await party.get("/console/documents?format=csv&list=unissued")).status == 404


async def test_the_file_of_unissued_documents_has_them_all(console: ConsoleOfTest, pool: Pool) -> None:
    session = await paid_session(console.api)
    await _refuse(pool, parse_id("ses", session), reason="lacks the address")
    for place in range(MANY - 1):
        await _refuse(pool, new_id(), reason=f"lacks {place}", since=SINCE + timedelta(seconds=place // 2))
    platform = await console.signed_in()
    assert (await platform.get("/console/documents")).text.count("lacks ") == 100
    text = (await platform.get("/console/documents?format=csv&list=unissued")).content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["reason"] for row in rows} == {
        "lacks the address",
        *(f"lacks {one}" for one in range(MANY - 1)),
    }
    assert len(rows) == MANY
    assert {row["kind"] for row in rows} == {"pending_driver_documents"}
    assert all(row["exception"].startswith("exc_") and row["next_step"] for row in rows)


async def test_payments_show_the_market_s_time_and_lead_to_their_session(console: ConsoleOfTest) -> None:
    session = await paid_session(console.api)
    visitor = await console.signed_in()
    shown = (await visitor.get("/console/payments")).text
    assert 'class="market"' in shown
    start = shown.index('href="/console/objects/auth_') + len('href="')
    found = await visitor.get(shown[start : shown.index('"', start)])
    assert found.headers["Location"] == f"/console/sessions/{session}#payment"
