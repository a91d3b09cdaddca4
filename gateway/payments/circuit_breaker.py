"""A circuit breaker before the PSP: when it does not answer, no request is sent for a while.

Owns: when the circuit is open. Must not know: what is called. While it is open a call is answered at once as
`PspOutcomeUnknown`: nothing fails, the intent stays and is sent later, and nobody waits for a timeout.
"""

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class CircuitBreaker:
    """Opens after `threshold` calls without an answer; then one call may pass every `rest_s` seconds."""

    threshold: int = 20
    rest_s: float = 5.0
    _failures: int = field(default=0)
    _try_at_s: float = field(default=0.0)

    @property
    def is_open(self) -> bool:
        """Whether so many calls in a row had no answer that calls are held back."""
        return self._failures >= self.threshold

    def allows(self, now_s: float) -> bool:
        """Whether a call may be made at `now_s`, seconds of a monotonic clock; now and then one may."""
        if self._failures < self.threshold:
            return True
        if now_s < self._try_at_s:
            return False
        self._try_at_s = now_s + self.rest_s
        return True

    def answered(self) -> None:
        """The PSP said something, if only no."""
        self._failures = 0

    def silent(self, now_s: float) -> None:
        """The PSP said nothing."""
        self._failures += 1
        if self._failures == self.threshold:
            self._try_at_s = now_s + self.rest_s
