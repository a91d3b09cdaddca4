"""Each thing has one place: the packages and modules of the architecture are the tree on disk."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Folder -> the modules and folders that are in it; `name/` is a package. The folder may hold further ones.
TREE = {
    "gateway": """
        application worker config database migrations clock ids logs outbound errors
        settlement_export pdf_renderer adapters/ audit/ schemas/ limits/ settings/
        cli/ api/ payments/ plug_and_charge/ ocpi/ partners/
        payouts/ reconciliation/ documents/ driver_page/ webhooks/ jobs/ exceptions/ task_kinds
        exception_kinds
        retry_policy
    """,
    "gateway/audit": "system_audit daily_audit psp_comparison",
    "gateway/schemas": "api_schemas payers exceptions",
    "gateway/adapters": "ecb_feed vies revocation_http",
    "gateway/cli": """
        main audit bank_files clearing clock command_group demo dev documents fx meter migrate ocpi
        payouts pki price process reconcile resolutions sandbox_psp serve settlement_statements status tables
        tariff trace transaction verify work
    """,
    "gateway/api": """
        server dispatch endpoint problems error_mapping idempotency auth openapi metrics business_metrics
        capture/ payouts/ reconciliation/ documents/ partners/ plug_and_charge/
    """,
    "gateway/payments": """
        state_machine service authorize complete capture capture_steps residual_charge hold_renewal refund
        dispute funding psp_events outcomes outcome_resolver cdr_corrections missing_cdr tariff_snapshots
        repository psp/
    """,
    "gateway/payments/psp": "port stripe/",
    "gateway/payments/psp/stripe": "adapter wire objects responses amount_rules event_types",
    "gateway/plug_and_charge": """
        authorization_service contract_service trust_service settlement_notice repository
    """,
    "gateway/ocpi": "client credentials_client pagination throttle cdr_settlement repository/",
    "gateway/webhooks": """
        events payout_events delivery delivery_results delivery_queue back_pressure retry signing
        secret_cipher key_rotation repository
    """,
    "gateway/jobs": "job task_queue task_runner",
    "clearing": """
        money fx captured_session calendar errors ports audit calendars/ rates/ cdr_checks/ pricing/ tax/
        iso20022/ meter_data/ session_trace/ parties/
        ledger/ sessions/ payouts/ bank_transfers/ settlement_statements/ documents/ reconciliation/
        receivables/ approvals/ exchange_rates/ reference_data/ reporting/
    """,
    "clearing/meter_data": """
        findings ocmf keys signature registers transaction signed_data registered_key check
        transparency_xml evidence service repository
    """,
    "clearing/session_trace": "trace verification service repository",
    "clearing/parties": "party agreement payout_terms bank_details",
    "clearing/ledger": """
        journal_entry hash_chain account_statement treasury balances period_close service repository
    """,
    "clearing/sessions": """
        clearing_plan split posting reversal reprice batch corrections agreement_check simulate service
        repository
    """,
    "clearing/payouts": """
        disbursement reserve minimum_increment forecast forecast_accuracy reschedule cancellation
        administration
    """,
    "clearing/bank_transfers": "service repository message_importer",
    "clearing/settlement_statements": "lines statement verification page csv_export service repository",
    "clearing/documents": """
        invoice einvoice facturx driver_document cadence printed_page translations invoice_service
        driver_document_service
    """,
    "clearing/reconciliation": """
        comparison cash_in_transit bank_position resolution_entries resolution_service open_items_report
        report service repository
    """,
    "clearing/receivables": "ageing service repository",
    "clearing/approvals": "rules service repository",
    "clearing/exchange_rates": "service ecb_files repository",
    "clearing/reference_data": "bundled_data repository service",
    "clearing/reporting": "settlement_sla summary",
    "pnc": """
        emaid certificate certificate_chain profile hash_data revocation_evidence revocation_checker
        certificate_registry trust authorization rejection_reasons contract_administration
        trust_administration decision_lifecycle service repository
    """,
    "sandbox": "stripe/ market/ postgres/ pki/ processes/",
}


@pytest.mark.parametrize("folder", TREE)
def test_everything_is_in_its_place(folder: str) -> None:
    missing = [
        f"{folder}/{name}"
        for name in TREE[folder].split()
        if not (ROOT / folder / (name if name.endswith("/") else f"{name}.py")).exists()
        and not (ROOT / folder / name / "__init__.py").exists()  # a module that grew into a package
    ]
    assert missing == []


def test_the_packages_stand_beside_each_other_at_the_top() -> None:
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found - {"tests", "benchmarks", "sdk"} == {"gateway", "clearing", "pnc", "sandbox"}


@pytest.mark.parametrize("package", ["gateway", "clearing", "pnc"])
def test_each_package_has_one_schema_and_moves_forward_from_it(package: str) -> None:
    files = sorted(path.name for path in (ROOT / package / "sql/migrations").glob("*.sql"))
    assert files
    assert files[0] == "0001_schema.sql"


# What every request passes before its handler, and the pages that monitors read.
OPENS_CONNECTIONS = {"auth", "idempotency", "health", "metrics", "business_metrics"}


def _opened_connections(path: Path) -> list[str]:
    """The places in a module that open a connection or a transaction."""
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr in {"acquire", "transaction"})
            or (isinstance(node.func, ast.Name) and node.func.id.endswith("transaction"))
        )
    ]


def test_a_handler_calls_a_service_and_opens_no_transaction() -> None:
    modules = sorted((ROOT / "gateway/api").rglob("*.py"))
    assert modules
    opened = {path: _opened_connections(path) for path in modules}
    named = {path.stem for path, places in opened.items() if places and path.parent.name == "api"}
    assert named == OPENS_CONNECTIONS
    assert [place for path, places in opened.items() if path.parent.name != "api" for place in places] == []
