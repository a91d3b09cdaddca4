"""What a job's failures lead to: one line in the log for each cause, and a growing pause.

Owns: which failures are logged in full, counted or reported as over, and how long the job rests. Must not
know what a job does; `at` is given, in seconds of a clock that never goes back. A database that is away fails
every job several times a second: a traceback for each would fill the disk, and hide what is a defect.
"""

import random
from dataclasses import dataclass, field
from typing import Final

import structlog

from gateway.failure_log import first_cause, is_transient
from gateway.logs import first_line

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 10.0
REPORT_INTERVAL_S: Final = 60.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class _Failing:
    """A job that fails for one cause since `since`; `unreported` failures are in no line yet."""

    cause: str
    since: float
    failures: int = 0
    unreported: int = 0
    reported_at: float = 0.0


@dataclass(slots=True, kw_only=True)
class JobFailures:
    """The failures of a process's jobs. `chance` spreads the pauses of many workers."""

    chance: random.Random = field(default_factory=random.SystemRandom)
    _failing: dict[str, _Failing] = field(default_factory=dict)

    def failed(self, job: str, error: BaseException, *, at: float) -> float:
        """Log a failed round where it says something new; return how many seconds the job rests.

        A cause is logged when it appears, a defect with its traceback, and then counted once a minute.
        """
        cause = _cause(error)
        known = self._failing.get(job)
        if known is None or known.cause != cause:
            known = self._failing[job] = _Failing(cause=cause, since=at, reported_at=at)
            if is_transient(error):
                _log.warning("job_failed", job=job, reason=first_line(first_cause(error)))
            else:
                _log.error("job_failed", job=job, reason=first_line(error), exc_info=error)
        else:
            known.unreported += 1
            if at - known.reported_at >= REPORT_INTERVAL_S:
                _log.warning(
                    "job_still_failing",
                    job=job,
                    reason=first_line(first_cause(error)),
                    failures=known.unreported,
                    seconds=round(at - known.since),
                )
                known.reported_at, known.unreported = at, 0
        known.failures += 1
        pause = min(FIRST_PAUSE_S * float(1 << min(known.failures - 1, 10)), LONGEST_PAUSE_S)
        return pause * self.chance.uniform(0.5, 1.0)

    def succeeded(self, job: str, *, at: float) -> None:
        """Say that a job which failed works again."""
        known = self._failing.pop(job, None)
        if known is not None:
            _log.info("job_recovered", job=job, failures=known.failures, seconds=round(at - known.since))


def _cause(error: BaseException) -> str:
    """What tells one cause from another; not the text, which may name another row each time."""
    first = first_cause(error)
    return f"{type(first).__module__}.{type(first).__qualname__}"
