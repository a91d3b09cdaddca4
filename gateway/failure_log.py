"""How the failure of one piece of work is logged: an outage in a line, a defect with its traceback.

Owns: which of the two it is. Must not know what failed. While a database is away every task, request and
delivery fails: a traceback for each would fill the disk, and hide what is a defect.
"""

from typing import Any

from gateway.database import TRANSIENT
from gateway.logs import first_line


def is_transient(error: BaseException) -> bool:
    """Whether the database is in trouble that passes; of several errors at once, whether all are such."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_transient(one) for one in error.exceptions)
    return isinstance(error, TRANSIENT)


def first_cause(error: BaseException) -> BaseException:
    """The error itself; of several at once the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def log_failure(log: Any, event: str, error: BaseException, **fields: Any) -> None:
    """Log a failure after which other work goes on."""
    if is_transient(error):
        log.warning(event, reason=first_line(first_cause(error)), **fields)
    else:
        log.error(event, exc_info=error, **fields)
