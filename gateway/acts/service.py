"""The record of administrative acts: read, sealed into its hash chain, and verified.

Owns: the transactions in which it is read and sealed, and what a verification says. Must not know who may
read it, or how an act is written.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from gateway.acts import repository
from gateway.acts.act import Act
from gateway.acts.hash_chain import FIRST, chained, hash_of
from gateway.acts.repository import ActFilter, ActRecord
from gateway.database import Connection, Pool, transaction

SEALED_AT_ONCE: Final = 1000
_VERIFIED_AT_ONCE: Final = 5000
_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ActVerification:
    """What became of the chain: `broken` names the acts that differ from their seal or are gone.

    `unsealed` acts are recorded and not in the chain yet, the oldest since `unsealed_since`.
    """

    sealed: int
    broken: Sequence[int]
    unsealed: int
    unsealed_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActService:
    """Reads the record; writes what is read of persons into it."""

    pool: Pool

    async def list_acts(self, wanted: ActFilter, *, before: int | None, limit: int) -> Sequence[ActRecord]:
        """Acts, the newest first, those older than the act `before`."""
        async with self.pool.acquire() as connection:
            return await repository.list_acts(connection, wanted, before=before, limit=limit)

    async def record_reading(self, act: Act) -> None:
        """Record that personal data were read; an act like any other."""
        async with transaction(self.pool) as connection:
            await record_reading(connection, act)


async def record_reading(connection: Connection, act: Act) -> None:
    """Record in the caller's transaction that personal data were read."""
    reading = {name: value for name, value in asdict(act).items() if name != "reason"}
    await repository.record_reading(connection, reading)


async def seal_acts(connection: Connection) -> int:
    """Continue the chain over the acts that are committed and not sealed yet; how many, in a transaction."""
    await repository.lock_seals(connection)
    position, previous = await repository.find_last_seal(connection) or (0, FIRST)
    acts = await repository.list_unsealed(connection, limit=SEALED_AT_ONCE)
    hashes = chained(acts, previous=previous)
    seals = [(act.id, digest) for act, digest in zip(acts, hashes, strict=True)]
    if seals:
        await repository.add_seals(connection, after=position, seals=seals)
    return len(seals)


async def verify_acts(connection: Connection) -> ActVerification:
    """Compute the chain again from the acts as they are stored now."""
    previous, position, broken = FIRST, 0, list[int]()
    while page := await repository.list_sealed(connection, after=position, limit=_VERIFIED_AT_ONCE):
        for seal in page:
            position += 1
            whole = seal.act is not None and seal.position == position
            if not whole or seal.act is None or hash_of(seal.act, previous=previous) != seal.hash:
                broken.append(seal.act_id)
            previous, position = seal.hash, seal.position
    unsealed, since = await repository.count_unsealed(connection)
    return ActVerification(sealed=position, broken=broken[:_SHOWN], unsealed=unsealed, unsealed_since=since)
