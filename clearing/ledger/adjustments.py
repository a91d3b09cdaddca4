"""Entries of money that moves without a session.

Payouts of the PSP on their way, what people decide, receivables.

Owns: which accounts each of them debits and credits, and the ids that make booking twice book once. Must not
know: why it was decided, who agreed, the repository.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid5

from clearing.captured_session import shard_of
from clearing.errors import ClearingInvariantViolation, InvalidAmountError
from clearing.fx import FxLock, convert
from clearing.ledger.journal_entry import (
    BANK_EXPENSE,
    BANK_SETTLEMENT,
    PSP_RECEIVABLE,
    PSP_TRANSIT,
    RECEIVABLE_EXPENSE,
    EntryKind,
    JournalEntry,
    Payable,
    Transfer,
    check,
    is_account,
    payable_account,
    position_account,
)
from clearing.parties.party import Party

_NAMESPACE: Final = UUID("3b1c7e52-92f4-5d53-8c0e-5d8f2a6c9e77")


def between(moves: Mapping[str, int], currency: str) -> list[Transfer]:
    """Transfers that change each account by its amount, debits positive; amounts of zero move nothing.

    Raises ClearingInvariantViolation when the amounts don't sum to zero: no entry can be made of them.
    """
    if sum(moves.values()) != 0:
        raise ClearingInvariantViolation(f"moves of {dict(moves)} {currency} don't sum to zero")
    debits = [(account, minor) for account, minor in sorted(moves.items()) if minor > 0]
    credited = [(account, -minor) for account, minor in sorted(moves.items()) if minor < 0]
    transfers: list[Transfer] = []
    while debits:
        (debit, to_debit), (credit, to_credit) = debits.pop(0), credited.pop(0)
        minor = min(to_debit, to_credit)
        transfers.append(Transfer(debit, credit, minor, currency))
        if to_debit > minor:
            debits.insert(0, (debit, to_debit - minor))
        if to_credit > minor:
            credited.insert(0, (credit, to_credit - minor))
    return transfers


def psp_payout(*, source_id: str, currency: str, minor: int) -> JournalEntry:
    """The PSP sent `minor` to our bank (negative: took it back): from its balance into what is on its way."""
    moves = {PSP_TRANSIT: minor, PSP_RECEIVABLE: -minor}
    return entry(EntryKind.PSP_PAYOUT, source_id, between(moves, currency))


def bank_receipt(*, source_id: str, currency: str, minor: int, expected_minor: int) -> JournalEntry:
    """The bank booked a payout of the PSP: off what is on its way; coins that are missing are the bank's."""
    moves = {
        BANK_SETTLEMENT: minor,
        PSP_TRANSIT: -expected_minor,
        BANK_EXPENSE: expected_minor - minor,
    }
    return entry(EntryKind.BANK_RECEIPT, source_id, between(moves, currency))


def entry(
    kind: EntryKind,
    named: str,
    transfers: Sequence[Transfer],
    *,
    reference: str | None = None,
    payables: Sequence[Payable] = (),
    locks: Sequence[FxLock] = (),
) -> JournalEntry:
    """An entry whose subject is derived from its kind and name.

    `reference`, by default the name, distinguishes two of one subject. Raises ClearingInvariantViolation for
    no lines or bad ones.
    """
    if not transfers:
        raise ClearingInvariantViolation(f"a {kind} of {named!r} moves nothing")
    check(transfers)
    for line in transfers:
        if not (is_account(line.debit_account) and is_account(line.credit_account)):
            raise ClearingInvariantViolation(
                f"{line.debit_account} or {line.credit_account} is not an account"
            )
    subject = subject_of(kind, named)
    currency = transfers[0].currency
    return JournalEntry(
        shard=shard_of(subject),
        subject_id=subject,
        kind=kind,
        reference=named if reference is None else reference,
        currency=currency,
        gross_minor=sum(line.amount_minor for line in transfers if line.currency == currency),
        transfers=tuple(transfers),
        payables=tuple(payables),
        locks=tuple(locks),
    )


