"""How many requests may be in flight at once: in all, and for each endpoint.

Owns: that bookkeeping, in memory. Must not know the database, HTTP, or what a request is about; `at` is
given, in seconds of a clock that never goes back.

A request that is not answered soon does not count against the other endpoints: a receiver that no longer
answers holds a few requests until they time out, and no more. An endpoint begins with a few requests at once
and gets one more for each answer; a late or bad answer halves its number, down to one.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

SLOW_SECONDS: Final = 1.0
_FIRST_CALLS: Final = 4
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Requests in flight: `fresh` ones younger than a second, `all` of them, and those of one endpoint."""

    fresh: int = 200
    all: int = 1000
    per_endpoint: int = 16

    @property
    def min_query_capacity(self) -> int:
        """The capacity below which the database is not asked for more deliveries."""
        return max(1, self.fresh // 4)


@dataclass(slots=True, kw_only=True)
class BackPressure:
    """Requests in flight and the capacity that is left."""

    limits: Limits = field(default_factory=Limits)
    _in_flight: Counter[UUID] = field(default_factory=Counter)
    _fresh: OrderedDict[int, float] = field(default_factory=OrderedDict)
    _windows: dict[UUID, int] = field(default_factory=dict)  # how many at once, by the answers of each
    _probed: set[UUID] = field(default_factory=set)
    _calls: int = 0

    def capacity(self, *, at: float) -> int:
        """How many requests may be started now, whatever their endpoint."""
        while self._fresh and at - next(iter(self._fresh.values())) >= SLOW_SECONDS:
            self._fresh.popitem(last=False)
        return max(0, min(self.limits.fresh - len(self._fresh), self.limits.all - self._in_flight.total()))

    def capacity_of(self, endpoint: UUID) -> int:
        """How many of them may go to this endpoint."""
        if endpoint in self._probed:
            return 0
        return max(0, self._window(endpoint) - self._in_flight[endpoint])

    def _window(self, endpoint: UUID) -> int:
        return self._windows.get(endpoint, min(_FIRST_CALLS, self.limits.per_endpoint))

    def start(self, endpoint: UUID, *, at: float, probe: bool) -> int:
        """A request starts; `probe` if it is the only one until it is answered. Returns its number."""
        self._calls += 1
        self._in_flight[endpoint] += 1
        self._fresh[self._calls] = at
        if probe:
            self._probed.add(endpoint)
        return self._calls

    def end(self, endpoint: UUID, call: int, *, acknowledged: bool, seconds: float) -> None:
        """The request ended after so many seconds, acknowledged by the receiver or not."""
        self.release(endpoint, call)
        well = acknowledged and seconds < SLOW_SECONDS
        window = self._window(endpoint)
        self._windows[endpoint] = min(window + 1, self.limits.per_endpoint) if well else max(1, window // 2)
        if len(self._windows) > _REMEMBERED:  # the one known for the longest starts over
            self._windows.pop(next(iter(self._windows)))

    def release(self, endpoint: UUID, call: int) -> None:
        """The request was never made, or ended."""
        self._fresh.pop(call, None)
        self._in_flight[endpoint] -= 1
        if self._in_flight[endpoint] <= 0:
            del self._in_flight[endpoint]
            self._probed.discard(endpoint)

    @property
    def in_flight(self) -> int:
        """Requests that have not ended."""
        return self._in_flight.total()
