"""What of the API's description callers rely on, and what of a change of it breaks them.

Owns: that comparison, as pure functions of OpenAPI documents. Must not know any resource or version. Texts
and examples may change; what a caller sends or reads may only be added to. Names of schemas count, because
the packages for developers have types of these names.

A field of a body that is new and required, or gone (unknown fields are rejected), breaks; so does a field of
an answer that is gone, may be absent, may be of a type that it never was, or no longer has a value by which
callers match. A parameter of the path, the query string or a header is as a field of a body, and breaks where
it moves to another of these; a header of an answer breaks where it is gone. A new value of an enumeration, a
new field of an answer and a new optional field of a body do not.
Source: OpenAPI Specification 3.1.1; JSON Schema 2020-12.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Json = Mapping[str, Any]
Parts = dict[str, dict[str, Any]]
_SHARED: Final = "#/components/schemas/"
# A limit, and whether a greater value of it lets less through.
_LIMITS: Final[Mapping[str, bool]] = {
    "minLength": True,
    "minItems": True,
    "minimum": True,
    "exclusiveMinimum": True,
    "maxLength": False,
    "maxItems": False,
    "maxProperties": False,
    "maximum": False,
    "exclusiveMaximum": False,
}


def contract_parts(document: Json) -> Parts:
    """Each operation, parameter, body, answer with its headers, field and event, by a name a reader finds.

    Small enough to be stored for each release, one line a part.
    """
    parts: Parts = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts |= _operation_parts(f"{method.upper()} {path}", operation)
    for kind, hook in document.get("webhooks", {}).items():
        content = hook["post"]["requestBody"]["content"]["application/json"]["schema"]
        parts[f"event {kind}"] = {"data": _shape(content["allOf"][1]["properties"]["data"])}
    sent, answered = _directions(document)
    for name, schema in document["components"]["schemas"].items():
        required = set(schema.get("required", ()))
        for field, content in schema.get("properties", {}).items():
            parts[f"field {name}.{field}"] = {
                "in": [way for way, names in (("body", sent), ("answer", answered)) if name in names],
                "required": field in required,
                **_shape(content),
            }
    return parts


def _operation_parts(place: str, operation: Json) -> Parts:
    name = f"operation {operation['operationId']}"
    parts: Parts = {name: {"at": place}}
    for one in operation["parameters"]:
        parts[f"{name} parameter {one['name']}"] = {
            "in": ["body"],
            "place": one["in"],
            "required": one.get("required", False),
            **_shape(one["schema"]),
        }
    body = operation.get("requestBody")
    if body is not None:
        parts[f"{name} body"] = {
            "in": ["body"],
            "required": body.get("required", False),
            **_content(body["content"]),
        }
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            parts[f"{name} answer {status}"] = {"in": ["answer"], **_content(answer.get("content", {}))}
            for header in answer.get("headers", {}):
                parts[f"{name} answer {status} header {header}"] = {"in": ["answer"], "types": ["string"]}
    return parts


def _content(content: Json) -> dict[str, Any]:
    shapes = [_shape(one["schema"]) for one in content.values()]
    return {"types": sorted({kind for shape in shapes for kind in shape["types"]} | set(content))}


def _shape(schema: Json) -> dict[str, Any]:
    """The types that a value may have, the values of an enumeration, the limits."""
    kinds: set[str] = set()
    values: set[str] = set()
    limits: dict[str, Any] = {}
    for one in _alternatives(schema):
        if "$ref" in one:
            kinds.add(one["$ref"].removeprefix(_SHARED))
            continue
        given = one.get("type", "any")
        kinds |= {given} if isinstance(given, str) else set(given)
        values |= {str(value) for value in one.get("enum", ())} | (
            {str(one["const"])} if "const" in one else set()
        )
        limits |= {key: one[key] for key in (*_LIMITS, "pattern", "format") if key in one}
        if "items" in one:
            kinds |= {f"list of {kind}" for kind in _shape(one["items"])["types"]}
    shape: dict[str, Any] = {"types": sorted(kinds)}
    return shape | ({"values": sorted(values)} if values else {}) | ({"limits": limits} if limits else {})


def _alternatives(schema: Json) -> Iterator[Json]:
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            for one in schema[key]:
                yield from _alternatives(one)
            return
    yield schema


def _directions(document: Json) -> tuple[set[str], set[str]]:
    """The schemas that callers send, and those that they read, with all that these refer to."""
    sent: set[str] = set()
    answered: set[str] = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            sent |= _referred(document, operation.get("requestBody", {}))
            answered |= _referred(document, operation["responses"])
    for hook in document.get("webhooks", {}).values():
        answered |= _referred(document, hook["post"]["requestBody"])
    answered |= _referred(document, document["components"].get("responses", {}))
    return sent, answered


def _referred(document: Json, part: Any) -> set[str]:
    found: set[str] = set()
    waiting = [part]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref", ""))
            if name.startswith(_SHARED) and name.removeprefix(_SHARED) not in found:
                found.add(name.removeprefix(_SHARED))
                waiting.append(document["components"]["schemas"][name.removeprefix(_SHARED)])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def breaking_changes(before: Parts, after: Parts) -> dict[str, str]:
    """What breaks callers of `before`: the part's name, and how it changed."""
    found: dict[str, str] = {}
    for name, old in before.items():
        new = after.get(name)
        why = "it is gone" if new is None else _why_breaking(old, new)
        if why is not None and not _covered(name, found):
            found[name] = why
    for name, new in after.items():
        if (
            name not in before
            and new.get("required")
            and "body" in new.get("in", ())
            and _known(name, before)
        ):
            found[name] = "it is new and required"
    return found


