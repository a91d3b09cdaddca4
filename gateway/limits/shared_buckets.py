"""Token buckets that the processes of one host count in together: a table in a file that each maps to memory.

Owns: the table's form, its locks, and which bucket is forgotten where a place is full. Must not know what a
bucket limits. Nothing is written to a disk that a crash would need: the file lives as long as its group.

A process that is killed or stopped holds nobody up: its locks end with it, and after some tries a bucket is
counted without the lock, which costs one token at most.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final

from gateway.limits.rate_limit import TOKEN, RateRule

_SALT_BYTES: Final = 32
_HEAD_BYTES: Final = 64  # the salt, and what may come
_PLACES: Final = 8192
_PLACE_SIZE: Final = 8  # buckets of a place: a new one replaces the one that was used longest ago
_BUCKET: Final = struct.Struct("<16sqd")  # digest of rule and key, micro-tokens, when (monotonic seconds)
_PLACE_BYTES: Final = _PLACE_SIZE * _BUCKET.size
_FILE_BYTES: Final = _HEAD_BYTES + _PLACES * _PLACE_BYTES
_TRIES: Final = 50
_FREE: Final = bytes(16)


class SharedBuckets:
    """Buckets in the file at `path`, which `create` has made; `close` it when done.

    Raises:
        OSError: there is no such file.
        ValueError: it is no table of buckets.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._table = mmap.mmap(self._file, _FILE_BYTES)
        except ValueError:
            os.close(self._file)
            raise
        self._salt = self._table[:_SALT_BYTES]

    @staticmethod
    def create(path: Path) -> None:
        """Make an empty table. Its salt decides which keys share a place, so that nobody can pick them."""
        with path.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(os.urandom(_SALT_BYTES))
            file.truncate(_FILE_BYTES)

    def close(self) -> None:
        """Unmap the table."""
        self._table.close()
        os.close(self._file)

    def look(self, key: str, *, rule: RateRule, at: float) -> int:
        """The micro-tokens of a bucket."""
        digest, place = self._find(key, rule)
        with self._locked(place):
            found = self._bucket(digest, place)
        return rule.full if found is None else rule.refilled(found[1], seconds=at - found[2])

    def take(self, key: str, *, rule: RateRule, at: float) -> int:
        """The micro-tokens of a bucket, of which one token is taken where there is one."""
        digest, place = self._find(key, rule)
        with self._locked(place):
            found = self._bucket(digest, place)
            if found is None:
                tokens, offset = rule.full, self._oldest(place)
            else:
                offset, kept, since = found
                tokens, at = rule.refilled(kept, seconds=at - since), max(at, since)
            left = tokens - TOKEN if tokens >= TOKEN else tokens
            _BUCKET.pack_into(self._table, offset, digest, left, at)
        return tokens

    def _find(self, key: str, rule: RateRule) -> tuple[bytes, int]:
        name = f"{rule.name}\0{rule.per_second}\0{rule.burst}\0{key}"
        digest = blake2b(name.encode(), key=self._salt, digest_size=16).digest()
        return digest, int.from_bytes(digest[:4], "little") % _PLACES

    def _bucket(self, digest: bytes, place: int) -> tuple[int, int, float] | None:
        for offset in _offsets(place):
            kept, tokens, since = _BUCKET.unpack_from(self._table, offset)
            if kept == digest:
                return offset, tokens, since
        return None

    def _oldest(self, place: int) -> int:
        """Where a new bucket goes: a free one, or the one that was used longest ago."""

        def used(offset: int) -> float:
            kept, _, since = _BUCKET.unpack_from(self._table, offset)
            return -1.0 if kept == _FREE else float(since)

        return min(_offsets(place), key=used)

    @contextmanager
    def _locked(self, place: int) -> Iterator[None]:
        """Alone at a place. Held for microseconds: who holds it longer was stopped, and is not waited for."""
        start, locked = _HEAD_BYTES + place * _PLACE_BYTES, False
        for _ in range(_TRIES):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, _PLACE_BYTES, start)
            except BlockingIOError:
                os.sched_yield()
            else:
                locked = True
                break
        try:
            yield
        finally:
            if locked:
                fcntl.lockf(self._file, fcntl.LOCK_UN, _PLACE_BYTES, start)


def _offsets(place: int) -> range:
    start = _HEAD_BYTES + place * _PLACE_BYTES
    return range(start, start + _PLACE_BYTES, _BUCKET.size)
