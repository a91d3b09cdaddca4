"""Client secrets of Stripe's objects, taken out of what is kept.

Owns: where they stand in an event's bytes. Must not know: what an event means.
"""

import re
from typing import Final

_SECRET: Final = re.compile(rb'("client_secret"\s*:\s*)"(?:[^"\\]|\\.)*"')


def without_secrets(body: bytes) -> bytes:
    """The event's bytes with null for each client secret: a bearer secret of the driver's app."""
    return _SECRET.sub(rb"\1null", body)
