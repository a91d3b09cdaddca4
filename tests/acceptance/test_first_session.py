"""The walk of docs/guides/first-session.md, command by command, on `networkcore dev`."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.guides import BASH, ROOT, shell_blocks, text_of, walk

GUIDE = ROOT / "docs/guides/first-session.md"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("dev"),  # one stack for both modules that use it
    pytest.mark.skipif(not (shutil.which("curl") and BASH), reason="needs curl and bash"),
]


@pytest.fixture(scope="module")
def walked(dev: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    variables = {
        "BASE": dev["base_url"],
        "KEY": dev["api_keys"]["parkingapp"],
        "ADMIN": dev["admin_api_key"],
    }
    return walk(GUIDE, tmp_path_factory.mktemp("walk"), at_least=6, variables=variables)


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_dev_prints_one_line_with_all_a_program_needs(dev: dict[str, Any]) -> None:
    assert dev["ready"] is True
    assert {"base_url", "docs_url", "openapi_url", "sandbox_psp_url", "admin_api_key", "api_keys"} <= set(dev)
    assert {"superapp", "parkingapp", "mobility", "DE-RHN", "GB-THM"} <= set(dev["api_keys"])


def test_both_clocks_run_from_the_business_time_once_dev_is_ready(dev: dict[str, Any]) -> None:
    opened_at = datetime.fromisoformat(dev["business_time"])
    clock = urllib.request.Request(  # noqa: S310 - the address that dev printed
        f"{dev['base_url']}/v1/market-clock", headers={"Authorization": f"Bearer {dev['admin_api_key']}"}
    )
    with urllib.request.urlopen(clock, timeout=30) as response:  # noqa: S310 - likewise
        gateway = json.load(response)
    assert datetime.fromisoformat(gateway["business_at"]) >= opened_at
    url = f"{dev['sandbox_psp_url']}/_sandbox/clock"
    with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - likewise
        psp = json.load(response)
    assert psp["now"] >= opened_at.timestamp()
    assert psp["frozen"] is False


def test_the_walk_authorizes_and_shows_the_tariff_first(walked: Path) -> None:
    authorization = read(walked, "authorization.json")
    assert authorization["state"] == "authorized"
    assert authorization["currency"] == "EUR"
    assert "kWh" in authorization["tariff"]["display"][0]


def test_the_walk_ends_captured_once_and_cleared_at_the_price_that_the_guide_names(walked: Path) -> None:
    session = read(walked, "session.json")
    assert session["state"] == "cleared"
    assert session["capture"]["state"] == "succeeded"
    assert session["capture"]["amount"] == session["price"]["incl_vat"] == 918
    price = read(walked, "price.json")
    assert (price["excl_vat"], price["incl_vat"]) == (772, 918)
    assert price["explained"]


def test_the_walk_sees_its_share_coming(walked: Path) -> None:
    lines = read(walked, "forecast.json")["data"]
    assert lines
    assert {line["party"] for line in lines} == {"parkingapp"}
    assert {line["currency"] for line in lines} == {"CHF"}


def test_the_declined_card_says_why(walked: Path) -> None:
    body, _, status = (walked / "declined.json").read_text(encoding="utf-8").strip().rpartition("\n")
    if not body:
        body, status = status[:-3], status[-3:]
    assert status == "402"
    assert json.loads(body)["decline_code"] == "generic_decline"


def test_the_books_prove_themselves(walked: Path) -> None:
    audit = read(walked, "summary.json")["audit"]
    assert audit["findings"] == []
    assert all(line["difference"] == 0 for line in audit["proof"])


def test_the_commands_of_the_books_work_on_the_database_that_dev_names(dev: dict[str, Any]) -> None:
    audit = subprocess.run(
        [sys.executable, "-m", "gateway", "audit", "--json"],
        env=os.environ
        | {
            "DATABASE_URL": dev["database_url"],
            "NETWORKCORE_PSP_API_KEY": dev["sandbox_psp_api_key"],
            "NETWORKCORE_PSP_BASE_URL": dev["sandbox_psp_url"],
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert audit.returncode == 0, audit.stdout + audit.stderr
    shown = json.loads(audit.stdout)
    assert shown["result"] == "agrees"
    compared = {one["check"] for one in shown["compared"]}
    with_psp = {"psp_captured", "psp_refunded", "psp_converted", "psp_balance"}
    assert compared == {"ledger", "sessions", "administrative_acts", *with_psp}


def test_an_audit_without_a_key_of_the_psp_says_that_it_did_not_compare(dev: dict[str, Any]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NETWORKCORE_")}

    def audit(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gateway", "audit", "--json", *arguments],
            env=environment | {"DATABASE_URL": dev["database_url"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    blind = audit()
    assert (blind.returncode, json.loads(blind.stdout)["result"]) == (1, "not_compared"), blind.stderr
    status = subprocess.run(
        [sys.executable, "-m", "gateway", "status"],
        env=environment | {"DATABASE_URL": dev["database_url"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert status.returncode == 1
    assert "could not compare everything (psp_record): networkcore audit" in status.stdout
    chosen = audit("--without-psp")
    assert (chosen.returncode, json.loads(chosen.stdout)["result"]) == (0, "agrees")
    results = {one["check"]: one["result"] for one in json.loads(chosen.stdout)["compared"]}
    assert results == {
        "ledger": "agrees",
        "sessions": "agrees",
        "administrative_acts": "agrees",
        "psp_record": "left_out",
    }


def test_every_line_of_the_check_of_the_psp_is_right_on_dev(walked: Path, dev: dict[str, Any]) -> None:
    assert walked  # a payment has been made, which the publishable key is tried on
    command = [sys.executable, "-m", "gateway", "psp", "check", "--json"]
    settings = {
        "DATABASE_URL": dev["database_url"],
        "NETWORKCORE_PSP_API_KEY": dev["sandbox_psp_api_key"],
        "NETWORKCORE_PSP_BASE_URL": dev["sandbox_psp_url"],
        "NETWORKCORE_PUBLIC_URL": dev["base_url"],
    }
    for _ in range(10):  # the newest event may still be on its way
        run = subprocess.run(
            [*command, "--publishable-key", "pk_test_sandbox"],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        findings = json.loads(run.stdout)["findings"]
        others = [one for one in findings if one["state"] != "right"]
        if not others:
            break
        time.sleep(1)
    assert others == []
    currencies = {one["check"] for one in findings if one["check"].startswith("currency ")}
    assert {"currency CHF", "currency EUR", "currency GBP"} <= currencies


def test_plug_and_charge_is_tried_as_its_guide_says(dev: dict[str, Any], tmp_path: Path) -> None:
    commands = "\n".join(shell_blocks(text_of(GUIDE.with_name("plug-and-charge.md"))))
    run = subprocess.run(
        [
            str(BASH),
            "-euo",
            "pipefail",
            "-c",
            commands.replace(".venv/bin/networkcore", f"{sys.executable} -m gateway"),
        ],
        cwd=tmp_path,
        env=os.environ
        | {
            "BASE": dev["base_url"],
            "ADMIN": dev["admin_api_key"],
            "NL_POL": dev["api_keys"]["NL-POL"],
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    answer = json.loads(run.stdout.splitlines()[-1])
    assert answer["authorize_response"]["certificateStatus"] == "Accepted"
    assert answer["authorization_id"]
