"""The limit of those who have not proved who they are, by the address that they call from.

Owns: which address a request comes from, and the bucket of that address. Must not know why a request was
rejected. A caller whose key is known is limited by the key instead and is never held up here, even behind
an address that others misuse. The bucket is looked at before any work is done, the database's included.
"""

import ipaddress
import time
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from gateway.limits.rate_limit import Buckets, RateLimiter, RateRule

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
UNKNOWN_CALLERS: Final = RateRule(name="address", per_second=20, burst=200)
_FORWARDED: Final = "X-Forwarded-For"
# One household or server has a whole /64 (RFC 6177), so counting single IPv6 addresses would count nothing.
_IPV6_PREFIX: Final = 64


class AddressLimiter:
    """Counts rejected requests and requests of public pages by address.

    Args:
        rule: how many of them an address may send.
        trusted_proxies: networks whose X-Forwarded-For is believed; of that header's addresses the last one
            outside these networks counts.
        buckets: where is counted; in this process alone by default.
    """

    def __init__(
        self,
        rule: RateRule = UNKNOWN_CALLERS,
        *,
        trusted_proxies: Sequence[IpNetwork] = (),
        buckets: Buckets | None = None,
    ) -> None:
        self._buckets = RateLimiter(rule, buckets=buckets)
        self._trusted = tuple(trusted_proxies)

    def check(self, request: web.Request) -> None:
        """Raise RateLimitExceededError when the address has used up its share."""
        self._buckets.check(self.address(request), at=time.monotonic())

    def count(self, request: web.Request) -> None:
        """Count a request that was rejected, or answered without a key."""
        self._buckets.count(self.address(request), at=time.monotonic())

    def address(self, request: web.Request) -> str:
        """The caller's address: an IPv4 address, an IPv6 network of 64 bits, or "" on a unix socket."""
        here = self.origin(request)
        if here is None:
            return ""
        if isinstance(here, ipaddress.IPv6Address):
            return str(ipaddress.IPv6Network((here, _IPV6_PREFIX), strict=False))
        return str(here)

    def origin(self, request: web.Request) -> IpAddress | None:
        """The address that the caller has, as far as trusted proxies say; None on a unix socket."""
        here = _parsed(request.remote or "")
        if here is None:
            return None
        for text in reversed(",".join(request.headers.getall(_FORWARDED, ())).split(",")):
            if not any(here.version == network.version and here in network for network in self._trusted):
                break
            named = _parsed(text.strip())
            if named is None:
                break
            here = named
        return here


def _parsed(text: str) -> IpAddress | None:
    try:
        address = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
