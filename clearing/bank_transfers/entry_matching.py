"""Which notification details which entry of a statement, and which of our payments a collective entry sums.

Owns: the rules. Must not know: the database, what a line is matched to. A notification is never a movement:
it says what an entry of the statement is, whichever of the two arrives first and whatever references the bank
gives. Source: ISO 20022 BankToCustomerDebitCreditNotification (it "may be sent in addition" to the
statement); Swiss Payment Standards: a collective entry in camt.053, its transactions in camt.054.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from hashlib import sha256
from typing import Final

from clearing.iso20022.bank_entry import BankEntry, BankLine
from clearing.payouts.disbursement import DisbursementState

# A notification without a day of its own has that of its message, which may be sent some days apart.
DAYS_APART: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEntry:
    """What identifies an entry of a statement. `line_id`: its only line, None once it is itemized."""

    entry_id: str
    iban: str
    currency: str
    amount_minor: int
    booked_on: date
    value_on: date
    dated: bool
    references: frozenset[str]
    line_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a notification says about one movement; `message` names the file that it came in."""

    notice_id: str
    message: str
    iban: str
    currency: str
    amount_minor: int
    booked_on: date
    value_on: date
    dated: bool
    references: frozenset[str]
    itemized: bool
    lines: Sequence[BankLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledPayment:
    """A payment of one of our files, as it was requested."""

    batch_id: str
    message_id: str
    end_to_end_id: str
    amount_minor: int
    currency: str
    state: DisbursementState


def match_notices(entries: Sequence[StoredEntry], notices: Sequence[Notice]) -> dict[str, Sequence[Notice]]:
    """The notifications of each entry, by its id. Each belongs to one entry at most, and sums to it exactly.

    In this order: the same sum and a reference in common; the same sum and day, entries that are not itemized
    first; several notifications of one message or reference that sum to the entry together.
    """
    found: dict[str, Sequence[Notice]] = {}
    left = dict.fromkeys(notice.notice_id for notice in notices)
    by_sum: dict[tuple[str, str, int], list[Notice]] = defaultdict(list)
    for notice in notices:
        by_sum[notice.iban, notice.currency, notice.amount_minor].append(notice)
    open_first = sorted(entries, key=lambda entry: entry.line_id is None)
    for same in (_share_reference, _same_day):
        for entry in open_first:
            if entry.entry_id in found:
                continue
            candidates = by_sum[entry.iban, entry.currency, entry.amount_minor]
            fitting = next((one for one in candidates if one.notice_id in left and same(entry, one)), None)
            if fitting is not None:
                found[entry.entry_id] = [fitting]
                del left[fitting.notice_id]
    together: dict[tuple[str, str, int], list[Sequence[Notice]]] = defaultdict(list)
    for group in _groups([one for one in notices if one.notice_id in left]):
        whole = sum(one.amount_minor for one in group)
        together[group[0].iban, group[0].currency, whole].append(group)
    for entry in entries:
        if entry.entry_id in found:
            continue
        for group in together[entry.iban, entry.currency, entry.amount_minor]:
            related = any(_share_reference(entry, one) or _same_day(entry, one) for one in group)
            if related and all(one.notice_id in left for one in group):
                found[entry.entry_id] = group
                for one in group:
                    del left[one.notice_id]
                break
    return found


def sums(notices: Iterable[Notice]) -> set[int]:
    """The sums that an entry of a statement may have to be detailed by these."""
    listed = list(notices)
    return {one.amount_minor for one in listed} | {
        sum(one.amount_minor for one in group) for group in _groups(listed)
    }


def _share_reference(entry: StoredEntry, notice: Notice) -> bool:
    return bool(entry.references & notice.references)


def _same_day(entry: StoredEntry, notice: Notice) -> bool:
    if {entry.booked_on, entry.value_on} & {notice.booked_on, notice.value_on}:
        return True
    apart = abs(entry.booked_on - notice.booked_on)
    return not (entry.dated and notice.dated) and apart <= timedelta(days=DAYS_APART)


def _groups(notices: Iterable[Notice]) -> Iterator[Sequence[Notice]]:
    """Notifications that may detail one collective entry: of one message and day, or with one reference."""
    groups: dict[tuple[object, ...], list[Notice]] = defaultdict(list)
    for one in notices:
        of_account = (one.iban, one.currency, one.amount_minor > 0)
        groups[*of_account, one.message, one.booked_on].append(one)
        for reference in one.references:
            groups[*of_account, reference].append(one)
    return (group for group in groups.values() if len(group) > 1)


def payment_lines(entry: BankEntry, payments: Sequence[FiledPayment]) -> Sequence[BankLine] | None:
    """The lines of a collective entry that the bank does not itemize, by our own record of what it sums.

    First the payments that it names, then those of the batch or file that it names, then those of them that
    did not fail. None unless they sum to the entry exactly.
    """
    named = [one for one in payments if one.end_to_end_id in set(entry.payment_ids)]
    filed = [one for one in payments if {one.batch_id, one.message_id} & set(entry.batch_ids)]
    sent = [one for one in filed if one.state is not DisbursementState.FAILED]
    of_batch = [one for one in filed if one.batch_id in entry.batch_ids]
    for chosen in (named, of_batch, filed, sent, [one for one in sent if one in of_batch]):
        if chosen and _pays(entry, chosen):
            return [_payment_line(entry, one) for one in chosen]
    return None


def _pays(entry: BankEntry, payments: Sequence[FiledPayment]) -> bool:
    same_currency = all(one.currency == entry.currency for one in payments)
    return same_currency and sum(one.amount_minor for one in payments) == abs(entry.amount_minor)


def _payment_line(entry: BankEntry, payment: FiledPayment) -> BankLine:
    sign = -1 if entry.amount_minor < 0 else 1
    return replace(
        entry.lines[0],
        line_id=sha256(f"{entry.entry_id}|{payment.end_to_end_id}".encode()).hexdigest()[:32],
        amount_minor=sign * payment.amount_minor,
        end_to_end_id=payment.end_to_end_id,
    )


def detailed_lines(entry: StoredEntry, notices: Sequence[Notice]) -> Sequence[BankLine] | None:
    """The lines that take the place of the entry's own: their details, on the entry's days.

    None where the notifications do not itemize it either.
    """
    if not any(one.itemized for one in notices):
        return None
    return [
        replace(line, booked_on=entry.booked_on, value_on=entry.value_on)
        for one in notices
        for line in one.lines
    ]


def stored(entry: BankEntry) -> StoredEntry:
    """What is kept of an entry."""
    return StoredEntry(
        entry_id=entry.entry_id,
        iban=entry.iban,
        currency=entry.currency,
        amount_minor=entry.amount_minor,
        booked_on=entry.booked_on,
        value_on=entry.value_on,
        dated=entry.dated,
        references=entry.references,
        line_id=None if entry.itemized else entry.lines[0].line_id,
    )


def as_notice(entry: BankEntry, *, message: str) -> Notice:
    """An entry of a notification."""
    return Notice(
        notice_id=entry.entry_id,
        message=message,
        iban=entry.iban,
        currency=entry.currency,
        amount_minor=entry.amount_minor,
        booked_on=entry.booked_on,
        value_on=entry.value_on,
        dated=entry.dated,
        references=entry.references,
        itemized=entry.itemized,
        lines=entry.lines,
    )


def by_entry(
    payments: Sequence[FiledPayment], entries: Sequence[BankEntry]
) -> Mapping[str, Sequence[BankLine]]:
    """The lines of each entry that our payments explain, by its id; a payment explains one entry at most."""
    left = list(payments)
    found: dict[str, Sequence[BankLine]] = {}
    for entry in entries:
        lines = payment_lines(entry, left)
        if lines is not None:
            found[entry.entry_id] = lines
            explained = {line.end_to_end_id for line in lines}
            left = [one for one in left if one.end_to_end_id not in explained]
    return found
