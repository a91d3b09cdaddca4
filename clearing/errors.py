"""The error tree of clearing.

ClearingError                     a rule of this domain was broken by the input; its text says which and how
├── UnknownCurrencyError          not an ISO 4217 code this house settles
├── CurrencyMismatchError         two currencies met in one operation
├── InvalidAmountError            an amount, weight or rate outside its bounds
└── InvariantViolation            a bug: what must always hold does not
"""


class ClearingError(Exception):
    """Base of every error that clearing raises on purpose."""


class UnknownCurrencyError(ClearingError):
    """A currency code with no known exponent."""

    def __init__(self, currency: str) -> None:
        super().__init__(f"{currency!r} is not a currency this system settles; expected an ISO 4217 code such as EUR")
        self.currency = currency


class CurrencyMismatchError(ClearingError):
    """Two currencies in one sum."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right} can't be added; convert through a locked FX rate first")


class InvalidAmountError(ClearingError):
    """An amount, weight or rate outside its bounds."""


class InvariantViolation(ClearingError):  # noqa: N818 - it names a bug, not an error of the caller
    """What must always hold does not: stop and look."""
