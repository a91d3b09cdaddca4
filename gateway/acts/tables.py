"""Which tables are tables of administration: every change of their rows is an act.

Owns: that list, with what an act of each hides, and why each other table is not in it. Must not know how an
act is written (`gateway/sql/migrations/0038_admin_acts.sql`). A test compares both lists with the database: a
new table is put into one of them.

What an operation does to other tables is recorded as the operation itself, without the rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedTable:
    """A table whose changes are acts.

    `hidden` are secrets and personal data; `columns` those whose change counts, none: all.
    """

    name: str
    hidden: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def hidden_text(self) -> str:
        """The hidden members as the trigger takes them."""
        return ",".join(self.hidden)

    @property
    def trigger_arguments(self) -> tuple[str, str]:
        """What its triggers take beside the key."""
        return self.hidden_text, self.columns_text

    @property
    def columns_text(self) -> str:
        """The columns as the trigger takes them; empty for all."""
        return ", ".join(self.columns)


RECORDS_OF_MIGRATIONS: Final = (
    WatchedTable(name="gateway.migration"),
    WatchedTable(name="clearing.migration"),
    WatchedTable(name="pnc.migration"),
)
WATCHED: Final = (
    *RECORDS_OF_MIGRATIONS,
    WatchedTable(name="gateway.party"),
    WatchedTable(
        name="gateway.api_key",
        hidden=("secret_hash",),
        columns=(
            "party_id",
            "prefix",
            "secret_hash",
            "scopes",
            "principal",
            "expires_at",
            "revoked_at",
            "allowed_networks",
            "api_version",
        ),
    ),
    WatchedTable(name="gateway.person", hidden=("email", "name", "subject")),
    WatchedTable(name="gateway.scope_set"),
    WatchedTable(name="gateway.client_certificate"),
    WatchedTable(name="gateway.site_host"),
    WatchedTable(name="gateway.missing_cdr_policy"),
    WatchedTable(name="gateway.double_tap_policy"),
    WatchedTable(name="gateway.driver_page"),
    WatchedTable(name="gateway.cdr_limit"),
    WatchedTable(name="gateway.exception_age_limit"),
    WatchedTable(name="gateway.market_clock"),
    WatchedTable(name="gateway.erasure"),
    WatchedTable(
        name="gateway.webhook_endpoint",
        hidden=("secret", "previous_secret", "headers"),
        columns=("party_id", "url", "event_types", "secret", "headers", "api_version", "state"),
    ),
    WatchedTable(
        name="gateway.ocpi_peer",
        hidden=("token_hash", "outbound_token"),
        columns=("party_id", "state", "token_hash", "outbound_token", "versions_url"),
    ),
    WatchedTable(name="gateway.contract_pool_feed", hidden=("secret",)),
    # The worker moves its other columns.
    WatchedTable(
        name="gateway.contract_pool_lookup",
        hidden=("client_secret",),
        columns=("url", "token_url", "audience", "client_id", "client_secret"),
    ),
    # Holds and captures change its other columns.
    WatchedTable(name="gateway.partner_account", columns=("credit_limit_minor",)),
    WatchedTable(name="gateway.partner_funding"),
    WatchedTable(name="clearing.party", hidden=("details.contact",)),
    WatchedTable(name="clearing.party_vat_registration"),
    WatchedTable(name="clearing.agreement"),
    WatchedTable(name="clearing.payout_terms"),
    WatchedTable(name="clearing.payout_hold"),
    WatchedTable(name="clearing.bank_details", hidden=("name", "iban", "street", "building", "reference")),
    WatchedTable(name="clearing.party_check", hidden=("note",)),
    WatchedTable(name="clearing.approval_request"),
    WatchedTable(name="clearing.approval_limit"),
    WatchedTable(name="clearing.difference_evidence", hidden=("content",)),
    WatchedTable(name="clearing.set_off_consent"),
    WatchedTable(name="clearing.disbursement_approval"),
    WatchedTable(name="clearing.period_close_request"),
    WatchedTable(name="clearing.closed_period"),
    WatchedTable(name="clearing.meter_key"),
    WatchedTable(name="clearing.meter_policy"),
    WatchedTable(name="pnc.trust_anchor"),
    WatchedTable(name="pnc.cross_certificate"),
    WatchedTable(name="pnc.contract_authority"),
    WatchedTable(name="pnc.provider"),
    WatchedTable(name="pnc.revocation_endpoint"),
)

# Why a change of any other table is no act by itself.
NOT_WATCHED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "of acts themselves": ("gateway.admin_act", "gateway.admin_act_seal"),
        "of a charging session and its payment": (
            "gateway.tariff_snapshot",
            "gateway.session",
            "gateway.session_lookup",
            "gateway.session_buyer",
            "gateway.payment_authorization",
            "gateway.recent_authorization",
            "gateway.capture",
            "gateway.refund",
            "gateway.dispute",
            "gateway.psp_request",
            "gateway.psp_event",
            "gateway.psp_incident",
            "gateway.stated_usage",
            "gateway.provisional_usage",
            "gateway.unbooked_charge",
            "gateway.receipt_link",
            "gateway.invoice_link",
            "gateway.driver_payment",
            "gateway.top_up",
        ),
        "of drivers and their means of payment": (
            "gateway.buyer",
            "gateway.customer",
            "gateway.payment_method_setup",
            "gateway.payment_method",
            "gateway.terminal_location",
        ),
        "of work under way": (
            "gateway.task",
            "gateway.worker",
            "gateway.shard_lease",
            "gateway.idempotency_key",
            "gateway.person_link",
            "gateway.person_session",
            "gateway.sign_in_attempt",
            "gateway.saved_view",
            "gateway.event",
            "gateway.delivery",
            "gateway.delivery_attempt",
            "gateway.audit_run",
            "gateway.restore_check",
            "gateway.retention_run",
            "gateway.request_log",
        ),
        "with a history of its own, which names who decided": (
            "gateway.exception",
            "gateway.exception_event",
            "gateway.person_act",
            "gateway.exception_proposal",
            "pnc.trust_event",
            "pnc.contract_change",
        ),
        "as the PSP reports it": ("gateway.connected_account",),
        "as partners push it over OCPI": (
            "gateway.ocpi_peer_party",
            "gateway.ocpi_peer_role",
            "gateway.ocpi_peer_endpoint",
            "gateway.ocpi_handshake_step",
            "gateway.ocpi_location",
            "gateway.ocpi_connector",
            "gateway.ocpi_tariff",
            "gateway.ocpi_session",
            "gateway.ocpi_session_due",
            "gateway.ocpi_cdr",
            "gateway.ocpi_rejected_push",
            "gateway.ocpi_token",
            "gateway.ocpi_token_authorization",
            "gateway.ocpi_command",
            "gateway.ocpi_pull",
            "gateway.ocpi_terminal",
            "gateway.ocpi_financial_advice",
            "gateway.ocpi_invoice",
            "gateway.ocpi_outbox",
            "gateway.ocpi_public_evse",
            "gateway.ocpi_emaid_feed",
            "gateway.ocpi_hub_client",
            "gateway.ocpi_booking_location",
            "gateway.ocpi_booking",
        ),
        "as a contract pool sends it": ("gateway.contract_pool_event", "gateway.contract_pool_position"),
        "of the journal, which is a chain of its own": (
            "clearing.batch",
            "clearing.entry",
            "clearing.transfer",
            "clearing.account_delta",
            "clearing.account_snapshot",
            "clearing.audit_checkpoint",
            "clearing.fx_lock",
            "clearing.vat_ruling",
            "clearing.agreement_volume",
            "clearing.session_exception",
            "clearing.meter_record",
        ),
        "of what is owed and paid": (
            "clearing.payable",
            "clearing.due_date_change",
            "clearing.disbursement",
            "clearing.returned_payable",
            "clearing.reserve",
            "clearing.forecast_snapshot",
            "clearing.forecast_run",
            "clearing.forecast_error",
            "clearing.settlement_statement",
            "clearing.payment_file",
            "clearing.payment_file_item",
        ),
        "as banks and the PSP report it": (
            "clearing.bank_message",
            "clearing.bank_balance",
            "clearing.bank_entry",
            "clearing.bank_notice",
            "clearing.reconciliation_item",
            "clearing.reconciliation_difference",
            "clearing.reconciliation_run",
            "clearing.suspense_item",
        ),
        "of documents": (
            "clearing.document_series",
            "clearing.document",
            "clearing.document_progress",
            "clearing.document_exception",
            "clearing.document_seller",
            "clearing.driver_document",
            "clearing.document_cursor",
            "clearing.document_file",
            "clearing.pending_driver_document",
        ),
        "as registers and feeds report it": (
            "clearing.fx_rate",
            "clearing.rate_feed",
            "clearing.reference_epoch",
            "clearing.party_vat_evidence",
            "clearing.party_vat_attempt",
            "pnc.revocation_status",
            "pnc.revocation_list",
        ),
        "of contracts, with pnc.contract_change beside it": (
            "pnc.contract",
            "pnc.contract_certificate",
            "pnc.authority_hash",
            "pnc.decision",
            "pnc.disabled_payment",
            "pnc.environment",
        ),
    }
)
