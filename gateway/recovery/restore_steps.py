"""What a check after a restore comes to: its steps, and when nothing waits any more. Pure.

Owns: these values and their words. Must not know: how a step is done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreStep:
    """One step: what it did, and what waits for a person or for an answer. `looked_at` in a few words."""

    name: str
    looked_at: str
    done: Sequence[str] = ()
    waits: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """The step as JSON-ready values."""
        return {
            "step": self.name,
            "looked_at": self.looked_at,
            "done": list(self.done),
            "waits": list(self.waits),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """All steps of one run for one point."""

    restored_to: datetime
    steps: Sequence[RestoreStep] = field(default_factory=tuple)

    @property
    def waiting(self) -> int:
        """How much waits for a person or for an answer."""
        return sum(len(step.waits) for step in self.steps)
