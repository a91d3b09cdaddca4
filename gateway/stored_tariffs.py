"""Frozen tariffs by hash, read from the database once and kept by the process.

Owns: this one statement and how many are kept, the least recently used removed first. Must not know: what a
tariff says. A tariff is named by the hash of its text and is never changed, so what is kept holds for good.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.database import Connection, FromRow, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "stored_tariffs.sql")
_LARGEST_BYTES: Final = 65_536  # 1,000 of them are 64 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTariff(FromRow):
    """A frozen tariff: its hash, its canonical JSON, the OCPI version that it is written in, its currency."""

    sha256: str
    canonical: bytes
    version: str
    currency: str


@dataclass(slots=True, kw_only=True)
class StoredTariffs:
    """The `most` tariffs used last; a large one is read each time."""

    most: int = 500
    _kept: OrderedDict[str, StoredTariff] = field(default_factory=OrderedDict)

    def known(self, sha256: str) -> StoredTariff | None:
        """The tariff of a hash if it is kept."""
        found = self._kept.get(sha256)
        if found is not None:
            self._kept.move_to_end(sha256)
        return found

    async def load(self, connection: Connection, hashes: Iterable[str]) -> Mapping[str, StoredTariff]:
        """The tariffs of these hashes, by hash."""
        asked = set(hashes)
        found = {one.sha256: one for one in map(self.known, asked) if one is not None}
        missing = sorted(asked - found.keys())
        if missing:
            async for row in _QUERIES.tariffs(connection, hashes=missing):
                tariff = StoredTariff.from_row(row)
                found[tariff.sha256] = tariff
                self.keep(tariff)
        return found

    async def find(self, connection: Connection, sha256: str) -> StoredTariff | None:
        """The tariff of a hash; None if none is stored."""
        return (await self.load(connection, [sha256])).get(sha256)

    def keep(self, tariff: StoredTariff) -> None:
        """Remember a tariff that is stored."""
        if len(tariff.canonical) > _LARGEST_BYTES:
            return
        self._kept[tariff.sha256] = tariff
        self._kept.move_to_end(tariff.sha256)
        if len(self._kept) > self.most:
            self._kept.popitem(last=False)
