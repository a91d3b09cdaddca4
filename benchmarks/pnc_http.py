"""The Plug & Charge hook over real HTTP under a steady load.

The whole system, status cached, payment secured.

Gateway, worker, sandbox PSP, PostgreSQL and these clients share the machine's cores, each in a process of its
own. Contracts pay from funded accounts, or by a hold at the sandbox PSP; revocation is known from uploaded
CRLs.
Calls start on a clock, whether earlier ones are done or not; latency counts from the moment a call was due.
The baseline is the cheapest authenticated call of the same server at the same pace in the same run. The PSP's
own time is the median of the same hold asked of the sandbox PSP alone at the same pace: of the hook's 99th
percentile that much is subtracted, never the PSP's own 99th.
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
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.table import Row
from sandbox.pki.hierarchy import ContractPki, Suite, build_pki, revocation_list

GOAL_MS: Final = 50.0
CALLS_PER_SECOND: Final = 200
SLOWER: Final = 50  # calls a second: what two cores that run every process bear with holds at the PSP
_CONTRACTS: Final = 50
_PERCENTILE: Final = 0.99
_ROOT: Final = "/v1/plug-and-charge"
_OPERATOR: Final = "DE-RHN"
_PARTIES: Final = ("superapp", "mobility")
_METHOD: Final = "pm_card_visa"
_Call = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Latencies:
    """In milliseconds: 99th percentiles, and of the PSP alone the median."""

    event_listed: float
    on_account: float
    with_hold: float
    with_hold_slower: float
    psp_alone: float


def run_over_http(*, quick: bool) -> list[Row]:
    """The hook's p99 at 200 calls a second."""
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        with _dev(directory) as stack:
            measured = asyncio.run(_measure(stack, seconds=3 if quick else 15))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return [
        Row(
            name=f"Plug & Charge hook over HTTP, p99 at {CALLS_PER_SECOND}/s",
            value=measured.on_account,
            unit="ms",
            baseline_name="one event listed over HTTP, p99",
            baseline_value=measured.event_listed,
            ratio=measured.on_account / measured.event_listed,
            goal=GOAL_MS,
        ),
        _beside_psp(CALLS_PER_SECOND, measured.with_hold, measured.psp_alone),
        _beside_psp(SLOWER, measured.with_hold_slower, measured.psp_alone),
    ]


def _beside_psp(rate: int, whole_ms: float, psp_ms: float) -> Row:
    beside = whole_ms - psp_ms
    return Row(
        name=f"the same with a hold at the PSP, beside the PSP's own time, at {rate}/s",
        value=beside,
        unit="ms",
        baseline_name="the same hold at the sandbox PSP alone, median",
        baseline_value=psp_ms,
        ratio=beside / psp_ms,
        goal=GOAL_MS if rate == CALLS_PER_SECOND else None,
    )


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


async def _measure(stack: dict[str, Any], *, seconds: int) -> _Latencies:
    now = datetime.fromisoformat(stack["business_time"]) - timedelta(days=3)
    pki = build_pki(suite=Suite.P256, now=now)
    calls = CALLS_PER_SECOND * seconds
    async with (
        aiohttp.ClientSession(stack["base_url"]) as client,
        aiohttp.ClientSession(stack["sandbox_psp_url"]) as psp,
    ):
        emaids, operator = await _prepare(client, stack["admin_api_key"], pki, now)
        bundles = {emaid: pki.bundle(pki.issue(emaid)) for paying in emaids.values() for emaid in paying}

        def plug_in(paying: str) -> _Call:
            return partial(
                _plug_in,
                client,
                operator=operator,
                evse=stack["evses"][f"{_OPERATOR} start-fee"],
                bundles={emaid: bundles[emaid] for emaid in emaids[paying]},
                name=paying,
            )

        async def look(_: int) -> None:
            async with client.get("/v1/events", params={"limit": "1"}, headers=operator) as response:
                await response.read()

        on_account, with_hold = plug_in("account"), plug_in("psp")
        for call, rate in ((on_account, CALLS_PER_SECOND), (with_hold, SLOWER)):
            for number in range(_CONTRACTS):  # every certificate seen once: its status is cached from then on
                await call(20_000_000 + number)
            await _paced(call, calls=rate, offset=10_000_000, rate=rate)
        hold = partial(_hold, psp, key=stack["sandbox_psp_api_key"])
        await _paced(hold, calls=CALLS_PER_SECOND, offset=10_000_000)
        return _Latencies(
            event_listed=(await _paced(look, calls=calls, offset=0)).p99,
            on_account=(await _paced(on_account, calls=calls, offset=0)).p99,
            psp_alone=(await _paced(hold, calls=calls, offset=0)).median,
            with_hold_slower=(
                await _paced(with_hold, calls=SLOWER * seconds, offset=30_000_000, rate=SLOWER)
            ).p99,
            with_hold=(await _paced(with_hold, calls=calls, offset=0)).p99,
        )


