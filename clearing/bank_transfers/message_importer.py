"""Import of the bank's messages: a status report or a statement, once, whatever its file name.

Owns: which reader a message gets, and that it counts once. Must not know: where it comes from. A message is
identified by the hash of its bytes; one that can't be read changes nothing and is recorded with the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from itertools import islice
from typing import IO, Final

from clearing.bank_transfers import entry_service, repository
from clearing.bank_transfers.bank_message import BankMessage
from clearing.bank_transfers.service import BankOutcome, BankTransferService
from clearing.connection import Connection
from clearing.errors import ClearingConflictError, UnreadableMessageError
from clearing.iso20022 import camt
from clearing.iso20022.bank_entry import BankBalance, BankEntry, UnreadableEntry
from clearing.iso20022.message_kind import kind_of
from clearing.payouts.administration import PayoutAdministration, ReturnedDisbursement
from clearing.reconciliation.service import ReconciliationService

_CHUNK: Final = 1 << 20
_PAGE: Final = 2_000  # entries
_NAME: Final = 200
_REASON: Final = 500
_REPORT: Final = "pain.002"

Opener = Callable[[], IO[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedMessage:
    """A message as recorded, and what it changed. `repeated`: it was imported before and changed nothing."""

    message: BankMessage
    outcome: BankOutcome
    repeated: bool


class BankMessageImporter:
    """Imports the bank's messages. Takes the connection; does not commit."""

    def __init__(
        self,
        transfers: BankTransferService,
        administration: PayoutAdministration,
        *,
        reconciliation: ReconciliationService | None = None,
    ) -> None:
        """`reconciliation` stores the lines of statements for the comparison."""
        self._administration = administration
        self._transfers = transfers
        self._reconciliation = reconciliation or ReconciliationService()

    async def import_message(
        self, connection: Connection, source: Opener, *, name: str, reported_by: str, now: datetime
    ) -> ImportedMessage:
        """Read a message and apply it, whole or not at all.

        `source` opens the same bytes each time it is called. A message that can't be read, or is about a file
        that isn't ours, is recorded as rejected with the reason and may be imported again later.
        """
        digest, size = _digest(source)
        message = BankMessage(
            sha256=digest,
            name=_printable(name),
            kind="unknown",
            state="imported",
            size_bytes=size,
            received_at=now,
            settled=0,
            rejected=0,
            returned=0,
            new_lines=0,
            reason=None,
            reported_by=reported_by,
        )
        claimed = await repository.claim_message(
            connection, sha256=digest, name=message.name, size_bytes=size, reported_by=reported_by, now=now
        )
        if not claimed:
            known = await repository.find_message(connection, digest)
            return ImportedMessage(message=known or message, outcome=BankOutcome(), repeated=True)
        outcome = BankOutcome()
        try:
            async with connection.transaction():
                message, outcome = await self._apply(connection, source, message, now=now)
        except (UnreadableMessageError, ClearingConflictError) as error:
            message = replace(message, state="rejected", reason=str(error)[:_REASON])
        await repository.finish_message(connection, message)
        return ImportedMessage(message=message, outcome=outcome, repeated=False)

    async def _apply(
        self, connection: Connection, source: Opener, message: BankMessage, *, now: datetime
    ) -> tuple[BankMessage, BankOutcome]:
        with source() as stream:
            kind = kind_of(stream)
        new = 0
        with source() as stream:
            if kind == _REPORT:
                outcome = await self._transfers.import_status_report(connection, stream, now=now)
            else:
                outcome, new = await self._import_entries(connection, stream, message, now=now)
        outcome = await self._with_early_returns(connection, outcome, now=now)
        counted = replace(
            message,
            kind=kind,
            settled=len(outcome.paid),
            rejected=len(outcome.failed),
            returned=len(outcome.returned),
            new_lines=new,
        )
        return counted, outcome

    async def _import_entries(
        self, connection: Connection, stream: IO[bytes], message: BankMessage, *, now: datetime
    ) -> tuple[BankOutcome, int]:
        """Apply a statement or notification, a page at a time; also how many lines are new."""
        outcome, new = BankOutcome(), 0
        stated = camt.read(stream)
        while page := list(islice(stated, _PAGE)):
            entries = [one for one in page if isinstance(one, BankEntry)]
            found = await entry_service.take_entries(connection, entries, message=message.sha256, now=now)
            placed = await self._reconciliation.withdraw_bank_lines(connection, list(found.details))
            lines = [*found.lines, *(line for line_id in placed for line in found.details[line_id])]
            applied = await self._transfers.import_statement(connection, lines, now=now)
            outcome = BankOutcome(
                paid=[*outcome.paid, *applied.paid],
                failed=[*outcome.failed, *applied.failed],
                returned=[*outcome.returned, *applied.returned],
            )
            others = [one for one in page if isinstance(one, BankBalance | UnreadableEntry)]
            new += await self._reconciliation.record_bank_lines(connection, [*lines, *others], now=now)
            new -= len(placed)
        return outcome, max(0, new)

    async def _with_early_returns(
        self, connection: Connection, outcome: BankOutcome, *, now: datetime
    ) -> BankOutcome:
        """Return also what was settled now and had been returned by a later statement, imported before."""
        returned_ids = {one.disbursement.id for one in outcome.returned}
        settled = {one.end_to_end_id: one for one in outcome.paid if one.id not in returned_ids}
        early: list[ReturnedDisbursement] = []
        for credit in await repository.list_credits(connection, list(settled)):
            paid = settled[credit.end_to_end_id]
            if (credit.amount_minor, credit.currency) == (paid.amount_minor, paid.currency):
                reason = credit.detail or "credited back"
                one = await self._administration.record_return(connection, paid.id, reason=reason, now=now)
                early += [] if one is None else [one]
        return replace(outcome, returned=(*outcome.returned, *early))


def _digest(source: Opener) -> tuple[str, int]:
    """SHA-256 in hex and the size in bytes."""
    digest, size = sha256(), 0
    with source() as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _printable(name: str) -> str:
    """The name with unprintable characters replaced, so that it can be stored and shown."""
    plain = name.encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else "?" for character in plain)[:_NAME]
