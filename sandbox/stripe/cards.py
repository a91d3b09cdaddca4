"""The documented test cards by payment method id and token: brand, country, and how each behaves.

Facts: docs.stripe.com/testing. Only ids and the last four digits live here; no card number does.
Must not know: intents, charges.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Authentication(StrEnum):
    """When the cardholder must authenticate."""

    NEVER = "never"
    ALWAYS = "always"
    UNLESS_SET_UP = "unless_set_up"  # off-session payments pass once a setup intent has been authenticated


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """A rejection by the issuer: the error's code, decline code and message."""

    code: str
    decline_code: str | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCard:
    """One documented card and its behavior."""

    __test__ = False  # not a test class, whatever its name

    brand: str
    last4: str
    country: str = "US"
    funding: str = "credit"
    decline: Decline | None = None
    attachable: bool = True
    authentication: Authentication = Authentication.NEVER
    dispute_reason: str | None = None
    inquiry: bool = False
    refund: str = "succeeded"  # or pending, failed
    available_at_once: bool = False


def _declined(decline_code: str, message: str = "Your card was declined.") -> Decline:
    return Decline(code="card_declined", decline_code=decline_code, message=message)


GENERIC: Final = _declined("generic_decline")
INSUFFICIENT: Final = _declined("insufficient_funds", "Your card has insufficient funds.")
LOST: Final = _declined("lost_card")
STOLEN: Final = _declined("stolen_card")
VELOCITY: Final = _declined(
    "card_velocity_exceeded", "Your card was declined for making repeated attempts too frequently."
)
FRAUDULENT: Final = _declined("fraudulent")
EXPIRED: Final = Decline(code="expired_card", decline_code="expired_card", message="Your card has expired.")
BAD_CVC: Final = Decline(
    code="incorrect_cvc", decline_code="incorrect_cvc", message="Your card's security code is incorrect."
)
PROCESSING: Final = Decline(
    code="processing_error",
    decline_code="processing_error",
    message="An error occurred while processing your card. Try again in a little bit.",
)
AUTHENTICATION_REQUIRED: Final = Decline(
    code="authentication_required",
    decline_code="authentication_required",
    message="Your card was declined. This transaction requires authentication.",
)
MANDATE_REVOKED: Final = Decline(
    code="card_declined", decline_code="revocation_of_authorization", message="Your card was declined."
)


def _visa(last4: str, *, decline: Decline | None = None, attachable: bool = True) -> TestCard:
    return TestCard(brand="visa", last4=last4, decline=decline, attachable=attachable)


def _european(country: str, last4: str, brand: str = "visa") -> TestCard:
    return TestCard(brand=brand, last4=last4, country=country)


