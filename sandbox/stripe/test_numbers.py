"""The numbers that the PSP publishes for tests, and how a form's card becomes a test card.

Facts: docs.stripe.com/testing. No bank has issued these numbers; each is written in its printed groups, so
that no whole number stands in the code. A number reaches the payment element alone and is not stored.
Must not know: payment methods, intents.
"""

import re
from dataclasses import dataclass
from typing import Final

from sandbox.stripe.problems import CardProblem

_DIGITS: Final = re.compile(r"[0-9]{12,19}\Z")
_CVC: Final = re.compile(r"[0-9]{3,4}\Z")
_CENTURY: Final = 2000
_HUNDRED: Final = 100
_MONTHS: Final = 12
_BASE: Final = 10
_NINE: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class TestNumber:
    """A published number, the test card that it stands for, and what it shows."""

    __test__ = False  # not a test class, whatever its name

    groups: tuple[str, ...]
    card: str
    shows: str


def _visa(second: str, third: str, last: str, card: str, shows: str) -> TestNumber:
    return TestNumber(groups=("4000", second, third, last), card=f"pm_card_{card}", shows=shows)


TEST_NUMBERS: Final = (
    TestNumber(groups=("4242", "4242", "4242", "4242"), card="pm_card_visa", shows="pays"),
    TestNumber(groups=("5555", "5555", "5555", "4444"), card="pm_card_mastercard", shows="pays"),
    TestNumber(groups=("3714", "496353", "98431"), card="pm_card_amex", shows="pays"),
    _visa("0025", "0000", "3155", "authenticationRequiredOnSetup", "asks the driver once, when saved"),
    _visa("0027", "6000", "3184", "authenticationRequired", "asks the driver each time"),
    _visa("0000", "0000", "3220", "threeDSecure2Required", "asks the driver each time"),
    _visa("0084", "0000", "1629", "threeDSecureRequiredChargeDeclined", "asks the driver, then declines"),
    _visa("0000", "0000", "0002", "visa_chargeDeclined", "declines"),
    _visa("0000", "0000", "9995", "visa_chargeDeclinedInsufficientFunds", "declines: insufficient funds"),
    _visa("0000", "0000", "0341", "chargeCustomerFail", "is saved, then declines"),
    _visa("0000", "0000", "0069", "chargeDeclinedExpiredCard", "declines: expired card"),
    _visa("0000", "0000", "0127", "chargeDeclinedIncorrectCvc", "declines: wrong security code"),
    _visa("0000", "0000", "0119", "chargeDeclinedProcessingError", "declines: processing error"),
    _visa("0000", "0000", "0259", "createDispute", "pays, then is disputed"),
)
_BY_NUMBER: Final = {"".join(one.groups): one.card for one in TEST_NUMBERS}


def card_of_number(*, number: str, exp_month: str, exp_year: str, cvc: str, year: int, month: int) -> str:
    """The test card of what a driver typed; `year` and `month` are today's. Nothing of it is echoed.

    Raises CardProblem where it can't be a card or is no test card.
    """
    compact = number.replace(" ", "")
    if not _DIGITS.match(compact) or not _passes_luhn(compact):
        raise _incorrect("number", "Your card number is incorrect.")
    if not exp_month.isdigit() or not 1 <= int(exp_month) <= _MONTHS:
        raise _invalid("expiry_month", "exp_month", "Your card's expiration month is invalid.")
    expires = int(exp_year) if exp_year.isdigit() else 0
    expires += _CENTURY if expires < _HUNDRED else 0
    if (expires, int(exp_month)) < (year, month) or expires > year + 50:
        raise _invalid("expiry_year", "exp_year", "Your card's expiration year is invalid.")
    if not _CVC.match(cvc):
        raise _invalid("cvc", "cvc", "Your card's security code is invalid.")
    card = _BY_NUMBER.get(compact)
    if card is None:
        raise CardProblem(
            "Your card was declined. This PSP takes test cards only.",
            code="card_declined",
            decline_code="test_mode_live_card",
        )
    return card


def _incorrect(name: str, message: str) -> CardProblem:
    return CardProblem(message, code=f"incorrect_{name}", extra={"param": name})


def _invalid(name: str, param: str, message: str) -> CardProblem:
    return CardProblem(message, code=f"invalid_{name}", extra={"param": param})


def _passes_luhn(number: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + place % 2)
        total += value - _NINE if value > _NINE else value
    return total % _BASE == 0
