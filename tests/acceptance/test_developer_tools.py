"""What `make sdk` writes works against a running gateway: both packages, the collection, and the examples."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from zipfile import ZipFile

import pytest
from standardwebhooks import Webhook

from gateway.api_versions import NEWEST
from gateway.webhooks.event_service import SETTLE_MS
from gateway.webhooks.signing import SigningKey, WebhookScheme, public_key_text, secret_text, signed_headers
from sdk import python_package, request_collection, typescript_package
from sdk.sources import SdkError, description, version
from tests.guides import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("dev"),  # one stack for the modules that use it
]
EVSE = "DE*RHN*E1*0001"
SECRET = bytes(range(32))
PAIR = SigningKey(scheme=WebhookScheme.ASYMMETRIC, secret=bytes(range(32, 64)))
USAGE = {"started_at": "2026-10-29T08:05:00Z", "ended_at": "2026-10-29T08:50:00Z", "energy_wh": 18_500}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python package as its wheel installs it."""
    folder = tmp_path_factory.mktemp("python")
    project = python_package.write_package(folder / "project")
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(project),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"networkcore_sdk-{version()}-py3-none-any.whl"
    with ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TypeScript package, compiled."""
    if typescript_package.find_npm() is None:
        pytest.skip("Node.js with npm is not installed")
    try:
        return typescript_package.write_package(tmp_path_factory.mktemp("typescript") / "project")
    except SdkError as error:
        if any(sign in str(error) for sign in ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "network")):
            pytest.skip(f"npm's registry can't be reached: {error}")
        raise


def operate(dev: Mapping[str, Any], path: str, body: Any = None) -> Any:
    """A call of the platform, in the place of the operator."""
    request = urllib.request.Request(  # noqa: S310 - the address that dev printed
        f"{dev['base_url']}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {dev['admin_api_key']}",
            "Content-Type": "application/json",
            "Idempotency-Key": os.urandom(8).hex(),
        },
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - likewise
        return json.load(response)


def run_python(
    installed: Path, dev: Mapping[str, Any], *arguments: str, party: str = "parkingapp"
) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(installed),
        "BASE": dev["base_url"],
        "KEY": dev["api_keys"][party],
    }
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen[str], sign: str) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if sign in line:
            return
    assert process.stderr is not None
    pytest.fail(f"{sign} never came: {process.stderr.read()}")


def end_session(dev: Mapping[str, Any], line: str) -> None:
    """The operator's meter says what the session took."""
    session = line.rpartition("(")[2].strip(")\n")
    operate(dev, f"/v1/sessions/{session}/complete", {"usage": USAGE})


def test_a_super_app_charges_a_card_in_fifty_lines(installed: Path, dev: dict[str, Any]) -> None:
    program = ROOT / "examples/super_app.py"
    assert len(program.read_text(encoding="utf-8").splitlines()) <= 50
    with run_python(installed, dev, str(program), EVSE, "pm_card_visa") as process:
        *before, held = read_until(process, "plug in now")
        end_session(dev, held)
        after, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "per kWh" in "".join(before)
    assert "paid: 9.18 EUR" in after
    declined = run_python(installed, dev, str(program), EVSE, "pm_card_visa_chargeDeclined")
    _, errors = declined.communicate(timeout=60)
    assert (declined.returncode, "not authorized: " in errors, "Traceback" in errors) == (1, True, False)


def test_a_parking_app_is_paid_from_its_account_and_reads_its_webhook(
    installed: Path, dev: dict[str, Any]
) -> None:
    program = ROOT / "examples/parking_app.py"
    assert len(program.read_text(encoding="utf-8").splitlines()) <= 50
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"http://127.0.0.1:{free.getsockname()[1]}"
    with run_python(installed, dev, str(program), EVSE, listen, party="superapp") as process:
        *_, line = read_until(process, "charging may start")
        end_session(dev, line)
        after, _ = process.communicate(timeout=60)
    assert (process.returncode, after) == (0, "ticket-4711: charging 9.18 EUR\n")