async def _plug_in(
    client: aiohttp.ClientSession,
    number: int,
    *,
    operator: dict[str, str],
    evse: str,
    bundles: dict[str, str],
    name: str,
) -> None:
    """A vehicle plugs in, and its payment is secured."""
    emaid = list(bundles)[number % len(bundles)]
    body = {
        "ocpp_version": "2.1",
        "station": {"evse_id": evse},
        "session_ref": f"{name}-{number}",
        "authorize_request": {
            "idToken": {"idToken": emaid, "type": "eMAID"},
            "certificate": bundles[emaid],
        },
    }
    async with client.post(f"{_ROOT}/authorizations", json=body, headers=operator) as response:
        answer = await response.json()
    if answer.get("authorization_id") is None:
        raise RuntimeError(f"a benchmark measured a rejection: {answer}")


async def _hold(psp: aiohttp.ClientSession, number: int, *, key: str) -> None:
    """The hold that the gateway asks of the PSP for one session, asked by us."""
    form = {
        "amount": "2500",
        "currency": "eur",
        "capture_method": "manual",
        "confirm": "true",
        "off_session": "true",
        "payment_method": _METHOD,
        "metadata[session]": f"bench-{number}",
    }
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"bench-hold-{number}"}
    async with psp.post("/v1/payment_intents", data=form, headers=headers) as response:
        answer = await response.json()
    if answer.get("status") != "requires_capture":
        raise RuntimeError(f"a benchmark measured a decline: {answer}")


async def _prepare(
    client: aiohttp.ClientSession, admin_key: str, pki: ContractPki, now: datetime
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Trust a root, upload the CRLs, store contracts with credit and with a payment method at the PSP.

    Returns the eMAIDs by what pays for them, and the header of an operator's key.
    """
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
    emaids = {
        "account": [f"DE8AAC{number:08d}" for number in range(_CONTRACTS)],
        "psp": [f"DE8AAC{number:08d}" for number in range(_CONTRACTS, 2 * _CONTRACTS)],
    }
    payments = {
        "account": {"type": "partner_account"},
        "psp": {"type": "psp_payment_method", "payment_method": _METHOD},
    }
    rows = [
        {
            "emaid": emaid,
            "party": _PARTIES[place % len(_PARTIES)],
            "payment": payments[paying],
            "valid_from": now.isoformat(),
        }
        for paying, listed in emaids.items()
        for place, emaid in enumerate(listed)
    ]
    report = await admin("POST", f"{_ROOT}/contract-imports", {"contracts": rows})
    if report["rejected"]:
        raise RuntimeError(f"the import rejected contracts: {report}")
    made = await admin("POST", f"/v1/parties/{_OPERATOR}/api-keys", {"scopes": ["plug_and_charge"]})
    return emaids, {"Authorization": f"Bearer {made['api_key']}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Latency:
    """Of many calls, in milliseconds."""

    median: float
    p99: float


async def _paced(work: _Call, *, calls: int, offset: int, rate: int = CALLS_PER_SECOND) -> _Latency:
    """Start `calls` on the clock and return their latencies."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []

    async def one(number: int, due: float) -> None:
        await work(number)
        latencies.append(loop.time() - due)

    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(calls):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - loop.time()))
            group.create_task(one(offset + number, due))
    latencies.sort()
    return _Latency(
        median=latencies[len(latencies) // 2] * 1000,
        p99=latencies[int(len(latencies) * _PERCENTILE)] * 1000,
    )
