"""Which lists there are as files, and their columns. An amount's column ends in `_minor`.

Owns: the columns. Must not know how a file is sent.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gateway.console.csv_file import CsvList

SESSIONS: Final = CsvList(
    name="sessions",
    operation="listSessions",
    columns=(
        "id",
        "created",
        "state",
        "cpo",
        "evse_id",
        "energy_wh",
        "currency",
        "price_minor=price.incl_vat",
        "captured_minor=capture.amount",
        "refunded_minor=capture.refunded",
        "method=authorization_method",
        "session_ref",
        "cdr_id",
        "flags",
    ),
)
PAYMENTS: Final = CsvList(
    name="payments",
    operation="listAuthorizations",
    columns=(
        "id",
        "created",
        "state",
        "session",
        "evse_id",
        "method",
        "amount_minor=amount",
        "currency",
        "decline_code",
    ),
)
PAYOUTS: Final = CsvList(
    name="payouts",
    operation="listDisbursements",
    columns=(
        "id",
        "party",
        "state",
        "amount_minor=amount",
        "currency",
        "due_date",
        "paid_at",
        "payables",
        "end_to_end_id",
        "statement",
    ),
)
CALENDAR: Final = CsvList(
    name="payout-calendar",
    operation="getForecast",
    columns=("due_date", "party", "state", "hold", "sessions", "amount_minor=amount", "currency"),
    limit="",
)
ACCURACY: Final = CsvList(
    name="forecast-and-actual",
    operation="listForecastDays",
    columns=(
        "day",
        "party",
        "forecast_minor=forecast",
        "actual_minor=actual",
        "difference_minor=difference",
        "currency",
    ),
    limit="",
)
PAYABLES: Final = CsvList(
    name="payables",
    operation="listPayables",
    columns=(
        "session",
        "party",
        "kind",
        "amount_minor=amount",
        "currency",
        "due_date",
        "state",
        "disbursement",
    ),
)
DISPUTES: Final = CsvList(
    name="disputes",
    operation="listDisputes",
    columns=(
        "id",
        "session",
        "state",
        "response",
        "reason",
        "amount_minor=amount",
        "withdrawn_minor=withdrawn",
        "currency",
        "fee_minor=fee",
        "fee_currency",
        "opened_at",
        "respond_by",
        "closed_at",
        "submissions",
    ),
)
EXCEPTIONS: Final = CsvList(
    name="exceptions",
    operation="listExceptions",
    columns=(
        "id",
        "kind",
        "state",
        "since",
        "party",
        "subject",
        "reason",
        "detail",
        "amount_minor=amount",
        "currency",
        "owner",
        "assignee",
        "next_step=next_step.text",
    ),
)
EVENTS: Final = CsvList(
    name="events",
    operation="listEvents",
    columns=("id", "created", "type", "object_id", "data"),
)
CONTRACTS: Final = CsvList(
    name="contracts",
    operation="listContracts",
    columns=("emaid", "party", "state", "payment_type", "payment_usable", "valid_from", "valid_to"),
)
ROOTS: Final = CsvList(
    name="roots",
    operation="listTrustedRoots",
    columns=("sha256", "kind", "subject", "not_after", "added_at"),
    limit="",
)
CROSS_CERTIFICATES: Final = CsvList(
    name="cross-certificates",
    operation="listCrossCertificates",
    columns=("sha256", "subject", "issuer", "added_at", "retired_at"),
    limit="",
)
API_KEYS: Final = CsvList(
    name="api-keys",
    operation="listApiKeys",
    columns=(
        "id",
        "party",
        "prefix",
        "scopes",
        "created",
        "expires",
        "revoked",
        "last_used",
        "principal",
        "api_version",
    ),
    limit="",
)
REQUESTS: Final = CsvList(
    name="requests",
    operation="listRequests",
    columns=(
        "requested",
        "party",
        "key",
        "request_id",
        "method",
        "route",
        "status",
        "duration_ms",
        "error_code",
    ),
)
METER_KEYS: Final = CsvList(
    name="meter-keys",
    operation="listMeterKeys",
    columns=("id", "party", "meter_serial", "gateway_serial", "charge_point_id", "curve", "state"),
)
APPROVALS: Final = CsvList(
    name="approvals",
    operation="listApprovalRequests",
    columns=(
        "id",
        "state",
        "resolution",
        "subject",
        "pair",
        "references",
        "party",
        "amount_minor=amount",
        "currency",
        "reason",
        "proposed_by",
        "proposed_at",
        "decided_by",
        "decided_at",
    ),
    limit="1000",
)
DIFFERENCES: Final = CsvList(
    name="differences",
    operation="listReconciliationDifferences",
    columns=(
        "id",
        "pair",
        "reference",
        "type",
        "books_minor=books",
        "psp_minor=psp",
        "bank_minor=bank",
        "amount_minor=amount",
        "currency",
        "since",
        "age_days",
        "owner",
        "detail",
        "candidates",
    ),
    limit="1000",
)
SUSPENSE: Final = CsvList(
    name="suspense",
    operation="listSuspense",
    columns=(
        "id",
        "since",
        "age_days",
        "owner",
        "amount_minor=amount",
        "remaining_minor=remaining",
        "currency",
        "detail",
    ),
    limit="1000",
)
RECEIVABLES: Final = CsvList(
    name="receivables",
    operation="listReceivables",
    columns=("party", "amount_minor=amount", "currency", "since", "age_days"),
    limit="",
)
TRIAL_BALANCE: Final = CsvList(
    name="trial-balance",
    operation="getTrialBalance",
    columns=(
        "account",
        "name",
        "path",
        "currency",
        "debit_minor=debit",
        "credit_minor=credit",
        "closing_minor=closing",
    ),
    limit="",
)
CLOSING: Final = CsvList(
    name="closing",
    operation="getClosingCheck",
    columns=("kind", "detail", "owner", "next_step", "amount_minor=amount", "currency"),
    place=("points",),
    limit="",
)
VAT: Final = CsvList(
    name="vat",
    operation="getVatReturn",
    columns=("country", "side", "supply", "rate", "base_minor=base", "tax_minor=tax", "currency"),
    place=("figures",),
    limit="",
)
DOCUMENTS: Final = CsvList(
    name="documents",
    operation="listDocuments",
    columns=(
        "id",
        "type",
        "supplier",
        "customer",
        "period_start",
        "period_end",
        "net_minor=net",
        "vat_minor=vat",
        "gross_minor=gross",
        "currency",
        "issued",
    ),
)
PARTIES: Final = CsvList(
    name="parties",
    operation="listParties",
    columns=("id", "kind", "name", "created"),
)
WEBHOOKS: Final = CsvList(
    name="webhook-endpoints",
    operation="listWebhookEndpoints",
    columns=(
        "id",
        "url",
        "state",
        "events",
        "filter",
        "signature",
        "public_key",
        "api_version",
        "created",
        "failing_since",
        "disables_at",
    ),
)
DELIVERIES: Final = CsvList(
    name="deliveries",
    operation="listDeliveries",
    columns=(
        "event",
        "event_type",
        "object_id",
        "state",
        "attempts",
        "last_status",
        "last_error",
        "last_attempt_at",
        "duration_ms",
        "delivered_at",
    ),
)
ATTEMPTS: Final = CsvList(
    name="delivery-attempts",
    operation="listDeliveryAttempts",
    columns=(
        "id",
        "event",
        "attempted_at",
        "acknowledged",
        "status",
        "error",
        "answer",
        "answer_cut",
        "duration_ms",
    ),
)


def of(one: CsvList, **path: str) -> CsvList:
    """The list of one object."""
    named: Mapping[str, str] = path
    return replace(one, path=named)
