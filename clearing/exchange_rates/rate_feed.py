"""The feed of published rates: how its last fetch ended, and which sessions wait for a rate.

Owns: these values. Must not know: when a feed is fetched, how it is stored.
"""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RateFetch:
    """How a fetch ended: failures in a row, and what a person should know (empty: nothing)."""

    problem: str
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSession:
    """A session whose clearing stopped because a rate was missing."""

    shard: int
    session_id: UUID
