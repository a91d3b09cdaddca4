"""Checks of a party's identity: which there are, which it needs to be paid, what keeps it from being paid.

Owns: kinds, results, the dated list of required checks, the reason of a payout hold. Must not know: where
checks are stored, how a register or a list is asked. Sources: Directive (EU) 2015/849 Art. 13 (identity and
beneficial owners); Regulation (EU) No 260/2012 Art. 5c as amended by Regulation (EU) 2024/886 (verification
of payee: match, close match, no match, not possible).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from clearing.errors import ClearingConflictError, InvalidPartyCheckError
from clearing.parties.bank_details import check_second_person
from clearing.parties.party import PartyKind


class PartyCheckKind(StrEnum):
    """What is checked."""

    COMMERCIAL_REGISTER = "commercial_register"
    BENEFICIAL_OWNERS = "beneficial_owners"
    REPRESENTATIVE_IDENTITY = "representative_identity"
    PAYEE_NAME = "payee_name"
    SANCTIONS_SCREENING = "sanctions_screening"


class PartyCheckResult(StrEnum):
    """What came out: the first two of most kinds, the others of a payee name alone."""

    PASSED = "passed"
    FAILED = "failed"
    MATCH = "match"
    CLOSE_MATCH = "close_match"
    NO_MATCH = "no_match"
    NOT_POSSIBLE = "not_possible"


_OF_PAYEE_NAME: Final = frozenset(
    {
        PartyCheckResult.MATCH,
        PartyCheckResult.CLOSE_MATCH,
        PartyCheckResult.NO_MATCH,
        PartyCheckResult.NOT_POSSIBLE,
    }
)
_TO_EXPLAIN: Final = frozenset({PartyCheckResult.CLOSE_MATCH, PartyCheckResult.NOT_POSSIBLE})
_ADVERSE: Final = frozenset({PartyCheckResult.FAILED, PartyCheckResult.NO_MATCH})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPartyCheck:
    """A check as a person brings it. `valid_until` is exclusive; None: as the required checks say.

    `details_version` is that of the bank details whose holder's name the bank compared.
    """

    kind: PartyCheckKind
    result: PartyCheckResult
    performed_by: str
    checked_on: date
    valid_until: date | None = None
    reference: str = ""
    note: str = ""
    details_version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyCheck:
    """A recorded check. `confirms`: the check with `no_match` that this one, a second person's, confirms."""

    id: UUID
    party_id: str
    kind: PartyCheckKind
    result: PartyCheckResult
    performed_by: str
    checked_on: date
    valid_until: date | None
    reference: str
    note: str
    details_version: int | None
    confirms: UUID | None
    recorded_by: str
    recorded_at: datetime

    @property
    def is_adverse(self) -> bool:
        """Whether it keeps the party from being paid, whatever is required of it."""
        return self.result in _ADVERSE and self.confirms is None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredCheck:
    """From `valid_from` on parties of a kind need this check; it counts for `valid_days`, None: for ever."""

    party_kind: PartyKind
    check_kind: PartyCheckKind
    valid_from: date
    valid_days: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedParty:
    """What a decision needs: the kind, and the version of the approved bank details, None: it has none.

    `checks` are the latest of each kind; that of a payee name is the latest of `details_version`.
    """

    kind: PartyKind
    details_version: int | None
    checks: Mapping[PartyCheckKind, PartyCheck]


def required_checks(rows: Iterable[Mapping[str, str]]) -> tuple[RequiredCheck, ...]:
    """The required checks from the rows of `required_checks.csv`."""
    return tuple(
        RequiredCheck(
            party_kind=PartyKind(row["party_kind"]),
            check_kind=PartyCheckKind(row["check_kind"]),
            valid_from=date.fromisoformat(row["valid_from"]),
            valid_days=int(row["valid_days"]) if row["valid_days"] else None,
        )
        for row in rows
    )


def checks_of(kind: PartyKind, required: Sequence[RequiredCheck], *, day: date) -> list[RequiredCheck]:
    """What a party of that kind needs on `day`: of each kind of check the latest row in force."""
    in_force = sorted(
        (one for one in required if one.party_kind is kind and one.valid_from <= day),
        key=lambda one: one.valid_from,
    )
    return list({one.check_kind: one for one in in_force}.values())


