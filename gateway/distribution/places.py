"""Where each table without the shard lies in a distributed database, and why: data.

Owns: that list, the keys between distributed tables, and the few tables that lie elsewhere than the shard in
their keys says. Must not know how a table is distributed. A test compares all of it with the migrated schema:
a new table is put into it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key as PostgreSQL writes it: `FOREIGN KEY (columns) REFERENCES table(columns)`."""

    table: str
    name: str
    definition: str

    @property
    def referenced(self) -> str:
        """The table it points at."""
        return self.definition.partition(" REFERENCES ")[2].partition("(")[0]


# Distributed by a foreign name, which leads to the session; the shard is one of their other columns.
BY_NAME: Final[Mapping[str, str]] = MappingProxyType({"gateway.session_lookup": "foreign_id"})

# Tables with the shard, in no key: so few rows that they stay on the coordinator.
FEW_ROWS: Final = ("gateway.unbooked_charge",)

# Primary keys that get the shard before their table is distributed: table, name, columns. One
# PostgreSQL finds an Idempotency-Key in any shard; a distributed database in its own (decision 0928).
KEYS_WITH_SHARD: Final = MappingProxyType(
    {"gateway.idempotency_key": ("idempotency_key_pkey", "shard, party_id, key")}
)

# Tables of the coordinator alone, each group with its reason.
ON_COORDINATOR: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "administration: its triggers write acts into one hash chain": (
            "clearing.agreement",
            "clearing.approval_limit",
            "clearing.approval_request",
            "clearing.bank_details",
            "clearing.closed_period",
            "clearing.disbursement_approval",
            "clearing.meter_key",
            "clearing.meter_policy",
            "clearing.migration",
            "clearing.party",
            "clearing.party_check",
            "clearing.party_vat_registration",
            "clearing.payout_hold",
            "clearing.payout_terms",
            "clearing.period_close_request",
            "clearing.set_off_consent",
            "gateway.admin_act",
            "gateway.admin_act_seal",
            "gateway.api_key",
            "gateway.cdr_limit",
            "gateway.client_certificate",
            "gateway.contract_pool_feed",
            "gateway.contract_pool_lookup",
            "gateway.double_tap_policy",
            "gateway.driver_page",
            "gateway.erasure",
            "gateway.exception_age_limit",
            "gateway.market_clock",
            "gateway.migration",
            "gateway.missing_cdr_policy",
            "gateway.ocpi_peer",
            "gateway.partner_account",
            "gateway.partner_funding",
            "gateway.party",
            "gateway.person",
            "gateway.scope_set",
            "gateway.site_host",
            "gateway.webhook_endpoint",
            "pnc.contract_authority",
            "pnc.cross_certificate",
            "pnc.migration",
            "pnc.provider",
            "pnc.revocation_endpoint",
            "pnc.trust_anchor",
        ),
        "chains, totals and statements over all shards": (
            "clearing.account_delta",
            "clearing.account_snapshot",
            "clearing.agreement_volume",
            "clearing.audit_checkpoint",
            "clearing.batch",
            "clearing.disbursement",
            "clearing.document",
            "clearing.document_cursor",
            "clearing.document_exception",
            "clearing.document_file",
            "clearing.document_progress",
            "clearing.document_seller",
            "clearing.document_series",
            "clearing.forecast_error",
            "clearing.forecast_run",
            "clearing.forecast_snapshot",
            "clearing.reserve",
            "clearing.settlement_statement",
            "gateway.audit_run",
            "gateway.restore_check",
            "gateway.retention_run",
        ),
        "bank transfers, the comparison with PSP and bank": (
            "clearing.bank_balance",
            "clearing.bank_entry",
            "clearing.bank_message",
            "clearing.bank_notice",
            "clearing.payment_file",
            "clearing.payment_file_item",
            "clearing.difference_evidence",
            "clearing.reconciliation_difference",
            "clearing.reconciliation_item",
            "clearing.reconciliation_run",
            "clearing.suspense_item",
            "gateway.connected_account",
            "gateway.psp_incident",
            "gateway.top_up",
        ),
        "reference data, cached by each process": (
            "clearing.fx_rate",
            "clearing.party_vat_attempt",
            "clearing.party_vat_evidence",
            "clearing.rate_feed",
            "clearing.reference_epoch",
            "clearing.vat_ruling",
            "gateway.tariff_snapshot",
            "pnc.authority_hash",
            "pnc.contract",
            "pnc.contract_certificate",
            "pnc.contract_change",
            "pnc.disabled_payment",
            "pnc.environment",
            "pnc.revocation_list",
            "pnc.revocation_status",
            "pnc.trust_event",
        ),
        "of drivers and people, over all their sessions": (
            "gateway.buyer",
            "gateway.customer",
            "gateway.driver_payment",
            "gateway.payment_method",
            "gateway.payment_method_setup",
            "gateway.person_act",
            "gateway.person_link",
            "gateway.person_session",
            "gateway.recent_authorization",
            "gateway.saved_view",
            "gateway.sign_in_attempt",
            "gateway.terminal_location",
        ),
        "of the processes themselves": ("gateway.request_log", "gateway.worker"),
        "exceptions: one queue for people": (
            "gateway.exception",
            "gateway.exception_event",
            "gateway.exception_proposal",
        ),
        "keyed by what partners name, not by a session": (
            "clearing.meter_record",
            "gateway.contract_pool_event",
            "gateway.contract_pool_position",
            "gateway.ocpi_booking",
            "gateway.ocpi_booking_location",
            "gateway.ocpi_cdr",
            "gateway.ocpi_command",
            "gateway.ocpi_connector",
            "gateway.ocpi_emaid_feed",
            "gateway.ocpi_financial_advice",
            "gateway.ocpi_handshake_step",
            "gateway.ocpi_hub_client",
            "gateway.ocpi_invoice",
            "gateway.ocpi_location",
            "gateway.ocpi_outbox",
            "gateway.ocpi_peer_endpoint",
            "gateway.ocpi_peer_party",
            "gateway.ocpi_peer_role",
            "gateway.ocpi_public_evse",
            "gateway.ocpi_pull",
            "gateway.ocpi_rejected_push",
            "gateway.ocpi_session",
            "gateway.ocpi_session_due",
            "gateway.ocpi_tariff",
            "gateway.ocpi_terminal",
            "gateway.ocpi_token",
            "gateway.ocpi_token_authorization",
        ),
    }
)

