"""Signing in and out: a one-time link or an OpenID provider's word becomes a session in the database.

Owns: when a session begins, lasts and ends, and that every sign-in gives a new one. Must not know HTTP,
cookies, or how a provider is called (`OpenIdProvider`).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import new_id
from gateway.people import repository
from gateway.people.errors import SignInRejectedError
from gateway.people.person import (
    ATTEMPT_LIFETIME,
    KEPT,
    PersonActRecord,
    PersonRecord,
    SessionLimits,
    SignedIn,
    new_token,
    token_hash,
)

_CREATED: Final = 201
_NO_CONTENT: Final = 204
# A session that is in use writes its row this often at most: not with every page.
_TOUCH_AFTER: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdIdentity:
    """Whom a provider has proved: its name for the person, and the address that it has verified."""

    issuer: str
    subject: str
    email: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdStart:
    """Where the browser goes to sign in, and the secret that it keeps in a cookie until it returns."""

    address: str
    browser: str


class OpenIdProvider(Protocol):
    """An OpenID provider: authorization code flow with PKCE."""

    name: str

    async def authorization_address(self, *, state: str, nonce: str, code_verifier: str) -> str:
        """Where a browser signs in. Raises SignInRejectedError when the provider can't be read."""
        ...

    async def identify(self, *, code: str, code_verifier: str, nonce: str) -> OpenIdIdentity:
        """Whom the code proves. Raises SignInRejectedError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInService:
    """Raises SignInRejectedError. Times are wall time."""

    pool: Pool
    clock: Clock
    limits: SessionLimits
    provider: OpenIdProvider | None = None

    async def by_link(self, token: str, *, previous: str | None) -> SignedIn:
        """Use a one-time link. `previous` is the session that this browser had: it ends."""
        now = self.clock.wall_now()
        async with transaction(self.pool) as connection:
            person = await repository.use_link(connection, digest=token_hash(token), now=now)
            if person is None:
                raise SignInRejectedError("This link has been used, has ended or never was one")
            return await self._begin(connection, person, method="link", previous=previous)

    async def start_openid(self) -> OpenIdStart:
        """Begin a sign-in at the provider."""
        if self.provider is None:
            raise SignInRejectedError("No OpenID provider is set up")
        state, browser, nonce, verifier = new_token(), new_token(), new_token(), new_token()
        now = self.clock.wall_now()
        address = await self.provider.authorization_address(state=state, nonce=nonce, code_verifier=verifier)
        async with transaction(self.pool) as connection:
            await repository.delete_ended(connection, now=now, before=now - KEPT)
            await repository.add_attempt(
                connection,
                state=token_hash(state),
                browser=token_hash(browser),
                nonce=nonce,
                code_verifier=verifier,
                expires_at=now + ATTEMPT_LIFETIME,
            )
        return OpenIdStart(address=address, browser=browser)

    async def finish_openid(self, *, state: str, browser: str, code: str, previous: str | None) -> SignedIn:
        """Take the provider's answer in the browser that began; only invited people get in."""
        now = self.clock.wall_now()
        async with transaction(self.pool) as connection:
            attempt = await repository.take_attempt(
                connection, state=token_hash(state), browser=token_hash(browser), now=now
            )
        if attempt is None or self.provider is None:
            raise SignInRejectedError("This sign-in did not begin in this browser, or took too long")
        nonce, verifier = attempt
        identity = await self.provider.identify(code=code, code_verifier=verifier, nonce=nonce)
        async with transaction(self.pool) as connection:
            person = await repository.bind_subject(
                connection,
                issuer=identity.issuer,
                subject=identity.subject,
                email=identity.email.strip().lower(),
            )
            if person is None:
                raise SignInRejectedError("Nobody with this account has been invited")
            return await self._begin(connection, person, method="oidc", previous=previous)

    async def find(self, token: str, *, in_use: bool = True) -> SignedIn | None:
        """The person of a session that has not ended; None where it has.

        `in_use`: a person asks, so that the session is not idle; False where a page asks by itself.
        """
        now, digest = self.clock.wall_now(), token_hash(token)
        async with self.pool.acquire() as connection:
            row = await repository.find_session(
                connection, digest=digest, now=now, idle_since=now - self.limits.idle
            )
            if row is None:
                return None
            if in_use and row.seen_at + _TOUCH_AFTER < now:
                await repository.touch_session(connection, digest=digest, now=now)
        return SignedIn(
            person=row.person, token=token, signed_in_at=row.signed_in_at, expires_at=row.expires_at
        )

    async def end(self, signed_in: SignedIn, *, everywhere: bool) -> None:
        """Sign out here, or in every browser."""
        now, person = self.clock.wall_now(), signed_in.person
        async with transaction(self.pool) as connection:
            if everywhere:
                await repository.end_sessions_of(connection, person_id=person.id, now=now)
            else:
                await repository.end_session(connection, digest=token_hash(signed_in.token), now=now)
            await self._record(
                connection, person, "signOutEverywhere" if everywhere else "signOut", _NO_CONTENT
            )

    async def _begin(
        self, connection: Connection, person: PersonRecord, *, method: str, previous: str | None
    ) -> SignedIn:
        now, token = self.clock.wall_now(), new_token()
        if previous is not None:
            await repository.end_session(connection, digest=token_hash(previous), now=now)
        await repository.delete_ended(connection, now=now, before=now - KEPT)
        await repository.add_session(
            connection,
            digest=token_hash(token),
            person_id=person.id,
            method=method,
            now=now,
            expires_at=now + self.limits.absolute,
        )
        await self._record(connection, person, "signIn", _CREATED)
        return SignedIn(person=person, token=token, signed_in_at=now, expires_at=now + self.limits.absolute)

    async def _record(
        self, connection: Connection, person: PersonRecord, operation: str, status: int
    ) -> None:
        await repository.add_act(
            connection,
            PersonActRecord(
                id=new_id(),
                person_id=person.id,
                person=person.name,
                party_id=person.party_id,
                operation=operation,
                subject="",
                status=status,
                acted_at=self.clock.wall_now(),
            ),
        )
