"""The table of personal data: periods, laws, what an operator may change, and a CDR without its driver."""

import json
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli.main import networkcore
from gateway.errors import ConfigurationError
from gateway.jobs import idempotency_key_cleanup
from gateway.personal_data import retention_repository
from gateway.personal_data.blotting import BLOTTED, blot_cdr
from gateway.personal_data.retention_service import BY_OTHER_JOBS, WITH_THEIR_CAUSE, RetentionService
from gateway.personal_data.rules import (
    Disposal,
    KeepPeriod,
    KeepUnit,
    changed_policy,
    default_policy,
    list_not_personal,
    load_policy,
    subtract_months,
)
from gateway.plug_and_charge.contract_pool_service import EVENTS_KEPT
from pnc.decision_lifecycle import RetentionPeriods

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
POLICY = default_policy()


@pytest.mark.parametrize(
    ("at", "months", "expected"),
    [
        (datetime(2026, 11, 30, tzinfo=UTC), 13, datetime(2025, 10, 30, tzinfo=UTC)),
        (datetime(2026, 3, 31, tzinfo=UTC), 1, datetime(2026, 2, 28, tzinfo=UTC)),
        (datetime(2024, 3, 31, tzinfo=UTC), 1, datetime(2024, 2, 29, tzinfo=UTC)),
        (datetime(2026, 1, 5, tzinfo=UTC), 1, datetime(2025, 12, 5, tzinfo=UTC)),
        (datetime(2026, 12, 5, tzinfo=UTC), 12, datetime(2025, 12, 5, tzinfo=UTC)),
    ],
)
def test_months_are_calendar_months(at: datetime, months: int, expected: datetime) -> None:
    assert subtract_months(at, months) == expected


def test_a_german_sale_is_kept_eight_years_and_by_the_platforms_swiss_books_ten() -> None:
    german = changed_policy(POLICY, {"legal": {"also": []}})
    sale = datetime(2026, 2, 1, tzinfo=UTC)
    assert german.kept_until(sale, "DE") == date(2034, 12, 31)  # AO § 147(3), (4)
    assert POLICY.kept_until(sale, "DE") == date(2036, 12, 31)  # OR art. 958f
    assert german.kept_until(sale, "ES-CN") == date(2032, 12, 31)
    assert german.kept_until(sale, "XI") == german.kept_until(sale, "GB") == date(2032, 12, 31)
    assert german.kept_until(sale, "HR") == date(2036, 12, 31)  # unknown here: the longest


