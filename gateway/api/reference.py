"""The API's reference in pages: one for each subject and each object, with side bar, search and examples.

Owns: how the OpenAPI document is divided into pages, what a search finds, and what a page lets a sandbox's
reader try. Must not know any resource. The pages are made once and fetch nothing but their style; a sandbox's
have one script of ours, by which a request is sent with a test key. A production gateway's run none: a live
key has no place in a page. `/docs` has all on one page.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from gateway.api import pages, versioning
from gateway.api.changelog import POLICY, describe_deprecation
from gateway.api_versions import VERSIONS
from gateway.version_rules import changelog_rows

ROOT: Final = "/reference"
STYLE: Final = f"{ROOT}/reference.css"
SCRIPT: Final = f"{ROOT}/reference.js"
VERSIONS_PAGE: Final = f"{ROOT}/versions"
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_CACHED: Final = {"Cache-Control": "public, max-age=300"}
HEADERS: Final = {"Content-Security-Policy": _POLICY, **_CACHED}
# Of pages that send requests: one script of ours, this origin alone, and no text ever becomes markup.
TRY_HEADERS: Final = {
    "Content-Security-Policy": f"{_POLICY}; script-src 'self'; connect-src 'self';"
    " require-trusted-types-for 'script'",
    **_CACHED,
}
_MOST_FOUND: Final = 50
_MOST_DEPTH: Final = 6
_LONGEST_QUERY: Final = 100
_SAMPLES: Final = {"integer": 1, "number": 1, "boolean": True, "null": None}
_FORMATS: Final = {"date-time": "2026-10-29T08:00:00Z", "date": "2026-10-29"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceEntry:
    """Something that a search finds: its title, what it is, its address and the words that it is found by."""

    title: str
    about: str
    address: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The pages of one document by their path, and the index of the search."""

    pages: Mapping[str, str]
    entries: Sequence[ReferenceEntry]
    subjects: Sequence[tuple[str, str]]
    headers: Mapping[str, str]

    def found(self, query: str) -> str:
        """The page of what a search finds."""
        asked = query[:_LONGEST_QUERY]
        return _render(
            "search", self.subjects, title=f"Search: {asked}", query=asked, found=search(self.entries, asked)
        )


def build_reference(document: Mapping[str, Any], *, base_url: str, try_it: bool = False) -> Reference:
    """All pages of a document; with `try_it` an operation can be called from its page."""
    subjects = [(tag["name"], f"{ROOT}/{_slug(tag['name'])}") for tag in document["tags"]]
    found = {
        ROOT: _render(
            "start",
            subjects,
            title=document["info"]["title"],
            about=_marked(document["info"]["description"]),
        )
    }
    for name, address in subjects:
        operations = [
            _operation(document, base_url, path, method, operation, try_it=try_it)
            for path, method, operation in _operations(document)
            if name in operation["tags"]
        ]
        found[address] = _render(
            "subject",
            subjects,
            title=name,
            operations=operations,
            current=address,
            script=_versioned(SCRIPT, script()) if try_it else None,
            versions=json.dumps(list(VERSIONS.names)),
        )
    for name, schema in document["components"]["schemas"].items():
        found[_object_address(name)] = _render(
            "object",
            subjects,
            title=name,
            fields=_linked(pages.object_section(document, name, schema)),
            example=_text(sample(document, schema)),
        )
    found[f"{ROOT}/event-types"] = _render(
        "events", subjects, title="Event types", fields=_linked(pages.events_section(document))
    )
    found[VERSIONS_PAGE] = _render("versions", subjects, title="Versions", **_changelog())
    return Reference(
        pages=found,
        entries=list(_entries(document)),
        subjects=subjects,
        headers=TRY_HEADERS if try_it else HEADERS,
    )


def search(entries: Sequence[ReferenceEntry], query: str) -> list[ReferenceEntry]:
    """What has all words of the query, titles first, at most fifty."""
    words = query.lower().split()
    if not words:
        return []
    fitting = [entry for entry in entries if all(word in entry.words for word in words)]
    fitting.sort(key=lambda entry: (not all(word in entry.title.lower() for word in words), entry.title))
    return fitting[:_MOST_FOUND]


def sample(document: Mapping[str, Any], schema: Mapping[str, Any], *, depth: int = 0) -> Any:
    """A value that fits a schema, from its examples where it has some."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return sample(document, document["components"]["schemas"][name], depth=depth)
    for key in ("example", "const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return sample(document, schema[key][0], depth=depth)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if depth >= _MOST_DEPTH:
        return None
    if kind == "array":
        return [sample(document, schema.get("items", {}), depth=depth + 1)]
    if kind == "object":
        return {
            name: sample(document, field, depth=depth + 1)
            for name, field in schema.get("properties", {}).items()
        }
    return _SAMPLES[kind] if kind in _SAMPLES else _FORMATS.get(schema.get("format", ""), "text")


def style() -> bytes:
    """The pages' style."""
    return _file("reference.css").encode()


def script() -> bytes:
    """The script of pages that send requests."""
    return _file("reference.js").encode()


