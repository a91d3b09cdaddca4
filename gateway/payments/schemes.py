"""How long a card scheme lets a hold stand, as dated data: the fall-back where the PSP does not say.

Owns: the rows and their source. Must not know: the PSP, SQL, the clock. What the PSP itself says of a hold
(`capture_before`) always counts first.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

ANY_SCHEME: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldValidity:
    """From `valid_from` on, a hold of `scheme` stands for `lasts`; merchant-initiated ones may end sooner."""

    scheme: str
    merchant_initiated: bool
    lasts: timedelta
    valid_from: date
    source: str


_SOURCE: Final = "docs.stripe.com/payments/place-a-hold-on-a-payment-method"
HOLD_VALIDITIES: Final = (
    HoldValidity(
        scheme="visa",
        merchant_initiated=False,
        lasts=timedelta(days=7),
        valid_from=date(2024, 1, 1),
        source=_SOURCE,
    ),
    HoldValidity(
        scheme="visa",
        merchant_initiated=True,
        lasts=timedelta(days=4, hours=18),
        valid_from=date(2024, 1, 1),
        source=_SOURCE,
    ),
    HoldValidity(
        scheme=ANY_SCHEME,
        merchant_initiated=False,
        lasts=timedelta(days=7),
        valid_from=date(2024, 1, 1),
        source=_SOURCE,
    ),
    HoldValidity(
        scheme=ANY_SCHEME,
        merchant_initiated=True,
        lasts=timedelta(days=7),
        valid_from=date(2024, 1, 1),
        source=_SOURCE,
    ),
)


def hold_ends(*, scheme: str | None, merchant_initiated: bool, held_at: datetime) -> datetime:
    """When a hold made at `held_at` (aware) ends by its scheme's rule in force that day."""
    in_force = [
        row
        for row in HOLD_VALIDITIES
        if row.valid_from <= held_at.date()
        and row.merchant_initiated is merchant_initiated
        and row.scheme in {scheme or ANY_SCHEME, ANY_SCHEME}
    ]
    if not in_force:  # before the first row: the shortest of all, so that nothing is captured too late
        return held_at + min(row.lasts for row in HOLD_VALIDITIES)
    best = max(in_force, key=lambda row: (row.scheme != ANY_SCHEME, row.valid_from))
    return held_at + best.lasts
