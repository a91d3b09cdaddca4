"""Parties: which VAT id counts on which day, and in which tax_jurisdiction."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import InvalidPartyError
from clearing.parties.party import Party, VatEvidence, VatRegistration
from clearing.parties.registration import normalized
from clearing.reference_data import bundled_data
from tests.fakes import clearing_fixtures as world

NL, DE, FR = world.VAT_IDS["NL"], world.VAT_IDS["DE"], world.VAT_IDS["FR"]
DAY = date(2026, 10, 13)
RATES = bundled_data.vat_rates()
BOTH = world.registered(world.NL_CPO, "DE")


def registration(
    tax_jurisdiction: str, vat_id: str, first: date, last: date | None = None
) -> VatRegistration:
    return VatRegistration(tax_jurisdiction=tax_jurisdiction, vat_id=vat_id, valid_from=first, valid_to=last)


def test_an_id_counts_in_its_own_tax_jurisdiction() -> None:
    assert BOTH.vat_ids_on(DAY) == {"NL": NL, "DE": DE}
    assert BOTH.vat_id_on(DAY) == NL


def test_a_registration_counts_only_within_its_days_and_its_evidence() -> None:
    ended = replace(BOTH, vat_registrations=(registration("DE", DE, date(2026, 1, 1), DAY),))
    assert "DE" not in ended.vat_ids_on(date(2025, 12, 31))
    assert ended.vat_ids_on(DAY)["DE"] == DE
    assert "DE" not in ended.vat_ids_on(DAY + timedelta(days=1))
    unproven = replace(BOTH, vat_evidence=BOTH.vat_evidence[:1])
    assert unproven.vat_ids_on(DAY) == {"NL": NL}


def test_one_rejected_id_leaves_the_other_valid() -> None:
    rejected = replace(BOTH, vat_evidence=(*BOTH.vat_evidence, world.evidence(DE, since=DAY, valid=False)))
    assert rejected.vat_ids_on(DAY) == {"NL": NL}
    assert rejected.vat_ids_on(DAY - timedelta(days=1)) == {"NL": NL, "DE": DE}


def test_the_id_of_a_registration_that_was_removed_is_never_the_partys_own() -> None:
    later = world.evidence(DE, since=date(2026, 1, 1))
    gone = replace(BOTH, vat_registrations=(), vat_evidence=(*BOTH.vat_evidence, later))
    assert gone.vat_ids_on(DAY) == {"NL": NL}


def test_an_earlier_id_of_the_party_counts_on_its_days() -> None:
    other = "NL100000009B01"
    moved = replace(
        world.NL_CPO, vat_id=other, vat_evidence=(world.evidence(NL), world.evidence(other, since=DAY))
    )
    assert (moved.vat_id_on(DAY - timedelta(days=1)), moved.vat_id_on(DAY)) == (NL, other)


def test_a_party_whose_id_was_removed_is_still_a_party() -> None:
    # What is stored must always be readable: one such party must not stop the clearing of all.
    without = replace(world.NL_CPO, vat_id=None)
    assert without.vat_ids_on(DAY) == {}


@pytest.mark.parametrize(
    ("registrations", "message"),
    [
        (
            (registration("NL", DE, DAY),),
            r"vat_registrations\[0\].tax_jurisdiction: NL is the place of establishment",
        ),
        ((registration("DE", NL, DAY),), r"vat_registrations\[0\].vat_id: .* is of the same state as vat_id"),
        ((registration("DE", DE, DAY, DAY - timedelta(days=1)),), "valid_to: lies before valid_from"),
        (
            (registration("DE", DE, DAY), registration("DE", DE, DAY + timedelta(days=9))),
            r"vat_registrations\[1\]: two registrations in DE are in force at once",
        ),
    ],
)
def test_registrations_that_contradict_each_other_are_rejected(
    registrations: tuple[VatRegistration, ...], message: str
) -> None:
    with pytest.raises(InvalidPartyError, match=message):
        replace(world.NL_CPO, vat_registrations=registrations)


def test_every_id_is_written_in_its_states_form() -> None:
    party = replace(
        world.NL_CPO,
        vat_id="0044.95.445 B01",
        vat_registrations=(registration("FR", "40 303 265 045", DAY),),
        vat_evidence=(world.evidence("0044.95.445 B01"), world.evidence("40 303 265 045")),
    )
    written = normalized(party, RATES)
    assert written.vat_ids_on(DAY) == {"NL": NL, "FR": FR}
    assert normalized(written, RATES) == written


@pytest.mark.parametrize(
    ("tax_jurisdiction", "country", "vat_id", "written"),
    [
        ("DE-BUSINGEN", "DE", "CHE-107.787.577 MWST", "CHE107787577MWST"),
        ("MC", "MC", "FR40303265045", "FR40303265045"),
        ("PT-30", "PT", "PT 100000002", "PT100000002"),
        ("GR-AEGEAN", "GR", "GR094259216", "EL094259216"),
        ("ES-CN", "ES", "ESA13585625", "ESA13585625"),
        ("IT-LIVIGNO", "IT", "00100000017", "IT00100000017"),
    ],
)
def test_a_tax_jurisdiction_has_the_ids_of_its_state(
    tax_jurisdiction: str, country: str, vat_id: str, written: str
) -> None:
    party = replace(
        world.NL_CPO,
        country=country,
        tax_jurisdiction=tax_jurisdiction,
        vat_id=vat_id,
        vat_evidence=(world.evidence(vat_id),),
    )
    assert normalized(party, RATES).vat_id == written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vat_id": "NL004495445B02X"}, "vat_id: 'NL004495445B02X' is not a VAT id of NL"),
        ({"vat_id": None}, "there is evidence of a VAT id, but no VAT id"),
        ({"vat_evidence": (world.evidence("DE136695977"),)}, r"vat_evidence\[0\].vat_id"),
    ],
)
def test_what_is_no_id_is_rejected_with_its_field(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidPartyError, match=message):
        normalized(replace(world.NL_CPO, **changes), RATES)  # type: ignore[arg-type]


FINDINGS = st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.sampled_from([NL, DE])), max_size=8)


@given(findings=FINDINGS, start=st.integers(0, 30), length=st.integers(0, 15))
def test_the_ids_of_a_period_are_those_of_its_last_day_with_one(
    findings: list[tuple[int, bool, str]], start: int, length: int
) -> None:
    first = date(2026, 10, 1)
    party: Party = replace(
        BOTH,
        vat_evidence=tuple(
            VatEvidence(
                effective_from=first + timedelta(days=day),
                vat_id=vat_id,
                valid=valid,
                source="declared",
                checked_at=world.LONG_AGO + timedelta(days=place),
            )
            for place, (day, valid, vat_id) in enumerate(findings)
        ),
    )
    days = [first + timedelta(days=start + day) for day in range(length + 1)]
    expected: dict[str, str] = {}
    for day in days:
        expected |= party.vat_ids_on(day)
    assert party.vat_ids_within(days[0], days[-1]) == expected
