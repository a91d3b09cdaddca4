"""A long-lived process collects garbage more seldom, a gateway not as seldom as a worker."""

import gc
from collections.abc import Iterator

import pytest

from gateway.worker import collect_garbage_less_often


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.parametrize("serving", [True, False])
def test_what_is_loaded_is_left_out_and_few_values_start_no_collection(*, serving: bool) -> None:
    collect_garbage_less_often(serving=serving)
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == (20_000 if serving else 200_000)
    before = gc.get_stats()[0]["collections"]
    kept = [[number] for number in range(10_000)]
    assert gc.get_stats()[0]["collections"] - before <= 1
    kept += [[number] for number in range(250_000)]
    assert gc.get_stats()[0]["collections"] > before
    assert len(kept) == 260_000
