"""Sanctions screening with made-up names: what is alike, what a person cleared, what is screened again."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.parties.party_checks import NewPartyCheck, PartyCheck, PartyCheckKind, PartyCheckResult
from clearing.sanctions.likeness import is_comparable, near, neighbors, words
from clearing.sanctions.screening import (
    SCREENER,
    SanctionsEntry,
    SanctionsIndex,
    SanctionsList,
    cleared_marks,
    plan_screening,
)
from gateway.ids import new_id

TODAY = date(2026, 11, 5)
LISTED = SanctionsList(
    published_on=TODAY,
    digest="a" * 64,
    entries=(
        SanctionsEntry(id="EU.1", names=("Волтова Енергия ООД", "Voltova Energiya")),
        SanctionsEntry(id="EU.2", names=("Ørsmark Ålborg Testsen",)),
        SanctionsEntry(id="EU.3", names=("Zorp",)),
    ),
)


def plan(
    names: list[str], history: list[PartyCheck], *, listed: SanctionsList = LISTED
) -> NewPartyCheck | None:
    return plan_screening(names, history, sanctions=listed, index=SanctionsIndex(listed), today=TODAY)


def stored(new: NewPartyCheck | None, *, by: str = SCREENER) -> PartyCheck:
    assert new is not None
    return PartyCheck(
        id=new_id(),
        party_id="NL-ABC",
        kind=new.kind,
        result=new.result,
        performed_by=new.performed_by,
        checked_on=new.checked_on,
        valid_until=new.valid_until,
        reference=new.reference,
        note=new.note,
        details_version=None,
        confirms=None,
        recorded_by=by,
        recorded_at=datetime(2026, 11, 5, tzinfo=UTC),
    )


def cleared(check: PartyCheck) -> PartyCheck:
    return replace(
        check, id=new_id(), result=PartyCheckResult.PASSED, reference="", note="namesake", recorded_by="ben"
    )


@pytest.mark.parametrize(
    "name",
    ["Voltova Energiya B.V.", "VOLTOVA-ENERGIYA", "Волтова Енергия", "Voltova Energiya Nederland GmbH"],
)
def test_a_name_is_alike_in_any_script_case_and_legal_form(name: str) -> None:
    assert {hit.entry_id for hit in SanctionsIndex(LISTED).find([name])} == {"EU.1"}


def test_accents_and_order_make_no_difference() -> None:
    assert words("Ørsmark Ålborg Testsen") == words("TESTSEN, Orsmark Alborg")
    assert [hit.entry_id for hit in SanctionsIndex(LISTED).find(["Testsen Orsmark Alborg"])] == ["EU.2"]
    assert [hit.entry_id for hit in SanctionsIndex(LISTED).find(["Testsen Orsmark"])] == ["EU.2"]


@pytest.mark.parametrize(
    "name",
    [
        "Voltova Energija",  # other romanizations of one sound
        "Woltowa Energiia",
        "Voltovva Energiya",
        "Voltowa Energyia",  # swapped
        "Voltva Energiya",  # one letter missing
        "Voltova Enerkiya",  # one wrong
        "Energiya Voltovas",  # one too many, other order
        "Volotva Enegriya Nederland B.V.",  # one in each word, within a longer name
    ],
)
def test_one_wrong_letter_a_word_and_other_romanizations_are_found(name: str) -> None:
    assert {hit.entry_id for hit in SanctionsIndex(LISTED).find([name])} == {"EU.1"}


@pytest.mark.parametrize(
    "name", ["Volta Energia", "Voltova Energetika", "Zorb", "Oersmark Testsen Berg", "Testsen"]
)
def test_two_wrong_letters_or_a_short_word_are_another_name(name: str) -> None:
    assert SanctionsIndex(LISTED).find([name]) == []


@settings(max_examples=300, deadline=None)
@given(word=st.text("abcdefghijklmnopqrstuvwxyz", min_size=6, max_size=14), data=st.data())
def test_near_words_share_a_key_so_that_the_index_finds_them(word: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(word) - 2))
    letter = data.draw(st.sampled_from("abcxyz"))
    edited = data.draw(
        st.sampled_from(
            [
                word[:place] + word[place + 1 :],
                word[:place] + letter + word[place:],
                word[:place] + letter + word[place + 1 :],
                word[:place] + word[place + 1] + word[place] + word[place + 2 :],
            ]
        )
    )
    assert near(word, edited)
    assert near(edited, word)
    assert set(neighbors(word)) & set(neighbors(edited))


@pytest.mark.parametrize("name", ["充电有限公司", "شركة الشحن", "ABC 充电", "123", ""])
def test_a_name_that_can_not_be_compared_is_never_passed(name: str) -> None:
    assert not is_comparable(name)
    new = plan([name], [])
    assert new is not None
    assert new.result is PartyCheckResult.FAILED
    assert new.note == f"can't be compared, screen it by hand: {name}"
    assert plan([name], [stored(new)]) is None
    by_hand = cleared(stored(new))
    newer = replace(LISTED, digest="b" * 64)
    assert plan([name], [by_hand, stored(new)], listed=newer) is None  # until that check lapses


def test_an_entry_that_no_name_can_be_compared_with_is_named() -> None:
    index = SanctionsIndex(
        replace(LISTED, entries=(*LISTED.entries, SanctionsEntry(id="EU.9", names=("充电",))))
    )
    assert index.not_compared == ["EU.9"]


@pytest.mark.parametrize("name", ["Voltova Laden B.V.", "Zorp Laadpalen B.V.", "Energiya", "B.V.", "..."])
def test_one_common_word_is_no_hit(name: str) -> None:
    assert SanctionsIndex(LISTED).find([name]) == []


def test_a_listed_name_of_one_word_is_found_alone() -> None:
    assert [hit.entry_id for hit in SanctionsIndex(LISTED).find(["Zorp Ltd."])] == ["EU.3"]


def test_a_hit_fails_and_no_hit_passes_until_the_list_is_too_old() -> None:
    failed, passed = plan(["Zorp"], []), plan(["ABC Laden"], [])
    assert failed is not None
    assert passed is not None
    assert (failed.result, failed.note) == (PartyCheckResult.FAILED, "EU.3 Zorp")
    assert (passed.result, passed.note) == (PartyCheckResult.PASSED, "")
    assert passed.valid_until == TODAY + timedelta(days=31)
    old = replace(LISTED, published_on=TODAY - timedelta(days=31))
    assert plan(["ABC Laden"], [], listed=old) is None


def test_the_same_names_and_list_are_screened_once() -> None:
    for names in (["Zorp"], ["ABC Laden"]):
        assert plan(names, [stored(plan(names, []))]) is None


def test_a_cleared_hit_stays_cleared_in_a_newer_list() -> None:
    failed = stored(plan(["Zorp"], []))
    history = [cleared(failed), failed]
    assert len(cleared_marks(history)) == 1
    newer = replace(LISTED, digest="b" * 64)
    again = plan(["Zorp"], history, listed=newer)
    assert again is not None
    assert (again.result, again.note) == (PartyCheckResult.PASSED, "cleared earlier: EU.3 Zorp")
    history = [stored(again), *history]
    third = plan(["Zorp"], history, listed=replace(LISTED, digest="c" * 64))
    assert third is not None
    assert third.result is PartyCheckResult.PASSED


def test_a_changed_name_or_entry_is_a_new_hit() -> None:
    failed = stored(plan(["Zorp"], []))
    history = [cleared(failed), failed]
    renamed = plan(["Zorp Ltd"], history)
    entry = SanctionsEntry(id="EU.3", names=("ZORP",))
    changed = plan(["Zorp"], history, listed=replace(LISTED, digest="b" * 64, entries=(entry,)))
    for new in (renamed, changed):
        assert new is not None
        assert new.result is PartyCheckResult.FAILED


def test_a_hit_that_nobody_cleared_is_never_passed_by_a_later_screening() -> None:
    failed = stored(plan(["Zorp"], []))
    assert plan(["ABC Laden"], [failed]) is None
    by_person = replace(failed, recorded_by="anna", reference="")
    assert plan(["ABC Laden"], [by_person]) is None
    confirmed = replace(cleared(failed), result=PartyCheckResult.FAILED)
    assert cleared_marks([confirmed, failed]) == frozenset()


def test_checks_of_other_kinds_clear_nothing() -> None:
    failed = stored(plan(["Zorp"], []))
    register = replace(cleared(failed), kind=PartyCheckKind.COMMERCIAL_REGISTER)
    assert cleared_marks([register, failed]) == frozenset()
