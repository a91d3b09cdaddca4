"""A real peer: vehicle and charging station of the `iso15118` package, over a veth pair between namespaces.

The station authorizes at our hook over HTTP. Both sides wait longer than the protocol says, because a loaded
machine is slow; when one times out all the same, the test fails with that line. The genuine contract charges
to the end, a foreign
one is rejected. Needs root (or CAP_NET_ADMIN), Java, and ISO15118_PYTHON naming an interpreter that has the
packages `iso15118` and `aiofile`; skips with the reason elsewhere. See docs/guides/plug-and-charge.md.
"""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.database import Pool, encode_json
from pnc.messages import OcppVersion, authorize_response, validate_authorize_request
from sandbox.pki.hierarchy import (
    ContractPki,
    Issued,
    Suite,
    authority_template,
    build_pki,
    issue,
    new_key,
    root_template,
)
from tests.fakes.pnc_market import EMAID, OCSP_URL, Market, open_market
from tests.pki_encodings import deployed_leaf, deployed_pki

PYTHON = os.environ.get("ISO15118_PYTHON")
HERE = Path(__file__).parent
PASSWORD = "12345"
WAIT_SECONDS = 300.0
TIMEOUT_FACTOR = 20  # of the protocol's timeouts, such as 2 s for an answer of the station


def _why_not() -> str | None:
    if PYTHON is None:
        return "ISO15118_PYTHON names no interpreter with the iso15118 package"
    for tool in ("java", "ip", "nsenter", "unshare"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)  # noqa: S607 - found on PATH
    return None if tried.returncode == 0 else "network namespaces are not permitted here"


WHY_NOT = _why_not()
pytestmark = [
    pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""),
    pytest.mark.slow,
    pytest.mark.timeout(900),
]


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@dataclass(frozen=True)
class Namespaces:
    """Two network namespaces, each held by a sleeping process, joined by one veth pair."""

    station: int
    vehicle: int

    def command(self, pid: int, *command: str) -> list[str]:
        return ["nsenter", "--target", str(pid), "--net", *command]


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    holders = [subprocess.Popen(["unshare", "--net", "sleep", "1200"]) for _ in range(2)]  # noqa: S607 - found on PATH
    try:
        time.sleep(0.3)
        station, vehicle = (holder.pid for holder in holders)
        spaces = Namespaces(station=station, vehicle=vehicle)
        run(*spaces.command(station, "ip", "link", "add", "plug0", "type", "veth", "peer", "name", "plug1"))
        run(*spaces.command(station, "ip", "link", "set", "plug1", "netns", str(vehicle)))
        for pid, interface in ((station, "plug0"), (vehicle, "plug1")):
            run(*spaces.command(pid, "ip", "link", "set", "lo", "up"))
            run(*spaces.command(pid, "ip", "link", "set", interface, "addrgenmode", "eui64", "up"))
        time.sleep(2.5)  # duplicate address detection of the link-local addresses
        yield spaces
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()


def write_pki(folder: Path, *, contract: ContractPki, leaf: Issued, station: ContractPki) -> None:
    """Write certificates and keys where the package expects them (CertPath, KeyPath, KeyPasswordPath)."""
    certs, keys = folder / "iso15118_2" / "certs", folder / "iso15118_2" / "private_keys"
    certs.mkdir(parents=True)
    keys.mkdir(parents=True)
    secc = station.issue(EMAID, common_names=("SECC1",), domain_component="CPO")
    for name, item in {
        "contractLeafCert": leaf,
        "moSubCA2Cert": contract.second,
        "moSubCA1Cert": contract.first,
        "moRootCACert": contract.root,
        "seccLeafCert": secc,
        "cpoSubCA2Cert": station.second,
        "cpoSubCA1Cert": station.first,
        "v2gRootCACert": station.root,
        "oemRootCACert": station.root,
    }.items():
        (certs / f"{name}.der").write_bytes(item.der)
        (certs / f"{name}.pem").write_text(item.pem)
    (certs / "cpoCertChain.pem").write_text(secc.pem + station.second.pem + station.first.pem)
    for name, item in {"contractLeaf": leaf, "seccLeaf": secc}.items():
        (keys / f"{name}.key").write_text(item.key_pem(PASSWORD.encode()))
        (keys / f"{name}Password.txt").write_text(PASSWORD)


