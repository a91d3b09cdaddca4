"""What an operator may choose about the sandbox PSP. Must not know: where the choices were read from."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sandbox.stripe.conversion import PER_EURO

DEFAULT_API_KEY: Final = "sk_test_sandbox"
DEFAULT_PUBLISHABLE_KEY: Final = "pk_test_sandbox"
DEFAULT_API_VERSION: Final = "2026-10-28.endive"
PREVIEW_VERSION: Final = "2026-10-28.preview"  # shows the settlement currencies, as the provider's does
EVERY_EVENT: Final = ("*",)
PLATFORM_ACCOUNT: Final = "acct_platform"

_API_KEY: Final = re.compile(r"(?:sk|rk)_test_[A-Za-z0-9_]{1,240}\Z")
RESTRICTED_KEY_FORM: Final = re.compile(r"rk_test_[A-Za-z0-9_]{1,240}\Z")
_PUBLISHABLE_KEY: Final = re.compile(r"pk_test_[A-Za-z0-9_]{1,240}\Z")


class SettingsError(ValueError):
    """A setting cannot be used; the message names it and the valid values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PspSettings:
    """One frozen set of choices.

    `fee_basis_points` and `fee_fixed_cents` price each capture (cents mean hundredths of the currency's
    major unit). `webhook_url` receives `webhook_events`; where `connect_webhook_events` are given, those of
    connected accounts come from a second endpoint at the same URL, else from the first. `settlement_days`:
    days until captured money is available. `payout_days`: days until a payout is paid. `topup_days`: days
    until a top-up arrives (0: at once). `settlement_currencies`: those in which the platform's account
    receives money, its default first; another currency is converted, at rates less
    `conversion_basis_points`; none: every currency settles in itself. `search_lag_s`: how long a new object
    stays invisible to search, as with the real provider.
    `seed` makes ids repeat; `start_at` (Unix seconds) freezes the business clock until it is set;
    `pull_webhooks` hands events to the caller instead of delivering them in the background.
    `payment_method_types` are those that the account has activated. Without `card_features` the account has
    no interchange-plus pricing: it is refused increments and captures above the hold.
    """

    api_keys: tuple[str, ...] = field(default=(DEFAULT_API_KEY,), repr=False)
    publishable_key: str = DEFAULT_PUBLISHABLE_KEY
    api_version: str = DEFAULT_API_VERSION
    state_path: Path | None = None
    webhook_url: str | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    webhook_events: tuple[str, ...] = EVERY_EVENT
    connect_webhook_events: tuple[str, ...] = ()
    fee_basis_points: int = 150
    fee_fixed_cents: int = 25
    dispute_fee_cents: int = 2000
    settlement_days: int = 2
    payout_days: int = 1
    topup_days: int = 0
    settlement_currencies: tuple[str, ...] = ()
    conversion_basis_points: int = 200
    overcapture_percent: int = 15
    search_lag_s: int = 0
    seed: int | None = None
    start_at: int | None = None
    pull_webhooks: bool = False
    cache_records: int = 50_000
    payment_method_types: tuple[str, ...] = ("card", "card_present", "link")
    card_features: bool = True

    def __post_init__(self) -> None:
        """Reject what can't work. Raises SettingsError."""
        if not self.api_keys or not all(_API_KEY.match(key) for key in self.api_keys):
            raise SettingsError("api_keys: each must look like sk_test_... (this PSP takes test keys only)")
        if not _PUBLISHABLE_KEY.match(self.publishable_key):
            raise SettingsError("publishable_key: must look like pk_test_...")
        if self.webhook_url is not None and not self.webhook_secret:
            raise SettingsError("webhook_secret: needed with webhook_url, so that the receiver can verify it")
        if self.webhook_url is not None and not self.webhook_url.startswith(("http://", "https://")):
            raise SettingsError("webhook_url: must start with http:// or https://")
        if self.api_version != DEFAULT_API_VERSION:
            raise SettingsError(f"api_version: this PSP plays {DEFAULT_API_VERSION} only")
        unknown = [currency for currency in self.settlement_currencies if currency not in PER_EURO]
        if unknown:
            raise SettingsError(
                f"settlement_currencies: {', '.join(unknown)}: this PSP converts {', '.join(PER_EURO)}"
            )
        bounded = {
            "fee_basis_points": (self.fee_basis_points, 10_000),
            "fee_fixed_cents": (self.fee_fixed_cents, 100_000),
            "dispute_fee_cents": (self.dispute_fee_cents, 100_000),
            "settlement_days": (self.settlement_days, 90),
            "payout_days": (self.payout_days, 90),
            "topup_days": (self.topup_days, 90),
            "conversion_basis_points": (self.conversion_basis_points, 1_000),
            "overcapture_percent": (self.overcapture_percent, 100),
            "search_lag_s": (self.search_lag_s, 86_400),
        }
        for name, (value, upper) in bounded.items():
            if not 0 <= value <= upper:
                raise SettingsError(f"{name}: {value} is outside 0 to {upper}")