def _changelog() -> dict[str, Any]:
    """The policy and each version with its changes, their texts escaped."""
    return {
        "policy": [_marked(line) for line in POLICY],
        "releases": [
            {
                "name": version.name,
                "about": _marked(version.about),
                "deprecated": version.deprecation and describe_deprecation(version.deprecation),
                "changes": [_marked(change.about) for change in changes],
            }
            for version, changes in changelog_rows(VERSIONS)
        ],
        "operations": [
            (name, describe_deprecation(one)) for name, one in sorted(VERSIONS.operations.items())
        ],
    }


def _marked(text: str) -> Markup:
    return Markup(pages.inline_code(text))  # noqa: S704 - escaped by pages


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _operation(
    document: Mapping[str, Any],
    base_url: str,
    path: str,
    method: str,
    operation: Mapping[str, Any],
    *,
    try_it: bool,
) -> dict[str, Any]:
    answer = next(
        (
            one["content"]["application/json"]
            for status, one in operation["responses"].items()
            if status.startswith("2") and "application/json" in one.get("content", {})
        ),
        None,
    )
    return {
        "id": operation["operationId"],
        "summary": operation["summary"],
        "section": _linked(pages.operation_section(document, path, method, operation)),
        "request": _request(document, base_url, path, method, operation),
        "tried": json.dumps(_tried(document, path, method, operation)) if try_it else None,
        "answer": None
        if answer is None
        else _text(answer["example"] if "example" in answer else sample(document, answer["schema"])),
    }


def _tried(
    document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]
) -> dict[str, Any]:
    """What the page's script builds a form of."""
    content = operation.get("requestBody", {}).get("content", {})
    media = next(iter(content), None)
    body = content.get("application/json")
    return {
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "public": operation.get("security") == [],
        "media": media,
        "body": None if body is None else _text(_body_of(document, body)),
        "parameters": [
            {
                "name": one["name"],
                "in": one["in"],
                "required": one.get("required", False),
                "about": one.get("description", ""),
                "values": one["schema"].get("enum"),
                "example": str((one["schema"].get("examples") or [one["schema"].get("default", "")])[0]),
            }
            for one in operation["parameters"]
            if one["name"] != versioning.HEADER  # the form has one choice of it, of the versions there are
        ],
    }


def _body_of(document: Mapping[str, Any], body: Mapping[str, Any]) -> Any:
    return body["example"] if "example" in body else sample(document, body["schema"])


def _request(
    document: Mapping[str, Any], base_url: str, path: str, method: str, operation: Mapping[str, Any]
) -> str:
    """A request as curl sends it."""
    lines = (
        [f"curl -X {method.upper()} '{base_url}{path}'"] if method != "get" else [f"curl '{base_url}{path}'"]
    )
    if operation.get("security") != []:
        lines.append("  -H 'Authorization: Bearer nck_...'")
    headers = [
        one["name"] for one in operation["parameters"] if one["in"] == "header" and one.get("required")
    ]
    lines += [f"  -H '{name}: {'first-1' if name == 'Idempotency-Key' else '...'}'" for name in headers]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None:
        lines += [
            "  -H 'Content-Type: application/json'",
            f"  -d '{_text(_body_of(document, body))}'",
        ]
    return " \\\n".join(lines)


def _entries(document: Mapping[str, Any]) -> Iterator[ReferenceEntry]:
    for path, method, operation in _operations(document):
        address = f"{ROOT}/{_slug(operation['tags'][0])}#{operation['operationId']}"
        words = f"{operation['summary']} {path} {operation['operationId']} {operation.get('description', '')}"
        yield ReferenceEntry(
            title=operation["summary"],
            about=f"{method.upper()} {path}",
            address=address,
            words=words.lower(),
        )
    for name, schema in document["components"]["schemas"].items():
        about = schema.get("description", "")
        fields = " ".join(schema.get("properties", {}))
        yield ReferenceEntry(
            title=name,
            about=about,
            address=_object_address(name),
            words=f"{name} {about} {fields}".lower(),
        )
    for name in document["webhooks"]:
        yield ReferenceEntry(title=name, about="event", address=f"{ROOT}/event-types", words=f"{name} event")
    yield ReferenceEntry(
        title="Versions",
        about="what each version changed, and how one ends",
        address=VERSIONS_PAGE,
        words=f"versions changelog deprecation sunset networkcore-version {' '.join(VERSIONS.names)}".lower(),
    )


def _linked(section: str) -> Markup:
    """A section of the one long page, its texts escaped; its links to objects lead to their own pages."""
    return Markup(section.replace("href='#object-", f"href='{ROOT}/objects/"))  # noqa: S704 - escaped by pages


def _object_address(name: str) -> str:
    return f"{ROOT}/objects/{name}"


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _slug(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name.lower())


def _render(name: str, subjects: Sequence[tuple[str, str]], **context: Any) -> str:
    given = {"query": "", "current": "", "script": None, "versions": "[]", **context}
    template = _environment().get_template("reference.html")
    return template.render(
        kind=name,
        subjects=subjects,
        style=_versioned(STYLE, style()),
        root=ROOT,
        versions_page=VERSIONS_PAGE,
        **given,
    )


def _versioned(address: str, content: bytes) -> str:
    """An address that changes with its content, so that it may be kept for ever."""
    return f"{address}?v={hashlib.sha256(content).hexdigest()[:12]}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_file), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )


@cache
def _file(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")
