"""The hook's decision under a steady load: decide and conclude on a durable PostgreSQL, status cached.

Calls start on a clock, whether earlier ones are done or not, and latency counts from the moment a call was
due. The baseline is one durable commit at the same pace in the same run. HTTP is omitted: it is the
gateway's.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from benchmarks.table import Row
from gateway.database import Pool, create_pool
from gateway.migrations import migrate
from pnc import contract_administration, trust_administration
from pnc.contract import NewContract, PaymentKind
from pnc.errors import PncInvariantViolation
from pnc.ports import FetchError
from pnc.revocation_checker import RevocationChecker
from pnc.service import PlugAndChargeService
from pnc.trust import AnchorPurpose, RevocationPolicy, TrustChange
from sandbox.pki.hierarchy import ContractPki, Issued, Suite, build_pki, ocsp_answer
from sandbox.postgres.embedded import EmbeddedPostgres

GOAL_MS: Final = 50.0
CALLS_PER_SECOND: Final = 200
_CONTRACTS: Final = 50
_ENVIRONMENT: Final = "live"
_PERCENTILE: Final = 0.99


class _NoFetcher:
    """Fetches nothing: every status is known before the measurement."""

    async def fetch_ocsp(self, url: str, request: bytes) -> bytes:
        raise FetchError(f"{url} is not requested ({len(request)} bytes)")

    async def fetch_crl(self, url: str) -> bytes:
        raise FetchError(f"{url} is not requested")


def run_decisions(*, quick: bool) -> list[Row]:
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        with EmbeddedPostgres(directory / "postgres") as server:
            return asyncio.run(_measure(server.dsn, seconds=3 if quick else 15))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _measure(dsn: str, *, seconds: int) -> list[Row]:
    await migrate(dsn)
    pool = await create_pool(dsn, min_size=8, max_size=8, application="benchmark")
    try:
        ask = await _prepare(pool)
        await pool.execute("CREATE TABLE public.commit_probe (id bigint)")

        async def commit(number: int) -> None:
            await pool.execute("INSERT INTO public.commit_probe VALUES ($1)", number)

        calls = CALLS_PER_SECOND * seconds
        await _paced(ask, calls=CALLS_PER_SECOND, offset=10_000_000)  # connections and caches warm up
        baseline = await _paced(commit, calls=calls, offset=0)
        measured = await _paced(ask, calls=calls, offset=0)
    finally:
        await pool.close()
    return [
        Row(
            name=f"Plug & Charge decision, p99 at {CALLS_PER_SECOND}/s",
            value=measured,
            unit="ms",
            baseline_name="one durable commit, p99",
            baseline_value=baseline,
            ratio=measured / baseline,
            goal=GOAL_MS,
        )
    ]


async def _paced(work: Callable[[int], Awaitable[None]], *, calls: int, offset: int) -> float:
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


async def _prepare(pool: Pool) -> Callable[[int], Awaitable[None]]:
    """Trust a root, store contracts, and make every status known once; return one hook call."""
    now = datetime.now(UTC) - timedelta(minutes=1)
    pki = build_pki(suite=Suite.P256, now=now, ocsp_url="http://ocsp.sandbox.test/mo")
    service = PlugAndChargeService(revocation_checker=RevocationChecker(fetcher=_NoFetcher()))
    change = TrustChange(actor="benchmark", reason="benchmark", now=now)
    async with pool.acquire() as connection:
        await trust_administration.add_anchor(
            connection,
            environment=_ENVIRONMENT,
            certificate=pki.root.pem,
            purpose=AnchorPurpose.MO_ROOT,
            policy=RevocationPolicy.REQUIRE,
            policy_reason="",
            change=change,
        )
        verifier, _ = await service.load_trust(pool, environment=_ENVIRONMENT)
        contracts = [f"DE8AAC{number:08d}" for number in range(_CONTRACTS)]
        for emaid in contracts:
            contract = NewContract(
                emaid=emaid,
                party="superapp",
                payment_kind=PaymentKind.PSP_MANDATE,
                payment_reference=emaid,
                valid_from=now,
            )
            await contract_administration.put_contract(
                connection, contract, environment=_ENVIRONMENT, verifier=verifier, actor="benchmark", now=now
            )
    leaves = {emaid: pki.issue(emaid) for emaid in contracts}

    async def ask(number: int, *, stapled: tuple[bytes, ...] = ()) -> None:
        emaid = contracts[number % _CONTRACTS]
        moment = datetime.now(UTC)
        request = {"idToken": {"idToken": emaid, "type": "eMAID"}, "certificate": pki.bundle(leaves[emaid])}
        answer = await service.decide(
            pool,
            environment=_ENVIRONMENT,
            operator_id="NL-ABC",
            session_ref=f"tx-{number}",
            evse_id="E1",
            ocpp_version="2.1",
            request=request,
            now=moment,
            stapled=stapled,
        )
        if not answer.decision.payment_needed:
            raise PncInvariantViolation(f"a benchmark measured a rejection: {answer.decision.detail}")
        await service.conclude(
            pool, answer.decision.id, secured=True, authorization_id=f"aut_{number}", now=moment
        )

    for number, emaid in enumerate(contracts):
        await ask(20_000_000 + number, stapled=_answers(pki, leaves[emaid], now))
    return ask


def _answers(pki: ContractPki, leaf: Issued, now: datetime) -> tuple[bytes, ...]:
    chain, above = (leaf, pki.second, pki.first), (pki.second, pki.first, pki.root)
    return tuple(
        ocsp_answer(item.certificate, issuer=issuer.certificate, responder=issuer, now=now)
        for item, issuer in zip(chain, above, strict=True)
    )
