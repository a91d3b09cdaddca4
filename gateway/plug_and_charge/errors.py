"""What may end a Plug & Charge request without an answer for the station.

PlugAndChargeError               base
├── PaymentPendingError          the payment is not decided within the station's patience
└── PoolEventRejectedError       a contract pool's event that is not proved to be the pool's

A rejected vehicle is not an error: the decision says why.
"""


class PlugAndChargeError(Exception):
    """Base of the errors that the Plug & Charge use cases raise on purpose."""


class PaymentPendingError(PlugAndChargeError):
    """The payment is not decided yet: nobody may tell the station that its contract is rejected."""


class PoolEventRejectedError(PlugAndChargeError):
    """The event is not signed with the secret of a party's feed, or the feed is off: one answer for all."""