@dataclass
class Run:
    """The logs of both sides; `overdue` when the vehicle had not ended when the test stopped waiting."""

    station_log: str
    vehicle_log: str
    overdue: bool

    @property
    def answers(self) -> list[dict[str, Any]]:
        lines = self.station_log.splitlines()
        return [json.loads(line.removeprefix("ANSWER ")) for line in lines if line.startswith("ANSWER ")]

    @property
    def timeouts(self) -> list[str]:
        """The lines in which either side says that it waited in vain."""
        logs = (("vehicle", self.vehicle_log), ("station", self.station_log))
        return [
            f"{side}: {line}"
            for side, log in logs
            for line in log.splitlines()
            if "TimeoutError occurred" in line or "Timeout:" in line
        ]

    def fail_if_timed_out(self) -> None:
        """Say first that a peer timed out: what follows from it looks like any other failure."""
        if self.timeouts:
            pytest.fail("the peer timed out\n" + "\n".join(self.timeouts))
        if self.overdue:
            tail = "\n".join(self.vehicle_log.splitlines()[-20:])
            pytest.fail(
                f"the vehicle's session did not end within {WAIT_SECONDS:g} s; its log ends with\n{tail}"
            )


def charge(namespaces: Namespaces, *, folder: Path, pki: Path, socket_path: Path, session_ref: str) -> Run:
    """Start the station, then the vehicle; wait until the vehicle's session has ended."""
    config = folder / "vehicle.json"
    config.write_text(
        json.dumps(
            {
                "supportedProtocols": ["ISO_15118_2"],
                "supportedEnergyServices": ["AC"],
                "energyTransferMode": "AC_three_phase_core",
                "isCertInstallNeeded": False,
                "useTls": True,
                "enforceTls": True,
                "chargeLoopCycle": 2,
                "sdpRetryCycles": 1,
            }
        )
    )
    common = {
        "PATH": os.environ["PATH"],
        "PKI_PATH": f"{pki}/",
        "LOG_LEVEL": "INFO",
        "PYTHONUNBUFFERED": "1",
        "MESSAGE_LOG_JSON": "True",
        "PROTOCOLS": "ISO_15118_2",
        "AUTH_MODES": "PNC",
        "SECC_ENFORCE_TLS": "True",
        "TIMEOUT_FACTOR": str(TIMEOUT_FACTOR),
    }
    station_log, vehicle_log = folder / "station.log", folder / "vehicle.log"
    assert PYTHON is not None
    station_command = [PYTHON, str(HERE / "station.py"), str(socket_path), session_ref]
    vehicle_command = [PYTHON, str(HERE / "vehicle.py"), str(config)]
    with station_log.open("w") as out:
        station = subprocess.Popen(
            namespaces.command(namespaces.station, *station_command),
            stdout=out,
            stderr=out,
            cwd=folder,
            env={**common, "NETWORK_INTERFACE": "plug0"},
        )
    try:
        wait_for_line(station_log, "Communication session handler started", process=station)
        with vehicle_log.open("w") as out:
            vehicle = subprocess.Popen(
                namespaces.command(namespaces.vehicle, *vehicle_command),
                stdout=out,
                stderr=out,
                cwd=folder,
                env={**common, "NETWORK_INTERFACE": "plug1"},
            )
        deadline = time.monotonic() + WAIT_SECONDS
        rejected = False
        while vehicle.poll() is None and not rejected and time.monotonic() < deadline:
            time.sleep(0.5)
            rejected = "Authorization was rejected" in station_log.read_text()
        overdue = vehicle.poll() is None and not rejected
        vehicle.kill()
        vehicle.wait()
    finally:
        station.kill()
        station.wait()
    done = Run(station_log=station_log.read_text(), vehicle_log=vehicle_log.read_text(), overdue=overdue)
    done.fail_if_timed_out()
    return done


def wait_for_line(log: Path, line: str, *, process: subprocess.Popen[bytes]) -> None:
    """Wait until a log holds a line; fails when its process ends or the time is over."""
    deadline = time.monotonic() + WAIT_SECONDS
    while line not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"no {line!r} in the log of {process.args!r}:\n{log.read_text()}")
        time.sleep(0.1)


