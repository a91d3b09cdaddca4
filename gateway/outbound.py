"""Calls to addresses that others gave us: webhook receivers, OCPI peers, OCSP responders.

Owns the guard against server-side request forgery and the limits of every such call: scheme, class of the
address at the moment of connecting (so a name that resolves differently later changes nothing), no
redirects, timeouts, bounded bodies. Must not know what is sent or to whom.
"""

import errno
import ipaddress
import socket
from types import SimpleNamespace
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.connector import AddrInfoType
from typing_extensions import override

from gateway.errors import GatewayError

MAX_ANSWER_BYTES: Final = 8 * 2**20
MAX_URL_LENGTH: Final = 2048
_TOTAL_SECONDS: Final = 15.0
_CONNECT_SECONDS: Final = 5.0
_CONNECTIONS: Final = 200
_CONNECTIONS_PER_HOST: Final = 10
_CHUNK_BYTES: Final = 65_536
_MAX_PORT: Final = 65_535
# Prefixes that carry an IPv4 address inside: what counts is where the packet ends.
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Special ranges that Python's `is_global` calls public (IANA special-purpose address registries).
_SPECIAL: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # IETF protocol assignments (RFC 6890)
        "192.88.99.0/24",  # deprecated 6to4 relay anycast (RFC 7526)
        "192.31.196.0/24",  # AS112 (RFC 7535)
        "192.52.193.0/24",  # AMT (RFC 7450)
        "192.175.48.0/24",  # direct delegation AS112 (RFC 7534)
        "64:ff9b:1::/48",  # local-use NAT64 (RFC 8215)
        "100:0:0:1::/64",  # dummy prefix (RFC 9780)
        "2001::/23",  # IETF protocol assignments (RFC 2928), ORCHID and Teredo among them
        "2620:4f:8000::/48",  # direct delegation AS112 (RFC 7534)
        "3fff::/20",  # documentation (RFC 9637)
        "5f00::/16",  # segment routing SIDs (RFC 9602)
    )
)
# Unicast that is assigned to the public internet (IANA IPv6 address space): all else is none of ours to call.
_IPV6_UNICAST: Final = ipaddress.IPv6Network("2000::/3")


class ForbiddenAddressError(GatewayError, OSError):
    """The address given to us is not one we call.

    A private network, this machine, or no plain web address.
    """

    def __init__(self, text: str) -> None:
        super().__init__(errno.EACCES, text)  # what aiohttp shows of a connection that was rejected

    @override
    def __str__(self) -> str:
        return str(self.strerror)


class RedirectRejectedError(GatewayError):
    """The other side sent us elsewhere; we call only the address we were given."""


class AnswerTooLargeError(GatewayError):
    """The answer is longer than the limit; what was read is thrown away."""


def check_url(url: str, *, allow_private: bool) -> str:
    """Return `url` when it may be called at all; its name is resolved and judged again at each connection.

    Args:
        url: absolute; https, or http as well where `allow_private`.
        allow_private: addresses of this machine and of private networks pass (sandbox, tests).

    Raises:
        ForbiddenAddressError: another scheme, user information, no host, a fragment, or a literal address
            that is not public.
    """
    if len(url) > MAX_URL_LENGTH or any(character <= " " for character in url):
        raise ForbiddenAddressError(f"expected a URL of at most {MAX_URL_LENGTH} characters without spaces")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise ForbiddenAddressError(f"not a URL: {error}") from None
    schemes = {"https", "http"} if allow_private else {"https"}
    if parts.scheme not in schemes:
        raise ForbiddenAddressError(
            f"expected {' or '.join(sorted(schemes))}, got {parts.scheme or 'no'} scheme"
        )
    if not host or parts.fragment or parts.username is not None or parts.password is not None:
        raise ForbiddenAddressError("expected a URL with a host, without user information and fragment")
    if port == 0:
        raise ForbiddenAddressError(f"expected a port from 1 to {_MAX_PORT}")
    if not allow_private:
        _check_literal(host)
    return url


def _check_literal(host: str) -> None:
    try:
        address = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        # Some resolvers read '127.1', '0x7f000001' or '2130706433' as IPv4;
        # no public name ends in a number (RFC 3696).
        last = host.rstrip(".").rsplit(".", 1)[-1].lower()
        if last == "localhost" or last.isdigit() or last.startswith("0x"):
            raise ForbiddenAddressError(f"{host} is not a public host name") from None
        return
    if not is_public(address):
        raise ForbiddenAddressError(f"{host} is not a public address")


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether packets to `address` leave for the public internet, looking through IPv4 embedded in IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None:
            return is_public(address.sixtofour)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if address not in _IPV6_UNICAST:
            return False
    if any(address.version == network.version and address in network for network in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def session(
    allow_private: bool,  # noqa: FBT001 - the one choice there is; named at most calls
    *,
    total_seconds: float = _TOTAL_SECONDS,
    resolver: AbstractResolver | None = None,
    connections: int = _CONNECTIONS,
    connections_per_host: int = _CONNECTIONS_PER_HOST,
) -> aiohttp.ClientSession:
    """Return a client session that connects to public addresses only; close it when done.

    Every connection's real address is judged as it is opened, whatever name led to it. A followed redirect
    raises
    RedirectRejectedError; a rejected address surfaces as aiohttp.ClientConnectorError whose cause is
    ForbiddenAddressError.
    Proxy settings of the environment and cookies are not used.
    """
    connector = aiohttp.TCPConnector(
        limit=connections,
        limit_per_host=connections_per_host,
        resolver=resolver,
        socket_factory=None if allow_private else _open_public,
    )
    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(_reject_redirect)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=total_seconds, connect=_CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[tracing],
        trust_env=False,
        headers={"User-Agent": "networkcore"},
    )


def _open_public(info: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, address = info
    if not is_public(ipaddress.ip_address(str(address[0]).split("%", 1)[0])):
        raise ForbiddenAddressError(f"{address[0]} is not a public address")
    return socket.socket(family=family, type=kind, proto=protocol)


async def _reject_redirect(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    raise RedirectRejectedError(
        f"{redirect.url.host} answered with a redirect, which is not followed; give the final address"
    )


async def read_bounded(response: aiohttp.ClientResponse, *, limit: int = MAX_ANSWER_BYTES) -> bytes:
    """Return the whole body, decompressed, of at most `limit` bytes.

    Raises:
        AnswerTooLargeError: it is longer; the connection is closed.
        aiohttp.ClientError: the connection broke.
    """
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(_CHUNK_BYTES):
        size += len(part)
        if size > limit:
            response.close()
            raise AnswerTooLargeError(f"{response.url.host} answered with more than {limit} bytes")
        parts.append(part)
    return b"".join(parts)
