"""What a bank statement states: entries, their transactions, balances, and what can't be read.

Owns: these values. Must not know: XML, what a line is matched to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class BankLineState(StrEnum):
    """Whether the bank has booked the line; only a booked one counts."""

    BOOKED = "booked"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankLine:
    """One transaction on the account: signed minor units, money received positive.

    `line_id` identifies it for ever, in any message and order. `return_reason` is set for a returned payment.
    `end_to_end_id` is None if the bank gives none.
    """

    line_id: str
    iban: str
    statement_id: str
    entry_reference: str
    amount_minor: int
    currency: str
    booked_on: date
    value_on: date
    end_to_end_id: str | None
    message_id: str | None
    bank_reference: str
    counterparty: str
    remittance: str
    return_reason: str | None
    reversal: bool
    state: BankLineState


@dataclass(frozen=True, slots=True, kw_only=True)
class BankEntry:
    """One movement of the account, with its transactions; its `amount_minor` is the money.

    `lines` sum to it. `itemized`: the bank says what each of them is. Otherwise there is one line, and
    `payment_ids` (end-to-end ids whose amounts the bank leaves out) and `batch_ids` (PmtInfId, MsgId) may
    tell which of our payments it sums. `references` are all that the bank gives. `dated`: the entry has a day
    of its own. `notice`: of a notification or intraday report, which details an entry of a statement and is
    no movement.
    """

    entry_id: str
    iban: str
    currency: str
    amount_minor: int
    booked_on: date
    value_on: date
    dated: bool
    state: BankLineState
    references: frozenset[str]
    lines: Sequence[BankLine]
    itemized: bool
    payment_ids: Sequence[str] = ()
    batch_ids: Sequence[str] = ()
    notice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableEntry:
    """An entry or balance that breaks the rules of the message: `where` and the `problem`.

    `amount_minor` is the entry's money where that much can be read, else 0. `on` is the statement's day, None
    where it has none.
    """

    entry_id: str
    iban: str
    statement_id: str
    where: str
    problem: str
    amount_minor: int
    currency: str
    on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BankBalance:
    """A balance that the statement states: OPBD opening, CLBD closing; credit positive."""

    iban: str
    statement_id: str
    sequence: int | None
    code: str
    amount_minor: int
    currency: str
    on: date
