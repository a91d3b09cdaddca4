"""`networkcore personal-data`: a driver's data as files, and the erasures that were carried out.

Owns: the options, the files and what is printed. Must not know what is exported.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from gateway.cli.command_group import CommandGroup
from gateway.cli.erase import person_service, subject_of, subject_options
from gateway.cli.tables import as_json_option, show_rows
from gateway.cli.transaction import in_transaction
from gateway.database import Connection
from gateway.ids import format_id
from gateway.personal_data import person_repository
from gateway.personal_data.export import export_json, export_lines

_MOST: Final = 10_000
_HEADINGS: Final = ("table", "row", "field", "value")


@click.group(name="personal-data", cls=CommandGroup)
def command() -> None:
    """Export the personal data of a driver; list erasures."""


@command.command(name="export")
@subject_options
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory for personal-data.json and personal-data.csv; without it JSON is printed.",
)
def export_command(*, output: Path | None, **given: str | None) -> None:
    """Export every row of a driver, as JSON and as CSV: Regulation (EU) 2016/679 art. 15 and 20."""
    subject = subject_of(**given)
    service = person_service()

    async def work(connection: Connection) -> Mapping[str, Sequence[Any]]:
        return await service.export(connection, subject)

    found = in_transaction(work, command="personal-data export", isolation="repeatable_read", reading=True)
    if output is None:
        click.echo(json.dumps(export_json(found), ensure_ascii=False, indent=2))
        return
    output.mkdir(parents=True, exist_ok=True)
    _write(output / "personal-data.json", json.dumps(export_json(found), ensure_ascii=False, indent=2) + "\n")
    with _private(output / "personal-data.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADINGS)
        writer.writerows(export_lines(found))
    rows = sum(len(one) for one in found.values())
    click.echo(f"{rows} rows of {len(found)} tables: {output}/personal-data.json, {output}/personal-data.csv")


@command.command(name="erasures")
@as_json_option
def erasures_command(*, as_json: bool) -> None:
    """List the erasures that were carried out, newest first. They name nobody."""

    async def work(connection: Connection) -> list[dict[str, Any]]:
        return list(_rows(await person_repository.list_erasures(connection, limit=_MOST)))

    rows = in_transaction(work, command="personal-data erasures")
    show_rows(rows, title="Erasures", none="Nobody was erased.", as_json=as_json)


def _rows(found: Sequence[person_repository.ErasureRecord]) -> Iterator[dict[str, Any]]:
    for one in found:
        yield {
            "id": format_id("era", one.id),
            "pseudonym": one.pseudonym,
            "erased_at": one.erased_at,
            "erased_by": one.erased_by,
            "reason": one.reason,
            "erased": dict(one.erased),
            "kept": [f"{kept['rule']} until {kept['until']}" for kept in one.kept],
        }


def _private(path: Path) -> Path:
    """The file, readable by its owner alone."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    return path


def _write(path: Path, text: str) -> None:
    _private(path).write_text(text, encoding="utf-8")
