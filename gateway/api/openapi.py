"""The OpenAPI 3.1 document, generated from the descriptions that also route the requests.

Owns: the document's shape. Must not know any resource. What is not described can't be called, and what can be
called is described: there is no second list.
"""

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from gateway.api import idempotency, problems, versioning
from gateway.api.endpoint import ApiEndpoint
from gateway.api.examples import example_of
from gateway.api.field_descriptions import FIELDS, HEADERS, PARAMETERS
from gateway.api.idempotency import KeyRule
from gateway.api.openapi_components import REFERENCE, Mode, Schema, inlined, list_schema, named_schemas
from gateway.api.problems import ProblemKind
from gateway.api_versions import VERSIONS
from gateway.schemas import api_schemas
from gateway.scopes import named
from gateway.webhooks.events import API_VERSION, DATA_MODELS, EventType

_PATH_PATTERN: Final = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")
_OK: Final = 200
_BYTES: Final = {"type": "string", "format": "binary"}
_ALWAYS: Final = (problems.RATE_LIMITED, problems.INTERNAL_ERROR, problems.UNAVAILABLE)
_WITH_BODY: Final = (problems.MALFORMED_JSON, problems.INVALID_PARAMETERS, problems.BODY_TOO_LARGE)
_WITH_KEY: Final = (problems.IDEMPOTENCY_IN_FLIGHT, problems.IDEMPOTENCY_KEY_REUSED)
_TRANSIENT: Final = frozenset({409, 429, 503})
_PROBLEM_SCHEMA: Final = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details (RFC 9457). `code` is stable; match on it.",
    "required": ["type", "title", "status", "code", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "a page that explains the code"},
        "title": {"type": "string", "description": FIELDS["title"]},
        "status": {"type": "integer", "description": FIELDS["status"]},
        "code": {"type": "string", "enum": sorted(problems.CATALOG), "description": FIELDS["code"]},
        "detail": {"type": "string", "description": "the error in this request, and how to correct it"},
        "instance": {"type": "string", "description": "the request's id, also in X-Request-Id"},
        "trace_id": {"type": "string", "description": "the request's trace, where traces are on"},
        "errors": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/ProblemField"},
            "description": FIELDS["errors"],
        },
        "known_versions": {
            "type": "array",
            "items": {"type": "string"},
            "description": "the versions of the API that there are, where the request names another one",
        },
        "decline_code": {"type": ["string", "null"], "description": FIELDS["decline_code"]},
        "authorization": {"type": ["string", "null"], "description": "the authorization that failed"},
        "session": {"type": ["string", "null"], "description": "the session that it was for"},
    },
}
_PROBLEM_FIELD_SCHEMA: Final = {
    "type": "object",
    "title": "ProblemField",
    "description": "One fault in the request.",
    "required": ["pointer", "expected"],
    "properties": {
        "pointer": {"type": "string", "description": "JSON pointer into the request (RFC 6901)"},
        "expected": {"type": "string", "description": "what is expected there"},
    },
}


def openapi_document(endpoints: Sequence[ApiEndpoint], *, base_url: str) -> dict[str, Any]:
    """The document as JSON-ready values. Source: OpenAPI Specification 3.1.1."""
    names, components = named_schemas(_models(endpoints))
    components |= _lists(endpoints, names, taken=components)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = _PATH_PATTERN.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, names)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "networkcore capture API",
            "version": API_VERSION,
            "summary": "One captured payment per charging session, cleared and disbursed.",
            "description": f"Objects and events are those of API version {API_VERSION}. Amounts are "
            "integers in the currency's minor unit. Unknown fields are rejected. Every answer names its "
            f"version in `{versioning.HEADER}`: the one that the request names in the same header, else the "
            "one that its key is pinned to.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_url}],
        "security": [{"apiKey": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in endpoints)],
        "paths": paths,
        "webhooks": {kind.value: {"post": _webhook(kind, names)} for kind in EventType},
        "components": {
            "securitySchemes": {
                "apiKey": {"type": "http", "scheme": "bearer", "description": "an API key, nck_..."}
            },
            "headers": {
                name: {"description": about, "schema": {"type": "string"}} for name, about in HEADERS.items()
            },
            "responses": _problem_responses(endpoints),
            "schemas": {
                "Problem": _PROBLEM_SCHEMA,
                "ProblemField": _PROBLEM_FIELD_SCHEMA,
                **dict(sorted(components.items())),
            },
        },
    }


def _lists(
    endpoints: Sequence[ApiEndpoint], names: Mapping[type[BaseModel], str], *, taken: Container[str]
) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for model in (model for endpoint in endpoints if endpoint.listed for model in endpoint.answers.values()):
        if model is None:
            continue
        name = f"{names[model]}List"
        if name in taken:
            raise ValueError(f"a schema is called {name}, like the list of {names[model]}")
        found[name] = list_schema(_reference(names[model]), name=name)
    return found


