"""What the roles at the database may do, as data.

Owns: which tables the role that runs the product only adds to, and which the role for reports does not see.
Must not know how a role is created (`deploy/postgres/roles.sql`).
"""

from typing import Any, Final

from gateway.database import Connection, named_queries

WRITER: Final = "networkcore_writer"
READER: Final = "networkcore_reader"
# The journal, what is proved by it, and the record of acts: rows are added, and none is changed or deleted.
APPEND_ONLY: Final = (
    "clearing.account_delta",
    "clearing.audit_checkpoint",
    "clearing.batch",
    "clearing.closed_period",
    "clearing.difference_evidence",
    "clearing.document",
    "clearing.due_date_change",
    "clearing.entry",
    "clearing.fx_lock",
    "clearing.returned_payable",
    "clearing.transfer",
    "clearing.vat_ruling",
    "gateway.admin_act",
    "gateway.admin_act_seal",
    "gateway.person_act",
    "gateway.restore_check",
    "pnc.trust_event",
)
# When an entry was booked: its batch decides as it is sealed.
CHANGED_COLUMNS: Final = ("clearing.entry booked_at",)
ANALYZED: Final = ("clearing.reconciliation_item",)
# Secrets, sealed or hashed, and stored answers.
HIDDEN_FROM_REPORTS: Final = (
    "gateway.api_key",
    "gateway.contract_pool_feed",
    "gateway.driver_payment",
    "gateway.idempotency_key",
    "gateway.ocpi_peer",
    "gateway.person",
    "gateway.person_link",
    "gateway.person_session",
    "gateway.receipt_link",
    "gateway.sign_in_attempt",
    "gateway.webhook_endpoint",
)
_QUERIES: Final[Any] = named_queries("gateway", "database_roles.sql")


async def may_migrate(connection: Connection) -> bool:
    """Whether the role of this connection may change our schemas, which exist."""
    allowed: bool = await _QUERIES.may_migrate(connection)
    return allowed


async def grant_access(connection: Connection) -> bool:
    """Grant both roles what they need; False where the schema is older, or there are no such roles."""
    if not await _QUERIES.can_grant(connection):
        return False
    granted: bool = await _QUERIES.grant_access(
        connection,
        append_only=list(APPEND_ONLY),
        columns=list(CHANGED_COLUMNS),
        hidden=list(HIDDEN_FROM_REPORTS),
        analyzed=list(ANALYZED),
    )
    return granted
