"""What to do next with the payment of a completed session: the ordered fall-back above the hold.

Owns: the order (increment, over-capture, off-session charge under the mandate, receivable) and the amounts.
Must not know: SQL, the PSP's calls, the clock. Each step is recorded as a call, so the next one follows from
what is recorded, after any stop.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gateway.payments.amounts import AmountRules
from gateway.payments.records import AuthorizationRecord, CaptureRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Nothing is due: the hold goes back whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """Raise the hold to `amount_minor` in all, then look again."""

    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Capture `amount_minor`; `receivable_minor` is priced and not captured.

    Of the receivable, what is below the currency's step at the PSP is never asked for.
    """

    amount_minor: int
    receivable_minor: int


Step = Release | Increment | Take


def next_step(
    *,
    price_minor: int,
    authorization: AuthorizationRecord,
    refused: AbstractSet[str],
    amounts: AmountRules,
    within_hold: bool = False,
) -> Step:
    """The next step for a session that costs `price_minor`, on a hold that stands.

    `refused` are the kinds of calls that the PSP has declined for this authorization. Never more than the
    price is taken, and never more than the PSP lets us take. `within_hold`: a price that no CDR has confirmed
    takes what is held and no more.
    """
    at_psp = authorization.funding == "psp"
    due = amounts.down(price_minor, authorization.currency) if at_psp else price_minor
    if due == 0:
        return Release()
    if due > authorization.hold_minor and not within_hold:
        if authorization.incrementable and "increment" not in refused:
            return Increment(amount_minor=due)
        most = max(authorization.hold_minor, authorization.max_capture_minor or 0)
    else:
        most = authorization.hold_minor
    amount = min(due, amounts.down(most, authorization.currency) if at_psp else most)
    return Take(amount_minor=amount, receivable_minor=price_minor - amount)


def may_collect(authorization: AuthorizationRecord, capture: CaptureRecord, *, amounts: AmountRules) -> bool:
    """Whether what the hold did not cover may be charged off-session.

    Only under a stored mandate, and only what the PSP would charge: not below its least charge.
    """
    rest = amounts.down(capture.receivable_minor, capture.currency)
    return (
        rest >= amounts.least(capture.currency)
        and authorization.customer is not None
        and authorization.payment_method is not None
        and authorization.funding == "psp"
    )
