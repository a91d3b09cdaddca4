"""API keys of parties: made, rotated with an overlap, revoked, and whose each of them is.

Owns: the form of a key, its random parts, and the transaction in which it is stored. Must not know HTTP, or
which path needs which scope. A key is `nck_` + 12 characters that find it + `_` + 43 that prove it (256
random bits, of which only the SHA-256 is stored; a slow hash would add nothing to 256 bits).
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

import asyncpg

from gateway.api_versions import NEWEST
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.limits.address_limit import IpNetwork
from gateway.partners import party_repository, principal_repository
from gateway.partners.errors import (
    KeyExpiryPastError,
    PartnerRecordExistsError,
    ScopesNotGrantableError,
    UnknownPartnerRecordError,
)
from gateway.partners.party_repository import ApiKeyRecord
from gateway.scopes import Scope, named, not_grantable

SECRET_BYTES: Final = 32
FIRST_KEY: Final = "admin"  # the name of the installation's own key
_PREFIX_CHARACTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"
_PREFIX_LENGTH: Final = 12


class KeyCache(Protocol):
    """What remembers keys for a few seconds: the API's key ring."""

    def forget(self, prefix: str) -> None:
        """Drop a key that was revoked or that now expires."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedKey:
    """A fresh key: `token` is shown once, `secret_hash` is stored."""

    token: str = field(repr=False)
    prefix: str
    secret_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedKey:
    """A stored key with its token, which nothing shows again."""

    record: ApiKeyRecord
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """Until when a key works, in wall time, and from which networks; None and none: without a limit."""

    expires_at: datetime | None = None
    networks: Sequence[IpNetwork] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMaker:
    """Who asks for a key: the API key that asks, and what it may itself do."""

    key: str
    scopes: frozenset[Scope]


NO_LIMITS: Final = KeyLimits()


def mint() -> MintedKey:
    """A new API key from the system's randomness."""
    prefix = "nck_" + "".join(secrets.choice(_PREFIX_CHARACTERS) for _ in range(_PREFIX_LENGTH))
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return MintedKey(token=f"{prefix}_{secret}", prefix=prefix, secret_hash=secret_hash(secret))


def secret_hash(secret: str) -> bytes:
    """The SHA-256 under which a key's secret is stored and checked."""
    return hashlib.sha256(secret.encode()).digest()


