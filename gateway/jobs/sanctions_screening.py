"""Parties screened against the sanctions list: new ones, changed names and holders, a newer list.

Owns: when a party is screened. Must not know: how names are compared, how a hit holds payouts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import structlog

from clearing.errors import UnreadableMessageError
from clearing.parties import party_check_service as checks
from clearing.parties.party import Party, PartyKind
from clearing.sanctions.screening import (
    LIST_VALID_DAYS,
    SCREENER,
    SanctionsIndex,
    SanctionsList,
    SanctionsSource,
    plan_screening,
)
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.ids import new_id
from gateway.payouts.party_check_service import recorded
from gateway.webhooks import events

_log = structlog.get_logger(__name__)
_LIST_EVERY: Final = timedelta(minutes=5)
_UNPAID: Final = frozenset({PartyKind.PLATFORM, PartyKind.BUYER})


@dataclass(slots=True, kw_only=True)
class SanctionsScreeningJob:
    """Reads the list every few minutes of wall time; screens parties whose names or list are new."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    source: SanctionsSource
    name: str = "sanctions_screening"
    _next: datetime | None = field(default=None)
    _list: SanctionsList | None = field(default=None)
    _index: SanctionsIndex | None = field(default=None)
    _screened: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    async def run_once(self) -> int:
        """Screen what is new. Returns how many checks were recorded."""
        self._read()
        if self._list is None or self._index is None:
            return 0
        async with self.pool.acquire() as connection:
            parties = dict(await self.clearing.reference_data.load_parties(connection))
        return await self._screen(parties, self._list, self._index)

    def _read(self) -> None:
        wall = self.clock.wall_now()
        if self._next is not None and wall < self._next:
            return
        self._next = wall + _LIST_EVERY
        try:
            present = self.source.load()
        except UnreadableMessageError as error:
            _log.error("sanctions_list_unreadable", detail=str(error))
            return
        age = (self.clock.now().date() - present.published_on).days
        if age >= LIST_VALID_DAYS:
            _log.error("sanctions_list_too_old", published_on=str(present.published_on), age_days=age)
        if self._list is None or self._list.digest != present.digest:
            self._list, self._index = present, SanctionsIndex(present)
            if self._index.not_compared:
                _log.error("sanctions_entries_not_compared", entries=self._index.not_compared)

    async def _screen(
        self, parties: Mapping[str, Party], sanctions: SanctionsList, index: SanctionsIndex
    ) -> int:
        count = 0
        for party in parties.values():
            seen = (sanctions.digest, names_of(party))
            if party.kind in _UNPAID or self._screened.get(party.id) == seen:
                continue
            count += await self._screen_one(party, sanctions, index)
            self._screened[party.id] = seen
        return count

    async def _screen_one(self, party: Party, sanctions: SanctionsList, index: SanctionsIndex) -> int:
        now = self.clock.now()
        async with transaction(self.pool) as connection:
            new = plan_screening(
                names_of(party),
                await checks.list_checks(connection, party.id),
                sanctions=sanctions,
                index=index,
                today=now.astimezone(ZoneInfo(party.time_zone)).date(),
            )
            if new is None:
                return 0
            check = await checks.record_check(connection, party, new, check_id=new_id(), by=SCREENER, now=now)
            await events.record(connection, [recorded(check)], now=now)
        return 1


def names_of(party: Party) -> tuple[str, ...]:
    """The names of a party that are screened: its own, and its account holder's."""
    bank = party.payout_terms.bank
    return tuple(dict.fromkeys([party.name] + ([] if bank is None else [bank.name])))
