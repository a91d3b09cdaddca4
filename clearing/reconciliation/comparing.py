"""What does not agree and why: open items of one reference in, a typed difference with its owner out.

Owns: the types of differences, tolerance and patience, who looks into it, what could be booked. Must not
know: the store, how lines are fetched.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from itertools import combinations
from types import MappingProxyType
from typing import Final


class Leg(StrEnum):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How long the other side may take, and how many minor units may be missing, for a leg and currency."""

    leg: str
    currency: str
    patience_days: int
    tolerance_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGroup:
    """All open items of one reference and currency; amounts are signed sums, `matched` counts others."""

    leg: str
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
    """What does not agree: `amount_minor` is left minus right; `proposal` an entry that would settle it.

    Where only the PSP's fee differs, it is what our balance has more than the PSP says. `likely` names items
    that together make an unknown line.
    """

    leg: str
    reference: str
    currency: str
    type: DifferenceType
    amount_minor: int
    since: date
    owner: str
    proposal: str
    detail: str
    likely: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WithinTolerance:
    """The sides agree but for what the rules allow; or one side took back what it had said itself."""

    leg: str
    reference: str
    currency: str
    canceled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenItem:
    """One unmatched item, as a candidate for a merged line."""

    source_id: str
    reference: str
    amount_minor: int


UNKNOWN: Final = "line:"  # prefix of a reference that a line got from its own id
MAX_CANDIDATES: Final = 12
_LARGEST_SET: Final = 4
# Balance transactions that are the PSP's own charges (docs.stripe.com/reports/balance-transaction-types).
PSP_CHARGES: Final = frozenset(
    {"stripe_fee", "stripe_fx_fee", "tax_fee", "network_cost", "payout_fee", "payout_failure_fee",
     "payout_cancel_fee"}
)  # fmt: skip
# Who looks into a difference of a leg and type.
_OWNERS: Final = MappingProxyType(
    {
        (Leg.BOOK_PSP, DifferenceType.MISSING_RIGHT): "payments",
        (Leg.BOOK_PSP, DifferenceType.MISSING_LEFT): "payments",
        (Leg.BOOK_BANK, DifferenceType.MISSING_RIGHT): "treasury",
        (Leg.BOOK_BANK, DifferenceType.RETURNED): "partner_support",
        (Leg.PSP_BANK, DifferenceType.MISSING_RIGHT): "psp",
        (Leg.BOOK_PSP, DifferenceType.FEE): "payments",
        (Leg.BANK_BALANCE, DifferenceType.STATEMENT_GAP): "treasury",
        (Leg.BANK_BALANCE, DifferenceType.BALANCE): "treasury",
    }
)
_FALLBACK_OWNER: Final = "finance"
_FEE_ACCOUNT: Final = "platform:psp:expense"
_ACCOUNTS: Final = MappingProxyType(
    {
        Leg.BOOK_PSP: "psp:stripe:receivable",
        Leg.BOOK_BANK: "bank:settlement",
        Leg.PSP_BANK: "bank:settlement",
        Leg.BANK_BALANCE: "bank:settlement",
    }
)


def compare(
    groups: Sequence[OpenGroup], tolerances: Mapping[tuple[str, str], Tolerance], *, today: date
) -> list[Difference | WithinTolerance]:
    """What to say of the open items of one leg and reference, one group per currency.

    Nothing is said of what may still come: one side alone, younger than the rule's patience.
    """
    lone = [group for group in groups if (group.left_count == 0) != (group.right_count == 0)]
    if len(groups) > 1 and any(group.left_count for group in lone) and any(g.right_count for g in lone):
        return [_difference(group, DifferenceType.CURRENCY) for group in groups]
    found: list[Difference | WithinTolerance] = []
    for group in groups:
        rule = rule_for(tolerances, group.leg, group.currency)
        told = _compare_one(group, rule, today=today)
        if told is not None:
            found.append(told)
    return found


def rule_for(tolerances: Mapping[tuple[str, str], Tolerance], leg: str, currency: str) -> Tolerance:
    """The rule of a leg for a currency, else the leg's rule for all."""
    return tolerances.get((leg, currency)) or tolerances[leg, "*"]


