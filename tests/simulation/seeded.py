"""What a seed decides: the clock's hands and the ids. Must not know: what they are used for."""

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

# A Tuesday inside the bundled exchange rates.
START = datetime(2026, 9, 1, 6, 0, tzinfo=UTC)
SHARD_COUNT = 3  # few, so that a round over the shards is short


class Hands:
    """Business and wall time, which go together and only forward."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - START).total_seconds()

    def advance(self, by: timedelta) -> None:
        self.at += by


class Ids:
    """Version 7 ids that a seed repeats: the simulated millisecond, a counter, a shard."""

    def __init__(self, hands: Hands, rng: random.Random) -> None:
        self._hands = hands
        self._dice = rng
        self._count = 0

    def __call__(self) -> UUID:
        self._count += 1
        milliseconds = int(self._hands.at.timestamp() * 1000)
        low = self._count << 8 | self._dice.randrange(SHARD_COUNT)
        return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | low)
