"""The retention reads what is due by an index, however many rows are kept."""

import json
import re
from typing import Any

import pytest

from gateway.database import Connection, Pool, named_queries
from tests.integration.test_one_shard import PLAN_OF

# Each rule with the table whose rows it looks for.
TABLES = {
    "apply_idempotency_key": "idempotency_key",
    "apply_recent_authorization": "recent_authorization",
    "apply_event": "event",
    "apply_psp_event": "psp_event",
    "apply_delivery_attempt": "delivery_attempt",
    "apply_request_log": "request_log",
    "apply_session": "session",
    "apply_payment_authorization": "payment_authorization",
    "apply_refund": "refund",
    "apply_dispute": "dispute",
    "apply_payment_method": "payment_method",
    "apply_payment_method_setup": "payment_method_setup",
    "apply_ocpi_session": "ocpi_session",
    "apply_ocpi_command": "ocpi_command",
    "apply_ocpi_token_authorization": "ocpi_token_authorization",
    "apply_ocpi_token": "ocpi_token",
    "apply_ocpi_rejected_push": "ocpi_rejected_push",
    "apply_ocpi_booking": "ocpi_booking",
    "apply_receipt_link": "receipt_link",
    "apply_invoice_link": "invoice_link",
    "apply_driver_payment": "driver_payment",
    "apply_exception": "exception",
    "sessions_to_blot": "session",
    "cdrs_to_blot": "ocpi_cdr",
}
# Found by a BRIN index: on an empty table the planner takes any other, so their age is measured elsewhere.
BY_BLOCKS = {"event", "psp_event", "delivery_attempt"}
_SQL: Any = named_queries("gateway", "retention.sql")


def test_every_rule_is_looked_at() -> None:
    named = {name for name in _SQL.available_queries if re.match(r"apply_|.*_to_blot$", name)}
    assert {name for name in named if not name.endswith("_cursor")} - {"statements_to_blot"} == set(TABLES)


async def plan_of(connection: Connection, name: str) -> dict[str, Any]:
    await connection.execute(PLAN_OF)
    await connection.execute("SET enable_seqscan = off")  # of an empty table PostgreSQL would read the page
    shown = await connection.fetchval("SELECT public.plan_of($1)", getattr(_SQL, name).sql)
    plan: dict[str, Any] = (json.loads(shown) if isinstance(shown, str) else shown)[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(one for child in plan.get("Plans", []) for one in nodes(child))]


@pytest.mark.parametrize(("name", "table"), TABLES.items())
async def test_what_is_due_is_found_by_its_age(pool: Pool, name: str, table: str) -> None:
    async with pool.acquire() as connection:
        found = nodes(await plan_of(connection, name))
    scanned = [one for one in found if one["Node Type"] == "Seq Scan" and one.get("Relation Name") == table]
    assert scanned == []
    ages = ("ended_at", "created_at", "received_at", "updated_at", "finished_at", "closed_at", "removed_at")
    ages += ("attempted_at", "authorized_at", "requested_at", "last_updated", "ends_at", "resolved_at")
    conditions = " ".join(str(one.get("Index Cond", "")) for one in found)
    assert table in BY_BLOCKS or any(age in conditions for age in ages), conditions
