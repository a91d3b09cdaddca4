"""Taking a capture back, wholly or in part.

Refunds, disputes and credits, from what was stored when it was cleared.

Owns: how much of each part is taken back, at the stored VAT rulings and FX locks. Must not know: present
rates, terms or registers (a later change never reaches back), the store.

What is taken back is the difference between two postings of the stored capture: the one for all that has been
taken back after this step, and the one for what had been before. So the steps never drift: many small refunds
end where one of the whole would, and the whole is the exact reversal.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from clearing.errors import InvalidAmountError, StateConflictError
from clearing.journal.ledger import (
    DISPUTE_EXPENSE,
    PLATFORM_FEE,
    PSP_EXPENSE,
    PSP_RECEIVABLE,
    SESSION_TRANSIT,
    EntryKind,
    EntryLinks,
    JournalEntry,
    Payable,
    Transfer,
    check,
    output_vat_account,
)
from clearing.money import half_away, proportion
from clearing.parties.agreement import LegalModel, Role
from clearing.sessions.posting import Amounts, LegAmount, Posting, compose, legs_json
from clearing.sessions.settlement import SettlementPlan
from clearing.tax.vat import Leg


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCapture:
    """A capture as it was cleared.

    Its plan rebuilt from stored rulings and locks, its parts, its source of money.
    """

    lane: int
    session_id: UUID
    gross_minor: int
    amounts: Amounts
    source: str
    plan: SettlementPlan
    links: EntryLinks


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBack:
    """How much is taken back, why, and on which day each party's debt counts.

    `before_minor` was taken back by earlier steps. `bearer` PLATFORM means that the platform bears it alone;
    None that each party gives its own part back. `fee_minor` is what the PSP charges for it, the platform's
    expense.
    """

    kind: EntryKind
    reference: str
    minor: int
    before_minor: int
    bearer: Role | None
    due: Mapping[str, date]
    fee_minor: int = 0


def take_back(stored: StoredCapture, step: TakeBack) -> JournalEntry:
    """The entry of one step.

    Money back to its source, each part back from its party, payables with their sign turned.

    Raises InvalidAmountError for an amount that is not positive, StateConflictError for more than is left.
    """
    after = step.before_minor + step.minor
    if step.minor <= 0:
        raise InvalidAmountError(
            f"a {step.kind} of {step.minor} {stored.plan.currency}: expected more than 0"
        )
    if after > stored.gross_minor:
        left = stored.gross_minor - step.before_minor
        raise StateConflictError(
            f"a {step.kind} of {step.minor} {stored.plan.currency} is more than the {left} left of it"
        )
    if step.bearer is Role.PLATFORM:
        transfers, payables, legs = _borne_by_platform(stored, step, after)
    else:
        transfers, payables, legs = _each_its_own(stored, step, after)
    if step.kind is EntryKind.DISPUTE and stored.plan.agreement.terms.legal_model is LegalModel.RESELLER:
        # The supply to the driver stands, so its VAT stays due until relief for a bad debt is granted.
        vat_account = output_vat_account(stored.plan.driver.decision.vat_of)
        transfers = [
            line._replace(debit_account=DISPUTE_EXPENSE)
            if (line.debit_account, line.credit_account) == (vat_account, SESSION_TRANSIT)
            else line
            for line in transfers
        ]
        legs = [leg for leg in legs if leg.leg.leg is not Leg.TO_DRIVER]
    if step.fee_minor:
        transfers.append(Transfer(PSP_EXPENSE, PSP_RECEIVABLE, step.fee_minor, stored.plan.currency))
    check(transfers)
    return JournalEntry(
        lane=stored.lane,
        subject_id=stored.session_id,
        kind=step.kind,
        reference=step.reference,
        currency=stored.plan.currency,
        gross_minor=step.minor,
        transfers=transfers,
        payables=payables,
        links=stored.links,
        legs=legs_json(legs),
    )


def give_again(taken: JournalEntry, *, kind: EntryKind, due: Mapping[str, date]) -> JournalEntry:
    """The mirror of a take-back, for a dispute that was won: every transfer and payable back, to the unit.

    The PSP keeps its fee.
    """
    return JournalEntry(
        lane=taken.lane,
        subject_id=taken.subject_id,
        kind=kind,
        reference=taken.reference,
        currency=taken.currency,
        gross_minor=taken.gross_minor,
        transfers=[line.reversed() for line in taken.transfers if line.debit_account != PSP_EXPENSE],
        payables=[
            payable._replace(amount_minor=-payable.amount_minor, due_date=due[payable.party_id])
            for payable in taken.payables
        ],
        links=taken.links,
        legs=_mirrored(taken.legs),
    )


def amounts_at(stored: StoredCapture, minor: int) -> Amounts:
    """Net, VAT and parts of `minor` of the gross; for the whole gross they are the stored ones."""
    amounts = stored.amounts
    vat = half_away(amounts.vat * minor, stored.gross_minor)
    net = minor - vat
    roles = list(amounts.parts)
    if amounts.net == 0:
        return Amounts(net=net, vat=vat, parts=dict.fromkeys(roles, 0))
    parts = proportion(net, [amounts.parts[role] for role in roles])
    return Amounts(net=net, vat=vat, parts=dict(zip(roles, parts, strict=True)))


def _mirrored(legs: str) -> str:
    turned = [{**leg, "net": -leg["net"], "vat": -leg["vat"]} for leg in json.loads(legs)]
    return json.dumps(turned, separators=(",", ":"), ensure_ascii=False)


def _each_its_own(
    stored: StoredCapture, step: TakeBack, after: int
) -> tuple[list[Transfer], list[Payable], list[LegAmount]]:
    earlier, later = _posting(stored, step.before_minor), _posting(stored, after)
    earlier_payables, later_payables = _settled(earlier), _settled(later)
    transfers = _difference(earlier.transfers, later.transfers)
    payables = []
    for party_id in stored.plan.payees:
        payee = stored.plan.payees[party_id]
        minor = earlier_payables.get(party_id, 0) - later_payables.get(party_id, 0)
        if minor:
            payables.append(Payable(party_id, payee.role, minor, payee.currency, step.due[party_id]))
    return transfers, payables, _leg_difference(earlier.legs, later.legs)


def _borne_by_platform(
    stored: StoredCapture, step: TakeBack, after: int
) -> tuple[list[Transfer], list[Payable], list[LegAmount]]:
    """Only the driver's supply is taken back; the platform pays the net out of its own fee."""
    earlier, later = amounts_at(stored, step.before_minor), amounts_at(stored, after)
    vat, net = later.vat - earlier.vat, later.net - earlier.net
    currency = stored.plan.currency
    reseller = stored.plan.agreement.terms.legal_model is LegalModel.RESELLER
    vat_account = output_vat_account(stored.plan.driver.decision.vat_of)
    from_vat, from_fee = (vat, net) if reseller else (0, net + vat)
    lines = [
        (vat_account, SESSION_TRANSIT, from_vat),
        (PLATFORM_FEE, SESSION_TRANSIT, from_fee),
        (SESSION_TRANSIT, stored.source, step.minor),
    ]
    transfers = [Transfer(debit, credit, minor, currency) for debit, credit, minor in lines if minor]
    return transfers, [], [LegAmount(stored.plan.driver, -net, -vat)]


