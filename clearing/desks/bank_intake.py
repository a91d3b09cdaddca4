"""Taking in what the bank says: a status report or a statement, once, whatever it is called.

Owns: which reader a message gets, and that it counts once. Must not know: where it comes from. A message is
known by the hash of its bytes; one that can't be read changes nothing and is kept with the reason.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import IO, Final

from clearing.connection import Connection
from clearing.desks.bank_rail import BankAnswer, BankRail
from clearing.desks.payout_desk import PayoutDesk, Returned
from clearing.desks.reconciler import Reconciler
from clearing.errors import StateConflictError, UnreadableMessageError
from clearing.iso20022 import camt
from clearing.iso20022.camt import BankLine
from clearing.iso20022.message_kind import kind_of
from clearing.service import ClearingService
from clearing.store import bank_files as store
from clearing.store.bank_files import BankMessage

_CHUNK: Final = 1 << 20
_NAME: Final = 200
_REASON: Final = 500
_REPORT: Final = "pain.002"

Opener = Callable[[], IO[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenMessage:
    """A message as kept, and what it did. `repeated`: it was taken before, and did nothing now."""

    message: BankMessage
    answer: BankAnswer
    repeated: bool


class BankIntake:
    """Works messages of the bank in. Takes the connection; does not commit."""

    def __init__(self, clearing: ClearingService, *, reconciler: Reconciler | None = None) -> None:
        """`reconciler` keeps the lines of statements for the comparison."""
        self._desk = PayoutDesk(clearing)
        self._rail = BankRail(clearing, self._desk)
        self._reconciler = reconciler or Reconciler()

    async def take(
        self, connection: Connection, source: Opener, *, name: str, told_by: str, now: datetime
    ) -> TakenMessage:
        """Read a message and do what it says, whole or not at all.

        `source` opens its bytes anew, which must be the same each time. What can't be read, or is about a
        file that isn't ours, is kept as refused with the reason and may come again.
        """
        digest, size = _digest(source)
        told = BankMessage(
            sha256=digest, name=_told(name), kind="unknown", state="taken", size_bytes=size, received_at=now,
            settled=0, rejected=0, returned=0, new_lines=0, reason=None, told_by=told_by,
        )  # fmt: skip
        claimed = await store.claim_message(
            connection, sha256=digest, name=told.name, size_bytes=size, told_by=told_by, now=now
        )
        if not claimed:
            known = await store.message(connection, digest)
            return TakenMessage(message=known or told, answer=BankAnswer(), repeated=True)
        answer = BankAnswer()
        try:
            async with connection.transaction():
                told, answer = await self._work_in(connection, source, told, now=now)
        except (UnreadableMessageError, StateConflictError) as error:
            told = replace(told, state="refused", reason=str(error)[:_REASON])
        await store.finish_message(connection, told)
        return TakenMessage(message=told, answer=answer, repeated=False)

    async def _work_in(
        self, connection: Connection, source: Opener, told: BankMessage, *, now: datetime
    ) -> tuple[BankMessage, BankAnswer]:
        with source() as stream:
            kind = kind_of(stream)
        new = 0
        with source() as stream:
            if kind == _REPORT:
                answer = await self._rail.status_report(connection, stream, now=now)
            else:
                answer = await self._rail.statement(connection, _lines(stream), now=now)
        if kind != _REPORT:
            with source() as stream:
                new = await self._reconciler.record_bank_lines(connection, camt.read(stream), now=now)
        answer = await self._with_early_returns(connection, answer, now=now)
        counted = replace(
            told,
            kind=kind,
            settled=answer.settled,
            rejected=answer.rejected,
            returned=answer.returned,
            new_lines=new,
        )
        return counted, answer

    async def _with_early_returns(
        self, connection: Connection, answer: BankAnswer, *, now: datetime
    ) -> BankAnswer:
        """Payments settled now whose money is known to have come back: the later statement was read first."""
        back = {one.payment.id for one in answer.came_back}
        settled = {one.end_to_end_id: one for one in answer.paid if one.id not in back}
        early: list[Returned] = []
        for credit in await store.credits_of(connection, list(settled)):
            payment = settled[credit.end_to_end_id]
            if (credit.amount_minor, credit.currency) == (payment.amount_minor, payment.currency):
                reason = credit.detail or "credited back"
                returned = await self._desk.returned(connection, payment.id, reason=reason, now=now)
                early += [] if returned is None else [returned]
        return replace(answer, came_back=(*answer.came_back, *early))


def _lines(stream: IO[bytes]) -> Iterator[BankLine]:
    return (line for line in camt.read(stream) if isinstance(line, BankLine))


def _digest(source: Opener) -> tuple[str, int]:
    """SHA-256 in hex and the size in bytes."""
    digest, size = sha256(), 0
    with source() as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _told(name: str) -> str:
    """A name that can be kept and shown, whatever a directory holds."""
    plain = name.encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else "?" for character in plain)[:_NAME]
