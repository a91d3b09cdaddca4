"""Which jobs are named in the record of administrative acts.

Owns: the jobs that write no table whose changes are acts. Must not know: how an act is recorded.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from gateway.acts.act import JobAct, acting
from gateway.task_kinds import TaskKind

# Every session passes through these, and naming the job is a statement of each transaction. They write no
# table whose changes are acts; only a connected account's events may, and their handler names the job.
WRITE_NO_WATCHED_TABLE: Final = frozenset(
    {
        TaskKind.COMPLETE_SESSION.value,
        TaskKind.CAPTURE_SESSION.value,
        TaskKind.CHARGE_RESIDUAL.value,
        TaskKind.CLEAR_SESSION.value,
        TaskKind.BOOK_CORRECTION.value,
        TaskKind.HANDLE_PSP_EVENT.value,
        "driver_documents",
        "event_fan_out",
        "outcome_resolution",
    }
)


def acting_as(job: str) -> AbstractContextManager[None]:
    """Name the job in what it changes of watched tables while the block runs."""
    return nullcontext() if job in WRITE_NO_WATCHED_TABLE else acting(JobAct(name=job))
