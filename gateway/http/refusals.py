"""From the rooms' typed errors to problems: one table.

Owns: which error is which problem. Must not know which handler raised it. An error that is not in the table
is a bug of ours, answered as `internal_error` by the boundary.
"""

from collections.abc import Mapping
from typing import Final

import asyncpg

from clearing.errors import ClearingError, InvariantViolation, StateConflictError
from gateway.errors import DatabaseUnreachableError, MalformedIdError
from gateway.http import problems
from gateway.http.problems import ProblemError, ProblemKind, Refusal
from gateway.payments import orders
from gateway.payments.psp import WebhookRefusedError
from pnc.errors import (
    ConflictingRecordError,
    UnfitAuthorityError,
    UnfitCallError,
    UnfitContractError,
    UnknownRecordError,
)

_TABLE: Final[Mapping[type[Exception], ProblemKind]] = {
    orders.NotFoundError: problems.NOT_FOUND,
    orders.EvseNotFoundError: problems.EVSE_NOT_FOUND,
    orders.TariffMissingError: problems.TARIFF_MISSING,
    orders.SessionAlreadyAuthorizedError: problems.SESSION_ALREADY_AUTHORIZED,
    orders.SessionAlreadyCompletedError: problems.STATE_CONFLICT,
    orders.AccountLimitExceededError: problems.ACCOUNT_LIMIT_EXCEEDED,
    orders.VersionConflictError: problems.VERSION_CONFLICT,
    orders.StateConflictError: problems.STATE_CONFLICT,
    orders.RefundBoundError: problems.REFUND_EXCEEDS_CAPTURE,
    orders.CdrRefusedError: problems.CDR_INVALID,
    orders.InvalidOrderError: problems.INVALID_PARAMETERS,
    orders.PspUnavailableError: problems.UNAVAILABLE,
    WebhookRefusedError: problems.SIGNATURE_INVALID,
    MalformedIdError: problems.INVALID_PARAMETERS,
    UnknownRecordError: problems.NOT_FOUND,
    ConflictingRecordError: problems.STATE_CONFLICT,
    UnfitAuthorityError: problems.INVALID_PARAMETERS,
    UnfitCallError: problems.INVALID_PARAMETERS,
    UnfitContractError: problems.INVALID_PARAMETERS,
    StateConflictError: problems.STATE_CONFLICT,
    ClearingError: problems.INVALID_PARAMETERS,
}
_RETRY_SOON: Final = {"Retry-After": "1"}
_UNSTORABLE: Final = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
_AWAY: Final = (
    DatabaseUnreachableError,
    ConnectionError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.InterfaceError,
)


def refusal_of(error: BaseException) -> Refusal | None:
    """The problem that answers an error; None where no rule knows it."""
    if isinstance(error, ProblemError):
        return error.refusal
    if isinstance(error, InvariantViolation):
        return None  # a bug, whoever's error tree it hangs in
    for kind in type(error).__mro__:
        found = _TABLE.get(kind)
        if found is not None:
            return Refusal(kind=found, detail=_sentence(error))
    if isinstance(error, _UNSTORABLE):
        return Refusal(kind=problems.INVALID_PARAMETERS, detail="A text holds U+0000, which can't be stored.")
    if isinstance(error, _AWAY):
        return Refusal(
            kind=problems.UNAVAILABLE, detail="A part we depend on does not answer.", headers=_RETRY_SOON
        )
    return None


def _sentence(error: BaseException) -> str:
    text = str(error).strip() or "No further detail"
    return text if text.endswith((".", "!", "?")) else f"{text}."
