"""Exact decimal arithmetic for prices.

Owns: one context wide enough that no product of bounded inputs is ever rounded by it. Must not know: money.
Python's ambient decimal context (28 digits) is never used for a price: it would round without saying so.
A function marked `exactly` computes with operators, which are three times as fast as a context's methods.
"""

from collections.abc import Callable
from decimal import Context, getcontext, setcontext
from functools import wraps
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# Three factors of at most forty digits each (json_document.MAX_DIGITS), and a quotient with digits to spare.
EXACT: Final = Context(prec=160)


def exactly(work: Callable[P, R]) -> Callable[P, R]:
    """Run `work` with EXACT as the ambient context; the caller's own is back in force afterwards."""

    @wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        before = getcontext()
        setcontext(EXACT)
        try:
            return work(*args, **kwargs)
        finally:
            setcontext(before)

    return run
