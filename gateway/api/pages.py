"""The pages for people: the API's reference and the catalogue of problems, as plain HTML.

Owns: how the OpenAPI document reads in a browser. Must not know any resource. A page carries its own
style, runs no script and fetches nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final

from gateway.api import problems
from gateway.api.problems import ProblemKind

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none';"
    " frame-ancestors 'none'",
    "Cache-Control": "public, max-age=300",
}
_STYLE: Final = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent);
  --dim: color-mix(in srgb, currentColor 62%, transparent) }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 6rem }
h1 { margin-top: 0 } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line) }
h3 { margin: 2.2rem 0 .3rem }
code, pre { font: .88em/1.5 ui-monospace, monospace }
pre { border: 1px solid var(--line); padding: .9rem; overflow: auto }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 }
td, th { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0;
  border-bottom: 1px solid var(--line) }
th { font-weight: 600 } .dim { color: var(--dim) } .verb { font-weight: 700 }
nav ul { columns: 2; padding-left: 1.1rem }
label { display: block; margin: .9rem 0 .2rem; font-weight: 600 }
input { font: inherit; width: 100%; max-width: 30rem; box-sizing: border-box; padding: .4rem .5rem }
button { font: inherit; margin-top: 1.2rem; padding: .5rem 1.2rem }
[role=alert] { border-left: 4px solid; padding-left: .8rem }
h3, p, code { overflow-wrap: anywhere }
@media (max-width: 40rem) { td, th { overflow-wrap: anywhere } }
"""


def reference_page(document: Mapping[str, Any], *, base_url: str) -> str:
    """The reference of every operation, event and problem."""
    body = [
        f"<h1>{escape(document['info']['title'])}</h1>",
        f"<p>{inline_code(document['info']['description'])}</p>",
        _opening(base_url),
        _navigation(document),
    ]
    for tag in document["tags"]:
        body.append(f"<h2 id='{_anchor(tag['name'])}'>{escape(tag['name'])}</h2>")
        for path, methods in document["paths"].items():
            body += [
                operation_section(document, path, method, operation)
                for method, operation in methods.items()
                if tag["name"] in operation["tags"]
            ]
    body.append(events_section(document))
    body.append(_schemas(document))
    return html_page(document["info"]["title"], body)


def problems_page() -> str:
    """The catalogue."""
    rows = [
        f"<tr><td><a href='/problems/{kind.code}'><code>{kind.code}</code></a></td><td>{kind.status}</td>"
        f"<td>{escape(kind.title)}</td></tr>"
        for kind in sorted(problems.CATALOG.values(), key=lambda kind: (kind.status, kind.code))
    ]
    head = "<tr><th scope='col'>code</th><th scope='col'>status</th><th scope='col'>what</th></tr>"
    return html_page("Problems", ["<h1>Problems</h1>", f"<table>{head}{''.join(rows)}</table>"])


def problem_page(kind: ProblemKind) -> str:
    """One problem: what it means and how to correct it."""
    again = "The same request may succeed later." if kind.transient else "The same request fails again."
    return html_page(
        kind.code,
        [
            f"<h1>{escape(kind.title)}</h1>",
            f"<p class='dim'><code>{kind.code}</code>, HTTP status {kind.status}</p>",
            f"<p>{inline_code(kind.remedy)}</p><p>{again}</p>",
            "<p><a href='/problems'>All problems</a> · <a href='/docs'>Reference</a></p>",
        ],
    )


def html_page(title: str, body: Iterable[str], *, language: str = "en") -> str:
    """A page with its style; `body` is HTML, its texts escaped."""
    return (
        f"<!doctype html><html lang='{language}'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _opening(base_url: str) -> str:
    example = (
        f"curl {base_url}/v1/authorizations \\\n"
        "  -H 'Authorization: Bearer nck_...' \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        '  -H "Idempotency-Key: $(uuidgen)" \\\n'
        '  -d \'{"evse_id": "DE*ABC*E0001*1", "method": "card",\n'
        '       "payment": {"type": "psp_payment_method", "payment_method": "pm_card_visa"}}\''
    )
    return (
        f"<pre>{escape(example)}</pre><p>Errors are <a href='/problems'>problems</a> with a stable code. "
        "The machine-readable form of this page is <a href='/openapi.json'>openapi.json</a>.</p>"
    )


def _navigation(document: Mapping[str, Any]) -> str:
    names = [tag["name"] for tag in document["tags"]] + ["Events in detail", "Objects"]
    items = "".join(f"<li><a href='#{_anchor(name)}'>{escape(name)}</a></li>" for name in names)
    return f"<nav><ul>{items}</ul></nav>"


def operation_section(
    document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]
) -> str:
    """One operation: its parameters, fields and answers, as HTML with every text escaped."""
    parts = [
        f"<h3 id='{operation['operationId']}'>{escape(operation['summary'])}</h3>",
        f"<p><code><span class='verb'>{method.upper()}</span> {escape(path)}</code></p>",
    ]
    if operation.get("deprecated"):
        parts.append("<p class='deprecated'>Deprecated: <a href='/reference/versions'>until when</a></p>")
    if "description" in operation:
        parts.append(f"<p>{inline_code(operation['description'])}</p>")
    rows = [
        _row(one["name"], one["schema"], one.get("description", ""), required=one.get("required", False))
        for one in operation["parameters"]
    ]
    schema = _schema_of(operation.get("requestBody"))
    if schema is not None:
        rows += _fields(document, schema)
    if rows:
        parts.append(f"<table>{''.join(rows)}</table>")
    answers = "".join(
        f"<tr><td>{status}</td><td>{inline_code(answer['description'])}"
        f"{_answer_type(document, answer)}</td></tr>"
        for status, answer in _answers(document, operation)
    )
    parts.append(f"<table><tr><th scope='col'>answer</th><th scope='col'></th></tr>{answers}</table>")
    return "".join(parts)


