"""Who is calling: API keys made, presented, checked, rotated.

Owns: the form of a key, its check in constant time, scopes, and a short-lived cache. Must not know which path
needs which scope. A key is `nck_` + 12 characters that find it + `_` + 43 that prove it (256 random bits, of
which only the SHA-256 is stored; a slow hash would add nothing to 256 bits).
"""

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.http import problems
from gateway.http.problems import ProblemError
from gateway.store import parties

_PREFIX_CHARACTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_PREFIX_LENGTH: Final = 12
_SECRET_BYTES: Final = 32
_TOKEN: Final = re.compile(r"(nck_[a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_CACHE_SECONDS: Final = 5.0
_CACHE_ENTRIES: Final = 10_000
FIRST_KEY: Final = "admin"  # what the installation's own key is called
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="networkcore"'}


class Scope(StrEnum):
    """What a key may be used for."""

    CAPTURE = "capture"
    PLUG_AND_CHARGE = "plug_and_charge"
    SETTLEMENT_READ = "settlement:read"
    SETTLEMENT_WRITE = "settlement:write"
    WEBHOOKS = "webhooks"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An authenticated caller. `key` names the key in logs and rate limits; it proves nothing."""

    party_id: str
    key: str
    scopes: frozenset[str]

    @property
    def admin(self) -> bool:
        """Whether the caller sees every party's objects."""
        return Scope.ADMIN in self.scopes

    def may(self, scope: Scope) -> bool:
        """Whether the caller has the scope; admin has all of them."""
        return self.admin or scope in self.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedKey:
    """A fresh key: `token` is shown once, `secret_hash` is stored."""

    token: str = field(repr=False)
    prefix: str
    secret_hash: bytes


def mint() -> MintedKey:
    """A new API key from the system's randomness."""
    prefix = "nck_" + "".join(secrets.choice(_PREFIX_CHARACTERS) for _ in range(_PREFIX_LENGTH))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return MintedKey(token=f"{prefix}_{secret}", prefix=prefix, secret_hash=_digest(secret))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def unauthenticated(detail: str) -> ProblemError:
    """The answer to a missing or wrong key; it never says which part was wrong."""
    return ProblemError(problems.UNAUTHENTICATED, detail, headers=_CHALLENGE)


class KeyRing:
    """Checks presented keys against the database through a cache of a few seconds.

    A revoked key stops at once in this process and within `_CACHE_SECONDS` in the others.
    """

    def __init__(self, *, pool: Pool, clock: Clock, admin_api_key: str | None = None) -> None:
        """`admin_api_key` is the platform's first key, from the settings; any text of enough length."""
        self._pool = pool
        self._clock = clock
        self._admin_hash = None if admin_api_key is None else _digest(admin_api_key)
        self._cache: OrderedDict[str, tuple[datetime, parties.KeyCheck]] = OrderedDict()

    async def authenticate(self, header: str | None, *, certificate: bytes | None = None) -> Caller:
        """The caller that an Authorization header proves.

        `certificate` is the SHA-256 of the client certificate that the connection has proved: a party that
        has bound certificates is known only with one of them.

        Raises:
            ProblemError: `unauthenticated`, for every reason alike.
        """
        if header is None:
            raise unauthenticated("The Authorization header is missing; expected `Bearer nck_...`.")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthenticated("The Authorization header is not `Bearer nck_...`.")
        if self._admin_hash is not None and hmac.compare_digest(_digest(token), self._admin_hash):
            return Caller(party_id=parties.PLATFORM_ID, key=FIRST_KEY, scopes=frozenset({Scope.ADMIN}))
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            raise unauthenticated("The API key is not valid.")
        return await self._check(prefix=parts[1], secret=parts[2], certificate=certificate)

    async def _check(self, *, prefix: str, secret: str, certificate: bytes | None) -> Caller:
        now = self._clock.wall_now()
        known = await self._lookup(prefix, now=now)
        expected = known.secret_hash if known is not None else bytes(_SECRET_BYTES)
        proven = hmac.compare_digest(_digest(secret), expected)
        if known is None or not proven or known.revoked_at is not None:
            raise unauthenticated("The API key is not valid.")
        if known.expires_at is not None and known.expires_at <= now:
            raise unauthenticated("The API key has expired.")
        if known.certificates and certificate not in known.certificates:
            raise unauthenticated("This key works only over TLS with its party's client certificate.")
        return Caller(party_id=known.party_id, key=prefix, scopes=known.scopes)

    async def _lookup(self, prefix: str, *, now: datetime) -> parties.KeyCheck | None:
        cached = self._cache.get(prefix)
        if cached is not None and cached[0] > now:
            return cached[1]
        async with self._pool.acquire() as connection:
            known = await parties.key_by_prefix(connection, prefix)
        if known is None:
            self._cache.pop(prefix, None)
            return None
        self._cache[prefix] = (now + timedelta(seconds=_CACHE_SECONDS), known)
        self._cache.move_to_end(prefix)
        while len(self._cache) > _CACHE_ENTRIES:
            self._cache.popitem(last=False)
        return known

    def forget(self, prefix: str) -> None:
        """Drop a key from the cache after it was revoked or given an end."""
        self._cache.pop(prefix, None)


async def create_key(
    connection: Connection,
    *,
    key_id: UUID,
    party_id: str,
    scopes: Iterable[str],
    now: datetime,
) -> MintedKey:
    """Make and store a key for a party; the token is in the answer and nowhere else."""
    minted = mint()
    await parties.add_api_key(
        connection,
        parties.NewApiKey(
            id=key_id,
            party_id=party_id,
            prefix=minted.prefix,
            secret_hash=minted.secret_hash,
            scopes=sorted(set(scopes)),
            created_at=now,
        ),
    )
    return minted
