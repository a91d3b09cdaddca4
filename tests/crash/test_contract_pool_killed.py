"""A worker that dies while it asks a contract pool: the next one goes on, each answer counts once."""

from contextlib import suppress
from dataclasses import replace
from typing import cast

import pytest

from gateway.database import Pool
from tests.fakes.dying_pool import Died, DyingPool
from tests.integration import test_contract_pool as stage
from tests.integration.test_contract_pool import ACCEPTED, EMAID, Asked

feed, asked = stage.feed, stage.asked  # the fixtures
pytestmark = [pytest.mark.postgres, pytest.mark.slow]
STEPS = 14  # more connections than a round takes: the last runs die nowhere
LEASE_MINUTES = 6.0


@pytest.mark.parametrize("in_hand", [False, True], ids=["between connections", "in a transaction"])
async def test_a_round_of_workers_that_died_anywhere_ends_and_applies_each_answer_once(
    asked: Asked, pool: Pool, *, in_hand: bool
) -> None:
    await asked.feed.set_up(lookup=asked.lookup)
    asked.publish(EMAID, asked.feed.station.leaf)
    lookups = asked.job.lookups
    assert lookups is not None
    finished = 0
    for gives in range(STEPS):
        dying = cast("Pool", DyingPool(pool, gives=gives, in_hand=in_hand))
        asked.pass_time(minutes=LEASE_MINUTES)  # a lease that a dead worker left ends by itself
        with suppress(Died):
            await replace(lookups, pool=dying, feeds=replace(lookups.feeds, pool=dying)).look_up_due()
            finished += 1
    assert finished
    await asked.run()
    assert [(event["type"], event["state"]) for event in await asked.feed.events()] == [("lookup", "applied")]
    assert (await asked.shown())["looked_up_at"] is not None
    certificates = (await asked.feed.call("GET", f"contracts/{EMAID}/certificates")).json["data"]
    assert len(certificates) == 1
    assert await asked.feed.charge("a") == ACCEPTED
