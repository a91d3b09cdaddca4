"""The error tree of the platform under the gateway; each package adds its own branch beside its code.

GatewayError                      what the operator or caller can correct; its text is one line that says how
├── ConfigurationError            a setting is missing or wrong; the start stops with exit status 2
├── MalformedIdError              a public id that is not one of ours
├── MigrationError                the schema can't be brought forward as asked
├── DatabaseUnreachableError      no PostgreSQL answers at the given address
├── DatabaseNotMigratedError      a table of ours is missing
├── RecordNotFoundError           no such record, or another party's
├── RecordConflictError           the record does not allow what was asked
└── RateLimitExceededError        a key or an address has sent too much; it says when to try again

Knows no HTTP status and no exit code: the edges map these.
"""

from collections.abc import Mapping


class GatewayError(Exception):
    """Base of every error that the gateway's platform raises on purpose."""


class ConfigurationError(GatewayError):
    """A setting is missing or wrong; the text names it and never shows a secret."""


class MalformedIdError(GatewayError):
    """A public id without the expected prefix or with a body that no id has."""

    def __init__(self, *, text: str, expected: str) -> None:
        shown = text if len(text) <= 64 else f"{text[:64]}..."  # noqa: PLR2004 - enough to recognize it
        super().__init__(f"{shown!r} is not {expected}")


class MigrationError(GatewayError):
    """The files and the database disagree, or a migration failed; nothing of it remains applied."""


class DatabaseUnreachableError(GatewayError):
    """No PostgreSQL answers at the given address, or it rejects us."""


class DatabaseNotMigratedError(GatewayError):
    """A table of ours is missing from the database."""

    def __init__(self) -> None:
        super().__init__("the database is not migrated; run networkcore migrate")


class RecordNotFoundError(GatewayError):
    """No such record, or it is another party's: the same answer for both."""


class RecordConflictError(GatewayError):
    """What is stored does not allow this."""


class RateLimitExceededError(GatewayError):
    """A key or an address has sent more than it may; `headers` say what is left and when to try again."""

    def __init__(self, text: str, *, headers: Mapping[str, str]) -> None:
        super().__init__(text)
        self.headers = headers
