"""The error tree of Plug & Charge.

PncError                          base: its text says what was wrong, where, and how to correct it
├── MalformedEmaidError           a text that is no eMAID
├── MalformedCertificateError     bytes that are no certificate this package reads, or a bundle that is not
PEM
├── MalformedHashDataError        OCPP certificate hash data that can't be what it claims
├── CallError                     an OCPP message that breaks its schema, shaped like an OCPP-J CALLERROR
├── UnfitAuthorityError           a certificate that may be neither an anchor nor a cross certificate
├── UnknownRecordError            an administrator named something that does not exist
├── ConflictingRecordError        the record changed meanwhile, or has other content already
├── UnfitCallError                a call whose own fields, outside the OCPP message, are out of bounds
├── UnfitContractError            a contract that can't be stored as given
├── UnfitPoolEventError           an event of a contract pool that can't be read
├── PoolNotAnsweringError         a contract pool that gave no usable answer
└── PncInvariantViolation            a bug: an invariant does not hold

A rejected vehicle is not an error: chain, revocation and authorization return their rejections as values.
"""


class PncError(Exception):
    """Base of every error that this package raises on purpose."""


class MalformedEmaidError(PncError):
    """A text that is no eMAID."""


class MalformedCertificateError(PncError):
    """Bytes that are no certificate this package reads, or a bundle that is not PEM."""


class MalformedHashDataError(PncError):
    """OCPP certificate hash data that can't be what it claims."""


class CallError(PncError):
    """An OCPP message that breaks its schema.

    `code` is an error code of OCPP-J 2.0.1 section 4.3 (FormatViolation, PropertyConstraintViolation, ...);
    `path` is the JSON path of the offending value.
    """

    def __init__(self, *, code: str, description: str, path: str) -> None:
        super().__init__(f"{path}: {description}")
        self.code = code
        self.description = description
        self.path = path


class UnfitAuthorityError(PncError):
    """A certificate that an administrator may not add as an anchor or cross certificate."""


class UnknownRecordError(PncError):
    """An administrator named something that is not there."""


class ConflictingRecordError(PncError):
    """The record changed meanwhile, or has other content already."""


class UnfitCallError(PncError):
    """A call whose own fields, outside the OCPP message, are out of bounds; `path` is the JSON path."""

    def __init__(self, *, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class UnfitContractError(PncError):
    """A contract that can't be stored as given; `path` is the JSON path of the offending field."""

    def __init__(self, *, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class UnfitPoolEventError(PncError):
    """An authentic event of a contract pool that can't be read; `path` is the JSON path of the field."""

    def __init__(self, *, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class PoolNotAnsweringError(PncError):
    """A contract pool gave no usable answer; the text says why, and names no contract."""


class PncInvariantViolation(PncError):  # noqa: N818 - it names a bug, not an error of the caller
    """What must always hold does not: stop and look."""
