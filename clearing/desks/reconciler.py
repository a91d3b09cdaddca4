"""Reconciliation over the store: each side's lines in, matches, differences that stay until they are gone.

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
from typing import Any, Final
from uuid import UUID

from clearing.connection import Connection, named_queries, rows
from clearing.desks import bank_position
from clearing.desks.transit import book_transit
from clearing.iso20022.camt import BankBalance, BankLine, BankLineState
from clearing.reconciliation.comparing import (
    MAX_CANDIDATES,
    UNKNOWN,
    Difference,
    DifferenceType,
    Leg,
    OpenGroup,
    OpenItem,
    Tolerance,
    WithinTolerance,
    compare,
    likely,
    merged,
    tolerances,
)
from clearing.reconciliation.report import ItemCount, OpenDifference
from clearing.service import ClearingService

_sql = named_queries("reconciliation")
_PAGE: Final = 5_000
_UNKNOWN_LINES: Final = 1_000
_CANDIDATES: Final = 100
# Writers commit out of order: what they booked a day back is looked at again, and kept once.
_OVERLAP: Final = timedelta(days=1)
_START: Final = datetime(2000, 1, 1, tzinfo=UTC)
# A payout leaves the PSP; one that fails or is canceled comes back under the payout's own reference.
_PAYOUTS: Final = frozenset({"payout", "payout_failure", "payout_cancel"})
_PAYOUT_ID: Final = re.compile(r"\bpo_[A-Za-z0-9_]+")
_SEPARATOR: Final = "\x1f"


@dataclass(frozen=True, slots=True, kw_only=True)
class PspLine:
    """One balance transaction: signed minor units; `reference` is the charge, transfer, dispute or payout.

    `fee_minor` is what the PSP kept beside the amount, positive.
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
    """What a run did: items read from our books, matched, booked, and differences open and resolved."""

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


