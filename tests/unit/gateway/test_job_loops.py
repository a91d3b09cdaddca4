"""How a worker tells failures: a line for each cause, counted after it, and which loops hang."""

import asyncio
import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import aiohttp
import asyncpg
import pytest
from structlog.testing import capture_logs

from gateway.jobs.job_failures import LONGEST_PAUSE_S, JobFailures
from gateway.jobs.job_loops import JobLoops, JobRounds
from gateway.work_signal import WorkSignal
from gateway.worker import run_jobs
from gateway.worker_health import health_server

READ_ONLY = asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction")


def failures() -> JobFailures:
    return JobFailures(chance=random.Random(1))


def events(lines: Sequence[Any]) -> list[str]:
    return [line["event"] for line in lines]


def test_an_outage_of_ten_minutes_is_eleven_lines_without_a_traceback_and_one_for_its_end() -> None:
    monitor = failures()
    with capture_logs() as lines:
        for second in range(601):
            monitor.failed("clearing", ConnectionRefusedError("connection refused"), at=float(second))
        monitor.succeeded("clearing", at=601.0)
    assert events(lines) == ["job_failed", *["job_still_failing"] * 10, "job_recovered"]
    assert [line["failures"] for line in lines[1:]] == [60] * 10 + [601]
    assert lines[0]["reason"] == "ConnectionRefusedError: connection refused"
    assert not any("exc_info" in line for line in lines)
    assert {line["log_level"] for line in lines[:-1]} == {"warning"}


def test_a_defect_is_logged_with_its_traceback_once() -> None:
    monitor = failures()
    with capture_logs() as lines:
        for second in range(3):
            monitor.failed("clearing", ZeroDivisionError("division by zero"), at=float(second))
    assert events(lines) == ["job_failed"]
    assert isinstance(lines[0]["exc_info"], ZeroDivisionError)
    assert lines[0]["log_level"] == "error"


def test_a_new_cause_is_logged_at_once_and_each_job_for_itself() -> None:
    monitor = failures()
    with capture_logs() as lines:
        monitor.failed("clearing", ConnectionRefusedError(), at=0.0)
        monitor.failed("tasks", ConnectionRefusedError(), at=0.0)
        monitor.failed("clearing", READ_ONLY, at=1.0)
        monitor.succeeded("tasks", at=2.0)
        monitor.succeeded("tasks", at=3.0)
    assert [(line["event"], line["job"]) for line in lines] == [
        ("job_failed", "clearing"),
        ("job_failed", "tasks"),
        ("job_failed", "clearing"),
        ("job_recovered", "tasks"),
    ]


def test_pauses_grow_to_ten_seconds_spread_and_begin_anew_after_a_success() -> None:
    monitor = failures()
    with capture_logs():
        pauses = [monitor.failed("clearing", READ_ONLY, at=float(n)) for n in range(40)]
        monitor.succeeded("clearing", at=50.0)
        after = monitor.failed("clearing", READ_ONLY, at=51.0)
    assert 0.5 <= pauses[0] <= 1.0
    assert all(LONGEST_PAUSE_S / 2 <= pause <= LONGEST_PAUSE_S for pause in pauses[4:])
    assert len(set(pauses)) == len(pauses)
    assert after <= 1.0


def test_a_loop_that_does_not_turn_is_named_until_it_ends_its_round_or_its_job() -> None:
    rounds = JobRounds(stalled_after_s=60.0)
    rounds.finish("clearing", at=0.0)
    rounds.finish("tasks", at=50.0)
    assert rounds.stalled(at=59.9) == {}
    assert rounds.stalled(at=70.0) == {"clearing": 70.0}
    rounds.finish("clearing", at=71.0)
    assert rounds.stalled(at=109.0) == {}
    rounds.end("tasks")
    assert rounds.stalled(at=125.0) == {}


class Hanging:
    name = "hanging"

    async def run_once(self) -> int:
        await asyncio.Event().wait()
        return 0


class Failing:
    name = "failing"

    async def run_once(self) -> int:
        raise ConnectionRefusedError


async def health(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status, await response.json()


async def test_a_worker_whose_database_is_away_is_well_and_one_that_hangs_is_not() -> None:
    loops = JobLoops(rounds=JobRounds(stalled_after_s=0.3), failures=failures())
    stop = asyncio.Event()
    async with health_server(loops.rounds, host="127.0.0.1", port=0) as port:
        url = f"http://127.0.0.1:{port}/healthz"
        with capture_logs():
            running = asyncio.create_task(
                run_jobs([Failing(), Hanging()], stop=stop, poll_s=0.01, loops=loops)
            )
            await asyncio.sleep(0.05)
            assert await health(url) == (200, {"status": "ok", "stalled_jobs": {}})
            deadline = asyncio.get_running_loop().time() + 10
            status, shown = await health(url)
            while status == 200 and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.05)
                status, shown = await health(url)
        assert (status, shown["status"]) == (503, "stalled")
        assert "hanging" in shown["stalled_jobs"]
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_without_a_port_a_worker_listens_nowhere() -> None:
    async with health_server(JobRounds(), host="127.0.0.1", port=None) as port:
        assert port is None


class Noting:
    """Notes when its rounds begin; does as much in each as it is given."""

    name = "noting"

    def __init__(self, *, done: int) -> None:
        self.done, self.began = done, list[float]()

    async def run_once(self) -> int:
        self.began.append(asyncio.get_running_loop().time())
        return self.done

    def apart(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.began)]


async def run_for(seconds: float, job: Noting, signal: WorkSignal, **how: Any) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(run_jobs([job], stop=stop, poll_s=0.02, signal=signal, **how))
    ends = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < ends:
        signal.wake()
        await asyncio.sleep(0.005)
    stop.set()
    await running


async def test_a_job_that_others_wake_in_vain_is_woken_ever_less_often() -> None:
    job = Noting(done=0)
    await run_for(1.0, job, WorkSignal())
    assert len(job.began) <= 8
    assert job.apart()[0] < 0.1


async def test_a_gathered_job_begins_its_rounds_apart_and_the_first_at_once() -> None:
    job = Noting(done=1)
    began = asyncio.get_running_loop().time()
    await run_for(0.6, job, WorkSignal(), gathered={"noting": 0.15})
    assert job.began[0] - began < 0.1
    assert len(job.began) >= 3
    assert min(job.apart()) >= 0.149
