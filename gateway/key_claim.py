"""The Idempotency-Key of a request at work, whose claim and answer are part of the work's own statements.

Owns: when a key is claimed (with the first write, or by itself before it) and which answer is stored with
the last one. Must not know: HTTP beyond a status, headers and bytes, what the work is.

A statement that is the first to write takes `claim_fields()` among its parameters: it claims the key and has
no other effect where the key is in use. A path that writes in another way calls `ensure` before it. Whoever
finds the key in use raises KeyInUseError: the request's edge then looks the key up and answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from gateway import idempotency_repository as store
from gateway.database import Pool
from gateway.errors import GatewayError


class KeyInUseError(GatewayError):
    """The key was claimed before, by this request or another one: nothing was written.

    `outcome` is what was found of it; None where the statement only says that it is in use.
    """

    def __init__(self, outcome: store.ClaimOutcome | None = None) -> None:
        super().__init__("the Idempotency-Key is in use")
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """An answer as it is stored with its key; `sent` is what the caller gets, in the edge's own form."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: Any


_UNCLAIMED: Mapping[str, Any] = {
    "key": None,
    "key_party_id": None,
    "key_request_hash": None,
    "key_resource_id": None,
    "key_locked_until": None,
    "key_created_at": None,
}
_UNANSWERED: Mapping[str, Any] = {
    "key": None,
    "key_party_id": None,
    "key_status": None,
    "key_headers": None,
    "key_body": None,
}


class KeyClaim:
    """One key, until it is answered. Without `wanted` there is no key: nothing is claimed or stored."""

    def __init__(
        self,
        wanted: store.Claim | None = None,
        *,
        render: Callable[[Any], KeptAnswer | None] | None = None,
        wall_now: Callable[[], datetime] | None = None,
    ) -> None:
        """`render` makes the answer of what the work came to; None: that answer is not kept.

        The lock begins by `wall_now` when the key is claimed; without it, as `wanted` says.
        """
        self.wanted = wanted
        self._wall_now = wall_now
        self.render = render
        self.claimed = wanted is None
        self.kept: KeptAnswer | None = None
        self._pending: KeptAnswer | None = None

    @property
    def resource_id(self) -> UUID:
        """The id of what the request creates: a repeat finds the same. Raises ValueError without a key."""
        if self.wanted is None:
            raise ValueError("there is no key")
        return self.wanted.resource_id

    def take(self, claimed: store.ClaimedKey) -> None:
        """The key is this request's, with what an earlier holder has left."""
        if self.wanted is not None:
            self.wanted = replace(self.wanted, name=claimed.name, resource_id=claimed.resource_id)
        self.claimed = True

    async def ensure(self, pool: Pool) -> None:
        """Claim the key now, unless it is. Raises KeyInUseError."""
        if self.claimed or self.wanted is None:
            return
        async with pool.acquire() as connection:
            outcome = await store.claim(connection, self.now_wanted())
        if not isinstance(outcome, store.ClaimedKey):
            raise KeyInUseError(outcome)
        mine = outcome.resource_id == self.wanted.resource_id
        self.take(outcome)
        if not mine:  # the work goes on with the earlier holder's resource
            raise KeyInUseError(outcome)

    def now_wanted(self) -> store.Claim:
        """The claim as it is made now. Raises ValueError without a key."""
        if self.wanted is None:
            raise ValueError("there is no key")
        if self._wall_now is not None and not self.claimed:
            now = self._wall_now()
            lock = self.wanted.locked_until - self.wanted.now
            self.wanted = replace(self.wanted, now=now, locked_until=now + lock)
        return self.wanted

    def rides_in(self, shard: int) -> bool:
        """Whether a statement on that shard can claim the key, or has none to claim."""
        return self.claimed or (self.wanted is not None and self.wanted.name.shard == shard)

    def claim_fields(self) -> Mapping[str, Any]:
        """The parameters of a statement that claims the key with its own writes; none to claim: all NULL."""
        if self.claimed or self.wanted is None:
            return _UNCLAIMED
        wanted = self.now_wanted()
        return {
            "key": wanted.name.key,
            "key_party_id": wanted.name.party_id,
            "key_request_hash": wanted.request_hash,
            "key_resource_id": wanted.resource_id,
            "key_locked_until": wanted.locked_until,
            "key_created_at": wanted.now,
        }

    def written(self, *, claimed: bool) -> None:
        """What the statement has returned. Raises KeyInUseError where it could not claim the key."""
        if not claimed:
            raise KeyInUseError
        self.claimed = True

    def answer_fields(self, outcome: Any, *, shard: int) -> Mapping[str, Any]:
        """The parameters of a statement that stores the answer with the outcome; not stored: all NULL."""
        wanted = self.wanted
        if wanted is None or not self.claimed or self.render is None or wanted.name.shard != shard:
            return _UNANSWERED
        self._pending = self.render(outcome)
        if self._pending is None:
            return _UNANSWERED
        return {
            "key": wanted.name.key,
            "key_party_id": wanted.name.party_id,
            "key_status": self._pending.status,
            "key_headers": dict(self._pending.headers),
            "key_body": self._pending.body,
        }

    def answered(self, *, kept: bool) -> None:
        """Whether the statement has stored the answer: then it is what the request is answered with."""
        self.kept = self._pending if kept else None


UNKEYED = KeyClaim()
