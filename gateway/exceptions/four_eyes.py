"""Which resolutions of an exception two people decide, and what the first of them proposed.

Owns: the kinds, the amount that counts, whether a second call confirms the first. Must not know SQL, or where
limits are kept: they are those of approval requests. A retry decides nothing: it needs no second person.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from clearing.approvals.rules import same_person
from gateway.exceptions.decisions import ACTIONS_OF, Decision, action_of
from gateway.exceptions.rules import KINDS, ExceptionRecord
from gateway.payments.stated_usage import UsageDecision

_DEFAULT: Final = "*"
# What a person decides: an action about money, or that a claim ends by a reason alone.
DECIDED: Final = frozenset({*ACTIONS_OF, *(kind for kind, spec in KINDS.items() if spec.final)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionProposal:
    """What a first person wants done about an exception; `action` None: end it by the reason."""

    action: str | None
    amount_minor: int | None
    note: str
    proposed_by: str
    proposed_at: datetime


def amount_of(record: ExceptionRecord, decision: Decision | None) -> int:
    """The amount that a resolution decides on, minor units: the larger of what stands and what is set."""
    return max(abs(record.amount_minor or 0), _set_amount(decision) or 0)


def needs_two(record: ExceptionRecord, decision: Decision | None, *, limits: Mapping[str, int]) -> bool:
    """Whether a second person decides: the amount is above the limit of its currency."""
    if record.kind not in DECIDED or record.currency is None:
        return False
    return amount_of(record, decision) > limits.get(record.currency, limits[_DEFAULT])


def proposal_of(decision: Decision | None, *, note: str, by: str, now: datetime) -> ResolutionProposal:
    """What is proposed by a resolution."""
    return ResolutionProposal(
        action=None if decision is None else action_of(decision).value,
        amount_minor=_set_amount(decision),
        note=note,
        proposed_by=by,
        proposed_at=now,
    )


def confirms(proposal: ResolutionProposal, asked: ResolutionProposal) -> bool:
    """Whether a call asks for what was proposed, to the letter."""
    return (proposal.action, proposal.amount_minor) == (asked.action, asked.amount_minor)


def is_own(proposal: ResolutionProposal, *, by: str) -> bool:
    """Whether who confirms is who proposed."""
    return same_person(proposal.proposed_by, by)


def described(proposal: ResolutionProposal) -> str:
    """A proposal in words."""
    done = proposal.action or "end it"
    amount = "" if proposal.amount_minor is None else f" to {proposal.amount_minor} minor units"
    return f"{done}{amount}, by {proposal.proposed_by}: {proposal.note}"


def _set_amount(decision: Decision | None) -> int | None:
    return decision.amount_minor if isinstance(decision, UsageDecision) else None
