"""Events are written in one shape: rows of `event_rows`, inserted with the change of the object."""

import re
from pathlib import Path

SQL = Path(__file__).parents[3] / "gateway/sql"
SHAPE = re.compile(
    r"INSERT INTO gateway\.event \(shard, id, party_id, type, object_id, data, created_at, traceparent\)\s+"
    r"SELECT (?:e|:?\w+)(?:\.shard|::smallint), e\.id, e\.party_id, e\.type, e\.object_id, e\.data, "
    r":now::timestamptz, e\.traceparent\s+"
    r"FROM (?:\w+, )?jsonb_to_recordset\(:events::jsonb\)\s+"
    r"AS e \((?:shard smallint, )?id uuid, party_id text, type text, object_id text, data jsonb, "
    r"traceparent text\)"
)


def test_every_statement_that_writes_events_has_the_one_shape() -> None:
    for path in sorted(SQL.glob("*.sql")):
        for statement in re.split(r"^-- name: ", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            name = statement.partition("\n")[0]
            inserts = statement.count("INSERT INTO gateway.event ")
            if inserts and name != "insert_test_event!":  # goes to one endpoint, without fan-out
                assert len(SHAPE.findall(statement)) == inserts, f"{path.name}: {name}"


def test_no_module_writes_events_by_itself() -> None:
    root = SQL.parents[1]
    for folder in ("gateway", "clearing", "pnc"):
        for path in (root / folder).rglob("*.py"):
            assert "INSERT INTO gateway.event" not in path.read_text(encoding="utf-8"), path
