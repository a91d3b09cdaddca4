"""Style as a test: sizes, names, places and words that a linter does not know."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import BaseModel

ROOT = Path(__file__).parents[2]
OURSELVES = "tests/unit/test_code_style.py"
PACKAGES = ("gateway", "clearing", "pnc", "sandbox")
MAX_FILE_LINES = 500
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
# A name of DATEX II keeps its spelling, as every external wire value does.
# What only the database can see: who changes which row of administration, and who may do what at it.
ALLOWED_FUNCTIONS = {
    "gateway/sql/migrations/0038_admin_acts.sql",
    "gateway/sql/migrations/0040_database_roles.sql",
}
BRITISH = re.compile(
    r"\b(?!afacAnOrganisation\b)"
    r"\w*(?:authoris|normalis|serialis|initialis|recognis|organis|summaris|behaviour|colour|favour|honour|neighbour)"
    r"\w*",
    re.IGNORECASE,
)
# Metaphors; each has a standard term in docs/glossary.md. Plurals and forms are listed, not guessed.
BANNED_WORDS = {
    *("house", "houses", "room", "rooms", "desk", "desks", "errand", "errands", "lane", "lanes"),
    *("shelf", "shelves", "purse", "purses", "hearing", "hearings", "truth", "truths"),
    *("promise", "promises", "promised", "told", "home"),
}
BANNED_PHRASES = {"in the air"}
# Where one of them is the standard term itself.
STANDARD_USES = re.compile(
    r"home_charging\w*|home[ -](director|charg|charger)\w*|HomeCharging\w*"  # OCPI and OCPP
    r"|--no-create-home|--home-dir|\bHOME\b"  # a user's home directory
    r"|\bPromise<|new Promise\b|awaitPromise",  # JavaScript and TypeScript
    re.IGNORECASE,
)
PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# Neither an answer nor a body: what the others derive from.
BASES_OF_WIRE_OBJECTS = {"WireModel", "QueryModel"}
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
    return [
        path
        for package in (*PACKAGES, "benchmarks", "sdk")
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


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
        # Recognizing a float in order to reject it is the one good use.
        if "isinstance" not in path.read_text(encoding="utf-8").splitlines()[node.lineno - 1]
    ]
    assert found == []


def test_only_the_clock_reads_the_time() -> None:
    # The sandbox and what it starts watch processes, not sessions. An OCPI envelope carries the wall time at
    # which it is made.
    exempt = (
        "gateway/clock.py",
        "gateway/ocpi/envelope.py",
        "sandbox/",
        "benchmarks/",
        "sdk/python/",
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


def test_no_banned_word_is_in_a_name_or_in_prose() -> None:
    # A name in snake_case, camelCase or capitals is read by its parts: names, keys and prose are one check.
    found = []
    for path in text_files():
        if name(path) in {OURSELVES, "LICENSE"}:
            continue
        found += [f"{name(path)}: the name of the file" for word in PART.findall(name(path)) if banned(word)]
        for number, line in enumerate(
            path.read_text(encoding="utf-8", errors="ignore").splitlines(), start=1
        ):
            text = STANDARD_USES.sub("", line)
            words = {word.lower() for word in PART.findall(text) if banned(word)}
            words |= {phrase for phrase in BANNED_PHRASES if phrase in text.lower()}
            found += [f"{name(path)}:{number}: {word}: {line.strip()[:90]}" for word in sorted(words)]
    assert not found, "\n".join(found)


def banned(word: str) -> bool:
    return word.lower() in BANNED_WORDS


def test_no_two_public_classes_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees():
        if path.relative_to(ROOT).parts[0] in PACKAGES:
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(name(path))
    assert {found: files for found, files in places.items() if len(files) > 1} == {}


def test_what_is_left_unformatted_says_why() -> None:
    found = [
        f"{name(path)}:{number}"
        for path in [*sources(), *sorted((ROOT / "tests").rglob("*.py"))]
        if name(path) != OURSELVES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"#\s*fmt:\s*(skip|off)", line)
        and not re.search(r"# [A-Za-z].{10,} *# fmt: (skip|off)$", line)
    ]
    assert found == []


def test_objects_of_the_api_end_in_schema_and_bodies_in_body() -> None:
    modules = [path for path, _ in trees() if name(path).startswith(("gateway/api/", "gateway/schemas/"))]
    for path in modules:
        import_module(name(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    found = [
        f"{model.__module__}.{model.__name__}"
        for model in subclasses(BaseModel)
        if model.__module__.startswith(("gateway.api.", "gateway.schemas."))
        and not model.__name__.startswith("_")
        and not model.__name__.endswith(("Schema", "Body", "Query"))  # a query is the parameters of a GET
        and model.__name__ not in BASES_OF_WIRE_OBJECTS
    ]
    assert not found, "\n".join(found)


def subclasses(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in model.__subclasses__():
        if "[" not in one.__name__:
            yield one
        yield from subclasses(one)


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
def test_migrations_hold_to_the_rules_of_shards(package: str) -> None:
    for path in sorted((ROOT / package / "sql" / "migrations").glob("*.sql")):
        sql = re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8")).lower()
        words = set() if name(path) in ALLOWED_FUNCTIONS else {"create trigger", "create function", "plpgsql"}
        for word in (
            *words,
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
            # A lookup by a foreign id is distributed by that id, and tells the shard.
            sharded = re.search(r"^\s*shard\s+smallint", table[1], re.MULTILINE)
            if sharded and not table[0].endswith("_lookup"):
                for columns in re.findall(r"(?:primary key|unique)\s*\(([^)]*)\)", table[1]):
                    assert columns.split(",")[0].strip() == "shard", f"{name(path)}: {table[0]} ({columns})"