CALLS = """
import asyncio, json, sys
from networkcore_sdk.api.authorizations import create_authorization
from networkcore_sdk.api.sessions import complete_session, list_sessions
from networkcore_sdk.connection import NetworkcoreError, alist_all, connect, list_all, new_key, unwrap
from networkcore_sdk.models import AuthorizationBody, CompleteBody
from networkcore_sdk.webhooks import WebhookVerificationError, verify_webhook
base, key, admin, body, usage, hook, headers, keys = json.loads(sys.stdin.read())

async def all_of_them(client):
    async with client:
        return [one.id async for one in alist_all(list_sessions.asyncio, client=client, limit=1)]

with connect(base, key) as client, connect(base, admin) as operator:
    wanted, repeat = AuthorizationBody.from_dict(body), new_key()
    made = unwrap(create_authorization.sync(client=client, body=wanted, idempotency_key=repeat))
    again = unwrap(create_authorization.sync(client=client, body=wanted, idempotency_key=repeat))
    assert made.id == again.id
    metered = {"body": CompleteBody.from_dict({"usage": usage}), "idempotency_key": new_key()}
    ended = unwrap(complete_session.sync(made.session, client=operator, **metered))
    assert (ended.price.incl_vat, ended.capture.amount) == (918, 918)
    second = AuthorizationBody.from_dict(body | {"session_ref": "another"})
    unwrap(create_authorization.sync(client=client, body=second, idempotency_key=new_key()))
    listed = [one.id for one in list_all(list_sessions.sync, client=client, limit=1)]
    assert made.session in listed and len(listed) > 1 and len(set(listed)) == len(listed)
    assert asyncio.run(all_of_them(connect(base, key))) == listed
    try:
        strange = AuthorizationBody.from_dict(body | {"evse_id": "DE*NO*E1"})
        unwrap(create_authorization.sync(client=client, idempotency_key=new_key(), body=strange))
    except NetworkcoreError as error:
        print(error.problem.code, error.problem.status)
for secret in keys:
    event = verify_webhook(hook.encode(), headers, secret)
    print(event.id, event.type_, event.data.to_dict())
    try:
        verify_webhook(hook.replace("918", "919").encode(), headers, secret)
    except WebhookVerificationError:
        print("forged")
try:
    verify_webhook(hook.encode(), headers, "whpk_" + "A" * 43 + "=")
except WebhookVerificationError:
    print("another key")
"""
HOOK = {
    "id": "evt_1",
    "object": "event",
    "type": "capture.succeeded",
    "api_version": NEWEST,
    "created": "2026-10-29T08:51:00Z",
    "timestamp": "2026-10-29T08:51:00Z",
    "object_id": "cap_1",
    "data": {"amount": 918},
}


def given(dev: Mapping[str, Any], session_ref: str) -> tuple[Any, ...]:
    """What the programs of both languages are given."""
    from datetime import UTC, datetime  # noqa: PLC0415 - a webhook is signed now, whatever the business time

    hook = json.dumps(HOOK)
    payment = {"type": "psp_payment_method", "payment_method": "pm_card_visa"}
    body = {"evse_id": EVSE, "method": "card", "payment": payment, "session_ref": session_ref}
    body["estimate"] = {"energy_wh": 30_000, "duration_s": 3600}
    headers = signed_headers(
        message_id="evt_1",
        at=datetime.now(UTC),
        body=hook.encode(),
        signing=[SigningKey(secret=SECRET), PAIR],
    )
    keys = [secret_text(SECRET), public_key_text(PAIR.public_key or b"")]
    key = dev["api_keys"]["parkingapp"]
    return dev["base_url"], key, dev["admin_api_key"], body, USAGE, hook, headers, keys


EVENT_READ = "evt_1 capture.succeeded {'amount': 918}"
WANTED = ["evse_not_found 404", *[EVENT_READ, "forged"] * 2, "another key"]


