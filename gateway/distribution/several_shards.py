"""Which named statements may read or write more than one shard, and why: data.

Owns: that list. A test plans every statement and fails on one that is not in it, or that is in it and reads
one shard; `networkcore distribute --check` holds it against a distributed database. Must not know SQL.
"""

from collections.abc import Iterator
from typing import Final

# Each reason with the statements that may read more than one shard for it.
SEVERAL_SHARDS: Final = {
    "rows of several shards, each with its shard: a distributed database gets them shard by shard": """
        gateway/console: time_zones_of
        gateway/clearing: captured_sessions lock_sessions mark_sessions published_authorizations
        gateway/clearing: published_captures published_sessions take
        gateway/daily_audit: capture_above_price capture_without_authorization captured_without_capture
        gateway/daily_audit: cleared_of open_sessions uncaptured_price uncleared_capture
        gateway/payments: kept_psp_events
        gateway/plug_and_charge: amounts_of_authorizations
        gateway/session_originals: originals
        gateway/tasks: finish_tasks
        gateway/webhooks: claim_in_shards pending_endpoints_in_shards record_attempts
            keep_attempts
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
        clearing/driver_document: pending_of_supplier pending_to_retry
        clearing/exchange_rates: waiting_for_rates
        pnc/decisions: decisions_without_notice
    """,
    "which worker owns which shard": """
        gateway/shard_leases: give_back_shards list_leases renew_shards take_shards_by_node
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
        pnc/overview: list_decisions list_decisions_by_node
        gateway/disputes: list_disputes
        gateway/payment_lists: list_authorizations list_captures list_sessions
        gateway/refunds: list_refunds
        gateway/webhooks: list_deliveries list_events list_newest_events
        clearing/account_transfers: transfers_of_batches
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
        clearing/driver_document: list_pending
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
        gateway/person: authorizations_of erase_answers erase_authorizations erase_disputes erase_events
        gateway/person: erase_psp_events
        gateway/person: erase_invoice_links erase_receipt_links erase_refunds erase_sessions
        gateway/person: export_rows found_rows kept_rows operators_of psp_names_of
        gateway/person: sessions_of why_not_erased
        pnc/personal_data: decisions_of delete_decisions due_contracts expired_contracts
        pnc/personal_data: export_decisions
    """,
    "a batch of what is over its time, in a pause of the other work": """
        gateway/idempotency: sweep
        gateway/retention: due_billing_record due_delivery_attempt due_dispute due_event
        gateway/retention: due_idempotency_key due_invoice_link
        gateway/retention: due_payment_authorization due_psp_event due_receipt_link due_refund
        gateway/retention: due_session
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
        gateway/daily_audit: under_way
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


# Asks several shards of a distributed database alone, for rows that lie there by a foreign name.
REACHED_BY_SESSION: Final = {
    "gateway/retention: apply_session": "the lookup of a session's reference lies by that reference"
}


# Sent to one PostgreSQL alone: a distributed database is sent the statement beside it.
NOT_DISTRIBUTED: Final = frozenset(
    {
        "gateway/clearing: lock_sessions",
        "gateway/shard_leases: take_shards",
        "gateway/webhooks: claim_in_shards",
        "gateway/webhooks: pending_endpoints_in_shards",
        "pnc/overview: list_decisions",
    }
)


def listed_statements() -> Iterator[tuple[str, str]]:
    """Yield each statement of the list: its place, such as `gateway/tasks: finish_tasks`, and its reason."""
    for reason, places in SEVERAL_SHARDS.items():
        for line in places.split("\n"):
            file, _, names = line.strip().partition(": ")
            yield from ((f"{file}: {name}", reason) for name in names.split())


_REASONS: Final = {**dict(listed_statements()), **REACHED_BY_SESSION}


def reason_of(place: str) -> str | None:
    """Why a statement may read several shards; None where it may not."""
    return _REASONS.get(place)
