"""What rounds of drivers' documents read again and again, kept between them.

Owns: until when it holds. Must not know: what a document says. Parties hold until the epoch of the
reference data changes; a VAT ruling is named by its content, so it holds for good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from clearing.connection import Connection
from clearing.parties import repository as party_repository
from clearing.parties.party import Party
from clearing.reference_data import repository as reference_repository
from clearing.sessions import repository as session_repository
from clearing.tax.vat import VatDecision

_MOST: Final = 10_000  # rulings
_EPOCH: Final = "party"


@dataclass(slots=True, kw_only=True)
class StandingData:
    """Parties and VAT rulings; one serves all rounds of a process."""

    _parties: Mapping[str, Party] = field(default_factory=dict)
    _epoch: UUID | None = None
    _rulings: dict[str, VatDecision] = field(default_factory=dict)

    async def load_parties(self, connection: Connection) -> Mapping[str, Party]:
        """Every party by id, as stored now."""
        # They are read by several statements: if one changes meanwhile, all are read again.
        while (epoch := await _epoch(connection)) != self._epoch:
            self._parties, self._epoch = await party_repository.load_parties(connection), epoch
        return self._parties

    async def load_rulings(self, connection: Connection, names: Sequence[str]) -> Mapping[str, VatDecision]:
        """VAT rulings by name: at least these."""
        missing = set(names) - self._rulings.keys()
        if missing:
            if len(self._rulings) > _MOST:
                self._rulings.clear()
                missing = set(names)
            self._rulings |= await session_repository.load_rulings(connection, sorted(missing))
        return self._rulings


async def _epoch(connection: Connection) -> UUID:
    return (await reference_repository.load_epochs(connection))[_EPOCH]
