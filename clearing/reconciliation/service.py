"""Reconciliation runs: each side's lines become items, items are matched, the rest become differences.

Owns: the order of a run and the shapes of lines. Must not know: how lines are fetched, who reads the report.
Memory holds one page, however many lines there are. Every method takes the connection; none commits.
"""

import csv
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import groupby, islice
from typing import Final

from clearing.connection import Connection
from clearing.iso20022.bank_entry import BankBalance, BankLine, BankLineState, UnreadableEntry
from clearing.reconciliation import bank_position_service, repository
from clearing.reconciliation.cash_in_transit_service import book_cash_in_transit
from clearing.reconciliation.comparison import (
    MAX_CANDIDATES,
    UNKNOWN,
    UNREADABLE_ENTRY,
    Difference,
    DifferenceType,
    OpenGroup,
    ReconciliationPair,
    Tolerance,
    WithinTolerance,
    compare,
    fitting_candidates,
    merged,
    tolerances,
)
from clearing.reconciliation.report import BankPosition, ItemCount, OpenDifference
from clearing.reconciliation.repository import ItemRecord

_BOOKS: Final = "books"
_PAGE: Final = 5_000
_UNKNOWN_LINES: Final = 1_000
_CANDIDATES: Final = 100
_DETAIL: Final = 500
# Writers commit out of order: the last day is read again, and each item is stored once.
_OVERLAP: Final = timedelta(days=1)
_START: Final = datetime(2000, 1, 1, tzinfo=UTC)
# A payout leaves the PSP; one that fails or is cancelled comes back under the payout's own reference.
_PAYOUTS: Final = frozenset({"payout", "payout_failure", "payout_cancel"})
_PAYOUT_ID: Final = re.compile(r"\bpo_[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class PspLine:
    """One balance transaction: signed minor units; `reference` is the charge, transfer, dispute or payout.

    `fee_minor` is what the PSP charged beside the amount, positive.
    """

    id: str
    kind: str
    reference: str
    amount_minor: int
    currency: str
    occurred_on: date
    fee_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The result of a run: items read from our books, matched, booked; differences open and resolved."""

    read: int
    matched: int
    differences: int
    resolved: int
    booked: int = 0


@cache
def bundled_tolerances() -> Mapping[tuple[str, str], Tolerance]:
    """The rules of `reconciliation/tolerances.csv`."""
    text = (files("clearing.reconciliation") / "tolerances.csv").read_text(encoding="utf-8")
    return tolerances(csv.DictReader(text.splitlines()))


class ReconciliationService:
    """Compares our books, the PSP and the bank, a pair at a time."""

    def __init__(
        self,
        *,
        rules: Mapping[tuple[str, str], Tolerance] | None = None,
    ) -> None:
        """`rules`: by default the bundled tolerances."""
        self._rules = rules or bundled_tolerances()

    async def record_psp_lines(
        self, connection: Connection, lines: Iterable[PspLine], *, now: datetime
    ) -> int:
        """Store the PSP's balance transactions; one that is reported again is stored once.

        Returns how many were new.
        """
        return await _record(connection, (item for line in lines for item in _psp_items(line)), now=now)

    async def record_book_lines(
        self, connection: Connection, lines: Iterable[PspLine], *, now: datetime
    ) -> int:
        """Store our own movements at the PSP that clearing's journal names otherwise, such as refunds."""
        items = (
            ItemRecord(
                pair=ReconciliationPair.BOOK_PSP,
                side="left",
                source_id=line.id,
                reference=line.reference,
                kind=line.kind,
                amount_minor=line.amount_minor,
                currency=line.currency,
                occurred_on=line.occurred_on,
                fee_minor=line.fee_minor,
            )
            for line in lines
        )
        return await _record(connection, items, now=now)

    async def record_bank_lines(
        self,
        connection: Connection,
        lines: Iterable[BankLine | BankBalance | UnreadableEntry],
        *,
        now: datetime,
    ) -> int:
        """Store the bank's booked lines and its balances; one that is reported again is stored once.

        An entry that can't be read becomes a line that is a difference. Returns how many lines are new.
        """
        balances: list[BankBalance] = []
        added = await _record(connection, _bank_items(lines, balances, today=now.date()), now=now)
        await bank_position_service.record_balances(connection, balances, now=now)
        return added

    async def withdraw_bank_lines(self, connection: Connection, line_ids: Sequence[str]) -> list[str]:
        """Withdraw lines that stood for a whole entry, because their transactions are known now.

        Returns those that were withdrawn: one that was matched, resolved or booked meanwhile stays.
        """
        return await repository.withdraw_bank_lines(connection, line_ids) if line_ids else []

    async def run(self, connection: Connection, *, now: datetime) -> RunResult:
        """Read our books since the last run, match, and renew the list of differences. One run at a time."""
        run = await repository.start_run(connection)
        read_to = await self.read_to(connection, name=_BOOKS)
        # After a clock was set back, as a sandbox's is, everything is read again; each item is stored once.
        since = _START if read_to is None or read_to > now else read_to - _OVERLAP
        read, matched = await repository.read_books(connection, since=since, now=now)
        matched += await repository.match_exact(connection, now=now)
        matched += await self._match_merged(connection, now=now)
        differences = 0
        searches = _UNKNOWN_LINES
        async for groups in repository.open_groups(connection):
            compared = self._compare(groups, today=now.date())
            within = [one for one in compared if isinstance(one, WithinTolerance)]
            if within:
                await repository.match_groups(connection, within, now=now)
                matched += len(within)
            found = [one for one in compared if isinstance(one, Difference)]
            found = await self._with_candidates(connection, found, searches=searches)
            searches -= sum(one.type is DifferenceType.UNKNOWN_LINE for one in found)
            await repository.put_differences(connection, found, run=run, now=now)
            differences += len(found)
        booked = await book_cash_in_transit(connection, now=now)
        unexplained = await bank_position_service.list_differences(connection, today=now.date())
        await repository.put_differences(connection, unexplained, run=run, now=now)
        differences += len(unexplained)
        resolved = await repository.close_differences(connection, run=run, now=now)
        await repository.mark_run(connection, name=_BOOKS, read_to=now, ran_at=now)
        return RunResult(
            read=read, matched=matched, differences=differences, resolved=resolved, booked=booked
        )

    async def read_to(self, connection: Connection, *, name: str) -> datetime | None:
        """Up to when a source was read; None: never."""
        return await repository.read_to(connection, name=name)

    async def mark_read(self, connection: Connection, *, name: str, to: datetime, now: datetime) -> None:
        """Record that a source was read up to an instant; it never moves back."""
        await repository.mark_run(connection, name=name, read_to=to, ran_at=now)

    async def _match_merged(self, connection: Connection, *, now: datetime) -> int:
        """Match lines that pay several items at once, each named in the line's text."""
        matched = 0
        for line in await repository.list_unknown_lines(connection, limit=_UNKNOWN_LINES):
            if not line.detail:
                continue
            candidates = await repository.list_candidates(
                connection,
                pair=line.pair,
                currency=line.currency,
                amount_minor=line.amount_minor,
                text=line.detail,
                limit=_CANDIDATES,
            )
            items = merged(line.amount_minor, line.detail, candidates)
            if items is not None:
                await repository.match_merged(connection, line, items, now=now)
                matched += len(items) + 1
        return matched

    async def _with_candidates(
        self, connection: Connection, differences: Sequence[Difference], *, searches: int
    ) -> list[Difference]:
        """Add to each unknown line the few open items that alone sum to it: shown, never booked.

        For at most `searches` lines.
        """
        found: list[Difference] = []
        for one in differences:
            if one.type is not DifferenceType.UNKNOWN_LINE or searches <= 0:
                found.append(one)
                continue
            searches -= 1
            candidates = await repository.list_candidates(
                connection,
                pair=one.pair,
                currency=one.currency,
                amount_minor=-one.amount_minor,
                text="",
                limit=MAX_CANDIDATES,
            )
            fitting = fitting_candidates(-one.amount_minor, candidates) or ()
            found.append(replace(one, candidates=tuple(item.reference for item in fitting)))
        return found

    def _compare(self, groups: Sequence[OpenGroup], *, today: date) -> list[Difference | WithinTolerance]:
        return [
            compared
            for _, of_reference in groupby(groups, key=lambda group: (group.pair, group.reference))
            for compared in compare(list(of_reference), self._rules, today=today)
        ]

    # What is open

    def differences(self, connection: Connection, *, today: date) -> AsyncIterator[OpenDifference]:
        """Every open difference, a page at a time."""
        return repository.read_differences(connection, today=today)

    async def list_bank_positions(self, connection: Connection) -> list[BankPosition]:
        """Each currency in which the bank has stated a closing balance."""
        return await bank_position_service.list_positions(connection)

    async def count_items(self, connection: Connection) -> list[ItemCount]:
        """Items by pair and side, how many are open, and the oldest of these."""
        return await repository.count_items(connection)


async def _record(connection: Connection, items: Iterable[ItemRecord], *, now: datetime) -> int:
    """Store items a page at a time; how many were new."""
    iterator = iter(items)
    added = 0
    while page := list(islice(iterator, _PAGE)):
        added += await repository.add_items(connection, page, now=now)
    return added


def _psp_items(line: PspLine) -> Iterator[ItemRecord]:
    """A payout is compared with the bank; everything else with our books."""
    payout = line.kind in _PAYOUTS
    if payout and line.fee_minor:
        # The PSP's charge for the payout is between it and our books.
        yield ItemRecord(
            pair=ReconciliationPair.BOOK_PSP,
            side="right",
            source_id=f"{line.id}/fee",
            reference=f"fee:{line.id}",
            kind=f"{line.kind}_fee",
            amount_minor=0,
            currency=line.currency,
            occurred_on=line.occurred_on,
            fee_minor=line.fee_minor,
        )
    pair, side = (ReconciliationPair.PSP_BANK, "left") if payout else (ReconciliationPair.BOOK_PSP, "right")
    yield ItemRecord(
        pair=pair,
        side=side,
        source_id=line.id,
        reference=line.reference or f"{UNKNOWN}{line.id}",
        kind=line.kind,
        # A payout leaves the PSP and arrives at the bank: the same money, with the sign of the bank.
        amount_minor=-line.amount_minor if payout else line.amount_minor,
        currency=line.currency,
        occurred_on=line.occurred_on,
        fee_minor=0 if payout else line.fee_minor,
    )


def _bank_items(
    stated: Iterable[BankLine | BankBalance | UnreadableEntry], balances: list[BankBalance], *, today: date
) -> Iterator[ItemRecord]:
    """Booked lines and unreadable entries as items; balances are appended to `balances`."""
    for one in stated:
        if isinstance(one, BankBalance):
            balances.append(one)
        elif isinstance(one, UnreadableEntry):
            yield _unreadable_item(one, today=today)
        elif one.state is BankLineState.BOOKED:
            yield _bank_item(one)


def _unreadable_item(entry: UnreadableEntry, *, today: date) -> ItemRecord:
    """A person reads it in the bank's own words, and asks the bank for a correct one."""
    return ItemRecord(
        pair=ReconciliationPair.BOOK_BANK,
        side="right",
        source_id=entry.entry_id,
        reference=f"{UNKNOWN}{entry.entry_id}",
        kind=UNREADABLE_ENTRY,
        amount_minor=entry.amount_minor,
        currency=entry.currency,
        occurred_on=entry.on or today,
        detail=f"statement {entry.statement_id} {entry.where}: {entry.problem}"[:_DETAIL],
        account=entry.iban,
    )


def _bank_item(line: BankLine) -> ItemRecord:
    """A line with our end-to-end id is a disbursement; one that names a payout of the PSP is that payout.

    One that names several has no reference of its own: the comparison proves by their sum that none lacks.
    """
    text = f"{line.counterparty} {line.remittance} {line.bank_reference}".strip()
    payouts = set(_PAYOUT_ID.findall(text))
    kind = "return" if line.return_reason is not None else "bank_line"
    if line.end_to_end_id is not None and line.end_to_end_id.startswith("NC"):
        pair, reference = ReconciliationPair.BOOK_BANK, line.end_to_end_id
    elif len(payouts) == 1:
        pair, reference = ReconciliationPair.PSP_BANK, payouts.pop()
    else:
        pair = ReconciliationPair.PSP_BANK if line.amount_minor > 0 else ReconciliationPair.BOOK_BANK
        reference = f"{UNKNOWN}{line.line_id}"
    return ItemRecord(
        pair=pair,
        side="right",
        source_id=line.line_id,
        reference=reference,
        kind=kind,
        amount_minor=line.amount_minor,
        currency=line.currency,
        occurred_on=line.booked_on,
        detail=text,
        account=line.iban,
    )