def event_document() -> dict[str, Any]:
    """The JSON schema of each event type's `data`. Source: JSON Schema 2020-12."""
    models: list[tuple[type[BaseModel], Mode]] = [(model, "serialization") for model in DATA_MODELS.values()]
    names, definitions = named_schemas(models, template="#/$defs/{model}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Event data",
        "description": f"What `data` of an event holds, by the event's type, in API version {API_VERSION}.",
        "properties": {kind.value: {"$ref": f"#/$defs/{names[_data_model(kind)]}"} for kind in EventType},
        "$defs": definitions,
    }


def _models(endpoints: Sequence[ApiEndpoint]) -> list[tuple[type[BaseModel], Mode]]:
    wanted: list[tuple[type[BaseModel], Mode]] = []
    for endpoint in endpoints:
        if endpoint.body is not None:
            wanted.append((endpoint.body, "validation"))
        wanted += [(model, "serialization") for model in endpoint.answers.values() if model is not None]
    published: list[type[BaseModel]] = [*DATA_MODELS.values(), api_schemas.EventSchema]
    return wanted + [(model, "serialization") for model in published]


def _data_model(kind: EventType) -> type[BaseModel]:
    return DATA_MODELS[kind.value.partition(".")[0]]


def _reference(name: str) -> Schema:
    return {"$ref": REFERENCE.format(model=name)}


def _webhook(kind: EventType, names: Mapping[type[BaseModel], str]) -> dict[str, Any]:
    """An Event whose `data` is the object that the type names."""
    narrowed = {"type": {"const": kind.value}, "data": _reference(names[_data_model(kind)])}
    schema = {"allOf": [_reference(names[api_schemas.EventSchema]), {"properties": narrowed}]}
    headers = {
        "webhook-id": "the event's id; the same in every attempt",
        "webhook-timestamp": "seconds since 1970 at which this attempt was signed",
        "webhook-signature": "one or two signatures over id, timestamp and body (Standard Webhooks)",
    }
    return {
        "operationId": "on" + "".join(part.title() for part in re.split(r"[._]", kind.value)),
        "summary": kind.value,
        "tags": ["Events"],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in headers.items()
        ],
        "requestBody": {"content": {"application/json": {"schema": schema}}},
        "responses": {
            "2XX": {"description": "acknowledged"},
            "410": {"description": "the gateway disables the endpoint and sends nothing more"},
        },
    }


def _operation(endpoint: ApiEndpoint, names: Mapping[type[BaseModel], str]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.operation,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": _parameters(endpoint),
        **({"deprecated": True} if endpoint.operation in VERSIONS.operations else {}),
        "responses": _responses(endpoint, names),
    }
    about = endpoint.description
    if endpoint.scopes:
        about = f"{about}\n\nNeeds the scope {named(endpoint.scopes)}.".strip()
    if about:
        operation["description"] = about
    if endpoint.public:
        operation["security"] = []
    if endpoint.body is not None:
        content: dict[str, Any] = {"schema": _reference(names[endpoint.body])}
        example = example_of(endpoint.operation, "request")
        if example is not None:
            content["example"] = example
        operation["requestBody"] = {
            "required": endpoint.body_required,
            "content": {"application/json": content},
        }
    elif endpoint.media_type is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {endpoint.media_type: {"schema": _BYTES}},
        }
    return operation


_VERSION_ABOUT: Final = "the version of this request and its answer; else the key's pin, else the newest"
_VERSION_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "string",
    "minLength": 1,
    "examples": list(reversed(VERSIONS.names)),
}


def _parameters(endpoint: ApiEndpoint) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, pattern in _PATH_PATTERN.findall(endpoint.path):
        schema: dict[str, Any] = {"type": "string"}
        if pattern:
            schema["pattern"] = f"^{pattern}$"
        found.append(_parameter(name, "path", _path_description(endpoint, name), schema, required=True))
    if endpoint.query is not None:
        model = endpoint.query.model_json_schema(ref_template=REFERENCE)
        for name, field in model.get("properties", {}).items():
            schema = inlined(field, model.get("$defs", {}))
            about = field.get("description") or PARAMETERS.get(name, "")
            schema.pop("description", None)
            found.append(_parameter(name, "query", about, schema))
    if endpoint.key_rule is not KeyRule.NONE:
        found.append(
            _parameter(
                idempotency.HEADER,
                "header",
                "a fresh random value; repeat it with the same body to retry",
                {"type": "string", "minLength": 1, "maxLength": 255},
                required=endpoint.key_rule is KeyRule.REQUIRED,
            )
        )
    if problems.VERSION_CONFLICT in endpoint.problems:
        about = "act only if the object still has this ETag"
        found.append(_parameter("If-Match", "header", about, {"type": "string"}))
    if endpoint.path.startswith(versioning.VERSIONED):
        found.append(_parameter(versioning.HEADER, "header", _VERSION_ABOUT, _VERSION_SCHEMA))
    return found


