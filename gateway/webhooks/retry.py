"""When a delivery is retried, and when an endpoint is paused or disabled, as pure functions.

Owns: the retry policies, Retry-After, the pause of a failing endpoint, the warnings of its party, its end.
Must not know the clock, randomness or who is called: `now` and `spread` are given.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from gateway.retry_policy import RetryPolicy

# 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h (Standard Webhooks, "Deliverability and reliability").
DELIVERY_RETRY: Final = RetryPolicy.of_seconds(
    5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, max_attempts=10
)
MAX_RETRY_AFTER: Final = timedelta(hours=24)
PAUSE_AFTER_FAILURES: Final = 3
ENDPOINT_PAUSE: Final = RetryPolicy.of_seconds(5, 30, 120, 300, 900, 1800)
DISABLE_AFTER: Final = timedelta(days=5)
# A day of failure, and the last day before the end.
WARN_AFTER: Final = (timedelta(days=1), timedelta(days=4))
_JITTER_PERCENT: Final = 20


def next_attempt(
    *, attempts: int, now: datetime, spread: int, retry_after: timedelta | None
) -> datetime | None:
    """When to try again after `attempts` failed attempts; None: never.

    `spread` from 0 to 99 lengthens the wait by 0 to 20 %, so that many failures are not retried as one wave.
    Retry-After is honored up to a day, and never shortens the wait.
    """
    wait = DELIVERY_RETRY.delay_after(attempts)
    if wait is None:
        return None
    wait += wait * spread * _JITTER_PERCENT // 10_000
    if retry_after is not None:
        wait = max(wait, min(retry_after, MAX_RETRY_AFTER))
    return now + wait


def pause_until(*, failures_in_a_row: int, now: datetime) -> datetime | None:
    """Until when nothing is sent to a failing endpoint; None while it has not failed often enough.

    After the pause one delivery is tried; the others wait behind it and lose no attempt.
    """
    pauses = failures_in_a_row - PAUSE_AFTER_FAILURES + 1
    return None if pauses < 1 else ENDPOINT_PAUSE.next_attempt_at(pauses, now=now)


def must_be_disabled(*, failing_since: datetime, now: datetime) -> bool:
    """Whether an endpoint has failed for so long that it is disabled."""
    return now - failing_since >= DISABLE_AFTER


def disables_at(failing_since: datetime) -> datetime:
    """When a failing endpoint is disabled unless a delivery succeeds before."""
    return failing_since + DISABLE_AFTER


def warnings_due(*, failing_since: datetime, now: datetime) -> int:
    """How many warnings a failing endpoint's party has had by now."""
    return sum(now - failing_since >= after for after in WARN_AFTER)


def read_retry_after(header: str | None, *, now: datetime) -> timedelta | None:
    """The wait that a Retry-After header asks for (RFC 9110 section 10.2.3); None if unusable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:  # noqa: PLR2004 - thirty years are enough
        return timedelta(seconds=int(text))
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(at - now, timedelta(0))
