"""From the services' typed errors to problems: one table.

Owns: which error is which problem. Must not know which handler raised it. An error that is not in the table
is a defect of ours: the server answers it with `internal_error`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg

from clearing.errors import ClearingConflictError, ClearingError, ClearingInvariantViolation
from gateway.api import problems
from gateway.api.problems import FieldError, ProblemDetails, ProblemError, ProblemKind
from gateway.database import TRANSIENT
from gateway.errors import (
    MalformedIdError,
    RateLimitExceededError,
    RecordConflictError,
    RecordNotFoundError,
)
from gateway.exceptions.errors import ExceptionConflictError, ExceptionNotFoundError
from gateway.partners.errors import (
    KeyExpiryPastError,
    PartnerConflictError,
    PartnerRecordExistsError,
    ScopesNotGrantableError,
    UnfitCertificateError,
    UnknownAgreementPartyError,
    UnknownPartnerRecordError,
)
from gateway.payments import errors
from gateway.payments.psp.port import WebhookRejectedError
from gateway.people.errors import (
    PersonExistsError,
    PersonNotFoundError,
    RoleNotGrantableError,
    SignInRejectedError,
)
from gateway.plug_and_charge.errors import PaymentPendingError, PoolEventRejectedError
from gateway.webhooks.endpoint_service import TooManyEndpointsError, UnknownWebhookRecordError
from pnc.errors import (
    ConflictingRecordError,
    UnfitAuthorityError,
    UnfitCallError,
    UnfitContractError,
    UnfitPoolEventError,
    UnknownRecordError,
)

_TABLE: Final[Mapping[type[Exception], ProblemKind]] = {
    errors.NotFoundError: problems.NOT_FOUND,
    errors.EvseNotFoundError: problems.EVSE_NOT_FOUND,
    errors.TariffMissingError: problems.TARIFF_MISSING,
    errors.SessionAlreadyAuthorizedError: problems.SESSION_ALREADY_AUTHORIZED,
    errors.SessionAlreadyCompletedError: problems.STATE_CONFLICT,
    errors.AccountLimitExceededError: problems.ACCOUNT_LIMIT_EXCEEDED,
    errors.VersionConflictError: problems.VERSION_CONFLICT,
    errors.PspRequestOpenError: problems.OUTCOME_PENDING,
    errors.PaymentConflictError: problems.STATE_CONFLICT,
    errors.RefundBoundError: problems.REFUND_EXCEEDS_CAPTURE,
    errors.CdrRejectedError: problems.CDR_INVALID,
    errors.InvalidPaymentRequestError: problems.INVALID_PARAMETERS,
    errors.InvalidPayerError: problems.PAYMENT_METHOD_INVALID,
    errors.PspUnavailableError: problems.UNAVAILABLE,
    errors.PspRefusesUsError: problems.PSP_CONFIGURATION,
    UnknownPartnerRecordError: problems.NOT_FOUND,
    UnknownAgreementPartyError: problems.INVALID_PARAMETERS,
    PartnerRecordExistsError: problems.ALREADY_EXISTS,
    PartnerConflictError: problems.STATE_CONFLICT,
    UnfitCertificateError: problems.INVALID_PARAMETERS,
    PersonNotFoundError: problems.NOT_FOUND,
    PersonExistsError: problems.ALREADY_EXISTS,
    RoleNotGrantableError: problems.MISSING_SCOPE,
    SignInRejectedError: problems.UNAUTHENTICATED,
    ScopesNotGrantableError: problems.MISSING_SCOPE,
    KeyExpiryPastError: problems.INVALID_PARAMETERS,
    UnknownWebhookRecordError: problems.NOT_FOUND,
    TooManyEndpointsError: problems.STATE_CONFLICT,
    WebhookRejectedError: problems.SIGNATURE_INVALID,
    MalformedIdError: problems.INVALID_PARAMETERS,
    RecordNotFoundError: problems.NOT_FOUND,
    RecordConflictError: problems.STATE_CONFLICT,
    UnknownRecordError: problems.NOT_FOUND,
    ConflictingRecordError: problems.STATE_CONFLICT,
    UnfitAuthorityError: problems.INVALID_PARAMETERS,
    UnfitCallError: problems.INVALID_PARAMETERS,
    UnfitContractError: problems.INVALID_PARAMETERS,
    UnfitPoolEventError: problems.INVALID_PARAMETERS,
    PoolEventRejectedError: problems.SIGNATURE_INVALID,
    PaymentPendingError: problems.PAYMENT_PENDING,
    ClearingConflictError: problems.STATE_CONFLICT,
    ExceptionNotFoundError: problems.NOT_FOUND,
    ExceptionConflictError: problems.STATE_CONFLICT,
    ClearingError: problems.INVALID_PARAMETERS,
}
_RETRY_SOON: Final = {"Retry-After": "1"}
# A request to the PSP is repeated first after 5 s; a station repeats its request while its driver waits.
_RETRY_AFTER: Final[Mapping[ProblemKind, Mapping[str, str]]] = {
    problems.OUTCOME_PENDING: {"Retry-After": "5"},
    problems.PAYMENT_PENDING: {"Retry-After": "2"},
    problems.PSP_CONFIGURATION: {"Retry-After": "60"},
    problems.UNAVAILABLE: _RETRY_SOON,
}
# What an operator sends a station that can't wait: no status of OCPP says that nothing is decided yet.
_EXTRA: Final[Mapping[ProblemKind, Mapping[str, object]]] = {
    problems.PAYMENT_PENDING: {
        "ocpp_error": {"errorCode": "InternalError", "errorDescription": "the payment is not decided yet"}
    }
}
_UNSTORABLE: Final = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)


def problem_for(error: BaseException) -> ProblemDetails | None:
    """The problem that answers an error; None where no rule knows it."""
    if isinstance(error, ProblemError):
        return error.rejection
    if isinstance(error, RateLimitExceededError):
        return ProblemDetails(kind=problems.RATE_LIMITED, detail=_sentence(error), headers=error.headers)
    if isinstance(error, ClearingInvariantViolation):
        return None  # a defect, although its class is a ClearingError
    for kind in type(error).__mro__:
        found = _TABLE.get(kind)
        if found is not None:
            return ProblemDetails(
                kind=found,
                detail=_sentence(error),
                errors=_fields(error),
                headers=_RETRY_AFTER.get(found, {}),
                extra=_EXTRA.get(found, {}),
            )
    if isinstance(error, _UNSTORABLE):
        return ProblemDetails(
            kind=problems.INVALID_PARAMETERS, detail="A text holds U+0000, which can't be stored."
        )
    if isinstance(error, TRANSIENT):
        return ProblemDetails(
            kind=problems.UNAVAILABLE,
            detail="A service that this request needs does not answer.",
            headers=_RETRY_SOON,
        )
    return None


def _fields(error: BaseException) -> Sequence[FieldError]:
    if isinstance(error, errors.InvalidPaymentRequestError) and error.field is not None:
        return [FieldError(pointer=f"/{error.field}", expected=error.expected)]
    return ()


def _sentence(error: BaseException) -> str:
    text = str(error).strip() or "No further detail"
    return text if text.endswith((".", "!", "?")) else f"{text}."
