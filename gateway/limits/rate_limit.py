"""Token buckets: so many requests a second for each API key or address, a burst on top, and what is left.

Owns: the arithmetic, the headers, and buckets in the memory of one process. Must not know who a key belongs
to. `shared_buckets` has buckets that several processes of one host count in together; of several hosts each
gives out its share of a rule.
Source: draft-ietf-httpapi-ratelimit-headers.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.errors import RateLimitExceededError

TOKEN: Final = 1_000_000  # of a bucket's micro-tokens
_MAX_BUCKETS: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRule:
    """`per_second` tokens come back each second, up to `burst`; of `hosts`, each gives out that part."""

    name: str
    per_second: int
    burst: int
    hosts: int = 1

    def __post_init__(self) -> None:
        if self.per_second < 1 or self.burst < 1:
            raise ValueError(f"rate rule {self.name}: expected at least 1 a second and a burst of at least 1")
        if self.hosts < 1:
            raise ValueError(f"rate rule {self.name}: expected at least 1 host")

    @property
    def full(self) -> int:
        """Micro-tokens of a full bucket: one token at least."""
        return max(TOKEN, self.burst * TOKEN // self.hosts)

    @property
    def refill(self) -> int:
        """Micro-tokens that come back each second."""
        return max(1, self.per_second * TOKEN // self.hosts)

    def refilled(self, tokens: int, *, seconds: float) -> int:
        """What a bucket of so many micro-tokens holds that long afterwards."""
        return min(self.full, tokens + int(max(0.0, seconds) * self.refill))


class Buckets(Protocol):
    """Where buckets are kept, by rule and key. Times are monotonic seconds of the host."""

    def look(self, key: str, *, rule: RateRule, at: float) -> int:
        """The micro-tokens of a bucket."""

    def take(self, key: str, *, rule: RateRule, at: float) -> int:
        """The micro-tokens of a bucket, of which one token is taken where there is one."""


class ProcessBuckets:
    """Buckets of this process alone, the least recently used forgotten first."""

    def __init__(self) -> None:
        # micro-tokens, when
        self._buckets: OrderedDict[tuple[RateRule, str], tuple[int, float]] = OrderedDict()

    def look(self, key: str, *, rule: RateRule, at: float) -> int:
        """The micro-tokens of a bucket."""
        tokens, since = self._buckets.get((rule, key), (rule.full, at))
        return rule.refilled(tokens, seconds=at - since)

    def take(self, key: str, *, rule: RateRule, at: float) -> int:
        """The micro-tokens of a bucket, of which one token is taken where there is one."""
        tokens = self.look(key, rule=rule, at=at)
        self._buckets[rule, key] = (tokens - TOKEN if tokens >= TOKEN else tokens, at)
        self._buckets.move_to_end((rule, key))
        while len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return tokens


class RateLimiter:
    """One rule over buckets by key. Times are monotonic seconds.

    Args:
        rule: what each key may send.
        buckets: where they are kept; of this process alone by default.
    """

    def __init__(self, rule: RateRule, *, buckets: Buckets | None = None) -> None:
        self._rule = rule
        self._buckets = ProcessBuckets() if buckets is None else buckets
        quota = rule.full // TOKEN
        self._policy = f'"{rule.name}";q={quota};w={math.ceil(rule.full / rule.refill)}'

    def take(self, key: str, *, at: float) -> Mapping[str, str]:
        """Take one token and return the headers that show what is left.

        Raises:
            RateLimitExceededError: the bucket is empty.
        """
        tokens = self._buckets.take(key, rule=self._rule, at=at)
        self._reject_empty(tokens)
        return self._headers(tokens - TOKEN)

    def count(self, key: str, *, at: float) -> None:
        """Take one token if there is one; the next `check` tells when it was the last."""
        self._buckets.take(key, rule=self._rule, at=at)

    def check(self, key: str, *, at: float) -> None:
        """Look at the bucket without taking from it.

        Raises:
            RateLimitExceededError: the bucket is empty.
        """
        self._reject_empty(self._buckets.look(key, rule=self._rule, at=at))

    def _reject_empty(self, tokens: int) -> None:
        if tokens >= TOKEN:
            return
        rule = self._rule
        wait = math.ceil((TOKEN - tokens) / rule.refill)
        raise RateLimitExceededError(
            f"This {rule.name} may send {rule.per_second} requests a second, {rule.burst} at once.",
            headers={**self._headers(tokens), "Retry-After": str(max(1, wait))},
        )

    def _headers(self, tokens: int) -> dict[str, str]:
        reset = math.ceil((self._rule.full - tokens) / self._rule.refill)
        return {
            "RateLimit-Policy": self._policy,
            "RateLimit": f'"{self._rule.name}";r={tokens // TOKEN};t={reset}',
        }
