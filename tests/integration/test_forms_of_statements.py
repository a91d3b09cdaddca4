"""Statements with a second form for a distributed database: both find and take the same."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.database import Pool, is_distributed
from gateway.ids import new_id
from gateway.jobs import shard_lease_repository as leases
from gateway.payments.phase_repository import PhaseRepository
from pnc import overview_service
from pnc.authorization import AuthorizationDecisionState
from tests.fakes.console_operators import add_decision

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=15)
FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"operator_id": "op-a"},
    {"state": AuthorizationDecisionState.REJECTED, "limit": 3},
    {"state": AuthorizationDecisionState.ACCEPTED},
)


def test_one_postgresql_shares_statements_between_shards(pool: Pool) -> None:
    phases = PhaseRepository.over(pool)
    assert not is_distributed(pool)
    for one in (phases.opening, phases.completing, phases.holding, phases.ending):
        assert not one.whole.by_group
        assert one.at_shard is None


async def list_ids(pool: Pool, *, distributed: bool, before: UUID | None = None, **given: Any) -> list[UUID]:
    wanted: dict[str, Any] = {"operator_id": None, "state": None, "limit": 100, **given}
    found = await overview_service.list_decisions(
        pool, environment="sandbox", before=before, distributed=distributed, **wanted
    )
    return [one.id for one in found]


async def test_both_forms_list_the_same_decisions(pool: Pool) -> None:
    for number in range(12):
        await add_decision(pool, operator=f"op-{'ab'[number % 2]}")
    newest = await list_ids(pool, distributed=True)
    assert newest == sorted(newest, reverse=True)
    assert len(newest) == 12
    if is_distributed(pool):  # it rejects the other form
        return
    for given in FILTERS:
        for before in (None, newest[5]):
            one = await list_ids(pool, distributed=False, before=before, **given)
            assert one == await list_ids(pool, distributed=True, before=before, **given)


@pytest.mark.parametrize("distributed", [False, True])
async def test_both_forms_take_what_is_free_and_nothing_else(pool: Pool, *, distributed: bool) -> None:
    if is_distributed(pool) and not distributed:
        pytest.skip("a distributed database rejects this form")
    mine, other = new_id(), new_id()

    async def take(shards: list[int], owner: UUID, now: datetime) -> dict[int, int]:
        async with pool.acquire() as connection:
            return await leases.take_shards(
                connection, shards, owner=owner, wall_now=now, until=LATER, distributed=distributed
            )

    first = await take([3, 1, 2], mine, NOW)
    assert sorted(first) == [1, 2, 3]
    assert await take([1, 2], other, NOW) == {}
    assert sorted(await take([2, 4], other, NOW)) == [4]
    over = await take([1, 4], other, LATER + timedelta(seconds=1))
    assert over[1] == first[1] + 1
    rows = await pool.fetch(
        "SELECT shard, owner, taken_over FROM gateway.shard_lease WHERE owner IS NOT NULL"
    )
    assert {row["shard"]: (row["owner"], row["taken_over"]) for row in rows} == {
        1: (other, 1),
        2: (mine, 0),
        3: (mine, 0),
        4: (other, 1),
    }
