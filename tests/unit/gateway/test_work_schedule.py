"""When a worker looks again: at once after work, seldom when idle, never in a tight loop."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.jobs.work_schedule import (
    FIRST_REST_S,
    GATHERING_PAUSE_S,
    LONGEST_PAUSE_S,
    LONGEST_REST_S,
    SHORTEST_PAUSE_S,
    WorkPlan,
    WorkSchedule,
)

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
PAST = NOW - timedelta(seconds=1)


def look(schedule: WorkSchedule, found: Any, *, at: float = 0.0, busy: tuple[str, ...] = ()) -> WorkPlan:
    return schedule.plan(found, busy=busy, wall_now=NOW, at=at)


def idle(schedule: WorkSchedule, *, looks: int) -> list[float]:
    return [look(schedule, {}).pause_s for _ in range(looks)]


def test_an_idle_worker_looks_ever_less_often_up_to_two_seconds() -> None:
    assert idle(WorkSchedule(), looks=9) == [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_within_a_quarter_of_a_second_after_it_was_woken_it_looks_again_in_a_quarter() -> None:
    """What wakes a worker from another process is sent that often at most: in between it looks by itself."""
    schedule = WorkSchedule()
    idle(schedule, looks=9)
    schedule.woken()
    at, gaps = 0.0, []
    while at < 0.25:
        gaps.append(look(schedule, {}).pause_s)
        at += gaps[-1]
    assert max(gaps) <= 0.25


def test_what_is_due_begins_the_longest_due_first_and_a_look_follows_soon() -> None:
    schedule = WorkSchedule()
    idle(schedule, looks=9)
    plan = look(schedule, {"a": {1: NOW, 2: PAST}, "b": {3: PAST}})
    assert plan.begin == {"a": (2, 1), "b": (3,)}
    assert plan.pause_s == SHORTEST_PAUSE_S


def test_it_sleeps_until_the_earliest_due_time() -> None:
    schedule = WorkSchedule()
    idle(schedule, looks=9)
    plan = look(schedule, {"a": {1: NOW + timedelta(seconds=1.5), 2: NOW + timedelta(seconds=0.3)}})
    assert (plan.begin, plan.pause_s) == ({}, 0.3)


def test_a_kind_under_way_begins_when_its_round_has_ended() -> None:
    schedule = WorkSchedule()
    assert look(schedule, {"a": {1: PAST}, "b": {1: PAST}}, busy=("a",)).begin == {"b": (1,)}
    assert look(schedule, {"a": {1: PAST}}).begin == {"a": (1,)}


def test_a_shard_in_which_nothing_could_be_done_rests_ever_longer_and_the_others_do_not() -> None:
    schedule, at, rests = WorkSchedule(), 0.0, []
    for _ in range(6):
        assert look(schedule, {"a": {1: PAST, 2: PAST}}, at=at).begin["a"] == (1, 2)
        schedule.ended("a", (1, 2), done=(2,), at=at)
        plan = look(schedule, {"a": {1: PAST, 2: PAST}}, at=at)
        assert plan.begin["a"] == (2,)
        begun = at
        while look(schedule, {"a": {1: PAST}}, at=at).begin == {}:
            at += 0.05
        rests.append(round(at - begun, 2))
    assert rests[0] == FIRST_REST_S
    assert rests[-1] == pytest.approx(LONGEST_REST_S, abs=0.06)
    assert rests == sorted(rests)


def test_work_that_can_not_be_done_keeps_an_otherwise_idle_worker_quiet() -> None:
    """A receiver that is away has deliveries in every shard for hours."""
    schedule, at, looks = WorkSchedule(), 0.0, 0
    found = {"a": dict.fromkeys(range(64), PAST)}
    while at < 60:
        plan = look(schedule, found, at=at)
        looks += 1
        for kind, shards in plan.begin.items():
            schedule.ended(kind, shards, done=(), at=at)
        at += plan.pause_s
    assert looks < 150


def test_a_rest_ends_when_the_work_is_gone_and_comes_again() -> None:
    schedule = WorkSchedule()
    schedule.ended("a", (1,), done=(), at=0.0)
    assert look(schedule, {"a": {1: PAST}}).begin == {}
    look(schedule, {})
    assert look(schedule, {"a": {1: PAST}}).begin == {"a": (1,)}


def test_a_kind_whose_round_failed_rests_and_is_tried_again() -> None:
    schedule = WorkSchedule()
    schedule.failed("a", until=3.0)
    plan = look(schedule, {"a": {1: PAST}, "b": {1: PAST}}, at=1.0)
    assert plan.begin == {"b": (1,)}
    assert look(schedule, {"a": {1: PAST}}, at=3.0).begin == {"a": (1,)}
    schedule.ended("a", (1,), done=(1,), at=3.5)
    assert look(schedule, {"a": {1: PAST}}, at=3.5).begin == {"a": (1,)}


def test_no_pause_is_longer_than_the_longest() -> None:
    schedule = WorkSchedule()
    idle(schedule, looks=20)
    assert look(schedule, {"a": {1: NOW + timedelta(days=1)}}).pause_s == LONGEST_PAUSE_S


def test_a_kind_may_rest_no_longer_than_is_said_of_it() -> None:
    """Of an event that is new, the look for its deliveries is never far."""
    schedule = WorkSchedule(longest_rests={"new": FIRST_REST_S})
    for number in range(5):
        schedule.ended("new", (1,), done=(), at=float(number))
    assert look(schedule, {"new": {1: PAST}}, at=4.05).begin == {}
    assert look(schedule, {"new": {1: PAST}}, at=4.0 + FIRST_REST_S).begin == {"new": (1,)}


def test_a_shard_that_is_tried_again_is_looked_at_again_when_it_may_be_the_next_time() -> None:
    schedule = WorkSchedule(longest_rests={"new": FIRST_REST_S})
    idle(schedule, looks=9)
    schedule.ended("new", (1,), done=(), at=0.0)
    plan = look(schedule, {"new": {1: PAST}}, at=1.0)
    assert (plan.begin, plan.pause_s) == ({"new": (1,)}, FIRST_REST_S)


def test_a_gathered_kind_begins_at_once_after_a_rest_and_then_no_sooner_than_its_time_apart() -> None:
    schedule = WorkSchedule(gathered={"a": 0.25})
    found = {"a": {1: PAST}, "b": {2: PAST}}
    assert look(schedule, found, at=10.0).begin == {"a": (1,), "b": (2,)}
    schedule.ended("a", (1,), done=(1,), at=10.01)
    plan = look(schedule, {"a": {3: PAST}, "b": {2: PAST}}, at=10.05)
    assert plan.begin == {"b": (2,)}
    plan = look(schedule, {"a": {3: PAST, 4: PAST}}, at=10.2)
    assert plan.begin == {}
    assert plan.pause_s == pytest.approx(0.05)  # and it is looked at when its time has come
    assert look(schedule, {"a": {3: PAST, 4: PAST}}, at=10.25).begin == {"a": (3, 4)}


def test_a_gathered_kind_whose_rounds_are_longer_than_its_time_never_waits() -> None:
    schedule = WorkSchedule(gathered={"a": 0.25})
    assert look(schedule, {"a": {1: PAST}}, at=0.0).begin == {"a": (1,)}
    schedule.ended("a", (1,), done=(1,), at=0.4)
    assert look(schedule, {"a": {1: PAST}}, at=0.4).begin == {"a": (1,)}


def test_what_gathers_is_no_news_so_it_keeps_no_worker_busy() -> None:
    schedule = WorkSchedule(gathered={"a": 5.0})
    look(schedule, {"a": {1: PAST}}, at=0.0)
    schedule.ended("a", (1,), done=(1,), at=0.0)
    at, looks = 0.0, 0
    while at < 4.9:
        at += look(schedule, {"a": {1: PAST}}, at=at).pause_s
        looks += 1
    assert looks < 12


def test_looks_that_each_find_something_new_are_a_tenth_of_a_second_apart() -> None:
    """Under load one look serves what many left, even if each of them wakes the worker."""
    schedule, pauses = WorkSchedule(), []
    for _ in range(6):
        pauses.append(look(schedule, {"a": {1: PAST}}).pause_s)
        schedule.woken()
        assert schedule.soonest_s == pauses[-1]
    assert pauses == [SHORTEST_PAUSE_S, 0.05, GATHERING_PAUSE_S, 0.1, 0.1, 0.1]
    look(schedule, {})
    schedule.woken()
    assert look(schedule, {"a": {1: PAST}}).pause_s == SHORTEST_PAUSE_S
