"""Who acts now: a value that a request, a command or a migration sets once, for every transaction within it.

Owns: that value, and that each transaction within it hands it to the database and leaves at least one act if
it wrote anything. Must not know which operations are administrative, or how acts are read.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

import asyncpg

from gateway.acts import repository
from gateway.database import UNIT_OF_WORK, Connection, UnitOfWork, encode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who does what. `operation` is the API's, a command or a migration; `path` holds nothing personal.

    `principal` None: nobody is named, as in a change by hand.
    """

    operation: str
    principal: str | None = None
    key_prefix: str | None = None
    party_id: str | None = None
    scope: str | None = None
    request_id: str | None = None
    path: str | None = None
    reason: str | None = None

    async def begin(self, connection: Connection) -> None:
        """Name the act to the triggers of this transaction."""
        await repository.set_act(connection, encode_json(asdict(self)))

    async def end(self, connection: Connection) -> None:
        """Record the operation itself where the transaction wrote something that no trigger has recorded."""
        with suppress(asyncpg.ReadOnlySQLTransactionError):  # nothing was written, and nothing can be
            await repository.record_operation(connection)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAct:
    """What a program does by itself, such as a job: what it changes in watched tables names it, nothing else.

    `name` is the job's; the principal of its acts is `job:` with that name.
    """

    name: str

    async def begin(self, connection: Connection) -> None:
        """Name the job to the triggers of this transaction."""
        act = Act(operation=f"job {self.name}", principal=f"job:{self.name}")
        await repository.set_act(connection, encode_json(asdict(act)))

    async def end(self, connection: Connection) -> None:
        """Record nothing: a job's round is no administrative act by itself."""


@contextmanager
def acting(act: UnitOfWork) -> Iterator[None]:
    """Make every transaction within the block one of this act."""
    token = UNIT_OF_WORK.set(act)
    try:
        yield
    finally:
        UNIT_OF_WORK.reset(token)
