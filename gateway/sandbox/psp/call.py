"""What a handler is given: the world, its parameters, the ids in the path and the account that asks."""

from dataclasses import dataclass

from gateway.sandbox.psp.forms import Params
from gateway.sandbox.psp.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request after routing and authentication.

    `account` is the platform unless Stripe-Account names another.
    """

    world: World
    params: Params
    ids: tuple[str, ...]
    account: str
    path: str
