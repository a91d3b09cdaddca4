"""Stripe Terminal behind the terminal port: locations, readers, connection tokens, server-driven payments.

Owns: paths, parameters, what an answer means. Must not know: whose location is whose.
Sources: docs.stripe.com/api/terminal; page terminal/payments/collect-card-payment (server-driven).
"""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from gateway.ids import format_id
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.stripe.responses import StripeObject
from gateway.payments.psp.stripe.wire import StripeWire
from gateway.payments.psp.terminal_port import (
    ConnectionOutcome,
    ConnectionToken,
    LocationCreated,
    LocationOutcome,
    PspLocationRequest,
    PspReaderRequest,
    Reader,
    ReaderOutcome,
)

_LOCATIONS: Final = "/v1/terminal/locations"
_READERS: Final = "/v1/terminal/readers"
_TOKENS: Final = "/v1/terminal/connection_tokens"


class StripeReader(msgspec.Struct):
    """A terminal reader."""

    id: str
    label: str = ""
    device_type: str = ""
    serial_number: str = ""
    location: str | StripeObject | None = None
    status: str | None = None


class _Token(msgspec.Struct):
    secret: str


class StripeTerminals:
    """The terminal port over Stripe."""

    def __init__(self, wire: StripeWire) -> None:
        self._wire = wire

    async def create_location(self, request: PspLocationRequest) -> LocationOutcome:
        """Create a Location that says whose it is."""
        made = await self._wire.post(
            _LOCATIONS, StripeObject, location_params(request), key=request.idempotency_key
        )
        if isinstance(made, Declined | PspOutcomeUnknown):
            return made
        return LocationCreated(psp_location=made.id)

    async def create_connection_token(self, *, psp_location: str, idempotency_key: str) -> ConnectionOutcome:
        """Create a ConnectionToken for one Location."""
        made = await self._wire.post(_TOKENS, _Token, {"location": psp_location}, key=idempotency_key)
        if isinstance(made, Declined | PspOutcomeUnknown):
            return made
        return ConnectionToken(secret=made.secret)

    async def register_reader(self, request: PspReaderRequest) -> ReaderOutcome:
        """Create a Reader."""
        params = {
            "registration_code": request.registration_code,
            "label": request.label,
            "location": request.psp_location,
        }
        return _reader(await self._wire.post(_READERS, StripeReader, params, key=request.idempotency_key))

    async def list_readers(self, *, psp_location: str) -> Sequence[Reader] | PspOutcomeUnknown:
        """List the Readers of a Location."""
        found: list[StripeReader] = []
        unread = await self._wire.read_each(
            _READERS, StripeReader, found.append, params={"location": psp_location}
        )
        return unread or [_known(one) for one in found]

    async def inspect_reader(self, *, psp_reader: str) -> ReaderOutcome:
        """Retrieve a Reader."""
        return _reader(await self._wire.get(_path(psp_reader), StripeReader, {}))

    async def present(self, *, psp_reader: str, psp_payment: str, idempotency_key: str) -> ReaderOutcome:
        """Hand a PaymentIntent to a Reader."""
        return _reader(
            await self._wire.post(
                _path(psp_reader, "/process_payment_intent"),
                StripeReader,
                {"payment_intent": psp_payment},
                key=idempotency_key,
            )
        )


def location_params(request: PspLocationRequest) -> dict[str, Any]:
    """The parameters of a Location."""
    return {
        "display_name": request.display_name,
        "address": dict(request.address),
        "metadata": {"party": request.party_id, "location": format_id("tloc", request.location_id)},
    }


def _reader(reader: StripeReader | Declined | PspOutcomeUnknown) -> ReaderOutcome:
    return reader if isinstance(reader, Declined | PspOutcomeUnknown) else _known(reader)


def _known(reader: StripeReader) -> Reader:
    place = reader.location
    return Reader(
        psp_reader=reader.id,
        psp_location=place.id if isinstance(place, StripeObject) else place,
        label=reader.label,
        device_type=reader.device_type,
        serial_number=reader.serial_number,
        online=None if reader.status is None else reader.status == "online",
    )


def _path(psp_reader: str, verb: str = "") -> str:
    return f"{_READERS}/{quote(psp_reader, safe='')}{verb}"
