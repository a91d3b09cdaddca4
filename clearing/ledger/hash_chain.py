"""The hash chain: what a transfer, an entry and a batch hash to, and the proof that an entry is in a batch.

Owns: the canonical lines, blinding, the Merkle tree, the chain. Must not know: the repository, what the lines
mean.

A transfer's line is hashed with a blind of 16 bytes; an entry's hash covers its header and its transfers'
hashes; a batch's root is the Merkle tree over its entries' hashes in order; a batch's hash covers the
previous one. A party that is shown its own lines with their blinds, the bare hashes of the rest and the path
to the root can prove its part; it can't guess another party's amounts, since each line has a blind of its
own.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256, shake_256
from typing import Any, Final
from uuid import UUID

from clearing.ledger.journal_entry import Transfer

GENESIS: Final = bytes(32)
BLIND_BYTES: Final = 16
# One leading byte per kind of hash, so that no value of one kind can pass for another (RFC 6962 section 2.1).
_ENTRY: Final = b"\x00"
_NODE: Final = b"\x01"
_TRANSFER: Final = b"\x02"
_BATCH: Final = b"\x03"
# No account, kind or currency contains it.
_SEPARATOR: Final = "\x1f"


def blinds(key: bytes, *, subject_id: UUID, kind: str, reference: str, count: int) -> list[bytes]:
    """`count` blinds of one entry, derived from the batch's key (SHAKE-256)."""
    material = key + subject_id.bytes + f"{kind}{_SEPARATOR}{reference}".encode()
    stream = shake_256(material).digest(BLIND_BYTES * count)
    return [stream[start : start + BLIND_BYTES] for start in range(0, len(stream), BLIND_BYTES)]


def transfer_hash(transfer: Transfer, *, blind: bytes) -> bytes:
    """The hash of one line: debit, credit, amount, currency."""
    line = f"{transfer[0]}{_SEPARATOR}{transfer[1]}{_SEPARATOR}{transfer[2]}{_SEPARATOR}{transfer[3]}"
    return sha256(_TRANSFER + blind + line.encode()).digest()


def entry_header(
    *, subject_id: UUID, kind: str, reference: str, tariff_sha256: str, cdr_id: str, legs_sha256: str
) -> bytes:
    """What an entry is about and linked to; `legs_sha256` is of the JSON of its supplies, as stored."""
    return _SEPARATOR.join((subject_id.hex, kind, reference, tariff_sha256, cdr_id, legs_sha256)).encode()


def hash_entry(header: bytes, transfers: Sequence[Transfer], blinded_by: Sequence[bytes]) -> bytes:
    """The hash of an entry over its header and its transfers in order, each with its blind."""
    # As `transfer_hash`, without a call for each line: ten are hashed for every session.
    lines = [
        sha256(
            _TRANSFER
            + blind
            + f"{debit}{_SEPARATOR}{credit}{_SEPARATOR}{minor}{_SEPARATOR}{currency}".encode()
        ).digest()
        for (debit, credit, minor, currency), blind in zip(transfers, blinded_by, strict=True)
    ]
    return seal_entry(header, lines)


def seal_entry(header: bytes, transfer_hashes: Sequence[bytes]) -> bytes:
    """The hash of an entry from its header and the hashes of its transfers in order."""
    return sha256(_ENTRY + sha256(header).digest() + b"".join(transfer_hashes)).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over entry hashes; an odd node is carried up unchanged (RFC 6962 gives the same tree)."""
    if not leaves:
        return GENESIS
    return merkle_levels(leaves)[-1][0]


def merkle_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The tree from its leaves up to its root."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        levels.append(_parents(levels[-1]))
    return levels


def merkle_path(levels: Sequence[Sequence[bytes]], place: int) -> list[tuple[str, bytes]]:
    """The siblings from leaf `place` up to the root, each with its side ("left" or "right")."""
    path: list[tuple[str, bytes]] = []
    here = place
    for level in levels[:-1]:
        sibling = here ^ 1
        if sibling < len(level):
            path.append(("left" if sibling < here else "right", level[sibling]))
        here //= 2
    return path


def root_from_path(leaf: bytes, path: Sequence[tuple[str, bytes]]) -> bytes:
    """The root that `leaf` leads to along `path`; equal to the batch's root only if the leaf is in it."""
    node = leaf
    for side, sibling in path:
        node = _node(sibling, node) if side == "left" else _node(node, sibling)
    return node


def root_of_shown_entry(entry: Mapping[str, Any], transfer_hashes: Sequence[bytes]) -> bytes:
    """The root that an entry leads to: its header and its path as a statement or a trace shows them."""
    header = entry_header(
        subject_id=UUID(entry["subject_id"]),
        kind=entry["kind"],
        reference=entry["reference"],
        tariff_sha256=entry["tariff_sha256"],
        cdr_id=entry["cdr_id"],
        legs_sha256=entry["legs_sha256"],
    )
    path = [(side, bytes.fromhex(sibling)) for side, sibling in entry["path"]]
    return root_from_path(seal_entry(header, transfer_hashes), path)


def batch_hash(*, previous: bytes, root: bytes, chain: int, position: int, booked_at: datetime) -> bytes:
    """The hash that the next batch builds on."""
    instant = booked_at.astimezone(UTC).isoformat(timespec="microseconds")
    return sha256(
        _BATCH + previous + root + f"{chain}{_SEPARATOR}{position}{_SEPARATOR}{instant}".encode()
    ).digest()


def _parents(level: list[bytes]) -> list[bytes]:
    pairs = [_node(level[place], level[place + 1]) for place in range(0, len(level) - 1, 2)]
    return [*pairs, level[-1]] if len(level) % 2 else pairs


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(_NODE + left + right).digest()
