"""What rounds of drivers' documents read again and again, kept between them.

Owns: until when it holds. Must not know: what a document says. A VAT ruling is named by its content, so it
holds for good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from clearing.connection import Connection
from clearing.parties.party import Party
from clearing.reference_data.service import PartyCache
from clearing.sessions import repository as session_repository
from clearing.tax.vat import VatDecision

_MOST: Final = 10_000  # rulings


@dataclass(slots=True, kw_only=True)
class StandingData:
    """Parties and VAT rulings; one serves all rounds of a process."""

    _parties: PartyCache = field(default_factory=PartyCache)
    _rulings: dict[str, VatDecision] = field(default_factory=dict)

    async def load_parties(self, connection: Connection) -> Mapping[str, Party]:
        """Every party by id, as stored now."""
        return await self._parties.load(connection)

    async def load_rulings(self, connection: Connection, names: Sequence[str]) -> Mapping[str, VatDecision]:
        """VAT rulings by name: these."""
        missing = set(names) - self._rulings.keys()
        if missing:
            if len(self._rulings) > _MOST:
                self._rulings.clear()
                missing = set(names)
            self._rulings |= await session_repository.load_rulings(connection, sorted(missing))
        return {name: self._rulings[name] for name in names}
