"""Versions of the API: what each changed, and how an answer or a request is turned from one into another.

Owns: the shape of a version and of a change, the turning of bodies and query strings, and the headers that
announce an end.
Must not know which versions there are, HTTP, or any resource. Everything here is a pure function of its
arguments.

The program knows the newest shape only. A change says how an answer of the newer version becomes one of the
older, and how a request of the older becomes one of the newer; several versions apart, changes follow one
another. Sources: RFC 9745 (Deprecation), RFC 8594 (Sunset), RFC 8288 (Link).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime
from typing import Any, Final

import msgspec

Json = dict[str, Any]
Turn = Callable[[Json], Json]
CHANGELOG_PATH: Final = "/reference/versions"
# Members whose content is the caller's or the PSP's: an `object` in them is none of ours.
_OTHERS: Final = frozenset({"metadata", "next_action"})
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """Since when something is deprecated, until when it works (None: not decided), what to use instead."""

    since: datetime
    until: datetime | None
    instead: str

    def __post_init__(self) -> None:
        """Both times are aware, and the end follows (RFC 9745 section 4)."""
        if self.since.tzinfo is None or (self.until is not None and self.until.tzinfo is None):
            raise ValueError("a deprecation needs aware times")
        if self.until is not None and self.until <= self.since:
            raise ValueError("what is deprecated ends after it was deprecated")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiVersion:
    """A version, named by its date; `about` is one line for readers."""

    name: str
    about: str
    deprecation: Deprecation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionChange:
    """One change that breaks: since `version`, in words, and as functions of bodies.

    `answers` turns an object, found by its `object` member wherever it stands in an answer or an event, but
    not in what is the caller's own, into the shape before the change. `requests` turns the body of an
    operation of the shape before into the newer, `queries` the parameters of its query string, each a text.
    A function gets a copy that it may change. `breaks` are the parts of the description that change, as
    `gateway.api.contract` names them.
    """

    version: str
    about: str
    answers: Mapping[str, Turn] = field(default_factory=dict)
    requests: Mapping[str, Turn] = field(default_factory=dict)
    queries: Mapping[str, Turn] = field(default_factory=dict)
    breaks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionCatalogue:
    """All versions, the oldest first, their changes in order, and what is deprecated by operation."""

    versions: Sequence[ApiVersion]
    changes: Sequence[VersionChange] = ()
    operations: Mapping[str, Deprecation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Versions ascend, and changes stand in the order of the versions that made them."""
        names = self.names
        if not names or sorted(set(names)) != list(names):
            raise ValueError("versions are given once each, the oldest first")
        of_changes = [change.version for change in self.changes]
        if not set(of_changes) <= set(names[1:]) or sorted(of_changes) != of_changes:
            raise ValueError("a change belongs to a version after the first, in their order")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all versions, the oldest first."""
        return tuple(version.name for version in self.versions)

    @property
    def newest(self) -> str:
        """The version that the program speaks."""
        return self.versions[-1].name

    def find(self, name: str) -> ApiVersion | None:
        """The version of this name."""
        return next((version for version in self.versions if version.name == name), None)

    def changes_after(self, name: str) -> list[VersionChange]:
        """The changes of later versions, in order."""
        return [change for change in self.changes if change.version > name]

    def reads_answers(self, name: str) -> bool:
        """Whether answers in this version may differ from those in the newest."""
        return any(change.answers for change in self.changes_after(name))

    def reads_requests(self, name: str, operation: str) -> bool:
        """Whether bodies of an operation in this version may differ from those in the newest."""
        return any(operation in change.requests for change in self.changes_after(name))


def older_answer(catalogue: VersionCatalogue, body: Any, *, version: str) -> Any:
    """An answer of the newest version as it is in `version`; `body` is JSON and stays as it is."""
    for change in reversed(catalogue.changes_after(version)):
        if change.answers:
            body = _turned(body, change.answers)
    return body


def newer_request(catalogue: VersionCatalogue, operation: str, body: Any, *, version: str) -> Any:
    """A request of `version` as it is in the newest; what is no object is left to the operation to reject."""
    for change in catalogue.changes_after(version):
        turn = change.requests.get(operation)
        if turn is not None and isinstance(body, dict):
            body = turn(dict(body))
    return body


def newer_query(
    catalogue: VersionCatalogue, operation: str, query: Mapping[str, str], *, version: str
) -> Mapping[str, str]:
    """The parameters of a query string of `version` as they are in the newest; what is given stays."""
    for change in catalogue.changes_after(version):
        turn = change.queries.get(operation)
        if turn is not None:
            query = turn(dict(query))
    return query


def bytes_in_version(catalogue: VersionCatalogue, body: bytes, *, version: str) -> bytes:
    """The JSON of an answer or of an event's data as it is in `version`; numbers stay as written."""
    if not body or not catalogue.reads_answers(version):
        return body
    return _encoder.encode(older_answer(catalogue, _read(body), version=version))


