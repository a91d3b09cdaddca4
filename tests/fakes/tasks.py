"""The worker's jobs of single tasks, as the application wires them."""

from typing import Any, cast

from gateway.clock import Clock
from gateway.database import Pool
from gateway.jobs.task_handlers import TaskHandlers, task_jobs
from gateway.jobs.task_runner import TaskJob
from gateway.payments.ledger_corrections import LedgerCorrections
from gateway.task_kinds import TaskKind


def jobs_by_kind(
    pool: Pool,
    clock: Clock,
    *,
    payments: Any = None,
    sessions: Any = None,
    cdrs: Any = None,
    accounts: Any = None,
) -> dict[TaskKind, TaskJob]:
    """One job per kind of task, over the services that a test needs."""
    handlers = TaskHandlers(
        pool=pool,
        payments=payments,
        cdrs=cast("Any", cdrs),
        corrections=LedgerCorrections(clock=clock, sessions=sessions),
        accounts=cast("Any", accounts),
    )
    jobs = task_jobs(handlers, pool=pool, clock=clock, lease_s=60, parallel_shards=4)
    return {job.task_kind: job for job in jobs}


def correction_job(pool: Pool, clock: Clock, sessions: Any) -> TaskJob:
    """The job that posts refunds and disputes to clearing's `sessions`."""
    return jobs_by_kind(pool, clock, sessions=sessions)[TaskKind.BOOK_CORRECTION]
