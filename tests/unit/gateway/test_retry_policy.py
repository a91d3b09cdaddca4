"""The rules of a retry policy."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.retry_policy import RetryPolicy

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_delays_follow_the_attempts_and_the_last_one_repeats() -> None:
    policy = RetryPolicy.of_seconds(1, 5, 15)
    assert [policy.delay_after(attempts) for attempts in (1, 2, 3, 4, 1000)] == [
        timedelta(seconds=seconds) for seconds in (1, 5, 15, 15, 15)
    ]


def test_after_the_last_attempt_nothing_is_tried_again() -> None:
    policy = RetryPolicy.of_seconds(1, 5, max_attempts=3)
    assert policy.delay_after(2) == timedelta(seconds=5)
    assert policy.delay_after(3) is None
    assert policy.next_attempt_at(3, now=NOW) is None
    assert policy.next_attempt_at(1, now=NOW) == NOW + timedelta(seconds=1)


def test_doubling_ends_at_the_longest_delay() -> None:
    policy = RetryPolicy.doubling(timedelta(seconds=30), longest=timedelta(seconds=100))
    assert policy.delays == tuple(timedelta(seconds=seconds) for seconds in (30, 60, 100))


@given(st.integers(1, 10_000), st.integers(0, 10**6), st.integers(1, 2000))
def test_doubling_never_shrinks_and_never_exceeds_the_longest(first: int, more: int, attempts: int) -> None:
    longest = timedelta(seconds=first + more)
    policy = RetryPolicy.doubling(timedelta(seconds=first), longest=longest)
    earlier, later = policy.delay_after(attempts), policy.delay_after(attempts + 1)
    assert earlier is not None
    assert later is not None
    assert timedelta(seconds=first) <= earlier <= later <= longest


@pytest.mark.parametrize("attempts", [0, -1])
def test_no_delay_before_the_first_attempt(attempts: int) -> None:
    with pytest.raises(ValueError, match="at least one attempt"):
        RetryPolicy.of_seconds(1).delay_after(attempts)


def test_a_policy_without_sense_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least one delay"):
        RetryPolicy(delays=())
    with pytest.raises(ValueError, match="none below zero"):
        RetryPolicy.of_seconds(-1)
    with pytest.raises(ValueError, match="at least one attempt"):
        RetryPolicy.of_seconds(1, max_attempts=0)
    with pytest.raises(ValueError, match="begins above zero"):
        RetryPolicy.doubling(timedelta(seconds=5), longest=timedelta(seconds=1))
