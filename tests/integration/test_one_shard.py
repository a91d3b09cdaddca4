"""Every named statement reads and writes one shard, that of its parameter, or is listed with its reason.

PostgreSQL's own planner proves it: each table with a shard is made anew with two partitions, the rows of one
shard and all others, and each statement is planned with that shard for `:shard` and nothing known of its
other parameters. What plans the other partition too would scatter over a database that is distributed by
shard: `a.shard = moved.shard` of a CTE does, `a.shard = :shard` does not. Rows that are inserted go where
their shard sends them, so that the plan says nothing about them.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiosql
import asyncpg
import pytest

from gateway.database import Connection

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "clearing", "pnc")
SHARD = 5
# Keyed by a foreign name, which a distributed database shards it by.
BY_ANOTHER_KEY = {"gateway.session_lookup", "gateway.unbooked_charge"}
UTILITIES = {"allow_minutes", "analyze_items", "plan_each", "raise_work_mem"}  # SET and ANALYZE have no plan
# Each reason with the statements that may read more than one shard for it.
SEVERAL_SHARDS = {
    "rows of several shards, each with its shard: a distributed database gets them shard by shard": """
        gateway/clearing: captured_sessions lock_sessions mark_sessions published_authorizations
        gateway/clearing: published_captures published_sessions take
        gateway/daily_audit: capture_above_price capture_without_authorization captured_without_capture
        gateway/daily_audit: cleared_of open_sessions uncaptured_price uncleared_capture
        gateway/payments: kept_psp_events
        gateway/plug_and_charge: amounts_of_authorizations
        gateway/session_originals: originals
        gateway/tasks: finish_tasks
        gateway/webhooks: claim_in_shards pending_endpoints_in_shards record_attempts
        clearing/daily_audit: captured_of
        clearing/driver_document: delete_pending of_sessions pending_of_sessions
        clearing/ledger: known_entries
        clearing/sessions: resolve_exceptions
        clearing/settlement_statements: transfers
    """,
    "which shards have work, and what is due in any of them": """
        gateway/clearing: find_due
        gateway/disputes: announce_deadlines
        gateway/holds: actions_waiting holds_ending stale_sessions
        gateway/plug_and_charge: ended_sessions
        gateway/shard_leases: find_due_work
        gateway/stated_usage: usage_to_settle
        gateway/unbooked_charges: list_unsettled_adoptions
        gateway/webhooks: oldest_undelivered
        clearing/driver_document: lock_pending pending_to_retry
        clearing/exchange_rates: waiting_for_rates
        pnc/decisions: decisions_without_notice
    """,
    "which worker owns which shard": """
        gateway/shard_leases: give_back_shards list_leases renew_shards
    """,
    "the shard is not known before it is read: a foreign name leads to it, or a person's retry by id": """
        gateway/exceptions: stopped_task_shard
        gateway/idempotency: find
        gateway/ocpi_cdrs: session_by_name session_of_token
        gateway/payers: save_attached_method
        gateway/unbooked_charges: find_known is_capture list_unknown_charges
        pnc/decisions: decisions_of_transaction
    """,
    "what one contract, station or EVSE did, whichever session it was": """
        gateway/stated_usage: check_facts
        pnc/decisions: count_sessions count_stations list_spending
    """,
    "the entries of one batch of the journal, in the order of its hash": """
        clearing/account_statement: statement_entries statement_transfers
        clearing/driver_document: supplies
        clearing/ledger: book_later
        clearing/settlement_statements: leaves
    """,
    "one party's payables, netted into one disbursement and its statement": """
        clearing/cancellation: reopen
        clearing/disbursements: payables_of_disbursement
        clearing/payouts: due_sums forecast insert_returned_payables move_due_dates open_due_dates parties_due
        clearing/payouts: schedule unschedule
        clearing/receivables: open_sum receivable_lines
        clearing/settlement_statements: lines without_statement
    """,
    "one endpoint's events of a time again, or none of its deliveries any more": """
        gateway/webhooks: delete_endpoint events_to_replay
    """,
    "lists for people and programs, over all sessions": """
        pnc/overview: list_decisions
        gateway/disputes: list_disputes
        gateway/payment_lists: list_authorizations list_captures list_sessions
        gateway/refunds: list_refunds
        gateway/webhooks: list_deliveries list_events
        clearing/disbursements: list_disbursements open_payables select_disbursement select_disbursements
    """,
    "reports, sums and the exceptions of the whole system": """
        gateway/exceptions: found
        gateway/period_close: waiting_captures
        gateway/status: deliveries holds_ending oldest_pending_delivery open_psp_requests tasks
        gateway/unbooked_charges: totals
        clearing/balance: converted executed
        clearing/books: daily_sums journal_csv journal_rows supply_sums
        clearing/closing_points: undocumented
        clearing/exchange_rates: booked_conversions uses_exchange
        clearing/invoice: corrected supplied
        clearing/open_items: payout_holds pending_bank_details pending_driver_documents session_exceptions
        clearing/open_items: unchecked_parties unpayable_accounts
        clearing/sessions: any_uncleared
        clearing/settlement_sla: overdue_sums punctuality
        clearing/summary: captures open_sums sessions_in_exception share_sums
    """,
    "the comparison of the books with the PSP and the bank": """
        gateway/reconciliation: refunded_before_clearing refunds_since residual_charges_since
        clearing/reconciliation: read_captures
    """,
    "what one person did, wherever it was: found, exported, erased": """
        gateway/person: authorizations_of erase_authorizations erase_disputes erase_events erase_psp_events
        gateway/person: erase_invoice_links erase_receipt_links erase_refunds erase_sessions
        gateway/person: export_rows found_rows kept_rows lock_person operators_of psp_names_of
        gateway/person: sessions_of why_not_erased
        pnc/personal_data: decisions_of delete_decisions due_contracts expired_contracts
        pnc/personal_data: export_decisions
    """,
    "a batch of what is over its time, in a pause of the other work": """
        gateway/idempotency: sweep
        gateway/retention: apply_dispute apply_event apply_idempotency_key apply_invoice_link
        gateway/retention: apply_payment_authorization apply_psp_event apply_receipt_link
        gateway/retention: apply_refund apply_session
        gateway/retention: due_billing_record due_dispute due_event due_idempotency_key due_invoice_link
        gateway/retention: due_payment_authorization due_psp_event due_receipt_link due_refund
        gateway/retention: due_session sessions_to_blot statements_to_blot
    """,
    "what a restored database lacks, once after a restore": """
        gateway/recovery: add_restored_hold count_open_requests list_requested_refunds
        gateway/recovery: list_unknown_refunds
    """,
    "figures of the console over a range of days": """
        gateway/console: captured captured_by_bucket declined last_captured_at refunded
        gateway/operations: throughput unknown_outcomes
        clearing/party_share: flows shares
    """,
    "the audit, which proves all rows": """
        gateway/audit: account_differences capture_above_price capture_without_authorization
        gateway/audit: captured_without_capture cleared_totals open_work psp_totals uncaptured_price
        gateway/audit: uncleared_capture under_way
        gateway/daily_audit: account_difference under_way
        clearing/audit: approvals_unposted batch_entries batch_transfers captured captures_unposted
        clearing/audit: deltas_unequal
        clearing/audit: disbursements_unequal disbursements_unposted documents_gapped documents_unequal
        clearing/audit: fx_transfers open_unequal orphan_entries orphan_payables orphan_transfers
        clearing/audit: payables_unequal received returned_fees returned_unequal supplies_unequal
        clearing/audit: transit_not_zero unpaid_sums
        clearing/daily_audit: disbursements_unequal disbursements_unposted documents_of
        clearing/daily_audit: driver_documents_numbered entries_of fx_transfers_of payables_of
        clearing/daily_audit: pending_positions returned_unequal transfers_of unpaid_payables
    """,
}
# One PostgreSQL finds an Idempotency-Key in any shard; a distributed database in its own (decision 0928).
_DISTRIBUTED_KEY = """
ALTER TABLE gateway.idempotency_key
    DROP CONSTRAINT idempotency_key_pkey, ADD PRIMARY KEY (shard, party_id, key)"""
PLAN_OF = """
CREATE FUNCTION public.plan_of(statement text) RETURNS json LANGUAGE plpgsql AS $body$
DECLARE found json;
BEGIN
    EXECUTE 'EXPLAIN (GENERIC_PLAN, FORMAT JSON) ' || statement INTO found;
    RETURN found;