def valid_until(
    new: NewPartyCheck, kind: PartyKind, required: Sequence[RequiredCheck], *, today: date
) -> date | None:
    """Until when a new check counts: as it says, but never longer than what is required lets it."""
    (days,) = [
        one.valid_days for one in checks_of(kind, required, day=today) if one.check_kind is new.kind
    ] or [None]
    longest = None if days is None else new.checked_on + timedelta(days=days)
    return min((one for one in (new.valid_until, longest) if one is not None), default=None)


def check_new(new: NewPartyCheck, *, current: PartyCheck | None, by: str, today: date) -> None:
    """Reject a check that says too little, or that lifts its recorder's own adverse one.

    `current` is the latest of its kind. Raises InvalidPartyCheckError, naming the field, and
    ClearingConflictError.
    """
    of_name = new.kind is PartyCheckKind.PAYEE_NAME
    if (new.result in _OF_PAYEE_NAME) is not of_name:
        allowed = sorted(one for one in PartyCheckResult if (one in _OF_PAYEE_NAME) is of_name)
        raise InvalidPartyCheckError("result", f"{new.kind} has one of {', '.join(allowed)}")
    if (new.details_version is not None) is not of_name:
        raise InvalidPartyCheckError(
            "bank_details_version",
            "expected the version of the bank details whose holder's name was compared"
            if of_name
            else f"a check of {new.kind} is of no bank details",
        )
    if not new.performed_by.strip():
        raise InvalidPartyCheckError("performed_by", "is empty; name the person or service that checked")
    if new.checked_on > today:
        raise InvalidPartyCheckError("checked_on", f"{new.checked_on} is in the future")
    if new.valid_until is not None and new.valid_until <= new.checked_on:
        raise InvalidPartyCheckError("valid_until", f"{new.valid_until} is not after {new.checked_on}")
    if new.result in _TO_EXPLAIN and not new.note.strip():
        raise InvalidPartyCheckError("note", f"say why {new.result} is enough")
    if current is not None and current.is_adverse and new.result not in _ADVERSE:
        check_second_person(current.recorded_by, by)
        if not new.note.strip():
            raise InvalidPartyCheckError("note", f"say why {current.result} of {current.checked_on} is over")


def check_confirmation(current: PartyCheck | None, check_id: UUID, *, by: str) -> PartyCheck:
    """The check that may be confirmed: the latest of its account, not matching, another person's.

    Raises ClearingConflictError.
    """
    if current is None or current.id != check_id or current.result is not PartyCheckResult.NO_MATCH:
        raise ClearingConflictError(
            "only a payee name that did not match is confirmed, and only the latest check of that account"
        )
    if current.confirms is not None:
        raise ClearingConflictError("this payee name is confirmed already")
    check_second_person(current.recorded_by, by)
    return current


def withholding_reason(party: CheckedParty, required: Sequence[RequiredCheck], *, today: date) -> str | None:
    """Why nothing is paid to the party on its local day `today`; None: its checks are in order.

    An adverse check counts whatever is `required`. A payee name is needed only where it is paid by bank.
    The text changes only with the reason, so that a hold stays one hold.
    """
    needed = {one.check_kind: one for one in checks_of(party.kind, required, day=today)}
    faults = [
        fault
        for kind in PartyCheckKind
        if (fault := _fault(kind, party, needed.get(kind), today=today)) is not None
    ]
    return "; ".join(faults) or None


def _fault(
    kind: PartyCheckKind, party: CheckedParty, needed: RequiredCheck | None, *, today: date
) -> str | None:
    by_bank = party.details_version is not None
    if kind is PartyCheckKind.PAYEE_NAME and not by_bank:
        return None
    check, title = party.checks.get(kind), TITLES[kind]
    if check is not None and check.is_adverse:
        ending = "; a second person confirms it" if check.result is PartyCheckResult.NO_MATCH else ""
        return f"{title}: {check.result} on {check.checked_on}{ending}"
    if needed is None:
        return None
    if check is None:
        return f"{title}: not recorded"
    if check.valid_until is not None and check.valid_until <= today:
        return f"{title}: lapsed on {check.valid_until}"
    return None


TITLES: Final = MappingProxyType(
    {
        PartyCheckKind.COMMERCIAL_REGISTER: "commercial register extract",
        PartyCheckKind.BENEFICIAL_OWNERS: "beneficial owners' check",
        PartyCheckKind.REPRESENTATIVE_IDENTITY: "representative's identity",
        PartyCheckKind.PAYEE_NAME: "payee name check",
        PartyCheckKind.SANCTIONS_SCREENING: "sanctions screening",
    }
)
