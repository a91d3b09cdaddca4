"""Who may sign in: invited, given a one-time link, listed, revoked; and the record of what people did.

Owns: the transactions. Must not know HTTP or what a page shows. `party_id` None is the platform, which
administers everybody's people; a party administers its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.errors import MalformedIdError
from gateway.ids import new_id, parse_id
from gateway.people import repository
from gateway.people.errors import PersonExistsError, PersonNotFoundError, RoleNotGrantableError
from gateway.people.person import (
    LINK_LIFETIME,
    PERSON_PREFIX,
    PersonActRecord,
    PersonRecord,
    new_token,
    token_hash,
)
from gateway.people.roles import PersonRole
from gateway.scopes import Scope, named

_MOST: Final = 500  # people that a list shows


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonLink:
    """A one-time link: its token is shown once."""

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleService:
    """Raises `gateway.people.errors.PeopleError`. Times are wall time."""

    pool: Pool
    clock: Clock

    async def invite(
        self,
        *,
        person_id: UUID,
        party_id: str,
        email: str,
        name: str,
        role: PersonRole,
        by: str,
        maker: frozenset[Scope],
    ) -> PersonRecord:
        """Let somebody sign in, at the OpenID provider by this address, or with a link.

        Raises:
            PersonExistsError: somebody with this address may sign in already.
            PersonNotFoundError: there is no such party.
            RoleNotGrantableError: `maker`, the scopes of whoever invites, lack one of the role's.
        """
        person = PersonRecord(
            id=person_id,
            party_id=party_id,
            email=email.strip().lower(),
            name=name.strip(),
            role=role,
            created_at=self.clock.wall_now(),
            created_by=by,
            revoked_at=None,
        )
        _check_grantable(person, maker)
        try:
            async with transaction(self.pool) as connection:
                await repository.add_person(connection, person)
        except asyncpg.UniqueViolationError:
            raise PersonExistsError(f"{person.email} may sign in already; revoke that access first") from None
        except asyncpg.ForeignKeyViolationError:
            raise PersonNotFoundError(f"There is no party {party_id}") from None
        return person

    async def link(
        self, person_id: UUID, *, party_id: str | None, by: str, maker: frozenset[Scope]
    ) -> PersonLink:
        """Make a link that signs a person in once; it ends those before.

        Raises PersonNotFoundError, RoleNotGrantableError: who holds the link may do what the person may.
        """
        now, token = self.clock.wall_now(), new_token()
        async with transaction(self.pool) as connection:
            person = await repository.find_person(connection, person_id, party_id=party_id)
            if person is None or person.revoked_at is not None:
                raise PersonNotFoundError("There is no such person who may sign in")
            _check_grantable(person, maker)
            await repository.add_link(
                connection,
                digest=token_hash(token),
                person_id=person_id,
                by=by,
                now=now,
                expires_at=now + LINK_LIFETIME,
            )
        return PersonLink(token=token, expires_at=now + LINK_LIFETIME)

    async def list(self, *, party_id: str | None) -> Sequence[PersonRecord]:
        """The people of a party, or everybody's."""
        async with self.pool.acquire() as connection:
            return await repository.list_people(connection, party_id=party_id, limit=_MOST)

    async def revoke(self, person_id: UUID, *, party_id: str | None, by: str) -> None:
        """End a person's access, links and sessions at once. Raises PersonNotFoundError."""
        async with transaction(self.pool) as connection:
            if not await repository.revoke_person(
                connection, person_id, party_id=party_id, by=by, now=self.clock.wall_now()
            ):
                raise PersonNotFoundError("There is no such person who may sign in")

    async def record(self, person: PersonRecord, *, operation: str, subject: str, status: int) -> None:
        """Record what a person did, and how it was answered."""
        act = PersonActRecord(
            id=new_id(),
            person_id=person.id,
            person=person.name,
            party_id=person.party_id,
            operation=operation,
            subject=subject,
            status=status,
            acted_at=self.clock.wall_now(),
        )
        async with self.pool.acquire() as connection:
            await repository.add_act(connection, act)

    async def list_acts(
        self, *, party_id: str | None, before: UUID | None, limit: int
    ) -> Sequence[PersonActRecord]:
        """Acts, newest first: of one party's people, or with None of everybody."""
        async with self.pool.acquire() as connection:
            return await repository.list_acts(connection, party_id=party_id, before=before, limit=limit)

    async def names(self, principals: Sequence[str]) -> Mapping[str, str]:
        """The names of those principals that are people."""
        ids: dict[UUID, str] = {}
        for principal in principals:
            if principal.startswith(f"{PERSON_PREFIX}_"):
                try:
                    ids[parse_id(PERSON_PREFIX, principal)] = principal
                except MalformedIdError:
                    continue
        if not ids:
            return {}
        async with self.pool.acquire() as connection:
            found = await repository.names_of(connection, list(ids))
        return {ids[person_id]: name for person_id, name in found.items()}


def _check_grantable(person: PersonRecord, maker: frozenset[Scope]) -> None:
    lacking = person.rights.scopes - maker
    if lacking:
        raise RoleNotGrantableError(f"You lack {named(lacking)} of the role {person.role.value}")