def _answers(
    document: Mapping[str, Any], operation: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for status, answer in operation["responses"].items():
        shared = answer.get("$ref", "").rpartition("/")[2]
        yield status, document["components"]["responses"][shared] if shared else answer


def _answer_type(document: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    schema = _schema_of(answer)
    if schema is None:
        return ""
    resolved = _resolved(document, schema)
    items = resolved.get("properties", {}).get("data", {}).get("items", schema)
    name = items.get("$ref", "").rpartition("/")[2]
    if name in {"", "Problem"}:
        return ""
    prefix = "list of " if items is not schema else ""
    return f" <span class='dim'>{prefix}<a href='#object-{name}'>{name}</a></span>"


def _schema_of(holder: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if holder is None:
        return None
    for media in holder.get("content", {}).values():
        schema: Mapping[str, Any] = media["schema"]
        return schema
    return None


def _fields(document: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    resolved = _resolved(document, schema)
    required = set(resolved.get("required", ()))
    return [
        _row(name, field, field.get("description", ""), required=name in required)
        for name, field in resolved.get("properties", {}).items()
    ]


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def _row(name: str, schema: Mapping[str, Any], about: str, *, required: bool) -> str:
    must = "required" if required else "optional"
    return (
        f"<tr><td><code>{escape(name)}</code></td><td class='dim'>{_type(schema)}</td>"
        f"<td class='dim'>{must}</td><td>{inline_code(about)}</td></tr>"
    )


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href='#object-{name}'>{name}</a>"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(_type(part) for part in schema[key])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        return " ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = schema.get("type", "any")
    kinds = kind if isinstance(kind, list) else [kind]
    return escape(" or ".join(kinds) + (f" ({schema['format']})" if "format" in schema else ""))


def events_section(document: Mapping[str, Any]) -> str:
    """The events with the object that each carries, likewise."""
    rows = [
        f"<tr><td><code>{escape(name)}</code></td><td>{_type(_event_data(hook['post']))}</td></tr>"
        for name, hook in document["webhooks"].items()
    ]
    about = "Signed by the Standard Webhooks specification; a repeat has the same <code>webhook-id</code>."
    head = "<tr><th scope='col'>type</th><th scope='col'>data</th></tr>"
    return (
        f"<h2 id='events-in-detail'>Events in detail</h2><p>{about}</p><table>{head}{''.join(rows)}</table>"
    )


def _event_data(operation: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = _schema_of(operation["requestBody"]) or {}
    found: Mapping[str, Any] = schema["allOf"][1]["properties"]["data"]
    return found


def _schemas(document: Mapping[str, Any]) -> str:
    schemas = sorted(document["components"]["schemas"].items())
    return "<h2 id='objects'>Objects</h2>" + "".join(
        object_section(document, name, schema) for name, schema in schemas
    )


def object_section(document: Mapping[str, Any], name: str, schema: Mapping[str, Any]) -> str:
    """One object with its fields, likewise."""
    rows = _fields(document, schema)
    return (
        f"<h3 id='object-{name}'>{escape(name)}</h3><p>{inline_code(schema.get('description', ''))}</p>"
        + (f"<table>{''.join(rows)}</table>" if rows else f"<p class='dim'>{_type(schema)}</p>")
    )


def inline_code(text: str) -> str:
    """Escaped text in which `this` is code and a blank line parts paragraphs."""
    pieces = escape(text).replace("\n\n", "<br><br>").split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))


def _anchor(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name.lower())
