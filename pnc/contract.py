"""A contract: an eMAID, whose driver it is, what pays; and whether it may pay now.

Owns the values of contracts and of their changes, and that one rule. Must not know certificates, storage, or
how a payment is secured.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from pnc.rejection_reasons import ContractRejection, RejectionReason


class ContractState(StrEnum):
    """Whether a contract may charge."""

    ACTIVE = "active"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


class SuspicionPolicy(StrEnum):
    """What follows when a contract is used at so many stations at once that it must have been copied."""

    REPORT = "report"
    BLOCK = "block"


class PaymentKind(StrEnum):
    """How a contract pays: a mandate at the PSP, or the funded account of its eMSP or demand partner."""

    PSP_MANDATE = "psp_mandate"
    PARTNER_ACCOUNT = "partner_account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One contract: its eMAID, whose driver it is, what pays, and its limits.

    `payment_reference` is opaque here and never leaves this system; `contract_id` is the pseudonym
    that events to other parties carry instead of it. `limit_minor` caps one session in minor units of
    `currency`; `sessions_at_once`, `sessions_per_day` (any 24 hours) and `amount_per_day_minor` (the local
    day of its party) are None for no limit. `offline_limit_minor` is the most that is paid for a session that
    began while its station was offline: None as for every session, 0 nothing.
    """

    contract_id: UUID
    environment: str
    emaid: str
    party: str
    payment_kind: PaymentKind
    payment_reference: str
    state: ContractState
    payment_usable: bool
    valid_from: datetime
    valid_until: datetime | None
    limit_minor: int | None
    currency: str | None
    revision: int = 1
    sessions_at_once: int | None = None
    sessions_per_day: int | None = None
    offline_limit_minor: int | None = None
    amount_per_day_minor: int | None = None
    on_suspicion: SuspicionPolicy = SuspicionPolicy.REPORT

    @property
    def limits_sessions(self) -> bool:
        """Whether the number of its sessions is limited."""
        return self.sessions_at_once is not None or self.sessions_per_day is not None


def session_limit_rejection(
    contract: Contract, *, at_once: int, within_a_day: int
) -> ContractRejection | None:
    """Return why a contract may not begin one more session, or None; both counts leave that session out."""
    if contract.sessions_at_once is not None and at_once >= contract.sessions_at_once:
        return ContractRejection(
            rejection_reason=RejectionReason.TOO_MANY_SESSIONS_AT_ONCE,
            detail="the contract has as many sessions at once as it may have",
        )
    if contract.sessions_per_day is not None and within_a_day >= contract.sessions_per_day:
        return ContractRejection(
            rejection_reason=RejectionReason.TOO_MANY_SESSIONS_TODAY,
            detail="the contract has had as many sessions in 24 hours as it may have",
        )
    return None


def offline_limit(contract: Contract) -> int | None:
    """The most that a contract pays for a session that began offline, in minor units; None: no limit."""
    return contract.limit_minor if contract.offline_limit_minor is None else contract.offline_limit_minor


def offline_rejection(contract: Contract, *, cost_minor: int) -> ContractRejection | None:
    """Return why a session that began offline and has cost `cost_minor` so far isn't paid, or None."""
    limit = offline_limit(contract)
    if limit is None or (limit > 0 and cost_minor <= limit):
        return None
    return ContractRejection(
        rejection_reason=RejectionReason.OFFLINE_LIMIT_EXCEEDED,
        detail="the session began offline and costs more than the contract pays for such a session",
    )


# One vehicle is at one station: this many that ask within a few minutes hold copies of its contract.
SUSPICIOUS_STATIONS: Final = 10


def amount_left(contract: Contract, *, spent_minor: int) -> int | None:
    """Return what a contract may still spend today, in minor units; None for no limit, never below 0."""
    if contract.amount_per_day_minor is None:
        return None
    return max(contract.amount_per_day_minor - spent_minor, 0)


def is_suspicious(*, stations: int) -> bool:
    """Whether a contract is asked for at more stations at once than one vehicle can be at."""
    return stations >= SUSPICIOUS_STATIONS


def state_rejection(contract: Contract) -> ContractRejection | None:
    """Return why a contract that somebody blocked or ended may not charge, or None."""
    match contract.state:
        case ContractState.BLOCKED:
            return ContractRejection(
                rejection_reason=RejectionReason.CONTRACT_BLOCKED, detail="the contract is blocked"
            )
        case ContractState.CANCELLED:
            return ContractRejection(
                rejection_reason=RejectionReason.CONTRACT_CANCELLED, detail="the contract is cancelled"
            )
        case ContractState.ACTIVE:
            return None


def contract_rejection(contract: Contract | None, now: datetime) -> ContractRejection | None:
    """Return why a contract may not pay at `now`, or None."""
    if contract is None:
        return ContractRejection(
            rejection_reason=RejectionReason.CONTRACT_UNKNOWN,
            detail="no contract is registered under this eMAID",
        )
    if (rejection := state_rejection(contract)) is not None:
        return rejection
    if now < contract.valid_from or (contract.valid_until is not None and now >= contract.valid_until):
        return ContractRejection(
            rejection_reason=RejectionReason.CONTRACT_NOT_IN_FORCE, detail="the contract is not in force now"
        )
    if not contract.payment_usable:
        return ContractRejection(
            rejection_reason=RejectionReason.PAYMENT_METHOD_GONE,
            detail="the contract's means of payment is gone",
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContract:
    """A contract to be stored.

    `bundle` is its certificate's chain, to be registered with it: PEM in any order, or PKCS #7.
    `payment_reference` is opaque here: a mandate at the PSP or a partner's account. `limit_minor` caps one
    session, in minor units of `currency`. Times are aware; `valid_until` is exclusive.
    """

    emaid: str
    party: str
    payment_kind: PaymentKind
    payment_reference: str
    valid_from: datetime
    valid_until: datetime | None = None
    limit_minor: int | None = None
    currency: str | None = None
    bundle: str | None = None
    sessions_at_once: int | None = None
    sessions_per_day: int | None = None
    offline_limit_minor: int | None = None
    amount_per_day_minor: int | None = None
    on_suspicion: SuspicionPolicy = SuspicionPolicy.REPORT


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeCursor:
    """A place in the feed of contract changes; the zero cursor is its beginning."""

    transaction: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractChange:
    """One change of a contract, as partners read it: it names no means of payment."""

    cursor: ChangeCursor
    emaid: str
    contract_id: UUID
    party: str
    kind: str
    revision: int
    actor: str
    reason: str
    at: datetime
