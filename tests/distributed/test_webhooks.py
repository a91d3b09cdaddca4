"""Webhooks over HTTP: the tests of one machine on a distributed database, a shard in each statement."""

from collections.abc import AsyncIterator

import pytest

from gateway.database import Pool
from tests.integration import test_webhooks as of_one_machine
from tests.integration.test_webhooks import Stage, open_stage

globals().update({name: test for name, test in vars(of_one_machine).items() if name.startswith("test_")})


@pytest.fixture
async def stage(pool: Pool) -> AsyncIterator[Stage]:
    """The API, a receiver and the job that delivers; one shard in each statement, as Citus takes it."""
    async with open_stage(pool) as opened:
        yield opened