class Reconciler:
    """Compares three sides, a pair at a time."""

    def __init__(
        self,
        *,
        rules: Mapping[tuple[str, str], Tolerance] | None = None,
        clearing: ClearingService | None = None,
    ) -> None:
        """`rules`: by default the bundled tolerances; `clearing` books what needs no person."""
        self._rules = rules or bundled_tolerances()
        self._clearing = clearing or ClearingService()

    async def record_psp_lines(
        self, connection: Connection, lines: Iterable[PspLine], *, now: datetime
    ) -> int:
        """Keep the PSP's word; a line told again is kept once. Returns how many were new."""
        return await self._record(connection, (item for line in lines for item in _psp_items(line)), now=now)

    async def record_book_lines(
        self, connection: Connection, lines: Iterable[PspLine], *, now: datetime
    ) -> int:
        """Our own word on movements at the PSP that clearing's journal names otherwise, such as refunds."""
        items = (
            (Leg.BOOK_PSP, "left", line.id, line.reference, line.kind, line.amount_minor, line.currency,
             line.occurred_on, "", line.fee_minor, "")
            for line in lines
        )  # fmt: skip
        return await self._record(connection, items, now=now)

    async def record_bank_lines(
        self, connection: Connection, lines: Iterable[BankLine | BankBalance], *, now: datetime
    ) -> int:
        """Keep the bank's word on what it booked, and its balances; kept once however often told.

        Returns how many lines are new.
        """
        balances: list[BankBalance] = []
        added = await self._record(connection, _bank_items(lines, balances), now=now)
        await bank_position.record_balances(connection, balances, now=now)
        return added

    async def _record(
        self, connection: Connection, items: Iterable[tuple[Any, ...]], *, now: datetime
    ) -> int:
        added = 0
        for page in _pages(items):
            legs, sides, sources, refs, kinds, amounts, currencies, days, details, fees, accounts = zip(
                *page, strict=True
            )
            added += await _sql.add_items(
                connection, now=now, legs=legs, sides=sides, sources=sources, refs=refs, kinds=kinds,
                amounts=amounts, currencies=currencies, days=days, details=details, fees=fees,
                accounts=accounts,
            )  # fmt: skip
        return added

    async def run(self, connection: Connection, *, now: datetime) -> RunResult:
        """Read our books since the last run, match, and renew the list of differences. One run at a time."""
        await _sql.hold_run(connection)
        await _sql.take_room(connection)
        run: UUID = await _sql.new_run(connection)
        room = _UNKNOWN_LINES
        read_to = await self.read_to(connection, name="books")
        # A clock that was set back, as a sandbox's is: everything is read again, and kept once.
        since = _START if read_to is None or read_to > now else read_to - _OVERLAP
        await _sql.count_rows(connection)
        captures = await _sql.read_captures(connection, since=since, now=now)
        read = captures["read"] + await _sql.read_payments(connection, since=since, now=now)
        await _sql.count_rows(connection)
        matched = captures["matched"] + await _sql.match_exact(connection, now=now)
        await _sql.count_rows(connection)
        matched += await self._match_merged(connection, now=now)
        differences = 0
        async for found in self._compare(connection, today=now.date()):
            within = [one for one in found if isinstance(one, WithinTolerance)]
            if within:
                await self._match(connection, within, now=now)
                matched += len(within)
            differing = [one for one in found if isinstance(one, Difference)]
            differing = await self._look_alike(connection, differing, room=room)
            room -= sum(one.type is DifferenceType.UNKNOWN_LINE for one in differing)
            await self._put(connection, differing, run=run, now=now)
            differences += len(differing)
        booked = await book_transit(connection, self._clearing, now=now)
        unexplained = await bank_position.differences(connection)
        await self._put(connection, unexplained, run=run, now=now)
        differences += len(unexplained)
        resolved = await _sql.resolve_differences(connection, run=run, now=now)
        await _sql.mark_run(connection, name="books", read_to=now, ran_at=now)
        return RunResult(
            read=read, matched=matched, differences=differences, resolved=resolved, booked=booked
        )

    async def read_to(self, connection: Connection, *, name: str) -> datetime | None:
        """How far a source was read; None: never."""
        known: datetime | None = await _sql.read_to(connection, name=name)
        return known

    async def mark_read(self, connection: Connection, *, name: str, to: datetime, now: datetime) -> None:
        """A source was read up to an instant; never back."""
        await _sql.mark_run(connection, name=name, read_to=to, ran_at=now)

    async def _match_merged(self, connection: Connection, *, now: datetime) -> int:
        """Lines that pay several items at once, each named in the line's text."""
        matched = 0
        for line in await rows(_sql.unknown_lines(connection, limit=_UNKNOWN_LINES)):
            if not line["detail"]:
                continue
            candidates = await self._candidates(connection, line, text=line["detail"], limit=_CANDIDATES)
            together = merged(line["amount_minor"], line["detail"], candidates)
            if together is not None:
                lefts = [item.source_id for item in together]
                await _sql.match_items(
                    connection, leg=line["leg"], lefts=lefts, right_id=line["source_id"], now=now
                )
                matched += len(lefts) + 1
        return matched

    async def _candidates(
        self, connection: Connection, line: Any, *, text: str, limit: int
    ) -> list[OpenItem]:
        found = await rows(
            _sql.candidates(
                connection, leg=line["leg"], currency=line["currency"], amount_minor=line["amount_minor"],
                text=text, limit=limit,
            )
        )  # fmt: skip
        return [OpenItem(**dict(row.items())) for row in found]

    async def _look_alike(
        self, connection: Connection, differing: Sequence[Difference], *, room: int
    ) -> list[Difference]:
        """Beside each unknown line the few open items that alone make its amount: shown, never booked."""
        found: list[Difference] = []
        for one in differing:
            if one.type is not DifferenceType.UNKNOWN_LINE or room <= 0:
                found.append(one)
                continue
            room -= 1
            line = {"leg": one.leg, "currency": one.currency, "amount_minor": -one.amount_minor}
            candidates = await self._candidates(connection, line, text="", limit=MAX_CANDIDATES)
            alike = likely(-one.amount_minor, candidates) or ()
            found.append(replace(one, likely=tuple(item.reference for item in alike)))
        return found

    async def _compare(
        self, connection: Connection, *, today: date
    ) -> AsyncIterator[list[Difference | WithinTolerance]]:
        leg, reference = "", ""
        while True:
            page = await rows(_sql.open_groups(connection, leg=leg, reference=reference, limit=_PAGE))
            if not page:
                return
            leg, reference = page[-1]["leg"], page[-1]["reference"]
            groups = [OpenGroup(**dict(row.items())) for row in page]
            yield [
                told
                for _, alike in groupby(groups, key=lambda group: (group.leg, group.reference))
                for told in compare(list(alike), self._rules, today=today)
            ]

    async def _match(
        self, connection: Connection, within: Sequence[WithinTolerance], *, now: datetime
    ) -> None:
        for how, canceled in (("tolerance", False), ("canceled", True)):
            alike = [one for one in within if one.canceled is canceled]
            await _sql.match_groups(
                connection,
                how=how,
                now=now,
                legs=[one.leg for one in alike],
                refs=[one.reference for one in alike],
                currencies=[one.currency for one in alike],
            )

    async def _put(
        self, connection: Connection, differing: Sequence[Difference], *, run: UUID, now: datetime
    ) -> None:
        await _sql.put_differences(
            connection,
            run=run,
            now=now,
            legs=[one.leg for one in differing],
            refs=[one.reference for one in differing],
            currencies=[one.currency for one in differing],
            types=[one.type for one in differing],
            amounts=[one.amount_minor for one in differing],
            sinces=[one.since for one in differing],
            owners=[one.owner for one in differing],
            proposals=[one.proposal for one in differing],
            details=[one.detail for one in differing],
            likely=[_SEPARATOR.join(one.likely) for one in differing],
        )

    # What is open

    async def differences(self, connection: Connection, *, today: date) -> AsyncIterator[OpenDifference]:
        """Every open difference, a page at a time."""
        after = {"leg": "", "reference": "", "currency": ""}
        while True:
            page = await rows(_sql.differences(connection, limit=_PAGE, **after))
            for row in page:
                yield OpenDifference(**dict(row.items()), age_days=max(0, (today - row["since"]).days))
            if len(page) < _PAGE:
                return
            after = {name: page[-1][name] for name in after}

    async def counts(self, connection: Connection) -> list[ItemCount]:
        """Items by leg and side, how many are open, and the oldest of these."""
        return [ItemCount(**dict(row.items())) for row in await rows(_sql.item_counts(connection))]


