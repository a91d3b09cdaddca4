"""Style as a test: sizes, names, places and words that a linter does not know."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURSELVES = "tests/unit/test_house.py"
PACKAGES = ("gateway", "clearing", "pnc")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "base", "misc"}
# Generated or not ours; sizes and words in them are not our choice.
SKIPPED_PARTS = {".git", ".venv", ".networkcore", "build", "dist", "secrets", "__pycache__"}
SKIPPED_SUFFIXES = {".pyc", ".so", ".png", ".der", ".gz", ".zip", ".sqlite"}

READS_OF_THE_TIME = {
    ("now", "datetime"),
    ("utcnow", "datetime"),
    ("today", "datetime"),
    ("today", "date"),
    ("time", "time"),
    ("time_ns", "time"),
}

MACHINE_PATH = re.compile(r"(?<![\w./:~-])/(?:work|root|home/[a-z_][\w-]*|Users/\w+)/[\w.-]")
REGISTRY = re.compile(
    r"--(?:extra-)?index[-]url|--find[-]links|--trusted-host|https?://\S*/(?:simple|packages)/|/simple/",
    re.IGNORECASE,
)
BRITISH = re.compile(
    r"\b\w*(?:authoris|normalis|serialis|initialis|recognis|organis|summaris|behaviour|colour|favour|honour|neighbour)"
    r"\w*",
    re.IGNORECASE,
)
NOQA = re.compile(r"#\s*noqa(?P<rest>.*)$")
NOQA_WITH_REASON = re.compile(r": [A-Z]+\d+(?:, ?[A-Z]+\d+)* +- \S.*")


def text_files() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        relative = path.relative_to(ROOT)
        hidden = {part for part in relative.parts[:-1] if part.startswith(".") and part != ".ci"}
        if not path.is_file() or hidden or SKIPPED_PARTS & set(relative.parts):
            continue
        if path.suffix in SKIPPED_SUFFIXES or any(part.endswith(".egg-info") for part in relative.parts):
            continue
        yield path


def sources() -> list[Path]:
    return [path for package in (*PACKAGES, "benchmarks") for path in sorted((ROOT / package).rglob("*.py"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sources()]


def lines_matching(pattern: re.Pattern[str], *, skip: set[str]) -> list[str]:
    found = []
    for path in text_files():
        if name(path) in skip:
            continue
        for number, line in enumerate(
            path.read_text(encoding="utf-8", errors="ignore").splitlines(), start=1
        ):
            if pattern.search(line):
                found.append(f"{name(path)}:{number}: {line.strip()[:120]}")
    return found


def test_files_fit_a_reader() -> None:
    sizes = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {file: lines for file, lines in sizes.items() if lines > MAX_FILE_LINES} == {}


def test_functions_fit_a_screen() -> None:
    sizes = {
        f"{name(path)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {function: lines for function, lines in sizes.items() if lines > MAX_FUNCTION_LINES} == {}


def test_modules_say_what_they_are() -> None:
    assert [name(path) for path, tree in trees() if not ast.get_docstring(tree)] == []


def test_no_name_says_nothing() -> None:
    assert [
        name(path) for path in sources() if EMPTY_NAMES & {path.stem, *path.relative_to(ROOT).parts}
    ] == []
    classes = [
        f"{name(path)}:{node.lineno} {node.name}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helper|Utils?)$", node.name)
    ]
    assert classes == []


def test_a_suppressed_rule_says_why() -> None:
    bare = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (match := NOQA.search(line)) and not NOQA_WITH_REASON.fullmatch(match["rest"])
    ]
    assert bare == []


def test_no_float_touches_money() -> None:
    found = [
        f"{name(path)}:{node.lineno}"
        for path, tree in trees()
        if path.relative_to(ROOT).parts[0] == "clearing"
        for node in ast.walk(tree)
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.Name) and node.id == "float")
        # Telling a float in order to refuse it is the one good use.
        if "isinstance" not in path.read_text(encoding="utf-8").splitlines()[node.lineno - 1]
    ]
    assert found == []


def test_only_the_clock_reads_the_time() -> None:
    # Commands start a process; the sandbox and its lifelines watch processes, not sessions.
    # An OCPI envelope bears the wall time at which it is sealed.
    exempt = (
        "gateway/clock.py",
        "gateway/commands/",
        "gateway/ocpi/envelope.py",
        "gateway/sandbox/",
        "benchmarks/",
    )
    found = [
        f"{name(path)}:{node.lineno}"
        for path, tree in trees()
        if not name(path).startswith(exempt)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (node.func.attr, getattr(node.func.value, "id", "")) in READS_OF_THE_TIME
    ]
    assert found == []


def test_no_path_of_a_machine() -> None:
    assert lines_matching(MACHINE_PATH, skip={OURSELVES}) == []


def test_no_registry_is_named() -> None:
    assert lines_matching(REGISTRY, skip={OURSELVES}) == []


def test_american_spelling() -> None:
    found = lines_matching(BRITISH, skip={"LICENSE"})
    assert [line for line in found if not line.startswith("tests/")] == []


def test_no_key_of_real_money() -> None:
    assert not lines_matching(
        re.compile(r"\b[sr]k_live_[A-Za-z0-9]{16,}|BEGIN [A-Z ]*PRIVATE KEY"), skip=set()
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_migrations_hold_to_the_rules_of_lanes(package: str) -> None:
    for path in sorted((ROOT / package / "sql" / "migrations").glob("*.sql")):
        sql = re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8")).lower()
        for word in (
            "create trigger",
            "create function",
            "plpgsql",
            "bigserial",
            "nextval",
            "double precision",
            "real ",
        ):
            assert word not in sql, f"{name(path)}: {word}"
        assert not re.search(r"\btimestamp\b(?! with time zone)", sql), (
            f"{name(path)}: timestamp without zone"
        )
        for table in re.findall(r"create table\s+([\w.]+)\s*\((.*?)\n\);", sql, re.DOTALL):
            # A lookup by a foreign id is distributed by that id, and tells the lane.
            laned = re.search(r"^\s*lane\s+smallint", table[1], re.MULTILINE)
            if laned and not table[0].endswith("_lookup"):
                for columns in re.findall(r"(?:primary key|unique)\s*\(([^)]*)\)", table[1]):
                    assert columns.split(",")[0].strip() == "lane", f"{name(path)}: {table[0]} ({columns})"
