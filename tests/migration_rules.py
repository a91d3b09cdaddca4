"""Which SQL of a migration would stop a running system, and what to write instead.

Owns: the rules of docs/operations/migrations.md, as a pure function over a file's text. Must not know: the
database, which files there are. The text is read by pattern, not parsed: a migration that writes SQL in
another way than this project does may pass unread.
"""

import re
from typing import Final

from gateway.migration_steps import runs_outside

_COMMENT: Final = re.compile(r"--[^\n]*")
_BODY: Final = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)
_CREATED: Final = re.compile(r"^create\s+table\s+(?:if\s+not\s+exists\s+)?(\S+)", re.IGNORECASE)
_INDEX: Final = re.compile(
    r"^create\s+(?:unique\s+)?index\s+(concurrently\s+)?(?:if\s+not\s+exists\s+)?\S+\s+on\s+([^\s(]+)",
    re.IGNORECASE,
)
_ALTER: Final = re.compile(
    r"^alter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?(\S+)\s+(.*)$", re.IGNORECASE | re.DOTALL
)
_WRITE: Final = re.compile(r"^(?:update|delete\s+from|insert\s+into)\s+(?:only\s+)?([^\s(]+)", re.IGNORECASE)
_INSERT_VALUES: Final = re.compile(r"^insert\s+into\s+\S+\s*(?:\([^)]*\))?\s*values\b", re.IGNORECASE)
_DROP: Final = re.compile(r"^drop\s+(table|index|type|view)\s+(concurrently\s+)?", re.IGNORECASE)
_UNUSED: Final = re.compile(r"^-- unused since \d+\.\d+\.\d+\b", re.MULTILINE)
_PROVEN: Final = re.compile(r"^-- proven by the constraint \w+", re.MULTILINE)
_VOLATILE: Final = re.compile(
    r"default\s+\(?\s*(?:clock_timestamp|gen_random_uuid|uuidv[47]|random|nextval|timeofday)\b", re.IGNORECASE
)


def find_faults(sql: str) -> list[str]:
    """Return what of a migration would stop a running system, one sentence each; none where it may run."""
    statements = [part.strip() for part in _BODY.sub("''", _COMMENT.sub("", sql)).split(";") if part.strip()]
    new = {match[1].lower() for one in statements if (match := _CREATED.match(one))}
    outside = runs_outside(sql)
    unused, proven = bool(_UNUSED.search(sql)), bool(_PROVEN.search(sql))
    faults: list[str] = []
    for statement in statements:
        faults += _index_faults(statement, new=new, outside=outside)
        faults += _alter_faults(statement, new=new, outside=outside, unused=unused, proven=proven)
        faults += _write_faults(statement, new=new, outside=outside)
        faults += _drop_faults(statement, unused=unused)
    return faults


def _index_faults(statement: str, *, new: set[str], outside: bool) -> list[str]:
    found = _INDEX.match(statement)
    if found is None or found[2].lower() in new:
        return []
    if not found[1]:
        return [
            f"an index on {found[2]} stops its writers: make it CONCURRENTLY, in a file outside a transaction"
        ]
    return [] if outside else [f"CREATE INDEX CONCURRENTLY on {found[2]} needs a file outside a transaction"]


def _alter_faults(statement: str, *, new: set[str], outside: bool, unused: bool, proven: bool) -> list[str]:
    found = _ALTER.match(statement)
    if found is None or found[1].lower() in new:
        return []
    table = found[1]
    return [
        f"{table}: {fault}"
        for action in _actions(found[2])
        if (fault := _action_fault(action, outside=outside, unused=unused, proven=proven)) is not None
    ]


def _action_fault(action: str, *, outside: bool, unused: bool, proven: bool) -> str | None:
    """What is wrong with one action of an ALTER TABLE on a table that others use; None: nothing."""
    text = " ".join(action.lower().split())
    if text.startswith("validate constraint"):
        return None if outside else "VALIDATE CONSTRAINT belongs in a later file outside a transaction"
    if text.startswith("add column") or (text.startswith("add ") and not _is_constraint(text)):
        return _column_fault(text)
    if text.startswith("add"):
        if "using index" in text or "not valid" in text:
            return None
        if " unique" in text or "primary key" in text:
            return "make the unique index concurrently, then ADD CONSTRAINT ... USING INDEX"
        return "a new constraint reads the whole table: add it NOT VALID, and VALIDATE it in a later file"
    if text.startswith("drop column") and not unused:
        return (
            "the release before may use the column: drop it one release later, with `-- unused since 1.2.3`"
        )
    if text.startswith("rename"):
        return "the release before knows the old name: add, write both, drop one release later"
    if text.startswith("alter") and " type " in text:
        return "a new type may rewrite the table: add a column, fill it in batches, drop the old one later"
    if text.startswith("alter") and "set not null" in text and not proven:
        return (
            "SET NOT NULL reads the whole table: add CHECK (... IS NOT NULL) NOT VALID, validate it, then "
            "SET NOT NULL with `-- proven by the constraint NAME`"
        )
    return None


def _column_fault(text: str) -> str | None:
    if " check" in text or " references " in text or " unique" in text or "primary key" in text:
        return (
            "a column's constraint reads the whole table: add it NOT VALID on its own, and VALIDATE it later"
        )
    if "not null" in text and "default" not in text:
        return "the release before writes no value: let the column be null or have a constant default"
    if _VOLATILE.search(text):
        return "a default that differs by row rewrites the table: set a constant, or fill the rows in batches"
    return None


def _write_faults(statement: str, *, new: set[str], outside: bool) -> list[str]:
    found = _WRITE.match(statement)
    if found is None or found[1].lower() in new or outside or _INSERT_VALUES.match(statement):
        return []
    return [f"rows of {found[1]} stay locked: change them in batches, in a file outside a transaction"]


def _drop_faults(statement: str, *, unused: bool) -> list[str]:
    found = _DROP.match(statement)
    if found is None or unused or (found[1].lower() == "index" and found[2]):
        return []
    if found[1].lower() == "index":
        return [
            "DROP INDEX waits for all: DROP INDEX CONCURRENTLY IF EXISTS, in a file outside a transaction"
        ]
    return [f"the release before may use it: drop the {found[1].lower()} later, with `-- unused since 1.2.3`"]


def _is_constraint(text: str) -> bool:
    return re.match(r"add (constraint|check|unique|primary key|foreign key|exclude)\b", text) is not None


def _actions(text: str) -> list[str]:
    """The actions of an ALTER TABLE, split at the commas outside brackets."""
    depth, begin, found = 0, 0, []
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            found.append(text[begin:place].strip())
            begin = place + 1
    return [*found, text[begin:].strip()]
