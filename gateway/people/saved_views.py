"""Saved views: filters of one of the console's lists under a name, of one person or shared in a party.

Owns: how many there may be, who sees and who deletes one. Must not know which filters a list has: its page
leaves out what is none any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import FromRow, Pool, named_queries, transaction
from gateway.ids import new_id
from gateway.people.errors import SavedViewError
from gateway.people.person import PersonRecord

VIEW_PREFIX: Final = "svw"
MOST_VIEWS: Final = 100  # of one person, on all lists
MOST_CHARACTERS: Final = 60
_SHOWN: Final = 100
_QUERIES: Final[Any] = named_queries("gateway", "saved_views.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView(FromRow):
    """A view as a person sees it; `owner` is the name of whose it is."""

    id: UUID
    person_id: UUID
    name: str
    filters: Mapping[str, str]
    shared: bool
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedViewService:
    """Views of the console's lists. Raises SavedViewError."""

    pool: Pool
    clock: Clock

    async def save(
        self, person: PersonRecord, *, list_name: str, name: str, filters: Mapping[str, str], shared: bool
    ) -> None:
        """Save a view; the same name on the same list replaces it."""
        name = " ".join(name.split())
        if not 0 < len(name) <= MOST_CHARACTERS or not name.isprintable():
            raise SavedViewError(f"A view needs a name of at most {MOST_CHARACTERS} characters")
        if not filters:
            raise SavedViewError("Set a filter first: a view without one is the list itself")
        async with transaction(self.pool) as connection:
            await _QUERIES.lock_person(connection, person_id=person.id)  # one counts after the other
            await _QUERIES.put_view(
                connection,
                id=new_id(),
                person_id=person.id,
                party_id=person.party_id,
                list=list_name,
                name=name,
                filters=dict(filters),
                shared=shared,
                now=self.clock.wall_now(),
            )
            if await _QUERIES.count_views(connection, person_id=person.id) > MOST_VIEWS:
                raise SavedViewError(f"There are {MOST_VIEWS} views of yours; delete one first")

    async def list(self, person: PersonRecord, *, list_name: str) -> Sequence[SavedView]:
        """A person's own views of a list, then those shared in their party."""
        async with self.pool.acquire() as connection:
            found = _QUERIES.views_of(
                connection, person_id=person.id, party_id=person.party_id, list=list_name, limit=_SHOWN
            )
            return [SavedView.from_row(row) async for row in found]

    async def delete(self, person: PersonRecord, view_id: UUID) -> None:
        """Delete a view of one's own."""
        async with transaction(self.pool) as connection:
            if await _QUERIES.delete_view(connection, id=view_id, person_id=person.id) is None:
                raise SavedViewError("There is no such view of yours")
