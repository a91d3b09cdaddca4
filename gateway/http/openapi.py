"""The OpenAPI 3.1 document, generated from the descriptions that also route the requests.

Owns: the document's shape. Must not know any resource. What is not described can't be called, and what can be
called is described: there is no second list.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import gateway
from gateway import objects
from gateway.http import idempotency, problems
from gateway.http.endpoint import Endpoint
from gateway.http.idempotency import KeyRule
from gateway.http.problems import ProblemKind
from gateway.notify.events import API_VERSION, DATA_MODELS, EventType

_REFERENCE: Final = "#/components/schemas/{model}"
_PATH_PATTERN: Final = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")
_OK: Final = 200
_BYTES: Final = {"type": "string", "format": "binary"}
_ALWAYS: Final = (problems.RATE_LIMITED, problems.INTERNAL_ERROR, problems.UNAVAILABLE)
_WITH_BODY: Final = (problems.MALFORMED_JSON, problems.INVALID_PARAMETERS, problems.BODY_TOO_LARGE)
_WITH_KEY: Final = (problems.IDEMPOTENCY_IN_FLIGHT, problems.IDEMPOTENCY_KEY_REUSED)
_PROBLEM_SCHEMA: Final = {
    "type": "object",
    "description": "Problem details (RFC 9457). `code` is stable; match on it.",
    "required": ["type", "title", "status", "code", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "a page that explains the code"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": sorted(problems.CATALOG)},
        "detail": {"type": "string", "description": "what went wrong this time, and how to mend it"},
        "instance": {"type": "string", "description": "the request's id, also in X-Request-Id"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "expected"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the request"},
                    "expected": {"type": "string"},
                },
            },
        },
        "decline_code": {"type": ["string", "null"]},
        "authorization": {"type": ["string", "null"]},
        "session": {"type": ["string", "null"]},
    },
}


def openapi_document(described: Sequence[Endpoint], *, base_url: str) -> dict[str, Any]:
    """The document as JSON-ready values. Source: OpenAPI Specification 3.1.1."""
    references, components = _schemas(described)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in described:
        path = _PATH_PATTERN.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, references)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "networkcore capture API",
            "version": gateway.__version__ if hasattr(gateway, "__version__") else API_VERSION,
            "summary": "One captured payment per charging session, cleared and disbursed.",
            "description": f"Objects and events are those of API version {API_VERSION}. Amounts are "
            "integers in the currency's minor unit. Unknown fields are refused.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url}],
        "security": [{"apiKey": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in described)],
        "paths": paths,
        "webhooks": _webhooks(),
        "components": {
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "an API key, nck_..."}
            },
            "schemas": {"Problem": _PROBLEM_SCHEMA, **components},
        },
    }


def _schemas(
    described: Sequence[Endpoint],
) -> tuple[Mapping[type[BaseModel], Mapping[str, Any]], dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], Any], None] = {}
    for endpoint in described:
        if endpoint.body is not None:
            wanted[endpoint.body, "validation"] = None
        for model in endpoint.answers.values():
            if model is not None:
                wanted[model, "serialization"] = None
    told: list[type[BaseModel]] = [*DATA_MODELS.values(), objects.Event]
    wanted |= dict.fromkeys((model, "serialization") for model in told)
    found, definitions = models_json_schema(list(wanted), ref_template=_REFERENCE)
    references = {cast("type[BaseModel]", model): schema for (model, _), schema in found.items()}
    return references, definitions.get("$defs", {})


def _webhooks() -> dict[str, Any]:
    """One entry for each event type: an Event whose `data` is the object that the type names."""
    return {kind.value: {"post": _webhook(kind)} for kind in EventType}


def _webhook(kind: EventType) -> dict[str, Any]:
    model = DATA_MODELS[kind.value.partition(".")[0]]
    narrowed = {
        "type": {"const": kind.value},
        "data": {"$ref": f"#/components/schemas/{model.__name__}"},
    }
    schema = {"allOf": [{"$ref": "#/components/schemas/Event"}, {"properties": narrowed}]}
    headers = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {
        "operationId": "on" + "".join(part.title() for part in re.split(r"[._]", kind.value)),
        "summary": kind.value,
        "tags": ["Events"],
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in headers
        ],
        "requestBody": {"content": {"application/json": {"schema": schema}}},
        "responses": {
            "2XX": {"description": "taken"},
            "410": {"description": "send nothing more: the endpoint is disabled"},
        },
    }


def _operation(endpoint: Endpoint, references: Mapping[type[BaseModel], Mapping[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.operation,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, references),
    }
    about = endpoint.description
    if endpoint.scope is not None:
        about = f"{about}\n\nNeeds the scope `{endpoint.scope.value}`.".strip()
    if about:
        operation["description"] = about
    if endpoint.public:
        operation["security"] = []
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": endpoint.body_required,
            "content": {"application/json": {"schema": references[endpoint.body]}},
        }
    elif endpoint.media_type is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {endpoint.media_type: {"schema": _BYTES}},
        }
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, pattern in _PATH_PATTERN.findall(endpoint.path):
        schema: dict[str, Any] = {"type": "string"}
        if pattern:
            schema["pattern"] = f"^{pattern}$"
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    if endpoint.query is not None:
        schema = endpoint.query.model_json_schema(ref_template=_REFERENCE)
        definitions = schema.get("$defs", {})
        for name, field in schema.get("properties", {}).items():
            found.append({"name": name, "in": "query", "schema": _inlined(field, definitions)})
    if endpoint.key_rule is not KeyRule.NONE:
        found.append(
            {
                "name": idempotency.HEADER,
                "in": "header",
                "required": endpoint.key_rule is KeyRule.REQUIRED,
                "description": "a fresh random value; repeat it with the same body to retry",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        )
    if problems.VERSION_CONFLICT in endpoint.problems:
        about = "act only if the object still has this ETag"
        found.append({"name": "If-Match", "in": "header", "description": about, "schema": {"type": "string"}})
    return found


def _inlined(field: Any, definitions: Mapping[str, Any]) -> Any:
    """A query field's schema without references: it belongs to no component."""
    if isinstance(field, list):
        return [_inlined(part, definitions) for part in field]
    if not isinstance(field, dict):
        return field
    if "$ref" in field:
        return _inlined(definitions[field["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in field.items()}


def _responses(endpoint: Endpoint, references: Mapping[type[BaseModel], Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, model in endpoint.answers.items():
        answer: dict[str, Any] = {"description": endpoint.summary}
        if model is not None:
            schema: Mapping[str, Any] = references[model]
            answer["content"] = {
                "application/json": {"schema": _list_of(schema) if endpoint.listed else schema}
            }
        if status == _OK and endpoint.also_gives:
            files = {media: {"schema": _BYTES} for media in endpoint.also_gives}
            answer["content"] = {**answer.get("content", {}), **files}
        found[str(status)] = answer
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in _problems(endpoint):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        found[str(status)] = {
            "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds),
            "content": {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
    return found


def _problems(endpoint: Endpoint) -> list[ProblemKind]:
    kinds: list[ProblemKind] = [] if endpoint.public else [problems.UNAUTHENTICATED]
    if endpoint.scope is not None:
        kinds.append(problems.MISSING_SCOPE)
    if endpoint.body is not None:
        kinds += [*_WITH_BODY, problems.UNSUPPORTED_MEDIA_TYPE, problems.REQUEST_TIMEOUT]
    elif endpoint.media_type is not None:
        kinds += [problems.BODY_TOO_LARGE, problems.UNSUPPORTED_MEDIA_TYPE, problems.REQUEST_TIMEOUT]
    elif endpoint.query is not None:
        kinds.append(problems.INVALID_PARAMETERS)
    if endpoint.key_rule is KeyRule.REQUIRED:
        kinds.append(problems.IDEMPOTENCY_KEY_MISSING)
    if endpoint.key_rule is not KeyRule.NONE:
        kinds += [problems.IDEMPOTENCY_KEY_INVALID, *_WITH_KEY]
    return list(dict.fromkeys([*kinds, *endpoint.problems, *_ALWAYS]))


def _list_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["object", "data", "has_more", "next_cursor"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": schema},
            "has_more": {"type": "boolean"},
            "next_cursor": {"type": ["string", "null"]},
        },
    }