_BY_BRAND: Final = {
    "visa": _visa("4242"),
    "visa_debit": TestCard(brand="visa", last4="5556", funding="debit"),
    "mastercard": TestCard(brand="mastercard", last4="4444"),
    "mastercard_debit": TestCard(brand="mastercard", last4="8210", funding="debit"),
    "mastercard_prepaid": TestCard(brand="mastercard", last4="5100", funding="prepaid"),
    "amex": TestCard(brand="amex", last4="8431"),
    "discover": TestCard(brand="discover", last4="1117"),
    "diners": TestCard(brand="diners", last4="0004"),
    "jcb": TestCard(brand="jcb", last4="0505", country="JP"),
    "unionpay": TestCard(brand="unionpay", last4="0005", country="CN"),
}
_BY_COUNTRY: Final = {
    country.lower(): _european(country, last4)
    for country, last4 in (
        ("AT", "0008"),
        ("BE", "0004"),
        ("CH", "0009"),
        ("CZ", "0002"),
        ("DE", "0016"),
        ("DK", "0001"),
        ("ES", "0007"),
        ("FI", "0001"),
        ("FR", "0003"),
        ("GB", "0000"),
        ("IE", "0005"),
        ("IT", "0008"),
        ("LU", "0006"),
        ("NL", "0002"),
        ("NO", "0003"),
        ("PL", "0005"),
        ("PT", "0001"),
        ("SE", "0008"),
    )
}
_DECLINING: Final = {
    "visa_chargeDeclined": _visa("0002", decline=GENERIC, attachable=False),
    "chargeDeclined": _visa("0002", decline=GENERIC, attachable=False),
    "visa_chargeDeclinedInsufficientFunds": _visa("9995", decline=INSUFFICIENT, attachable=False),
    "chargeDeclinedInsufficientFunds": _visa("9995", decline=INSUFFICIENT, attachable=False),
    "visa_chargeDeclinedLostCard": _visa("9987", decline=LOST, attachable=False),
    "visa_chargeDeclinedStolenCard": _visa("9979", decline=STOLEN, attachable=False),
    "visa_chargeDeclinedVelocityLimitExceeded": _visa("6975", decline=VELOCITY, attachable=False),
    "visa_chargeDeclinedFraudulent": _visa("0019", decline=FRAUDULENT, attachable=False),
    "chargeDeclinedFraudulent": _visa("0019", decline=FRAUDULENT, attachable=False),
    "chargeDeclinedExpiredCard": _visa("0069", decline=EXPIRED, attachable=False),
    "chargeDeclinedIncorrectCvc": _visa("0127", decline=BAD_CVC, attachable=False),
    "chargeDeclinedProcessingError": _visa("0119", decline=PROCESSING, attachable=False),
    "chargeCustomerFail": _visa("0341", decline=GENERIC),
    "radarBlock": _visa("0019", decline=FRAUDULENT),
}
_AUTHENTICATING: Final = {
    "authenticationRequired": TestCard(brand="visa", last4="3184", authentication=Authentication.ALWAYS),
    "authenticationRequiredOnSetup": TestCard(
        brand="visa", last4="3155", authentication=Authentication.UNLESS_SET_UP
    ),
    "authenticationRequiredSetupForOffSession": TestCard(
        brand="visa", last4="3155", authentication=Authentication.UNLESS_SET_UP
    ),
    "authenticationRequiredChargeDeclinedInsufficientFunds": TestCard(
        brand="visa", last4="9995", authentication=Authentication.ALWAYS, decline=INSUFFICIENT
    ),
    "threeDSecure2Required": TestCard(brand="visa", last4="3220", authentication=Authentication.ALWAYS),
    "threeDSecureRequired": TestCard(brand="visa", last4="3063", authentication=Authentication.ALWAYS),
    "threeDSecureRequiredChargeDeclined": TestCard(
        brand="visa", last4="1629", authentication=Authentication.ALWAYS, decline=GENERIC
    ),
}
_AFTERWARDS: Final = {
    "createDispute": TestCard(brand="visa", last4="0259", dispute_reason="fraudulent"),
    "createDisputeProductNotReceived": TestCard(
        brand="visa", last4="2685", dispute_reason="product_not_received"
    ),
    "createDisputeInquiry": TestCard(brand="visa", last4="1976", dispute_reason="fraudulent", inquiry=True),
    "pendingRefund": TestCard(brand="visa", last4="7726", refund="pending"),
    "refundFail": TestCard(brand="visa", last4="5126", refund="failed"),
    "bypassPending": TestCard(brand="visa", last4="0077", available_at_once=True),
    "bypassPendingInternational": TestCard(brand="visa", last4="3720", country="BR", available_at_once=True),
}
TEST_CARDS: Final[dict[str, TestCard]] = {
    f"pm_card_{name}": card
    for table in (_BY_BRAND, _BY_COUNTRY, _DECLINING, _AUTHENTICATING, _AFTERWARDS)
    for name, card in table.items()
}


def card_of_token(token: str) -> str | None:
    """The payment method id of a test token such as `tok_visa`, None if there is none."""
    for name in (token.removeprefix("tok_"), "visa_" + token.removeprefix("tok_")):
        if f"pm_card_{name}" in TEST_CARDS:
            return f"pm_card_{name}"
    return None