def test_the_limit_of_a_country_is_the_first_sale_that_is_still_kept() -> None:
    policy = changed_policy(POLICY, {"legal": {"also": []}})
    limits = policy.legal_limits(NOW)
    assert limits["DE"] == datetime(2018, 1, 1, tzinfo=UTC)
    for country in ("DE", "CH", "NO", "GB"):
        assert policy.kept_until(limits[country], country) >= NOW.date()
        last = datetime(limits[country].year - 1, 12, 31, tzinfo=UTC)
        assert policy.kept_until(last, country) < NOW.date()
    assert limits["*"] == min(limits.values())


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"keep": {"events": "30 days"}}, "keep.events is no rule"),
        ({"keep": {"event": "3 days"}}, "shorter than 7 days"),
        ({"keep": {"psp_event": "30 days"}}, "shorter than 31 days"),
        ({"keep": {"event": "soon"}}, "expected a period such as"),
        ({"keep": {"event": 30}}, "expected a period such as"),
        ({"keep": {"event": "law"}}, "expected a number"),
        ({"keep": {"books": "1 days"}}, "can't be set: it is kept by law"),
        ({"keep": {"idempotency_key": "1 hours"}}, "can't be set"),
        ({"legal_years": {"DE": 0}}, "from 1 to 100"),
        ({"legal": {"also": ["XX"]}}, "expected a list of countries"),
        ({"kept": {}}, "[kept] is not known"),
    ],
)
def test_a_wrong_change_is_named(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        changed_policy(POLICY, given)


def test_an_operator_changes_a_period_by_a_file(tmp_path: Path) -> None:
    path = tmp_path / "retention.toml"
    path.write_text('[keep]\nevent = "30 days"\n[legal_years]\nDE = 12\n')
    policy = load_policy(str(path))
    assert policy.rules["event"].keep == KeepPeriod(unit=KeepUnit.DAYS, count=30)
    assert policy.years("DE") == 12
    assert load_policy(None) is POLICY
    for content, problem in (("keep = ", "Invalid value"), ('[keep]\nx = "1 days"', "keep.x is no rule")):
        path.write_text(content)
        with pytest.raises(ConfigurationError, match=problem):
            load_policy(str(path))
    with pytest.raises(ConfigurationError, match="No such file"):
        load_policy(str(tmp_path / "none.toml"))


def test_a_legal_period_is_confirmed_by_a_source_or_is_said_to_be_from_memory(tmp_path: Path) -> None:
    for country, period in POLICY.legal.items():
        assert period.law, country
        assert period.confirmed == (period.source is not None), country
        assert not period.source or period.source.startswith("https://"), country
    assert {"AT", "CH", "FR", "IT"}.isdisjoint(POLICY.unconfirmed)
    assert {"DK", "*"} <= set(POLICY.unconfirmed)
    path = tmp_path / "retention.toml"
    path.write_text("[legal_years]\nDK = 12\n")
    own = load_policy(str(path))
    assert "DK" not in own.unconfirmed  # the operator answers for it
    assert (own.legal["DK"].years, own.legal["DK"].confirmed) == (12, False)


def test_the_command_says_which_legal_periods_are_from_memory() -> None:
    shown = CliRunner().invoke(networkcore, ["retention", "--legal", "--json"])
    rows = {row["country"]: row for row in json.loads(shown.output)}
    assert rows["DK"]["confirmed"] == "no: from memory"
    assert rows["AT"]["confirmed"] == "yes"
    assert rows["AT"]["source"]


def test_every_rule_whose_time_ends_is_carried_out_by_something() -> None:
    service = RetentionService(policy=POLICY, environment="sandbox")
    ends = {name for name, rule in POLICY.rules.items() if rule.then is not Disposal.NEVER}
    assert ends == set(service.rules) | BY_OTHER_JOBS | WITH_THEIR_CAUSE
    assert not set(service.rules) & (BY_OTHER_JOBS | WITH_THEIR_CAUSE)
    for name in service.rules:
        assert POLICY.rules[name].keep.unit is not KeepUnit.CAUSE, name
    assert set(retention_repository.RULES) < set(service.rules)


def test_what_other_jobs_remove_is_kept_as_the_table_says() -> None:
    def period(name: str) -> Any:
        return NOW - POLICY.rules[name].keep.before(NOW)

    assert period("idempotency_key") == idempotency_key_cleanup.LIFETIME
    assert period("recent_authorization") == idempotency_key_cleanup.TAPS_KEPT
    assert period("decision") == RetentionPeriods().closed
    assert period("contract_pool_event") == EVENTS_KEPT


def test_a_column_is_in_one_list_and_has_a_reason() -> None:
    personal = [column for rule in POLICY.rules.values() for column in rule.columns]
    assert len(set(personal)) == len(personal)
    assert not set(personal) & list_not_personal().keys()
    assert all(list_not_personal().values())
    for rule in POLICY.rules.values():
        assert all((rule.what, rule.why, rule.since, rule.erase)), rule.name


CDR = {
    "id": "CDR-1",
    "start_date_time": "2026-10-01T10:00:00Z",
    "session_id": "S-1",
    "authorization_reference": "ses_1",
    "cdr_token": {"uid": "04AABB", "type": "RFID", "contract_id": "DE8AAABCDEFGH1", "country_code": "DE"},
    "signed_data": {"encoding_method": "OCMF", "signed_values": []},
    "total_energy": 12.3456,
    "total_cost": {"excl_vat": 1.10, "incl_vat": 1.3090},
    "remark": "for Mrs Example",
}


def test_a_blotted_cdr_names_nobody_and_keeps_its_figures() -> None:
    raw = json.dumps(CDR).replace("1.309}", "1.3090}").encode()
    blotted = blot_cdr(raw)
    for text in (b"04AABB", b"DE8AAABCDEFGH1", b"OCMF", b"Example", b'"S-1"', b"ses_1"):
        assert text not in blotted
    kept = json.loads(blotted)
    assert kept["cdr_token"] == {"uid": BLOTTED, "type": "RFID", "contract_id": BLOTTED, "country_code": "DE"}
    assert (kept["id"], kept["total_energy"]) == ("CDR-1", 12.3456)
    assert b"1.3090" in blotted  # every digit
    assert blot_cdr(blotted) == blotted
    assert json.loads(blot_cdr(b'{"id": "C", "auth_id": "DE8A"}')) == {"id": "C", "auth_id": BLOTTED}


@pytest.mark.parametrize("raw", [b"[]", b"\xff", b"null"])
def test_what_is_no_cdr_is_blotted_whole(raw: bytes) -> None:
    assert json.loads(blot_cdr(raw)) == {"blotted": True}
