"""Who owns which shard: fair shares, nothing taken that another owns, everything owned in the end."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ids import ALL_SHARDS
from gateway.jobs.shard_share import ShardLease, fair_share, plan_shares

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=15)
A, B, C, D = (UUID(int=number) for number in (1, 2, 3, 4))


def lease(shard: int, owner: UUID | None, *, until: datetime = LATER) -> ShardLease:
    return ShardLease(shard=shard, owner=owner, until=until, fence=1)


def owned(owner: UUID, *, until: datetime = LATER) -> list[ShardLease]:
    return [lease(shard, owner, until=until) for shard in ALL_SHARDS]


@pytest.mark.parametrize(
    ("workers", "shares"),
    [([A], [64]), ([A, B], [32, 32]), ([A, B, C], [22, 21, 21]), ([D, C, B, A], [16, 16, 16, 16])],
)
def test_shares_are_alike_and_all_shards_are_in_one(workers: list[UUID], shares: list[int]) -> None:
    found = [fair_share(worker, workers) for worker in sorted(workers)]
    assert found == shares
    assert sum(found) == len(ALL_SHARDS)


def test_more_workers_than_shards_leave_some_without_one() -> None:
    workers = [UUID(int=number) for number in range(1, 101)]
    shares = [fair_share(worker, workers) for worker in workers]
    assert shares == [1] * 64 + [0] * 36


def test_a_worker_that_is_not_here_has_no_share() -> None:
    assert fair_share(D, [A, B]) == 0
    assert plan_shares(owned(D), worker=D, workers=[A], wall_now=NOW).give_back == ALL_SHARDS


def test_the_first_worker_takes_every_shard() -> None:
    plan = plan_shares([], worker=A, workers=[A], wall_now=NOW)
    assert (sorted(plan.take), plan.give_back, plan.waits) == (list(ALL_SHARDS), (), False)


def test_a_second_worker_waits_until_the_first_has_given_its_surplus_back() -> None:
    waiting = plan_shares(owned(A), worker=B, workers=[A, B], wall_now=NOW)
    assert (waiting.take, waiting.waits) == ((), True)
    first = plan_shares(owned(A), worker=A, workers=[A, B], wall_now=NOW)
    assert (len(first.give_back), first.take) == (32, ())
    after = [lease(shard, None if shard in first.give_back else A) for shard in ALL_SHARDS]
    second = plan_shares(after, worker=B, workers=[A, B], wall_now=NOW)
    assert (sorted(second.take), second.waits) == (list(first.give_back), False)


def test_what_a_dead_worker_owned_is_taken_when_its_lease_ends_and_not_before() -> None:
    ended = NOW + timedelta(seconds=15)
    held = owned(B, until=ended)
    assert plan_shares(held, worker=A, workers=[A], wall_now=ended - timedelta(microseconds=1)).take == ()
    assert len(plan_shares(held, worker=A, workers=[A], wall_now=ended).take) == 64


def test_a_worker_keeps_what_it_owns_although_its_lease_has_ended_and_takes_it_from_nobody() -> None:
    assert plan_shares(owned(A, until=NOW), worker=A, workers=[A], wall_now=LATER).take == ()


def test_workers_that_start_together_begin_at_other_shards() -> None:
    plans = [plan_shares([], worker=worker, workers=[A, B], wall_now=NOW) for worker in (A, B)]
    assert set(plans[0].take) & set(plans[1].take) == set()


@given(
    present=st.sets(st.sampled_from([A, B, C, D]), min_size=1),
    owners=st.lists(st.sampled_from([None, A, B, C, D]), min_size=64, max_size=64),
    ended=st.lists(st.booleans(), min_size=64, max_size=64),
)
def test_any_state_becomes_fair_and_nothing_that_is_owned_is_taken(
    present: set[UUID], owners: list[UUID | None], ended: list[bool]
) -> None:
    """Each worker in turn, as the rows say: two rounds in which the dead's leases have ended."""
    at = NOW
    state = {
        shard: lease(shard, owner, until=NOW if over else LATER)
        for shard, (owner, over) in enumerate(zip(owners, ended, strict=True))
    }
    for turn in range(4):
        for worker in sorted(present):
            state |= {
                s: lease(s, worker, until=at + timedelta(seconds=15))
                for s, one in state.items()
                if one.owner == worker
            }
            plan = plan_shares(list(state.values()), worker=worker, workers=present, wall_now=at)
            assert not (plan.take and plan.give_back)
            for shard in plan.take:
                assert state[shard].is_free(wall_now=at)
                assert state[shard].owner != worker
                state[shard] = lease(shard, worker, until=at + timedelta(seconds=15))
            for shard in plan.give_back:
                assert state[shard].owner == worker
                state[shard] = lease(shard, None, until=at)
        at += timedelta(seconds=5) if turn else timedelta(seconds=16)
    counts = sorted(sum(one.owner == worker for one in state.values()) for worker in present)
    assert sum(counts) == 64
    assert counts[-1] - counts[0] <= 1
    assert all(later >= earlier for earlier, later in pairwise(counts))
