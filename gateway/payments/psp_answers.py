"""What the PSP answers to a request that moves no money: its value, or the error that its caller gets.

Owns: whose mistake a refusal is. Must not know: HTTP, SQL, which request it was.
"""

from collections.abc import Mapping
from typing import TypeVar

from gateway.payments.errors import (
    InvalidPayerError,
    InvalidPaymentRequestError,
    PaymentConflictError,
    PspRefusesUsError,
    PspUnavailableError,
)
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import INVALID_CUSTOMER

_T = TypeVar("_T")


def known(
    outcome: _T | Declined | PspOutcomeUnknown, fields: Mapping[str, tuple[str, str]] | None = None
) -> _T:
    """What the PSP has answered. `fields`: code of a refused value -> field of the request, what is expected.

    Raises InvalidPaymentRequestError (a value of the caller's), PaymentConflictError (the state of an object
    at the PSP), PspUnavailableError.
    """
    if isinstance(outcome, Declined):
        raise refused(outcome, fields or {})
    if isinstance(outcome, PspOutcomeUnknown):
        raise unavailable(outcome)
    return outcome


def refused(
    outcome: Declined, fields: Mapping[str, tuple[str, str]]
) -> InvalidPaymentRequestError | PaymentConflictError:
    """Why the PSP does not do it."""
    if outcome.code not in fields:
        return PaymentConflictError(f"the PSP does not do that now: {outcome.code}")
    field, expected = fields[outcome.code]
    kind = InvalidPayerError if outcome.code == INVALID_CUSTOMER else InvalidPaymentRequestError
    return kind(f"the PSP does not take the value of {field}", field=field, expected=expected)


def unavailable(outcome: PspOutcomeUnknown) -> PspUnavailableError:
    """The PSP did not answer, or refuses us."""
    if outcome.ours:
        return PspRefusesUsError("the PSP refuses our requests at the moment")
    return PspUnavailableError(f"the PSP did not answer ({outcome.reason}); send the same request again")
