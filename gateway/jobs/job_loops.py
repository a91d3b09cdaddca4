"""What the loops of one process share: when each last turned, and how failures are logged.

Owns: the time of each job's last round, and which jobs hang. Must not know what a job does, or who asks.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from gateway.jobs.job_failures import JobFailures

STALLED_AFTER_S: Final = 900.0


@dataclass(slots=True, kw_only=True)
class JobRounds:
    """When each job of this process last finished a round, in seconds of a clock that never goes back."""

    stalled_after_s: float = STALLED_AFTER_S
    _finished: dict[str, float] = field(default_factory=dict)

    def finish(self, job: str, *, at: float) -> None:
        """A round ended, well or not; also called when the job starts."""
        self._finished[job] = at

    def end(self, job: str) -> None:
        """The job was stopped: no round of it is expected any more."""
        self._finished.pop(job, None)

    def stalled(self, *, at: float) -> dict[str, float]:
        """Jobs whose round takes too long, with its seconds."""
        return {
            job: at - finished
            for job, finished in sorted(self._finished.items())
            if at - finished >= self.stalled_after_s
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLoops:
    """What the loops of one process share: how failures are logged, and when each loop last turned."""

    failures: JobFailures = field(default_factory=JobFailures)
    rounds: JobRounds = field(default_factory=JobRounds)

    def turned(self, job: str, error: Exception | None) -> float:
        """Note a round's end; return how many seconds the job rests because it failed."""
        at = asyncio.get_running_loop().time()
        self.rounds.finish(job, at=at)
        if error is not None:
            return self.failures.failed(job, error, at=at)
        self.failures.succeeded(job, at=at)
        return 0.0


async def rest(stop: asyncio.Event, pause_s: float) -> None:
    """Pause a loop; a stop ends the pause."""
    if pause_s == 0:
        await asyncio.sleep(0)
        return
    try:
        async with asyncio.timeout(pause_s):
            await stop.wait()
    except TimeoutError:
        return
