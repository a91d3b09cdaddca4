"""How often a job runs, where a round costs more than the worker's own pause is worth."""

import time
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Throttle:
    """Says whether it is time again, at most once every `every_s` seconds; 0 is always."""

    every_s: float = 0.0
    next_at: float = 0.0

    def is_time(self) -> bool:
        """Whether `every_s` have passed since this last said yes."""
        now = time.monotonic()
        if now < self.next_at:
            return False
        self.next_at = now + self.every_s
        return True
