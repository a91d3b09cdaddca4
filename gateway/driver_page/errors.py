"""What the driver page rejects, as one error tree.

Owns: one error per cause. Must not know: HTTP, languages.

DriverPageError          what a driver is shown a page for
├── NoDriverPageError      the operator of the EVSE has no page
├── SeveralEvsesError      EVSEs of several operators have this name
├── NoPriceError           no price is known, so nobody can pay here
├── PriceChangedError      another tariff is in force than the one that was shown
├── TooManyPaymentsError   too many payments were begun at this EVSE
├── UnknownPaymentError    no payment has this token, or it is too old
└── NotPossibleError       the payment's stage does not allow that
"""

from collections.abc import Sequence


class DriverPageError(Exception):
    """Base of what the driver page rejects on purpose."""


class NoDriverPageError(DriverPageError):
    """No driver page is set up for the operator of the EVSE, or no EVSE has this name."""


class SeveralEvsesError(DriverPageError):
    """EVSEs of several operators have this name; `owners` are their party ids."""

    def __init__(self, owners: Sequence[str]) -> None:
        super().__init__(f"EVSEs of {', '.join(owners)} have this name")
        self.owners = tuple(owners)


class NoPriceError(DriverPageError):
    """No tariff in force prices a session at the EVSE."""


class PriceChangedError(DriverPageError):
    """The tariff in force is another than the one that was shown."""


class TooManyPaymentsError(DriverPageError):
    """Too many payments were begun at this EVSE within a short time."""


class UnknownPaymentError(DriverPageError):
    """No payment has this token."""


class NotPossibleError(DriverPageError):
    """The payment's stage does not allow what was asked."""
