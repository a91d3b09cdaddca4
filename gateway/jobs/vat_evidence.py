"""VAT ids checked again before their evidence is too old, never while a session is cleared.

Owns: whose ids are checked, when, and that an answer is kept. Must not know: the register's protocol. A
register that can't say changes nothing: the old finding stays, with its own date.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from clearing.parties import service as party_service
from clearing.parties.party import PLATFORM_ID, VatEvidence
from clearing.ports import NoFinding, VatEvidenceSource
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction

EVERY: Final = timedelta(hours=1)
RETRY: Final = timedelta(hours=6)
AT_ONCE: Final = 50
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class VatEvidenceJob:
    """Checks ids at `source` whose last finding is older than `after`."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    source: VatEvidenceSource
    after: timedelta
    name: str = "vat_evidence"
    _next_at: datetime | None = field(default=None)

    async def run_once(self) -> int:
        """One round, at most `AT_ONCE` ids, one after the other. Returns how many were answered."""
        wall = self.clock.wall_now()
        if self._next_at is not None and wall < self._next_at:
            return 0
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            due = await party_service.list_vat_ids_to_check(
                connection,
                prefixes=self.source.prefixes,
                before=now - self.after,
                retry_before=now - RETRY,
                today=now.date(),
                limit=AT_ONCE,
            )
        requester = await self._requester(now)
        answered = 0
        for party_id, vat_id in due:
            answered += await self._check(party_id, vat_id, requester=requester)
        if answered:
            async with transaction(self.pool) as connection:
                await party_service.renew_parties(connection)
        self._next_at = None if len(due) == AT_ONCE and answered else wall + EVERY
        return answered

    async def _requester(self, now: datetime) -> str | None:
        """An id of the platform that the register knows: with it an answer has a consultation number."""
        async with self.pool.acquire() as connection:
            platform = await self.clearing.reference_data.find_party(connection, PLATFORM_ID)
        if platform is None:
            return None
        own = platform.vat_ids_on(now.date()).values()
        return next((vat_id for vat_id in own if vat_id[:2] in self.source.prefixes), None)

    async def _check(self, party_id: str, vat_id: str, *, requester: str | None) -> bool:
        now = self.clock.now()
        found = await self.source.check(vat_id, requester=requester, now=now)
        async with transaction(self.pool) as connection:
            match found:
                case NoFinding(problem=problem):
                    _log.warning("vat_id_not_checked", party=party_id, problem=problem)
                    await party_service.record_vat_attempt(
                        connection, party_id=party_id, vat_id=vat_id, problem=problem, now=now
                    )
                case VatEvidence():
                    if not found.valid:
                        _log.error("vat_id_not_valid", party=party_id, since=found.effective_from.isoformat())
                    await party_service.record_vat_evidence(connection, party_id, found)
        return isinstance(found, VatEvidence)
