"""What the participants of a day share: the plan, the checkpoints, each party's client, the market's clock.

Owns: giving each party its own key and nothing else. Must not know what the parties do.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import aiohttp

from sandbox.market.charging import instant
from sandbox.market.checkpoints import Checkpoints
from sandbox.market.client import Client
from sandbox.market.plan import MarketDay
from sandbox.market.receiver import Receiver
from sandbox.market.vehicles import VehicleFleet

MAX_OPEN_CALLS: Final = 16
CLOCK_SPREAD_S: Final = 0.25  # every process reads the clock ten times a second
RATES_SPREAD_S: Final = 2.0
_PASSED_ALREADY: Final = 409


class ProgressReporter(Protocol):
    """Where a run reports its progress."""

    def start_phase(self, title: str, *, steps: int) -> None:
        """A phase of the run begins; it has this many steps."""
        ...

    def advance(self, note: str = "") -> None:
        """One step is done."""
        ...

    def note(self, line: str) -> None:
        """Something happened besides the steps: a process died, or a start takes long."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses of the stack, and the two keys of its operator."""

    gateway_url: str
    psp_url: str
    admin_api_key: str = field(repr=False)
    psp_api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiPeer:
    """A CPO's connection to the gateway's OCPI 2.2.1 receiver: endpoint URLs by module."""

    client: Client
    endpoints: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class SimulationContext:
    """Everything that the steps of a run need.

    `keys` are API keys by party, `peers` the CPOs' OCPI connections.
    """

    day: MarketDay
    checkpoints: Checkpoints
    receiver: Receiver
    http: aiohttp.ClientSession
    addresses: Addresses
    progress: ProgressReporter
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    peers: dict[str, OcpiPeer] = field(default_factory=dict)
    fleet: VehicleFleet | None = None
    _clients: dict[str, Client] = field(default_factory=dict)

    @property
    def admin(self) -> Client:
        """The platform operator at the gateway."""
        return self._client("admin", self.addresses.gateway_url, f"Bearer {self.addresses.admin_api_key}")

    @property
    def psp(self) -> Client:
        """The platform operator at its PSP."""
        return self._client("psp", self.addresses.psp_url, f"Bearer {self.addresses.psp_api_key}")

    def party(self, party_id: str) -> Client:
        """A party at the gateway, with its own key."""
        return self._client(party_id, self.addresses.gateway_url, f"Bearer {self.keys[party_id]}")

    def ocpi(self, token: str) -> Client:
        """A CPO at the gateway's OCPI interface."""
        return Client(http=self.http, base_url=self.addresses.gateway_url, authorization=f"Token {token}")

    def _client(self, name: str, base_url: str, authorization: str) -> Client:
        if name not in self._clients:
            self._clients[name] = Client(
                http=self.http,
                base_url=base_url,
                authorization=authorization,
                on_wait=self.progress.note,
            )
        return self._clients[name]

    def authorization(self, number: int) -> Mapping[str, Any]:
        """The outcome of a session's authorization, from the checkpoints."""
        outcome: Mapping[str, Any] = self.checkpoints[f"authorized/{number}"]
        return outcome


async def set_clock(context: SimulationContext, at: datetime, *, new_rates: bool = False) -> None:
    """Set business time at PSP and gateway and stop it there; wait until all processes have read it.

    An earlier time changes nothing: a resumed run sets the hour it was stopped in once more. Where exchange
    rates change at that time, the wait is longer, so that every process of a busy machine has read it.
    """
    await context.psp.post_form("/_sandbox/clock", {"now": int(at.timestamp()), "frozen": True})
    await context.admin.put(
        "/v1/market-clock", {"business_at": instant(at), "rate": 0}, accept=(_PASSED_ALREADY,)
    )
    await asyncio.sleep(RATES_SPREAD_S if new_rates else CLOCK_SPREAD_S)


async def start_clock(context: SimulationContext, at: datetime) -> None:
    """Let business time run from `at` at the pace of real time; returns once PSP and gateway show it."""
    await context.psp.post_form("/_sandbox/clock", {"now": int(at.timestamp()), "frozen": False})
    await context.admin.put("/v1/market-clock", {"business_at": instant(at), "rate": 1})
    while True:
        psp = await context.psp.get("/_sandbox/clock")
        gateway = await context.admin.get("/v1/market-clock")
        if psp["now"] >= at.timestamp() and datetime.fromisoformat(gateway["business_at"]) >= at:
            break
        await asyncio.sleep(CLOCK_SPREAD_S)
    await asyncio.sleep(CLOCK_SPREAD_S)
