"""A person's data as staff ask for them: reported, exported, erased.

Owns: the transaction of each, and the principal of who erases. Must not know: HTTP, who may ask. `key` is the
API key that asks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from gateway.clock import Clock
from gateway.config import Settings
from gateway.database import Pool, transaction
from gateway.partners.principals import principal_transaction
from gateway.personal_data import person_repository
from gateway.personal_data.person import ErasureReport, Subject
from gateway.personal_data.person_repository import ErasureRecord
from gateway.personal_data.person_service import PersonService
from gateway.personal_data.rules import load_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonAdministration:
    """`subject.misfit()` is None everywhere."""

    pool: Pool
    clock: Clock
    persons: PersonService

    async def report(self, subject: Subject) -> ErasureReport:
        """What is known of a person, what would be erased, what stays."""
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            return await self.persons.report(connection, subject, now=self.clock.now())

    async def erase(self, subject: Subject, *, reason: str, key: str) -> ErasureReport:
        """Erase a person, or say what prevents it."""
        async with principal_transaction(self.pool, key=key) as (connection, by):
            return await self.persons.erase(connection, subject, by=by, reason=reason, now=self.clock.now())

    async def export(self, subject: Subject) -> Mapping[str, Sequence[Any]]:
        """Every row of a person, by table."""
        async with transaction(self.pool, isolation="repeatable_read") as connection:
            return await self.persons.export(connection, subject)

    async def list_erasures(self, *, before: UUID | None, limit: int) -> Sequence[ErasureRecord]:
        """Erasures that were carried out, newest first."""
        async with self.pool.acquire() as connection:
            return await person_repository.list_erasures(connection, before=before, limit=limit)


def build_persons(settings: Settings, *, pool: Pool, clock: Clock) -> PersonAdministration:
    """By the settings. Raises ConfigurationError, naming the setting."""
    policy = load_policy(settings.retention_path)
    return PersonAdministration(
        pool=pool,
        clock=clock,
        persons=PersonService(policy=policy, environment=settings.environment.value),
    )