def _parameter(
    name: str, place: str, about: str, schema: Mapping[str, Any], *, required: bool = False
) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": name, "in": place, "description": about, "schema": schema}
    if required or place == "header":
        shown["required"] = required
    return shown


def _path_description(endpoint: ApiEndpoint, name: str) -> str:
    if name == "id" and endpoint.path.startswith("/v1/parties/"):
        return PARAMETERS["party_id"]
    return PARAMETERS.get(name, "")


def _responses(endpoint: ApiEndpoint, names: Mapping[type[BaseModel], str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, model in endpoint.answers.items():
        answer: dict[str, Any] = {"description": endpoint.summary, "headers": _headers(endpoint, status)}
        if model is not None:
            name = names[model]
            content: dict[str, Any] = {"schema": _reference(f"{name}List" if endpoint.listed else name)}
            example = example_of(endpoint.operation, str(status))
            if example is not None:
                content["example"] = example
            answer["content"] = {"application/json": content}
        if status == _OK and endpoint.also_gives:
            files = {media: {"schema": _BYTES} for media in endpoint.also_gives}
            answer["content"] = {**answer.get("content", {}), **files}
        found[str(status)] = answer
    for status, kinds in _by_status(endpoint).items():
        found[str(status)] = {"$ref": f"#/components/responses/{_response_name(kinds)}"}
    return found


def _by_status(endpoint: ApiEndpoint) -> dict[int, list[ProblemKind]]:
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in _problems(endpoint):
        by_status.setdefault(kind.status, []).append(kind)
    return dict(sorted(by_status.items()))


def _problem_responses(endpoints: Sequence[ApiEndpoint]) -> dict[str, Any]:
    """Each set of problems that shares a status, once: many operations answer the same."""
    found: dict[str, Any] = {}
    for endpoint in endpoints:
        for status, kinds in _by_status(endpoint).items():
            found[_response_name(kinds)] = {
                "description": "; ".join(
                    f"`{kind.code}`: {kind.title}" for kind in sorted(kinds, key=lambda kind: kind.code)
                ),
                "headers": _header_references(
                    ["X-Request-Id"]
                    + ["Retry-After"] * (status in _TRANSIENT)
                    + ["WWW-Authenticate"] * (problems.UNAUTHENTICATED in kinds)
                ),
                "content": {problems.CONTENT_TYPE: {"schema": _reference("Problem")}},
            }
    return dict(sorted(found.items()))


def _response_name(kinds: Sequence[ProblemKind]) -> str:
    return ".".join(sorted({kind.code for kind in kinds}))


def _headers(endpoint: ApiEndpoint, status: int) -> dict[str, Any]:
    names = ["X-Request-Id", "RateLimit", "RateLimit-Policy", versioning.HEADER]
    if endpoint.etag:
        names.append("ETag")
    if endpoint.located and status != _OK:
        names.append("Location")
    if endpoint.key_rule is not KeyRule.NONE:
        names.append(idempotency.REPLAYED_HEADER)
    return _header_references(names)


def _header_references(names: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(names)}


def _problems(endpoint: ApiEndpoint) -> list[ProblemKind]:
    kinds: list[ProblemKind] = [] if endpoint.public else [problems.UNAUTHENTICATED]
    if endpoint.scopes:
        kinds.append(problems.MISSING_SCOPE)
    if endpoint.body is not None:
        kinds += [*_WITH_BODY, problems.UNSUPPORTED_MEDIA_TYPE, problems.REQUEST_TIMEOUT]
    elif endpoint.media_type is not None:
        kinds += [problems.BODY_TOO_LARGE, problems.UNSUPPORTED_MEDIA_TYPE, problems.REQUEST_TIMEOUT]
    elif endpoint.query is not None:
        kinds.append(problems.INVALID_PARAMETERS)
    kinds.append(problems.UNKNOWN_API_VERSION)
    if endpoint.key_rule is KeyRule.REQUIRED:
        kinds.append(problems.IDEMPOTENCY_KEY_MISSING)
    if endpoint.key_rule is not KeyRule.NONE:
        kinds += [problems.IDEMPOTENCY_KEY_INVALID, *_WITH_KEY]
    return list(dict.fromkeys([*kinds, *endpoint.problems, *_ALWAYS]))
