"""When a delivery is tried again, and when an endpoint is paused or disabled."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks.retry import (
    DELIVERY_RETRY,
    DISABLE_AFTER,
    PAUSE_AFTER_FAILURES,
    must_be_disabled,
    next_attempt,
    pause_until,
    read_retry_after,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_the_waits_are_those_of_the_specification() -> None:
    """Standard Webhooks: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h."""
    minutes = [wait.total_seconds() / 60 for wait in DELIVERY_RETRY.delays]
    assert minutes == [5 / 60, 5, 30, 120, 300, 600, 840, 1200, 1440]


@given(
    attempts=st.integers(1, len(DELIVERY_RETRY.delays)),
    spread=st.integers(0, 99),
    asked=st.none() | st.timedeltas(timedelta(0), timedelta(days=9)),
)
def test_a_wait_is_never_shorter_than_scheduled_and_never_absurd(
    attempts: int, spread: int, asked: timedelta | None
) -> None:
    at = next_attempt(attempts=attempts, now=NOW, spread=spread, retry_after=asked)
    assert at is not None
    wait = at - NOW
    assert wait >= DELIVERY_RETRY.delays[attempts - 1]
    assert wait <= timedelta(hours=28.8)
    if asked is not None:
        assert wait >= min(asked, timedelta(hours=24))


def test_after_the_last_wait_there_is_no_further_attempt() -> None:
    assert next_attempt(attempts=len(DELIVERY_RETRY.delays) + 1, now=NOW, spread=0, retry_after=None) is None


def test_a_failing_endpoint_is_paused_longer_and_longer_but_never_for_ever() -> None:
    assert pause_until(failures_in_a_row=PAUSE_AFTER_FAILURES - 1, now=NOW) is None
    pauses = [pause_until(failures_in_a_row=n, now=NOW) for n in range(PAUSE_AFTER_FAILURES, 40)]
    known = [pause for pause in pauses if pause is not None]
    assert len(known) == len(pauses)
    assert known == sorted(known)
    assert known[-1] - NOW == timedelta(minutes=30)


def test_an_endpoint_is_disabled_after_five_days_of_failure() -> None:
    assert not must_be_disabled(failing_since=NOW, now=NOW + DISABLE_AFTER - timedelta(seconds=1))
    assert must_be_disabled(failing_since=NOW, now=NOW + DISABLE_AFTER)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        (None, None),
        ("120", timedelta(seconds=120)),
        (" 0 ", timedelta(0)),
        (format_datetime(NOW + timedelta(minutes=5), usegmt=True), timedelta(minutes=5)),
        (format_datetime(NOW - timedelta(minutes=5), usegmt=True), timedelta(0)),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 40, None),
        ("\u0665", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date_or_not_at_all(
    header: str | None, wait: timedelta | None
) -> None:
    assert read_retry_after(header, now=NOW) == wait
