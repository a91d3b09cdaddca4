"""What if: the command shows the split before anyone signs, and says where its input is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.clearing import command

AGREEMENT: dict[str, Any] = {
    "id": "agr-1",
    "version": 1,
    "cpo_id": "NL-ABC",
    "valid_from": "2026-01-01T00:00:00+01:00",
    "terms": {
        "legal_model": "reseller",
        "currency": "EUR",
        "shares": [
            {"role": "demand_partner", "basis_points": 800},
            {"role": "platform", "basis_points": 1200, "floor_minor": 25},
        ],
    },
}
SESSION: dict[str, Any] = {
    "captured_minor": 1210,
    "currency": "EUR",
    "tax_jurisdiction": "NL",
    "time_zone": "Europe/Amsterdam",
    "sale_at": "2026-10-13T12:00:00Z",
    "energy_kwh": "20.5",
    "parties": {
        "platform": {
            "id": "platform",
            "country": "CH",
            "settlement_currency": "CHF",
            "vat_id": "CHE1",
            "taxable_dealer": True,
        },
        "cpo": {"id": "NL-ABC", "country": "NL", "settlement_currency": "EUR", "vat_id": "NL1"},
        "demand_partner": {"id": "app", "country": "CH", "settlement_currency": "CHF", "vat_id": "CHE2"},
    },
}


def run(tmp_path: Path, session: dict[str, Any], *options: str) -> Result:
    agreement_path, session_path = tmp_path / "agreement.json", tmp_path / "session.json"
    agreement_path.write_text(json.dumps(AGREEMENT))
    session_path.write_text(json.dumps(session))
    return CliRunner().invoke(command, ["simulate", str(agreement_path), str(session_path), *options])


def test_a_session_is_split_taxed_and_exchanged_as_it_would_be(tmp_path: Path) -> None:
    result = json.loads(run(tmp_path, SESSION, "--json").output)
    # 12.10 = 10.00 + 2.10; 8.00 / 0.80 / 1.20. The Swiss partner adds 8.1 %: 0.86 EUR at 0.9244 is 0.80 CHF.
    assert [(leg["leg"], leg["net"], leg["vat"]) for leg in result["supplies"]] == [
        ("to_driver", 1000, 210),
        ("to_dealer", 800, 0),
        ("commission", 80, 6),
    ]
    assert {line["party_id"]: (line["amount_minor"], line["currency"]) for line in result["payables"]}[
        "NL-ABC"
    ] == (800, "EUR")
    assert {line["due_date"] for line in result["payables"]} == {"2026-10-15"}
    assert result["fx"][0]["rate_date"] == "2026-10-12"


def test_tables_show_the_same(tmp_path: Path) -> None:
    shown = run(tmp_path, SESSION).output
    assert "cpo:NL-ABC:payable" in shown
    assert "12.10 EUR" in shown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"currency": 5}, "$.currency"),
        ({"energy_kwh": "much"}, "$.energy_kwh"),
        ({"parties": {}}, "cpo is missing"),
        ({"sale_at": "2026-10-13T12:00:00"}, "needs a time zone"),
        ({"sale_at": "2025-10-13T12:00:00Z"}, "not in force"),
        ({"tax_jurisdiction": "QQ"}, "not known"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_wrong_input_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    rejected = run(tmp_path, {**SESSION, **changes})
    assert rejected.exit_code != 0
    assert message in str(rejected.exception)
