"""Who is calling: the check of an API key.

Owns: the check of a presented key in constant time, and a short-lived cache. Must not know which path needs
which scope, or how a key is made. Requests with unknown keys share few connections to the database.
"""

import asyncio
import hmac
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.clock import Clock
from gateway.database import Pool
from gateway.limits.address_limit import IpAddress, IpNetwork
from gateway.partners import party_repository
from gateway.partners.api_key_service import FIRST_KEY, SECRET_BYTES, secret_hash
from gateway.scopes import ALL_SCOPES, Scope, named

_TOKEN: Final = re.compile(r"(nck_[a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_CACHE_SECONDS: Final = 5.0
_CACHE_ENTRIES: Final = 10_000
# Keys that this process has not seen are looked up by so many at once: the rest of the pool is for callers.
_LOOKUPS_AT_ONCE: Final = 4
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="networkcore"'}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An authenticated caller. `key` names the key in logs and rate limits; it proves nothing.

    `principal` is whose the key is: the one that four-eyes approval and the record of acts name.
    """

    party_id: str
    key: str
    scopes: frozenset[Scope]
    principal: str = ""
    api_version: str | None = None  # the pin of the key; None: the newest

    @property
    def admin(self) -> bool:
        """Whether the caller acts for the platform, and so reaches every party's objects."""
        return self.party_id == party_repository.PLATFORM_ID

    def may(self, scope: Scope) -> bool:
        """Whether the caller has the scope."""
        return scope in self.scopes

    def need(self, scopes: frozenset[Scope]) -> None:
        """Let the caller pass who has one of the scopes. Raises ProblemError `missing_scope` for others."""
        if not any(self.may(scope) for scope in scopes):
            raise ProblemError(problems.MISSING_SCOPE, f"This path needs the scope {named(scopes)}.")


def unauthenticated(detail: str) -> ProblemError:
    """The answer to a missing or invalid key; it never reveals which part was wrong."""
    return ProblemError(problems.UNAUTHENTICATED, detail, headers=_CHALLENGE)


class KeyRing:
    """Checks presented keys against the database through a cache of a few seconds.

    A revoked key stops at once in this process and within `_CACHE_SECONDS` in the others.
    """

    def __init__(self, *, pool: Pool, clock: Clock, admin_api_key: str | None = None) -> None:
        """`admin_api_key` is the platform's first key, from the settings; any text of enough length."""
        self._pool = pool
        self._clock = clock
        self._admin_hash = None if admin_api_key is None else secret_hash(admin_api_key)
        self._cache: OrderedDict[str, tuple[datetime, party_repository.KeyCheck | None]] = OrderedDict()
        self._lookups = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        self._used: dict[str, datetime] = {}

    async def authenticate(
        self, header: str | None, *, certificate: bytes | None = None, address: IpAddress | None = None
    ) -> Caller:
        """The caller that an Authorization header proves.

        `certificate` is the SHA-256 of the client certificate that the connection has proved: a party that
        has bound certificates is known only with one of them. `address` is where the request comes from; a
        key with address ranges works from these alone.

        Raises:
            ProblemError: `unauthenticated`, for every reason alike.
        """
        token = _bearer_token(header)
        if self._is_first_key(token):
            return Caller(
                party_id=party_repository.PLATFORM_ID,
                key=FIRST_KEY,
                scopes=ALL_SCOPES,
                principal=FIRST_KEY,
            )
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            raise unauthenticated("The API key is not valid.")
        caller = await self._check(prefix=parts[1], secret=parts[2], certificate=certificate, address=address)
        self._used[parts[1]] = self._clock.wall_now()
        return caller

    def take_used(self) -> dict[str, datetime]:
        """When each key was last used since this was asked before, by prefix; wall time."""
        used, self._used = self._used, {}
        return used

    def recognizes(self, header: str | None) -> bool:
        """Whether the header carries a key that this process has seen to be right, however long ago.

        It says who need not be held up as unknown, not who may do anything: the key may have ended since.
        """
        try:
            token = _bearer_token(header)
        except ProblemError:
            return False
        if self._is_first_key(token):
            return True
        parts = _TOKEN.fullmatch(token)
        _, known = self._cache.get(parts[1], (None, None)) if parts is not None else (None, None)
        return (
            parts is not None
            and known is not None
            and known.revoked_at is None
            and hmac.compare_digest(secret_hash(parts[2]), known.secret_hash)
        )

    def _is_first_key(self, token: str) -> bool:
        return self._admin_hash is not None and hmac.compare_digest(secret_hash(token), self._admin_hash)

    async def _check(
        self, *, prefix: str, secret: str, certificate: bytes | None, address: IpAddress | None
    ) -> Caller:
        now = self._clock.wall_now()
        known = await self._lookup(prefix, now=now)
        expected = known.secret_hash if known is not None else bytes(SECRET_BYTES)
        proven = hmac.compare_digest(secret_hash(secret), expected)
        if known is None or not proven or known.revoked_at is not None:
            raise unauthenticated("The API key is not valid.")
        if known.expires_at is not None and known.expires_at <= now:
            raise unauthenticated("The API key has expired.")
        if known.certificates and certificate not in known.certificates:
            raise unauthenticated("This key works only over TLS with its party's client certificate.")
        if known.networks and not _within(address, known.networks):
            raise unauthenticated("This key does not work from this address.")
        return Caller(
            party_id=known.party_id,
            key=prefix,
            scopes=known.held_scopes,
            principal=known.principal,
            api_version=known.api_version,
        )

    async def _lookup(self, prefix: str, *, now: datetime) -> party_repository.KeyCheck | None:
        cached = self._cache.get(prefix)
        if cached is not None and cached[0] > now:
            return cached[1]
        if cached is not None and cached[1] is not None:
            return await self._read(prefix, now=now)
        async with self._lookups:
            cached = self._cache.get(prefix)  # another request with this key may have read it meanwhile
            if cached is not None and cached[0] > now:
                return cached[1]
            return await self._read(prefix, now=now)

    async def _read(self, prefix: str, *, now: datetime) -> party_repository.KeyCheck | None:
        async with self._pool.acquire() as connection:
            known = await party_repository.find_key_by_prefix(connection, prefix)
        self._cache[prefix] = (now + timedelta(seconds=_CACHE_SECONDS), known)
        self._cache.move_to_end(prefix, last=known is not None)  # unknown keys are the first to be forgotten
        while len(self._cache) > _CACHE_ENTRIES:
            self._cache.popitem(last=False)
        return known

    def forget(self, prefix: str) -> None:
        """Drop a key from the cache after it was revoked or set to expire."""
        self._cache.pop(prefix, None)


def _within(address: IpAddress | None, networks: Sequence[IpNetwork]) -> bool:
    """Whether an address is in one of the networks; a unix socket's caller has none and is in none."""
    return address is not None and any(
        address.version == network.version and address in network for network in networks
    )


def _bearer_token(header: str | None) -> str:
    if header is None:
        raise unauthenticated("The Authorization header is missing; expected `Bearer nck_...`.")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise unauthenticated("The Authorization header is not `Bearer nck_...`.")
    return token
