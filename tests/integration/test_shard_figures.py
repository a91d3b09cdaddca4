"""What people see of the shards: owners, what is due, and what was taken over."""

from datetime import timedelta

from gateway.cli.status import read_status, shards_line, status_json
from gateway.database import Pool
from gateway.jobs.shard_owners import list_shard_owners, summarize
from gateway.jobs.shard_ownership import LEASE, ShardOwnership
from tests.fakes.api import open_api
from tests.integration.test_shard_owners import KIND, leave
from tests.simulation.seeded import Hands


async def test_owners_of_shards_with_what_is_due_in_them(pool: Pool, database_url: str) -> None:
    hands = Hands()
    first = ShardOwnership(pool=pool, clock=hands, name="machine-1:7")
    async with pool.acquire() as connection:
        nobody = summarize(await list_shard_owners(connection, wall_now=hands.at), wall_now=hands.at)
    assert (nobody.without_owner, nobody.owned, nobody.taken_over) == (64, {}, 0)
    await first.renew()
    await leave(pool, 9, at=hands.at - timedelta(seconds=40))
    await leave(pool, 10, at=hands.at + timedelta(seconds=40))
    async with pool.acquire() as connection:
        shown = await list_shard_owners(connection, wall_now=hands.at)
    assert [one.shard for one in shown] == list(range(64))
    assert (shown[9].worker, shown[9].owner, shown[9].until) == ("machine-1:7", first.owner, hands.at + LEASE)
    assert (shown[9].due, shown[10].due) == ({KIND: hands.at - timedelta(seconds=40)}, {})
    figures = summarize(shown, wall_now=hands.at)
    assert (figures.owned, figures.without_owner) == ({"machine-1:7": 64}, 0)
    assert figures.oldest_due_s == {KIND: 40.0}
    status = status_json(await read_status(database_url, wall_now=hands.at))
    assert status["shards"] == {"owned": {"machine-1:7": 64}, "without_owner": 0, "leases_taken_over": 0}
    assert shards_line(status["shards"]) == "shards: machine-1:7 64; without an owner: 0"

    hands.advance(LEASE)
    async with pool.acquire() as connection:
        ended = await list_shard_owners(connection, wall_now=hands.at)
    assert {one.owner for one in ended} == {one.worker for one in ended} == {None}
    assert "no worker owns any" in shards_line((await read_status(database_url, wall_now=hands.at)).shards)
    await ShardOwnership(pool=pool, clock=hands, name="machine-2:8").renew()
    async with pool.acquire() as connection:
        figures = summarize(await list_shard_owners(connection, wall_now=hands.at), wall_now=hands.at)
    assert (figures.owned, figures.taken_over) == ({"machine-2:8": 64}, 64)


async def test_a_gateway_serves_the_figures(pool: Pool) -> None:
    async with open_api(pool) as api:
        await ShardOwnership(pool=pool, clock=api.clock, name="machine-1:7").renew()
        await leave(pool, 9, at=api.clock.wall_now() - timedelta(seconds=40))
        text = (await api.call("GET", "/metrics", party="admin")).content.decode()
    assert 'networkcore_shards{worker="machine-1:7"} 64.0' in text
    assert "networkcore_shards_without_owner 0.0" in text
    assert "networkcore_shard_leases_taken_over_total 0.0" in text
    assert 'networkcore_work_oldest_due_seconds{kind="capture_session"} 40.0' in text
