"""Each package's SQL names its own schema only, in files and in the text of its modules."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCHEMAS = ("gateway", "clearing", "pnc")
# A table of a schema in a statement, not an import path, a metric or a lock's name.
TABLE = r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|REFERENCES|ON|ANALYZE)\s+(?:ONLY\s+)?{schema}\.[a-z_]+"


def statements(package: str) -> Iterator[tuple[str, str]]:
    """SQL files of a package without their comments, and texts of its modules, each with its place."""
    for path in sorted((ROOT / package).rglob("*.sql")):
        text = path.read_text(encoding="utf-8")
        yield path.relative_to(ROOT).as_posix(), re.sub(r"--[^\n]*", "", text)
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


@pytest.mark.parametrize("package", SCHEMAS)
def test_no_statement_names_a_table_of_another_package(package: str) -> None:
    others = [schema for schema in SCHEMAS if schema != package]
    table = re.compile(TABLE.format(schema=f"(?:{'|'.join(others)})"))
    assert {place: found[0] for place, text in statements(package) if (found := table.search(text))} == {}


def test_a_foreign_table_would_be_found() -> None:
    table = re.compile(TABLE.format(schema="clearing"))
    assert table.search("SELECT max(rate_date) FROM clearing.fx_rate")
    assert table.search("UPDATE clearing.payable SET state = 'open'")
    assert not table.search("from clearing.payouts import service")


@pytest.mark.parametrize("package", ["gateway", "clearing", "pnc"])
def test_every_query_is_called(package: str) -> None:
    """A query that nothing in its package names is dead; a name in quotes is looked up by getattr."""
    names = {
        match.group(1): path.name
        for path in (ROOT / package / "sql").glob("*.sql")
        for match in re.finditer(r"(?m)^-- name: (\w+)", path.read_text(encoding="utf-8"))
    }
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / package).rglob("*.py")))
    called = set(re.findall(r"[.\"'](\w+)\b", text))
    assert {
        f"{file}: {name}" for name, file in names.items() if not {name, f"{name}_cursor"} & called
    } == set()
