"""Comparison of two sides: from the open items of one reference to a typed difference with its owner.

Owns: the types of differences, the tolerances, who investigates each, what could be booked. Must not know:
the database, how lines are fetched.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from hashlib import md5
from itertools import combinations
from types import MappingProxyType
from typing import Final
from uuid import UUID


class ReconciliationPair(StrEnum):
    """Which two sides are compared; the left one is named first."""

    BOOK_PSP = "book_psp"
    BOOK_BANK = "book_bank"
    PSP_BANK = "psp_bank"
    BANK_BALANCE = "bank_balance"


class DifferenceType(StrEnum):
    """Every way in which two sides can disagree."""

    MISSING_RIGHT = "missing_right"
    MISSING_LEFT = "missing_left"
    AMOUNT = "amount"
    FEE = "fee"
    CURRENCY = "currency"
    DUPLICATE = "duplicate"
    RETURNED = "returned"
    UNKNOWN_LINE = "unknown_line"
    BALANCE = "balance"
    STATEMENT_GAP = "statement_gap"
    UNREADABLE_ENTRY = "unreadable_entry"
    NOTICE_ALONE = "notice_alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """By pair and currency: the days that the other side may take, the minor units that may be missing."""

    pair: str
    currency: str
    waiting_days: int
    tolerance_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGroup:
    """All open items of one reference and currency.

    Amounts are signed sums; `matched` counts the items of the reference that are matched already.
    """

    pair: str
    reference: str
    currency: str
    left_minor: int
    left_count: int
    right_minor: int
    right_count: int
    since: date
    kinds: Sequence[str]
    detail: str
    matched: int
    left_fee_minor: int = 0
    right_fee_minor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference: `amount_minor` is left minus right; `proposal` an entry that would settle it.

    Where only the PSP's fee differs, `amount_minor` is the excess of our balance over the PSP's. `candidates`
    names items that together sum to an unknown line.
    """

    pair: str
    reference: str
    currency: str
    type: DifferenceType
    amount_minor: int
    since: date
    owner: str
    proposal: str
    detail: str
    candidates: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WithinTolerance:
    """The sides agree within tolerance, or one side cancelled its own movement."""

    pair: str
    reference: str
    currency: str
    cancelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItem:
    """One unmatched item, as a candidate for a merged line."""

    source_id: str
    reference: str
    amount_minor: int


UNKNOWN: Final = "line:"  # prefix of the reference of a line that names none of ours
UNREADABLE_ENTRY: Final = "unreadable_entry"  # kind of an item that stands for such an entry
MAX_CANDIDATES: Final = 12
_LARGEST_SET: Final = 4
# Balance transactions that are the PSP's own charges (docs.stripe.com/reports/balance-transaction-types).
PSP_CHARGES: Final = frozenset(
    {
        "stripe_fee",
        "stripe_fx_fee",
        "tax_fee",
        "network_cost",
        "payout_fee",
        "payout_failure_fee",
        "payout_cancel_fee",
    }
)
# What only a statement of the bank ends; there is nothing to book.
STATEMENT_MISSING: Final = frozenset({DifferenceType.STATEMENT_GAP, DifferenceType.NOTICE_ALONE})
# Who investigates a difference of a pair and type.
_OWNERS: Final = MappingProxyType(
    {
        (ReconciliationPair.BOOK_PSP, DifferenceType.MISSING_RIGHT): "payments",
        (ReconciliationPair.BOOK_PSP, DifferenceType.MISSING_LEFT): "payments",
        (ReconciliationPair.BOOK_BANK, DifferenceType.MISSING_RIGHT): "treasury",
        (ReconciliationPair.BOOK_BANK, DifferenceType.RETURNED): "partner_support",
        (ReconciliationPair.PSP_BANK, DifferenceType.MISSING_RIGHT): "psp",
        (ReconciliationPair.BOOK_PSP, DifferenceType.FEE): "payments",
        (ReconciliationPair.BANK_BALANCE, DifferenceType.STATEMENT_GAP): "treasury",
        (ReconciliationPair.BANK_BALANCE, DifferenceType.BALANCE): "treasury",
        (ReconciliationPair.BANK_BALANCE, DifferenceType.NOTICE_ALONE): "treasury",
        (ReconciliationPair.BOOK_BANK, DifferenceType.UNREADABLE_ENTRY): "treasury",
    }
)
_FALLBACK_OWNER: Final = "finance"
_FEE_ACCOUNT: Final = "platform:psp:expense"
_ACCOUNTS: Final = MappingProxyType(
    {
        ReconciliationPair.BOOK_PSP: "psp:stripe:receivable",
        ReconciliationPair.BOOK_BANK: "bank:settlement",
        ReconciliationPair.PSP_BANK: "bank:settlement",
        ReconciliationPair.BANK_BALANCE: "bank:settlement",
    }
)


