"""What is written by hand in the packages for partners: safe repeats, and the form of the collection."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from sdk import python_package, request_collection
from sdk.sources import HAND_WRITTEN, description


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = python_package.write_package(tmp_path_factory.mktemp("sdk") / "python")
    sys.path.insert(0, str(folder))
    try:
        from networkcore_sdk import (  # type: ignore[import-not-found] # noqa: PLC0415 - made just now
            connection,
        )

        yield connection
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == python_package.PACKAGE]:
            del sys.modules[name]


class Line:
    """A line to the gateway: it answers these statuses in turn; None loses the connection."""

    def __init__(self, *statuses: int | None, retry_after: str | None = None) -> None:
        self.statuses = list(statuses)
        self.headers = {} if retry_after is None else {"Retry-After": retry_after}
        self.sent = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        status = self.statuses.pop(0)
        if status is None:
            raise httpx.ConnectError("lost", request=request)
        return httpx.Response(status, headers=self.headers)


KEY = {"Idempotency-Key": "k"}


@pytest.mark.parametrize(
    ("method", "headers", "statuses", "answer", "sent"),
    [
        ("GET", {}, (503, 200), 200, 2),
        ("GET", {}, (None, 429, 200), 200, 3),
        ("POST", KEY, (502, None, 201), 201, 3),
        ("POST", {}, (503, 201), 503, 1),
        ("POST", KEY, (400, 201), 400, 1),
        ("POST", KEY, (500, 201), 500, 1),
        ("GET", {}, (503, 503, 503, 503), 503, 3),
        ("POST", {}, (None, 201), None, 1),
        ("GET", {}, (None, None, None, 200), None, 3),
    ],
)
def test_a_request_is_sent_again_only_where_that_is_safe(
    connection: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    *,
    method: str,
    headers: dict[str, str],
    statuses: tuple[int | None, ...],
    answer: int | None,
    sent: int,
) -> None:
    monkeypatch.setattr(connection.time, "sleep", lambda _: None)
    transport, line = connection.RepeatingTransport(attempts=3), Line(*statuses)
    monkeypatch.setattr(transport, "_blocking", line)
    request = httpx.Request(method, "http://gateway.test/", headers=headers)
    if answer is None:
        with pytest.raises(httpx.ConnectError):
            transport.handle_request(request)
    else:
        assert transport.handle_request(request).status_code == answer
    assert line.sent == sent


@pytest.mark.parametrize(("said", "waited"), [("7", 7.0), ("3600", 30.0)])
def test_the_wait_is_as_long_as_the_gateway_says_and_bounded(
    connection: ModuleType, monkeypatch: pytest.MonkeyPatch, said: str, waited: float
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(connection.time, "sleep", pauses.append)
    transport = connection.RepeatingTransport(attempts=2)
    monkeypatch.setattr(transport, "_blocking", Line(429, 200, retry_after=said))
    transport.handle_request(httpx.Request("GET", "http://gateway.test/"))
    assert pauses == [waited]


def test_a_request_of_the_collection_has_what_the_description_says() -> None:
    operation: dict[str, Any] = {
        "operationId": "op",
        "summary": "Do it",
        "tags": ["T"],
        "security": [],
        "parameters": [
            {"$ref": "#/components/parameters/id"},
            {"name": "limit", "in": "query", "schema": {"default": 20}},
            {"name": "Idempotency-Key", "in": "header", "required": True, "schema": {}},
        ],
        "requestBody": {"content": {"application/json": {"example": {"amount": 1}}}},
    }
    api = {
        "info": {"title": "t", "description": "d"},
        "tags": [{"name": "T"}],
        "paths": {"/v1/things/{id}/do": {"post": operation}},
        "components": {"parameters": {"id": {"name": "id", "in": "path", "schema": {"examples": ["x1"]}}}},
    }
    (folder,) = request_collection.collection_of(api)["item"]
    (item,) = folder["item"]
    assert item["name"] == "Do it"
    assert item["request"] == {
        "method": "POST",
        "header": [
            {"key": "Idempotency-Key", "value": "{{$guid}}", "description": "", "disabled": False},
            {"key": "Content-Type", "value": "application/json"},
        ],
        "url": {
            "raw": "{{base_url}}/v1/things/:id/do",
            "host": ["{{base_url}}"],
            "path": ["v1", "things", ":id", "do"],
            "variable": [{"key": "id", "value": "x1", "description": ""}],
            "query": [{"key": "limit", "value": "20", "description": "", "disabled": True}],
        },
        "description": "Do it",
        "auth": {"type": "noauth"},
        "body": {
            "mode": "raw",
            "raw": '{\n  "amount": 1\n}',
            "options": {"raw": {"language": "json"}},
        },
    }


def test_the_packages_of_npm_are_pinned_with_hashes_and_name_no_registry() -> None:
    lock = json.loads((HAND_WRITTEN / "typescript/package-lock.json").read_text(encoding="utf-8"))
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages
    for name, one in packages.items():
        assert one["integrity"].startswith("sha512-"), name
        assert "resolved" not in one, name
    about = json.loads((HAND_WRITTEN / "typescript/package.json").read_text(encoding="utf-8"))
    wanted = about["dependencies"] | about["devDependencies"]
    assert {name: packages[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    runtime = {one["license"] for one in packages.values() if not one.get("dev")}
    assert runtime <= {"MIT", "Apache-2.0", "BSD-3-Clause", "ISC", "Unlicense"}


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def test_every_operation_and_every_schema_is_in_the_python_package(connection: ModuleType) -> None:
    """The generator leaves out what it does not understand, and says so on a line that nobody reads."""
    package = Path(str(connection.__file__)).parent
    modules = {path.stem: path for path in package.glob("api/*/*.py") if path.stem != "__init__"}
    api = description()
    operations = [one for methods in api["paths"].values() for one in methods.values()]
    assert set(modules) == {snake(one["operationId"]) for one in operations}
    for one in operations:
        text = modules[snake(one["operationId"])].read_text(encoding="utf-8")
        assert "def sync_detailed(" in text, one["operationId"]
        assert "async def asyncio_detailed(" in text, one["operationId"]
        body = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        if "$ref" in body:
            assert f"    body: {body['$ref'].rpartition('/')[2]}" in text, one["operationId"]
    models = (package / "models/__init__.py").read_text(encoding="utf-8")
    objects = {name for name, schema in api["components"]["schemas"].items() if "properties" in schema}
    # A name that Python has for itself bears a low line: `Exception_`.
    assert {name for name in objects if not re.search(rf'"{name}_?",', models)} == set()


def test_the_readmes_of_the_packages_name_what_exists(connection: ModuleType) -> None:
    package = Path(str(connection.__file__)).parent
    names = {one["operationId"] for methods in description()["paths"].values() for one in methods.values()}
    assert {"createAuthorization", "listSessions"} <= names
    for line in (HAND_WRITTEN / "python/README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("from networkcore_sdk."):
            module = line.split()[1].split(".")[1:]
            found = package.joinpath(*module)
            assert found.exists() or found.with_suffix(".py").exists(), line


VECTOR_KEY = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
VECTOR_HEADERS = {
    "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "Webhook-Timestamp": "1614265330",
    "Webhook-Signature": "v1,AAAA v1a,*** v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7A"
    "ZdpXwVLPo3mNl8EM+m7TBAg==",
}
VECTOR_BODY = b'{"test": 2432232314}'


def test_the_published_asymmetric_message_is_verified_and_nothing_like_it(
    connection: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures of svix-server's test, whose signature the specification of Standard Webhooks shows."""
    webhooks = sys.modules.get(f"{connection.__package__}.webhooks") or __import__(
        f"{connection.__package__}.webhooks", fromlist=["webhooks"]
    )
    monkeypatch.setattr(webhooks.time, "time", lambda: 1614265330.0)
    monkeypatch.setattr(webhooks.Event, "from_dict", lambda read: read)
    verify = webhooks.verify_webhook
    assert verify(VECTOR_BODY, VECTOR_HEADERS, VECTOR_KEY) == {"test": 2432232314}
    wrong: list[tuple[bytes, dict[str, str], str]] = [
        (b'{"test": 1}', {}, VECTOR_KEY),
        (VECTOR_BODY, {"Webhook-Id": "msg_other"}, VECTOR_KEY),
        (VECTOR_BODY, {"Webhook-Id": ""}, VECTOR_KEY),
        (VECTOR_BODY, {"Webhook-Timestamp": "soon"}, VECTOR_KEY),
        (VECTOR_BODY, {"Webhook-Signature": "v1,AAAA"}, VECTOR_KEY),
        (VECTOR_BODY, {}, "whpk_AAAA"),
        (VECTOR_BODY, {}, "whpk_" + "A" * 43 + "="),
    ]
    for body, changed, key in wrong:
        with pytest.raises(webhooks.WebhookVerificationError):
            verify(body, {**VECTOR_HEADERS, **changed}, key)
    for now in (1614265330.0 + 301, 1614265330.0 - 301):
        monkeypatch.setattr(webhooks.time, "time", lambda at=now: at)
        with pytest.raises(webhooks.WebhookVerificationError, match="five minutes"):
            verify(VECTOR_BODY, VECTOR_HEADERS, VECTOR_KEY)


def test_the_package_names_the_version_that_it_was_made_from(connection: ModuleType) -> None:
    client = connection.connect("http://gateway.test", "nck_x")
    assert client.get_httpx_client().headers["Networkcore-Version"] == description()["info"]["version"]
