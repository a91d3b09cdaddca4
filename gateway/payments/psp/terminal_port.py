"""The port to a PSP's payment terminals: locations, readers, connection tokens, a payment handed to a reader.

Owns: the Protocol and its values. Must not know: any provider's SDK, HTTP, SQL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from gateway.payments.psp.failures import Declined, PspOutcomeUnknown

# Codes of our own for a value of the caller's that the PSP does not take.
INVALID_ADDRESS: Final = "invalid_address"
INVALID_DISPLAY_NAME: Final = "invalid_display_name"
INVALID_LABEL: Final = "invalid_label"
INVALID_REGISTRATION_CODE: Final = "invalid_registration_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class PspLocationRequest:
    """Create a location of terminals. `address`: line1, city, postal_code, state, country."""

    idempotency_key: str
    location_id: UUID
    party_id: str
    display_name: str
    address: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PspReaderRequest:
    """Register a reader by the code that it shows."""

    idempotency_key: str
    psp_location: str
    registration_code: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationCreated:
    """The location exists at the PSP."""

    psp_location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A reader as the PSP has it. `online` None: not known."""

    psp_reader: str
    psp_location: str | None
    label: str
    device_type: str
    serial_number: str
    online: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionToken:
    """What a terminal's software connects to readers with: a bearer secret, short-lived, for one location."""

    secret: str = field(repr=False)


LocationOutcome = LocationCreated | Declined | PspOutcomeUnknown
ReaderOutcome = Reader | Declined | PspOutcomeUnknown
ConnectionOutcome = ConnectionToken | Declined | PspOutcomeUnknown


class TerminalPsp(Protocol):
    """What this system needs of a PSP's terminals."""

    async def create_location(self, request: PspLocationRequest) -> LocationOutcome:
        """Create a location."""
        ...

    async def create_connection_token(self, *, psp_location: str, idempotency_key: str) -> ConnectionOutcome:
        """A token for the readers of one location."""
        ...

    async def register_reader(self, request: PspReaderRequest) -> ReaderOutcome:
        """Register a reader at a location."""
        ...

    async def list_readers(self, *, psp_location: str) -> Sequence[Reader] | PspOutcomeUnknown:
        """The readers of a location."""
        ...

    async def inspect_reader(self, *, psp_reader: str) -> ReaderOutcome:
        """One reader."""
        ...

    async def present(self, *, psp_reader: str, psp_payment: str, idempotency_key: str) -> ReaderOutcome:
        """Let a reader take the card for a payment; how it ends is read from the payment."""
        ...
