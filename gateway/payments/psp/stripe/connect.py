"""Connected accounts of Stripe Connect behind the connect port: created, onboarded by link, read.

Owns: paths, parameters, what an answer means. Must not know: our database, whose account is whose.
Sources: docs.stripe.com/api/accounts, /account_links; pages connect/accounts (controller properties),
connect/account-capabilities, connect/handling-api-verification.
"""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from gateway.ids import format_id
from gateway.payments.psp.connect_port import (
    AccountOutcome,
    LinkOutcome,
    OnboardingLink,
    PspAccount,
    PspAccountRequest,
    TransferCapability,
)
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.stripe.wire import StripeWire

_ACCOUNTS: Final = "/v1/accounts"
_LINKS: Final = "/v1/account_links"
_STATES: Final = {one.value: one for one in TransferCapability}


class _Requirements(msgspec.Struct):
    disabled_reason: str | None = None
    current_deadline: int | None = None
    currently_due: list[str] | None = None
    past_due: list[str] | None = None


class StripeConnectedAccount(msgspec.Struct):
    """A connected account; of its capabilities only `transfers` counts here."""

    id: str
    capabilities: dict[str, str] | None = None
    payouts_enabled: bool | None = None
    details_submitted: bool | None = None
    country: str | None = None
    default_currency: str | None = None
    requirements: _Requirements | None = None
    deleted: bool = False


class _Link(msgspec.Struct):
    url: str
    expires_at: int


class StripeConnect:
    """The connect port over Stripe."""

    def __init__(self, wire: StripeWire) -> None:
        self._wire = wire

    async def create_account(self, request: PspAccountRequest) -> AccountOutcome:
        """Create an account that Stripe onboards and whose losses the platform bears."""
        return _account(
            await self._wire.post(
                _ACCOUNTS, StripeConnectedAccount, account_params(request), key=request.idempotency_key
            )
        )

    async def inspect_account(self, *, psp_account: str) -> AccountOutcome:
        """Retrieve an account."""
        path = f"{_ACCOUNTS}/{quote(psp_account, safe='')}"
        return _account(await self._wire.get(path, StripeConnectedAccount, {}))

    async def create_onboarding_link(
        self, *, psp_account: str, return_url: str, refresh_url: str, idempotency_key: str
    ) -> LinkOutcome:
        """Create an account link for all that Stripe will ask, so that the party is asked once."""
        params = {
            "account": psp_account,
            "type": "account_onboarding",
            "return_url": return_url,
            "refresh_url": refresh_url,
            "collection_options": {"fields": "eventually_due"},
        }
        made = await self._wire.post(_LINKS, _Link, params, key=idempotency_key)
        if isinstance(made, Declined | PspOutcomeUnknown):
            return made
        return OnboardingLink(url=made.url, expires_at=datetime.fromtimestamp(made.expires_at, tz=UTC))


def account_params(request: PspAccountRequest) -> dict[str, Any]:
    """The parameters of an account: Stripe collects what it must know and gives the party a dashboard.

    With separate charges and transfers the platform pays Stripe's fees and bears negative balances.
    """
    return {
        "country": request.country,
        **({} if request.email is None else {"email": request.email}),
        "controller": {
            "fees": {"payer": "application"},
            "losses": {"payments": "application"},
            "requirement_collection": "stripe",
            "stripe_dashboard": {"type": "express"},
        },
        "capabilities": {"transfers": {"requested": True}},
        "metadata": {
            "party": request.party_id,
            "connected_account": format_id("cacc", request.account_id),
        },
    }


def _account(account: StripeConnectedAccount | Declined | PspOutcomeUnknown) -> AccountOutcome:
    if isinstance(account, Declined | PspOutcomeUnknown):
        return account
    wanted = account.requirements or _Requirements()
    said = "unknown" if account.deleted else (account.capabilities or {}).get("transfers", "unrequested")
    overdue = wanted.past_due or []
    due = [name for name in wanted.currently_due or [] if name not in overdue]
    deadline = wanted.current_deadline
    return PspAccount(
        psp_account=account.id,
        transfers=_STATES.get(said, TransferCapability.INACTIVE),  # in a state of later days nothing is sent
        payouts_enabled=bool(account.payouts_enabled),
        details_submitted=bool(account.details_submitted),
        country=account.country,
        currency=account.default_currency.upper() if account.default_currency else None,
        disabled_reason=wanted.disabled_reason,
        requirements=(*overdue, *due),
        requirements_due=datetime.fromtimestamp(deadline, tz=UTC) if deadline else None,
    )
