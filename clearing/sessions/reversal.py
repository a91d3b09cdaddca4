"""Reversing a capture, wholly or in part.

Refunds, disputes and credit CDRs, from what was stored when it was cleared.

Owns: how much of each part is reversed, at the stored VAT rulings and FX locks. Must not know: present rates,
terms or registers (a later change has no effect on a cleared session), the repository.

A reversal is the difference between two postings of the stored capture: that of all that is reversed after
this step, and that of what was reversed before it. So the steps never drift: many small refunds end where one
of the whole would, and the whole is the exact reversal.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from clearing.errors import ClearingConflictError, InvalidAmountError
from clearing.ledger.journal_entry import (
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
from clearing.sessions.clearing_plan import ClearingPlan
from clearing.sessions.posting import Amounts, CompiledPlan, LegAmount, Posting, compose, legs_json
from clearing.tax.vat import SupplyLeg


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearedCapture:
    """A capture as it was cleared.

    Its plan rebuilt from stored rulings and locks, its parts, its source of money.
    """

    shard: int
    session_id: UUID
    gross_minor: int
    amounts: Amounts
    source: str
    plan: ClearingPlan
    links: EntryLinks


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """How much is reversed, why, and on which day each party's receivable is due.

    `before_minor` was reversed by earlier steps. The net is charged to the role `charged_to` alone, or to the
    platform where no party plays that role; None: each party returns its own part. `fee_minor` is what the
    PSP charges for it, the platform's expense, in `fee_currency` (None: the capture's). `excess_minor` was
    withdrawn beyond what remains of the capture: no party's part, so the platform's expense too.
    """

    kind: EntryKind
    reference: str
    minor: int
    before_minor: int
    charged_to: Role | None
    due: Mapping[str, date]
    fee_minor: int = 0
    fee_currency: str | None = None
    excess_minor: int = 0


def reverse(stored: ClearedCapture, step: Reversal) -> JournalEntry:
    """The entry of one step.

    Money back to its source, each part back from its party, payables with the opposite sign.

    Raises InvalidAmountError for an amount that is not positive, ClearingConflictError for more than remains.
    """
    after = step.before_minor + step.minor
    costs_only_a_fee = step.kind is EntryKind.DISPUTE and step.fee_minor > 0
    nothing = step.minor + step.excess_minor == 0 and not costs_only_a_fee
    if step.minor < 0 or step.excess_minor < 0 or nothing:
        raise InvalidAmountError(
            f"a {step.kind} of {step.minor} {stored.plan.currency}: expected more than 0"
        )
    if step.minor == 0:
        return _entry(stored, step, [], [], [])
    if after > stored.gross_minor:
        remaining = max(stored.gross_minor - step.before_minor, 0)
        raise ClearingConflictError(
            f"a {step.kind} of {step.minor} {stored.plan.currency} is more than the {remaining} that remain"
        )
    transfers, payables, legs = _reversed_parts(stored, step, after)
    if step.kind is EntryKind.DISPUTE:
        # The supply to the driver is not reversed: no credit note is due, whoever sold.
        legs = [leg for leg in legs if leg.leg.leg is not SupplyLeg.TO_DRIVER]
    if step.kind is EntryKind.DISPUTE and stored.plan.agreement.terms.legal_model is LegalModel.RESELLER:
        # So its VAT stays due until VAT relief for an unpaid receivable is granted.
        vat_account = output_vat_account(stored.plan.driver.decision.vat_of)
        transfers = [
            line._replace(debit_account=DISPUTE_EXPENSE)
            if (line.debit_account, line.credit_account) == (vat_account, SESSION_TRANSIT)
            else line
            for line in transfers
        ]
    return _entry(stored, step, transfers, payables, legs)


def _entry(
    stored: ClearedCapture,
    step: Reversal,
    parts: Sequence[Transfer],
    payables: Sequence[Payable],
    legs: Sequence[LegAmount],
) -> JournalEntry:
    """The reversed parts, with the platform's own expense beside them."""
    currency = stored.plan.currency
    transfers = list(parts)
    if step.excess_minor:
        transfers.append(Transfer(DISPUTE_EXPENSE, stored.source, step.excess_minor, currency))
    if step.fee_minor:
        fee = Transfer(PSP_EXPENSE, PSP_RECEIVABLE, step.fee_minor, step.fee_currency or currency)
        transfers.append(fee)
    check(transfers)
    return JournalEntry(
        shard=stored.shard,
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
    posted: JournalEntry, *, reference: str, booked_minor: int, fee_minor: int, currency: str
) -> JournalEntry | None:
    """The entry that corrects the PSP's booked fee of a dispute from `booked_minor` to `fee_minor`.

    Both are in `currency`, the fee's own.

    None where they are equal. No money of the capture moves, so the entry's gross is 0.
    """
    more = fee_minor - booked_minor
    if more == 0:
        return None
    line = Transfer(PSP_EXPENSE, PSP_RECEIVABLE, abs(more), currency)
    return JournalEntry(
        shard=posted.shard,
        subject_id=posted.subject_id,
        kind=posted.kind,
        reference=reference,
        currency=posted.currency,
        gross_minor=0,
        transfers=[line if more > 0 else line.reversed()],
        links=posted.links,
    )


