"""Capacity for requests: slow receivers hold a little of it for a short time; no other waits for them."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks.back_pressure import SLOW_SECONDS, BackPressure, Limits

A, B = UUID(int=1), UUID(int=2)
LIMITS = Limits(fresh=8, all=20, per_endpoint=4)


def test_requests_that_are_not_answered_soon_leave_their_capacity_to_others() -> None:
    pressure = BackPressure(limits=LIMITS)
    for number in range(8):
        pressure.start(UUID(int=number), at=0.0, probe=False)
    assert pressure.capacity(at=0.0) == 0
    assert pressure.capacity(at=SLOW_SECONDS) == 8
    for number in range(8):
        pressure.start(UUID(int=number), at=SLOW_SECONDS, probe=False)
    assert pressure.capacity(at=10.0) == 4  # but never more than 20 in all


def test_an_endpoint_that_fails_or_is_slow_keeps_one_request_and_regains_them_one_by_one() -> None:
    pressure = BackPressure(limits=LIMITS)
    assert pressure.capacity_of(A) == 4
    for acknowledged, seconds, left in (
        (False, 0.1, 2),
        (True, 2.0, 1),
        (False, 0.1, 1),
        (True, 0.1, 2),
        (True, 0.1, 3),
    ):
        call = pressure.start(A, at=0.0, probe=False)
        pressure.end(A, call, acknowledged=acknowledged, seconds=seconds)
        assert pressure.capacity_of(A) == left
    call = pressure.start(A, at=0.0, probe=False)
    pressure.end(A, call, acknowledged=True, seconds=0.1)
    assert pressure.capacity_of(A) == 4
    assert pressure.capacity_of(B) == 4


def test_an_endpoint_begins_with_a_few_requests_and_earns_the_rest_by_answering() -> None:
    pressure = BackPressure(limits=Limits(per_endpoint=16))
    assert pressure.capacity_of(A) == 4
    for _ in range(20):
        pressure.end(A, pressure.start(A, at=0.0, probe=False), acknowledged=True, seconds=0.1)
    assert pressure.capacity_of(A) == 16


def test_a_hundred_receivers_that_die_at_once_leave_capacity_for_the_rest() -> None:
    pressure = BackPressure()
    for number in range(100):
        for _ in range(pressure.capacity_of(UUID(int=number))):
            pressure.start(UUID(int=number), at=0.0, probe=False)
    assert pressure.capacity(at=SLOW_SECONDS) >= pressure.limits.min_query_capacity


def test_while_a_probe_is_in_flight_nothing_else_goes_to_its_endpoint() -> None:
    pressure = BackPressure(limits=LIMITS)
    call = pressure.start(A, at=0.0, probe=True)
    assert (pressure.capacity_of(A), pressure.capacity_of(B)) == (0, 4)
    pressure.end(A, call, acknowledged=True, seconds=0.1)
    assert pressure.capacity_of(A) > 0


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 3, allow_nan=False), st.booleans()),
        max_size=200,
    )
)
def test_the_limits_hold_whatever_happens_and_nothing_is_left_at_the_end(
    steps: list[tuple[int, bool, float, bool]],
) -> None:
    pressure, clock = BackPressure(limits=LIMITS), 0.0
    out: list[tuple[UUID, int, float]] = []
    for number, answer, passed, acknowledged in steps:
        clock += passed
        endpoint = UUID(int=number)
        if answer and out:
            who, call, began = out.pop(0)
            pressure.end(who, call, acknowledged=acknowledged, seconds=clock - began)
        elif pressure.capacity(at=clock) and pressure.capacity_of(endpoint):
            out.append((endpoint, pressure.start(endpoint, at=clock, probe=False), clock))
        assert pressure.in_flight == len(out) <= LIMITS.all
        assert sum(1 for _, _, began in out if clock - began < SLOW_SECONDS) <= LIMITS.fresh
        assert sum(1 for who, _, _ in out if who == endpoint) <= LIMITS.per_endpoint
    for who, call, began in out:
        pressure.end(who, call, acknowledged=True, seconds=clock - began)
    assert pressure.in_flight == 0
    assert pressure.capacity(at=clock) == LIMITS.fresh
