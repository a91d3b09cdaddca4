"""What a check of a Stripe account has found out, as plain values; None stands for what could not be read.

Owns: the shapes, and which resources this system reads or writes. Must not know: how a fact was gathered,
what follows from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

# Resource -> the harmless read that needs the same permission. An id that can't exist answers 404 where the
# permission is given (docs.stripe.com/keys/restricted-api-keys).
READS: Final[Mapping[str, str]] = {
    "account": "/v1/account",
    "balance": "/v1/balance",
    "balance_settings": "/v1/balance_settings",
    "balance_transactions": "/v1/balance_transactions",
    "charges": "/v1/charges",
    "customers": "/v1/customers",
    "disputes": "/v1/disputes",
    "events": "/v1/events",
    "files": "/v1/files",
    "mandates": "/v1/mandates/mandate_networkcoreCheck",
    "payment_intents": "/v1/payment_intents",
    "payment_methods": "/v1/payment_methods/pm_networkcoreCheck",
    "payouts": "/v1/payouts",
    "refunds": "/v1/refunds",
    "setup_intents": "/v1/setup_intents",
    "topups": "/v1/topups",
    "transfers": "/v1/transfers",
    "connected_accounts": "/v1/accounts",
    "webhook_endpoints": "/v1/webhook_endpoints",
}
# Without one of these no session is paid; the others pay parties out, or serve this check alone.
NEEDED_FOR_MONEY: Final = frozenset(
    {
        "balance_transactions",
        "charges",
        "customers",
        "disputes",
        "events",
        "mandates",
        "payment_intents",
        "payment_methods",
        "refunds",
        "setup_intents",
    }
)


class StripeKeyKind(StrEnum):
    """What a key is by its prefix (docs.stripe.com/keys)."""

    SECRET = "sk"  # noqa: S105 - a prefix, not a key
    RESTRICTED = "rk"
    PUBLISHABLE = "pk"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeKey:
    """A key without its secret part. `live` None: its prefix says neither mode."""

    kind: StripeKeyKind
    live: bool | None


class ReadState(StrEnum):
    """How a read was answered."""

    ANSWERED = "answered"
    REFUSED = "refused"  # the key lacks the permission
    FAILED = "failed"  # the key is not accepted at all, another rejection, or no answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRead:
    """One harmless read. `detail` names the missing permission, or the reason of a failure.

    `version` is the API version of the answer.
    """

    state: ReadState
    status: int
    version: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeAccount:
    """The account of the key (docs.stripe.com/api/accounts/object)."""

    id: str
    country: str | None
    default_currency: str | None  # upper case
    charges_enabled: bool | None
    payouts_enabled: bool | None
    capabilities: Mapping[str, str]
    disabled_reason: str | None
    currently_due: Sequence[str]
    descriptor_prefix: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeWebhookEndpoint:
    """A webhook endpoint. `connect`: it receives events of connected accounts; `created`: Unix seconds."""

    id: str
    url: str
    enabled: bool
    api_version: str | None  # None: the account's default
    events: frozenset[str]
    connect: bool
    created: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SentEvent:
    """An event that Stripe sends to endpoints. `pending`: how many have not accepted it yet."""

    type: str
    created: int  # Unix seconds
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishableKey:
    """What was found out about the publishable key.

    `same_account` None: it could not be tried, and `reason` says why.
    """

    key: StripeKey
    same_account: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedAccount:
    """An account connected to the key's own. `transfers`: its capability to receive them."""

    id: str
    transfers: str
    disabled_reason: str | None
    currently_due: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFacts:
    """Everything that was read of the account with its key, from Stripe alone."""

    key: StripeKey
    reads: Mapping[str, ResourceRead]
    account: StripeAccount | None = None
    live: bool | None = None
    balance_currencies: frozenset[str] | None = None  # upper case: what has settled here already
    settlement_currencies: Mapping[str, str] | None = None  # enabled, disabled, restricted_by_application
    endpoints: Sequence[StripeWebhookEndpoint] | None = None
    events: Sequence[SentEvent] | None = None  # of payments, newest first
    publishable_key: PublishableKey | None = None
    connected: Sequence[ConnectedAccount] | None = None
    all_connected: bool = False  # whether `connected` is all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckExpectation:
    """What the settings and the database expect of the account.

    `tariff_currencies` None: they could not be read, and `tariffs_unread` says why. `accounts`: party -> the
    connected account that it is paid to. `settlement_currencies` are those that the account receives
    unconverted by the settings, None where they say nothing.
    """

    live: bool
    webhook_url: str
    tariff_currencies: frozenset[str] | None
    tariffs_unread: str = ""
    accounts: Mapping[str, str] = field(default_factory=dict)
    settlement_currencies: frozenset[str] | None = None


class FindingState(StrEnum):
    """What a check came to."""

    RIGHT = "right"
    MEND = "mend"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFinding:
    """One line of the check: what was found, and what to mend or why it was not checked (`advice`).

    `blocks`: unless it is right, no money can be taken.
    """

    check: str
    state: FindingState
    found: str
    advice: str = ""
    blocks: bool = field(default=False)
