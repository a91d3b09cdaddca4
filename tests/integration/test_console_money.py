"""The console's pages of money: filters, saved views, holds, the workbench and its evidence, files."""

import csv
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import FormData

from gateway.api.routes import endpoints
from gateway.console import csv_lists
from gateway.database import Pool
from tests.fakes.api import Api
from tests.fakes.console import ConsoleOfTest, Visitor, open_console, paid_session
from tests.integration.test_resolutions import LATER, Counter, line

PDF = b"%PDF-1.7 a letter of the PSP"


@pytest.fixture
async def console(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    async with open_console(pool) as opened:
        yield opened


async def listed(visitor: Visitor, path: str) -> list[str]:
    answer = await visitor.get(path)
    assert answer.status == 200, answer.text[:500]
    return re.findall(r"<tr>.*?/console/sessions/(ses_\w+)\"", answer.text, re.DOTALL)


async def rows_of(visitor: Visitor, path: str) -> list[dict[str, str]]:
    answer = await visitor.get(path)
    assert answer.status == 200, f"{path}: {answer.text[:300]}"
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    text = answer.content.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


async def declined(api: Api) -> None:
    payment = {"type": "psp_payment_method", "payment_method": "pm_declined"}
    assert (await api.authorize(key="declined", payment=payment)).status == 402


async def test_sessions_and_payments_are_found_by_amount_code_and_metadata(console: ConsoleOfTest) -> None:
    paid = await paid_session(console.api)  # 11.90 EUR
    begun = await console.api.authorize(key="a2", metadata={"order": "7"}, session_ref="R-7")
    await declined(console.api)
    visitor = await console.signed_in()
    base = "/console/sessions"
    assert await listed(visitor, f"{base}?amount_min=11.90&amount_max=11,90&currency=eur") == [paid]
    assert await listed(visitor, f"{base}?amount_min=11.91&currency=EUR") == []
    assert await listed(visitor, f"{base}?metadata=order:7") == [begun.json["session"]]
    assert await listed(visitor, f"{base}?session_ref=R-7") == [begun.json["session"]]
    (lost,) = await listed(visitor, f"{base}?decline_code=insufficient_funds")
    assert await listed(visitor, "/console/payments?decline_code=insufficient_funds") == [lost]
    assert await listed(visitor, "/console/payments?state=failed&method=card") == [lost]
    assert await listed(visitor, "/console/payments?metadata=order:7") == [begun.json["session"]]
    held = begun.json["amount"]
    both = await console.api.call("GET", f"/v1/authorizations?amount_min={held}&amount_max={held}")
    assert lost in {one["session"] for one in both.json["data"]}
    none = await console.api.call("GET", f"/v1/authorizations?amount_min={held + 1}&currency=EUR")
    assert none.json["data"] == []
    unclear = await visitor.get(f"{base}?amount_min=5")
    assert (unclear.status, "currency" in unclear.text) == (400, True)
    wrong = await visitor.get(f"{base}?amount_min=1.234,5&currency=EUR")
    assert (wrong.status, "expected an amount in EUR" in wrong.text) == (400, True)
    # A CPO finds nothing by the metadata of a demand partner.
    cpo = await console.api.call("GET", "/v1/sessions?metadata=order:7", party="DE-ABC")
    assert cpo.json["data"] == []


async def test_a_view_is_saved_shared_in_the_party_and_deleted_by_its_person(console: ConsoleOfTest) -> None:
    await paid_session(console.api)
    anna = await console.signed_in(role="viewer")
    ben = await console.signed_in(role="finance", name="Ben")
    other = await console.signed_in(party="parking", role="administrator")
    form = {"list": "sessions", "filters": "state=cleared&amount_min=5&currency=EUR&evil=1", "name": "Paid"}
    saved = await anna.post("/console/saved-views", form)
    assert saved.headers["Location"].endswith("notice=done")
    page = (await anna.get("/console/sessions")).text
    address = "/console/sessions?state=cleared&amp;amount_min=5&amp;currency=EUR"
    assert address in page
    assert "evil" not in page
    view = re.findall(r"/console/saved-views/(svw_\w+)", page)
    assert len(view) == 1
    assert address not in (await ben.get("/console/sessions")).text
    await anna.post("/console/saved-views", form | {"shared": "yes"})  # the same name: the same view
    assert address in (await ben.get("/console/sessions")).text
    assert address not in (await other.get("/console/sessions")).text
    refused = await ben.post(f"/console/saved-views/{view[0]}", {"list": "sessions"})
    assert "no+such+view" in refused.headers["Location"]
    nothing = await anna.post("/console/saved-views", {"list": "sessions", "filters": "", "name": "x"})
    assert "rejected" in nothing.headers["Location"]
    assert (await anna.post("/console/saved-views", {"list": "nowhere", "name": "x"})).status == 404
    gone = await anna.post(f"/console/saved-views/{view[0]}", {"list": "sessions"})
    assert gone.headers["Location"].endswith("notice=done")
    assert address not in (await ben.get("/console/sessions")).text


async def test_finance_holds_a_partys_payouts_with_a_reason_and_lifts_it(console: ConsoleOfTest) -> None:
    await paid_session(console.api)
    path = "/console/payouts?party=DE-ABC"
    finance = await console.signed_in(role="finance")
    form = {"reason": "court order 12/26", "back": path}
    placed = await finance.post("/console/parties/DE-ABC/payout-holds", form)
    assert placed.headers["Location"] == f"{path}&notice=done"
    shown = (await finance.get(path)).text
    assert "court order 12/26" in shown
    lift = re.findall(r"/console/parties/DE-ABC/payout-holds/\w+/lift", shown)
    own = await console.signed_in(party="DE-ABC", role="finance")
    text = (await own.get("/console/payouts")).text
    assert "court order 12/26" in text  # the party reads the reason, and has no form
    assert "/lift" not in text
    assert "rejected" in (await own.post(lift[0])).headers["Location"]
    viewer = await console.signed_in(role="viewer")
    assert "/lift" not in (await viewer.get(path)).text
    assert "rejected" in (await viewer.post(lift[0])).headers["Location"]
    elsewhere = await finance.post(lift[0], {"back": "https://evil.example/"})
    assert elsewhere.headers["Location"].startswith("/console/payouts?party=DE-ABC")
    assert "court order 12/26" not in (await finance.get(path)).text
    unreasoned = await finance.post("/console/parties/DE-ABC/payout-holds", {"reason": " "})
    assert "rejected" in unreasoned.headers["Location"]


@asynccontextmanager
async def with_difference(pool: Pool) -> AsyncIterator[tuple[ConsoleOfTest, str]]:
    """A console whose PSP reports 200.00 EUR that nobody knows: the difference's page."""
    counter = Counter(pool)
    await counter.open()
    await counter.psp(line("t1", "adjustment", "adj_1", 20_000))
    await counter.run()
    async with open_console(pool) as console:
        console.api.clock.at = LATER
        shown = await console.api.call("GET", "/v1/reconciliation/differences", party="admin")
        (one,) = shown.json["data"]
        yield console, f"/console/reconciliation/{one['id']}"


async def attach(visitor: Visitor, page: str, name: str, content: bytes) -> str:
    form = FormData()
    form.add_field("csrf", await visitor.csrf())
    form.add_field("file", content, filename=name, content_type="text/html")
    response = await visitor.session.post(f"{visitor.base}{page}/evidence", data=form, allow_redirects=False)
    return response.headers.get("Location", str(response.status))


async def test_one_person_proposes_another_approves_and_the_decision_is_listed(pool: Pool) -> None:
    async with with_difference(pool) as (console, page):
        anna = await console.signed_in(role="finance")
        ben = await console.signed_in(role="finance", name="Ben")
        bench = (await anna.get("/console/reconciliation")).text
        assert page in bench
        assert "200.00" in bench  # the PSP's side
        form = {"resolution": "suspense", "reason": "nobody knows yet"}
        made = await anna.post(f"{page}/propose", form)
        assert made.headers["Location"] == f"{page}?notice=done"
        request = re.findall(r"/console/approvals/(rdc_\w+)/reject", (await anna.get(page)).text)[0]
        assert f"{request}/approve" not in (await anna.get(page)).text  # not by whoever proposed it
        alone = await anna.post(f"/console/approvals/{request}/approve", {"back": page})
        assert "rejected" in alone.headers["Location"]
        assert f"{request}/approve" in (await ben.get("/console/reconciliation")).text
        done = await ben.post(f"/console/approvals/{request}/approve", {"back": page})
        assert done.headers["Location"] == f"{page}?notice=done"
        text = (await ben.get(page)).text
        assert "Anna Keller" in text
        assert "Ben" in text
        assert "/propose" not in text  # it is resolved
        bench = (await ben.get("/console/reconciliation")).text
        assert "nobody knows yet" in bench[bench.index('id="decided"') :]
        assert page in bench[bench.index('id="decided"') :]  # the request names its difference
        suspense = re.findall(r"/console/suspense/(rdc_\w+)/clear", bench)
        cleared = await anna.post(
            f"/console/suspense/{suspense[0]}/clear", {"resolution": "write_off", "reason": "small"}
        )
        assert cleared.headers["Location"].endswith("notice=done")
        decided = await rows_of(anna, "/console/reconciliation?format=csv&list=decided")
        assert ("booked", "suspense") in {(row["state"], row["resolution"]) for row in decided}


async def test_evidence_is_checked_kept_with_its_hash_and_only_downloaded(pool: Pool) -> None:
    async with with_difference(pool) as (console, page):
        anna = await console.signed_in(role="finance")
        assert (await attach(anna, page, "../../letter of PSP.exe", PDF)).endswith("notice=done")
        assert (await attach(anna, page, "again.pdf", PDF)).endswith("notice=done")  # the very same: once
        assert "unknown+type" in await attach(anna, page, "page.html", b"\x00<script>")
        assert await attach(anna, page, "big.txt", b"x" * 800_000) == "413"
        noted = await anna.post(f"{page}/evidence", {"reference": "file 12/26"})
        assert noted.headers["Location"].endswith("notice=done")
        neither = await anna.post(f"{page}/evidence", {})
        assert "rejected" in neither.headers["Location"]
        text = (await anna.get(page)).text
        assert "file 12/26" in text
        (address,) = re.findall(r"/console/evidence/rev_\w+", text)
        viewer = await console.signed_in(role="viewer")
        file = await viewer.get(address)
        assert (file.status, file.content) == (200, PDF)
        assert file.headers["Content-Type"] == "application/pdf"
        assert file.headers["Content-Disposition"].startswith('attachment; filename="')
        assert file.headers["Content-Disposition"].endswith('.pdf"')
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        assert "/evidence" not in re.findall(r'action="([^"]+)"', (await viewer.get(page)).text)
        assert "rejected" in (await viewer.post(f"{page}/evidence", {"reference": "x"})).headers["Location"]
        other = await console.signed_in(party="parking", role="administrator")
        for path in (page, address, "/console/reconciliation"):
            assert (await other.get(path)).status in {403, 404}


FILES = (
    "/console/sessions",
    "/console/payments",
    "/console/payouts",
    "/console/payouts?list=calendar",
    "/console/payouts?list=forecast",
    "/console/exceptions",
    "/console/events",
    "/console/approvals",
    "/console/reconciliation",
    "/console/reconciliation?list=suspense",
    "/console/reconciliation?list=receivables",
    "/console/reconciliation?list=decided",
    "/console/ledger?period=2026-10",
    "/console/ledger?period=2026-10&list=trial",
    "/console/ledger?period=2026-10&list=closing",
    "/console/ledger?period=2026-10&list=vat",
    "/console/documents",
    "/console/parties",
    "/console/people",
    "/console/people?list=acts",
    "/console/webhooks",
)
FILLED = {"sessions", "payments", "payouts", "events", "ledger", "parties", "people", "webhooks"}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


async def test_every_list_is_a_file_with_its_filters_and_zones(
    console: ConsoleOfTest,
) -> None:
    session = await paid_session(console.api)
    visitor = await console.signed_in()
    payout = re.findall(r"/console/payouts/dis_\w+", (await visitor.get("/console/payouts")).text)[0]
    hook = re.findall(r"/console/webhooks/whe_\w+", (await visitor.get("/console/webhooks")).text)[0]
    for path in (*FILES, payout, hook):
        rows = await rows_of(visitor, f"{path}{'&' if '?' in path else '?'}format=csv")
        if path.partition("?")[0].rpartition("/")[2] in FILLED and "list=" not in path:
            assert rows, path
        for row in rows:
            for name, value in row.items():
                if name in {"created", "since", "acted_at", "paid_at"} and "T" in value:
                    assert _INSTANT.fullmatch(value), f"{path} {name}: {value}"
                assert not value.startswith(("=", "+", "@")), f"{path} {name}: {value}"
    assert await rows_of(visitor, "/console/sessions?format=csv&state=exception") == []
    (one,) = await rows_of(visitor, "/console/sessions?format=csv&state=cleared")
    assert (one["id"], one["price_minor"], one["captured_minor"]) == (session, "1190", "1190")
    events = await rows_of(visitor, "/console/events?format=csv&type=capture.succeeded")
    assert {row["type"] for row in events} == {"capture.succeeded"}
    viewer = await console.signed_in(party="parking", role="viewer")
    assert (await viewer.get("/console/people?format=csv")).status == 403
    assert (await viewer.get("/console/ledger?format=csv")).status == 403


async def test_a_file_is_longer_than_a_page_and_no_cell_is_a_formula(console: ConsoleOfTest) -> None:
    for number in range(103):
        made = await console.api.authorize(key=f"k{number}", session_ref=f"=HYPERLINK({number})")
        assert made.status == 201, made.text
    visitor = await console.signed_in(party="parking", role="viewer")
    rows = await rows_of(visitor, "/console/sessions?format=csv")
    assert len({row["id"] for row in rows}) == 103
    assert all(row["session_ref"].startswith("'=HYPERLINK(") for row in rows)


async def test_forecast_stands_beside_what_was_paid(console: ConsoleOfTest, pool: Pool) -> None:
    await paid_session(console.api)
    day = console.api.clock.now().date()
    await pool.execute(
        "INSERT INTO clearing.forecast_run (forecast_on, ran_at) VALUES ($1::date - 1, now())", day
    )
    paid = await console.api.call("GET", "/v1/disbursements?party=DE-ABC", party="admin")
    due = paid.json["data"][0]["due_date"]
    await pool.execute(
        "INSERT INTO clearing.forecast_snapshot (forecast_on, party_id, currency, pay_on, days_ahead, "
        "amount_minor) VALUES ($1::date - 1, 'DE-ABC', 'EUR', $2::text::date, 1, 500)",
        day,
        due,
    )
    found = await console.api.call("GET", "/v1/forecast/days?party=DE-ABC", party="admin")
    (line_of_day,) = [one for one in found.json["data"] if one["day"] == due]
    actual = paid.json["data"][0]["amount"]
    assert (line_of_day["actual"], line_of_day["difference"]) == (
        actual,
        actual - (line_of_day["forecast"] or 0),
    )
    own = await console.api.call("GET", "/v1/forecast/days?party=DE-ABC")
    assert {one["party"] for one in own.json["data"]} <= {"parking"}
    page = await (await console.signed_in()).get("/console/payouts")
    assert "Forecast and actual" in page.text


def test_every_column_of_a_file_is_a_member_of_what_the_api_answers() -> None:
    operations: dict[str, Any] = {one.operation: one for one in endpoints(sandbox=True)}
    for name, one in vars(csv_lists).items():
        if not isinstance(one, csv_lists.CsvList):
            continue
        endpoint = operations[one.operation]
        schema: Any = endpoint.answers[200]
        for place in one.place if one.place != ("data",) else ():
            schema = schema.model_fields[place].annotation.__args__[0]
        for column in one.columns:
            member = (column.partition("=")[2] or column).partition(".")[0]
            known = {*schema.model_fields, *schema.model_computed_fields}
            assert member in known, f"{name}: {column}"
        takes_limit = endpoint.query is not None and "limit" in endpoint.query.model_fields
        assert bool(one.limit) == takes_limit, name
