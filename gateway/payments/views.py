"""What the payment services answer with.

Owns: the shapes of the answers. Must not know: HTTP, the public objects, SQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from clearing.pricing.engine import PricedSession
from clearing.pricing.quote import Quote
from gateway.payments.payer_records import SetupRecord
from gateway.payments.psp.port import RequiresAction
from gateway.payments.records import AuthorizationRecord, CaptureRecord, SessionRecord
from gateway.payments.requests import ChargePoint
from gateway.payments.usage_repository import ProvisionalUsage, StatedUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffReference:
    """The frozen tariff of a session: its hash, its OCPI version and the prices that the driver is shown."""

    sha256: str
    version: str
    display: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationView:
    """An authorization with its session and the tariff that the driver is shown."""

    authorization: AuthorizationRecord
    session: SessionRecord
    tariff: TariffReference
    action: RequiresAction | None = None  # what the cardholder must do, with its secrets, read from the PSP
    publishable_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupView:
    """A setup; `client_secret` and `redirect_url` come from the PSP for this answer and are not stored."""

    setup: SetupRecord
    client_secret: str | None = field(default=None, repr=False)
    redirect_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session with its tariff, its current authorization and its capture.

    `usage` is what was stated of it and waits for a person, in the answer to who stated it; `provisional` is
    what its payer stated where its operator's CDR decides.
    """

    session: SessionRecord
    tariff: TariffReference
    authorization: AuthorizationRecord | None
    capture: CaptureRecord | None
    usage: StatedUsage | None = None
    provisional: ProvisionalUsage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceView:
    """A completed session's price, computed again from the stored originals."""

    session: SessionRecord
    priced: PricedSession


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteView:
    """An estimate before the start, by the tariff that an authorization would freeze now."""

    point: ChargePoint
    tariff_sha256: str
    tariff_display: Sequence[str]
    quote: Quote
