"""The public contract: what docs/ stores is what the code says, and each part is described."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway.api import examples
from gateway.api.openapi_export import DOCS, documents

API = Path(examples.__file__).parent
DOCUMENT = documents()["openapi.json"]
SCHEMAS = DOCUMENT["components"]["schemas"]
RENEW = "if this is meant, write the documents anew with `make api`, and say so in CHANGELOG.md"


def parts(document: Mapping[str, Any]) -> dict[str, str]:
    """Each operation, parameter, answer, schema and field of a document, by a name that a reader finds."""
    found: dict[str, str] = {}
    for path, methods in document.get("paths", {}).items():
        for method, operation in methods.items():
            name = f"operation {operation['operationId']}"
            found[name] = f"{method.upper()} {path} {operation['summary']} {operation.get('description')}"
            for one in operation["parameters"]:
                found[f"{name} parameter {one['name']}"] = json.dumps(one, sort_keys=True)
            body = operation.get("requestBody")
            if body is not None:
                found[f"{name} body"] = json.dumps(body, sort_keys=True)
            for status, answer in operation["responses"].items():
                found[f"{name} answer {status}"] = json.dumps(answer, sort_keys=True)
    for kind, one in {**document.get("webhooks", {}), **document.get("properties", {})}.items():
        found[f"event {kind}"] = json.dumps(one, sort_keys=True)
    for name, schema in {
        **document.get("$defs", {}),
        **document.get("components", {}).get("schemas", {}),
    }.items():
        fields = schema.get("properties", {})
        rest = {key: value for key, value in schema.items() if key != "properties"}
        found[f"schema {name}"] = json.dumps(rest, sort_keys=True)
        found |= {
            f"field {name}.{field}": json.dumps(content, sort_keys=True) for field, content in fields.items()
        }
    return found


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What a reader of the contract has to know, one line for each part."""
    old, new = parts(before), parts(after)
    lines = [f"removed: {name}" for name in sorted(old.keys() - new.keys())]
    lines += [f"added: {name}" for name in sorted(new.keys() - old.keys())]
    return lines + [f"changed: {name}" for name in sorted(old.keys() & new.keys()) if old[name] != new[name]]


@pytest.mark.parametrize("name", sorted(documents()))
def test_the_stored_contract_is_the_one_that_the_code_serves(name: str) -> None:
    stored = json.loads((DOCS / name).read_text(encoding="utf-8"))
    served = json.loads(json.dumps(documents()[name]))
    assert not changes(stored, served), "\n".join([f"docs/{name} differs:", *changes(stored, served), RENEW])
    assert stored == served, f"docs/{name} differs outside operations, events and schemas; {RENEW}"


def test_each_change_of_the_contract_is_named() -> None:
    before = json.loads(json.dumps(DOCUMENT))
    after = json.loads(json.dumps(DOCUMENT))
    fields = after["components"]["schemas"]["Session"]["properties"]
    del fields["flags"]
    fields["currency"]["description"] = "another meaning"
    fields["colour"] = {"type": "string"}
    del after["paths"]["/v1/refunds/{id}"]
    assert {
        "removed: field Session.flags",
        "changed: field Session.currency",
        "added: field Session.colour",
        "removed: operation getRefund",
    } <= set(changes(before, after))
    assert changes(before, before) == []


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_names_of_schemas_are_public_names() -> None:
    for name, schema in SCHEMAS.items():
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]+", name), name
        assert not name.endswith(("Schema", "In", "Out")), name
        assert schema["title"] == name
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9]+", name) for name in names)


def test_every_schema_property_parameter_and_header_is_described() -> None:
    silent = [name for name, schema in SCHEMAS.items() if not schema.get("description")]
    for name, schema in SCHEMAS.items():
        fields = schema.get("properties", {}).items()
        silent += [f"{name}.{field}" for field, content in fields if not content.get("description")]
    for _, _, operation in operations():
        name = operation["operationId"]
        silent += [f"{name} {one['name']}" for one in operation["parameters"] if not one["description"]]
    headers = DOCUMENT["components"]["headers"].items()
    silent += [name for name, header in headers if not header.get("description")]
    for kind, one in DOCUMENT["webhooks"].items():
        silent += [f"{kind} {p['name']}" for p in one["post"]["parameters"] if not p.get("description")]
    assert silent == []


def test_every_answer_of_json_is_a_named_schema_with_described_headers() -> None:
    for _, _, operation in operations():
        for status, answer in operation["responses"].items():
            if "$ref" in answer:
                continue
            assert "X-Request-Id" in answer["headers"]
            for media, content in answer.get("content", {}).items():
                if media == "application/json":
                    assert set(content["schema"]) == {"$ref"}, (operation["operationId"], status)


def test_summaries_are_short_and_begin_with_a_capital_letter() -> None:
    for _, _, operation in operations():
        assert re.fullmatch(r"[A-Z][^.]{2,59}", operation["summary"]), operation["summary"]


TIMES = re.compile(r"(.+_at|created|expires|revoked|lifted|decided|submitted|received|checked|added|retired)")


def test_times_in_answers_are_date_times() -> None:
    wrong = []
    for name, schema in SCHEMAS.items():
        for field, content in schema.get("properties", {}).items():
            kinds = content.get("anyOf", [content])
            texts = [kind for kind in kinds if kind.get("type") == "string"]
            if TIMES.fullmatch(field) and any(kind.get("format") != "date-time" for kind in texts):
                wrong.append(f"{name}.{field}")
    assert wrong == []


def _resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "components": DOCUMENT["components"]}


def _checked(content: Mapping[str, Any], example: object) -> None:
    Draft202012Validator(
        _resolved(content["schema"]), format_checker=Draft202012Validator.FORMAT_CHECKER
    ).validate(example)


MAIN = {
    "createQuote",
    "createAuthorization",
    "getAuthorization",
    "completeSession",
    "getSession",
    "getSessionPrice",
    "createRefund",
    "listEvents",
    "createWebhookEndpoint",
    "createParty",
    "createApiKey",
}


def test_the_main_operations_show_a_whole_request_and_answer() -> None:
    assert set(examples.operations()) >= MAIN
    by_name = {operation["operationId"]: operation for _, _, operation in operations()}
    for name in examples.operations():
        operation = by_name[name]
        shown = {status: answer for status, answer in operation["responses"].items() if status[0] == "2"}
        answers = [answer["content"]["application/json"] for answer in shown.values()]
        assert any("example" in answer for answer in answers), name
        for content in answers:
            if "example" in content:
                _checked(content, content["example"])
        if "requestBody" in operation and operation["requestBody"]["required"]:
            content = operation["requestBody"]["content"]["application/json"]
            _checked(content, content["example"])


HANDLERS = [path for name in ("capture", "partners") for path in sorted((API / name).glob("*.py"))]


@pytest.mark.parametrize("path", HANDLERS, ids=[f"{path.parent.name}/{path.stem}" for path in HANDLERS])
def test_a_handler_calls_services_and_opens_no_connection(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert "services.pool" not in source
    # A connection of OCPI is read from its service: a name with more to it, or an attribute.
    assert not re.search(r"(?<!\.)\bconnection\b", re.sub(r'"[^"]*"', "", source))