def authorization_app(market: Market, now: datetime, seen: list[dict[str, Any]]) -> web.Application:
    """The bare OCPP edge of the hook over the real service; the payment is secured at once."""

    async def authorize(request: web.Request) -> web.Response:
        version = OcppVersion(request.match_info["version"])
        payload = validate_authorize_request(version, await request.json())
        seen.append(payload)
        answer = await market.ask(payload, session_ref=request.headers["Session-Ref"], now=now)
        decision = answer.decision
        if decision.payment_needed:
            decision = await market.service.conclude(
                market.pool, decision.id, secured=True, authorization_id="aut_interop", now=now
            )
        body = authorize_response(
            version,
            certificate_status=decision.certificate_status,
            id_token_status=decision.id_token_status,
            now=now,
        )
        return web.Response(text=encode_json(body), content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/plug-and-charge/ocpp/{version}/authorize", authorize)
    return app


def contract_pki(now: datetime, name: str) -> ContractPki:
    """A hierarchy whose root names a responder too: the package makes no hash data without."""
    plain = build_pki(suite=Suite.P256, now=now, name=name, ocsp_url=OCSP_URL)
    root_of_name = replace(root_template(f"{name} Root", now=now), ocsp_url=OCSP_URL)
    root = issue(root_of_name, issuer=None, key=new_key(Suite.P256))
    first = issue(
        authority_template(f"{name} Sub 1", now=now, path_length=1, ocsp_url=OCSP_URL),
        issuer=root,
        key=new_key(Suite.P256),
    )
    second = issue(
        authority_template(f"{name} Sub 2", now=now, path_length=0, ocsp_url=OCSP_URL),
        issuer=first,
        key=new_key(Suite.P256),
    )
    return replace(plain, root=root, first=first, second=second)


Requests = list[dict[str, Any]]


async def plug_in(
    pool: Pool, namespaces: Namespaces, folder: Path, *, genuine: bool, deployed: bool = False
) -> tuple[Run, Requests]:
    """Charge with a contract of the trusted root, or with a stranger's of the same eMAID.

    `deployed`: in the encodings of a deployed authority, but for `cA FALSE`, which the package's own reader
    refuses.
    """
    now = datetime.now(UTC) - timedelta(minutes=1)
    own = contract_pki(now, "Sandbox MO")
    market = await open_market(pool, pki=deployed_pki(own) if deployed else own, now=now)
    if deployed:
        market.leaf = deployed_leaf(market.pki, EMAID, defaults_written=False)
        market.fetcher.know(market.pki.second, market.leaf)
    contract = market.pki if genuine else contract_pki(now, "Stranger")
    leaf = market.leaf if genuine else contract.issue(EMAID)
    station = build_pki(suite=Suite.P256, now=now, name="Sandbox CPO")
    write_pki(folder / "pki", contract=contract, leaf=leaf, station=station)
    seen: Requests = []
    runner = web.AppRunner(authorization_app(market, now + timedelta(minutes=1), seen))
    await runner.setup()
    socket_path = folder / "hook.sock"
    site = web.UnixSite(runner, str(socket_path))
    await site.start()
    try:
        done = await asyncio.to_thread(
            charge,
            namespaces,
            folder=folder,
            pki=folder / "pki",
            socket_path=socket_path,
            session_ref="plug-0",
        )
    finally:
        await runner.cleanup()
    return done, seen


async def test_a_genuine_contract_charges_to_the_end(
    pool: Pool, namespaces: Namespaces, tmp_path: Path
) -> None:
    done, seen = await plug_in(pool, namespaces, tmp_path, genuine=True)
    assert len(done.answers) >= 2, done.station_log  # the second time without a certificate
    assert {"certificate", "iso15118CertificateHashData"} <= seen[0].keys()
    assert len(seen[0]["iso15118CertificateHashData"]) == 4  # leaf, two authorities, and the root itself
    assert seen[1].keys() == {"idToken"}
    assert {answer["idTokenInfo"]["status"] for answer in done.answers} == {"Accepted"}
    for message in ("PaymentDetailsReq", "AuthorizationReq", "ChargingStatusReq", "SessionStopReq"):
        assert message in done.station_log
    rows = await pool.fetch("SELECT state FROM pnc.decision")
    assert [row["state"] for row in rows] == ["accepted"]


async def test_a_contract_encoded_as_a_deployed_one_charges_to_the_end(
    pool: Pool, namespaces: Namespaces, tmp_path: Path
) -> None:
    done, seen = await plug_in(pool, namespaces, tmp_path, genuine=True, deployed=True)
    assert "certificate" in seen[0]
    assert {answer["idTokenInfo"]["status"] for answer in done.answers} == {"Accepted"}, done.station_log
    for message in ("PaymentDetailsReq", "AuthorizationReq", "ChargingStatusReq", "SessionStopReq"):
        assert message in done.station_log


async def test_a_foreign_contract_is_rejected_before_anything_is_charged(
    pool: Pool, namespaces: Namespaces, tmp_path: Path
) -> None:
    done, _ = await plug_in(pool, namespaces, tmp_path, genuine=False)
    assert [answer["certificateStatus"] for answer in done.answers] == ["CertChainError"], done.station_log
    assert "ChargingStatusReq" not in done.station_log
    rows = await pool.fetch("SELECT state, rejection_reason FROM pnc.decision")
    assert [(row["state"], row["rejection_reason"]) for row in rows] == [("rejected", "untrusted_root")]
