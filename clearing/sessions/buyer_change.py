"""Another buyer for a cleared session: what remains of its sale is cancelled and issued anew.

Owns: both entries. Must not know: why the buyer is named late, how VAT is decided, the repository.

The cancellation gives back the driver's supply alone, the issue sells it anew at the buyer's VAT. Between the
two the platform holds the net, so that no other party's part moves unless the net does, and then only by the
difference. Source and gross are those of the capture: no money moves.
Source: Directive 2006/112/EC art. 219 (a document that amends an initial invoice), art. 90.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from clearing.errors import ClearingConflictError
from clearing.ledger.journal_entry import EntryKind, JournalEntry, Payable, check
from clearing.money import net_and_vat, proportion
from clearing.parties.agreement import Role
from clearing.sessions.clearing_plan import PlannedLeg
from clearing.sessions.posting import Amounts, LegAmount, Posting, legs_json
from clearing.sessions.reversal import (
    ClearedCapture,
    Reversal,
    moved_back,
    payables_of,
    posting_of,
    reverse,
)
from clearing.sessions.split import split
from clearing.tax.vat import Category, SupplyLeg


def sold_to(stored: ClearedCapture, driver: PlannedLeg) -> ClearedCapture:
    """The capture as if `driver`, the same supply to another buyer, had been its sale from the start.

    The gross stays. Where the rate stays, the booked VAT stays; else the net is shared again by the terms, of
    terms with tiers in the proportions of what was booked.
    """
    was, now = stored.plan.driver.decision, driver.decision
    amounts = stored.amounts
    standard = now.category is Category.STANDARD
    if not standard:
        net, vat = stored.gross_minor, 0
    elif was.category is Category.STANDARD and was.rate == now.rate:
        net, vat = amounts.net, amounts.vat
    else:
        net, vat = net_and_vat(stored.gross_minor, now.rate)
    parts = amounts.parts if net == amounts.net else _shared(stored, net)
    return replace(
        stored,
        amounts=Amounts(net=net, vat=vat, parts=parts),
        plan=replace(stored.plan, driver=driver),
    )


def _shared(stored: ClearedCapture, net: int) -> Mapping[Role, int]:
    terms, booked = stored.plan.agreement.terms, stored.amounts
    if terms.tiered and booked.net:
        parts = proportion(net, list(booked.parts.values()))
        return dict(zip(booked.parts, parts, strict=True))
    return split(
        net,
        energy_kwh=stored.links.energy_kwh,
        terms=terms,
        currency=stored.plan.currency,
        present=stored.plan.party_of_role.keys(),
    )


def change_buyer(
    stored: ClearedCapture,
    driver: PlannedLeg,
    *,
    reversed_minor: int,
    reference: str,
    due: Mapping[str, date],
) -> tuple[JournalEntry, JournalEntry]:
    """The cancellation of what remains of the sale, and its issue to the buyer of `driver`.

    `reversed_minor` of the gross were reversed before. Raises ClearingConflictError where nothing remains.
    """
    remaining = stored.gross_minor - reversed_minor
    if remaining <= 0:
        raise ClearingConflictError("all of the sale was given back: there is nothing left to invoice")
    cancelled = reverse(
        stored,
        Reversal(
            kind=EntryKind.SALE_CANCELLED,
            reference=reference,
            minor=remaining,
            before_minor=reversed_minor,
            charged_to=Role.PLATFORM,
            due=due,
        ),
    )
    return cancelled, _issued(stored, sold_to(stored, driver), reversed_minor, reference=reference, due=due)


def _issued(
    was: ClearedCapture, sold: ClearedCapture, before: int, *, reference: str, due: Mapping[str, date]
) -> JournalEntry:
    """The new sale less the old one, and the old one's supply to the driver, which was cancelled."""
    whole = was.gross_minor
    added = [
        posting_of(sold, whole, None),
        posting_of(was, before, None),
        posting_of(was, whole, Role.PLATFORM),
    ]
    taken = [
        posting_of(sold, before, None),
        posting_of(was, whole, None),
        posting_of(was, before, Role.PLATFORM),
    ]
    owed = _owed(added, taken)
    transfers = moved_back(
        [line for one in added for line in one.transfers], [line for one in taken for line in one.transfers]
    )
    check(transfers)
    payees = was.plan.payees
    return JournalEntry(
        shard=was.shard,
        subject_id=was.session_id,
        kind=EntryKind.SALE_REISSUED,
        reference=reference,
        currency=was.plan.currency,
        gross_minor=whole - before,
        transfers=transfers,
        payables=[
            Payable(party_id, payees[party_id].role, minor, payees[party_id].currency, due[party_id])
            for party_id, minor in owed.items()
            if minor
        ],
        links=was.links,
        legs=legs_json(_legs(was, sold, before)),
    )


def _owed(added: Sequence[Posting], taken: Sequence[Posting]) -> dict[str, int]:
    owed: dict[str, int] = {}
    for sign, postings in ((1, added), (-1, taken)):
        for posting in postings:
            for party_id, minor in payables_of(posting).items():
                owed[party_id] = owed.get(party_id, 0) + sign * minor
    return owed


def _legs(was: ClearedCapture, sold: ClearedCapture, before: int) -> list[LegAmount]:
    """The driver's supply as it is sold now, and of every other one what it is more or less than it was."""
    signs = ((1, sold, sold.gross_minor), (-1, sold, before), (-1, was, was.gross_minor), (1, was, before))
    sums: dict[tuple[SupplyLeg, Role], tuple[PlannedLeg, int, int]] = {}
    for sign, capture, minor in signs:
        for leg, net, vat in posting_of(capture, minor, None).legs:
            if leg.leg is SupplyLeg.TO_DRIVER and capture is was:
                continue
            known = sums.get((leg.leg, leg.role))
            summed = (0, 0) if known is None else known[1:]
            sums[leg.leg, leg.role] = (leg, summed[0] + sign * net, summed[1] + sign * vat)
    return [LegAmount(*one) for one in sums.values() if one[1] or one[2]]