def test_the_python_package_authorizes_completes_lists_and_verifies(
    installed: Path, dev: dict[str, Any]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALLS],
        input=json.dumps(given(dev, "sdk-python")),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == WANTED


def test_every_operation_and_every_schema_is_in_the_typescript_package(compiled: Path) -> None:
    text = (compiled / "src/schema.d.ts").read_text(encoding="utf-8")
    api = description()
    for path, methods in api["paths"].items():
        assert f'    "{path}": {{' in text, path
        for operation in methods.values():
            assert f'operations["{operation["operationId"]}"];' in text, operation["operationId"]
    for name in api["components"]["schemas"]:
        assert f"        {name}: " in text, name


TYPESCRIPT_CALLS = """
import { connect, listAll, NetworkcoreError, newKey, unwrap, verifyWebhook } from "./index.js";
import { WebhookVerificationError, type Schemas } from "./index.js";
import { readFileSync } from "node:fs";
type Wanted = Schemas["AuthorizationBody"];
type Given = [string, string, string, Wanted, Schemas["UsageBody"], string, Record<string, string>, string[]];
const [base, key, admin, body, usage, hook, headers, keys] = JSON.parse(readFileSync(0, "utf8")) as Given;
const client = connect({ baseUrl: base, apiKey: key });
const operator = connect({ baseUrl: base, apiKey: admin });
const repeat = newKey();
const authorize = (repeated: string, wanted: Wanted) =>
  client.POST("/v1/authorizations", { params: { header: { "Idempotency-Key": repeated } }, body: wanted });
const made = unwrap(await authorize(repeat, body));
const again = unwrap(await authorize(repeat, body));
if (made.id !== again.id) throw new Error("a repeat is another authorization");
const ended = unwrap(await operator.POST("/v1/sessions/{id}/complete", {
  params: { path: { id: made.session }, header: { "Idempotency-Key": newKey() } }, body: { usage } }));
if (ended.price?.incl_vat !== 918 || ended.capture?.amount !== 918) throw new Error(JSON.stringify(ended));
const listed: string[] = [];
const page = (cursor?: string) => client.GET("/v1/sessions", { params: { query: { cursor, limit: 1 } } });
for await (const one of listAll(page)) listed.push(one.id);
if (!listed.includes(made.session) || new Set(listed).size !== listed.length) throw new Error(listed.join());
try {
  unwrap(await authorize(newKey(), { ...body, evse_id: "DE*NO*E1" }));
} catch (error) {
  if (!(error instanceof NetworkcoreError)) throw error;
  console.log(error.problem.code, error.problem.status);
}
for (const secret of keys) {
  const event = verifyWebhook(hook, headers, secret);
  console.log(event.id, event.type, JSON.stringify(event.data).replaceAll('"', "'").replace(":", ": "));
  try {
    verifyWebhook(hook.replace("918", "919"), headers, secret);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    console.log("forged");
  }
}
try {
  verifyWebhook(hook, headers, "whpk_" + "A".repeat(43) + "=");
} catch (error) {
  if (!(error instanceof WebhookVerificationError)) throw error;
  console.log("another key");
}
"""


