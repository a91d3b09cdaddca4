"""Who acts now: a value that a request, a command or a migration sets once, for every transaction within it.

Owns: that value, and that each transaction within it hands it to the database and leaves at least one act if
it wrote anything. Must not know which operations are administrative, or how acts are read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from gateway.acts import repository
from gateway.database import UNIT_OF_WORK, Connection, UnitOfWork, encode_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who does what. `operation` is the API's, a command or a migration; `path` holds nothing personal.

    `principal` None: nobody is named, as in a program's own start.
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
        await repository.record_operation(connection)


@contextmanager
def acting(act: UnitOfWork) -> Iterator[None]:
    """Make every transaction within the block one of this act."""
    token = UNIT_OF_WORK.set(act)
    try:
        yield
    finally:
        UNIT_OF_WORK.reset(token)
