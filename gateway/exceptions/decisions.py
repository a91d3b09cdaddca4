"""What a person may decide about an exception, where trying again is not enough: the actions of each kind.

Owns: which actions fit which kind. Must not know: what an action does, HTTP, the command line.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from gateway.exception_kinds import ExceptionKind
from gateway.payments.stated_usage import UsageAction, UsageDecision
from gateway.payments.unbooked_charges import ChargeAction

Decision = UsageDecision | ChargeAction
# The actions of the kinds that need one; no other kind takes any.
ACTIONS_OF: Final[Mapping[ExceptionKind, type[UsageAction] | type[ChargeAction]]] = MappingProxyType(
    {
        ExceptionKind.FAILED_CDR_CHECK: UsageAction,
        ExceptionKind.UNBOOKED_CHARGE: ChargeAction,
    }
)


def decision_of(action: UsageAction | ChargeAction, *, amount_minor: int | None) -> Decision:
    """An action as the decision that it stands for; an amount goes with `set_amount` alone."""
    if isinstance(action, ChargeAction):
        return action
    return UsageDecision(action=action, amount_minor=amount_minor)


def action_of(decision: Decision) -> UsageAction | ChargeAction:
    """The action of a decision."""
    return decision if isinstance(decision, ChargeAction) else decision.action


def misfit(kind: ExceptionKind, decision: Decision | None) -> str | None:
    """Why a decision, or its absence, does not fit an exception of this kind; None: it fits."""
    actions = ACTIONS_OF.get(kind)
    if actions is None:
        return None if decision is None else f"an exception of the kind {kind.value} takes no action"
    if decision is None or not isinstance(action_of(decision), actions):
        return f"it needs an action, one of {', '.join(action.value for action in actions)}"
    return None