def test_the_typescript_package_authorizes_completes_lists_and_verifies(
    compiled: Path, dev: dict[str, Any]
) -> None:
    (compiled / "src/calls.ts").write_text(TYPESCRIPT_CALLS, encoding="utf-8")
    npm = shutil.which("npm")
    assert npm is not None
    build = subprocess.run(
        [npm, "run", "build"], cwd=compiled, capture_output=True, text=True, timeout=120, check=False
    )
    assert build.returncode == 0, build.stdout
    done = subprocess.run(
        ["node", "dist/calls.js"],  # noqa: S607 - found by the fixture
        cwd=compiled,
        input=json.dumps(given(dev, "sdk-typescript")),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == WANTED


def networkcore(dev: Mapping[str, Any], *arguments: str) -> subprocess.Popen[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "BASE": dev["base_url"],
        "KEY": dev["api_keys"]["parkingapp"],
        "ADMIN": dev["admin_api_key"],
        "WEBHOOK_SECRET": secret_text(SECRET),
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", *arguments],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Receiver(BaseHTTPRequestHandler):
    """A partner's program: it verifies each message with the library of Standard Webhooks."""

    received: ClassVar[list[str]] = []
    failures: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event = Webhook(secret_text(SECRET)).verify(body, dict(self.headers))
        self.received.append(event["type"])
        self.send_response(self.failures.pop() if self.failures else 204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


def test_a_developer_listens_on_his_machine_and_makes_events_happen(dev: dict[str, Any]) -> None:
    time.sleep(2 * SETTLE_MS / 1000)  # what tests before made happen is no news any more
    Receiver.failures.append(500)
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        hooks = f"http://127.0.0.1:{server.server_address[1]}/hooks"
        wanted = "refund.succeeded,authorization.failed"
        with networkcore(dev, "listen", "--to", hooks, "--events", wanted, "--count", "2") as listening:
            list(read_until(listening, "Ctrl-C stops"))
            for event in ("authorization.failed", "refund.succeeded"):
                out, errors = networkcore(dev, "trigger", event).communicate(timeout=60)
                assert (errors, out.startswith(f"{event}: ")) == ("", True)
            out, errors = listening.communicate(timeout=60)
        server.shutdown()
    assert (listening.returncode, errors) == (0, "")
    first, second, last = out.splitlines()
    assert ("authorization.failed" in first, first.endswith("-> 204")) == (True, True)
    assert ("refund.succeeded" in second, second.endswith("-> 204")) == (True, True)
    assert last.startswith("Last event: evt_")
    assert Receiver.received == ["authorization.failed", "authorization.failed", "refund.succeeded"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trigger", "capture.succeded"], "'capture.succeded' can't be made to happen; did you mean capture"),
        (["trigger", "refund.succeeded", "--url", "http://127.0.0.1:1"], "no gateway answers at http://127"),
        (["trigger", "refund.succeeded", "--api-key", "nck_x"], "401 unauthenticated"),
        (["trigger", "refund.succeeded", "--platform-key", ""], "give the platform's key as --platform-key"),
        (["listen", "--to", "localhost:3000"], "--to 'localhost:3000' is no URL"),
        (["listen", "--to", "http://localhost", "--after", "foo"], "400 invalid_parameters"),
    ],
)
def test_what_can_not_be_is_one_line(dev: dict[str, Any], arguments: list[str], line: str) -> None:
    with networkcore(dev, *arguments) as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.count("\n")) == (2, 1), errors
    assert line in errors


def test_the_collection_has_every_operation_and_its_requests_work(
    dev: dict[str, Any], tmp_path: Path
) -> None:
    path = request_collection.write_collection(tmp_path / "collection.json")
    collection = json.loads(path.read_text(encoding="utf-8"))
    requests = {item["name"]: item["request"] for folder in collection["item"] for item in folder["item"]}
    operations = [one for methods in description()["paths"].values() for one in methods.values()]
    assert sum(len(folder["item"]) for folder in collection["item"]) == len(operations)
    for request in requests.values():
        named = {part[1:] for part in request["url"]["path"] if part.startswith(":")}
        assert named == {one["key"] for one in request["url"]["variable"]}
    quote = requests["Quote a session"] if "Quote a session" in requests else requests["Create a quote"]
    assert quote["url"]["raw"] == "{{base_url}}/v1/quotes"
    body = json.loads(quote["body"]["raw"]) | {"evse_id": EVSE}
    assert operate(dev, "/v1/quotes", body)["evse_id"] == EVSE


def test_the_command_says_what_it_could_not_make(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sdk", "collection", "typescript", "--output", str(tmp_path)],
        env={"PATH": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "typescript: not made: Node.js with npm is not installed" in done.stdout
    assert (tmp_path / "collection/networkcore.postman_collection.json").exists()
