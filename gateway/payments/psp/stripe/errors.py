"""Stripe's errors as outcomes: whose mistake each is, in one table.

Owns: the only mapping from Stripe's error types and codes to ours. Must not know: what is requested, the SDK.
A body's `type` has four values; 401, 403 and 429 are known by the status alone (docs.stripe.com/api/errors,
docs.stripe.com/error-codes). What no line of the table knows is a mistake of ours: never the driver's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from gateway.payments.psp.connect_port import INVALID_COUNTRY, INVALID_EMAIL
from gateway.payments.psp.failures import Declined, PspMisconfigured, PspOutcomeUnknown
from gateway.payments.psp.port import (
    INVALID_AMOUNT,
    INVALID_CUSTOMER,
    INVALID_PAYMENT_METHOD,
    FeaturesRefused,
)
from gateway.payments.psp.stripe.decline_advice import RETRYABLE_DECLINES
from gateway.payments.psp.terminal_port import (
    INVALID_ADDRESS,
    INVALID_DISPLAY_NAME,
    INVALID_LABEL,
    INVALID_REGISTRATION_CODE,
)

_NOT_ELIGIBLE: Final = "not eligible for the requested card features"
_NOT_OPEN: Final = "Only Checkout Sessions with a status in"  # neither has a code
PAGE_TOO_LATE: Final = "hosted_page_too_late"
PAGE_NOT_OPEN: Final = "hosted_page_not_open"
KEY_REFUSED: Final = "psp_authentication"
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_CONFLICT: Final = 409
_RATE_LIMITED: Final = 429
_SERVER_ERROR: Final = 500
_FAILED_DEPENDENCY: Final = 424
_SHOWN: Final = 200  # characters of a message that are kept

# Parameters that a partner's value went into, and what our request calls them.
_OF_THE_PARTNER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "payment_method": INVALID_PAYMENT_METHOD,
        "customer": INVALID_CUSTOMER,
        "amount": INVALID_AMOUNT,
    }
)
# The same of terminals and connected accounts, where any code of the PSP's is about the value: a missing
# `address[state]` too.
_OF_THE_PARTNERS_OBJECT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "address": INVALID_ADDRESS,
        "display_name": INVALID_DISPLAY_NAME,
        "label": INVALID_LABEL,
        "registration_code": INVALID_REGISTRATION_CODE,
        "country": INVALID_COUNTRY,  # of a connected account, as the next
        "email": INVALID_EMAIL,
    }
)
# With one of these parameters, a wrong value of the partner's. No code: the two don't belong together.
_PARTNERS_CODES: Final = frozenset(
    {
        None,
        "amount_too_large",
        "amount_too_small",
        "customer_mismatch",
        "payment_method_unexpected_state",
        "resource_missing",
    }
)
# The state of an object, or of a balance or an account that money goes to: an answer of that request's own.
STATE_CODES: Final = frozenset(
    {
        "account_closed",
        "account_invalid",
        "amount_not_representable",
        "balance_insufficient",
        "charge_already_captured",
        "charge_already_refunded",
        "charge_disputed",
        "charge_expired_for_capture",
        "charge_not_refundable",
        "dispute_already_closed",
        "insufficient_capabilities_for_transfer",
        "intent_invalid_state",
        "payment_intent_mandate_invalid",
        "payment_intent_unexpected_state",
        "refund_disputed_payment",
        "setup_intent_unexpected_state",
        "transfers_not_allowed",
    }
)
# What a reader can't do now, whatever the status says: the request had no effect.
READER_CODES: Final = frozenset(
    {
        "terminal_reader_busy",
        "terminal_reader_hardware_fault",
        "terminal_reader_invalid_location_for_payment",
        "terminal_reader_offline",
        "terminal_reader_timeout",
    }
)
# Of requests about an object that exists: its id went into the path or into these.
_OF_THE_OBJECT: Final = frozenset(
    {
        "amount_to_capture",
        "charge",
        "destination",
        "evidence",
        "file",
        "id",
        "intent",
        "location",
        "payment_intent",
        "reader",
    }
)
_OBJECTS_CODES: Final = frozenset({None, "amount_too_large", "amount_too_small", "resource_missing"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeError:
    """An error as it was answered; `status` None where there was no answer."""

    name: str
    status: int | None
    body: Mapping[str, Any]

    @property
    def code(self) -> str | None:
        """Stripe's code, where it gives one."""
        code = self.body.get("code")
        return code if isinstance(code, str) else None


ErrorOutcome = Declined | FeaturesRefused | PspMisconfigured | PspOutcomeUnknown


def outcome_of(error: StripeError) -> ErrorOutcome:
    """What an error means to the request that met it."""
    kind, status = error.body.get("type"), error.status
    if status == _UNAUTHORIZED:
        return _misconfigured(error, code=KEY_REFUSED, definite=False)
    if status == _FORBIDDEN and error.code not in STATE_CODES:
        return _misconfigured(error, code="psp_permission", definite=False)
    if error.code in READER_CODES and status is not None and status < _SERVER_ERROR:
        return Declined(code=error.code or "", retryable=True)
    if status is None or status in {_RATE_LIMITED, _CONFLICT, _FAILED_DEPENDENCY} or status >= _SERVER_ERROR:
        return PspOutcomeUnknown(reason=f"{error.name} {status or ''}".strip())
    if kind == "card_error":
        return _decline(error)
    if kind == "idempotency_error":  # the key was used with other parameters: what those did is not known
        return _misconfigured(error, code="idempotency_error", definite=False)
    if kind == "invalid_request_error":
        return _invalid(error)
    return PspOutcomeUnknown(reason=f"{error.name} {status}")


def _decline(error: StripeError) -> Declined:
    """A card error; the issuer's decline_code says more than the error's code."""
    said = str(error.body.get("decline_code") or error.code or "card_declined")
    payment = error.body.get("payment_intent")
    return Declined(
        code=said,
        retryable=said in RETRYABLE_DECLINES,
        psp_payment=payment.get("id") if isinstance(payment, dict) else None,
    )


def _invalid(error: StripeError) -> Declined | FeaturesRefused | PspMisconfigured:
    param = str(error.body.get("param") or "")
    if error.code is None and _NOT_ELIGIBLE in str(error.body.get("message")):
        return FeaturesRefused()
    if error.code is None and _NOT_OPEN in str(error.body.get("message")):
        return Declined(code=PAGE_NOT_OPEN, retryable=False)
    if param == "expires_at":  # a page that was asked for so long ago that its end is too near now
        return Declined(code=PAGE_TOO_LATE, retryable=True)
    if error.code in STATE_CODES:
        return Declined(code=error.code or "", retryable=False)
    if param in _OF_THE_PARTNER and error.code in _PARTNERS_CODES:
        return Declined(code=_OF_THE_PARTNER[param], retryable=False)
    field = param.partition("[")[0]
    if field in _OF_THE_PARTNERS_OBJECT and error.code != "parameter_unknown":
        return Declined(code=_OF_THE_PARTNERS_OBJECT[field], retryable=False)
    if field in _OF_THE_OBJECT and error.code in _OBJECTS_CODES:
        return Declined(code=error.code or f"invalid_{field}", retryable=False)
    return _misconfigured(error, code=error.code or "invalid_request", definite=True)


def _misconfigured(error: StripeError, *, code: str, definite: bool) -> PspMisconfigured:
    param = error.body.get("param")
    message = " ".join(str(error.body.get("message") or "").split())[:_SHOWN]
    return PspMisconfigured(code=code, detail=f"{param}: {message}" if param else message, definite=definite)
