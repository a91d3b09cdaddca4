"""The error tree of clearing.

ClearingError                     a rule of this domain was broken by the input; its text says which and how
├── UnknownCurrencyError          not an ISO 4217 code this system settles
├── CurrencyMismatchError         two currencies met in one operation
├── InvalidAmountError            an amount, weight or rate outside its bounds
├── MalformedDocumentError        a tariff or CDR that is not what its OCPI version says, with the JSON path
├── UnknownTimeZoneError          not an IANA time zone name
├── InvalidSessionError           a captured session contradicts itself
├── InvalidPartyError             a party's data is missing or contradicts itself
├── InvalidVatIdError             a VAT id of the wrong form or with a wrong check digit
├── InvalidAgreementError         an agreement that can't clear, with the path of the field
├── UnclearableError              one session can't be cleared; it becomes an exception with this reason
├── RateUnavailableError          no exchange or VAT rate for that day, or only one that is too old
├── CalendarExhaustedError        the dated calendar file doesn't reach that day
├── ClosedPeriodError             a booking before the instant up to which the books are closed
├── ClearingConflictError            a record was not in the state that the step needs
├── SimulationError               a made-up session that is none, with the path of the field
├── StatementError                a statement that doesn't prove what it says, with the line
├── InvalidDocumentError          an invoice that may not be issued
├── InvalidPaymentError           a bank payment or bank details that no bank would accept, with the field
├── UnreadableMessageError        a bank's message that can't be read, with the element
├── InvalidMeterKeyError          a meter's key that can't be registered, with the field
├── UnreadableMeterFileError      a file of signed meter data that can't be read, with the element
├── UnreadableRatesError          a file of exchange rates that can't be read, with the place
├── InvalidChartError             a chart of accounts that can't be used, with the account or line
├── InvalidBooksRequestError      a period, form or file of rates that the books can't be exported by
└── ClearingInvariantViolation            a bug: what must always hold does not
"""

from datetime import datetime
from uuid import UUID

from clearing.identifiers import format_id


class ClearingError(Exception):
    """Base of every error that clearing raises on purpose."""


class UnknownCurrencyError(ClearingError):
    """A currency code with no known exponent."""

    def __init__(self, currency: str) -> None:
        super().__init__(
            f"{currency!r} is not a currency this system settles; expected an ISO 4217 code such as EUR"
        )
        self.currency = currency


class CurrencyMismatchError(ClearingError):
    """Two currencies in one sum."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right} can't be added; convert through a locked FX rate first")


class InvalidAmountError(ClearingError):
    """An amount, weight or rate outside its bounds."""


class InvalidSessionError(ClearingError):
    """A captured session that contradicts itself."""

    def __init__(self, session_id: UUID, detail: str) -> None:
        super().__init__(f"session {format_id('ses', session_id)}: {detail}")
        self.session_id = session_id


class InvalidPartyError(ClearingError):
    """A party whose data is missing or contradicts itself."""

    def __init__(self, party_id: str, detail: str) -> None:
        super().__init__(f"party {party_id!r}: {detail}")
        self.party_id = party_id


class InvalidPartyCheckError(ClearingError):
    """A check of a party's identity that says too little, or contradicts itself."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail


class InvalidVatIdError(ClearingError):
    """A VAT id of the wrong form or with a wrong check digit."""

    def __init__(self, text: str, tax_jurisdiction: str, detail: str) -> None:
        super().__init__(f"{text!r} is not a VAT id of {tax_jurisdiction}: {detail}")


class InvalidAgreementError(ClearingError):
    """An agreement that can't clear; `path` is the JSON path of the field to mend."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"agreement {path}: {detail}")
        self.path = path


class UnclearableError(ClearingError):
    """One session that can't be cleared; `reason` is a stable code, the text says how to mend it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class RateUnavailableError(ClearingError):
    """No rate for that day, or only one that is too old to be used."""


class CalendarExhaustedError(ClearingError):
    """The dated calendar file doesn't reach that day."""


class ClosedPeriodError(ClearingError):
    """A booking before the instant up to which the books are closed."""

    def __init__(self, *, at: datetime, closed_until: datetime) -> None:
        super().__init__(f"{at.isoformat()} is closed: the books are closed up to {closed_until.isoformat()}")


class ClearingConflictError(ClearingError):
    """A record was not in the state that the step needs."""


class SimulationError(ClearingError):
    """A made-up session that is none; `path` is the JSON path of the field to mend."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"session {path}: {detail}")
        self.path = path


class StatementError(ClearingError):
    """A statement that doesn't prove what it says; `line` counts from 1."""

    def __init__(self, line: int, detail: str) -> None:
        super().__init__(f"line {line} {detail}")
        self.line = line


class InvalidDocumentError(ClearingError):
    """An invoice that may not be issued."""


class InvalidPaymentError(ClearingError):
    """A bank payment or bank details that no bank would accept; `field` names what to correct."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field


class UnreadableMessageError(ClearingError):
    """A bank's message that can't be read; `path` is the element."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"bank message {path} {detail}")
        self.path = path
        self.detail = detail


class UnreadableMeterFileError(ClearingError):
    """A file of signed meter data that can't be read; the text names the element."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"the S.A.F.E. XML file, {path}, {detail}")
        self.path = path


class InvalidMeterKeyError(ClearingError):
    """A meter's key that can't be registered; `field` names what is wrong."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field


class UnreadableRatesError(ClearingError):
    """A file of exchange rates that can't be read; `where` is the line and column, or the element."""

    def __init__(self, where: str, detail: str) -> None:
        super().__init__(f"{where}: {detail}")
        self.where = where
        self.detail = detail


class MalformedDocumentError(ClearingError):
    """A JSON document that can't be read: names the document, the JSON path and what is expected there."""

    def __init__(self, *, document: str, path: str, problem: str) -> None:
        super().__init__(f"{document} {path}: {problem}")
        self.document = document
        self.path = path
        self.problem = problem


class UnknownTimeZoneError(ClearingError):
    """A time zone name that the time zone database does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} is not a time zone; expected an IANA name such as Europe/Amsterdam")
        self.name = name


class InvalidChartError(ClearingError):
    """A chart of accounts that lacks an account or contradicts itself."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"chart of accounts: {where} {problem}")


class InvalidBooksRequestError(ClearingError):
    """A period, form or file of rates that the books can't be exported by."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class ClearingInvariantViolation(ClearingError):  # noqa: N818 - it names a bug, not an error of the caller
    """What must always hold does not: stop and look."""
