"""Which types of payment method an intent accepts, and what its confirmation then needs.

Owns: the filter of the types, the parameters that exclude each other, the demand for a `return_url`. Must not
know: cards, holds. Where the provider's documentation leaves open whether a `return_url` is needed, this PSP
needs it: it is no laxer (docs.stripe.com/changelog/dahlia, 2026-07-29, and endive, 2026-09-30).
"""

from typing import Final

from sandbox.stripe.forms import Params
from sandbox.stripe.parameters import LIST, VALUE, Shape
from sandbox.stripe.problems import Json, ParameterProblem
from sandbox.stripe.state import PspState

CHOICES: Final[dict[str, Shape]] = {
    "automatic_payment_methods": dict.fromkeys(("enabled", "allow_redirects"), VALUE)
}
ALLOWED: Final = {"allowed_payment_method_types": LIST}
_PLAYED: Final = ("card", "card_present", "link")
_AT_TERMINAL: Final = "card_present"


def choose(state: PspState, params: Params) -> Json:
    """The fields of a new intent that say how it may be paid. Raises ParameterProblem.

    A type that the account has not activated is dropped in silence, as at the provider.
    """
    if "allowed_payment_method_types" in params and "automatic_payment_methods" in params:
        raise ParameterProblem(
            "You may only specify one of these parameters: allowed_payment_method_types, "
            "automatic_payment_methods.",
            code="parameters_exclusive",
            param="allowed_payment_method_types",
        )
    allowed = params.texts("allowed_payment_method_types")
    for name in allowed:
        if name not in _PLAYED:
            raise ParameterProblem(
                f"This PSP plays the payment method types {', '.join(_PLAYED)} only, not {name[:40]}.",
                param="allowed_payment_method_types",
            )
    active = state.settings.payment_method_types
    dynamic = [name for name in active if name != _AT_TERMINAL]
    return {
        "allowed_payment_method_types": allowed or None,
        "automatic_payment_methods": _automatic(params),
        "payment_method_types": [name for name in allowed if name in active] if allowed else dynamic,
    }


def _automatic(params: Params) -> Json | None:
    """The account's settings choose unless the types are named; the answer says so only where asked to."""
    if "automatic_payment_methods" not in params:
        return None
    given = params.section("automatic_payment_methods")
    if not given.boolean("enabled"):
        raise ParameterProblem(
            "Pass automatic_payment_methods[enabled]=true, or leave automatic_payment_methods out.",
            param="automatic_payment_methods[enabled]",
        )
    redirects = given.choice("allow_redirects", ("always", "never"), default="always")
    return {"enabled": True, "allow_redirects": redirects}


def check_return_url(intent: Json, *, off_session: bool, noun: str) -> None:
    """A confirmation by the server says where the payer comes back to. Raises ParameterProblem."""
    chosen = intent["automatic_payment_methods"] or {}
    needless = off_session or chosen.get("allow_redirects") == "never" or intent.get("_return_url")
    if needless or intent["payment_method_types"] == [_AT_TERMINAL]:
        return
    raise ParameterProblem(
        f"This {noun} may be paid with methods that redirect your customer off of your page: you must "
        "provide a `return_url`. If you don't want to accept them, set "
        "automatic_payment_methods[enabled] to true and automatic_payment_methods[allow_redirects] to never "
        f"when creating {noun}s.",
        param="return_url",
    )
