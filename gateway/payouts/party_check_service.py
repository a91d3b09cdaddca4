"""Checks of a party's identity, and the payout hold that follows from them.

Owns: transactions, events, when parties are looked at. Must not know: HTTP, which checks a party needs. A
party without its checks has a payout hold of the cause `party_checks`: it is placed before money is planned
and is lifted by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from clearing.parties import party_check_service as checks
from clearing.parties.party import Party
from clearing.parties.party_checks import NewPartyCheck, PartyCheck
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.errors import RecordNotFoundError
from gateway.ids import format_id, new_id, shard_of
from gateway.partners.party_service import load_party
from gateway.partners.principals import principal_transaction
from gateway.schemas.party_checks import PartyCheckSchema
from gateway.webhooks import events, payout_events
from gateway.webhooks.events import EventType, NewEvent

CAUSE: Final = "party_checks"
# Every local midnight, at which a check may lapse, is at a quarter of an hour in UTC.
_QUARTER_S: Final = 900


@dataclass(slots=True, kw_only=True)
class PartyCheckService:
    """Raises UnknownPartnerRecordError where there is no such party. `key` is the API key that asks.

    `required`: a party without its required checks is not paid; else only an adverse check holds it.
    """

    pool: Pool
    clock: Clock
    clearing: ClearingServices
    required: bool
    _seen: tuple[int, int] | None = field(default=None)

    async def record(self, party_id: str, new: NewPartyCheck, *, check_id: UUID, key: str) -> PartyCheck:
        """Record a check; a hold that it ends is lifted, one that it makes due is placed.

        Raises InvalidPartyCheckError, naming the field, and ClearingConflictError where another person than
        the one who recorded an adverse check must record its successor.
        """
        now = self.clock.now()
        async with principal_transaction(self.pool, key=key) as (connection, by):
            party = await load_party(self.clearing, connection, party_id)
            check = await checks.record_check(connection, party, new, check_id=check_id, by=by, now=now)
            return await self._publish(connection, party, check, now=now)

    async def confirm(self, party_id: str, check_id: UUID, *, note: str, key: str) -> PartyCheck:
        """Confirm a payee name that did not match, as a second person.

        Raises RecordNotFoundError, InvalidPartyCheckError, ClearingConflictError.
        """
        now = self.clock.now()
        async with principal_transaction(self.pool, key=key) as (connection, by):
            party = await load_party(self.clearing, connection, party_id)
            known = await checks.find_check(connection, party.id, check_id)
            if known is None:
                raise RecordNotFoundError("The party has no such check")
            confirmed = await checks.confirm_payee_name(
                connection, party, known, check_id=new_id(), note=note, by=by, now=now
            )
            return await self._publish(connection, party, confirmed, now=now)

    async def list(self, party_id: str) -> Sequence[PartyCheck]:
        """A party's checks, the latest first."""
        async with self.pool.acquire() as connection:
            party = await load_party(self.clearing, connection, party_id)
            return await checks.list_checks(connection, party.id)

    async def follow_all(self) -> None:
        """Look at every party after each new check and in each quarter of an hour of business time.

        A check lapses at a local midnight.
        """
        quarter = int(self.clock.now().timestamp()) // _QUARTER_S
        async with self.pool.acquire() as connection:
            seen = (quarter, await checks.last_position(connection))
            if seen == self._seen:
                return
            names = list(await self.clearing.reference_data.load_parties(connection))
        await self.follow(names)
        self._seen = seen

    async def follow(self, names: Sequence[str]) -> None:
        """Place and lift the holds of these parties by their checks as they are now."""
        if not names:
            return
        now = self.clock.now()
        async with self.pool.acquire() as connection:
            differing = await self._differing(connection, names, now=now)
        for party_id in differing:
            async with transaction(self.pool) as connection:
                await self._hold(connection, await load_party(self.clearing, connection, party_id), now=now)

    async def _differing(
        self, connection: Connection, names: Sequence[str], *, now: datetime
    ) -> Sequence[str]:
        """Parties whose hold is not the one that their checks call for, by id."""
        known = await self.clearing.reference_data.load_parties(connection)
        parties = {name: known[name] for name in names if name in known}
        reasons = await checks.withholding_reasons(connection, parties, required=self.required, now=now)
        return sorted(name for name, reason in reasons.items() if _held_for(parties[name]) != reason)

    async def _publish(
        self, connection: Connection, party: Party, check: PartyCheck, *, now: datetime
    ) -> PartyCheck:
        await events.record(connection, [recorded(check)], now=now)
        await self._hold(connection, party, now=now)
        return check

    async def _hold(self, connection: Connection, party: Party, *, now: datetime) -> None:
        """Hold the party's payouts for what its checks lack, and for nothing else."""
        payouts = self.clearing.payouts
        found = await checks.withholding_reasons(
            connection, {party.id: party}, required=self.required, now=now
        )
        reason = found[party.id]
        lifted = await payouts.lift_caused_holds(connection, party.id, cause=CAUSE, keep=reason, now=now)
        ended = [payout_events.hold(EventType.PAYOUT_HOLD_LIFTED, one) for one in lifted]
        await events.record(connection, ended, now=now)
        present = await load_party(self.clearing, connection, party.id)
        if reason is None or _held_for(present) == reason:
            return
        hold_id = await payouts.place_hold(
            connection,
            party.id,
            reason=reason,
            since=now.astimezone(ZoneInfo(party.time_zone)).date(),
            until=None,
            by=CAUSE,
            cause=CAUSE,
        )
        cancelled = await payouts.cancel_unpayable(connection, now=now, party_id=party.id)
        await payout_events.record_hold(connection, hold_id, cancelled, now=now)


def _held_for(party: Party) -> str | None:
    return next((one.reason for one in party.payout_terms.holds if one.cause == CAUSE), None)


def check_object(check: PartyCheck) -> PartyCheckSchema:
    """The public check."""
    return PartyCheckSchema(
        id=format_id(checks.CHECK, check.id),
        party=check.party_id,
        kind=check.kind,
        result=check.result,
        performed_by=check.performed_by,
        checked_on=check.checked_on,
        valid_until=check.valid_until,
        reference=check.reference,
        note=check.note,
        bank_details_version=check.details_version,
        confirms=None if check.confirms is None else format_id(checks.CHECK, check.confirms),
        recorded_by=check.recorded_by,
        recorded=check.recorded_at,
    )


def recorded(check: PartyCheck) -> NewEvent:
    """A check was recorded, to its party."""
    shown = check_object(check)
    return NewEvent(
        type=EventType.PARTY_CHECK_RECORDED,
        party_id=check.party_id,
        object_id=shown.id,
        data=shown.as_json(),
        shard=shard_of(check.id),
    )