# Keys between distributed tables: dropped before they are distributed, and added again afterwards. They stand
# here, not in the database, so that a run that died between the two is completed by the next.
KEYS_BETWEEN_SHARDS: Final = (
    ForeignKey(
        table="gateway.capture",
        name="capture_shard_session_id_fkey",
        definition="FOREIGN KEY (shard, session_id) REFERENCES gateway.session(shard, id)",
    ),
    ForeignKey(
        table="gateway.dispute",
        name="dispute_shard_session_id_fkey",
        definition="FOREIGN KEY (shard, session_id) REFERENCES gateway.capture(shard, session_id)",
    ),
    ForeignKey(
        table="gateway.invoice_link",
        name="invoice_link_shard_session_id_fkey",
        definition="FOREIGN KEY (shard, session_id) REFERENCES gateway.session(shard, id)",
    ),
    ForeignKey(
        table="gateway.payment_authorization",
        name="payment_authorization_shard_session_id_fkey",
        definition="FOREIGN KEY (shard, session_id) REFERENCES gateway.session(shard, id)",
    ),
    ForeignKey(
        table="gateway.provisional_usage",
        name="provisional_usage_shard_session_id_fkey",
        definition="FOREIGN KEY (shard, session_id) REFERENCES gateway.session(shard, id)",
    ),
    ForeignKey(
        table="gateway.receipt_link",
        name="receipt_link_shard_session_id_fkey",
        definition="FOREIGN KEY (shard, session_id) REFERENCES gateway.session(shard, id)",
    ),
    ForeignKey(
        table="gateway.refund",
        name="refund_shard_session_id_fkey",
        definition="FOREIGN KEY (shard, session_id) REFERENCES gateway.capture(shard, session_id)",
    ),
    ForeignKey(
        table="gateway.stated_usage",
        name="stated_usage_shard_session_id_fkey",
        definition="FOREIGN KEY (shard, session_id) REFERENCES gateway.session(shard, id)",
    ),
)
