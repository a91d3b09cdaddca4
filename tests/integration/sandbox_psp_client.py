"""The sandbox PSP, in the test's process or its own, and the provider's real client speaking to it."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import stripe

from sandbox.stripe.engine import PspEngine
from sandbox.stripe.server import RunningPsp, start_psp
from sandbox.stripe.settings import PspSettings

KEY = "sk_test_sandbox"
START = 1_770_000_000


@dataclass(frozen=True)
class Sandbox:
    psp: RunningPsp
    client: stripe.StripeClient
    http: aiohttp.ClientSession

    @property
    def v1(self) -> Any:
        return self.client.v1

    @property
    def engine(self) -> PspEngine:
        return self.psp.engine

    async def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the control API; the answer's JSON, with any status."""
        async with self.http.request(method, f"{self.psp.url}/_sandbox/{path}", json=body) as response:
            return await response.json()

    async def advance(self, seconds: int) -> None:
        now = (await self.control("GET", "clock"))["now"]
        await self.control("POST", "clock", {"now": now + seconds, "frozen": True})

    async def fault(self, fault: dict[str, Any], **match: Any) -> Any:
        return await self.control("POST", "faults", {"match": match, "fault": fault})

    async def hold(self, amount: int = 5000, **more: Any) -> Any:
        """A card hold of `amount` euro cents."""
        return await self.hold_with({}, amount=amount, **more)

    async def hold_with(self, options: dict[str, Any], **more: Any) -> Any:
        """A card hold, with the client's request options."""
        params = {
            "amount": 5000,
            "currency": "eur",
            "capture_method": "manual",
            "payment_method": "pm_card_visa",
            "confirm": True,
            "return_url": "https://app.test/back",
        }
        return await self.v1.payment_intents.create_async(params | more, options)


@asynccontextmanager
async def sandbox(settings: PspSettings | None = None, *, timeout_s: float = 10) -> AsyncIterator[Sandbox]:
    chosen = settings or PspSettings(seed=1, start_at=START, pull_webhooks=True)
    async with start_psp(chosen) as psp, aiohttp.ClientSession() as http:
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        transport = stripe.AIOHTTPClient(timeout=timeout, session=http)
        client = stripe.StripeClient(
            KEY, http_client=transport, base_addresses={"api": psp.url}, max_network_retries=0
        )
        yield Sandbox(psp, client, http)


@contextmanager
def process(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command in its own process, ready: its URL and the process."""
    code = "from gateway.cli.sandbox_psp import sandbox_psp; sandbox_psp()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line, child.stderr.read() if child.stderr else ""
            yield json.loads(line)["url"], child
        finally:
            child.kill()
