"""Drivers who charge through the public API, whatever fails meanwhile.

Owns: what a client sends, that it repeats a request under its key until there is an answer, and which answers
are wrong. Must not know: what fails.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

PRICE_MINOR: Final = 918  # of each session
_ORDER: Final[Mapping[str, Any]] = {
    "evse_id": "DE*RHN*E1*0001",
    "method": "card",
    "payment": {"type": "psp_payment_method", "payment_method": "pm_card_visa"},
    "estimate": {"energy_wh": 30_000, "duration_s": 3600},
}
_USAGE: Final[Mapping[str, Any]] = {
    "usage": {
        "started_at": "2026-10-29T08:05:00Z",
        "ended_at": "2026-10-29T08:50:00Z",
        "energy_wh": 18_500,
    }
}
_DONE: Final = frozenset({200, 201, 202})
# What a client repeats: its key is in use, it is too fast, the PSP or the database is away.
_REPEATED: Final = frozenset({409, 429, 502, 503})
_REST_S: Final = 0.3
_TIMEOUT_S: Final = 15.0
_PATIENCE_S: Final = 180.0


class UnansweredError(Exception):
    """A request that was repeated for minutes and never answered, or answered wrongly."""


@dataclass(slots=True, kw_only=True)
class Load:
    """What the drivers have done so far. `finished_at`: when a session was last answered whole."""

    base_url: str
    partner: str
    platform: str
    sessions: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    finished_at: float = field(default_factory=time.monotonic)
    longest_s: float = 0.0
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def drive(self, http: aiohttp.ClientSession, *, until: float) -> None:
        """One driver after another until `until` (monotonic); the last is charged to the end."""
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                self.sessions.append(await self._charge(http, next(self._numbers)))
            except UnansweredError as error:
                self.wrong.append(str(error))
            self.finished_at = time.monotonic()
            self.longest_s = max(self.longest_s, self.finished_at - began)

    async def _charge(self, http: aiohttp.ClientSession, number: int) -> str:
        order = {**_ORDER, "session_ref": f"chaos-{number}"}  # one card at one EVSE: else a double tap
        authorized = await self._insist(http, "/v1/authorizations", order, f"a-{number}", self.partner)
        session = str(authorized["session"])
        await self._insist(http, f"/v1/sessions/{session}/complete", _USAGE, f"c-{number}", self.platform)
        return session

    async def _insist(
        self, http: aiohttp.ClientSession, path: str, body: Mapping[str, Any], key: str, api_key: str
    ) -> Any:
        headers = {"Idempotency-Key": key, "Authorization": f"Bearer {api_key}"}
        deadline = time.monotonic() + _PATIENCE_S
        last = "nothing"
        while time.monotonic() < deadline:
            try:
                timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
                async with http.post(
                    self.base_url + path, json=body, headers=headers, timeout=timeout
                ) as response:
                    self.answers[str(response.status)] += 1
                    answer = await response.json()
                    if response.status in _DONE:
                        return answer
                    last = f"{response.status} {answer.get('code')}"
                    if response.status not in _REPEATED:
                        raise UnansweredError(f"{path}: {last}")
                    if response.status in {429, 503} and "Retry-After" not in response.headers:
                        raise UnansweredError(f"{path}: {last} without Retry-After")
            except (aiohttp.ClientError, TimeoutError) as error:
                self.answers[type(error).__name__] += 1
                last = type(error).__name__
            await asyncio.sleep(_REST_S)
        raise UnansweredError(f"{path}: {last} for {_PATIENCE_S:.0f} s")
