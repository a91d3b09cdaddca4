"""Every operation of the API as a collection of requests, for Postman, Bruno and others that read its format.

Owns: the translation of the description into Postman Collection 2.1.0. Must not know: what the operations do.
Source: schema.postman.com, Collection v2.1.0.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sdk.sources import description, version

SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_KEY: Final = "Idempotency-Key"


def write_collection(path: Path) -> Path:
    """Write the collection; where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(collection_of(description()), indent=2) + "\n", encoding="utf-8")
    return path


def collection_of(api: Mapping[str, Any]) -> dict[str, Any]:
    """A folder for each tag, in the description's order, with one request for each operation."""
    folders: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in api.get("tags", [])}
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            for tag in operation.get("tags", ["Other"])[:1]:
                folders.setdefault(tag, []).append(_item(api, path, method, operation))
    return {
        "info": {
            "name": api["info"]["title"],
            "description": api["info"]["description"],
            "version": version(),
            "schema": SCHEMA,
        },
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{api_key}}", "type": "string"}]},
        "variable": [
            {"key": "base_url", "value": "http://127.0.0.1:8080", "type": "string"},
            {"key": "api_key", "value": "", "type": "string"},
        ],
        "item": [{"name": name, "item": items} for name, items in folders.items() if items],
    }


def _item(api: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    parameters = [_resolved(api, one) for one in operation.get("parameters", [])]
    request: dict[str, Any] = {
        "method": method.upper(),
        "header": [_header(one) for one in parameters if one["in"] == "header"],
        "url": _url(path, parameters),
        "description": operation.get("description", operation.get("summary", "")),
    }
    if operation.get("security") == []:
        request["auth"] = {"type": "noauth"}
    body = _body(operation)
    if body is not None:
        media, text = body
        request["header"].append({"key": "Content-Type", "value": media})
        request["body"] = {"mode": "raw", "raw": text}
        if media.endswith("json"):
            request["body"]["options"] = {"raw": {"language": "json"}}
    return {"name": operation.get("summary", operation["operationId"]), "request": request, "response": []}


def _url(path: str, parameters: list[Mapping[str, Any]]) -> dict[str, Any]:
    parts = [f":{part[1:-1]}" if part.startswith("{") else part for part in path.strip("/").split("/")]
    return {
        "raw": "{{base_url}}/" + "/".join(parts),
        "host": ["{{base_url}}"],
        "path": parts,
        "variable": [_pair(one) for one in parameters if one["in"] == "path"],
        "query": [
            _pair(one) | {"disabled": not one.get("required", False)}
            for one in parameters
            if one["in"] == "query"
        ],
    }


def _header(parameter: Mapping[str, Any]) -> dict[str, Any]:
    pair = _pair(parameter) | {"disabled": not parameter.get("required", False)}
    return pair | {"value": "{{$guid}}"} if parameter["name"] == _KEY else pair


def _pair(parameter: Mapping[str, Any]) -> dict[str, Any]:
    schema = parameter.get("schema", {})
    example = parameter.get("example", next(iter(schema.get("examples", [])), schema.get("default")))
    return {
        "key": parameter["name"],
        "value": "" if example is None else str(example),
        "description": parameter.get("description", ""),
    }


def _body(operation: Mapping[str, Any]) -> tuple[str, str] | None:
    """Media type and example of the request's body; None where it has none."""
    content = operation.get("requestBody", {}).get("content", {})
    for media, described in content.items():
        example = described.get("example", {} if media.endswith("json") else "")
        return media, json.dumps(example, indent=2) if media.endswith("json") else str(example)
    return None


def _resolved(api: Mapping[str, Any], parameter: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = parameter
    if "$ref" in parameter:
        found = api
        for part in parameter["$ref"].removeprefix("#/").split("/"):
            found = found[part]
    resolved: Mapping[str, Any] = found
    return resolved