def difference_id(*, pair: str, reference: str, currency: str) -> UUID:
    """The id of the difference of a reference: the same as the database gives it, whenever it is seen."""
    named = f"{pair}|{reference}|{currency}".encode()
    return UUID(md5(named, usedforsecurity=False).hexdigest())


def compare(
    groups: Sequence[OpenGroup], tolerances: Mapping[tuple[str, str], Tolerance], *, today: date
) -> list[Difference | WithinTolerance]:
    """Differences and matches among the open items of one pair and reference, one group per currency.

    One side alone is no difference until the rule's waiting time has passed: the other may still arrive.
    """
    lone = [group for group in groups if (group.left_count == 0) != (group.right_count == 0)]
    if len(groups) > 1 and any(group.left_count for group in lone) and any(g.right_count for g in lone):
        return [_difference(group, DifferenceType.CURRENCY) for group in groups]
    found: list[Difference | WithinTolerance] = []
    for group in groups:
        rule = rule_for(tolerances, group.pair, group.currency)
        compared = _compare_one(group, rule, today=today)
        if compared is not None:
            found.append(compared)
    return found


def rule_for(tolerances: Mapping[tuple[str, str], Tolerance], pair: str, currency: str) -> Tolerance:
    """The rule of a pair for a currency, else the pair's rule for all."""
    return tolerances.get((pair, currency)) or tolerances[pair, "*"]


def _compare_one(group: OpenGroup, rule: Tolerance, *, today: date) -> Difference | WithinTolerance | None:
    same = WithinTolerance(pair=group.pair, reference=group.reference, currency=group.currency)
    waiting = today <= group.since + timedelta(days=rule.waiting_days)
    if group.left_count and group.right_count:
        if abs(group.left_minor - group.right_minor) > rule.tolerance_minor:
            return _difference(group, DifferenceType.AMOUNT)
        return same if _fee(group) == 0 else _difference(group, DifferenceType.FEE)
    if not waiting and group.left_count + group.right_count > 1 and _is_cancelled(group):
        return replace(same, cancelled=True)
    if group.matched:
        returned = group.right_count and "return" in group.kinds
        return _difference(group, DifferenceType.RETURNED if returned else DifferenceType.DUPLICATE)
    charged = set(group.kinds) <= PSP_CHARGES or (group.right_minor == 0 and group.right_fee_minor)
    if group.left_count == 0 and charged:
        return _difference(group, DifferenceType.FEE)
    if UNREADABLE_ENTRY in group.kinds:
        return _difference(group, DifferenceType.UNREADABLE_ENTRY)
    if group.reference.startswith(UNKNOWN):
        return _difference(group, DifferenceType.UNKNOWN_LINE)
    if waiting:
        return None
    return _difference(
        group, DifferenceType.MISSING_RIGHT if group.left_count else DifferenceType.MISSING_LEFT
    )


def _is_cancelled(group: OpenGroup) -> bool:
    """One side alone cancelled its own movement: a payout that failed, a refund that was never sent."""
    return group.left_minor == group.right_minor == 0 and _fee(group) == 0


def _fee(group: OpenGroup) -> int:
    """What the PSP charged beyond the fee in our books."""
    return group.right_fee_minor - group.left_fee_minor


