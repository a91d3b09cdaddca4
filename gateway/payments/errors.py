"""What the payment services reject, as one error tree.

Owns: one error per cause. Must not know: HTTP status codes, SQL.

PaymentError                        a request that can't be carried out; the text says why and how to mend it
├── NotFoundError                   no such object, or not this party's
├── EvseNotFoundError               no CPO has pushed that EVSE
├── TariffMissingError              the EVSE has no tariff in force that prices anything
├── SessionAlreadyAuthorizedError   another authorization holds this session
├── SessionAlreadyCompletedError    a different CDR ended it
├── AccountLimitExceededError       the funded account does not cover the hold
├── VersionConflictError            the object changed since the caller read it
├── PaymentConflictError            the object's state does not allow that
│   └── PspRequestOpenError         a request to the PSP is under way; the same request later may pass
├── CdrRejectedError                the CDR can't be read or does not belong to this session
├── RefundBoundError                a refund of more than is left of the capture
├── InvalidPaymentRequestError      a field of the request is outside its bounds
└── PspUnavailableError             the PSP gave no answer; the same request again is safe
"""

from gateway.payments.state_machine import UNDECIDED_STATES, PaymentState


class PaymentError(Exception):
    """Base of what the payment services reject on purpose."""


class NotFoundError(PaymentError):
    """No such object, or not this party's: the same answer for both."""


class EvseNotFoundError(PaymentError):
    """No CPO has pushed that EVSE."""


class TariffMissingError(PaymentError):
    """The EVSE has no usable tariff in force."""


class SessionAlreadyAuthorizedError(PaymentError):
    """Another authorization holds this session."""


class SessionAlreadyCompletedError(PaymentError):
    """The session was ended by a different CDR."""


class AccountLimitExceededError(PaymentError):
    """The funded account does not cover the hold."""


class VersionConflictError(PaymentError):
    """The object changed since the caller read it."""


class PaymentConflictError(PaymentError):
    """The object's state does not allow that."""


class PspRequestOpenError(PaymentConflictError):
    """A request to the PSP is under way for this object; the same request a little later may pass."""


def conflict_of(state: PaymentState, verb: str) -> PaymentConflictError:
    """Why an authorization in this state can't be `verb`ed; one that waits for the PSP may be, later."""
    kind = PspRequestOpenError if state in UNDECIDED_STATES else PaymentConflictError
    return kind(f"an authorization that is {state} can't be {verb}")


class CdrRejectedError(PaymentError):
    """The CDR can't be read or does not belong to this session."""


class RefundBoundError(PaymentError):
    """A refund of more than is left of the capture."""


class InvalidPaymentRequestError(PaymentError):
    """A field of the request is outside its bounds."""


class PspUnavailableError(PaymentError):
    """The PSP gave no answer; the same request again is safe."""
