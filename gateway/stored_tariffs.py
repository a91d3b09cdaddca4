"""Frozen tariffs by hash, read from the database once and kept by the process.

Owns: this one statement and how many are kept. Must not know: what a tariff says. A tariff is named by the
hash of its text and is never changed, so what is kept holds for good.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.database import Connection, FromRow, named_queries

_QUERIES: Final[Any] = named_queries("gateway", "stored_tariffs.sql")
_MOST: Final = 500
_LARGEST_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTariff(FromRow):
    """A frozen tariff: its hash, its text and the OCPI version that it is written in."""

    sha256: str
    canonical: bytes
    version: str


@dataclass(slots=True)
class StoredTariffs:
    """The tariffs used last; a large one is read each time."""

    _kept: OrderedDict[str, StoredTariff] = field(default_factory=OrderedDict)

    async def load(self, connection: Connection, hashes: Iterable[str]) -> Mapping[str, StoredTariff]:
        """The tariffs of these hashes, by hash."""
        asked = set(hashes)
        found = {sha256: self._kept[sha256] for sha256 in asked & self._kept.keys()}
        missing = sorted(asked - found.keys())
        if missing:
            async for row in _QUERIES.tariffs(connection, hashes=missing):
                tariff = StoredTariff.from_row(row)
                found[tariff.sha256] = tariff
        for sha256, tariff in found.items():
            self._keep(sha256, tariff)
        return found

    def _keep(self, sha256: str, tariff: StoredTariff) -> None:
        if len(tariff.canonical) > _LARGEST_BYTES:
            return
        self._kept[sha256] = tariff
        self._kept.move_to_end(sha256)
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