def _covered(name: str, found: Mapping[str, str]) -> bool:
    """Whether the part belongs to an operation that is gone as a whole."""
    operation = " ".join(name.split(" ")[:2])
    return name != operation and found.get(operation) == "it is gone"


def _known(name: str, before: Parts) -> bool:
    """Whether what the part belongs to was there before: a field of a new body breaks nobody."""
    if name.startswith("field "):
        owner = name.partition(".")[0]
        return any(other.startswith(f"{owner}.") for other in before)
    return " ".join(name.split(" ")[:2]) in before


def _why_breaking(old: Json, new: Json) -> str | None:
    if old.get("at") != new.get("at"):
        return f"it moved from {old.get('at')} to {new.get('at')}"
    if "place" in old and old["place"] != new.get("place"):
        return f"it moved from the {old['place']} to the {new.get('place')}"
    if old.get("data") != new.get("data"):
        return "its data are another object"
    ways: tuple[tuple[str, Callable[[Json, Json], str | None]], ...] = (
        ("body", _breaks_senders),
        ("answer", _breaks_readers),
    )
    for way, rule in ways:
        if way in old.get("in", ()):
            why = rule(old, new)
            if why is not None:
                return why
    return None


def _breaks_senders(old: Json, new: Json) -> str | None:
    if new.get("required") and not old.get("required"):
        return "it became required"
    if gone := set(old["types"]) - set(new["types"]):
        return f"it no longer takes {', '.join(sorted(gone))}"
    taken = new.get("values")
    if taken and (
        gone := set(old.get("values", ())) - set(taken) or (set() if old.get("values") else {"any value"})
    ):
        return f"it no longer takes {', '.join(sorted(gone))}"
    before, after = old.get("limits", {}), new.get("limits", {})
    for key, greater_is_less in _LIMITS.items():
        if key not in after:
            continue
        narrower = key not in before or (
            after[key] > before[key] if greater_is_less else after[key] < before[key]
        )
        if narrower:
            return f"its {key} is narrower"
    if after.get("pattern") not in {None, before.get("pattern")}:
        return "its pattern changed"
    return None


def _breaks_readers(old: Json, new: Json) -> str | None:
    if old.get("required") and not new.get("required"):
        return "it may be absent"
    if fresh := set(new["types"]) - set(old["types"]):
        return f"it may be {', '.join(sorted(fresh))}"
    if gone := set(old.get("values", ())) - set(new.get("values", ())):
        return f"it is never {', '.join(sorted(gone))} any more"
    return None
