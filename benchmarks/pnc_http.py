"""The Plug & Charge hook over real HTTP under a steady load.

The whole system, status cached, payment secured.

Gateway, worker, PostgreSQL and these clients share the machine's cores, each in a process of its own. The
contracts pay from funded accounts, so that a PSP's time is not measured; revocation is known from uploaded
CRLs.
Calls start on a clock, whether earlier ones are done or not; latency counts from the moment a call was due.
The baseline is the cheapest authenticated call of the same server at the same pace in the same run.
"""

import asyncio
import base64
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.table import Row
from sandbox.pki.hierarchy import ContractPki, Suite, build_pki, revocation_list

GOAL_MS: Final = 50.0
CALLS_PER_SECOND: Final = 200
_CONTRACTS: Final = 50
_PERCENTILE: Final = 0.99
_ROOT: Final = "/v1/plug-and-charge"
_OPERATOR: Final = "DE-RHN"
_PARTIES: Final = ("superapp", "mobility")
_Call = Callable[[int], Awaitable[None]]


def run_over_http(*, quick: bool) -> list[Row]:
    """The hook's p99 at 200 calls a second."""
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        with _dev(directory) as stack:
            baseline, measured = asyncio.run(_measure(stack, seconds=3 if quick else 15))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return [
        Row(
            name=f"Plug & Charge hook over HTTP, p99 at {CALLS_PER_SECOND}/s",
            value=measured,
            unit="ms",
            baseline_name="one event listed over HTTP, p99",
            baseline_value=baseline,
            ratio=measured / baseline,
            goal=GOAL_MS,
        )
    ]


@contextmanager
def _dev(directory: Path) -> Iterator[dict[str, Any]]:
    """`networkcore dev`: operators with tariffs, a sandbox PSP, gateway and worker."""
    command = [sys.executable, "-m", "gateway", "dev", "--json", "--state-dir", str(directory / "dev")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line:
                raise RuntimeError("the process ended before it was ready")
            yield json.loads(line)
        finally:
            process.terminate()


async def _measure(stack: dict[str, Any], *, seconds: int) -> tuple[float, float]:
    now = datetime.fromisoformat(stack["business_time"]) - timedelta(days=3)
    pki = build_pki(suite=Suite.P256, now=now)
    evse = stack["evses"][f"{_OPERATOR} start-fee"]
    async with aiohttp.ClientSession(stack["base_url"]) as client:
        emaids, key = await _prepare(client, stack["admin_api_key"], pki, now)
        operator = {"Authorization": f"Bearer {key}"}
        bundles = {emaid: pki.bundle(pki.issue(emaid)) for emaid in emaids}

        async def plug_in(number: int) -> None:
            emaid = emaids[number % _CONTRACTS]
            token = {"idToken": emaid, "type": "eMAID"}
            body = {
                "ocpp_version": "2.1",
                "station": {"evse_id": evse},
                "session_ref": f"tx-{number}",
                "authorize_request": {"idToken": token, "certificate": bundles[emaid]},
            }
            async with client.post(f"{_ROOT}/authorizations", json=body, headers=operator) as response:
                answer = await response.json()
            if answer.get("authorization_id") is None:
                raise RuntimeError(f"a benchmark measured a rejection: {answer}")

        async def look(_: int) -> None:
            async with client.get("/v1/events", params={"limit": "1"}, headers=operator) as response:
                await response.read()

        for number in range(_CONTRACTS):  # every certificate seen once: its status is cached from then on
            await plug_in(20_000_000 + number)
        await _paced(plug_in, calls=CALLS_PER_SECOND, offset=10_000_000)
        calls = CALLS_PER_SECOND * seconds
        return await _paced(look, calls=calls, offset=0), await _paced(plug_in, calls=calls, offset=0)


async def _prepare(
    client: aiohttp.ClientSession, admin_key: str, pki: ContractPki, now: datetime
) -> tuple[list[str], str]:
    """Trust a root, upload the CRLs, store contracts with credit; the eMAIDs and an operator's key."""
    headers = {"Authorization": f"Bearer {admin_key}"}

    async def admin(method: str, path: str, body: Any) -> Any:
        key = {"Idempotency-Key": f"bench-{path.replace('/', '-')}-{hash(str(body)) & 0xFFFFFFFF:x}"}
        async with client.request(method, path, json=body, headers=headers | key) as response:
            answer = await response.json()
            if not response.ok:
                raise RuntimeError(f"{path} answered {response.status}: {answer}")
            return answer

    root = {"environment": "sandbox", "kind": "mo_root", "pem": pki.root.pem, "policy": "require"}
    await admin("POST", f"{_ROOT}/trust-anchors", root)
    for authority in (pki.root, pki.first, pki.second):
        crl = base64.b64encode(revocation_list(authority, now=now)).decode("ascii")
        await admin("POST", f"{_ROOT}/revocation-lists", {"authority": authority.pem, "crl": crl})
    for party in _PARTIES:
        await admin("PUT", f"/v1/partner-accounts/{party}/EUR", {"credit_limit": 10**12})
    emaids = [f"DE8AAC{number:08d}" for number in range(_CONTRACTS)]
    rows = [
        {
            "emaid": emaid,
            "party": _PARTIES[place % len(_PARTIES)],
            "payment": {"type": "partner_account"},
            "valid_from": now.isoformat(),
        }
        for place, emaid in enumerate(emaids)
    ]
    report = await admin("POST", f"{_ROOT}/contract-imports", {"contracts": rows})
    if report["rejected"]:
        raise RuntimeError(f"the import rejected contracts: {report}")
    made = await admin("POST", f"/v1/parties/{_OPERATOR}/api-keys", {"scopes": ["plug_and_charge"]})
    return emaids, made["api_key"]


async def _paced(work: _Call, *, calls: int, offset: int) -> float:
    """Start `calls` on the clock and return the 99th percentile of their latencies in milliseconds."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []

    async def one(number: int, due: float) -> None:
        await work(number)
        latencies.append(loop.time() - due)

    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(calls):
            due = began + number / CALLS_PER_SECOND
            await asyncio.sleep(max(0.0, due - loop.time()))
            group.create_task(one(offset + number, due))
    latencies.sort()
    return latencies[int(len(latencies) * _PERCENTILE)] * 1000
