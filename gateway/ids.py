"""Identifiers: UUIDv7 inside, a readable prefix and base32 at the edge; and the lane they carry.

Owns the id's text form and the lane rule. Must not know which tables exist.

Text form: `ses_01jd2w3x4y5z6a7b8c9d0e1f2g`: prefix, underscore, the 128 bits in 26 characters of Crockford's
base32, lower case, most significant first, so that ids sort by time as text too. Exactly one text per id: no
upper case, no look-alikes.
Sources: RFC 9562 section 5.7 (UUIDv7); Crockford, "Base 32".
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from gateway.errors import MalformedIdError

LANES: Final = 64
_LANE_MASK: Final = LANES - 1
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUE_OF: Final = {character: value for value, character in enumerate(_ALPHABET)}
_BITS_PER_CHARACTER: Final = 5
_BODY_LENGTH: Final = 26
_MAX_UUID: Final = (1 << 128) - 1
_PREFIX: Final = re.compile(r"[a-z][a-z0-9]{1,15}")
_source: ContextVar[Callable[[], UUID] | None] = ContextVar("id_source", default=None)


@contextmanager
def ids_from(source: Callable[[], UUID]) -> Iterator[None]:
    """Take new ids from `source` in the block and in tasks that it starts: a simulation repeats itself."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def new_id(*, lane: int | None = None) -> UUID:
    """Return a new UUIDv7.

    Args:
        lane: 0 to 63 makes the id carry that lane (for rows that belong to a session); None leaves it random.

    Raises:
        ValueError: `lane` is outside 0 to 63.
    """
    source = _source.get()
    fresh = UUID(int=uuid7().int) if source is None else source()
    return fresh if lane is None else at_lane(fresh, lane)


def lane_of(identifier: UUID) -> int:
    """Return the lane, 0 to 63, that an id carries: the low six bits of its last byte."""
    return identifier.int & _LANE_MASK


def at_lane(identifier: UUID, lane: int) -> UUID:
    """Return the id with its lane replaced: what belongs to a session lies in the session's lane.

    Raises:
        ValueError: `lane` is outside 0 to 63.
    """
    if not 0 <= lane < LANES:
        raise ValueError(f"lane {lane} is outside 0 to {_LANE_MASK}")
    return UUID(int=identifier.int & ~_LANE_MASK | lane)


def format_id(prefix: str, identifier: UUID) -> str:
    """Return the public text of an id, such as `ses_01jd...`.

    Raises:
        ValueError: `prefix` is not 2 to 16 lower-case letters and digits starting with a letter.
    """
    _check_prefix(prefix)
    value = identifier.int
    body = [
        _ALPHABET[value >> shift & 31] for shift in range((_BODY_LENGTH - 1) * _BITS_PER_CHARACTER, -1, -5)
    ]
    return f"{prefix}_{''.join(body)}"


def parse_id(prefix: str, text: str) -> UUID:
    """Return the id that `text` names; the inverse of `format_id`, and of nothing else.

    Raises:
        MalformedIdError: another prefix or length, a character outside the alphabet, or over 128 bits.
        ValueError: `prefix` itself is not a prefix.
    """
    _check_prefix(prefix)
    body = text[len(prefix) + 1 :]
    value = 0
    if text.startswith(f"{prefix}_") and len(body) == _BODY_LENGTH:
        for character in body:
            digit = _VALUE_OF.get(character)
            if digit is None:
                break
            value = value << _BITS_PER_CHARACTER | digit
        else:
            if value <= _MAX_UUID:
                return UUID(int=value)
    raise MalformedIdError(
        text=text, expected=f"an id of the form {prefix}_ and {_BODY_LENGTH} lower-case base32 characters"
    )


def _check_prefix(prefix: str) -> None:
    if _PREFIX.fullmatch(prefix) is None:
        raise ValueError(f"{prefix!r} is no id prefix: 2 to 16 lower-case letters and digits")
