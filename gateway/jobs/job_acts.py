"""Who acts in a job's rounds: the job itself, by its name.

Owns: which jobs need no name. Must not know what a job does.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from gateway.acts.act import JobAct, acting
from gateway.task_kinds import TaskKind

# Every session passes through these, and naming the job is a statement of each transaction. They write no
# table whose changes are acts; only a connected account's events may, and their handler names the job.
WRITE_NO_WATCHED_TABLE: Final = frozenset(
    {
        TaskKind.COMPLETE_SESSION,
        TaskKind.CAPTURE_SESSION,
        TaskKind.CHARGE_RESIDUAL,
        TaskKind.CLEAR_SESSION,
        TaskKind.BOOK_CORRECTION,
        TaskKind.HANDLE_PSP_EVENT,
        "event_fan_out",
        "outcome_resolution",
    }
)


def named(job: str) -> AbstractContextManager[None]:
    """Every transaction within the block names the job to the record of acts."""
    return nullcontext() if job in WRITE_NO_WATCHED_TABLE else acting(JobAct(name=job))