def _compare_one(group: OpenGroup, rule: Tolerance, *, today: date) -> Difference | WithinTolerance | None:
    same = WithinTolerance(leg=group.leg, reference=group.reference, currency=group.currency)
    patient = today <= group.since + timedelta(days=rule.patience_days)
    if group.left_count and group.right_count:
        if abs(group.left_minor - group.right_minor) > rule.tolerance_minor:
            return _difference(group, DifferenceType.AMOUNT)
        return same if _fee(group) == 0 else _difference(group, DifferenceType.FEE)
    if not patient and group.left_count + group.right_count > 1 and _says_nothing(group):
        return replace(same, canceled=True)
    if group.matched:
        returned = group.right_count and "return" in group.kinds
        return _difference(group, DifferenceType.RETURNED if returned else DifferenceType.DUPLICATE)
    charged = set(group.kinds) <= PSP_CHARGES or (group.right_minor == 0 and group.right_fee_minor)
    if group.left_count == 0 and charged:
        return _difference(group, DifferenceType.FEE)
    if group.reference.startswith(UNKNOWN):
        return _difference(group, DifferenceType.UNKNOWN_LINE)
    if patient:
        return None
    return _difference(
        group, DifferenceType.MISSING_RIGHT if group.left_count else DifferenceType.MISSING_LEFT
    )


def _says_nothing(group: OpenGroup) -> bool:
    """One side alone took back all that it had said: a payout that failed, a refund that never left."""
    return group.left_minor == group.right_minor == 0 and _fee(group) == 0


def _fee(group: OpenGroup) -> int:
    """What the PSP kept more than our books know."""
    return group.right_fee_minor - group.left_fee_minor


def _difference(group: OpenGroup, kind: DifferenceType) -> Difference:
    leg = Leg(group.leg)
    fee = _fee(group)
    amount = group.left_minor - group.right_minor + (fee if kind is DifferenceType.FEE else 0)
    told = "" if fee == 0 else f"fee {group.left_fee_minor} by our books, {group.right_fee_minor} by the PSP"
    return Difference(
        leg=group.leg,
        reference=group.reference,
        currency=group.currency,
        type=kind,
        amount_minor=amount,
        since=group.since,
        owner=_OWNERS.get((leg, kind), _FALLBACK_OWNER),
        proposal=_proposal(leg, kind, amount, group.currency),
        detail="; ".join(
            part for part in (f"{'/'.join(group.kinds)}: {group.detail}".rstrip(": "), told) if part
        ),
    )


def _proposal(leg: Leg, kind: DifferenceType, amount: int, currency: str) -> str:
    """An entry that would make our books agree with the other side, for a person to book or to refuse.

    Money that one side knows and our books don't goes to suspense, never to revenue; a fee is one at once.
    """
    if kind is DifferenceType.RETURNED:
        return json.dumps({"do": "record the return of the payment; its payables open again"})
    if kind is DifferenceType.MISSING_RIGHT:
        return json.dumps({"do": f"ask the {leg.value.split('_')[1]} for the movement; book nothing before"})
    if kind is DifferenceType.STATEMENT_GAP:
        return json.dumps({"do": "ask the bank for the statement that is missing; book nothing before"})
    if amount == 0:
        return json.dumps({"do": "compare the documents of both sides"})
    account, target = _ACCOUNTS[leg], _FEE_ACCOUNT if kind is DifferenceType.FEE else "suspense"
    debit, credit = (target, account) if amount > 0 else (account, target)
    return json.dumps(
        {
            "as": "fee" if kind is DifferenceType.FEE else "suspense",
            "debit": debit, "credit": credit, "amount_minor": abs(amount), "currency": currency,
        },
        sort_keys=True,
    )  # fmt: skip


def balance_difference(
    *, reference: str, currency: str, kind: DifferenceType, amount_minor: int, since: date, detail: str
) -> Difference:
    """What the bank's stated balance and ours (`amount_minor`: ours more) do not agree on."""
    return Difference(
        leg=Leg.BANK_BALANCE, reference=reference, currency=currency, type=kind, amount_minor=amount_minor,
        since=since, owner=_OWNERS[Leg.BANK_BALANCE, kind],
        proposal=_proposal(Leg.BANK_BALANCE, kind, amount_minor, currency), detail=detail,
    )  # fmt: skip


def merged(line_minor: int, text: str, candidates: Sequence[OpenItem]) -> Sequence[OpenItem] | None:
    """The open items that one line pays together, proved by its text: their references stand in it.

    None unless they sum to the line exactly.
    """
    named = [item for item in candidates if item.reference in text]
    return named if len(named) > 1 and sum(item.amount_minor for item in named) == line_minor else None


def likely(line_minor: int, candidates: Sequence[OpenItem]) -> Sequence[OpenItem] | None:
    """The only small set of open items that sums to the line: for a person to look at, never booked alone.

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
    """The rules by leg and currency, from the rows of `tolerances.csv`."""
    return {
        (row["leg"], row["currency"]): Tolerance(
            leg=row["leg"],
            currency=row["currency"],
            patience_days=int(row["patience_days"]),
            tolerance_minor=int(row["tolerance_minor"]),
        )
        for row in rows
    }
