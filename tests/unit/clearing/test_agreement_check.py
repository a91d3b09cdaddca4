"""Why an agreement can't clear: each finding names its place, and a sound agreement has none."""

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clearing.fx import RateTable
from clearing.parties.agreement import Agreement, Deficit, Role, Share, UnregisteredSeller
from clearing.parties.party import Party
from clearing.reference_data import bundled_data
from clearing.reference_data.dataset import RatesAndCalendars
from clearing.sessions.agreement_check import AgreementFinding, CheckSeverity, check_agreement
from gateway.cli.clearing import command
from tests.fakes import clearing_fixtures as world

REFERENCES = RatesAndCalendars(
    vat=bundled_data.vat_rates(),
    fx=RateTable(bundled_data.ecb_reference_rates()),
    calendars=bundled_data.calendars(),
)
AGREED = replace(world.NL_CPO, self_billing_since=date(2026, 1, 1))
SOUND = world.agreement(world.NL_CPO, partner="superapp")


def check(agreement: Agreement, *known: Party, others: tuple[Agreement, ...] = ()) -> list[AgreementFinding]:
    parties = {**world.PARTIES, AGREED.id: AGREED, **{one.id: one for one in known}}
    return check_agreement(agreement, parties=parties, others=others, references=REFERENCES, at=world.SALE_AT)


def terms(**changes: Any) -> Agreement:
    return replace(SOUND, terms=replace(SOUND.terms, **changes))


def test_a_sound_agreement_has_no_finding() -> None:
    assert check(SOUND) == []
    assert check_agreement(SOUND, parties=None, references=REFERENCES, at=world.SALE_AT) == []


@pytest.mark.parametrize(
    ("agreement", "path", "text"),
    [
        (replace(SOUND, cpo_id="NL-XXX"), "$.cpo_id", "is not registered"),
        (replace(SOUND, cpo_id="superapp"), "$.cpo_id", "registered as demand_partner, not as cpo"),
        (replace(SOUND, demand_partner_id="nobody"), "$.demand_partner_id", "is not registered"),
        (replace(SOUND, valid_until=world.SALE_AT), "$.valid_from", "not in force"),
        (terms(currency="BGN"), "$", "its last day was 2025-12-31"),
        (terms(currency="KWD"), "$", "no KWD-EUR reference rate"),
    ],
    ids=["no_cpo", "no_kind", "no_partner", "over", "lev", "no_rate"],
)
def test_what_would_make_sessions_exceptions_is_an_error(agreement: Agreement, path: str, text: str) -> None:
    first = check(agreement)[0]
    assert (first.severity, first.path) == (CheckSeverity.ERROR, path)
    assert text in first.text


def test_a_tax_jurisdiction_without_a_known_rate_is_an_error() -> None:
    canaries = replace(world.NL_CPO, country="ES", tax_jurisdiction="ES-CN")
    assert "no electricity VAT rate of ES-CN" in check(SOUND, canaries)[0].text


def test_a_seller_without_registration_is_an_error_only_where_sessions_become_exceptions() -> None:
    platform = replace(world.PLATFORM, vat_registrations=())
    (found,) = check(SOUND, platform)
    assert (found.severity, "drivers get receipts" in found.text) == (CheckSeverity.WARNING, True)
    (found,) = check(terms(unregistered_seller=UnregisteredSeller.EXCEPTION), platform)
    assert (found.severity, "no VAT id of NL proven" in found.text) == (CheckSeverity.ERROR, True)


@pytest.mark.parametrize(
    ("agreement", "path", "text"),
    [
        (
            terms(shares=(Share(role=Role.PLATFORM, fixed_minor=150),), deficit=Deficit.CARRY),
            "$.terms.deficit",
            "of a net of 1.00 EUR the CPO would owe 0.50",
        ),
        (
            terms(shares=(Share(role=Role.PLATFORM, fixed_minor=150),)),
            "$.terms.shares",
            "of a net of 1.00 EUR nothing remains for the CPO",
        ),
        (
            terms(shares=(Share(role=Role.PLATFORM, basis_points=10_000),)),
            "$.terms.shares",
            "nothing remains",
        ),
        (terms(refund_charged_to=Role.EMSP), "$.terms.refund_charged_to", "charged to the platform"),
    ],
    ids=["carry", "cap", "whole", "charged_to"],
)
def test_an_effect_that_parties_may_not_expect_is_a_warning(
    agreement: Agreement, path: str, text: str
) -> None:
    found = check(agreement)
    assert {one.severity for one in found} == {CheckSeverity.WARNING}
    assert any(one.path == path and text in one.text for one in found)


def test_other_warnings() -> None:
    (found,) = check(SOUND, world.NL_CPO)
    assert "has not agreed to self-billing" in found.text
    (found,) = check(replace(SOUND, demand_partner_id="parking"))
    assert "'parking' is paid in CHF" in found.text
    older = replace(SOUND, id="older", valid_from=world.LONG_AGO.replace(year=2019))
    (found,) = check(SOUND, others=(older, SOUND))
    assert "'older' version 1 is in force for the same parties" in found.text


def test_the_command_prints_findings_and_fails_where_sessions_would_be_exceptions(tmp_path: Path) -> None:
    written = {
        "id": "agr-1",
        "version": 1,
        "cpo_id": "NL-ABC",
        "valid_from": "2026-01-01T00:00:00+01:00",
        "valid_until": "2026-02-01T00:00:00+01:00",
        "terms": {
            "legal_model": "reseller",
            "currency": "EUR",
            "shares": [{"role": "platform", "fixed_minor": 150}],
        },
    }
    path = tmp_path / "agreement.json"
    path.write_text(json.dumps(written), encoding="utf-8")
    over = CliRunner().invoke(command, ["check", str(path), "--alone", "--at", "2026-03-01T00:00:00Z"])
    assert over.exit_code == 1
    assert "error: $.valid_from: it is not in force" in over.output
    result = CliRunner().invoke(
        command, ["check", str(path), "--alone", "--at", "2026-01-15T00:00:00Z", "--json"]
    )
    assert result.exit_code == 0
    assert [one["severity"] for one in json.loads(result.output)["findings"]] == ["warning"]
    path.write_text('{"id": 1}', encoding="utf-8")
    wrong = CliRunner().invoke(command, ["check", str(path), "--alone"])
    assert "agreement.json: agreement $.id" in wrong.output
