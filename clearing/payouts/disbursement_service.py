"""Disbursements from planned to paid, for the gateway and the bank's files.

Owns: the parties that are current, and the journal that a paid disbursement is booked in. Must not know: the
rail, HTTP. Every method takes the connection; none commits.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from clearing.connection import Connection
from clearing.errors import ClearingConflictError
from clearing.ledger import service as ledger_service
from clearing.parties.party import Party
from clearing.payouts import repository, service
from clearing.payouts.disbursement import Disbursement, RailOutcome
from clearing.payouts.forecast import CalendarDay
from clearing.payouts.service import Answers
from clearing.reference_data.service import ReferenceDataService


class DisbursementService:
    """Plans disbursements, records that they are sent and what the rail answered."""

    def __init__(self, reference_data: ReferenceDataService) -> None:
        """`reference_data` knows the parties."""
        self._reference_data = reference_data

    async def load_parties(self, connection: Connection) -> Mapping[str, Party]:
        """Every registered party by id."""
        return await self._reference_data.load_parties(connection)

    async def list_parties_due(self, connection: Connection, *, now: datetime) -> Sequence[str]:
        """Parties with something due on their local day: whom `plan` is to be called for."""
        return await repository.list_parties_due(connection, now=now)

    async def plan(
        self, connection: Connection, *, now: datetime, only: Sequence[str] | None = None
    ) -> Sequence[Disbursement]:
        """Net what is due per party and currency on the party's local day, and plan one disbursement each.

        `only` names the parties, so that a long run may end its transaction after every few hundred.
        """
        parties = await self.load_parties(connection)
        names = await self.list_parties_due(connection, now=now) if only is None else only
        post = partial(ledger_service.post_entries, connection, now=now)
        return await service.plan(connection, names, parties=parties, post=post, now=now)

    async def begin(
        self, connection: Connection, disbursement_id: UUID, *, now: datetime
    ) -> Disbursement | None:
        """The intent, committed before the rail is called; None if another worker has it or it has ended.

        None as well where a hold, other bank details or a departure came since it was planned: the next
        planning cancels it.

        With `attempts` above 1 an earlier call may have taken effect: the rail is called with the same
        end_to_end_id.
        """
        parties = await self.load_parties(connection)
        return await service.begin(connection, disbursement_id, parties=parties, now=now)

    async def begin_due(self, connection: Connection, *, now: datetime, limit: int) -> Sequence[Disbursement]:
        """The intents of up to `limit` due disbursements over the PSP; as `begin`."""
        parties = await self.load_parties(connection)
        return await service.begin_due(connection, parties=parties, now=now, limit=limit)

    async def record_outcome(
        self, connection: Connection, disbursement_id: UUID, outcome: RailOutcome, *, now: datetime
    ) -> Disbursement:
        """Record the rail's answer: paid is posted, rejected reopens the payables, unknown is retried.

        Raises ClearingConflictError when the disbursement does not wait for an answer.
        """
        answers = await self.record_outcomes(connection, {disbursement_id: outcome}, now=now)
        for conflict in answers.conflicts.values():
            raise ClearingConflictError(conflict)
        (disbursement,) = [*answers.ended, *answers.repeated]
        return disbursement

    async def record_outcomes(
        self, connection: Connection, outcomes: Mapping[UUID, RailOutcome], *, now: datetime
    ) -> Answers:
        """Record many answers of the rail; what was paid is posted in one batch of the journal.

        A disbursement that does not wait for its answer is among the `conflicts`; the others are recorded.
        """
        parties = await self.load_parties(connection)
        post = partial(ledger_service.post_entries, connection, now=now)
        return await service.answer(connection, outcomes, parties=parties, post=post, now=now)

    async def forecast(
        self, connection: Connection, *, now: datetime, days: int = 14, party_id: str | None = None
    ) -> Sequence[CalendarDay]:
        """The disbursement calendar: unpaid amounts by party and due date, from overdue to `days` ahead."""
        parties = await self.load_parties(connection)
        return await service.forecast(connection, parties=parties, now=now, days=days, party_id=party_id)
