"""The shipped configuration under Patroni itself: its leader killed under load, and nothing answered is lost.

Set PATRONI to the program of a virtual environment with `patroni[raft,psycopg3]` to run this; the server's
user must be able to run its Python. The store is Patroni's Raft; TLS and the watchdog are left out.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from rich.console import Console

from gateway.migrations import migrate
from sandbox.market.context import start_clock
from sandbox.market.day import running_market
from sandbox.market.dev_market import OPENS_AT
from sandbox.market.plan import plan_day
from sandbox.market.progress import NotesOnly
from sandbox.market.setup import open_market
from tests.chaos.deferred import bring_forward
from tests.crash.patroni_cluster import Node, PatroniCluster
from tests.crash.test_capture_killed import charge, settled, summary

PATRONI = os.environ.get("PATRONI", "")
CLIENTS, SESSIONS_EACH, BEFORE = 4, 6, 6
PRICE = 918  # of each session, in minor units
pytestmark = [
    pytest.mark.slow,
    pytest.mark.postgres,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PATRONI, reason="PATRONI names no program of Patroni"),
]


@pytest.fixture
def cluster() -> Iterator[PatroniCluster]:
    folder = Path(tempfile.mkdtemp(prefix="networkcore-test-", dir="/tmp"))
    folder.chmod(0o755)
    made = PatroniCluster(folder / "cluster", patroni=Path(PATRONI))
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


async def fail_over(cluster: PatroniCluster, killed: list[Node]) -> None:
    """Kill the leader's machine; wait for another leader with a synchronous standby of its own."""
    leader = cluster.leader()
    assert leader is not None
    killed.append(leader)
    await asyncio.to_thread(leader.kill)
    await asyncio.to_thread(
        cluster.wait, lambda: cluster.leader() is not None and len(cluster.synchronous()) == 1
    )


async def test_the_leader_dies_under_load_and_another_takes_over_without_a_loss(
    cluster: PatroniCluster, tmp_path: Path
) -> None:
    async with running_market(
        tmp_path / "stack",
        day=plan_day(sessions=24, seed=1),
        workers=1,
        migrate=migrate,
        progress=NotesOnly(Console(stderr=True)),
        database=cluster,
    ) as (context, stack):
        await open_market(context)
        await start_clock(context, OPENS_AT)
        processes = dict(stack.supervisor.pids)
        platform = f"Bearer {stack.plan.admin_api_key}"
        headers = {"Authorization": f"Bearer {context.keys['parkingapp']}"}
        async with aiohttp.ClientSession(stack.gateway_url, headers=headers) as session:
            answered: list[str] = []
            killed: list[Node] = []

            async def client(number: int) -> None:
                for turn in range(SESSIONS_EACH):
                    identifier = await charge(session, f"{number}-{turn}", platform)
                    answered.append(identifier)

            async def strike() -> None:
                while len(answered) < BEFORE:
                    await asyncio.sleep(0.01)
                await fail_over(cluster, killed)

            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(client(number))
                group.create_task(strike())
            assert len(answered) > BEFORE
            await bring_forward(cluster.dsn)
            shown = [await settled(session, identifier) for identifier in answered]
            # The killed node comes back as a standby and gives up what no standby of its had.
            cluster.start_node(killed[0])
            await asyncio.to_thread(cluster.wait, lambda: killed[0].status().get("role") == "replica")
            await asyncio.to_thread(cluster.wait, lambda: replicating(cluster) == 2)
            # Without a standby nothing is written: a commit that a client knows of is on two nodes.
            await check_that_nothing_is_written_alone(cluster)
        assert stack.supervisor.pids == processes  # nothing of ours was started again
        books = await summary({"base_url": stack.gateway_url, "admin_api_key": stack.plan.admin_api_key})
        theirs = await context.psp.get("/_sandbox/summary")
    assert len({one["id"] for one in shown}) == CLIENTS * SESSIONS_EACH
    assert {one["capture"]["amount"] for one in shown} == {PRICE}
    assert books["audit"]["findings"] == []
    assert all(line["difference"] == 0 for line in books["audit"]["proof"])
    assert str(PRICE * CLIENTS * SESSIONS_EACH) in str(theirs)


def replicating(cluster: PatroniCluster) -> int:
    leader = cluster.leader()
    said = {} if leader is None else leader.status()
    return sum(one["state"] == "streaming" for one in said.get("replication", []))


async def check_that_nothing_is_written_alone(cluster: PatroniCluster) -> None:
    leader = cluster.leader()
    assert leader is not None
    standbys = [node for node in cluster.nodes if node is not leader]
    for node in standbys:
        await asyncio.to_thread(node.kill)
    connection = await asyncpg.connect(cluster.dsn)
    try:
        with pytest.raises(TimeoutError):
            await connection.execute("CREATE TABLE written_alone ()", timeout=4)
    except asyncpg.PostgresError as refused:  # the leader without a quorum steps down first
        pytest.fail(f"refused instead of kept waiting: {refused}")
    finally:
        connection.terminate()
    for node in standbys:
        cluster.start_node(node)
    await asyncio.to_thread(cluster.wait, lambda: cluster.leader() is not None and replicating(cluster) == 2)
