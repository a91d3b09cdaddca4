"""The named schemas of the OpenAPI document and of the events' data.

Owns: the public name of a model (its title), and that every property has a description. Must not know any
path. Pydantic names a schema after its class, and after its module where two classes share a name; here the
title is the name, and two models of one title are an error.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.api.field_descriptions import FIELDS

REFERENCE: Final = "#/components/schemas/{model}"
Mode = Literal["validation", "serialization"]
Schema = dict[str, Any]


def named_schemas(
    models: Sequence[tuple[type[BaseModel], Mode]], *, template: str = REFERENCE
) -> tuple[dict[type[BaseModel], str], dict[str, Schema]]:
    """The public name of each model, and every schema that they need, by name.

    Raises:
        ValueError: two models share a title, or one is wanted as a body and as an answer.
    """
    found, document = models_json_schema(list(dict.fromkeys(models)), ref_template="{model}")
    definitions: dict[str, Schema] = document.get("$defs", {})
    names = {key: str(schema["title"]).removesuffix("Schema") for key, schema in definitions.items()}
    if len(set(names.values())) != len(names):
        twice = sorted(name for name in names.values() if list(names.values()).count(name) > 1)
        raise ValueError(f"two public schemas are called {', '.join(dict.fromkeys(twice))}")
    schemas = {
        names[key]: described(_published(schema, names=names, template=template, top=True), name=names[key])
        for key, schema in sorted(definitions.items(), key=lambda item: names[item[0]])
    }
    references = {
        cast("type[BaseModel]", model): names[schema["$ref"]] for (model, _), schema in found.items()
    }
    return references, schemas


def described(schema: Schema, *, name: str) -> Schema:
    """The schema with a description for each property: its own, or what its name means everywhere."""
    for field, content in schema.get("properties", {}).items():
        meaning = FIELDS.get(f"{name}.{field}") or FIELDS.get(field)
        if "description" not in content and meaning is not None:
            content["description"] = meaning
    return schema


def list_schema(item: Schema, *, name: str) -> Schema:
    """The schema of a page of objects."""
    return {
        "type": "object",
        "title": name,
        "description": "A page of objects.",
        "required": ["object", "data", "has_more", "next_cursor"],
        "properties": {
            "object": {"type": "string", "const": "list", "description": "always `list`"},
            "data": {"type": "array", "items": item, "description": "the objects of this page"},
            "has_more": {"type": "boolean", "description": FIELDS["has_more"]},
            "next_cursor": {"type": ["string", "null"], "description": FIELDS["next_cursor"]},
        },
    }


def inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema without references and titles: a parameter belongs to no component."""
    if isinstance(schema, list):
        return [inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target = inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        rest = {key: inlined(value, definitions) for key, value in schema.items() if key != "$ref"}
        return {**target, **rest}
    return {key: inlined(value, definitions) for key, value in schema.items() if key != "title"}


def _published(value: Any, *, names: Mapping[str, str], template: str, top: bool = False) -> Any:
    """A copy whose references carry public names; only a named schema keeps its title."""
    if isinstance(value, list):
        return [_published(part, names=names, template=template) for part in value]
    if not isinstance(value, dict):
        return value
    copy: Schema = {}
    for key, part in value.items():
        if key == "$ref" and part in names:
            copy[key] = template.format(model=names[part])
        elif key == "properties":
            copy[key] = {
                field: _published(content, names=names, template=template) for field, content in part.items()
            }
        elif key == "mapping" and isinstance(part, dict):
            copy[key] = {tag: template.format(model=names[target]) for tag, target in part.items()}
        elif key == "title" and top:
            copy[key] = part.removesuffix("Schema")
        elif key != "title":
            copy[key] = _published(part, names=names, template=template)
    return copy
