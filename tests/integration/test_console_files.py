"""Files are whole, however long: what an API lists by pages is followed to its end."""

import csv
import io
import re
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.api.routes import endpoints
from gateway.console import csv_lists
from gateway.console.views import operations
from gateway.console.views.routes import PAGES
from gateway.database import Pool
from tests.fakes.console import Visitor, open_console
from tests.fakes.console_everything import console_with_everything

SUSPENSE = 2_103  # more than two pages of the API's longest


async def rows_of(visitor: Visitor, path: str) -> list[dict[str, str]]:
    answer = await visitor.get(path)
    assert answer.status == 200, answer.text[:300]
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


async def add_suspense(pool: Pool, count: int) -> None:
    """As many suspense items as that, many of one day, the last one cleared."""
    await pool.execute(
        "INSERT INTO clearing.approval_request (id, resolution, state, subject, pair, reference, currency, "
        "amount_minor, entries, reason, requires_approval, proposed_by, proposed_at, decided_by, decided_at) "
        "SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'suspense', 'booked', "
        "'difference', 'bank_psp', n::text, 'EUR', 100, '[]', 'unknown', false, 'anna', now(), 'anna', now() "
        "FROM generate_series(1, $1::int + 1) AS n",
        count,
    )
    await pool.execute(
        "INSERT INTO clearing.suspense_item "
        "(id, currency, amount_minor, remaining_minor, since, owner, detail) "
        "SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'EUR', 100, "
        "CASE WHEN n > $1::int THEN 0 ELSE 100 END, date '2026-10-01' - n % 3, 'finance', n::text "
        "FROM generate_series(1, $1::int + 1) AS n",
        count,
    )


async def test_every_suspense_item_is_in_the_file_once_and_the_oldest_first(pool: Pool) -> None:
    await add_suspense(pool, SUSPENSE)
    async with open_console(pool) as console:
        visitor = await console.signed_in()
        rows = await rows_of(visitor, "/console/reconciliation?format=csv&list=suspense")
        assert sorted(int(row["detail"]) for row in rows) == list(range(1, SUSPENSE + 1))
        assert [row["since"] for row in rows] == sorted(row["since"] for row in rows)
        first = await console.api.call("GET", "/v1/reconciliation/suspense?limit=2", party="admin")
        cursor = first.json["next_cursor"]
        assert (first.json["has_more"], cursor) == (True, first.json["data"][1]["id"])
        await pool.execute(  # what the cursor names is cleared before the next page is asked for
            "UPDATE clearing.suspense_item SET remaining_minor = 0 WHERE detail = $1",
            first.json["data"][1]["detail"],
        )
        second = await console.api.call(
            "GET", f"/v1/reconciliation/suspense?limit=2&cursor={cursor}", party="admin"
        )
        assert [one["detail"] for one in second.json["data"]] == [row["detail"] for row in rows[2:4]]
        wrong = await console.api.call("GET", "/v1/reconciliation/suspense?cursor=ses_1", party="admin")
        assert (wrong.status, wrong.json["code"]) == (400, "invalid_parameters")


async def test_every_unknown_outcome_is_in_the_file(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "FILE_PAGE", 2)
    async with open_console(pool) as console:
        begun = [await console.api.authorize(key=f"k{number}") for number in range(7)]
        sessions = {one.json["session"] for one in begun}
        await pool.execute(
            "UPDATE gateway.psp_request SET state = 'unknown', finished_at = NULL, next_attempt_at = now(), "
            "created_at = CASE WHEN attempts >= 0 THEN timestamptz '2026-10-29 10:00Z' END"
        )
        visitor = await console.signed_in()
        rows = await rows_of(visitor, "/console/operations?format=csv")
        assert len(rows) == len(sessions)
        assert {row["session"] for row in rows} == sessions


# A page without a list; every other page of the registry that names no object is a list, and so a file.
NO_LIST: Final = {
    "/console": "figures, and the first of /console/sessions",
    "/console/flow": "a chart of the journal, which is a file of its own",
}
OF_A_PARTY: Final = {"/console/operators/meter-keys": "party=DE-ABC&", "/console/keys": "party=parking&"}
NOTHING_YET: Final = {  # lists that the console of the test leaves empty: a header alone
    "/console/approvals",
    "/console/reconciliation",
    "/console/documents",
    "/console/operations",
}


async def test_every_list_in_the_registry_of_pages_is_a_file_with_its_rows(pool: Pool) -> None:
    async with console_with_everything(pool) as console:
        visitor = await console.signed_in()
        for path in (path for path in PAGES if "{" not in path):
            address = f"{path}?{OF_A_PARTY.get(path, '')}"
            shown = await visitor.get(address)
            if path in NO_LIST:
                assert "format=csv" not in shown.text, path
                continue
            assert "format=csv" in shown.text, f"{path} has no link to its file"
            rows = await rows_of(visitor, f"{address}format=csv")
            assert bool(rows) is (path not in NOTHING_YET), path
            listed = re.search(r'class="list[ "].*?</table>', shown.text, re.DOTALL)
            assert listed is not None or path in NOTHING_YET, path


def test_every_list_with_pages_has_a_link_to_its_file() -> None:
    templates = Path(__file__).parents[2] / "gateway" / "console" / "templates"
    with_pages = [one for one in templates.glob("*.html") if "parts.pages(" in one.read_text("utf-8")]
    assert len(with_pages) > 10
    for one in with_pages:
        assert re.search(r"format='csv'|format=csv|\b(op|pc)\.csv\(\)", one.read_text("utf-8")), one.name


def test_no_list_that_is_a_file_is_cut() -> None:
    operation: dict[str, Any] = {one.operation: one for one in endpoints(sandbox=True)}
    lists = {name: one for name, one in vars(csv_lists).items() if isinstance(one, csv_lists.CsvList)}
    assert lists
    for name, one in lists.items():
        query = operation[one.operation].query
        if query is not None and "limit" in query.model_fields:
            assert "cursor" in query.model_fields, f"{name} ends at its limit"
