"""The text form of ids: a readable prefix and base32, one spelling in documents, logs and the API.

Owns the form. Must not know which objects exist, nor how an id is made.

Text form: `ses_01jd2w3x4y5z6a7b8c9d0e1f2g`: prefix, underscore, the 128 bits in 26 characters of Crockford's
base32, lower case, most significant first, so that ids sort by time as text too.
Source: Crockford, "Base 32".
"""

import re
from typing import Final
from uuid import UUID

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
BODY_LENGTH: Final = 26
_PAIRS: Final = tuple(one + two for one in ALPHABET for two in ALPHABET)  # of ten bits each
_PREFIX: Final = re.compile(r"[a-z][a-z0-9]{1,15}")


def format_id(prefix: str, identifier: UUID) -> str:
    """Return the public text of an id, such as `ses_01jd...`.

    Raises:
        ValueError: `prefix` is not 2 to 16 lower-case letters and digits starting with a letter.
    """
    check_prefix(prefix)
    value, pair = identifier.int, _PAIRS
    return (  # ids stand in every event and answer, many times over: written out, a quarter of a loop's time
        f"{prefix}_{pair[value >> 120]}{pair[value >> 110 & 1023]}{pair[value >> 100 & 1023]}"
        f"{pair[value >> 90 & 1023]}{pair[value >> 80 & 1023]}{pair[value >> 70 & 1023]}"
        f"{pair[value >> 60 & 1023]}{pair[value >> 50 & 1023]}{pair[value >> 40 & 1023]}"
        f"{pair[value >> 30 & 1023]}{pair[value >> 20 & 1023]}{pair[value >> 10 & 1023]}{pair[value & 1023]}"
    )


def check_prefix(prefix: str) -> None:
    """Check a prefix. Raises ValueError: not 2 to 16 lower-case letters and digits, or a digit first."""
    if _PREFIX.fullmatch(prefix) is None:
        raise ValueError(f"{prefix!r} is no id prefix: 2 to 16 lower-case letters and digits")