def subject_of(kind: EntryKind, named: str) -> UUID:
    """The subject that an entry of that kind and name always has."""
    return uuid5(_NAMESPACE, f"{kind}/{named}")


def set_off(
    party: Party, *, named: str, lock: FxLock, claim_minor: int, due: date
) -> tuple[JournalEntry, JournalEntry]:
    """`claim_minor` of what is owed to the party in `lock.base` pays its receivable in `lock.quote`.

    Two linked entries of one currency each, through the pair's position. Raises InvalidAmountError when
    either amount is not positive.
    """
    receivable_minor = convert(claim_minor, lock)
    if claim_minor <= 0 or receivable_minor <= 0:
        raise InvalidAmountError(
            f"{claim_minor} {lock.base} are {receivable_minor} {lock.quote}: expected more than 0 of each"
        )
    account, position = payable_account(party), position_account(lock.base, lock.quote)
    claim = entry(
        EntryKind.RECEIVABLE_SET_OFF,
        named,
        [Transfer(account, position, claim_minor, lock.base)],
        reference=f"{named}:{lock.base}",
        locks=[lock],
        payables=[Payable(party.id, party.kind.value, -claim_minor, lock.base, due)],
    )
    receivable = entry(
        EntryKind.RECEIVABLE_SET_OFF,
        named,
        [Transfer(position, account, receivable_minor, lock.quote)],
        reference=f"{named}:{lock.quote}",
        payables=[Payable(party.id, party.kind.value, receivable_minor, lock.quote, due)],
    )
    return claim, receivable


def receivable_write_off(party: Party, *, named: str, currency: str, minor: int, due: date) -> JournalEntry:
    """A receivable of `minor` > 0 is written off as the platform's expense."""
    if minor <= 0:
        raise InvalidAmountError(f"a receivable of {minor} {currency}: expected more than 0")
    line = Transfer(RECEIVABLE_EXPENSE, payable_account(party), minor, currency)
    payable = Payable(party.id, party.kind.value, minor, currency, due)
    return entry(EntryKind.RECEIVABLE_WRITE_OFF, named, [line], payables=[payable])


def party_share(party: Party, *, moved_minor: int, currency: str, due: date) -> Payable:
    """What the party is owed more after its account was moved by so much, debits positive."""
    return Payable(party.id, party.kind.value, -moved_minor, currency, due)


def entries_json(made: Sequence[tuple[str, JournalEntry]]) -> str:
    """Entries, each with the name it is derived from, as text: stored until they are posted as proposed."""
    return json.dumps(
        [
            {
                "kind": one.kind,
                "named": named,
                "subject": str(one.subject_id),
                "reference": one.reference,
                "transfers": [list(line) for line in one.transfers],
                "payables": [[*payable[:-1], payable.due_date.isoformat()] for payable in one.payables],
                "locks": [
                    [
                        lock.base,
                        lock.quote,
                        str(lock.rate),
                        lock.source,
                        lock.rate_date.isoformat(),
                        lock.markup_bps,
                    ]
                    for lock in one.locks
                ],
            }
            for named, one in made
        ],
        sort_keys=True,
    )


def entries_from(text: str) -> list[JournalEntry]:
    """The entries that `entries_json` wrote."""
    stored: list[dict[str, Any]] = json.loads(text)
    return [
        entry(
            EntryKind(one["kind"]),
            one["named"],
            [Transfer(*line) for line in one["transfers"]],
            reference=one["reference"],
            payables=[
                Payable(party, role, minor, currency, date.fromisoformat(due))
                for party, role, minor, currency, due in one["payables"]
            ],
            locks=[
                FxLock(
                    base=base,
                    quote=quote,
                    rate=Decimal(rate),
                    source=source,
                    rate_date=date.fromisoformat(day),
                    markup_bps=markup,
                )
                for base, quote, rate, source, day, markup in one["locks"]
            ],
        )
        for one in stored
    ]
