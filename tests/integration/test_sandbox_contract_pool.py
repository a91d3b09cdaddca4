"""`networkcore sandbox-contract-pool`: says where it listens, is strict as a pool, and ends when stopped."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli.sandbox_contract_pool import command
from sandbox.contract_pool.server import AUDIENCE

CONTRACTS = {"gJg=": {"emaid": "DE8AAC12345678", "exi_response": "gJgA"}}
BODY = {"certificateInstallationReq": "gJg=", "xsdMsgDefNamespace": "urn:iso:15118:2:2013:MsgDef"}


def ask(url: str, token: str, body: Any = BODY) -> tuple[int, Any]:
    request = urllib.request.Request(  # noqa: S310 - the address that the stand-in printed
        f"{url}/v1/ccp/signedContractData",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_stand_in_delivers_the_given_contracts_until_it_is_stopped(tmp_path: Path) -> None:
    file = tmp_path / "contracts.json"
    file.write_text(json.dumps(CONTRACTS), encoding="utf-8")
    code = "from gateway.cli.sandbox_contract_pool import command; command()"
    given = ("--contracts", str(file), "--token", "pool-token")
    with subprocess.Popen([sys.executable, "-c", code, *given], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            status, found = ask(url, "pool-token")
            (delivered,) = found["CCPResponse"]["emaidContent"]
            assert (status, delivered["messageDef"]["certificateInstallationRes"]) == (200, "gJgA")
            assert ask(url, "another-token")[0] == 401
            assert ask(url, "pool-token", BODY | {"certificateInstallationReq": "gJgB"})[0] == 404
            unreadable = ({}, [], {"xsdMsgDefNamespace": "urn:x"}, {"certificateInstallationReq": "AA=="})
            for wrong in unreadable:
                body = BODY | wrong if isinstance(wrong, dict) and wrong else wrong
                assert ask(url, "pool-token", body)[0] == 400
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def fetch(url: str, token: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers)  # noqa: S310 - the stand-in's
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - as above
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_the_stand_in_answers_a_mobility_operator_about_its_own_contracts(tmp_path: Path) -> None:
    times = {"valid_from": "2026-10-01T00:00:00Z", "valid_to": "2028-10-01T00:00:00Z"}
    one = {"pcid": "WMI12345671234567", "certificate": "MIIB", **times}
    file = tmp_path / "published.json"
    file.write_text(json.dumps({"DE8AAC12345678": [one]}), encoding="utf-8")
    code = "from gateway.cli.sandbox_contract_pool import command; command()"
    given = ("--published", str(file), "--client-secret", "the-secret")
    client = {"client_id": "sandbox-emsp", "client_secret": "the-secret", "audience": AUDIENCE}
    with subprocess.Popen([sys.executable, "-c", code, *given], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            asked = client | {"grant_type": "client_credentials"}
            status, issued = fetch(f"{url}/oauth/token", "", asked)
            assert (status, issued["token_type"], issued["expires_in"]) == (200, "Bearer", 86_400)
            assert fetch(f"{url}/oauth/token", "", asked | {"client_secret": "x"})[0] == 401
            assert fetch(f"{url}/oauth/token", "", client)[0] == 400
            token, path = issued["access_token"], f"{url}/v1/ccp/lookupContract"
            status, found = fetch(f"{path}/DE-8AA-C12345678", token)
            assert (status, found["XMLContracts"][0]["contractCertificate"]) == (200, "MIIB")
            statuses = {
                emaid: fetch(f"{path}/{emaid}", token)[0]
                for emaid in ("DE8AAC87654321", "DE9BBC12345678", "DE8")
            }
            assert list(statuses.values()) == [404, 403, 400]
            assert fetch(f"{path}/DE8AAC12345678", "another")[0] == 401
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


@pytest.mark.parametrize("text", ["", "[1]", '{"DE8AAC12345678": [{"pcid": "x"}]}'])
def test_published_contracts_that_can_t_be_read_end_the_command(tmp_path: Path, text: str) -> None:
    file = tmp_path / "published.json"
    file.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(command, ["--published", str(file)])
    assert (result.exit_code, "--published" in result.output, "expected" in result.output) == (2, True, True)


@pytest.mark.parametrize("text", ["", "[1]", '{"gJg=": {}}'])
def test_contracts_that_can_t_be_read_end_the_command_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "contracts.json"
    file.write_text(text, encoding="utf-8")
    result = CliRunner().invoke(command, ["--contracts", str(file)])
    assert (result.exit_code, "--contracts" in result.output, "expected" in result.output) == (2, True, True)