def _psp_items(line: PspLine) -> Iterator[tuple[Any, ...]]:
    """A payout is the PSP's word to the bank; everything else its word to our books."""
    payout = line.kind in _PAYOUTS
    leg, side = (Leg.PSP_BANK, "left") if payout else (Leg.BOOK_PSP, "right")
    # A payout leaves the PSP and arrives at the bank: the same money, with the sign of the bank.
    amount = -line.amount_minor if payout else line.amount_minor
    reference = line.reference or f"{UNKNOWN}{line.id}"
    if payout and line.fee_minor:
        # What the PSP charges for the payout stays between it and our books.
        yield (
            Leg.BOOK_PSP, "right", f"{line.id}/fee", f"fee:{line.id}", f"{line.kind}_fee", 0, line.currency,
            line.occurred_on, "", line.fee_minor, "",
        )  # fmt: skip
    fee = 0 if payout else line.fee_minor
    yield (
        leg, side, line.id, reference, line.kind, amount, line.currency, line.occurred_on, "", fee, "",
    )  # fmt: skip


def _bank_items(
    told: Iterable[BankLine | BankBalance], balances: list[BankBalance]
) -> Iterator[tuple[Any, ...]]:
    """Booked lines as items; balances are put aside."""
    for one in told:
        if isinstance(one, BankBalance):
            balances.append(one)
        elif one.state is BankLineState.BOOKED:
            yield _bank_item(one)


def _bank_item(line: BankLine) -> tuple[Any, ...]:
    """A line with our end-to-end id is a payment of ours; one that names a payout of the PSP is that.

    One that names several has no reference of its own: the comparison proves by their sum that it is all.
    """
    text = f"{line.counterparty} {line.remittance} {line.bank_reference}".strip()
    payouts = set(_PAYOUT_ID.findall(text))
    kind = "return" if line.return_reason is not None else "bank_line"
    if line.end_to_end_id is not None and line.end_to_end_id.startswith("NC"):
        leg, reference = Leg.BOOK_BANK, line.end_to_end_id
    elif len(payouts) == 1:
        leg, reference = Leg.PSP_BANK, payouts.pop()
    else:
        leg = Leg.PSP_BANK if line.amount_minor > 0 else Leg.BOOK_BANK
        reference = f"{UNKNOWN}{line.line_id}"
    return (
        leg, "right", line.line_id, reference, kind, line.amount_minor, line.currency, line.booked_on, text,
        0, line.iban,
    )  # fmt: skip


def _pages(items: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    iterator = iter(items)
    while page := list(islice(iterator, _PAGE)):
        yield page
