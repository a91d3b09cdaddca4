"""Who calls, remembered for a moment: most requests of a peer follow each other closely.

Owns: how long a peer is remembered. Must not know: tokens in the clear. A handshake in this process forgets
all at once; in other processes an ended token lives on for at most the lifetime here.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.ocpi.repository.peers import PeerRecord

LIFETIME_S: Final = 2.0
_MAX_PEERS: Final = 4096


@dataclass(slots=True, kw_only=True)
class PeerCache:
    """Registered peers by the hash of their token. Unknown tokens are never remembered."""

    lifetime_s: float = LIFETIME_S
    _known: dict[bytes, tuple[float, PeerRecord]] = field(default_factory=dict)

    def find(self, token_hashes: Sequence[bytes]) -> PeerRecord | None:
        """The peer that one of the hashes belongs to, if it was seen within the lifetime."""
        now = time.monotonic()
        for token_hash in token_hashes:
            known = self._known.get(token_hash)
            if known is not None and now < known[0]:
                return known[1]
        return None

    def recognizes(self, token_hashes: Sequence[bytes]) -> bool:
        """Whether one of the hashes was a registered peer's when this process last saw it."""
        return any(token_hash in self._known for token_hash in token_hashes)

    def remember(self, peer: PeerRecord) -> None:
        """Remember a peer as it was just read."""
        if len(self._known) >= _MAX_PEERS:
            self._known.clear()
        self._known[peer.token_hash] = (time.monotonic() + self.lifetime_s, peer)

    def forget(self) -> None:
        """Forget all: a handshake has changed something."""
        self._known.clear()
