"""Seeds of the simulator: every fault that a payment knows, interleaved, and the rules that must hold.

`make simulate SEEDS=0:2000` plays more. A seed that breaks a rule is named with its replay.
"""

import logging
from collections.abc import Iterator

import pytest
import structlog

from gateway.database import Pool
from tests.simulation.application import Ground
from tests.simulation.runner import play

SEEDS_PER_TEST = 30
pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Only failures are logged: a simulation logs thousands of expected failures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("first", range(0, 8 * SEEDS_PER_TEST, SEEDS_PER_TEST))
async def test_no_interleaving_of_faults_captures_twice_or_loses_money(pool: Pool, first: int) -> None:
    ground = Ground(pool)
    await ground.prepare()
    for seed in range(first, first + SEEDS_PER_TEST):
        played = await play(ground, seed)
        assert played.broken is None, (
            f"seed {seed}: {played.broken}\nreplay: make simulate SEEDS={seed} ARGS=--history\n"
            + "\n".join(played.history[-60:])
        )


async def test_a_seed_replays_exactly(pool: Pool) -> None:
    ground = Ground(pool)
    await ground.prepare()
    first = [await play(ground, seed) for seed in (3, 4)]
    second = [await play(ground, seed) for seed in (3, 4)]
    assert [played.history for played in first] == [played.history for played in second]
    assert first[0].digest != first[1].digest


async def test_the_checks_notice_a_second_capture(pool: Pool) -> None:
    """The simulator itself can fail: money that the PSP took without our request is found at once."""
    ground = Ground(pool)
    await ground.prepare()
    played = await play(ground, 5, sabotage=True)
    assert played.broken is not None
    assert "a second capture" in played.broken
