"""Token buckets: so many requests a second for each API key or address, a burst on top, and what is left.

Owns: the arithmetic and the headers. Must not know who a key belongs to. Each gateway process counts alone,
so the limit of an installation is that of a process times their number.
Source: draft-ietf-httpapi-ratelimit-headers.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.errors import RateLimitExceededError

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
            RateLimitExceededError: the bucket is empty.
        """
        tokens = self._refilled(key, at=at)
        self._keep(key, tokens=tokens - _MICRO if tokens >= _MICRO else tokens, at=at)
        self._reject_empty(tokens)
        return self._headers(tokens - _MICRO)

    def count(self, key: str, *, at: float) -> None:
        """Take one token if there is one; the next `check` tells when it was the last."""
        self._keep(key, tokens=max(0, self._refilled(key, at=at) - _MICRO), at=at)

    def check(self, key: str, *, at: float) -> None:
        """Look at the bucket without taking from it.

        Raises:
            RateLimitExceededError: the bucket is empty.
        """
        if key in self._buckets:
            self._reject_empty(self._refilled(key, at=at))

    def _refilled(self, key: str, *, at: float) -> int:
        full = self._rule.burst * _MICRO
        tokens, since = self._buckets.get(key, (full, at))
        return min(full, tokens + int(max(0.0, at - since) * self._rule.per_second * _MICRO))

    def _keep(self, key: str, *, tokens: int, at: float) -> None:
        self._buckets[key] = (tokens, at)
        self._buckets.move_to_end(key)
        while len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)

    def _reject_empty(self, tokens: int) -> None:
        if tokens >= _MICRO:
            return
        wait = math.ceil((_MICRO - tokens) / (self._rule.per_second * _MICRO))
        raise RateLimitExceededError(
            f"This {self._rule.name} may send {self._rule.per_second} requests a second,"
            f" {self._rule.burst} at once.",
            headers={**self._headers(tokens), "Retry-After": str(max(1, wait))},
        )

    def _headers(self, tokens: int) -> dict[str, str]:
        reset = math.ceil((self._rule.burst * _MICRO - tokens) / (self._rule.per_second * _MICRO))
        return {
            "RateLimit-Policy": self._policy,
            "RateLimit": f'"{self._rule.name}";r={tokens // _MICRO};t={reset}',
        }
