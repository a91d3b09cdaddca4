"""When to try again, and when to stop: the rules of retries as pure functions.

Owns: the schedule, Retry-After, the pause of a failing endpoint, its end. Must not know the clock,
randomness or who is called: `now` and `spread` are given.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

# The waits after the first, second, ... failed attempt (Standard Webhooks, "Deliverability and reliability").
RETRY_AFTER: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
MAX_RETRY_AFTER: Final = timedelta(hours=24)
PAUSE_AFTER_FAILURES: Final = 3
_PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(minutes=30),
)
GIVE_UP_AFTER: Final = timedelta(days=5)
_JITTER_PERCENT: Final = 20


def next_attempt(
    *, attempts: int, now: datetime, spread: int, retry_after: timedelta | None
) -> datetime | None:
    """When to try again after `attempts` failed attempts; None: never.

    `spread` from 0 to 99 moves the wait by 0 to 20 % so that many failures do not come back as one wave. What
    the receiver asks for by Retry-After is honored up to a day, and never shortens the wait.
    """
    if attempts > len(RETRY_AFTER):
        return None
    wait = RETRY_AFTER[attempts - 1]
    wait += wait * spread * _JITTER_PERCENT // 10_000
    if retry_after is not None:
        wait = max(wait, min(retry_after, MAX_RETRY_AFTER))
    return now + wait


def pause_until(*, failures_in_a_row: int, now: datetime) -> datetime | None:
    """Until when a failing endpoint is left alone; None while it has not failed often enough.

    After the pause one delivery is tried; the others wait behind it and lose no attempt of theirs.
    """
    beyond = failures_in_a_row - PAUSE_AFTER_FAILURES
    if beyond < 0:
        return None
    return now + _PAUSES[min(beyond, len(_PAUSES) - 1)]


def gives_up(*, failing_since: datetime, now: datetime) -> bool:
    """Whether an endpoint has failed for so long that it is disabled."""
    return now - failing_since >= GIVE_UP_AFTER


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
