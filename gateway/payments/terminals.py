"""Payment terminals: a party's locations and readers, and the card that a reader takes for an authorization.

Owns: whose reader is whose. Must not know: HTTP, SQL, how a reader speaks to a card. An authorization of a
card that is still to be presented waits at the PSP; the reader confirms it, and the same payment is captured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import format_id
from gateway.payments import terminal_repository as repository
from gateway.payments.errors import NotFoundError, PaymentConflictError
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import CARD_PRESENT
from gateway.payments.psp.terminal_port import (
    INVALID_ADDRESS,
    INVALID_DISPLAY_NAME,
    INVALID_LABEL,
    INVALID_REGISTRATION_CODE,
    ConnectionToken,
    PspLocationRequest,
    PspReaderRequest,
    Reader,
    TerminalPsp,
)
from gateway.payments.psp_answers import known, unavailable
from gateway.payments.records import AuthorizationRecord
from gateway.payments.state_machine import PaymentState
from gateway.payments.terminal_repository import LocationRecord

_FIELDS: Final = {
    INVALID_ADDRESS: ("address", "an address as the PSP writes those of its country"),
    INVALID_DISPLAY_NAME: ("display_name", "a name that the PSP takes"),
    INVALID_LABEL: ("label", "a label that the PSP takes"),
    INVALID_REGISTRATION_CODE: ("registration_code", "the code that the reader shows now"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalService:
    """Terminals of parties. `party_id` None is the platform, which sees all."""

    pool: Pool
    clock: Clock
    psp: TerminalPsp

    async def create_location(
        self,
        *,
        location_id: UUID,
        party_id: str,
        display_name: str,
        address: Mapping[str, str],
        metadata: Mapping[str, str],
    ) -> LocationRecord:
        """Create a location; the same id again is the same location.

        Raises PspUnavailableError, InvalidPaymentRequestError.
        """
        async with self.pool.acquire() as connection:
            location = await repository.add_location(
                connection,
                id=location_id,
                party_id=party_id,
                display_name=display_name,
                metadata=dict(metadata),
                now=self.clock.now(),
            )
        if location.psp_location is not None:
            return location
        made = known(
            await self.psp.create_location(
                PspLocationRequest(
                    idempotency_key=f"nc_{format_id('tloc', location.id)}",
                    location_id=location.id,
                    party_id=location.party_id,
                    display_name=location.display_name,
                    address=address,
                )
            ),
            _FIELDS,
        )
        async with self.pool.acquire() as connection:
            return await repository.record_location(
                connection, location_id=location.id, psp_location=made.psp_location
            )

    async def get_location(self, *, party_id: str | None, psp_location: str) -> LocationRecord:
        """One location. Raises NotFoundError, also for another party's."""
        async with self.pool.acquire() as connection:
            found = await repository.find_location(connection, psp_location=psp_location)
        if found is None or party_id not in {None, found.party_id}:
            raise NotFoundError(f"no terminal location {psp_location}")
        return found

    async def list_locations(
        self, *, party_id: str | None, before: str | None, limit: int
    ) -> Sequence[LocationRecord]:
        """Locations, newest first, those older than the location `before`. Raises NotFoundError."""
        older = None
        if before is not None:
            older = (await self.get_location(party_id=party_id, psp_location=before)).id
        async with self.pool.acquire() as connection:
            return await repository.list_locations(connection, party_id=party_id, before=older, limit=limit)

    async def connect(self, *, party_id: str | None, psp_location: str, token_id: UUID) -> ConnectionToken:
        """A token for the readers of a party's own location: never for all readers of the account.

        Raises NotFoundError, PspUnavailableError, InvalidPaymentRequestError.
        """
        await self.get_location(party_id=party_id, psp_location=psp_location)
        return known(
            await self.psp.create_connection_token(
                psp_location=psp_location, idempotency_key=f"nc_{format_id('tconn', token_id)}"
            )
        )

    async def register_reader(
        self,
        *,
        party_id: str | None,
        psp_location: str,
        reader_id: UUID,
        registration_code: str,
        label: str,
    ) -> Reader:
        """Register a reader at a party's location. Errors as `connect`."""
        await self.get_location(party_id=party_id, psp_location=psp_location)
        return known(
            await self.psp.register_reader(
                PspReaderRequest(
                    idempotency_key=f"nc_{format_id('tread', reader_id)}",
                    psp_location=psp_location,
                    registration_code=registration_code,
                    label=label,
                )
            ),
            _FIELDS,
        )

    async def list_readers(self, *, party_id: str | None, psp_location: str) -> Sequence[Reader]:
        """The readers of a party's location. Raises NotFoundError, PspUnavailableError."""
        await self.get_location(party_id=party_id, psp_location=psp_location)
        return known(await self.psp.list_readers(psp_location=psp_location))

    async def present(
        self,
        authorization: AuthorizationRecord,
        *,
        party_id: str | None,
        psp_reader: str,
        presentation_id: UUID,
    ) -> Reader:
        """Let a reader of the party take the card for an authorization that waits for one.

        Raises NotFoundError, PaymentConflictError (it waits for no card, or the reader can't), and
        PspUnavailableError. How it ends is the authorization's state, by event or when it is read.
        """
        waits = authorization.state is PaymentState.REQUIRES_ACTION
        if authorization.payment_method != CARD_PRESENT or not waits or authorization.psp_payment is None:
            raise PaymentConflictError(
                f"an authorization that is {authorization.state} waits for no card at a terminal"
            )
        reader = await self.psp.inspect_reader(psp_reader=psp_reader)
        if isinstance(reader, PspOutcomeUnknown):
            raise unavailable(reader)
        if isinstance(reader, Declined) or reader.psp_location is None:
            raise NotFoundError(f"no reader {psp_reader}")
        try:
            await self.get_location(party_id=party_id, psp_location=reader.psp_location)
        except NotFoundError:
            raise NotFoundError(f"no reader {psp_reader}") from None
        presented = await self.psp.present(
            psp_reader=psp_reader,
            psp_payment=authorization.psp_payment,
            idempotency_key=f"nc_{format_id('tpay', presentation_id)}",
        )
        return known(presented)