def _difference(group: OpenGroup, kind: DifferenceType) -> Difference:
    pair = ReconciliationPair(group.pair)
    fee = _fee(group)
    amount = group.left_minor - group.right_minor + (fee if kind is DifferenceType.FEE else 0)
    fees = "" if fee == 0 else f"fee {group.left_fee_minor} in our books, {group.right_fee_minor} at the PSP"
    return Difference(
        pair=group.pair,
        reference=group.reference,
        currency=group.currency,
        type=kind,
        amount_minor=amount,
        since=group.since,
        owner=_OWNERS.get((pair, kind), _FALLBACK_OWNER),
        proposal=_proposal(pair, kind, amount, group.currency),
        detail="; ".join(
            part for part in (f"{'/'.join(group.kinds)}: {group.detail}".rstrip(": "), fees) if part
        ),
    )


def _proposal(pair: ReconciliationPair, kind: DifferenceType, amount: int, currency: str) -> str:
    """The entry that would make our books agree with the other side, for a person to approve or to reject.

    Money that our books lack goes to suspense, never to revenue; a fee is booked as a fee.
    """
    if kind is DifferenceType.RETURNED:
        return json.dumps({"do": "record the returned disbursement; its payables reopen"})
    if kind is DifferenceType.MISSING_RIGHT:
        return json.dumps(
            {"do": f"ask the {pair.value.split('_')[1]} about the movement; book nothing before"}
        )
    if kind in STATEMENT_MISSING:
        return json.dumps({"do": "request the missing statement from the bank; book nothing before"})
    if kind is DifferenceType.UNREADABLE_ENTRY:
        return json.dumps({"do": "ask the bank for a correct entry, then resolve this one"})
    if amount == 0:
        return json.dumps({"do": "compare the documents of both sides"})
    account, target = _ACCOUNTS[pair], _FEE_ACCOUNT if kind is DifferenceType.FEE else "suspense"
    debit, credit = (target, account) if amount > 0 else (account, target)
    return json.dumps(
        {
            "as": "fee" if kind is DifferenceType.FEE else "suspense",
            "debit": debit,
            "credit": credit,
            "amount_minor": abs(amount),
            "currency": currency,
        },
        sort_keys=True,
    )


def balance_difference(
    *, reference: str, currency: str, kind: DifferenceType, amount_minor: int, since: date, detail: str
) -> Difference:
    """The difference of the bank's stated balance and ours; `amount_minor` > 0: ours is larger."""
    return Difference(
        pair=ReconciliationPair.BANK_BALANCE,
        reference=reference,
        currency=currency,
        type=kind,
        amount_minor=amount_minor,
        since=since,
        owner=_OWNERS[ReconciliationPair.BANK_BALANCE, kind],
        proposal=_proposal(ReconciliationPair.BANK_BALANCE, kind, amount_minor, currency),
        detail=detail,
    )


def merged(line_minor: int, text: str, candidates: Sequence[OpenItem]) -> Sequence[OpenItem] | None:
    """The open items that one line pays together, proved by its text, which contains their references.

    None unless they sum to the line exactly.
    """
    named = [item for item in candidates if item.reference in text]
    return named if len(named) > 1 and sum(item.amount_minor for item in named) == line_minor else None


def fitting_candidates(line_minor: int, candidates: Sequence[OpenItem]) -> Sequence[OpenItem] | None:
    """The only small set of open items that sums to the line: for a person to check, never booked by itself.

    At most 12 candidates are tried in sets of up to 4; None if no set or more than one fits.
    """
    fitting: list[tuple[OpenItem, ...]] = []
    for size in range(1, _LARGEST_SET + 1):
        for chosen in combinations(candidates[:MAX_CANDIDATES], size):
            if sum(item.amount_minor for item in chosen) == line_minor:
                fitting.append(chosen)
                if len(fitting) > 1:
                    return None
    return fitting[0] if fitting else None


def tolerances(rows: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], Tolerance]:
    """The rules by pair and currency, from the rows of `tolerances.csv`."""
    return {
        (row["pair"], row["currency"]): Tolerance(
            pair=row["pair"],
            currency=row["currency"],
            waiting_days=int(row["waiting_days"]),
            tolerance_minor=int(row["tolerance_minor"]),
        )
        for row in rows
    }
