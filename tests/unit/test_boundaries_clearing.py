"""Clearing's boundaries: one place for its SQL, and its services for the gateway."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import clearing

ROOT: Final = Path(clearing.__file__).parents[1]
SQL: Final = ROOT / "clearing" / "sql"
# What a pure module never imports; the import contract names those of the standard library and of packages.
STORED: Final = ("clearing.connection",)
# Beside services: the audit, the composition, and the steps of the sessions' corrections.
OUTER: Final = frozenset({"audit", "connection", "corrections", "ports", "services"})


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, and every name that it imports from a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_repository(path: Path) -> bool:
    return path.stem == "repository" or path.stem.endswith("_repository") or path.parent.name == "reporting"


def is_service(path: Path) -> bool:
    return path.stem in OUTER or path.stem.endswith(("service", "administration", "importer"))


def queries(path: Path) -> list[str]:
    """The SQL files that a module loads, by name."""
    return [
        ast.literal_eval(node.args[0])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "named_queries"
    ]


def test_only_repositories_and_reports_load_sql() -> None:
    loading = {path for path in modules("clearing") if queries(path)}
    assert {path.relative_to(ROOT).as_posix() for path in loading if not is_repository(path)} == set()
    loaders = {"aiosql", "clearing.connection.named_queries"}
    for path in modules("clearing"):
        if not is_repository(path) and path != ROOT / "clearing" / "connection.py":
            assert not loaders & set(imported(path)), path.relative_to(ROOT)


def test_each_sql_file_belongs_to_one_module_of_the_same_name() -> None:
    owners = Counter(name for path in modules("clearing") for name in queries(path))
    assert sorted(owners) == sorted(path.stem for path in SQL.glob("*.sql"))
    assert {name for name, count in owners.items() if count > 1} == set()
    for path in modules("clearing"):
        stem = path.parent.name if path.stem == "repository" else path.stem.removesuffix("_repository")
        for name in queries(path):
            assert name == stem, f"{path.relative_to(ROOT)} loads {name}.sql"


def test_no_statement_is_written_in_python() -> None:
    """The one exception is the bulk copy, which names a table and its columns."""
    statement = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\s+[a-z_*(]")
    for path in modules("clearing"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not statement.search(node.value), f"{path.relative_to(ROOT)}:{node.lineno}"


def test_only_services_repositories_and_reports_take_a_connection() -> None:
    for path in modules("clearing"):
        if not (is_repository(path) or is_service(path)):
            stored = [name for name in imported(path) if name.startswith(STORED)]
            assert not stored, f"{path.relative_to(ROOT)} imports {stored}"


def test_the_gateway_never_imports_a_repository_of_clearing() -> None:
    for package in ("gateway", "sandbox"):
        for path in modules(package):
            found = {
                name
                for name in imported(path)
                if name.startswith("clearing.") and re.search(r"\brepository\b|_repository\b", name)
            }
            assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_in_each_subject_services_are_above_repositories_and_these_above_rules() -> None:
    """A repository imports no service; rules and values import neither."""
    for path in modules("clearing"):
        if path.parent.name == "reporting" or is_service(path):
            continue
        above = r"\bservice$|_service$|administration$"
        if not is_repository(path):
            above += r"|\brepository$|_repository$"
        found = {name for name in imported(path) if name.startswith("clearing.") and re.search(above, name)}
        assert not found, f"{path.relative_to(ROOT)} imports {found}"