END $body$"""
_TABLES = """
SELECT r.oid::regclass::text AS name,
       (SELECT bool_and(EXISTS (SELECT 1 FROM pg_attribute AS k WHERE k.attrelid = r.oid
                                AND k.attnum = ANY (i.indkey) AND k.attname = 'shard'))
        FROM pg_index AS i WHERE i.indrelid = r.oid AND i.indisunique) AS keyed
FROM pg_class AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attname = 'shard'
WHERE r.relkind = 'r' AND r.relnamespace::regnamespace::text IN ('gateway', 'clearing', 'pnc')
ORDER BY 1"""

_VIEWS = """
SELECT c.oid::regclass::text AS name, pg_get_viewdef(c.oid) AS definition FROM pg_class AS c
WHERE c.relkind = 'v' AND c.relnamespace::regnamespace::text IN ('gateway', 'clearing', 'pnc')"""


@pytest.fixture
async def partitioned(database_url: str) -> AsyncIterator[Connection]:
    """A migrated database whose tables with a shard have a partition for one shard and one for the others."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(_DISTRIBUTED_KEY)
        views = await connection.fetch(_VIEWS)
        for name, keyed in await connection.fetch(_TABLES):
            assert keyed is not (name in BY_ANOTHER_KEY), f"{name}: is the shard in each of its unique keys?"
            if keyed:
                await connection.execute(
                    f"ALTER TABLE {name} RENAME TO {name.split('.')[1]}__whole;"
                    f"CREATE TABLE {name} (LIKE {name}__whole INCLUDING ALL) PARTITION BY LIST (shard);"
                    f"CREATE TABLE {name}__own PARTITION OF {name} FOR VALUES IN ({SHARD});"
                    f"CREATE TABLE {name}__others PARTITION OF {name} DEFAULT"
                )
        for name, definition in views:  # else they would still read the tables as they were
            await connection.execute(f"CREATE OR REPLACE VIEW {name} AS {definition}")
        await connection.execute(PLAN_OF)
        yield connection
    finally:
        await connection.close()


