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
from clearing.parties.party import PLATFORM_ID
from clearing.sessions.posting import Amounts, Course, LegAmount, Posting, compose, legs_json
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

    `before_minor` was taken back by earlier steps. `bearer` bears the net alone, the platform where nobody
    plays that role; None means that each party gives its own part back. `fee_minor` is what the PSP charges
    for it, the platform's expense. `excess_minor` was taken beyond what is left of the capture: nobody's
    part, so the platform's expense too.
    """

    kind: EntryKind
    reference: str
    minor: int
    before_minor: int
    bearer: Role | None
    due: Mapping[str, date]
    fee_minor: int = 0
    excess_minor: int = 0


def take_back(stored: StoredCapture, step: TakeBack) -> JournalEntry:
    """The entry of one step.

    Money back to its source, each part back from its party, payables with their sign turned.

    Raises InvalidAmountError for an amount that is not positive, StateConflictError for more than is left.
    """
    after = step.before_minor + step.minor
    if step.minor < 0 or step.excess_minor < 0 or step.minor + step.excess_minor == 0:
        raise InvalidAmountError(
            f"a {step.kind} of {step.minor} {stored.plan.currency}: expected more than 0"
        )
    if step.minor == 0:
        return _entry(stored, step, [], [], [])
    if after > stored.gross_minor:
        left = stored.gross_minor - step.before_minor
        raise StateConflictError(
            f"a {step.kind} of {step.minor} {stored.plan.currency} is more than the {left} left of it"
        )
    transfers, payables, legs = _given_back(stored, step, after)
    if step.kind is EntryKind.DISPUTE:
        # The supply to the driver stands: nothing is credited, whoever sold.
        legs = [leg for leg in legs if leg.leg.leg is not Leg.TO_DRIVER]
    if step.kind is EntryKind.DISPUTE and stored.plan.agreement.terms.legal_model is LegalModel.RESELLER:
        # So its VAT stays due until relief for a bad debt is granted.
        vat_account = output_vat_account(stored.plan.driver.decision.vat_of)
        transfers = [
            line._replace(debit_account=DISPUTE_EXPENSE)
            if (line.debit_account, line.credit_account) == (vat_account, SESSION_TRANSIT)
            else line
            for line in transfers
        ]
    return _entry(stored, step, transfers, payables, legs)


def _entry(
    stored: StoredCapture,
    step: TakeBack,
    parts: Sequence[Transfer],
    payables: Sequence[Payable],
    legs: Sequence[LegAmount],
) -> JournalEntry:
    """The parts given back, with what the platform bears beside them."""
    currency = stored.plan.currency
    transfers = list(parts)
    if step.excess_minor:
        transfers.append(Transfer(DISPUTE_EXPENSE, stored.source, step.excess_minor, currency))
    if step.fee_minor:
        transfers.append(Transfer(PSP_EXPENSE, PSP_RECEIVABLE, step.fee_minor, currency))
    check(transfers)
    return JournalEntry(
        lane=stored.lane,
        subject_id=stored.session_id,
        kind=step.kind,
        reference=step.reference,
        currency=currency,
        gross_minor=step.minor + step.excess_minor,
        transfers=transfers,
        payables=payables,
        links=stored.links,
        legs=legs_json(legs),
    )


def fee_correction(
    taken: JournalEntry, *, reference: str, booked_minor: int, fee_minor: int
) -> JournalEntry | None:
    """What makes the PSP's fee of a dispute `fee_minor` in the books, of which `booked_minor` are there.

    None where they agree. No money of the capture moves, so the entry is about an amount of 0.
    """
    more = fee_minor - booked_minor
    if more == 0:
        return None
    line = Transfer(PSP_EXPENSE, PSP_RECEIVABLE, abs(more), taken.currency)
    return JournalEntry(
        lane=taken.lane,
        subject_id=taken.subject_id,
        kind=taken.kind,
        reference=reference,
        currency=taken.currency,
        gross_minor=0,
        transfers=[line if more > 0 else line.reversed()],
        links=taken.links,
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


def _given_back(
    stored: StoredCapture, step: TakeBack, after: int
) -> tuple[list[Transfer], list[Payable], list[LegAmount]]:
    """The difference of the postings of what is taken back after this step and before it."""
    earlier, later = (_posting(stored, minor, step.bearer) for minor in (step.before_minor, after))
    earlier_payables, later_payables = _settled(earlier), _settled(later)
    transfers = _difference(earlier.transfers, later.transfers)
    payables = []
    for party_id in stored.plan.payees:
        payee = stored.plan.payees[party_id]
        minor = earlier_payables.get(party_id, 0) - later_payables.get(party_id, 0)
        if minor:
            payables.append(Payable(party_id, payee.role, minor, payee.currency, step.due[party_id]))
    return transfers, payables, _leg_difference(earlier.legs, later.legs)


def _posting(stored: StoredCapture, minor: int, bearer: Role | None) -> Posting:
    """The posting of `minor` of the gross, as it is undone: each part its party's, or the whole net one's.

    With a bearer only the driver's supply is taken back: the others keep their parts, and what the bearer
    gives is compensation, no supply, so it bears no VAT. The driver's VAT stays with the seller, whose debt
    to the state it lessens.
    """
    amounts = amounts_at(stored, minor)
    if bearer is None:
        return compose(stored.plan, amounts, source=stored.source)
    posting = Posting(Course(stored.plan))
    posting.receive(stored.source, amounts.net, amounts.vat)
    bearer_id = stored.plan.party_of_role.get(bearer, PLATFORM_ID)
    if bearer_id == PLATFORM_ID:
        posting.from_transit(PLATFORM_FEE, amounts.net)
    else:
        posting.owed[bearer_id] += amounts.net
    return posting


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
