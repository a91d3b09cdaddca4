"""Requests made from the published description of the API: a body per operation, and each place in it."""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DESCRIPTION = json.loads((Path(__file__).parents[2] / "docs/openapi.json").read_text(encoding="utf-8"))
_PLAIN = {"string": "x", "integer": 1, "number": 1, "boolean": True, "null": None}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation: its parameters with a fitting value each, and its JSON body's schema, if any."""

    name: str
    method: str
    template: str
    parameters: dict[str, str]
    query: tuple[str, ...]
    body: Any

    def path(self, **values: str) -> str:
        """The path with each parameter filled in, those of `values` with these."""
        filled = self.template
        for name, value in (self.parameters | values).items():
            filled = filled.replace(f"{{{name}}}", value)
        return filled


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a text stands in a body: the names and positions that lead there, and the schema's format."""

    steps: tuple[str | int, ...]
    format: str = ""

    @property
    def pointer(self) -> str:
        return "".join(f"/{step}" for step in self.steps)


def operations() -> list[Operation]:
    found = []
    for path, methods in DESCRIPTION["paths"].items():
        for method, described in methods.items():
            content = described.get("requestBody", {}).get("content", {})
            parameters = described.get("parameters", [])
            found.append(
                Operation(
                    name=described["operationId"],
                    method=method.upper(),
                    template=path,
                    parameters={
                        one["name"]: _fitting(one["schema"]) for one in parameters if one["in"] == "path"
                    },
                    query=tuple(one["name"] for one in parameters if one["in"] == "query"),
                    body=content.get("application/json", {}).get("schema"),
                )
            )
    return found


def bodies(schema: Any) -> Iterator[tuple[Any, list[Place]]]:
    """Every variant of a body (each branch of a union once) with the places of its texts."""
    for variant in range(6):
        places: list[Place] = []
        body = _sample(schema, (), places, variant)
        yield body, places


def put(body: Any, place: Place, value: Any) -> Any:
    """A copy of the body with `value` in that place."""
    changed = copy.deepcopy(body)
    within = changed
    for step in place.steps[:-1]:
        within = within[step]
    within[place.steps[-1]] = value
    return changed


def _sample(schema: Any, steps: tuple[str | int, ...], places: list[Place], variant: int) -> Any:
    schema = _resolved(schema)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            branches = [one for one in schema[union] if one.get("type") != "null"]
            return _sample(branches[variant % len(branches)], steps, places, variant)
    if "const" in schema:
        places.append(Place(steps=steps))
        return schema["const"]
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        members = {
            name: _sample(one, (*steps, name), places, variant)
            for name, one in schema.get("properties", {}).items()
        }
        if isinstance(schema.get("additionalProperties"), dict):
            members["k"] = _sample(schema["additionalProperties"], (*steps, "k"), places, variant)
        return members
    if kind == "array":
        return [_sample(schema.get("items", {}), (*steps, 0), places, variant)]
    if kind == "string" or kind is None:
        if steps:
            places.append(Place(steps=steps, format=schema.get("format", "")))
        return "x"
    return _PLAIN[kind]


def _fitting(schema: Any) -> str:
    """A value that a router takes for a parameter, which need not exist."""
    if "enum" in schema:
        return str(schema["enum"][0])
    pattern = re.compile(schema.get("pattern", ""))
    return next(value for value in ("x", "EUR", "2.1", "RFID", "x" * 16) if pattern.search(value))


def _resolved(schema: Any) -> Any:
    while "$ref" in schema:
        schema = DESCRIPTION["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema
