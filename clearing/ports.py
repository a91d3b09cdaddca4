"""What clearing needs from outside: a register of VAT ids, the originals of sessions.

Owns: the Protocols. Must not know: who implements it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from clearing.connection import Connection
from clearing.documents.session_originals import SessionOriginals
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


class SessionOriginalsSource(Protocol):
    """Where the CDRs and tariffs of sessions are stored. Read for documents, never written."""

    async def load(
        self, connection: Connection, session_ids: Sequence[UUID]
    ) -> Mapping[UUID, SessionOriginals]:
        """The originals of those sessions that have them, by session."""
        ...
