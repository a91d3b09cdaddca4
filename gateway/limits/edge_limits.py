"""The limits of one gateway process's edge: every limiter counts in the same buckets.

Owns: how a limiter is made. Must not know what is limited.
"""

from dataclasses import dataclass, replace

from gateway.config import Settings
from gateway.limits.address_limit import UNKNOWN_CALLERS, AddressLimiter, IpNetwork
from gateway.limits.rate_limit import Buckets, RateLimiter, RateRule


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLimits:
    """Makes limiters.

    Args:
        buckets: where they count; None: each in this process alone.
        hosts: how many hosts a balancer spreads requests over; each gives out its part of every rule.
        trusted_proxies: networks whose X-Forwarded-For is believed.
    """

    buckets: Buckets | None = None
    hosts: int = 1
    trusted_proxies: tuple[IpNetwork, ...] = ()

    def limiter(self, rule: RateRule) -> RateLimiter:
        """A limiter by any key."""
        return RateLimiter(self._part(rule), buckets=self.buckets)

    def by_address(self, rule: RateRule = UNKNOWN_CALLERS) -> AddressLimiter:
        """A limiter by the caller's address."""
        return AddressLimiter(self._part(rule), trusted_proxies=self.trusted_proxies, buckets=self.buckets)

    def _part(self, rule: RateRule) -> RateRule:
        return replace(rule, hosts=self.hosts)


def edge_limits(settings: Settings, buckets: Buckets | None) -> EdgeLimits:
    """The limits as the settings have them."""
    return EdgeLimits(
        buckets=buckets, hosts=settings.rate_limit_hosts, trusted_proxies=settings.trusted_proxies
    )
