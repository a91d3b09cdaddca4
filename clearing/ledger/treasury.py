"""The platform's own money: what it puts at the PSP, what partners prefund, and closing an exchange position.

Owns: the entries of these, and the gain or loss when an exchange was executed at another rate than the
locks'.
Must not know: sessions, the repository, who executed it.
"""

from typing import Final
from uuid import UUID, uuid5

from clearing.captured_session import shard_of
from clearing.errors import ClearingConflictError, CurrencyMismatchError, InvalidAmountError
from clearing.ledger.journal_entry import (
    PSP_EXPENSE,
    PSP_RECEIVABLE,
    TREASURY_FLOAT,
    EntryKind,
    JournalEntry,
    Transfer,
    check,
    funds_account,
    position_account,
    result_account,
)
from clearing.money import half_away

# Ids of treasury entries are derived from their reference, so that booking twice books once.
_NAMESPACE: Final = UUID("0f7a7d0e-9a5e-5a0c-8f63-3f3f3a0d8c55")


def topup(*, currency: str, minor: int, reference: str) -> JournalEntry:
    """Own money put at the PSP, to pay out in a currency in which less is captured."""
    return _entry(EntryKind.TOPUP, reference, [Transfer(PSP_RECEIVABLE, TREASURY_FLOAT, minor, currency)])


def partner_funding(*, partner_id: str, currency: str, minor: int, reference: str) -> JournalEntry:
    """Money that a partner put on its funded account; a reference is that partner's own."""
    line = Transfer(PSP_RECEIVABLE, funds_account(partner_id), minor, currency)
    return _entry(EntryKind.PARTNER_FUNDING, reference, [line], named=f"{partner_id}/{reference}")


def execution(
    *,
    base: str,
    quote: str,
    sold_minor: int,
    bought_minor: int,
    position_minor: int,
    cost_minor: int,
    reference: str,
) -> JournalEntry:
    """An executed exchange that closes `sold_minor` of a position in `base` for `bought_minor` of `quote`.

    `position_minor` is what the position holds in `base`, `cost_minor` what was credited for it in `quote` at
    the locks' rates. The part sold has its proportion of that cost; the difference to what was bought is gain
    or loss.
    Raises ClearingConflictError when more is sold than the position holds, InvalidAmountError,
    CurrencyMismatchError.
    """
    if base == quote:
        raise CurrencyMismatchError(base, quote)
    if sold_minor <= 0 or bought_minor <= 0:
        raise InvalidAmountError(
            f"sold {sold_minor} {base} for {bought_minor} {quote}: expected more than 0 of each"
        )
    if sold_minor > position_minor:
        raise ClearingConflictError(
            f"the {base}-{quote} position holds {position_minor}; {sold_minor} can't be sold of it"
        )
    position, result = position_account(base, quote), result_account(base, quote)
    cost = half_away(cost_minor * sold_minor, position_minor)
    gain = bought_minor - cost
    lines = [
        Transfer(position, PSP_RECEIVABLE, sold_minor, base),
        Transfer(PSP_RECEIVABLE, position, bought_minor, quote),
    ]
    if gain > 0:
        lines.append(Transfer(position, result, gain, quote))
    elif gain < 0:
        lines.append(Transfer(result, position, -gain, quote))
    return _entry(EntryKind.FX_RESULT, reference, lines)


def psp_fee(*, currency: str, minor: int, reference: str) -> JournalEntry:
    """What the PSP kept of a charge that was never ours and was refunded: an expense of the platform."""
    return _entry(EntryKind.FEE, reference, [Transfer(PSP_EXPENSE, PSP_RECEIVABLE, minor, currency)])


def subject_of(kind: EntryKind, reference: str) -> UUID:
    """The subject of the entry of that kind and reference."""
    return uuid5(_NAMESPACE, f"{kind}/{reference}")


def _entry(
    kind: EntryKind, reference: str, lines: list[Transfer], *, named: str | None = None
) -> JournalEntry:
    first = lines[0]
    if first.amount_minor <= 0:
        raise InvalidAmountError(f"{kind} of {first.amount_minor} {first.currency}: expected more than 0")
    check(lines)
    subject = subject_of(kind, named or reference)
    return JournalEntry(
        shard=shard_of(subject),
        subject_id=subject,
        kind=kind,
        reference=reference,
        currency=first.currency,
        gross_minor=first.amount_minor,
        transfers=lines,
    )
