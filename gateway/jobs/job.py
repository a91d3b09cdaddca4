"""What a job is: one kind of work that a worker repeats.

Owns: the protocol that every job of this package fulfils. Must not know: when or how often a worker runs it.
"""

from typing import Protocol


class Job(Protocol):
    """A kind of work that is repeated, safe in any number of processes at once."""

    @property
    def name(self) -> str:
        """The job's name in the logs."""
        ...

    async def run_once(self) -> int:
        """Do what is due, bounded. Returns how much was done; 0 lets the job rest."""
        ...