def bytes_in_newest(catalogue: VersionCatalogue, operation: str, raw: bytes, *, version: str) -> bytes:
    """The JSON of a request in the newest version; numbers stay as written, and what is no JSON as it is."""
    if not raw or not catalogue.reads_requests(version, operation):
        return raw
    try:
        body = _read(raw)
        _encoder.encode(body)  # a text may hold half a character
    except (ValueError, RecursionError):
        return raw
    return _encoder.encode(newer_request(catalogue, operation, body, version=version))


def _read(content: bytes) -> Any:
    return json.loads(content, parse_float=Decimal, parse_constant=_reject_constant)


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _turned(value: Any, turns: Mapping[str, Turn]) -> Any:
    """A copy in which each object with a turn is turned, the inner ones first."""
    if isinstance(value, dict):
        copied = {
            name: member if name in _OTHERS else _turned(member, turns) for name, member in value.items()
        }
        kind = copied.get("object")
        turn = turns.get(kind) if isinstance(kind, str) else None
        return copied if turn is None else turn(copied)
    if isinstance(value, list):
        return [_turned(member, turns) for member in value]
    return value


def lifecycle_headers(
    catalogue: VersionCatalogue, *, version: str, operation: str, base_url: str
) -> dict[str, str]:
    """Deprecation, Sunset and Link of an answer; empty where neither version nor operation is deprecated.

    Both deprecated: the earlier of each time. `Deprecation` is a date of structured fields, `Sunset` an
    HTTP date.
    """
    known = catalogue.find(version)
    found = [
        one
        for one in (None if known is None else known.deprecation, catalogue.operations.get(operation))
        if one is not None
    ]
    if not found:
        return {}
    page = f"{base_url}{CHANGELOG_PATH}"
    links = [f'<{page}>; rel="deprecation"; type="text/html"']
    headers = {"Deprecation": f"@{int(min(one.since for one in found).timestamp())}"}
    ends = [one.until for one in found if one.until is not None]
    if ends:
        headers["Sunset"] = format_datetime(min(ends).astimezone(UTC), usegmt=True)
        links.append(f'<{page}>; rel="sunset"; type="text/html"')
    return {**headers, "Link": ", ".join(links)}


def renamed(old: str, new: str) -> tuple[Turn, Turn]:
    """The two turns of a field's new name: of an answer to the older, of a request to the newer."""
    return (lambda body: _moved(body, new, old)), (lambda body: _moved(body, old, new))


def _moved(body: Json, present: str, wanted: str) -> Json:
    """The member under its other name, in its place."""
    return {wanted if name == present else name: value for name, value in body.items()}


def each(member: str, turn: Turn) -> Turn:
    """A turn of every object in a list that is a member."""

    def of_all(body: Json) -> Json:
        body[member] = [turn(one) for one in body.get(member) or ()]
        return body

    return of_all


def changelog_rows(catalogue: VersionCatalogue) -> Iterable[tuple[ApiVersion, Sequence[VersionChange]]]:
    """Each version with its changes, the newest first."""
    for version in reversed(catalogue.versions):
        yield version, [change for change in catalogue.changes if change.version == version.name]
