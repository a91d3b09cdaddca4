"""The books over HTTP: the platform's alone, proved, and closed by two people while something stands open."""

import csv
import io
from collections.abc import AsyncIterator

import pytest

from gateway.database import Pool
from tests.fakes.api import Api, open_api
from tests.fakes.parties import create_market
from tests.integration.test_api_disbursements import settle


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        await create_market(opened)
        await settle(opened)
        yield opened


async def test_journal_trial_balance_vat_and_balances_say_the_same(api: Api) -> None:
    period = f"{api.clock.now():%Y-%m}"
    answer = await api.call("GET", f"/v1/books/journal?period={period}", party="admin")
    assert answer.status == 200, answer.text
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert int(answer.headers["X-Journal-Transfers"]) == len(rows) > 0
    trial = (await api.call("GET", f"/v1/books/trial-balance?period={period}", party="admin")).json["data"]
    assert sum(one["debit"] for one in trial) == sum(one["credit"] for one in trial)
    moved = {one["path"]: one["closing"] for one in trial}
    listed = (await api.call("GET", "/v1/books/balances", party="admin")).json["data"]
    balances = {one["account"]: one["balance"] for one in listed}
    assert balances["cpo:DE-ABC:payable"] == moved["cpo:DE-ABC:payable"] > 0
    vat = (await api.call("GET", f"/v1/books/vat-return?period={period}", party="admin")).json
    assert not vat["oss_enabled"]
    assert all(one["difference"] == 0 for one in vat["proof"])
    for table, key in (("trial-balance", "path"), ("vat-return", "table")):
        path = f"/v1/books/{table}?period={period}&format=csv&dialect=de"
        german = await api.call("GET", path, party="admin")
        assert german.status == 200, german.text
        assert german.headers["Content-Type"].startswith("text/csv")
        assert german.text.startswith("\ufeff")
        lines = list(csv.DictReader(io.StringIO(german.text.removeprefix("\ufeff")), delimiter=";"))
        assert lines
        assert all(line[key] for line in lines)
    assert len(lines) == sum(len(vat[name]) for name in ("figures", "sales_list", "oss", "proof"))
    (output,) = [one for one in vat["figures"] if one["side"] == "output"]
    assert output["tax"] == moved["vat:DE:output"]


async def test_the_books_are_the_platforms_alone_and_bad_input_says_what_is_wrong(api: Api) -> None:
    for path in (
        "journal?period=2026-10",
        "trial-balance?period=2026-10",
        "balances",
        "vat-return?period=2026-10",
    ):
        assert (await api.call("GET", f"/v1/books/{path}", party="DE-ABC")).status == 403
    wrong = await api.call("GET", "/v1/books/journal?period=2026-10-05/2026-10-01", party="admin")
    assert (wrong.status, "lies before" in wrong.text) == (400, True), wrong.text
    unmapped = await api.call("GET", "/v1/books/journal?period=2026-10&format=datev", party="admin")
    assert (unmapped.status, "adviser" in unmapped.text) == (400, True), unmapped.text


async def test_a_month_is_closed_when_it_has_ended(api: Api) -> None:
    period = f"{api.clock.now():%Y-%m}"
    check = (await api.call("GET", f"/v1/books/closing-check?period={period}", party="admin")).json
    assert not check["closed"]
    early = await api.call("POST", "/v1/books/close", {"period": period}, party="admin")
    assert early.status == 409, early.text
    ended = await api.call("POST", "/v1/books/close", {"period": "2020-01"}, party="admin")
    assert (ended.status, ended.json["closed"], ended.json["points"]) == (200, True, []), ended.text
