"""What the whole audit and the daily one both check is one rule: a view, or a text that may not differ."""

import re
from pathlib import Path

import pytest

from gateway.database import Pool

ROOT = Path(__file__).parents[2]
WHOLE = ROOT / "gateway" / "sql" / "audit.sql"
DAILY = ROOT / "gateway" / "sql" / "daily_audit.sql"


def statement(path: Path, name: str) -> str:
    """A named statement without its comments, its white space made one."""
    text = path.read_text(encoding="utf-8").split(f"-- name: {name}\n", 1)[1].split("\n-- name:", 1)[0]
    return " ".join(re.sub(r"--.*", "", text).split())


def names(path: Path) -> list[str]:
    return re.findall(r"-- name: (\w+)", path.read_text(encoding="utf-8"))


async def test_each_check_of_sessions_is_a_view_that_both_audits_read(pool: Pool) -> None:
    views = {
        row["viewname"]
        for row in await pool.fetch("SELECT viewname FROM pg_views WHERE schemaname = 'gateway'")
        if row["viewname"].startswith("check_")
    }
    assert len(views) == 5
    for view in views:
        name = view.removeprefix("check_")
        assert statement(WHOLE, name).removesuffix(f"{view};") == "SELECT shard, session_id FROM gateway."
        assert f"JOIN gateway.{view} AS c ON c.shard = asked.shard AND c.session_id = asked.id" in statement(
            DAILY, name
        )


def without_page(text: str) -> str:
    """The daily statement about all sessions: its page of sessions, and what it is asked for, left out."""
    text = re.sub(r"asked AS \( SELECT shard, id FROM unnest\([^)]*\) AS page \(shard, id\) \), ", "", text)
    text = re.sub(
        r"FROM asked JOIN (\S+) AS (\w) ON \2\.shard = asked\.shard AND \2\.session_id = asked\.id",
        r"FROM \1 AS \2",
        text,
    )
    text = re.sub(r"SELECT (\w)\.session_id, ", r"SELECT \1.", text).replace("SELECT c.c.", "SELECT c.")
    return re.sub(r"SELECT (\w)\.\1\.", r"SELECT \1.", text)


def movements(path: Path, name: str) -> str:
    """The movements that a statement sums: what it says of open corrections, and its parts."""
    text = without_page(statement(path, name))
    text = re.sub(r"SELECT (?:t\.)?shard, (?:t\.)?payload", "SELECT shard, payload", text)
    text = (
        text.replace("t.payload", "payload")
        .replace("t.kind", "kind")
        .replace("gateway.task AS t", "gateway.task")
    )
    return text.partition(" SELECT currency, sum(")[0].partition(" SELECT session_id, currency, sum(")[0]


def test_what_is_cleared_is_summed_by_one_rule_in_both() -> None:
    whole, daily = movements(WHOLE, "cleared_totals"), movements(DAILY, "cleared_of")
    assert whole == daily
    assert whole.count("UNION ALL") == 4
    assert "asked" not in daily


@pytest.mark.parametrize("part", ["request", "part"])
def test_amounts_under_way_are_counted_by_one_rule_in_both(part: str) -> None:
    def found(path: Path) -> str:
        text = statement(path, "under_way")
        return text.split(f"{part} AS (", 1)[1].split(" ), ", 1)[0].split(" ) SELECT ", 1)[0]

    def parts(text: str) -> list[str]:  # the daily audit has uncleared amounts and their fees in one part
        return [one for one in text.split(" UNION ALL ") if "FROM uncleared" not in one]

    assert parts(found(WHOLE)) == parts(found(DAILY))
    assert len(parts(found(WHOLE))) in {1, 4}


def test_no_check_stands_in_one_file_alone() -> None:
    only_whole = {
        "account_differences",
        "cleared_totals",
        "psp_totals",
        "open_work",
    }
    only_daily = {
        "sessions_in_shard",
        "open_sessions",
        "cleared_of",
        "accounts_of_share",
    }
    assert set(names(WHOLE)) - set(names(DAILY)) == only_whole
    assert set(names(DAILY)) - set(names(WHOLE)) == only_daily
