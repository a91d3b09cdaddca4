"""Figures on pages, to the cent and to the count, against rows that the test made."""

import html
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.audit_run_repository import AuditRun, record_run
from gateway.console.texts import catalogue
from gateway.database import Pool, transaction
from gateway.ids import new_id, parse_id, shard_of
from tests.fakes.api import Api, cdr
from tests.fakes.console import ConsoleOfTest, Visitor, clear, open_console, paid_session
from tests.fakes.console_everything import stop_task
from tests.fakes.console_operators import READ_TO, URL, add_operator, add_traffic

SPACE = "\u00a0"
NOTHING = "\u2013"


@pytest.fixture
async def console(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    async with open_console(pool) as opened:
        yield opened


async def page_of(visitor: Visitor, path: str) -> str:
    answer = await visitor.get(path)
    assert answer.status == 200, f"{path}: {answer.text[:300]}"
    return html.unescape(answer.text).replace(SPACE, " ")


async def figures(visitor: Visitor, path: str = "/console") -> dict[str, list[str]]:
    """The values of a page's figures by their label."""
    found = re.findall(
        r'figure"><p class="label">(.*?)</p>(.*?)</div>', await page_of(visitor, path), re.DOTALL
    )
    return {
        label: [
            re.sub(r"<[^>]+>", "", value).strip()
            for value in re.findall(r'"value">(.*?)</p>', part, re.DOTALL)
        ]
        for label, part in found
    }


async def charge(api: Api, *, key: str, kwh: str, **changes: Any) -> str:
    """A session that is authorized and completed now."""
    begun = await api.authorize(key=key, **changes)
    assert begun.status == 201, begun.text
    today = f"{api.clock.now():%Y-%m-%d}"
    body = json.loads(cdr(kwh=kwh, cdr_id=f"C-{key}").decode().replace("2026-10-29", today))
    session = str(begun.json["session"])
    ended = await api.call("POST", f"/v1/sessions/{session}/complete", {"cdr": body}, key=f"c-{key}")
    assert ended.json["capture"]["state"] == "succeeded", ended.text
    return session


async def declined(api: Api, key: str) -> None:
    payment = {"type": "psp_payment_method", "payment_method": "pm_declined"}
    assert (await api.authorize(key=key, payment=payment)).status == 402


async def test_the_first_page_shows_what_was_captured_declined_refunded_and_earned(
    console: ConsoleOfTest,
) -> None:
    api = console.api
    first = await paid_session(api)  # 11.90 EUR, seven days ago
    await charge(api, key="b", kwh="10")  # 5.95 EUR
    for number in range(3):
        await declined(api, f"d{number}")
    body = {"session": first, "amount": 150, "reason": "duplicate"}
    assert (await api.call("POST", "/v1/refunds", body, party="admin", key="r")).status == 201
    await clear(api)
    await clear(api)
    await stop_task(api.services.pool, first)
    sums = await api.services.pool.fetch(
        "SELECT captured_at::date AS day, sum(amount_minor) AS minor FROM gateway.capture "
        "GROUP BY 1 ORDER BY 1"
    )
    assert [row["minor"] for row in sums] == [1190, 595]
    common = {"Declined": ["3"], "Refunded": ["1.50 EUR"]}
    platform = await console.signed_in(role="viewer")
    # 19 % VAT is in each price; the platform keeps 4 % of the net, the partner 8 %, the operator the rest.
    for who, today, month in (
        ("parking", {"Share earned": ["0.40 EUR"]}, {"Share earned": ["1.20 EUR"]}),
        ("DE-ABC", {"Share earned": ["5.24 EUR"]}, {"Share earned": ["15.71 EUR"]}),
    ):
        payout = {"Next payout": today["Share earned"]}  # what was earned seven days ago is paid
        visitor = await console.signed_in(party=who, role="viewer")
        shown = await figures(visitor)
        assert shown == {"Captured": ["5.95 EUR"]} | today | common | payout, who
        assert await figures(visitor, "/console?range=month") == (
            {"Captured": ["17.85 EUR"]} | month | common | payout
        ), who
        paid = {"Captured": ["11.90 EUR"], "Declined": ["0"], "Refunded": [NOTHING]}
        earlier = await figures(visitor, "/console?range=today&day=2026-10-29")
        assert {name: earlier[name] for name in paid} == paid, who
    others = await figures(await console.signed_in(party="superapp", role="viewer"))
    assert others == {
        "Captured": [NOTHING],
        "Share earned": [NOTHING],
        "Declined": ["0"],
        "Refunded": [NOTHING],
        "Next payout": [NOTHING],
    }
    waiting = {"Next payout": ["5.64 EUR"], "Open exceptions": ["1"]}
    assert await figures(platform) == {"Captured": ["5.95 EUR"]} | common | waiting
    whole = await figures(platform, "/console?range=month")
    assert whole == {"Captured": ["17.85 EUR"]} | common | waiting
    page = await page_of(platform, "/console?range=month")
    assert "3 insufficient funds" in page.lower()
    assert "9 Nov 2026" in page, "the day of the next payout"
    assert "2 payments" in page


async def test_operations_show_what_stands_and_waits(console: ConsoleOfTest, pool: Pool) -> None:
    api = console.api
    session = await paid_session(api)
    await charge(api, key="b", kwh="10")
    await declined(api, "d1")
    held = await api.authorize(key="running")
    await pool.execute(
        "UPDATE gateway.psp_request SET state = 'unknown', finished_at = NULL, "
        "next_attempt_at = $2::timestamptz, "
        "created_at = $2::timestamptz - interval '25 minutes', attempts = 4 WHERE session_id = $1",
        parse_id("ses", held.json["session"]),
        api.clock.wall_now(),
    )
    await stop_task(pool, session)
    now = api.clock.wall_now()
    shard = shard_of(parse_id("ses", session))
    await pool.execute("DELETE FROM gateway.task WHERE exception_at IS NULL")
    await pool.execute(
        "INSERT INTO gateway.task (shard, id, kind, session_id, run_at) "
        "VALUES ($1, $2, 'clear_session', $3, $4)",
        shard,
        new_id(shard=shard),
        parse_id("ses", session),
        now - timedelta(minutes=12),
    )
    worker = new_id()
    until = now + timedelta(minutes=1)
    await pool.execute("INSERT INTO gateway.worker VALUES ($1, 'worker-7', $2, $3)", worker, now, until)
    await pool.execute(
        "UPDATE gateway.shard_lease SET owner = $1, until = $2 WHERE shard < 40", worker, until
    )
    async with transaction(pool) as connection:
        run = AuditRun(finished_at=now, result="differs", checks=["captures_equal_postings", "psp_captured"])
        await record_run(connection, run)
    visitor = await console.signed_in(role="viewer")
    shown = await figures(visitor, "/console/operations")
    assert {name: shown[name] for name in list(shown)[:5]} == {
        "Circuit to the PSP": ["answers"],
        "Unknown outcomes": ["1"],
        "Captured in the last hour": ["1"],
        "Failed in the last hour": ["1"],
        "Sessions in exception": ["0"],
    }
    page = await page_of(visitor, "/console/operations")
    rows = [
        [re.sub(r"<[^>]+>", " ", one).split() for one in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)
    ]
    flat = [" ".join(" ".join(one) for one in row) for row in rows]
    assert any(re.fullmatch(r"clear a session 1 1 12 min 0", row) for row in flat), flat
    assert any(re.fullmatch(r"capture 0 0 0 s 1", row) for row in flat), flat
    assert "worker-7 40" in flat, flat
    assert "24 without an owner" in page
    amount = f"{held.json['amount'] / 100:.2f} EUR"
    (unknown,) = [row for row in flat if amount in row]
    assert unknown.endswith(f"{amount} 25 min 4")
    assert f"/console/sessions/{held.json['session']}" in page
    minute = api.clock.now().strftime("%H:%M")
    assert f"<title>{minute}: 1</title>" in page, "the minute of the capture"
    for key in ("audit_check.captures_equal_postings", "audit_check.psp_captured", "audit.differs"):
        assert catalogue()[key]["en"] in page
    api.psp.circuit_closed = False
    after = await figures(visitor, "/console/operations")
    assert after["Circuit to the PSP"] == ["open: calls are held back"]


MATCHES = (
    ("state=cleared", "state=active", "a"),
    ("evse_id=DE*ABC*E1", "evse_id=DE*ABC*E2", "ab"),
    ("amount_min=11.90&amount_max=11.90&currency=EUR", "amount_min=11.91&currency=EUR", "a"),
    ("amount_max=5.95&currency=EUR", "amount_max=5.94&currency=EUR", "b"),
    ("from=2026-11-05&to=2026-11-05", "from=2026-11-06", "b"),
    ("to=2026-10-29", "to=2026-10-28", "a"),
    ("decline_code=insufficient_funds", "decline_code=expired_card", "d"),
    ("metadata=order:7", "metadata=order:8", "b"),
    ("session_ref=R-7", "session_ref=R-8", "b"),
)
PAYMENTS = (
    ("state=captured", "state=voided", "ab"),
    ("method=card", "method=plug_and_charge", "abd"),
    ("evse_id=DE*ABC*E1", "evse_id=DE*ABC*E2", "abd"),
    ("from=2026-11-05&to=2026-11-05", "from=2026-11-06", "bd"),
    ("to=2026-10-29", "to=2026-10-28", "a"),
    ("decline_code=insufficient_funds", "decline_code=expired_card", "d"),
    ("metadata=order:7", "metadata=order:8", "b"),
    ("state=failed&decline_code=insufficient_funds", "state=captured&decline_code=insufficient_funds", "d"),
)


async def test_each_filter_finds_what_it_says_and_nothing_else(console: ConsoleOfTest) -> None:
    api = console.api
    names = {await paid_session(api): "a"}
    names[await charge(api, key="b", kwh="10", metadata={"order": "7"}, session_ref="R-7")] = "b"
    await declined(api, "d")
    visitor = await console.signed_in(role="viewer")
    listed = r'<th scope="row">.*?/console/sessions/(ses_\w+)"'

    async def found(path: str) -> str:
        page = await page_of(visitor, path)
        return "".join(sorted(names.get(one, "d") for one in re.findall(listed, page, re.DOTALL)))

    assert await found("/console/payments") == "abd"
    for path, filters in (("/console/sessions", MATCHES), ("/console/payments", PAYMENTS)):
        for match, other, wanted in filters:
            shown = await found(f"{path}?{match}")
            assert shown.replace("d", "") == wanted.replace("d", ""), f"{path}?{match}"
            assert ("d" in shown) is ("d" in wanted) or path == "/console/sessions", f"{path}?{match}"
            assert await found(f"{path}?{other}") == "", f"{path}?{other}"
    most = (await api.call("GET", "/v1/authorizations?limit=100", party="admin")).json["data"]
    held = {one["amount"] for one in most}
    (amount,) = held
    text = f"{amount / 100:.2f}"
    assert await found(f"/console/payments?amount_min={text}&amount_max={text}&currency=EUR") == "abd"
    assert await found(f"/console/payments?amount_min={(amount + 1) / 100:.2f}&currency=EUR") == ""


async def test_a_connection_shows_modules_lists_and_messages(console: ConsoleOfTest, pool: Pool) -> None:
    await paid_session(console.api)
    name = await add_operator(pool)
    await add_traffic(pool, name)
    path = f"/console/operators/connections/{name}"
    for who in ({"role": "viewer"}, {"party": "DE-ABC", "role": "viewer"}):
        visitor = await console.signed_in(**who)
        page = await page_of(visitor, path)
        plain = " ".join(re.sub(r"<[^>]+>", " ", page).split())
        matrix = re.search(r'class="matrix".*?</table>', page, re.DOTALL)
        assert matrix is not None
        offered = [
            (module, len(re.findall(r"<td><span class=\"badge good\"", cells)), NOTHING in cells)
            for module, cells in re.findall(
                r'<th scope="row"><code>(\w+)</code></th>(.*?)</tr>', matrix[0], re.DOTALL
            )
        ]
        assert offered == [(one, 1, True) for one in ("locations", "tariffs", "tokens", "aheadofus")]
        assert f'title="{URL}/tokens"' in matrix[0]
        assert "41 / 42" in plain, "objects seen in the list of locations"
        assert "failing 1\u00d7 HTTP 503 from the operator" in plain
        assert READ_TO.strftime("%H:%M:%S") in plain
        pushes = re.findall(r"PUT tokens( stopped)? token-(\d) (\d) (.*?) 29 Oct", plain)
        assert pushes == [
            ("", "0", "0", NOTHING),
            ("", "1", "1", "OCPI 2001: unknown token"),
            (" stopped", "2", "2", "HTTP 404"),
        ]
        rejected = await page_of(visitor, "/console/operators/rejected?party=DE-ABC")
        assert "OCPI 2001" in rejected
        assert "2.2.1, pushed" in " ".join(re.sub(r"<[^>]+>", " ", rejected).split())
    other = await console.signed_in(party="superapp", role="administrator")
    assert (await other.get(path)).status == 404
