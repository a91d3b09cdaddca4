"""What clearing needs from outside: a register of VAT ids.

Owns: the Protocol. Must not know: who implements it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from clearing.parties.party import VatEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class NoFinding:
    """A register that could not say: unavailable, overloaded, or an answer that makes no sense."""

    problem: str


class VatEvidenceSource(Protocol):
    """A public register of VAT ids, such as VIES. Asked apart from clearing, answered as evidence."""

    @property
    def prefixes(self) -> Sequence[str]:
        """The first two signs of the ids that it knows about."""
        ...

    async def check(self, vat_id: str, *, requester: str | None, now: datetime) -> VatEvidence | NoFinding:
        """What the register says today, with its consultation number; the caller stores it.

        `requester` is an id of the platform that the register knows, without which it may give no number.
        Never raises where the register fails: what is not known changes nothing.
        """
        ...