async def create_key(
    connection: Connection,
    *,
    key_id: UUID,
    party_id: str,
    scopes: Iterable[str],
    now: datetime,
    limits: KeyLimits = NO_LIMITS,
    api_version: str = NEWEST,
) -> MintedKey:
    """Make and store a key for a party; the token is in the result and nowhere else."""
    minted = mint()
    await party_repository.add_api_key(
        connection,
        party_repository.NewApiKey(
            id=key_id,
            party_id=party_id,
            prefix=minted.prefix,
            secret_hash=minted.secret_hash,
            scopes=sorted(set(scopes)),
            created_at=now,
            expires_at=limits.expires_at,
            networks=limits.networks,
            api_version=api_version,
        ),
    )
    return minted


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyService:
    """Raises `gateway.partners.errors.PartnerError`. Times are wall time: keys end by it."""

    pool: Pool
    clock: Clock
    cache: KeyCache

    async def create(
        self,
        *,
        key_id: UUID,
        party_id: str,
        scopes: Iterable[str],
        maker: KeyMaker,
        limits: KeyLimits = NO_LIMITS,
        api_version: str = NEWEST,
    ) -> CreatedKey:
        """Create a key; its requests are of `api_version` unless they name another.

        Raises:
            UnknownPartnerRecordError: there is no such party.
            PartnerRecordExistsError: this request created a key before, whose token is gone.
            ScopesNotGrantableError: the maker lacks a scope, or it is the platform's and the party is not.
            KeyExpiryPastError: the key would end before it begins.
        """
        if limits.expires_at is not None and limits.expires_at <= self.clock.wall_now():
            raise KeyExpiryPastError("A key ends after it is made; give a later time as expires")
        async with transaction(self.pool) as connection:
            return await self._create(
                connection,
                key_id,
                party_id=party_id,
                scopes=scopes,
                maker=maker,
                limits=limits,
                api_version=api_version,
            )

    async def rotate(
        self, *, new_key_id: UUID, party_id: str, key_id: UUID, overlap: timedelta, maker: KeyMaker
    ) -> CreatedKey:
        """Create a key with the scopes and limits of another, which ends after the overlap.

        Raises:
            UnknownPartnerRecordError: the party has no such live key.
            ScopesNotGrantableError: the maker lacks one of the key's scopes.
        """
        now = self.clock.wall_now()
        async with transaction(self.pool) as connection:
            old = await party_repository.find_api_key(connection, party_id=party_id, key_id=key_id)
            ended = await party_repository.expire_api_key(
                connection, party_id=party_id, key_id=key_id, expires_at=now + overlap
            )
            if old is None or ended is None or (old.expires_at is not None and old.expires_at <= now):
                raise UnknownPartnerRecordError("The party has no such live key")
            created = await self._create(
                connection,
                new_key_id,
                party_id=party_id,
                scopes=old.scopes,
                maker=maker,
                limits=KeyLimits(expires_at=old.expires_at, networks=old.networks),
                api_version=old.api_version,
                replaces=old.prefix,
            )
        self.cache.forget(old.prefix)
        return created

    async def pin(self, *, party_id: str, key_id: UUID, api_version: str) -> ApiKeyRecord:
        """Give a key another version of the API, within seconds. Raises UnknownPartnerRecordError."""
        async with transaction(self.pool) as connection:
            prefix = await party_repository.pin_api_key(
                connection, party_id=party_id, key_id=key_id, api_version=api_version
            )
            record = await party_repository.find_api_key(connection, party_id=party_id, key_id=key_id)
        if prefix is None or record is None:
            raise UnknownPartnerRecordError("The party has no such live key")
        self.cache.forget(prefix)
        return record

    async def revoke(self, *, party_id: str, key_id: UUID) -> None:
        """End a key now. Raises UnknownPartnerRecordError."""
        async with transaction(self.pool) as connection:
            prefix = await party_repository.revoke_api_key(
                connection, party_id=party_id, key_id=key_id, revoked_at=self.clock.wall_now()
            )
        if prefix is None:
            raise UnknownPartnerRecordError("The party has no such key")
        self.cache.forget(prefix)

    async def list(self, *, party_id: str) -> Sequence[ApiKeyRecord]:
        """A party's keys without their secrets, oldest first."""
        async with self.pool.acquire() as connection:
            return await party_repository.list_api_keys(connection, party_id=party_id)

    async def note_used(self, used: Mapping[str, datetime]) -> None:
        """Store when keys were last used, by prefix; wall time."""
        async with transaction(self.pool) as connection:
            await party_repository.note_used_keys(connection, used)

    async def find_principal(self, connection: Connection, key: str) -> str:
        """Whose a key is, for the record and for four-eyes approval."""
        return await principal_repository.find_principal(connection, key)

    async def _create(
        self,
        connection: Connection,
        key_id: UUID,
        *,
        party_id: str,
        scopes: Iterable[str],
        maker: KeyMaker,
        limits: KeyLimits,
        api_version: str,
        replaces: str | None = None,
    ) -> CreatedKey:
        """`replaces` is the prefix of the key that the new one takes the place of."""
        now, names = self.clock.wall_now(), sorted(set(scopes))
        granted = await party_repository.resolve_scopes(connection, names)
        if refused := not_grantable(granted, party_id=party_id, maker=maker.scopes):
            raise ScopesNotGrantableError(
                f"This key can't give {party_id} the scope {named(refused)}: it lacks it, or only the "
                "platform's keys may have it"
            )
        try:
            minted = await create_key(
                connection,
                key_id=key_id,
                party_id=party_id,
                scopes=names,
                now=now,
                limits=limits,
                api_version=api_version,
            )
        except asyncpg.ForeignKeyViolationError:
            raise UnknownPartnerRecordError(f"There is no party {party_id}") from None
        except asyncpg.UniqueViolationError:
            # The request came before and its answer, with the only copy of the token, is gone.
            raise PartnerRecordExistsError(
                "This request created a key before; send it with a new Idempotency-Key to create another one"
            ) from None
        await _set_principal(connection, minted.prefix, key=maker.key, replaces=replaces)
        record = await party_repository.find_api_key(connection, party_id=party_id, key_id=key_id)
        if record is None:
            raise UnknownPartnerRecordError("The party has no such key")
        return CreatedKey(record=record, token=minted.token)


async def _set_principal(connection: Connection, prefix: str, *, key: str, replaces: str | None) -> None:
    """Record whose the key is for four-eyes approval: whoever made it has seen it, so it is theirs.

    The installation's first key makes keys for others: each of these has a principal of its own, which it
    keeps when it is rotated.
    """
    if key != FIRST_KEY:
        maker = await principal_repository.find_principal(connection, key)
        await principal_repository.set_principal(connection, prefix, principal=maker)
    elif replaces is not None:
        holder = await principal_repository.find_principal(connection, replaces)
        await principal_repository.set_principal(connection, prefix, principal=holder)
