"""Identifiers: UUIDv7 inside, a readable prefix and base32 at the edge; and the shard they carry.

Owns the id's text form and the shard rule. Must not know which tables exist.

Text form: `ses_01jd2w3x4y5z6a7b8c9d0e1f2g`: prefix, underscore, the 128 bits in 26 characters of Crockford's
base32, lower case, most significant first, so that ids sort by time as text too. This is the one form that we
write: no upper case, no look-alikes. Where an id is asked for, the bare UUID is read as well.
Sources: RFC 9562 section 5.7 (UUIDv7); Crockford, "Base 32".
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from clearing.identifiers import ALPHABET, BODY_LENGTH, check_prefix, format_id
from gateway.errors import MalformedIdError

__all__ = [
    "ALL_SHARDS",
    "SHARD_COUNT",
    "every_shard",
    "first_id_at",
    "format_id",
    "ids_from",
    "in_shard",
    "new_id",
    "parse_id",
    "shard_of",
]

SHARD_COUNT: Final = 64
ALL_SHARDS: Final = tuple(range(SHARD_COUNT))
_SHARD_MASK: Final = SHARD_COUNT - 1
_VALUE_OF: Final = {character: value for value, character in enumerate(ALPHABET)}
_BITS_PER_CHARACTER: Final = 5
_TIME_SHIFT: Final = 80
_MAX_UUID: Final = (1 << 128) - 1
_BARE: Final = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_source: ContextVar[Callable[[], UUID] | None] = ContextVar("id_source", default=None)


@contextmanager
def ids_from(source: Callable[[], UUID]) -> Iterator[None]:
    """Take new ids from `source` in the block and in tasks that it starts: a simulation repeats itself."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def new_id(*, shard: int | None = None) -> UUID:
    """Return a new UUIDv7.

    Args:
        shard: 0 to 63 makes the id carry that shard (for rows that belong to a session); None leaves it
        random.

    Raises:
        ValueError: `shard` is outside 0 to 63.
    """
    source = _source.get()
    fresh = uuid7() if source is None else source()
    return fresh if shard is None else in_shard(fresh, shard)


def first_id_at(instant: datetime) -> UUID:
    """Return the smallest UUIDv7 of an instant, to the millisecond (RFC 9562 section 5.7)."""
    return UUID(int=int(instant.timestamp() * 1000) << _TIME_SHIFT)


def shard_of(identifier: UUID) -> int:
    """Return the shard, 0 to 63, that an id carries: the low six bits of its last byte."""
    return identifier.int & _SHARD_MASK


def every_shard() -> Sequence[int]:
    """All shards: what a process that leases none looks through."""
    return ALL_SHARDS


def in_shard(identifier: UUID, shard: int) -> UUID:
    """Return the id with its shard replaced: what belongs to a session lies in the session's shard.

    Raises:
        ValueError: `shard` is outside 0 to 63.
    """
    if not 0 <= shard < SHARD_COUNT:
        raise ValueError(f"shard {shard} is outside 0 to {_SHARD_MASK}")
    return UUID(int=identifier.int & ~_SHARD_MASK | shard)


def parse_id(prefix: str, text: str) -> UUID:
    """Return the id that `text` names: the inverse of `format_id`, or a bare UUID (RFC 9562 section 4).

    Raises:
        MalformedIdError: another prefix or length, a character outside the alphabet, or over 128 bits.
        ValueError: `prefix` itself is not a prefix.
    """
    check_prefix(prefix)
    if _BARE.fullmatch(text):
        return UUID(text)
    body = text[len(prefix) + 1 :]
    value = 0
    if text.startswith(f"{prefix}_") and len(body) == BODY_LENGTH:
        for character in body:
            digit = _VALUE_OF.get(character)
            if digit is None:
                break
            value = value << _BITS_PER_CHARACTER | digit
        else:
            if value <= _MAX_UUID:
                return UUID(int=value)
    raise MalformedIdError(
        text=text,
        expected=f"an id of the form {prefix}_ and {BODY_LENGTH} lower-case base32 characters, or a UUID",
    )
