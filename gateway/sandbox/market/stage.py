"""What the players of a day share: the plan, the journal, the clients of every party, and the market's clock.

Owns: handing each party its own key and nothing else. Must not know what the parties do.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

import aiohttp

from gateway.sandbox.market.charging import instant
from gateway.sandbox.market.client import Client
from gateway.sandbox.market.journal import Journal
from gateway.sandbox.market.plan import MarketDay
from gateway.sandbox.market.receiver import Receiver
from gateway.sandbox.market.vehicles import Garage

MAX_OPEN_CALLS: Final = 16
CLOCK_SPREADS_S: Final = 0.25  # every process reads the clock ten times a second
RATES_SPREAD_S: Final = 2.0
_PASSED_ALREADY: Final = 409


class Audience(Protocol):
    """Who watches the day being played."""

    def chapter(self, title: str, *, steps: int) -> None:
        """A part of the run begins; it has this many steps."""
        ...

    def advance(self, note: str = "") -> None:
        """One step is done."""
        ...

    def tell(self, line: str) -> None:
        """Something happened beside the steps: a process died, or was started again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the stack answers, and the two keys of its operator."""

    gateway_url: str
    psp_url: str
    admin_api_key: str = field(repr=False)
    psp_api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OcpiPeer:
    """A CPO's way into the gateway's OCPI 2.2.1 receiver: endpoint URLs by module."""

    client: Client
    endpoints: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Stage:
    """Everything a player needs. `keys` are API keys by party, `peers` the CPOs' OCPI connections."""

    day: MarketDay
    journal: Journal
    receiver: Receiver
    http: aiohttp.ClientSession
    addresses: Addresses
    audience: Audience
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    peers: dict[str, OcpiPeer] = field(default_factory=dict)
    garage: Garage | None = None
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
            self._clients[name] = Client(http=self.http, base_url=base_url, authorization=authorization)
        return self._clients[name]

    def authorization(self, number: int) -> Mapping[str, Any]:
        """What became of a session's authorization, as journaled."""
        found: Mapping[str, Any] = self.journal[f"authorized/{number}"]
        return found


async def set_clock(stage: Stage, at: datetime, *, new_rates: bool = False) -> None:
    """Set business time at PSP and gateway, where it then stands still, and let all processes see it.

    Time that has passed already stays: a resumed run sets the hour it was stopped in once more. Where rates
    of exchange are new from then on, every process gets ample time to see it, however busy the machine is.
    """
    await stage.psp.post_form("/_sandbox/clock", {"now": int(at.timestamp()), "frozen": True})
    await stage.admin.put(
        "/v1/market-clock", {"business_at": instant(at), "rate": 0}, accept=(_PASSED_ALREADY,)
    )
    await asyncio.sleep(RATES_SPREAD_S if new_rates else CLOCK_SPREADS_S)
