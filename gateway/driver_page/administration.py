"""Driver pages: set up by the platform for a CPO's EVSEs, or for those of every CPO without one.

Owns: the transaction, and who may be named. Must not know: HTTP, what the page shows.
"""

from dataclasses import dataclass

from clearing.parties.party import PLATFORM_ID
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.driver_page import repository
from gateway.driver_page.repository import DriverPageRecord
from gateway.errors import RecordConflictError, RecordNotFoundError
from gateway.partners import party_repository

_DEMAND_KINDS = frozenset({"demand_partner", "emsp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverPageAdministration:
    """Raises RecordNotFoundError where there is no such party or page."""

    pool: Pool
    clock: Clock

    async def get(self, *, party_id: str) -> DriverPageRecord:
        """A party's own page."""
        async with self.pool.acquire() as connection:
            found = await repository.load_page(connection, party_id=party_id)
        if found is None:
            raise RecordNotFoundError(f"{party_id} has no driver page of its own")
        return found

    async def set(self, page: DriverPageRecord) -> DriverPageRecord:
        """Set up the page of a CPO's EVSEs, or with the platform's id that of every CPO without one.

        Raises RecordConflictError where the party runs no EVSEs, or the other one brings no drivers.
        """
        async with transaction(self.pool) as connection:
            owner = await party_repository.find_party(connection, page.party_id)
            demand = await party_repository.find_party(connection, page.demand_partner_id)
            if owner is None or demand is None:
                missing = page.party_id if owner is None else page.demand_partner_id
                raise RecordNotFoundError(f"there is no party {missing}")
            if owner.kind != "cpo" and owner.id != PLATFORM_ID:
                raise RecordConflictError(f"{owner.id} is a {owner.kind}: a driver page is a CPO's")
            if demand.kind not in _DEMAND_KINDS:
                raise RecordConflictError(
                    f"{demand.id} is a {demand.kind}: drivers' sessions are a demand partner's"
                )
            await repository.set_page(connection, page, now=self.clock.now())
        return page

    async def remove(self, *, party_id: str) -> None:
        """Take a party's own page away; what was paid on it stays."""
        async with transaction(self.pool) as connection:
            if not await repository.remove_page(connection, party_id=party_id):
                raise RecordNotFoundError(f"{party_id} has no driver page of its own")
