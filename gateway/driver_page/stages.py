"""What a driver is shown of a payment: one stage, from what is known of it.

Owns: the stages and their order. Must not know: SQL, HTTP, languages, the clock. Pure.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.driver_page.start_state import StartState
from gateway.payments.state_machine import PaymentState
from gateway.schemas.api_schemas import SessionState


class Stage(StrEnum):
    """Where a driver's payment stands."""

    UNPAID = "unpaid"  # nothing was asked of the PSP: pay again
    AT_PSP = "at_psp"  # the driver pays on the PSP's page
    LAPSED = "lapsed"  # that page was left, or has expired, without a payment
    CONFIRM = "confirm"  # the driver's bank asks for a confirmation
    CHECKING = "checking"  # the PSP has not answered
    DECLINED = "declined"
    STARTING = "starting"  # the operator was asked to start
    START_FAILED = "start_failed"  # the operator has refused or not answered
    PLUG_IN = "plug_in"  # the operator takes no remote start
    CHARGING = "charging"
    STOPPING = "stopping"
    ENDED = "ended"  # the operator's record or its capture is awaited
    PAID = "paid"
    FREE = "free"  # ended without anything to pay
    RELEASED = "released"  # nothing was charged
    NOT_COLLECTED = "not_collected"  # the session has ended, its price was not taken


FINAL_STAGES: Final = frozenset(
    {Stage.DECLINED, Stage.LAPSED, Stage.PAID, Stage.FREE, Stage.RELEASED, Stage.NOT_COLLECTED}
)
# In these the PSP is asked, rather than awaited, while the driver looks.
WAITING_STAGES: Final = frozenset({Stage.AT_PSP, Stage.CONFIRM})
# In these the page changes by itself soon.
MOVING_STAGES: Final = frozenset(
    {Stage.CHECKING, Stage.STARTING, Stage.PLUG_IN, Stage.CHARGING, Stage.STOPPING, Stage.ENDED}
)
_REFUSED: Final = frozenset({"rejected", "failed", "timed_out"})
_OVER: Final = frozenset({"COMPLETED", "INVALID"})  # Status of an OCPI session
_NOT_BEGUN: Final = frozenset({"PENDING", "RESERVATION"})  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFacts:
    """What is known. `reported` is the OCPI status of the operator's session, None where it reports none.

    `at_page`: the driver pays on the PSP's page. `was_held`: there is, or was, a hold.
    """

    payment: PaymentState | None
    session: SessionState | None
    priced: bool
    start: StartState
    command_state: str | None = None
    reported: str | None = None
    stop_asked: bool = False
    at_page: bool = False
    was_held: bool = False

    @property
    def start_refused(self) -> bool:
        """Whether the operator has refused to start, or never said that it did."""
        return self.start is StartState.SENT and self.command_state in _REFUSED


def stage_of(facts: PaymentFacts) -> Stage:
    """The stage that follows from the facts."""
    ended = facts.priced or facts.session in {SessionState.COMPLETED, SessionState.CLEARED}
    match facts.payment:
        case None:
            return Stage.UNPAID
        case PaymentState.REQUIRES_ACTION:
            return Stage.AT_PSP if facts.at_page else Stage.CONFIRM
        case PaymentState.REQUIRES_AUTHORIZATION:
            return Stage.CHECKING
        case PaymentState.OUTCOME_UNKNOWN | PaymentState.CAPTURE_REQUESTED:
            return Stage.ENDED if ended else Stage.CHECKING
        case PaymentState.FAILED:
            return Stage.NOT_COLLECTED if ended else Stage.DECLINED
        case PaymentState.VOIDED:
            lapsed = facts.at_page and not facts.was_held
            return Stage.FREE if ended else Stage.LAPSED if lapsed else Stage.RELEASED
        case PaymentState.CAPTURED:
            return Stage.PAID
        case PaymentState.AUTHORIZED:
            return Stage.ENDED if ended else _before_the_end(facts)


def _before_the_end(facts: PaymentFacts) -> Stage:
    if facts.reported in _OVER or facts.session is SessionState.EXCEPTION:
        return Stage.ENDED
    if facts.reported in _NOT_BEGUN:
        return Stage.STARTING
    if facts.reported is not None:
        return Stage.STOPPING if facts.stop_asked else Stage.CHARGING
    if facts.start is StartState.NOT_OFFERED:
        return Stage.PLUG_IN
    return Stage.START_FAILED if facts.start_refused else Stage.STARTING


def may_cancel(facts: PaymentFacts) -> bool:
    """Whether the driver may take the payment back.

    While the bank's confirmation or the PSP's page is open, and where the operator has refused to start and
    reports no session. Never where a vehicle may be charging: an operator without remote start has been
    notified, and one that accepted a start may report its session later.
    """
    stage = stage_of(facts)
    return stage in WAITING_STAGES or stage is Stage.START_FAILED