def statements() -> Iterator[tuple[str, str]]:
    """Every named statement with its place, the shard that it is given written into it."""
    for package in PACKAGES:
        for path in sorted((ROOT / package / "sql").glob("*.sql")):
            text = re.sub(r"(?<!:):shard\b", f"({SHARD}::smallint)", path.read_text(encoding="utf-8"))
            queries = aiosql.from_str(text, "asyncpg", mandatory_parameters=False)
            for name in queries.available_queries:
                if not name.endswith("_cursor") and name not in UTILITIES:
                    yield f"{package}/{path.stem}: {name}", getattr(queries, name).sql


def relations(node: dict[str, Any]) -> Iterator[str]:
    """Every table or partition that a plan reads or writes."""
    if "Relation Name" in node:
        yield node["Relation Name"]
    for target in node.get("Target Tables", []):
        yield target["Relation Name"]
    for child in node.get("Plans", []):
        yield from relations(child)


async def scattered(connection: Connection, statement: str) -> list[str]:
    """The tables of which a statement reads or writes more than the one shard."""
    plan = json.loads(await connection.fetchval("SELECT public.plan_of($1)", statement))[0]["Plan"]
    return sorted({name.removesuffix("__others") for name in relations(plan) if name.endswith("__others")})


def listed() -> list[str]:
    found = []
    for places in SEVERAL_SHARDS.values():
        for line in places.split("\n"):
            file, _, names = line.strip().partition(": ")
            found += [f"{file}: {name}" for name in names.split()]
    return found


async def test_each_statement_names_its_shard_or_is_listed_with_a_reason(
    partitioned: Connection,
) -> None:
    found = {
        place: tables
        for place, statement in statements()
        if (tables := await scattered(partitioned, statement))
    }
    reasons = listed()
    assert len(reasons) == len(set(reasons)), "a statement has two reasons"
    assert {place: tables for place, tables in found.items() if place not in reasons} == {}
    assert sorted(set(reasons) - set(found)) == [], "listed, but they read one shard"


async def test_what_scatters_is_seen(partitioned: Connection) -> None:
    moved = (
        "WITH moved AS (UPDATE gateway.payment_authorization SET version = 2 WHERE shard = 5 AND id = $1 "
        "RETURNING shard, session_id) UPDATE gateway.session AS s SET state = 'cancelled' FROM moved "
        "WHERE s.id = moved.session_id AND s.shard = "
    )
    assert await scattered(partitioned, moved + "moved.shard") == ["session"]
    assert await scattered(partitioned, moved + "5::smallint") == []
    assert await scattered(partitioned, "SELECT * FROM gateway.capture WHERE session_id = $1") == ["capture"]
    joined = "SELECT * FROM gateway.session AS s JOIN gateway.capture AS c ON c.shard = s.shard WHERE "
    assert await scattered(partitioned, joined + "s.shard = 5::smallint") == []