def _posting(stored: StoredCapture, minor: int) -> Posting:
    return compose(stored.plan, amounts_at(stored, minor), source=stored.source)


def _settled(posting: Posting) -> dict[str, int]:
    payables, _ = posting.settle()
    return {payable.party_id: payable.amount_minor for payable in payables}


def _difference(earlier: Sequence[Transfer], later: Sequence[Transfer]) -> list[Transfer]:
    """What leads from the later posting back to the earlier one, one transfer per pair of accounts."""
    moved: dict[tuple[str, str, str], int] = {}
    for sign, lines in ((-1, earlier), (1, later)):
        for debit, credit, minor, currency in lines:
            forward = debit <= credit
            key = (debit, credit, currency) if forward else (credit, debit, currency)
            moved[key] = moved.get(key, 0) + (sign if forward else -sign) * minor
    return [
        Transfer(credit, debit, minor, currency) if minor > 0 else Transfer(debit, credit, -minor, currency)
        for (debit, credit, currency), minor in moved.items()
        if minor
    ]


def _leg_difference(earlier: Sequence[LegAmount], later: Sequence[LegAmount]) -> list[LegAmount]:
    before = {(leg.leg, leg.role): (net, vat) for leg, net, vat in earlier}
    legs = []
    for leg, net, vat in later:
        was_net, was_vat = before.get((leg.leg, leg.role), (0, 0))
        if (net, vat) != (was_net, was_vat):
            legs.append(LegAmount(leg, was_net - net, was_vat - vat))
    return legs
