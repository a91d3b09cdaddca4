"""Events are written in one shape: rows of `event_rows`, inserted with the object's change and deliveries."""

import re
from pathlib import Path

SQL = Path(__file__).parents[3] / "gateway/sql"
SHAPE = re.compile(
    r"""INSERT INTO gateway\.event \(
\s+shard, id, party_id, type, object_id, data, data_of, created_at, traceparent, fanned_out\)
\s+SELECT (?P<shard>e\.shard|:shard::smallint), e\.id, e\.party_id, e\.type, e\.object_id, e\.data, """
    r"""e\.data_of, :now::timestamptz, e\.traceparent,
\s+NOT EXISTS \(SELECT 1 FROM gateway\.webhook_endpoint AS w
\s+WHERE w\.party_id = e\.party_id AND w\.state <> 'deleted' AND w\.filter IS NOT NULL\)
\s+FROM (?:\w+, )?jsonb_to_recordset\(:events::jsonb\)
\s+AS e \((?:shard smallint, )?id uuid, party_id text, type text, object_id text, data jsonb, """
    r"""data_of uuid, traceparent text\)(?:
\s+WHERE [^\n]+)?
\s+RETURNING (?:shard, )?id, party_id, type, object_id, fanned_out
\), handed_out AS \(
\s+INSERT INTO gateway\.delivery \(shard, endpoint_id, event_id, object_id, state\)
\s+SELECT (?P=shard), w\.id, e\.id, e\.object_id, 'pending'
\s+FROM published AS e
\s+JOIN gateway\.webhook_endpoint AS w ON w\.party_id = e\.party_id AND w\.state <> 'deleted'
\s+WHERE e\.fanned_out AND w\.event_types && ARRAY\['\*', e\.type\]
"""
)


def test_every_statement_that_writes_events_has_the_one_shape() -> None:
    for path in sorted(SQL.glob("*.sql")):
        for statement in re.split(r"^-- name: ", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            name = statement.partition("\n")[0]
            inserts = statement.count("INSERT INTO gateway.event (")
            if inserts and name != "insert_test_event!":  # goes to one endpoint, without fan-out
                assert len(list(SHAPE.finditer(statement))) == inserts, f"{path.name}: {name}"


def test_no_module_writes_events_by_itself() -> None:
    root = SQL.parents[1]
    for folder in ("gateway", "clearing", "pnc"):
        for path in (root / folder).rglob("*.py"):
            assert "INSERT INTO gateway.event" not in path.read_text(encoding="utf-8"), path
