"""What clearing needs from outside: a rail that pays, a source of exchange rates, a way to price again.

Owns: the Protocols. Must not know: who implements them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from clearing.fx import ReferenceRate
from clearing.parties.party import VatEvidence
from clearing.payouts.disbursement import Disbursement, RailOutcome
from clearing.session import CapturedSession
from clearing.sessions.reprice import Repriced


class DisbursementRail(Protocol):
    """Moves money to a party. Implemented by the gateway over the PSP; a fake in tests."""

    async def pay(self, disbursement: Disbursement) -> RailOutcome:
        """Pay once, keyed by `end_to_end_id`: asked twice, it must answer the same and pay once.

        Never raises on refusal.
        """
        ...

    async def find(self, disbursement: Disbursement) -> RailOutcome:
        """What became of an earlier `pay`; OutcomeUnknown as long as the rail can't say."""
        ...


class FxSource(Protocol):
    """Publishes reference rates, for example from the ECB's daily file."""

    async def rates(self, *, since: date) -> Sequence[ReferenceRate]:
        """Every published rate from `since` on."""
        ...


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


class Repricer(Protocol):
    """Prices a captured session again from its stored originals."""

    def __call__(self, session: CapturedSession) -> Repriced:
        """The price by the frozen tariff. Raises UnclearableError with the reason where it can't be had."""
        ...
