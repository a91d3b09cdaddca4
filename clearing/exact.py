"""Exact decimal arithmetic for prices.

Owns: one context wide enough that no product of bounded inputs is ever rounded by it. Must not know: money.
Python's ambient decimal context (28 digits) is never used for a price: it would round without saying so.
"""

from decimal import Context
from typing import Final

# Three factors of at most forty digits each (document.MAX_DIGITS), and a quotient with room to spare.
EXACT: Final = Context(prec=160)
