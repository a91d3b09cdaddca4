"""Buckets that several processes count in: once for all of them, whoever is killed or stopped."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RateLimitExceededError
from gateway.limits.edge_limits import EdgeLimits
from gateway.limits.rate_limit import TOKEN, ProcessBuckets, RateLimiter, RateRule
from gateway.limits.shared_buckets import SharedBuckets

RULE = RateRule(name="t", per_second=1, burst=5)
ROOT = Path(__file__).parents[3]
OTHER = """
import sys, time
from gateway.limits.rate_limit import RateRule
from gateway.limits.shared_buckets import SharedBuckets
from pathlib import Path
buckets = SharedBuckets(Path(sys.argv[1]))
rule = RateRule(name="t", per_second=1, burst=200)
print("ready", flush=True)
sys.stdin.readline()
print(sum(buckets.take("key", rule=rule, at=100.0) >= 1_000_000 for _ in range(500)), flush=True)
sys.stdin.readline()
"""

HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    SharedBuckets.create(tmp_path / "buckets")
    return tmp_path / "buckets"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], SharedBuckets]]:
    made: list[SharedBuckets] = []

    def open_one() -> SharedBuckets:
        made.append(SharedBuckets(path))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def start(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_take_at_once_take_no_more_than_one_would(path: Path) -> None:
    processes = [start(path) for _ in range(2)]
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        taken = [int(process.stdout.readline()) for process in processes if process.stdout is not None]
        assert sum(taken) == 200, taken
    finally:
        for process in processes:
            process.communicate("end\n")


def test_what_one_opened_table_counts_another_sees(opened: Callable[[], SharedBuckets]) -> None:
    one, other = RateLimiter(RULE, buckets=opened()), RateLimiter(RULE, buckets=opened())
    for _ in range(4):
        one.count("k", at=10.0)
    assert other.take("k", at=10.0)["RateLimit"].startswith('"t";r=0')
    with pytest.raises(RateLimitExceededError):
        one.check("k", at=10.0)
    one.check("k", at=11.0)
    one.check("another", at=10.0)


def test_rules_count_apart_in_one_table(opened: Callable[[], SharedBuckets]) -> None:
    for buckets in (opened(), ProcessBuckets()):
        first = RateLimiter(RateRule(name="t", per_second=1, burst=1), buckets=buckets)
        second = RateLimiter(RateRule(name="u", per_second=1, burst=1), buckets=buckets)
        first.take("k", at=5.0)
        second.take("k", at=5.0)
        with pytest.raises(RateLimitExceededError):
            first.take("k", at=5.0)


@given(steps=st.lists(st.tuples(st.floats(0, 2), st.sampled_from("abc")), min_size=1, max_size=60))
def test_shared_buckets_hold_what_a_process_s_own_hold(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, str]]
) -> None:
    path = tmp_path_factory.mktemp("buckets") / "buckets"
    SharedBuckets.create(path)
    shared, own, at = SharedBuckets(path), ProcessBuckets(), 1.0
    try:
        for seconds, key in steps:
            at += seconds
            assert shared.look(key, rule=RULE, at=at) == own.look(key, rule=RULE, at=at)
            assert shared.take(key, rule=RULE, at=at) == own.take(key, rule=RULE, at=at)
    finally:
        shared.close()


def test_a_full_place_forgets_the_bucket_that_was_used_longest_ago(
    opened: Callable[[], SharedBuckets],
) -> None:
    buckets = opened()
    for number in range(200_000):  # three times as many as are kept
        buckets.take(f"k{number}", rule=RULE, at=float(number))
    assert buckets.look("k199999", rule=RULE, at=199_999.0) == 4 * TOKEN
    assert buckets.look("k0", rule=RULE, at=199_999.0) == 5 * TOKEN


def test_a_process_that_was_stopped_within_a_lock_holds_nobody_up(
    path: Path, opened: Callable[[], SharedBuckets]
) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLDER,
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGSTOP)
        with path.open("r+b") as file, pytest.raises(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert opened().take("k", rule=RULE, at=1.0) == 5 * TOKEN
        assert opened().look("k", rule=RULE, at=1.0) == 4 * TOKEN
    finally:
        holder.kill()
        holder.communicate()


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"short")
    with pytest.raises(ValueError, match="length"):
        SharedBuckets(tmp_path / "other")


@pytest.mark.parametrize(("hosts", "taken"), [(1, 12), (3, 4), (100, 1)])
def test_each_of_several_hosts_gives_out_its_part(hosts: int, taken: int) -> None:
    limiter = EdgeLimits(hosts=hosts).limiter(RateRule(name="t", per_second=3, burst=12))
    headers = limiter.take("k", at=0.0)
    assert headers["RateLimit-Policy"].startswith(f'"t";q={taken};')
    for _ in range(taken - 1):
        limiter.take("k", at=0.0)
    with pytest.raises(RateLimitExceededError) as rejected:
        limiter.take("k", at=0.0)
    limiter.take("k", at=float(rejected.value.headers["Retry-After"]))


def test_no_hosts_are_rejected() -> None:
    with pytest.raises(ValueError, match="at least 1 host"):
        RateRule(name="t", per_second=1, burst=1, hosts=0)
