"""One retry policy: how long to wait after a failed attempt, and when to stop.

Owns: the shape of every schedule of retries. Each policy is named where it is used. Must not know the clock,
randomness or what is retried.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The waits after the first, second, ... failed attempt; the last one repeats.

    `max_attempts` is the number of attempts after which nothing is tried again; None: there is no limit.
    """

    delays: tuple[timedelta, ...]
    max_attempts: int | None = None

    def __post_init__(self) -> None:
        if not self.delays or min(self.delays) < timedelta(0):
            raise ValueError("a retry policy needs at least one delay, and none below zero")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ValueError(f"a retry policy allows at least one attempt, not {self.max_attempts}")

    @classmethod
    def of_seconds(cls, *delays: int, max_attempts: int | None = None) -> Self:
        """The policy with these waits, in seconds."""
        return cls(delays=tuple(timedelta(seconds=delay) for delay in delays), max_attempts=max_attempts)

    @classmethod
    def doubling(cls, first: timedelta, *, longest: timedelta, max_attempts: int | None = None) -> Self:
        """The policy that waits `first`, then twice as long each time, and never longer than `longest`.

        Raises ValueError where `first` is not positive or `longest` is shorter.
        """
        if not timedelta(0) < first <= longest:
            raise ValueError("a doubling retry policy begins above zero and at most at its longest delay")
        delays = [first]
        while delays[-1] < longest:
            delays.append(min(delays[-1] * 2, longest))
        return cls(delays=tuple(delays), max_attempts=max_attempts)

    def delay_after(self, attempts: int) -> timedelta | None:
        """How long to wait after `attempts` failed attempts; None: do not try again.

        Raises ValueError for fewer than one attempt.
        """
        if attempts < 1:
            raise ValueError(f"a delay follows at least one attempt, not {attempts}")
        if self.max_attempts is not None and attempts >= self.max_attempts:
            return None
        return self.delays[min(attempts, len(self.delays)) - 1]

    def next_attempt_at(self, attempts: int, *, now: datetime) -> datetime | None:
        """When to try again after `attempts` failed attempts; None: not again."""
        delay = self.delay_after(attempts)
        return None if delay is None else now + delay
