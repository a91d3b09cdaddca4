"""What to do next with the payment of a completed session: the ordered fallback above the hold.

Owns: the order (increment, over-capture, off-session charge under the mandate, receivable) and the amounts.
Must not know: SQL, how requests reach the PSP, the clock. Each step is recorded as a request, so the next one
follows from what is recorded, after any stop.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gateway.payments.psp.rules import AmountRules
from gateway.payments.records import AuthorizationRecord, CaptureRecord, PspRequestKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseStep:
    """Nothing is due: the whole hold is released."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementStep:
    """Raise the hold to `amount_minor` in all, then decide again."""

    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureStep:
    """Capture `amount_minor`; `receivable_minor` is priced and not captured.

    Of the receivable, what is below the currency's step at the PSP is never charged.
    """

    amount_minor: int
    receivable_minor: int


Step = ReleaseStep | IncrementStep | CaptureStep


def next_step(
    *,
    price_minor: int,
    authorization: AuthorizationRecord,
    rejected: AbstractSet[PspRequestKind],
    amounts: AmountRules,
    within_hold: bool = False,
) -> Step:
    """The next step for a session that costs `price_minor`, on an active hold.

    `rejected` are the kinds of requests that the PSP has declined for this authorization. Never more than
    the price is captured, and never more than the PSP allows. `within_hold`: for a price that no CDR has
    confirmed, no more than what is held is captured.
    """
    at_psp = authorization.funding == "psp"
    due = amounts.down(price_minor, authorization.currency) if at_psp else price_minor
    if due == 0:
        return ReleaseStep()
    if due > authorization.hold_minor and not within_hold:
        if authorization.incrementable and PspRequestKind.INCREMENT not in rejected:
            return IncrementStep(amount_minor=due)
        most = max(authorization.hold_minor, authorization.max_capture_minor or 0)
    else:
        most = authorization.hold_minor
    amount = min(due, amounts.down(most, authorization.currency) if at_psp else most)
    return CaptureStep(amount_minor=amount, receivable_minor=price_minor - amount)


def may_charge_residual(
    authorization: AuthorizationRecord, capture: CaptureRecord, *, amounts: AmountRules
) -> bool:
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
