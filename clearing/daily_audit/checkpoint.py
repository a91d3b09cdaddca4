"""The sealed checkpoint: up to where everything was proved, its figures, and the digest that seals them.

Owns: the content, its bytes, the chained digest, and which older rows are proved again in which run. Must not
know: how a checkpoint is stored, what proves a row.

A digest covers the content, the sequence, the instant and the digest before: a changed checkpoint does not
match its own digest, one that was sealed anew does not match the next, or the digest that was printed and
kept elsewhere. Run number `s` proves the older rows of share `s % shares` again, so each in `shares` runs.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, Self

from clearing.daily_audit.figures import LedgerFigures
from clearing.ledger.hash_chain import GENESIS

MAX_SHARES: Final = 366
DEFAULT_SHARES: Final = 64
_CHECKPOINT: Final = b"\x06"  # as the kinds of clearing/ledger/hash_chain.py
_DOCUMENT_BLOCK: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPosition:
    """Up to which batch a chain was proved, that batch's hash, and up to which its drivers' documents were.

    `undocumented` are positions up to `documented` whose documents were still pending.
    """

    position: int = 0
    hash: bytes = GENESIS
    documented: int = 0
    undocumented: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """The last batch of a chain, and up to which batch the last checkpoint proved it; None: up to none."""

    chain: int
    position: int
    hash: bytes
    booked_at: datetime
    proved: ChainPosition | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointContent:
    """What a checkpoint seals. `series` are the next numbers of documents, by issuer and series.

    `shares` is in how many runs everything older is proved again; `caller` is the figures of who asked.
    """

    chains: Mapping[int, ChainPosition] = field(default_factory=dict)
    series: Mapping[tuple[str, str], int] = field(default_factory=dict)
    figures: LedgerFigures = field(default_factory=LedgerFigures)
    shares: int
    caller: Mapping[str, Any] = field(default_factory=dict)

    def to_text(self) -> str:
        """The bytes that are stored and sealed."""
        chains = {
            str(chain): [found.position, found.hash.hex(), found.documented, list(found.undocumented)]
            for chain, found in sorted(self.chains.items())
        }
        series = [[issuer, name, number] for (issuer, name), number in sorted(self.series.items())]
        return json.dumps(
            {
                "chains": chains,
                "series": series,
                "figures": self.figures.as_json(),
                "shares": self.shares,
                "caller": self.caller,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of `to_text`."""
        found = json.loads(text)
        return cls(
            chains={
                int(chain): ChainPosition(
                    position=position,
                    hash=bytes.fromhex(hashed),
                    documented=documented,
                    undocumented=tuple(undocumented),
                )
                for chain, (position, hashed, documented, undocumented) in found["chains"].items()
            },
            series={(issuer, name): number for issuer, name, number in found["series"]},
            figures=LedgerFigures.from_json(found["figures"]),
            shares=found["shares"],
            caller=found["caller"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedCheckpoint:
    """A checkpoint as stored: `hash` seals the digest of its content and the checkpoint before."""

    sequence: int
    sealed_at: datetime
    shares: int
    content_sha256: bytes
    previous_hash: bytes
    hash: bytes


def seal(
    content: str, *, sequence: int, sealed_at: datetime, shares: int, previous_hash: bytes
) -> SealedCheckpoint:
    """Seal a content as checkpoint `sequence` after the one whose hash is `previous_hash`."""
    digest = sha256(content.encode()).digest()
    return SealedCheckpoint(
        sequence=sequence,
        sealed_at=sealed_at,
        shares=shares,
        content_sha256=digest,
        previous_hash=previous_hash,
        hash=_hash(digest, sequence, sealed_at, shares, previous_hash),
    )


def broken_links(checkpoints: Sequence[SealedCheckpoint]) -> list[tuple[int, str]]:
    """What is wrong with the chain of all checkpoints in order: sequence and detail of each."""
    found: list[tuple[int, str]] = []
    sequence, previous = 0, GENESIS
    for one in checkpoints:
        if one.sequence != sequence + 1:
            found.append((one.sequence, f"checkpoint {sequence + 1} is missing"))
        if one.previous_hash != previous:
            found.append((one.sequence, "does not follow the checkpoint before it"))
        if one.hash != _hash(one.content_sha256, one.sequence, one.sealed_at, one.shares, one.previous_hash):
            found.append((one.sequence, "was changed after it was sealed"))
        sequence, previous = one.sequence, one.hash
    return found


def _hash(content_sha256: bytes, sequence: int, sealed_at: datetime, shares: int, previous: bytes) -> bytes:
    instant = sealed_at.astimezone(UTC).isoformat(timespec="microseconds")
    return sha256(
        _CHECKPOINT + previous + content_sha256 + f"{sequence}\x1f{instant}\x1f{shares}".encode()
    ).digest()


def oldest_proof(checkpoints: Sequence[SealedCheckpoint], *, shares: int) -> datetime | None:
    """No row's last proof is older than this, this run of `shares` included; None: this is the first run.

    The first run proves everything. Once the last `shares` runs had the same number of shares, this one
    included, each older row was proved again in one of them.
    """
    if not checkpoints:
        return None
    again = checkpoints[-(shares - 1) :] if shares > 1 else []
    if len(again) == shares - 1 and again and all(one.shares == shares for one in again):
        return again[0].sealed_at
    return checkpoints[0].sealed_at


@dataclass(frozen=True, slots=True, kw_only=True)
class RecheckShare:
    """Which older rows a run proves again: those whose number leaves `number` when divided by `of`."""

    number: int
    of: int

    def positions(self, last: int) -> range:
        """The positions 1 to `last` of a chain that are in it."""
        return range(self.number or self.of, last + 1, self.of)

    def shards(self, count: int) -> Sequence[int]:
        """The shards 0 to `count` - 1 that are in it; with more shares than shards, none in some runs."""
        return range(self.number, count, self.of)

    def ordinals(self, first: int, last: int) -> Iterator[int]:
        """The numbers `first` to `last`, inclusive, that are in it: days, for example."""
        return (number for number in range(first, last + 1) if number % self.of == self.number)

    def blocks(self, last: int) -> Iterator[tuple[int, int]]:
        """Ranges of documents' numbers up to `last`, each first and last inclusive, of 1,000 at most."""
        for block in range(self.number, last // _DOCUMENT_BLOCK + 1, self.of):
            first = max(1, block * _DOCUMENT_BLOCK)
            end = min(last, (block + 1) * _DOCUMENT_BLOCK - 1)
            if first <= end:
                yield first, end
