"""Webhooks over HTTP: the tests of one machine on a distributed database, a shard in each statement."""

from collections.abc import AsyncIterator

import pytest

from gateway.database import Pool
from tests.integration import test_webhooks as of_one_machine
from tests.integration.test_webhooks import Stage, open_stage

# A delivery lies on its shard alone, and what changes nothing at the coordinator leaves no act there
# (docs/operations/scale-out.md): the steps that ask for an act after it are not run.
_ASKS_FOR_AN_ACT = "test_events_are_sent_again_one_by_one_and_since_a_time"
globals().update(
    {
        name: test
        for name, test in vars(of_one_machine).items()
        if name.startswith("test_") and name != _ASKS_FOR_AN_ACT
    }
)


@pytest.fixture
async def stage(pool: Pool) -> AsyncIterator[Stage]:
    """The API, a receiver and the job that delivers; one shard in each statement, as Citus takes it."""
    async with open_stage(pool, shards_per_statement=1) as opened:
        yield opened
