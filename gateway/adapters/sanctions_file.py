"""A sanctions list in a file: the EU's consolidated list as XML or CSV, or a CSV of one's own.

Owns: these formats. Must not know: what is compared with it. Sources: the Commission's Financial Sanctions
Files (`export` with `generationDate`, `sanctionEntity` with `nameAlias/@wholeName`; the CSV with
`fileGenerationDate`, `Entity_LogicalId`, `NameAlias_WholeName`, separated by semicolons). One's own: columns
`published_on`, `entry_id` and `name`, separated by commas, a line for each name.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final

from clearing.errors import UnreadableMessageError
from clearing.iso20022.safe_xml import local, subtrees
from clearing.sanctions.screening import SanctionsEntry, SanctionsList

_GENERATED: Final = re.compile(rb'generationDate="(\d{4}-\d{2}-\d{2})')
_HEAD: Final = 4096
_MAX_BYTES: Final = 256 * 1024 * 1024
_EU: Final = ("fileGenerationDate", "Entity_LogicalId", "NameAlias_WholeName")
_OWN: Final = ("published_on", "entry_id", "name")


@dataclass(frozen=True, slots=True, kw_only=True)
class SanctionsFile:
    """The list in the file at `path`, replaced by whoever fetches it."""

    path: Path

    def load(self) -> SanctionsList:
        """Read the file. Raises UnreadableMessageError, naming what is wrong with it."""
        try:
            with self.path.open("rb") as stream:
                raw = stream.read(_MAX_BYTES + 1)
        except OSError as error:
            raise UnreadableMessageError("/", f"{self.path} can't be read: {error.strerror}") from None
        if len(raw) > _MAX_BYTES:
            raise UnreadableMessageError("/", f"{self.path} is larger than {_MAX_BYTES} bytes")
        return parse_sanctions_list(raw)


def parse_sanctions_list(raw: bytes) -> SanctionsList:
    """A list from its bytes. Raises UnreadableMessageError; a list without an entry is one too."""
    is_xml = raw.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<")
    published, names = _from_xml(raw) if is_xml else _from_csv(raw)
    if not names:
        raise UnreadableMessageError("/", "the sanctions list names nobody")
    entries = [SanctionsEntry(id=key, names=tuple(dict.fromkeys(found))) for key, found in names.items()]
    return SanctionsList(
        published_on=published, digest=hashlib.sha256(raw).hexdigest(), entries=tuple(entries)
    )


def _from_xml(raw: bytes) -> tuple[date, dict[str, list[str]]]:
    generated = _GENERATED.search(raw[:_HEAD])
    if generated is None:
        raise UnreadableMessageError("/export", "has no generationDate")
    names: dict[str, list[str]] = {}
    for _, entity in subtrees(io.BytesIO(raw), names=("sanctionEntity",)):
        key = entity.get("logicalId", "")
        for part in entity.iter():
            name = part.get("wholeName", "").strip() if local(part.tag) == "nameAlias" else ""
            if name:
                names.setdefault(key, []).append(name)
    return _day(generated[1].decode(), "/export"), names


def _from_csv(raw: bytes) -> tuple[date, dict[str, list[str]]]:
    try:
        text = raw.decode("utf-8-sig")
        heading = text.partition("\n")[0]
        is_eu = "NameAlias_WholeName" in heading
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if is_eu else ",")
        columns = _EU if is_eu else _OWN
        missing = [one for one in columns if one not in (reader.fieldnames or ())]
        if missing:
            raise UnreadableMessageError("/1", f"has no column {missing[0]}")
        return _names(reader, columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableMessageError("/", f"is no CSV file in UTF-8: {error}") from None


def _names(
    rows: Iterable[Mapping[str, str | None]], columns: tuple[str, str, str]
) -> tuple[date, dict[str, list[str]]]:
    published: date | None = None
    names: dict[str, list[str]] = {}
    for number, row in enumerate(rows, start=2):
        day, key, name = ((row[column] or "").strip() for column in columns)
        if name:
            names.setdefault(key, []).append(name)
        if day:
            seen = _day(day, f"/{number}")
            published = seen if published is None else min(published, seen)
    if published is None:
        raise UnreadableMessageError("/2", f"has no {columns[0]}")
    return published, names


def _day(text: str, where: str) -> date:
    for form in ("%Y-%m-%d", "%d/%m/%Y"):
        try:
            return datetime.strptime(text[:10], form).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    raise UnreadableMessageError(where, f"{text!r} is no day such as 2026-11-01")
