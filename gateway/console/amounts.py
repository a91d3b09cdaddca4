"""Amounts as people type them: 12.50, 12,50 or 1 250.

Owns: which texts are an amount. Must not know any form. Nothing is guessed: what could mean two things is
rejected.
"""

import re
from decimal import Decimal
from typing import Final

from clearing.money import exponent
from gateway.errors import GatewayError

_AMOUNT: Final = re.compile(r"([0-9]{1,12})(?:[.,]([0-9]{1,3}))?")
_SPACES: Final = re.compile(r"[\s\u00a0\u202f']")


class AmountNotReadError(GatewayError):
    """A text that is no amount of the currency; the message says what is expected."""


def read_amount(text: str, currency: str) -> int:
    """Minor units of what somebody typed.

    Raises:
        AmountNotReadError: it is no amount, or has more decimals than the currency.
    """
    digits = exponent(currency)
    found = _AMOUNT.fullmatch(_SPACES.sub("", text))
    fraction = found[2] or "" if found else ""
    if found is None or len(fraction) > digits:
        example = Decimal(1250).scaleb(-digits) if digits else Decimal(1250)
        raise AmountNotReadError(
            f"expected an amount in {currency} such as {example}, without thousands marks"
        )
    return int(found[1] + fraction.ljust(digits, "0"))
