"""Token buckets: so many requests a second for each API key, a burst on top, and headers that show the rest.

Owns: the arithmetic and the headers. Must not know who a key belongs to. Each gateway process counts alone,
so the limit of an installation is that of a process times their number.
Source: draft-ietf-httpapi-ratelimit-headers.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.api import problems
from gateway.api.problems import ProblemError

_MAX_BUCKETS: Final = 50_000
_MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRule:
    """`per_second` tokens come back each second, up to `burst`."""

    name: str
    per_second: int
    burst: int

    def __post_init__(self) -> None:
        if self.per_second < 1 or self.burst < 1:
            raise ValueError(f"rate rule {self.name}: expected at least 1 a second and a burst of at least 1")


class RateLimiter:
    """Buckets by key, the least recently used forgotten first. Times are monotonic seconds."""

    def __init__(self, rule: RateRule) -> None:
        self._rule = rule
        self._buckets: OrderedDict[str, tuple[int, float]] = OrderedDict()  # micro-tokens, when
        self._policy = f'"{rule.name}";q={rule.burst};w={math.ceil(rule.burst / rule.per_second)}'

    def take(self, key: str, *, at: float) -> Mapping[str, str]:
        """Take one token and return the headers that show what is left.

        Raises:
            ProblemError: `rate_limited` with Retry-After when the bucket is empty.
        """
        full = self._rule.burst * _MICRO
        tokens, since = self._buckets.pop(key, (full, at))
        tokens = min(full, tokens + int(max(0.0, at - since) * self._rule.per_second * _MICRO))
        allowed = tokens >= _MICRO
        self._buckets[key] = (tokens - _MICRO if allowed else tokens, at)
        while len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if allowed:
            return self._headers(tokens - _MICRO)
        wait = math.ceil((_MICRO - tokens) / (self._rule.per_second * _MICRO))
        raise ProblemError(
            problems.RATE_LIMITED,
            f"This key may send {self._rule.per_second} requests a second, {self._rule.burst} at once.",
            headers={**self._headers(tokens), "Retry-After": str(max(1, wait))},
        )

    def _headers(self, tokens: int) -> dict[str, str]:
        reset = math.ceil((self._rule.burst * _MICRO - tokens) / (self._rule.per_second * _MICRO))
        return {
            "RateLimit-Policy": self._policy,
            "RateLimit": f'"{self._rule.name}";r={tokens // _MICRO};t={reset}',
        }
