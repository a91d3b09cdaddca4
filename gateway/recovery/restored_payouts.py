"""Payments to parties that were made after the restore's point: nobody is paid twice for them.

Owns: that a payment file is never sent again, and that a party with a payment that no book has is held.
Must not know: how a payment is posted: the reconciliation does that, with a person.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clearing.bank_transfers import record_service
from clearing.errors import UnreadableMessageError
from clearing.iso20022.sent_pain001 import SentFile, read_sent_file
from clearing.reporting.disbursements import list_unknown_transfers
from clearing.services import ClearingServices
from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.payments.psp.movement_port import PspMovement
from gateway.payouts import connected_account_repository
from gateway.payouts.hold_service import PayoutHoldService
from gateway.recovery.restore_steps import RestoreStep

BY = "restore-check"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredPayouts:
    """Finds payments to parties that no book has, and holds the parties; each step may be repeated."""

    pool: Pool
    clock: Clock
    clearing: ClearingServices

    async def hold_for_transfers(self, movements: Sequence[PspMovement]) -> RestoreStep:
        """Transfers to connected accounts that no disbursement has."""
        sent = {one.source: one for one in movements if one.kind == "transfer"}
        async with self.pool.acquire() as connection:
            unknown = await list_unknown_transfers(
                connection,
                rail_references=list(sent),
                end_to_end_ids=[one.end_to_end_id or "" for one in sent.values()],
            )
        waits: list[str] = []
        for transfer in unknown:
            account = sent[transfer].psp_account
            about = f"transfer {transfer} of {-sent[transfer].amount_minor} {sent[transfer].currency}"
            async with self.pool.acquire() as connection:
                accounts = await connected_account_repository.list_accounts_named(
                    connection, psp_account=account or ""
                )
            held = [one.party_id for one in accounts]
            for party_id in held:
                await self._hold(party_id, f"{about} was made before the database was restored")
            waits.append(f"{about} to {account}: {_held(held)}; resolve its difference, then lift the hold")
        return RestoreStep(
            name="transfers", looked_at=f"{len(sent)} transfers of the PSP's balance", waits=waits
        )

    async def keep_files_unsent(self) -> RestoreStep:
        """Payment files that the database takes for unsent: the bank may have them, so none is sent again."""
        async with transaction(self.pool) as connection:
            files = await record_service.mark_all_sent(connection, now=self.clock.now())
        return RestoreStep(
            name="payment_files",
            looked_at="payment files that were not marked as sent",
            waits=[
                f"{one} is taken as sent: ask the bank for it; where it never had it, send its bytes yourself"
                for one in files
            ],
        )

    async def hold_for_files(self, folder: Path | None) -> RestoreStep:
        """Payment files in a folder that the database does not have: their payees are held."""
        if folder is None:
            return RestoreStep(
                name="sent_files",
                looked_at="nothing: no folder of sent payment files was given",
                waits=["give --sent-files, the folder in which sent payment files are kept"],
            )
        done, waits = [], []
        files = await asyncio.to_thread(lambda: list(_read(folder)))
        for name, file in files:
            if file is None:
                waits.append(f"{name} is no payment file of ours that can be read: look at it")
                continue
            async with self.pool.acquire() as connection:
                if not await record_service.list_unknown_files(connection, [file.message_id]):
                    done.append(f"{file.message_id} is recorded")
                    continue
                held = await record_service.list_parties_of_accounts(connection, file.ibans)
            for party_id in held:
                reason = f"payment file {file.message_id} was sent before the database was restored"
                await self._hold(party_id, reason)
            waits.append(
                f"{file.message_id} pays {len(file.ibans)}: {_held(held)}; "
                "resolve the bank's entries of it, then lift the holds"
            )
        return RestoreStep(
            name="sent_files", looked_at=f"{len(files)} files of {folder}", done=done, waits=waits
        )

    async def _hold(self, party_id: str, reason: str) -> None:
        holds = PayoutHoldService(pool=self.pool, clock=self.clock, clearing=self.clearing)
        if reason not in {one.reason for one in await holds.list(party_id)}:  # nor one that was lifted since
            await holds.place(party_id, reason=reason, since=None, until=None, key=BY)


def _read(folder: Path) -> Iterator[tuple[str, SentFile | None]]:
    """Name and content of each XML file in a folder; None where it is no payment file."""
    for path in sorted(folder.glob("*.xml")):
        try:
            with path.open("rb") as stream:
                yield path.name, read_sent_file(stream)
        except UnreadableMessageError:
            yield path.name, None


def _held(parties: Sequence[str]) -> str:
    return (
        f"payouts of {', '.join(parties)} are held"
        if parties
        else "no party has that account, nobody is held"
    )
