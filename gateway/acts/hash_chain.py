"""The hash chain over administrative acts.

Owns: the bytes that an act is hashed as, and the chain: SHA-256 over the previous hash and those bytes. Must
not know the database. Pure.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

FIRST: Final = bytes(32)  # what the first act's hash covers in place of a previous one
_DOMAIN: Final = b"networkcore administrative act 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealableAct:
    """An act with every column, as it is hashed; `before` and `after` are JSON texts of the database."""

    id: int
    acted_at: datetime
    texts: Sequence[str | None]
    before: str | None
    after: str | None


def hash_of(act: SealableAct, *, previous: bytes) -> bytes:
    """The hash of an act in the chain, 32 bytes."""
    at = act.acted_at.astimezone(UTC).isoformat(timespec="microseconds")
    content = json.dumps(
        [act.id, at, *act.texts, act.before, act.after], ensure_ascii=True, separators=(",", ":")
    )
    return sha256(_DOMAIN + previous + content.encode()).digest()


def chained(acts: Iterable[SealableAct], *, previous: bytes) -> list[bytes]:
    """The hash of each act in turn, the first over `previous`."""
    hashes = []
    for act in acts:
        previous = hash_of(act, previous=previous)
        hashes.append(previous)
    return hashes
