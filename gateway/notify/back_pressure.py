"""How much may be in the air at once: in all, and for each endpoint.

Owns: that bookkeeping, in memory. Must not know the database, HTTP, or what a call is about; `at` is given,
in seconds of a clock that never goes back.

A call that is not answered soon is not counted against the others: a receiver that has died holds a few calls
until they time out, and no more than that. An endpoint begins with a few calls at once and gets one more for
each answer; whoever answers late or badly gets half as many, down to one.
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
    """Calls in the air: `fresh` ones that are younger than a second, `all` of them, and for one endpoint."""

    fresh: int = 200
    all: int = 1000
    per_endpoint: int = 16

    @property
    def worth_a_visit(self) -> int:
        """How much room makes a question to the database worth its while."""
        return max(1, self.fresh // 4)


@dataclass(slots=True, kw_only=True)
class BackPressure:
    """Calls in the air and the room that is left."""

    limits: Limits = field(default_factory=Limits)
    _air: Counter[UUID] = field(default_factory=Counter)
    _young: OrderedDict[int, float] = field(default_factory=OrderedDict)
    _windows: dict[UUID, int] = field(default_factory=dict)  # how many at once, by what was seen of each
    _probed: set[UUID] = field(default_factory=set)
    _calls: int = 0

    def room(self, *, at: float) -> int:
        """How many calls may be started now, whomever they go to."""
        while self._young and at - next(iter(self._young.values())) >= SLOW_SECONDS:
            self._young.popitem(last=False)
        return max(0, min(self.limits.fresh - len(self._young), self.limits.all - self._air.total()))

    def room_of(self, endpoint: UUID) -> int:
        """How many of them may go to this endpoint."""
        if endpoint in self._probed:
            return 0
        return max(0, self._window(endpoint) - self._air[endpoint])

    def _window(self, endpoint: UUID) -> int:
        return self._windows.get(endpoint, min(_FIRST_CALLS, self.limits.per_endpoint))

    def start(self, endpoint: UUID, *, at: float, probe: bool) -> int:
        """A call goes out; `probe` if it is the only one until it is answered. Returns the call's number."""
        self._calls += 1
        self._air[endpoint] += 1
        self._young[self._calls] = at
        if probe:
            self._probed.add(endpoint)
        return self._calls

    def end(self, endpoint: UUID, call: int, *, taken: bool, seconds: float) -> None:
        """The call is over after so many seconds: `taken` by the receiver, or not."""
        self.give_up(endpoint, call)
        well = taken and seconds < SLOW_SECONDS
        window = self._window(endpoint)
        self._windows[endpoint] = min(window + 1, self.limits.per_endpoint) if well else max(1, window // 2)
        if len(self._windows) > _REMEMBERED:  # the one that has been known for longest begins anew
            self._windows.pop(next(iter(self._windows)))

    def give_up(self, endpoint: UUID, call: int) -> None:
        """The call was never made, or is over."""
        self._young.pop(call, None)
        self._air[endpoint] -= 1
        if self._air[endpoint] <= 0:
            del self._air[endpoint]
            self._probed.discard(endpoint)

    @property
    def in_the_air(self) -> int:
        """Calls that are not over."""
        return self._air.total()
