"""A payment that was planned and may no longer be sent: a hold, another account, a leaving in between.

Owns: that decision, also where two have to release it by now. Must not know: the store, the rail. The same
rule guards the last step before a rail is called and the withdrawal that opens the payables again.
"""

from datetime import date
from enum import StrEnum

from clearing.parties.party import Party
from clearing.payouts.disbursement import Disbursement, destination


class StopReason(StrEnum):
    """Why a planned payment is not sent."""

    ON_HOLD = "payout_hold"
    BANK_DETAILS = "bank_details_to_be_confirmed"
    DESTINATION = "destination_changed"
    UNRELEASED = "release_needed"
    LEFT = "party_deregistered"


def stopped(payment: Disbursement, party: Party, *, today: date) -> tuple[StopReason, str] | None:
    """Why `payment` must not be sent on the party's local day `today`, with words; None if it may be.

    A party that left since the payment was planned is paid by one planned anew, which nets all that is open.
    """
    terms = party.payout_terms
    if party.payout_hold is not None:
        return StopReason.ON_HOLD, party.payout_hold
    hold = terms.held_on(today)
    if hold is not None:
        return StopReason.ON_HOLD, f"since {hold.since}: {hold.reason}"
    if terms.bank_pending:
        return StopReason.BANK_DETAILS, "new bank details wait for a second person"
    if destination(party) != (payment.rail, payment.destination):
        return StopReason.DESTINATION, "the account that is paid changed after this payment was planned"
    limit = terms.release_above_minor
    if limit is not None and payment.amount_minor > limit and payment.approvals_needed == 0:
        return StopReason.UNRELEASED, f"payments above {limit} need two since it was planned"
    left = terms.deregistered_on
    if left is not None and payment.period < left <= today:
        return StopReason.LEFT, f"the party left on {left}; what is open is planned anew"
    return None
