"""A person's rows as files: one JSON object by table, and CSV of one field a line.

Owns: both forms. Must not know whose rows they are, or where they go. A field of JSON is read as far as it
goes, so that a CDR stands in the export as its CPO sent it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

_DOCUMENTS: Final = frozenset({"cdr", "raw", "body"})


def export_json(found: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The rows by table, JSON-ready: what is a document is read, numbers keep their digits as text."""
    return {table: [_row(row) for row in rows] for table, rows in found.items()}


def export_lines(found: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, int, str, str]]:
    """A line for each field: table, number of the row, path of the field, value as text."""
    for table, rows in export_json(found).items():
        for number, row in enumerate(rows, start=1):
            for path, value in _fields(row, ()):
                yield table, number, ".".join(path), _safe(value)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(_document(value) if name in _DOCUMENTS else value) for name, value in row.items()}


def _document(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_float=Decimal)
    except ValueError:
        return value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value


def _fields(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _fields(part, (*path, str(name)))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _fields(part, (*path, str(number)))
    elif value is not None:
        yield path, value


def _safe(value: Any) -> str:
    """A cell that no program takes for a formula."""
    text = str(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        Decimal(text)
    except ArithmeticError:
        return False
    return True
