"""The limits of the checks as a party sees and sets them: dated, its own, the platform's, the defaults.

Owns: who may have limits, when one may be set, and the transaction. Must not know: what a limit is used for,
HTTP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from clearing.cdr_checks.limits import LimitName, is_allowed, limits_at
from clearing.parties.party import PLATFORM_ID
from gateway.clock import Clock
from gateway.database import Connection, Pool
from gateway.partners import party_repository
from gateway.partners.errors import UnknownPartnerRecordError
from gateway.partners.principals import principal_transaction
from gateway.payments import usage_repository
from gateway.payments.errors import InvalidPaymentRequestError, PaymentConflictError
from gateway.payments.usage_repository import LimitRecord

_MAY_HAVE_SOME: Final = frozenset({"cpo", "platform"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyLimits:
    """The limits in force for a party, and what was set for it, by name and date."""

    values: Mapping[LimitName, Decimal]
    own: Sequence[LimitRecord]


async def read_limits(connection: Connection, *, party_id: str, at: datetime) -> PartyLimits:
    """The limits in force for sessions that are authorized at `at`."""
    rows = await usage_repository.list_limits(connection, [party_id, PLATFORM_ID])
    return PartyLimits(
        values=limits_at((row.as_limit for row in rows), at).values,
        own=[row for row in rows if row.party_id == party_id],
    )


async def set_limits(
    connection: Connection,
    values: Mapping[LimitName, Decimal],
    *,
    party_id: str,
    valid_from: datetime,
    by: str,
    now: datetime,
) -> None:
    """Set limits from a time on that is not past, for sessions authorized from then on.

    Raises InvalidPaymentRequestError, PaymentConflictError (another value was set for that time).
    """
    if valid_from < now:
        raise InvalidPaymentRequestError("a limit is set from now on or later: checked sessions keep theirs")
    for name, value in values.items():
        if not is_allowed(name, value):
            raise InvalidPaymentRequestError(f"{name.value}: {value} is no value that this limit may have")
        record = LimitRecord(
            party_id=party_id, name=name, valid_from=valid_from, value=value, set_by=by, created_at=now
        )
        if not await usage_repository.set_limit(connection, record):
            raise PaymentConflictError(f"{name.value} was set to another value from that time on already")


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrLimitService:
    """The limits over the API. `key` is the API key that asks."""

    pool: Pool
    clock: Clock

    async def set(
        self, party_id: str, values: Mapping[LimitName, Decimal], *, valid_from: datetime | None, key: str
    ) -> PartyLimits:
        """Set limits of a CPO, or of the platform, from a time on; now if it is None.

        Returns what is in force now. Raises UnknownPartnerRecordError, and as `set_limits`.
        """
        now = self.clock.now()
        async with principal_transaction(self.pool, key=key) as (connection, by):
            party = await party_repository.find_party(connection, party_id)
            if party is None or party.kind not in _MAY_HAVE_SOME:
                raise UnknownPartnerRecordError(f"There is no CPO {party_id}.")
            await set_limits(
                connection, values, party_id=party_id, valid_from=valid_from or now, by=by, now=now
            )
            return await read_limits(connection, party_id=party_id, at=now)

    async def get(self, party_id: str) -> PartyLimits:
        """The limits in force now, and what was set for the party itself."""
        async with self.pool.acquire() as connection:
            return await read_limits(connection, party_id=party_id, at=self.clock.now())
