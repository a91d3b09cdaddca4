"""Plug & Charge's boundaries: one place for its SQL, and few doors for the gateway."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pnc

ROOT: Final = Path(pnc.__file__).parent.parent
SERVICES: Final = frozenset(
    {
        "certificate_registry",
        "certificate_status_service",
        "contract_administration",
        "contract_authority_administration",
        "contract_certificates",
        "contract_spending",
        "decision_lifecycle",
        "overview_service",
        "personal_data_service",
        "provider_administration",
        "revocation_checker",
        "revocation_refresh",
        "revocation_list_description",
        "root_description",
        "service",
        "trust_administration",
        "trust_list_administration",
    }
)
VALUES: Final = frozenset(
    {
        "authorization",
        "certificate",
        "certificate_chain",
        "certificate_input",
        "contract",
        "contract_pool",
        "contract_pool_directory",
        "data_transfer",
        "decision_explanation",
        "emaid",
        "errors",
        "ev_certificate_pool",
        "hash_data",
        "messages",
        "ports",
        "rejection_reasons",
        "revocation_evidence",
        "trust",
    }
)


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, and every name that it imports from a package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_only_the_repository_loads_sql() -> None:
    loading = {
        path.relative_to(ROOT).as_posix()
        for path in modules("pnc")
        if any(name.split(".")[0] == "aiosql" or name.endswith("load_queries") for name in imported(path))
    }
    assert {name for name in loading if not name.startswith("pnc/repository/")} == set()
    assert loading, "the repository loads the SQL"


def test_the_gateway_uses_services_and_values_and_never_the_repository() -> None:
    allowed = SERVICES | VALUES
    for path in (*modules("gateway"), *modules("clearing")):
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "pnc" and len(parts) > 1:
                assert parts[1] in allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_the_gateways_sql_names_no_table_of_plug_and_charge() -> None:
    for path in sorted((ROOT / "gateway" / "sql").rglob("*.sql")):
        assert "pnc." not in path.read_text(encoding="utf-8"), path.name
