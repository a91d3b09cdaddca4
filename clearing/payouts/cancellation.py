"""Cancellation of a planned disbursement that may no longer be sent.

Owns: the reasons: a payout hold, bank details or a destination that changed, an approval that is needed now,
deregistration. Must not know: the database, the rail. The same rule guards the last step before a rail is
called and the cancellation that reopens the payables.
"""

from datetime import date, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from clearing.parties.party import Party
from clearing.payouts.disbursement import Disbursement
from clearing.payouts.netting import destination, held_on


class CancellationReason(StrEnum):
    """Why a planned disbursement is not sent."""

    ON_HOLD = "payout_hold"
    BANK_DETAILS = "bank_details_pending"
    DESTINATION = "destination_changed"
    NEEDS_APPROVAL = "approval_needed"
    DEREGISTERED = "party_deregistered"


def find_cancellation_reason(disbursement: Disbursement, party: Party, *, now: datetime) -> str | None:
    """Why `disbursement` must not be sent now, as `reason: detail`; None if it may be."""
    found = cancellation_reason(disbursement, party, today=now.astimezone(ZoneInfo(party.time_zone)).date())
    return None if found is None else f"{found[0]}: {found[1]}"


def cancellation_reason(
    disbursement: Disbursement, party: Party, *, today: date
) -> tuple[CancellationReason, str] | None:
    """Why `disbursement` must not be sent on the party's local day `today`, with details; None if it may be.

    A party that was deregistered since is paid by a new disbursement, which nets everything that is open.
    """
    terms = party.payout_terms
    if party.payout_hold is not None:
        return CancellationReason.ON_HOLD, party.payout_hold
    hold = held_on(party, today)
    if hold is not None:
        return CancellationReason.ON_HOLD, f"since {hold.since}: {hold.reason}"
    if terms.bank_pending:
        return CancellationReason.BANK_DETAILS, "new bank details wait for approval by a second person"
    if destination(party) != (disbursement.rail, disbursement.destination):
        return (
            CancellationReason.DESTINATION,
            "the party's account changed after the disbursement was planned",
        )
    limit = terms.approval_above_minor
    if limit is not None and disbursement.amount_minor > limit and disbursement.approvals_needed == 0:
        return (
            CancellationReason.NEEDS_APPROVAL,
            f"since it was planned, disbursements above {limit} need two approvals",
        )
    deregistered_on = terms.deregistered_on
    if deregistered_on is not None and disbursement.period < deregistered_on <= today:
        return (
            CancellationReason.DEREGISTERED,
            f"the party was deregistered on {deregistered_on}; its open payables are planned again",
        )
    return None
