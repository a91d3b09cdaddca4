"""How a command shows rows: a table for people, one JSON array for programs, a sentence when there is none.

Owns the width of what is printed and the form of a cell. Must not know what the rows mean. On a terminal a
long cell continues on the next line; into a pipe or a file every row is one line.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNWRAPPED: Final = 100_000  # columns; no row is longer

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON array, not a table.")


def open_console() -> Console:
    """Standard output: as wide as the terminal, or without a limit where none is attached."""
    console = Console()
    return console if console.is_terminal else Console(width=_UNWRAPPED)


def show_rows(rows: Sequence[Mapping[str, Any]], *, title: str, none: str, as_json: bool) -> None:
    """Print the rows, whose keys are the headings; `none` is the sentence for an empty result.

    Into JSON go an empty array, ISO 8601 dates, decimals as text.
    """
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, default=_json_value))
        return
    if not rows:
        click.echo(none)
        return
    table = Table(title=title)
    for heading in rows[0]:
        table.add_column(heading.replace("_", " "), overflow="fold")  # an id cut off is no id
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    open_console().print(table)


def _cell(value: Any) -> Text:
    if isinstance(value, Mapping):
        return Text(", ".join(f"{name}: {part}" for name, part in value.items()))
    if isinstance(value, (list, tuple)):
        return Text(", ".join(map(str, value)))
    return Text("" if value is None else str(value))


def _json_value(value: Any) -> str:
    if isinstance(value, date):  # a datetime is one
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
