"""How long a hold lasts by its scheme."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.payments.psp.stripe.adapter import STRIPE_RULES

AT = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("scheme", "merchant_initiated", "lasts"),
    [
        ("visa", False, timedelta(days=7)),
        ("visa", True, timedelta(days=4, hours=18)),
        ("mastercard", False, timedelta(days=7)),
        ("mastercard", True, timedelta(days=7)),
        (None, False, timedelta(days=7)),
        ("a scheme of tomorrow", True, timedelta(days=7)),
    ],
)
def test_a_hold_lasts_as_its_scheme_says(
    *, scheme: str | None, merchant_initiated: bool, lasts: timedelta
) -> None:
    ends = STRIPE_RULES.hold_ends(scheme=scheme, merchant_initiated=merchant_initiated, held_at=AT)
    assert ends - AT == lasts


def test_before_the_first_row_the_shortest_counts() -> None:
    ends = STRIPE_RULES.hold_ends(
        scheme="mastercard", merchant_initiated=False, held_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    assert ends == datetime(2020, 1, 5, 18, tzinfo=UTC)


def test_every_row_has_a_source() -> None:
    assert all(row.source for row in STRIPE_RULES.hold_validities)