def reinstate(posted: JournalEntry, *, kind: EntryKind, due: Mapping[str, date]) -> JournalEntry:
    """The mirror of a reversal: every transfer and payable back, to the unit.

    For a dispute that was won or a refund that failed. The PSP does not return its fee.
    """
    return JournalEntry(
        shard=posted.shard,
        subject_id=posted.subject_id,
        kind=kind,
        reference=posted.reference,
        currency=posted.currency,
        gross_minor=posted.gross_minor,
        transfers=[line.reversed() for line in posted.transfers if line.debit_account != PSP_EXPENSE],
        payables=[
            payable._replace(amount_minor=-payable.amount_minor, due_date=due[payable.party_id])
            for payable in posted.payables
        ],
        links=posted.links,
        legs=_mirrored(posted.legs),
    )


def amounts_at(stored: ClearedCapture, minor: int) -> Amounts:
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


def _reversed_parts(
    stored: ClearedCapture, step: Reversal, after: int
) -> tuple[list[Transfer], list[Payable], list[LegAmount]]:
    """The difference of the postings of what is reversed after this step and before it."""
    earlier, later = (posting_of(stored, minor, step.charged_to) for minor in (step.before_minor, after))
    earlier_payables, later_payables = payables_of(earlier), payables_of(later)
    transfers = moved_back(earlier.transfers, later.transfers)
    payables = []
    for party_id in stored.plan.payees:
        payee = stored.plan.payees[party_id]
        minor = earlier_payables.get(party_id, 0) - later_payables.get(party_id, 0)
        if minor:
            payables.append(Payable(party_id, payee.role, minor, payee.currency, step.due[party_id]))
    return transfers, payables, _leg_difference(earlier.legs, later.legs)


def posting_of(stored: ClearedCapture, minor: int, charged_to: Role | None) -> Posting:
    """The posting of `minor` of the gross, as it is reversed: each part its party's, or the whole net one's.

    With a role that it is charged to, only the driver's supply is reversed: the other parties keep their
    parts, and what the charged party pays is compensation, no supply, so it has no VAT. The driver's VAT
    stays with the seller, whose VAT liability it reduces.
    """
    amounts = amounts_at(stored, minor)
    if charged_to is None:
        return compose(stored.plan, amounts, source=stored.source)
    posting = Posting(CompiledPlan(stored.plan))
    posting.receive(stored.source, amounts.net, amounts.vat)
    charged_party_id = stored.plan.party_of_role.get(charged_to, PLATFORM_ID)
    if charged_party_id == PLATFORM_ID:
        posting.from_transit(PLATFORM_FEE, amounts.net)
    else:
        posting.owed[charged_party_id] += amounts.net
    return posting


def payables_of(posting: Posting) -> dict[str, int]:
    """What a posting owes each party; it completes the posting with the transfers of it."""
    payables, _ = posting.post_payables()
    return {payable.party_id: payable.amount_minor for payable in payables}


def moved_back(earlier: Sequence[Transfer], later: Sequence[Transfer]) -> list[Transfer]:
    """What leads from the later posting back to the earlier, one transfer per pair of accounts."""
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
