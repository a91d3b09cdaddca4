"""Agreements: what can't clear is rejected with the path of the field; JSON is canonical."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import InvalidAgreementError
from clearing.parties.agreement import Share, Terms, choose
from clearing.parties.terms_json import encode_terms, parse_agreement, parse_terms, terms_sha256
from tests.fakes import clearing_fixtures as world

VALID: dict[str, Any] = {
    "id": "agr-1",
    "version": 1,
    "cpo_id": "NL-ABC",
    "valid_from": "2026-01-01T00:00:00+01:00",
    "terms": {
        "legal_model": "reseller",
        "currency": "EUR",
        "shares": [
            {"role": "demand_partner", "basis_points": 800},
            {"role": "platform", "basis_points": 1200, "per_kwh": "0.010"},
        ],
    },
}


def changed(path: str, value: Any) -> bytes:
    document = json.loads(json.dumps(VALID))
    target = document
    *parents, last = path.split(".")
    for name in parents:
        target = target[int(name) if name.isdigit() else name]
    target[int(last) if last.isdigit() else last] = value
    return json.dumps(document).encode()


def test_a_valid_agreement_is_read_and_written_canonically() -> None:
    agreement = parse_agreement(json.dumps(VALID).encode())
    again = parse_terms(encode_terms(agreement.terms))
    assert terms_sha256(again) == terms_sha256(agreement.terms)
    same = json.loads(changed("terms.shares.1.per_kwh", "0.01"))
    assert terms_sha256(parse_agreement(json.dumps(same).encode()).terms) == terms_sha256(agreement.terms)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("version", 0, "$.version"),
        ("version", "1", "$.version"),
        ("valid_from", "2026-01-01T00:00:00", "$.valid_from"),
        ("valid_until", "2025-01-01T00:00:00Z", "$.valid_until"),
        ("terms.legal_model", "broker", "$.terms.legal_model"),
        ("terms.surprise", 1, "$.terms"),
        ("terms.fx_markup_bps", 1001, "$.terms.fx_markup_bps"),
        ("terms.shares.0.role", "cpo", "$.terms.shares[0].role"),
        ("terms.shares.1.role", "demand_partner", "$.terms.shares[1].role"),
        ("terms.shares.0.basis_points", -1, "$.terms.shares[0].basis_points"),
        ("terms.shares.0.basis_points", 9000, "$.terms.shares"),
        ("terms.shares.0.per_kwh", "cheap", "$.terms.shares[0].per_kwh"),
        ("terms.shares.0.per_kwh", "-1", "$.terms.shares[0].per_kwh"),
        ("terms.shares.0.per_kwh", "NaN", "$.terms.shares[0].per_kwh"),
        ("terms.shares.0.fixed_minor", 1.5, "$.terms.shares[0].fixed_minor"),
        (
            "terms.shares.0",
            {"role": "emsp", "floor_minor": 9, "cap_minor": 5},
            "$.terms.shares[0].floor_minor",
        ),
        ("terms.shares.0.tiers", [{"from_sessions": 0, "basis_points": 1}], "$.terms.shares[0].tiers"),
    ],
)
def test_what_can_not_clear_is_rejected_at_its_place(path: str, value: Any, where: str) -> None:
    with pytest.raises(InvalidAgreementError) as rejected:
        parse_agreement(changed(path, value))
    assert rejected.value.path == where


def test_no_json_at_all_is_rejected() -> None:
    with pytest.raises(InvalidAgreementError):
        parse_agreement(b"{")


def test_a_partners_own_agreement_comes_before_the_general_one() -> None:
    general = world.agreement(world.NL_CPO)
    own = replace(world.agreement(world.NL_CPO, partner="superapp"), id="own")
    at = world.SALE_AT
    assert choose([general, own], demand_partner_id="superapp", at=at) is own
    assert choose([general, own], demand_partner_id="parking", at=at) is general


def test_an_agreement_binds_from_its_first_instant_to_before_its_last() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    end = start + timedelta(days=1)
    agreement = replace(world.agreement(world.NL_CPO), valid_from=start, valid_until=end)
    assert choose([agreement], demand_partner_id="x", at=start) is agreement
    assert choose([agreement], demand_partner_id="x", at=end) is None
    assert choose([agreement], demand_partner_id="x", at=start - timedelta(microseconds=1)) is None


def test_the_later_version_binds() -> None:
    first, second = world.agreement(world.NL_CPO), world.agreement(world.NL_CPO, version=2)
    assert choose([second, first], demand_partner_id="x", at=world.SALE_AT) is second


some_shares = st.lists(
    st.builds(
        Share,
        role=st.sampled_from([world.Role.PLATFORM, world.Role.EMSP]),
        basis_points=st.integers(0, 5000),
        fixed_minor=st.integers(0, 99),
        per_kwh=st.decimals("0", "9", places=6),
    ),
    max_size=2,
    unique_by=lambda share: share.role,
)


@given(shares=some_shares)
def test_terms_survive_their_json(shares: list[Share]) -> None:
    agreed: Terms = world.terms(shares=tuple(shares))
    assert parse_terms(encode_terms(agreed)) == agreed
