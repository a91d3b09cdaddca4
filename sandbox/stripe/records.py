"""Objects by id, newest first, in memory above SQLite: one transaction a request, safe from kill -9.

Owns: the write-behind overlay (nothing is seen or stored until commit), the lookups, the bounded cache. A
stored body is never changed in place: edit a copy and put it. Must not know: what the objects mean.
"""

import sqlite3
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from sandbox.stripe.problems import Json
from sandbox.stripe.settings import SettingsError

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS objects (
    seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, account TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL
)
"""
ANY_TIME: Final = (-(2**62), 2**62)
BULKY: Final = frozenset({"event", "idempotency"})  # most of the file; read only in part at the start


class Glance(msgspec.Struct):
    """What the lookups need of a bulky object."""

    created: int = 0
    type: str | None = None


_glance = msgspec.json.Decoder(Glance).decode
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class PspObject:
    """One stored object: its place in creation order, kind, owning account and body."""

    seq: int
    kind: str
    account: str
    id: str
    body: Json


def _opened(path: Path | None) -> sqlite3.Connection:
    """The database, ours alone while the process lives. Raises SettingsError if it cannot be used."""
    try:
        database = sqlite3.connect(
            path or ":memory:", timeout=2, isolation_level=None, check_same_thread=False
        )
        # The operating system's page cache outlives the process; a power cut is out of scope here.
        for pragma in (
            "locking_mode=EXCLUSIVE",
            "journal_mode=WAL",
            "synchronous=OFF",
            "wal_autocheckpoint=8000",
        ):
            database.execute(f"PRAGMA {pragma}").fetchall()
        database.execute(SCHEMA)
    except sqlite3.Error as error:
        raise SettingsError(
            f"state_path: cannot use {path}: {error}; name a writable file that nobody else uses"
        ) from None
    return database


class Records:
    """All objects of the sandbox. `lookups` names, per kind, the fields that can be found by value."""

    def __init__(
        self, *, path: Path | None, lookups: Mapping[str, Sequence[str]], cache_records: int
    ) -> None:
        self._lookups = lookups
        self._limit = cache_records
        self._cache: OrderedDict[int, PspObject] = OrderedDict()
        self._seq_of: dict[str, int] = {}
        self._index: dict[tuple[str, ...], list[int]] = {}
        self._times: dict[tuple[str, str], array[int]] = {}
        self._staged: dict[str, PspObject | None] = {}
        self._next_seq = 1
        self._db = _opened(path)

    def load(self, visit: Callable[[PspObject], None]) -> None:
        """Load the file, in creation order, showing each object to `visit`."""
        for row in self._db.execute("SELECT seq, kind, account, id, body FROM objects ORDER BY seq"):
            bulky = row[1] in BULKY
            body = msgspec.structs.asdict(_glance(row[4])) if bulky else _decode(row[4])
            record = PspObject(row[0], row[1], row[2], row[3], body)
            self._admit(record, None, remember=not bulky)
            self._next_seq = record.seq + 1
            visit(record)

    @property
    def next_seq(self) -> int:
        """The number of the next object; it only grows."""
        return self._next_seq

    def find(self, object_id: str) -> PspObject | None:
        """The object as this transaction sees it, whatever its kind or account."""
        if object_id in self._staged:
            return self._staged[object_id]
        seq = self._seq_of.get(object_id)
        return None if seq is None else self._read(seq)

    def _read(self, seq: int) -> PspObject | None:
        record = self._cache.get(seq)
        if record is not None:
            return record
        row = self._db.execute("SELECT kind, account, id, body FROM objects WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            return None
        record = PspObject(seq, row[0], row[1], row[2], _decode(row[3]))
        self._remember(record)
        return record

    def put(self, kind: str, account: str, object_id: str, body: Json) -> None:
        """Stage a new or changed object; it takes effect with `commit`."""
        known = self.find(object_id)
        if known is None:
            seq = self._next_seq
            self._next_seq += 1
        else:
            seq = known.seq
        self._staged[object_id] = PspObject(seq, kind, account, object_id, body)

    def remove(self, object_id: str) -> None:
        """Stage the end of an object."""
        self._staged[object_id] = None

    def commit(self) -> None:
        """Store what was staged in one transaction, then show it."""
        if not self._staged:
            return
        written = [
            (record.seq, record.kind, record.account, record.id, _encode(record.body))
            for record in self._staged.values()
            if record is not None
        ]
        removed = [
            (self._seq_of[key],)
            for key, record in self._staged.items()
            if record is None and key in self._seq_of
        ]
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", written)
        if removed:
            self._db.executemany("DELETE FROM objects WHERE seq = ?", removed)
        self._db.execute("COMMIT")
        for key, record in self._staged.items():
            self._publish(key, record)
        self._staged = {}

    def rollback(self) -> None:
        """Forget what was staged."""
        self._staged = {}

    def _publish(self, key: str, record: PspObject | None) -> None:
        seq = self._seq_of.get(key)
        before = self._read_cached(seq)
        if record is not None:
            self._admit(record, before)
        elif seq is not None:
            del self._seq_of[key]
            self._cache.pop(seq, None)

    def _read_cached(self, seq: int | None) -> PspObject | None:
        return None if seq is None else self._cache.get(seq)

    def _admit(self, record: PspObject, before: PspObject | None, *, remember: bool = True) -> None:
        new = record.id not in self._seq_of
        if new:
            self._seq_of[record.id] = record.seq
            key = (record.kind, record.account)
            self._index.setdefault(key, []).append(record.seq)
            self._times.setdefault(key, array("q")).append(record.body.get("created", 0))
        if remember:
            self._remember(record)
        for field in self._lookups.get(record.kind, ()):
            value = record.body.get(field)
            if before is not None and before.body.get(field) == value:
                continue
            pairs = value.items() if isinstance(value, dict) else ((None, value),)
            for name, found in pairs:
                if isinstance(found, str):
                    self._note(record, field if name is None else f"{field}.{name}", found)

    def _note(self, record: PspObject, field: str, value: str) -> None:
        places = self._index.setdefault((record.kind, record.account, field, value), [])
        at = bisect_left(places, record.seq)
        if at == len(places) or places[at] != record.seq:
            places.insert(at, record.seq)

    def _remember(self, record: PspObject) -> None:
        self._cache[record.seq] = record
        self._cache.move_to_end(record.seq)
        while len(self._cache) > self._limit:
            self._cache.popitem(last=False)

    def scan(
        self,
        kind: str,
        account: str,
        *,
        field: str | None = None,
        values: Sequence[str] = (),
        before: str | None = None,
        after: str | None = None,
        created: tuple[int, int] = ANY_TIME,
        oldest_first: bool = False,
    ) -> Iterator[Json]:
        """Committed bodies of one kind and account, newest first.

        `field` and `values` narrow by a lookup (a value that was since changed may still come: check it).
        `before` starts below that object (older), `after` above it (newer); `created` is an inclusive range.
        """
        places, times = self._places(kind, account, field, values)
        low = 0 if after is None else bisect_left(places, self._seq_of[after] + 1)
        high = len(places) if before is None else bisect_left(places, self._seq_of[before])
        earliest, latest = created
        for at in range(low, high) if oldest_first else range(high - 1, low - 1, -1):
            if times is not None and not earliest <= times[at] <= latest:
                continue  # passed over without reading it
            record = self._read(places[at])
            if record is not None and earliest <= record.body.get("created", 0) <= latest:
                yield record.body

    def _places(
        self, kind: str, account: str, field: str | None, values: Sequence[str]
    ) -> tuple[Sequence[int], Sequence[int] | None]:
        """Where each is stored, oldest first, and when each was created, if known without reading."""
        if field is None or not values:
            return self._index.get((kind, account), []), self._times.get((kind, account), array("q"))
        lists = [self._index.get((kind, account, field, value), []) for value in values]
        return (lists[0] if len(lists) == 1 else sorted(set().union(*lists))), None

    def close(self) -> None:
        """Close the file; what was committed is in it."""
        self._db.close()
