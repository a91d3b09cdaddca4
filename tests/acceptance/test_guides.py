"""README and the guides on `networkcore dev`: each command and each call, with the key of its reader."""

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from gateway.cli.main import networkcore
from sandbox.pki.hierarchy import Suite, build_pki
from tests.fakes import bank, ocpi_objects
from tests.fakes.command import networkcore as run_networkcore
from tests.guides import GUIDES, README, Call, calls_of, commands_of, reads_of, section, shell_blocks, text_of
from tests.unit.clearing import meter_builders

BASH = shutil.which("bash")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("dev"),  # one stack for both modules that use it
    pytest.mark.skipif(not (shutil.which("curl") and BASH), reason="needs curl and bash"),
]

# Commands that run until they are stopped or need a receiver, and where they run in a test.
RUN_ELSEWHERE = {
    "dev": "this stack: tests/acceptance/conftest.py",
    "demo": "tests/acceptance/test_market_day.py",
    "serve": "a process of this stack",
    "work": "a process of this stack",
    "listen": "tests/acceptance/test_developer_tools.py",
    "trigger": "tests/acceptance/test_developer_tools.py",
    "sandbox-contract-pool": "tests/integration/test_sandbox_contract_pool.py",
    "sandbox-psp": "a process of this stack; tests/integration/sandbox_psp_client.py",
}
# These read the settings of `serve`, as ocpi.md says.
CALLS_A_PLATFORM = (
    "networkcore ocpi connect",
    "networkcore ocpi renew",
    "networkcore secrets",
    LEAVING := "networkcore ocpi leave",
)
# These read the settings of `serve` that concern the PSP, as going-live.md and first-look.md say.
CALLS_THE_PSP = ("networkcore psp", "networkcore audit")
# A status other than 0 that the page, or the state of this stack, explains; and the line that says so.
OTHER_STATUS = {
    "networkcore status": (1, "exception"),
    "networkcore reconcile run": (1, "differences"),
    "networkcore books close 2026-10 --check": (1, "Open at the end of 2026-10"),
    "networkcore books close 2026-10 --by": (2, "is still to come"),  # the month of this stack has not ended
    "networkcore fx execute": (2, "can't be sold"),  # the position of this stack is smaller
    "networkcore ocpi check-invoice": (2, "has sent no invoice record"),
    "networkcore ocpi connect": (2, "cpo.example"),  # a name without an address
    "networkcore ocpi renew": (2, "/credentials"),  # the operator's platform ended with the opening
    "networkcore ocpi leave": (2, "/credentials"),  # likewise
    # The PSP of this stack pays nothing out, so what stands for its two payouts is not the sum of the line.
    "networkcore reconcile resolve psp_bank line:77aa": (2, "they do not match"),
    "networkcore secrets seal": (2, "set NETWORKCORE_WEBHOOK_ENCRYPTION_KEYS"),
    "networkcore reconcile import-status-report": (2, "no payment file with the message id"),
    # Nothing is paid on the first morning: tests/integration/test_settlement_statements.py has such a file.
    "networkcore verify dis_": (2, "does not exist"),
    "networkcore distribute": (2, "this PostgreSQL has no Citus"),
}
# Whose key a page's calls need, and the words by which the page says so.
READERS = {
    "alerts.md": ("admin", "an admin key of the platform"),
    "books.md": ("admin", "an admin key of the platform"),
    "capture-api.md": ("parkingapp", "such as `parkingapp`"),
    "console.md": ("admin", "with an admin key of the platform"),
    "driver-page.md": ("admin", "an admin key of the platform"),
    "exceptions.md": ("admin", "an admin key of the platform"),
    "finance.md": ("admin", "with an admin key of the platform"),
    "keys-and-acts.md": ("admin", "with an admin key of the platform"),
    "keys.md": ("admin", "with an admin key of the platform"),
    "money.md": ("admin", "with an admin key of the platform"),
    "monitoring.md": ("admin", "with an admin key of the platform"),
    "ocpi.md": ("admin", "with an admin key of the platform"),
    "partners.md": ("parkingapp", "with its own key"),
    "party-checks.md": ("admin", "With an admin key of the platform"),
    "personal-data.md": ("admin", "an admin key of the platform"),
    "plug-and-charge.md": ("NL-POL", "a key of the operator"),
    "settlement.md": ("admin", "with an admin key of the platform"),
    "scale-out.md": ("admin", "an admin key of the platform"),
    "webhooks.md": ("parkingapp", "such as the key of `parkingapp`"),
}
# Reads on a page that need another key, as the page says.
OTHER_READERS = {"/v1/plug-and-charge/contract-changes": "admin"}
# Each once, whatever pages name it; the one that ends a registration after those that need it.
COMMANDS = sorted(
    {
        line
        for page in (README, *GUIDES)
        for line in commands_of(page)
        if line.split()[1] not in RUN_ELSEWHERE
    },
    key=lambda line: (line.startswith(LEAVING), line),
)
CALLS = {page.name: calls for page in GUIDES if (calls := calls_of(page))}
READS = sorted({(page.name, path) for page in GUIDES for path in reads_of(page)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Somebody with a key of `dev` who makes a page's calls."""

    base_url: str
    key: str

    def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address that dev printed
            self.base_url + path,
            method=method,
            data=body or None,
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            | ({"Idempotency-Key": secrets.token_hex(8)} if method == "POST" else {})
            | dict(headers or {}),
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - likewise
                status, content = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        return status, json.loads(content) if content else None

    def get(self, path: str) -> Any:
        status, answer = self.send("GET", path)
        assert status == 200, answer
        return answer

    def post(self, path: str, body: Any) -> Any:
        status, answer = self.send("POST", path, json.dumps(body).encode())
        assert status in {200, 201}, answer
        return answer


def reader(dev: Mapping[str, Any], who: str) -> Reader:
    key = dev["admin_api_key"] if who == "admin" else dev["api_keys"][who]
    return Reader(base_url=dev["base_url"], key=key)


def psp_settings(dev: Mapping[str, Any]) -> dict[str, str]:
    return {
        "NETWORKCORE_PSP_API_KEY": dev["sandbox_psp_api_key"],
        "NETWORKCORE_PSP_BASE_URL": dev["sandbox_psp_url"],
        "NETWORKCORE_PUBLIC_URL": dev["base_url"],
    }


def command(line: str, folder: Path, dev: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    settings = {"DATABASE_URL": dev["database_url"]}
    if line.startswith(CALLS_A_PLATFORM):
        settings |= {
            "NETWORKCORE_PSP_API_KEY": dev["sandbox_psp_api_key"],
            "NETWORKCORE_PSP_WEBHOOK_SECRET": "whsec_of_no_use",
        }
    if line.startswith(CALLS_THE_PSP):
        settings |= psp_settings(dev)
    return run_networkcore(
        *shlex.split(line)[1:], cwd=folder, environment=os.environ | settings, timeout_s=120
    )


@pytest.fixture(scope="module")
def folder(dev: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files that the guides name."""
    path = tmp_path_factory.mktemp("guides")
    (path / "incoming").mkdir()
    agreement = re.search(
        r"^    (\{\"id\": \"agr-1\".*?\n)\n", text_of(guide("finance.md")), re.DOTALL | re.MULTILINE
    )
    account = re.search(r"```json\n(.*?)```", text_of(guide("settlement.md")), re.DOTALL)
    assert agreement
    assert account
    party = {"country": "NL", "settlement_currency": "EUR", "vat_id": "NL1"}
    session = {
        "captured_minor": 1210,
        "currency": "EUR",
        "tax_jurisdiction": "NL",
        "time_zone": "Europe/Amsterdam",
        "sale_at": "2026-10-13T12:00:00Z",
        "energy_kwh": "20.5",
        "parties": {
            "platform": party | {"id": "platform", "taxable_dealer": True},
            "cpo": party | {"id": "NL-POL"},
            "demand_partner": party | {"id": "superapp"},
        },
    }
    tariff = ocpi_objects.tariff()
    cdr = ocpi_objects.cdr(tariffs=[tariff])
    texts = {
        "AGREEMENT.json": agreement[1],
        "SESSION.json": json.dumps(session),
        "TARIFF.json": json.dumps(tariff),
        "CDR.json": json.dumps(cdr),
        "in.jsonl": json.dumps({"id": 1, "cdr": cdr, "time_zone": "Europe/Amsterdam"}) + "\n",
        "account.json": account[1],
        "METER.xml": f"<values><value><signedData>{meter_builders.record()}</signedData></value></values>",
        "KEY.txt": meter_builders.public_der().hex(),
        "keys.csv": f"meter_serial,public_key\nM2,{meter_builders.public_der().hex()}\n",
        "token-a": "a-token-of-the-operator",
        "FILE": known_rates(path, dev),
        "TOKENS.csv": "uid,type,party,contract_id,issuer\nGUIDE1,RFID,superapp,NLSUPC00000001,Super App\n",
        "incoming/pain002.xml": bank.status_report("NC-unknown", group="ACCP").decode(),
        "incoming/camt053.xml": bank.statement(*unknown_lines()).decode(),
    }
    for name, text in texts.items():
        (path / name).write_text(text, encoding="utf-8")
    written = command(
        "networkcore clearing account-statement cpo:DE-RHN:payable --currency EUR"
        " --since 2026-10-01T00:00:00Z --until 2026-11-01T00:00:00Z --output STATEMENT.json",
        path,
        dev,
    )
    assert written.returncode == 0, written.stderr
    return path


def known_rates(path: Path, dev: Mapping[str, Any]) -> str:
    """The ECB's file of a day whose rates are known: importing it again changes nothing."""
    shown = command("networkcore fx rates --on 2026-10-28 --json", path, dev)
    assert shown.returncode == 0, shown.stderr
    rates = {one["currency"]: one["rate_of_1_EUR"] for one in json.loads(shown.stdout)}
    days = ",".join(rates[currency] for currency in ("CHF", "TRY"))
    return f"Date,CHF,TRY,\n2026-10-28,{days},\n"


def guide(name: str) -> Path:
    return next(page for page in GUIDES if page.name == name)


# Lines of a bank statement that nothing here explains, in minor units.
LINES = {
    "large": 150_000,
    "small": 2_500,
    "come": 4_000,
    "gone": -4_000,
    "repaid": 5_500,
    "whole": 3_000,
    "a": -1_000,
    "b": -2_000,
}


def unknown_lines() -> list[str]:
    return [
        bank.entry(
            f"{abs(minor) / 100:.2f}",
            direction="DBIT" if minor < 0 else "CRDT",
            day="2026-10-28",
            reference=f"LINE-{name}",
            info=name,
        )
        for name, minor in LINES.items()
    ]


@pytest.fixture(scope="module")
def names(dev: dict[str, Any], folder: Path) -> dict[str, str]:
    """What stands here for the ids that settlement.md leaves open: references, a request, suspense items."""
    admin = reader(dev, "admin")
    imported = command("networkcore reconcile import-statement incoming/camt053.xml", folder, dev)
    assert imported.returncode == 0, imported.stderr
    command("networkcore reconcile run", folder, dev)
    shown = admin.get("/v1/reconciliation/differences?limit=100")["data"]
    by_amount = {-one["amount"]: one for one in shown if one["reference"].startswith("line:")}
    found = {name: by_amount[minor] for name, minor in LINES.items()}

    def suspend(name: str) -> Any:
        return admin.post(
            f"/v1/reconciliation/differences/{found[name]['id']}/resolve",
            {"resolution": "suspense", "reason": "payer unknown"},
        )

    suspend("come")
    suspend("gone")
    suspend("repaid")
    assert suspend("large")["state"] == "pending"
    listed = command("networkcore reconcile suspense --json", folder, dev)
    items = {one["remaining_minor"]: one["id"] for one in json.loads(listed.stdout)}
    (request,) = json.loads(
        command("networkcore reconcile approvals --state pending --json", folder, dev).stdout
    )
    return {
        "https://gateway.example": dev["base_url"],
        "line:5c0e...": found["small"]["reference"],
        "line:77aa...": found["whole"]["reference"],
        "po_1": found["a"]["reference"],
        "po_2": found["b"]["reference"],
        "REQUEST": request["id"],
        "offset-suspense ITEM": f"offset-suspense {items[LINES['come']]}",
        "OTHER": items[LINES["gone"]],
        "clear-suspense ITEM": f"clear-suspense {items[LINES['repaid']]}",
    }


def mentions_only(line: str) -> bool:
    """Whether a page names a command in passing, without the arguments that it needs."""
    words = shlex.split(line)[1:]
    found: click.Command = networkcore
    context = click.Context(networkcore, info_name="networkcore")
    while words and isinstance(found, click.Group):
        found, words = found.get_command(context, words[0]) or found, words[1:]
    return not words and any(parameter.required for parameter in found.params)


def expected(line: str) -> tuple[int, str]:
    return next((other for start, other in OTHER_STATUS.items() if line.startswith(start)), (0, ""))


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line[12:72])
def test_a_command_of_the_docs_runs_as_written(
    line: str, dev: dict[str, Any], folder: Path, names: dict[str, str]
) -> None:
    status, words = expected(line)
    for written, here in names.items():
        line = line.replace(written, here)
    if mentions_only(line):
        line, status, words = f"{line} --help", 0, "Usage:"
    run = command(line, folder, dev)
    said = run.stdout + run.stderr
    assert run.returncode == status, f"{line}\n{said}"
    assert words in said
    assert "Traceback" not in said
    if status == 2:
        assert run.stderr.startswith("networkcore: ")
        assert run.stderr.count("\n") == 1


def test_the_readme_captures_a_session_in_the_shell(dev: dict[str, Any], tmp_path: Path) -> None:
    blocks = [
        block for block in shell_blocks(section(README, "Capture a session yourself")) if "curl" in block
    ]
    assert len(blocks) == 2
    script = "\n".join(blocks)
    for placeholder, here in (
        ("http://127.0.0.1:PORT", dev["base_url"]),
        ("KEY=nck_...", f"KEY={dev['api_keys']['parkingapp']}"),
        ("ADMIN=nck_...", f"ADMIN={dev['admin_api_key']}"),
    ):
        assert placeholder in script
        script = script.replace(placeholder, here)
    run = subprocess.run(
        [str(BASH), "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    completed = json.loads(run.stdout[run.stdout.rindex('{"id":"ses_') :])
    assert completed["state"] in {"completed", "cleared"}
    assert completed["capture"]["state"] == "succeeded"


def vehicle_request(folder: Path, dev: Mapping[str, Any]) -> str:
    """An AuthorizeRequest as a station sends it."""
    made = command(
        "networkcore pki --out vehicle --emaid DE8AAC12345678 --at 2026-10-29T08:00:00Z", folder, dev
    )
    assert made.returncode == 0, made.stderr
    return (folder / "vehicle/DE8AAC12345678/request.json").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def onboarded(dev: dict[str, Any]) -> str:
    """A party whose account at the PSP was made here; those of this stack brought theirs."""
    admin, party_id = reader(dev, "admin"), "NL-NEW"
    party = {
        "id": party_id,
        "kind": "cpo",
        "name": "Nieuwe Laad B.V.",
        "country": "NL",
        "tax_jurisdiction": "NL",
        "settlement_currency": "EUR",
        "terms_days": 2,
        "time_zone": "Europe/Amsterdam",
    }
    admin.post("/v1/parties", party)
    return party_id


def second_administrator(dev: Mapping[str, Any]) -> Reader:
    admin = reader(dev, "admin")
    made = admin.post("/v1/parties/platform/api-keys", {"scopes": ["admin"]})
    return Reader(base_url=admin.base_url, key=made["api_key"])


@pytest.mark.parametrize("page", CALLS)
def test_the_calls_of_a_guide_are_answered_to_its_reader(
    page: str, dev: dict[str, Any], folder: Path, onboarded: str
) -> None:
    who, words = READERS[page]
    assert words in text_of(guide(page)), f"{page} does not say whose key its calls need"
    known = {"/v1/parties/NL-POL/connected-account": f"/v1/parties/{onboarded}/connected-account"}
    if page == "plug-and-charge.md":
        known["{ ...the OCPP AuthorizeRequest, untouched... }"] = vehicle_request(folder, dev)
        authority = build_pki(suite=Suite.P256, now=datetime(2026, 10, 29, tzinfo=UTC)).second.pem
        known |= {
            "-----BEGIN CERTIFICATE-----...": json.dumps(authority)[1:-1],
            "YOUR_PARTY": "mobility",
        }
    for call in CALLS[page]:
        sender = reader(dev, who)
        if call.path.endswith("/bank-details/1/approve"):
            sender = second_administrator(dev)
        if "/contract-pool-feeds/" in call.path:  # the section for the issuer of contracts
            sender = reader(dev, "mobility")
        answer = made(call, sender, known)
        if call.path in {"/v1/authorizations", "/v1/webhook-endpoints"}:
            known["{id}"] = answer.get("session", answer["id"])
        if call.path.endswith("/test"):
            known["{event_id}"] = known["evt_..."] = answer["id"]


def made(call: Call, sender: Reader, known: Mapping[str, str]) -> Any:
    """The answer of a call as it is written, with the ids of this stack."""
    path, body = call.path, call.body
    for written, here in known.items():
        path, body = path.replace(written, here), body.replace(written, here)
    if path.startswith("/v1/plug-and-charge/ocpp/"):
        body = known["{ ...the OCPP AuthorizeRequest, untouched... }"]
    assert "..." not in path + body, f"{call.page}: {call.method} {call.path} leaves something open"
    status, answer = sender.send(call.method, path, body.encode(), dict(call.headers))
    assert status in {200, 201, 202, 204}, f"{call.page}: {call.method} {path}: {answer}"
    return answer


@pytest.mark.parametrize(("page", "path"), READS)
def test_what_a_guide_tells_to_read_is_answered_to_its_reader(
    page: str, path: str, dev: dict[str, Any], onboarded: str
) -> None:
    who, words = READERS[page]
    assert words in text_of(guide(page)), f"{page} does not say whose key its calls need"
    if path.endswith("/NL-POL/connected-account"):
        path = path.replace("NL-POL", onboarded)
        reader(dev, "admin").send("POST", path, b"{}")  # as the page's first call, which may have made it
    reader(dev, OTHER_READERS.get(path, who)).get(path)


def test_the_platform_rotates_a_partners_key_and_a_partner_may_not(dev: dict[str, Any]) -> None:
    assert "The platform creates, rotates and revokes keys" in text_of(guide("capture-api.md"))
    admin = reader(dev, "admin")
    path = "/v1/parties/parkingapp/api-keys"
    key = admin.post(path, {"scopes": ["capture"]})
    status, answer = reader(dev, "parkingapp").send("POST", f"{path}/{key['id']}/rotate")
    assert (status, answer["code"]) == (403, "missing_scope")
    rotated = admin.post(f"{path}/{key['id']}/rotate", {"overlap_s": 60})
    assert rotated["api_key"]
    assert rotated["scopes"] == ["capture"]
