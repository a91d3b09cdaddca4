"""The console's ledger: balances at an instant, hash heads, the journal as a file, and an account's page."""

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from clearing.daily_audit import repository as audit_repository
from clearing.daily_audit.checkpoint import ChainPosition, CheckpointContent, seal
from clearing.ledger.hash_chain import GENESIS
from gateway.console.figures import money
from gateway.console.texts import catalogue
from gateway.console.views import ledger
from gateway.database import Pool
from tests.fakes.console import ConsoleOfTest, Visitor, disputed, open_console, paid_session

ACCOUNT = "psp:stripe:receivable"
SUMS = """
SELECT account, currency, sum(minor)::bigint AS minor FROM (
    SELECT t.debit_account AS account, t.currency, -t.amount_minor AS minor, e.booked_at
    FROM clearing.transfer AS t JOIN clearing.entry AS e USING (shard, subject_id, kind, reference)
    UNION ALL
    SELECT t.credit_account, t.currency, t.amount_minor, e.booked_at
    FROM clearing.transfer AS t JOIN clearing.entry AS e USING (shard, subject_id, kind, reference)
) AS moved WHERE booked_at <= $1 GROUP BY account, currency"""


@pytest.fixture
async def console(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    async with open_console(pool) as opened:
        yield opened


async def rows_of(visitor: Visitor, path: str) -> list[dict[str, str]]:
    answer = await visitor.get(path)
    assert answer.status == 200, answer.text[:300]
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


async def local(pool: Pool, at: datetime) -> str:
    """An instant as the page's form sends it: in the zone of the platform's books."""
    zone = await pool.fetchval("SELECT time_zone FROM clearing.party WHERE kind = 'platform'")
    return f"{at.astimezone(ZoneInfo(zone)):%Y-%m-%dT%H:%M:%S}"


async def sums(pool: Pool, at: datetime) -> dict[tuple[str, str], int]:
    return {(one["account"], one["currency"]): one["minor"] for one in await pool.fetch(SUMS, at)}


def address(account: str = ACCOUNT, **query: str) -> str:
    asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    return f"/console/ledger/accounts/{quote(account)}?{asked}"


async def instants(pool: Pool) -> tuple[datetime, datetime, datetime]:
    """Before the capture was booked, after it and before its payout, and after everything."""
    captured = await pool.fetchval("SELECT booked_at FROM clearing.entry WHERE kind = 'capture'")
    last = await pool.fetchval("SELECT max(booked_at) FROM clearing.batch")
    second = timedelta(seconds=1)
    return captured - second, captured + second, last


async def test_balances_at_an_instant_are_the_sums_of_what_was_booked(
    console: ConsoleOfTest, pool: Pool
) -> None:
    await paid_session(console.api)
    visitor = await console.signed_in()
    before, after, last = await instants(pool)
    assert await sums(pool, before) != await sums(pool, after) != await sums(pool, last)
    console.api.clock.at += timedelta(minutes=1)
    for at in (before, after, last + timedelta(seconds=1)):
        chosen = await local(pool, at)
        expected = await sums(pool, at)
        rows = await rows_of(visitor, f"/console/ledger?format=csv&list=balances&at={chosen}")
        assert {(row["account"], row["currency"]): int(row["balance_minor"]) for row in rows} == expected
        shown = (await visitor.get(f"/console/ledger?at={chosen}")).text
        for (account, currency), minor in expected.items():
            line = re.search(
                rf"accounts/{quote(account, safe='')}\?currency={currency}.*?</tr>", shown, re.DOTALL
            )
            assert line is not None, account
            assert money(minor, currency, "en") in line[0], account
        page = await visitor.get(address(at=chosen))
        assert money(expected.get((ACCOUNT, "EUR"), 0), "EUR", "en") in page.text
    rows = await rows_of(visitor, "/console/ledger?format=csv&list=balances")  # now
    assert {(row["account"], row["currency"]): int(row["balance_minor"]) for row in rows} == await sums(
        pool, last
    )


async def test_accounts_are_listed_by_pages(
    console: ConsoleOfTest, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await paid_session(console.api)
    monkeypatch.setattr(ledger, "_ACCOUNTS", 2)
    visitor = await console.signed_in()
    found, path = [], "/console/ledger"
    while path:
        shown = (await visitor.get(path)).text
        section = shown[shown.index('id="balances"') : shown.index('id="heads"')]
        found += re.findall(
            r"<tr><th scope=\"row\"><a href=\"[^\"]*\"><code class=\"break\">([^<]+)<", section
        )
        following = re.search(r'href="([^"]*cursor=[^"]+)" rel="next"', section)
        path = following[1].replace("&amp;", "&") if following else ""
    _, _, last = await instants(pool)
    assert found == sorted(account for account, _ in await sums(pool, last))
    assert (await visitor.get("/console/ledger?cursor=x")).status == 400


async def transfers(pool: Pool, account: str) -> list[tuple[Any, ...]]:
    """Of one account, newest first: instant, kind, other account, signed amount."""
    found = await pool.fetch(
        "SELECT e.booked_at, t.* FROM clearing.transfer AS t "
        "JOIN clearing.entry AS e USING (shard, subject_id, kind, reference) "
        "WHERE $1 IN (t.debit_account, t.credit_account) ORDER BY e.booked_at DESC",
        account,
    )
    return [
        (
            one["booked_at"],
            one["kind"],
            one["credit_account"] if one["debit_account"] == account else one["debit_account"],
            one["amount_minor"] if one["credit_account"] == account else -one["amount_minor"],
        )
        for one in found
    ]


@pytest.mark.parametrize("account", [ACCOUNT, "session:transit"])
async def test_an_accounts_transfers_are_a_page_and_a_whole_file(
    console: ConsoleOfTest, pool: Pool, monkeypatch: pytest.MonkeyPatch, account: str
) -> None:
    session = await paid_session(console.api)
    await disputed(console.api, session)
    monkeypatch.setattr(ledger, "_PAGE", 2)
    monkeypatch.setattr(ledger, "_FILE_PAGE", 1)
    booked = await transfers(pool, account)
    assert len(booked) > 3
    visitor = await console.signed_in()
    rows = await rows_of(visitor, address(account, format="csv"))
    listed = [
        (
            datetime.fromisoformat(row["booked_at"]),
            row["kind"],
            row["other_account"],
            int(row["amount_minor"]),
        )
        for row in rows
    ]
    assert sorted(listed) == sorted(booked)
    assert [one[0] for one in listed] == [one[0] for one in booked]
    shown, path = [], address(account)
    while path:
        page = (await visitor.get(path)).text
        section = page[page.index('id="transfers"') :]
        lines = re.findall(r'<tr><th scope="row"><time datetime="([^"]+)".*?</tr>', section, re.DOTALL)
        assert 0 < len(lines) <= 2
        shown += [datetime.fromisoformat(one) for one in lines]
        following = re.search(r'href="([^"]*cursor=[^"]+)" rel="next"', section)
        path = following[1].replace("&amp;", "&") if following else ""
    assert shown == [one[0] for one in listed]
    whole = (await visitor.get(address(account))).text
    of_capture = (await visitor.get(address("session:transit"))).text
    assert f"/console/sessions/{session}" in of_capture + whole
    before, after, _ = await instants(pool)
    until = await rows_of(visitor, address(account, format="csv", at=await local(pool, after)))
    assert len(until) == sum(one[0] <= after for one in booked)
    assert await rows_of(visitor, address(account, format="csv", at=await local(pool, before))) == []
    assert (await visitor.get(address(account, cursor="x~y"))).status == 400
    unknown = rows[0]["batch"][:-12] + "0" * 12
    wrong = f"{unknown}~{unknown}~capture~0~"
    assert (await visitor.get(address(account, cursor=wrong))).status == 400


async def test_a_payouts_transfer_leads_to_the_payout(console: ConsoleOfTest) -> None:
    await paid_session(console.api)
    visitor = await console.signed_in()
    page = (await visitor.get(address("cpo:DE-ABC:payable"))).text
    assert '<h1 class="break">cpo:DE-ABC:payable</h1>' in page
    section = page[page.index('id="transfers"') :]
    amounts = re.findall(r'class="amount total"[^>]*><span>([^<]+)<', section)
    assert amounts == [money(-1047, "EUR", "en"), money(1047, "EUR", "en")]  # paid out, and owed before
    others = re.findall(r'<code class="break">([^<]+)</code>', section)
    assert others == ["psp:stripe:receivable", "session:transit"]
    payouts = (await visitor.get("/console/payouts")).text
    linked = set(re.findall(r"/console/payouts/dis_\w+", page))
    assert linked
    assert linked <= set(re.findall(r"/console/payouts/dis_\w+", payouts))


async def test_the_hash_head_is_the_last_batch_and_the_checkpoint_says_what_is_proved(
    console: ConsoleOfTest, pool: Pool
) -> None:
    await paid_session(console.api)
    visitor = await console.signed_in()
    shown = (await visitor.get("/console/ledger")).text
    assert catalogue()["ledger.no_checkpoint"]["en"] in shown
    heads = await pool.fetch(
        "SELECT DISTINCT ON (chain) chain, position, hash, booked_at FROM clearing.batch "
        "ORDER BY chain, position DESC"
    )
    assert heads
    section = shown[shown.index('id="heads"') : shown.index('id="export"')]
    assert section.count('data-copy="') == len(heads)
    for one in heads:
        assert f'data-copy="{one["hash"].hex()}"' in section
        assert one["booked_at"].isoformat() in section
        assert f"<span>{one['position']}</span>" in section
    proved = {heads[0]["chain"]: ChainPosition(position=1, hash=heads[0]["hash"])}
    content = CheckpointContent(shares=64, chains=proved).to_text()
    sealed = seal(
        content,
        sequence=1,
        sealed_at=console.api.services.clock.wall_now(),
        shares=64,
        previous_hash=GENESIS,
    )
    async with pool.acquire() as connection:
        await audit_repository.insert_checkpoint(connection, sealed, content)
    shown = (await visitor.get("/console/ledger")).text
    assert f'data-copy="{sealed.hash.hex()}"' in shown
    assert sealed.sealed_at.isoformat() in shown
    assert catalogue()["ledger.no_checkpoint"]["en"] not in shown


async def test_the_journal_is_the_file_of_the_api(console: ConsoleOfTest, pool: Pool) -> None:
    await paid_session(console.api)
    visitor = await console.signed_in()
    _, _, last = await instants(pool)
    month = f"{last:%Y-%m}"
    for form in ("csv", "json", "saft"):
        mine = await visitor.get(f"/console/ledger?format=csv&list=journal&period={month}&form={form}")
        assert mine.status == 200
        api = await console.api.call("GET", f"/v1/books/journal?period={month}&format={form}", party="admin")
        assert mine.headers["Content-Disposition"] == api.headers["Content-Disposition"]
        assert mine.headers["X-Journal-Transfers"] == api.headers["X-Journal-Transfers"] != "0"
        if form != "saft":  # its header has the instant at which it was made
            assert mine.content == api.content
    wrong = await visitor.get("/console/ledger?format=csv&list=journal&period=2026")
    assert wrong.status == 400
    assert (await visitor.get(f"/console/ledger?format=csv&list=journal&period={month}&form=x")).status == 400


async def test_a_wrong_time_is_given_back_with_what_is_expected(console: ConsoleOfTest) -> None:
    await paid_session(console.api)
    visitor = await console.signed_in()
    for path in ("/console/ledger?", address()):
        for wrong, key in (
            ("yesterday", "ledger.at_expected"),
            ("2026-10-01", "ledger.at_expected"),
            ("2026-03-29T02:30:00", "ledger.at_expected"),  # clocks skip it
            ("2026-10-01T12:00:00Z", "ledger.at_expected"),
            ("2999-01-01T00:00:00", "ledger.at_future"),
        ):
            answer = await visitor.get(f"{path}&at={wrong}")
            assert answer.status == 400, wrong
            begin = catalogue()[key]["en"].partition("{")[0]
            assert begin in answer.text, wrong
            assert f'value="{wrong}"' in answer.text
            assert (await visitor.get(f"{path}&format=csv&at={wrong}")).status == 400


async def test_an_unknown_account_is_not_found_and_a_party_sees_none(console: ConsoleOfTest) -> None:
    await paid_session(console.api)
    visitor = await console.signed_in()
    assert (await visitor.get(address())).status == 200
    for unknown in ("psp:stripe", "cpo:XX:payable", "cpo:DE-ABC:payable2"):
        assert (await visitor.get(address(unknown))).status == 404
        assert (await visitor.get(address(unknown, format="csv"))).status == 404
    for who in ({"party": "DE-ABC", "role": "administrator"}, {"party": "parking", "role": "finance"}):
        theirs = await console.signed_in(**who)
        for account in (ACCOUNT, "cpo:DE-ABC:payable", "cpo:XX:payable"):
            for path in (address(account), address(account, format="csv")):
                answer = await theirs.get(path)
                assert answer.status == 403, path
                assert "11.90" not in answer.text
