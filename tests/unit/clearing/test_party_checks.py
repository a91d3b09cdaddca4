"""Checks of a party's identity: what is required when, what lapses, what a second person decides."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import ClearingConflictError, InvalidPartyCheckError
from clearing.parties.party import PartyKind
from clearing.parties.party_check_service import bundled_required_checks
from clearing.parties.party_checks import (
    TITLES,
    CheckedParty,
    NewPartyCheck,
    PartyCheck,
    PartyCheckKind,
    PartyCheckResult,
    RequiredCheck,
    check_confirmation,
    check_new,
    checks_of,
    valid_until,
    withholding_reason,
)
from gateway.ids import new_id

TODAY = date(2026, 11, 5)
RULES = bundled_required_checks()
REGISTER, NAME = PartyCheckKind.COMMERCIAL_REGISTER, PartyCheckKind.PAYEE_NAME
NEW = NewPartyCheck(kind=REGISTER, result=PartyCheckResult.PASSED, performed_by="A. Jansen", checked_on=TODAY)
NEW_NAME = replace(NEW, kind=NAME, result=PartyCheckResult.MATCH, details_version=1)


def recorded(new: NewPartyCheck, *, by: str = "anna") -> PartyCheck:
    return PartyCheck(
        id=new_id(),
        party_id="NL-ABC",
        kind=new.kind,
        result=new.result,
        performed_by=new.performed_by,
        checked_on=new.checked_on,
        valid_until=new.valid_until,
        reference="",
        note=new.note,
        details_version=new.details_version,
        confirms=None,
        recorded_by=by,
        recorded_at=datetime(2026, 11, 5, tzinfo=UTC),
    )


def party(*checks: PartyCheck, kind: PartyKind = PartyKind.CPO, version: int | None = None) -> CheckedParty:
    return CheckedParty(kind=kind, details_version=version, checks={one.kind: one for one in checks})


def complete(kind: PartyKind) -> list[PartyCheck]:
    return [
        recorded(NEW_NAME if one.check_kind is NAME else replace(NEW, kind=one.check_kind))
        for one in checks_of(kind, RULES, day=TODAY)
    ]


def test_a_cpo_without_checks_is_not_paid_and_the_reason_names_each() -> None:
    reason = withholding_reason(party(), RULES, today=TODAY)
    assert reason == (
        "commercial register extract: not recorded; beneficial owners' check: not recorded; "
        "sanctions screening: not recorded"
    )


def test_a_payee_name_is_needed_only_where_the_party_is_paid_by_bank() -> None:
    others = [one for one in complete(PartyKind.CPO) if one.kind is not NAME]
    assert withholding_reason(party(*others), RULES, today=TODAY) is None
    by_bank = party(*others, version=2)
    assert withholding_reason(by_bank, RULES, today=TODAY) == "payee name check: not recorded"


@pytest.mark.parametrize("kind", [PartyKind.PLATFORM, PartyKind.BUYER])
def test_who_is_paid_nothing_needs_no_check(kind: PartyKind) -> None:
    assert checks_of(kind, RULES, day=TODAY) == []


@pytest.mark.parametrize("kind", [k for k in PartyKind if k not in {PartyKind.PLATFORM, PartyKind.BUYER}])
def test_every_party_that_is_paid_needs_checks_and_is_paid_with_them(kind: PartyKind) -> None:
    assert len(checks_of(kind, RULES, day=TODAY)) >= 3
    assert withholding_reason(party(*complete(kind), kind=kind, version=1), RULES, today=TODAY) is None


@given(days=st.integers(min_value=-400, max_value=400))
def test_a_check_counts_until_the_day_before_it_lapses(days: int) -> None:
    check = replace(recorded(NEW), valid_until=TODAY + timedelta(days=days))
    rules = [
        RequiredCheck(
            party_kind=PartyKind.CPO, check_kind=REGISTER, valid_from=date(2018, 1, 1), valid_days=366
        )
    ]
    reason = withholding_reason(party(check), rules, today=TODAY)
    assert reason == (f"commercial register extract: lapsed on {check.valid_until}" if days <= 0 else None)


def test_a_requirement_begins_on_its_day_and_a_later_row_takes_its_place() -> None:
    first = RequiredCheck(party_kind=PartyKind.CPO, check_kind=REGISTER, valid_from=TODAY, valid_days=366)
    second = replace(first, valid_from=TODAY + timedelta(days=10), valid_days=30)
    rules = [second, first]
    assert withholding_reason(party(), rules, today=TODAY - timedelta(days=1)) is None
    assert checks_of(PartyKind.CPO, rules, day=TODAY) == [first]
    assert checks_of(PartyKind.CPO, rules, day=second.valid_from) == [second]


def test_a_check_never_counts_longer_than_its_requirement() -> None:
    screening = replace(NEW, kind=PartyCheckKind.SANCTIONS_SCREENING)
    longest = TODAY + timedelta(days=31)
    assert valid_until(screening, PartyKind.CPO, RULES, today=TODAY) == longest
    later = replace(screening, valid_until=TODAY + timedelta(days=90))
    assert valid_until(later, PartyKind.CPO, RULES, today=TODAY) == longest
    sooner = replace(screening, valid_until=TODAY + timedelta(days=5))
    assert valid_until(sooner, PartyKind.CPO, RULES, today=TODAY) == sooner.valid_until
    assert valid_until(NEW_NAME, PartyKind.CPO, RULES, today=TODAY) is None


@pytest.mark.parametrize("kind", [kind for kind in PartyCheckKind if kind is not NAME])
def test_a_failed_check_holds_whatever_is_required(kind: PartyCheckKind) -> None:
    failed = recorded(replace(NEW, kind=kind, result=PartyCheckResult.FAILED))
    assert withholding_reason(party(failed), (), today=TODAY) == f"{TITLES[kind]}: failed on 2026-11-05"
    assert withholding_reason(party(), (), today=TODAY) is None


def test_a_name_that_did_not_match_holds_until_a_second_person_confirms_it() -> None:
    unlike = recorded(replace(NEW_NAME, result=PartyCheckResult.NO_MATCH))
    reason = withholding_reason(party(unlike, version=1), (), today=TODAY)
    assert reason == "payee name check: no_match on 2026-11-05; a second person confirms it"
    with pytest.raises(ClearingConflictError, match="another person"):
        check_confirmation(unlike, unlike.id, by="Anna")
    assert check_confirmation(unlike, unlike.id, by="ben") is unlike
    confirmed = replace(unlike, id=new_id(), confirms=unlike.id, recorded_by="ben", note="the parent's")
    assert withholding_reason(party(confirmed, version=1), RULES[:0], today=TODAY) is None
    with pytest.raises(ClearingConflictError, match="already"):
        check_confirmation(confirmed, confirmed.id, by="carla")


def test_only_the_latest_check_of_an_account_is_confirmed() -> None:
    unlike = recorded(replace(NEW_NAME, result=PartyCheckResult.NO_MATCH))
    for current in (None, recorded(NEW_NAME), recorded(replace(NEW_NAME, result=PartyCheckResult.NO_MATCH))):
        with pytest.raises(ClearingConflictError, match="latest"):
            check_confirmation(current, unlike.id, by="ben")


@pytest.mark.parametrize(
    ("adverse", "better"),
    [
        (replace(NEW, result=PartyCheckResult.FAILED), NEW),
        (replace(NEW_NAME, result=PartyCheckResult.NO_MATCH), NEW_NAME),
    ],
)
def test_nobody_ends_an_adverse_check_of_their_own(adverse: NewPartyCheck, better: NewPartyCheck) -> None:
    with pytest.raises(ClearingConflictError, match="another person"):
        check_new(better, current=recorded(adverse), by="anna", today=TODAY)
    with pytest.raises(InvalidPartyCheckError, match="note"):
        check_new(better, current=recorded(adverse), by="ben", today=TODAY)
    check_new(replace(better, note="a namesake"), current=recorded(adverse), by="ben", today=TODAY)
    check_new(adverse, current=recorded(adverse), by="anna", today=TODAY)


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (replace(NEW, result=PartyCheckResult.MATCH), "result"),
        (replace(NEW_NAME, result=PartyCheckResult.PASSED), "result"),
        (replace(NEW_NAME, details_version=None), "bank_details_version"),
        (replace(NEW, details_version=1), "bank_details_version"),
        (replace(NEW, performed_by="  "), "performed_by"),
        (replace(NEW, checked_on=TODAY + timedelta(days=1)), "checked_on"),
        (replace(NEW, valid_until=TODAY), "valid_until"),
        (replace(NEW_NAME, result=PartyCheckResult.CLOSE_MATCH), "note"),
        (replace(NEW_NAME, result=PartyCheckResult.NOT_POSSIBLE), "note"),
    ],
)
def test_a_check_that_says_too_little_is_rejected_by_field(new: NewPartyCheck, field: str) -> None:
    with pytest.raises(InvalidPartyCheckError) as caught:
        check_new(new, current=None, by="anna", today=TODAY)
    assert caught.value.field == field
