"""Errors of the exceptions queue.

GatewayError
└── ExceptionError
    ├── ExceptionNotFoundError    there is no exception of that id
    └── ExceptionConflictError    it is resolved already, or its cause is still there
"""

from gateway.errors import GatewayError


class ExceptionError(GatewayError):
    """Base of what a caller of the queue can mend."""


class ExceptionNotFoundError(ExceptionError):
    """There is no exception of that id."""


class ExceptionConflictError(ExceptionError):
    """It is resolved already, or its cause is still there; the text says what ends it."""
