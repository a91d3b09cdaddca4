"""What a card statement says: the account's prefix, and a suffix of the payment's own.

Owns: the provider's rules for both (docs.stripe.com/get-started/account/statement-descriptors). Must not
know: intents, charges.
"""

import re
from typing import Final

from sandbox.stripe.forms import Params
from sandbox.stripe.problems import ParameterProblem

PREFIX: Final = "SANDBOX"
LONGEST: Final = 22
_BETWEEN: Final = "* "
_FORBIDDEN: Final = re.compile(r"""[<>\\'"*]|[^\x20-\x7e\xa0-\u024f]""")
_LETTER: Final = re.compile(r"[^\W\d_]")


def suffix_of(params: Params) -> str | None:
    """The suffix that a request asks for. Raises ParameterProblem where no statement could show it."""
    name = "statement_descriptor_suffix"
    text = params.text(name)
    if text is None:
        return None
    whole = f"{PREFIX}{_BETWEEN}{text}"
    if len(whole) > LONGEST:
        raise ParameterProblem(
            f"The statement descriptor {whole!r} is longer than {LONGEST} characters; shorten {name}.",
            param=name,
        )
    if _FORBIDDEN.search(text) or _LETTER.search(text) is None:
        raise ParameterProblem(
            f"{name} must have a Latin letter and none of < > \\ ' \" *.",
            code="invalid_characters",
            param=name,
        )
    return text


def shown(suffix: str | None) -> str:
    """What the statement shows."""
    return PREFIX if suffix is None else f"{PREFIX}{_BETWEEN}{suffix}"


def reject_whole_descriptor(params: Params, kinds: list[str]) -> None:
    """A card charge takes no descriptor of its own. Raises ParameterProblem."""
    if params.text("statement_descriptor") is not None and "card" in kinds:
        raise ParameterProblem(
            "The `statement_descriptor` parameter is not supported for the payment method type `card`. Use "
            "`statement_descriptor_suffix` instead.",
            code="payment_intent_invalid_parameter",
            param="statement_descriptor",
        )
