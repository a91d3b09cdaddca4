"""What a handler is given: the state, its parameters, the ids in the path and the requesting account."""

from dataclasses import dataclass

from sandbox.stripe.forms import Params
from sandbox.stripe.state import PspState


@dataclass(frozen=True, slots=True, kw_only=True)
class PspApiRequest:
    """One request after routing and authentication.

    `account` is the platform unless Stripe-Account names another; `version` is Stripe-Version as sent.
    """

    state: PspState
    params: Params
    ids: tuple[str, ...]
    account: str
    path: str
    version: str | None = None
