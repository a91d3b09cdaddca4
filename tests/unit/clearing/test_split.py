"""The split: percentages, fixed amounts, tiers, floors, caps, deficits; parts always sum to the whole."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import UnclearableError
from clearing.parties.agreement import Deficit, LegalModel, Role, Share, Terms, Tier
from clearing.sessions.split import split

ALL = frozenset(Role)


def terms(*shares: Share, **changes: object) -> Terms:
    fields: dict[str, object] = {"legal_model": LegalModel.RESELLER, "currency": "EUR", "shares": shares}
    return Terms(**{**fields, **changes})  # type: ignore[arg-type]


def parts(
    net: int, agreed: Terms, *, kwh: str = "10", before: int = 0, present: frozenset[Role] = ALL
) -> dict[Role, int]:
    return split(
        net, energy_kwh=Decimal(kwh), terms=agreed, currency="EUR", present=present, sessions_before=before
    )


PARTNER_8 = Share(role=Role.DEMAND_PARTNER, basis_points=800)
PLATFORM_12 = Share(role=Role.PLATFORM, basis_points=1200)


def test_fifteen_units_at_80_8_12_are_12_1_2() -> None:
    # Exact 12.0, 1.2, 1.8: the unit that is missing goes to the largest remainder.
    assert parts(15, terms(PARTNER_8, PLATFORM_12)) == {
        Role.CPO: 12,
        Role.DEMAND_PARTNER: 1,
        Role.PLATFORM: 2,
    }


def test_one_cent_among_four_parties_goes_to_the_largest_part() -> None:
    site = Share(role=Role.SITE_HOST, basis_points=1000)
    found = parts(1, terms(PARTNER_8, PLATFORM_12, site))
    assert found == {Role.CPO: 1, Role.DEMAND_PARTNER: 0, Role.PLATFORM: 0, Role.SITE_HOST: 0}


def test_tied_remainders_go_to_the_earlier_part() -> None:
    half = Share(role=Role.PLATFORM, basis_points=5000)
    assert parts(1, terms(half)) == {Role.CPO: 1, Role.PLATFORM: 0}
    quarter = (
        Share(role=Role.DEMAND_PARTNER, basis_points=2500),
        Share(role=Role.PLATFORM, basis_points=2500),
    )
    assert parts(2, terms(*quarter)) == {Role.CPO: 1, Role.DEMAND_PARTNER: 1, Role.PLATFORM: 0}


def test_a_negative_amount_mirrors_the_positive_one() -> None:
    agreed = terms(PARTNER_8, PLATFORM_12)
    assert parts(-15, agreed) == {role: -minor for role, minor in parts(15, agreed).items()}


def test_fixed_and_per_kwh_parts_add_to_the_percentage() -> None:
    share = Share(role=Role.PLATFORM, basis_points=1000, fixed_minor=10, per_kwh=Decimal("0.02"))
    # 50.0 + 10 + 12.345 kWh x 2 cents = 84.69, the CPO's 415.31: 85 and 415.
    assert parts(500, terms(share), kwh="12.345") == {Role.CPO: 415, Role.PLATFORM: 85}


def test_floor_and_cap_bound_a_share() -> None:
    share = Share(role=Role.PLATFORM, basis_points=1000, floor_minor=30, cap_minor=60)
    assert parts(100, terms(share))[Role.PLATFORM] == 30
    assert parts(450, terms(share))[Role.PLATFORM] == 45
    assert parts(9000, terms(share))[Role.PLATFORM] == 60


def test_a_tier_applies_from_its_session_on() -> None:
    share = Share(
        role=Role.PLATFORM,
        basis_points=1200,
        tiers=(Tier(from_sessions=1001, basis_points=1000), Tier(from_sessions=5001, basis_points=800)),
    )
    found = [parts(1000, terms(share), before=before)[Role.PLATFORM] for before in (0, 999, 1000, 4999, 5000)]
    assert found == [120, 120, 100, 100, 80]


def test_fees_above_revenue_are_capped_in_order_of_deduction() -> None:
    fees = (Share(role=Role.DEMAND_PARTNER, fixed_minor=30), Share(role=Role.PLATFORM, fixed_minor=40))
    assert parts(50, terms(*fees)) == {Role.CPO: 0, Role.DEMAND_PARTNER: 30, Role.PLATFORM: 20}


def test_fees_above_revenue_are_carried_where_agreed() -> None:
    fees = (Share(role=Role.DEMAND_PARTNER, fixed_minor=30), Share(role=Role.PLATFORM, fixed_minor=40))
    found = parts(50, terms(*fees, deficit=Deficit.CARRY))
    assert found == {Role.CPO: -20, Role.DEMAND_PARTNER: 30, Role.PLATFORM: 40}


def test_a_share_of_a_role_that_no_party_plays_goes_to_the_cpo() -> None:
    present = frozenset({Role.CPO, Role.PLATFORM})
    assert parts(100, terms(PARTNER_8, PLATFORM_12), present=present) == {Role.CPO: 88, Role.PLATFORM: 12}


def test_stacked_channels_each_get_their_part_of_the_net() -> None:
    app = Share(role=Role.DEMAND_PARTNER, basis_points=500)
    emsp = Share(role=Role.EMSP, basis_points=300, fixed_minor=5)
    found = parts(1000, terms(app, emsp, PLATFORM_12))
    assert found == {Role.CPO: 795, Role.DEMAND_PARTNER: 50, Role.EMSP: 35, Role.PLATFORM: 120}


def test_fixed_amounts_in_another_currency_can_not_clear() -> None:
    agreed = terms(Share(role=Role.PLATFORM, fixed_minor=10), currency="CHF")
    with pytest.raises(UnclearableError, match="agree on EUR amounts"):
        parts(100, agreed)
    percent_only = terms(PLATFORM_12, currency="CHF")
    assert parts(100, percent_only)[Role.PLATFORM] == 12


shares = st.lists(
    st.builds(
        Share,
        role=st.sampled_from([Role.PLATFORM, Role.DEMAND_PARTNER, Role.EMSP, Role.SITE_HOST]),
        basis_points=st.integers(0, 2500),
        fixed_minor=st.integers(0, 50),
        per_kwh=st.decimals("0", "0.5", places=4),
        floor_minor=st.none() | st.integers(0, 40),
        cap_minor=st.none() | st.integers(40, 400),
    ),
    max_size=4,
    unique_by=lambda share: share.role,
)


@given(
    net=st.integers(-(10**9), 10**9),
    agreed=st.builds(
        lambda agreed, deficit: terms(*agreed, deficit=deficit), shares, st.sampled_from(Deficit)
    ),
    kwh=st.decimals("0", "200", places=3),
)
def test_parts_sum_to_the_whole_and_no_cap_is_broken(net: int, agreed: Terms, kwh: Decimal) -> None:
    found = parts(net, agreed, kwh=str(kwh))
    assert sum(found.values()) == net
    if agreed.deficit is Deficit.CAP and net >= 0:
        assert all(minor >= 0 for minor in found.values())
    for share in agreed.shares:
        if share.cap_minor is not None:
            assert abs(found[share.role]) <= share.cap_minor
