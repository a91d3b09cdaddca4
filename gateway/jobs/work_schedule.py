"""When a worker looks for work again, and what it begins now.

Owns: which kinds of work begin in which shards, the pauses of an idle worker, and the rest of what can't be
done yet. Pure: must not know the database; `at` is given, in seconds of a clock that never goes back.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

SHORTEST_PAUSE_S: Final = 0.025
GATHERING_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0
FIRST_REST_S: Final = 0.1
LONGEST_REST_S: Final = 1.0
_MANY_LOOKS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPlan:
    """What begins now, by kind and with the shard whose work is due longest first, and when to look again."""

    begin: Mapping[str, tuple[int, ...]]
    pause_s: float


@dataclass(slots=True, kw_only=True)
class WorkSchedule:
    """The pauses of one worker.

    A look that finds something new is followed by another after the shortest pause, one that finds nothing
    after a pause that doubles, up to the longest. While look after look finds something new, the pause
    between them grows to a tenth of a second: one look then serves what many left. For the same reason a
    round of a kind that is gathered begins no earlier than its time after the round before began; after a
    longer rest it begins at once. A shard in which nothing of a kind could be done rests for that kind, for
    times that double while it goes on; a kind whose round failed rests as long as the caller says.
    """

    longest_rests: Mapping[str, float] = field(default_factory=dict)  # by kind, where it is another
    gathered: Mapping[str, float] = field(default_factory=dict)  # by kind: seconds from round to round
    _pause_s: float = SHORTEST_PAUSE_S
    _new_looks: int = 0  # in a row that found something new
    _began: dict[str, float] = field(default_factory=dict)  # the latest round of a gathered kind
    _rests: dict[tuple[str, int], tuple[float, float]] = field(default_factory=dict)  # length, end
    _failed: dict[str, float] = field(default_factory=dict)  # until when a kind rests

    def woken(self) -> None:
        """Work was left, by this process or another: pauses begin anew."""
        self._pause_s = self.soonest_s

    @property
    def soonest_s(self) -> float:
        """How long after a look the next may follow, whatever wakes it."""
        return min(SHORTEST_PAUSE_S * 2.0 ** max(0, self._new_looks - 1), GATHERING_PAUSE_S)

    def plan(
        self,
        found: Mapping[str, Mapping[int, datetime]],
        *,
        busy: Collection[str],
        wall_now: datetime,
        at: float,
    ) -> WorkPlan:
        """What begins now of what was found, and the pause after it; a kind under way (`busy`) waits."""
        self._forget(found, busy)
        begin: dict[str, tuple[int, ...]] = {}
        waits: list[float] = []
        is_new = False
        for kind, shards in found.items():
            if kind in busy:
                continue
            if self._failed.get(kind, at) > at:
                waits.append(self._failed[kind] - at)
                continue
            gathering_s = self._gathering_s(kind, at)
            due: list[tuple[datetime, int]] = []
            for shard, due_at in shards.items():
                rest_ends = self._rests.get((kind, shard), (0.0, at))[1]
                if rest_ends > at:
                    waits.append(max(rest_ends - at, FIRST_REST_S))  # rests that end one by one are one look
                elif due_at > wall_now:
                    waits.append((due_at - wall_now).total_seconds())
                elif gathering_s > 0:
                    waits.append(gathering_s)
                else:
                    due.append((due_at, shard))
                    if (kind, shard) in self._rests:
                        waits.append(self._next_rest(kind, shard))
                    else:
                        is_new = True
            if due:
                begin[kind] = tuple(shard for _, shard in sorted(due))
                if kind in self.gathered:
                    self._began[kind] = at
        self._new_looks = min(self._new_looks + 1, _MANY_LOOKS) if is_new else 0
        if is_new:
            self.woken()
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return WorkPlan(begin=begin, pause_s=min([pause_s, *waits]))

    def ended(self, kind: str, shards: Collection[int], *, done: Collection[int], at: float) -> None:
        """A round of a kind ended; the shards in which nothing was done rest."""
        self._failed.pop(kind, None)
        for shard in shards:
            if shard in done:
                self._rests.pop((kind, shard), None)
                continue
            length = self._next_rest(kind, shard)
            self._rests[kind, shard] = length, at + length

    def _gathering_s(self, kind: str, at: float) -> float:
        """For how long a gathered kind waits for more before its next round; not above 0: it may begin."""
        began = self._began.get(kind)
        return 0.0 if began is None else began + self.gathered[kind] - at

    def _next_rest(self, kind: str, shard: int) -> float:
        length = self._rests.get((kind, shard), (FIRST_REST_S / 2, 0.0))[0]
        return min(2 * length, self.longest_rests.get(kind, LONGEST_REST_S))

    def failed(self, kind: str, *, until: float) -> None:
        """A round of a kind failed: it rests until then."""
        self._failed[kind] = until

    def _forget(self, found: Mapping[str, Mapping[int, datetime]], busy: Collection[str]) -> None:
        """Rests of what is no longer there, whoever did it."""
        gone = [
            (kind, shard)
            for kind, shard in self._rests
            if kind not in busy and shard not in found.get(kind, {})
        ]
        for one in gone:
            del self._rests[one]
