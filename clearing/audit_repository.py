"""What the audit reads: the rows that break a rule, the sums of its equation, and every batch in its order.

Owns: the queries. Must not know: what is concluded from them.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from uuid import UUID

from clearing.connection import Connection, named_queries, rows

_sql = named_queries("audit")
_PAGE: Final = 100


async def find_violations(connection: Connection, check: str) -> list[tuple[str, str]]:
    """What breaks the rule of that name: subject and detail of each, at most 100."""
    found = await rows(getattr(_sql, check)(connection))
    return [(row["subject"], row["detail"]) for row in found]


async def list_captured(connection: Connection) -> list[tuple[str, str, int]]:
    """Currency, kind of entry and minor units of all captures and of what reverses them."""
    return [
        (row["currency"], row["kind"], row["gross_minor"]) for row in await rows(_sql.captured(connection))
    ]


async def sum_unpaid(connection: Connection) -> dict[str, int]:
    """The sum of all payables that are not paid, by currency."""
    return {row["currency"]: row["amount_minor"] for row in await rows(_sql.unpaid_sums(connection))}


async def sum_disbursed(connection: Connection) -> dict[str, int]:
    """The sum of all paid disbursements, by currency."""
    return {row["currency"]: row["amount_minor"] for row in await rows(_sql.disbursed(connection))}


async def sum_received(connection: Connection) -> dict[str, int]:
    """Money that staff recorded as received from a party or into suspense, by currency."""
    return {row["currency"]: row["minor"] for row in await rows(_sql.received(connection))}


async def sum_returned_fees(connection: Connection) -> dict[str, int]:
    """The fees that the PSP returned, by currency."""
    return {row["currency"]: row["minor"] for row in await rows(_sql.returned_fees(connection))}


async def list_chains(connection: Connection) -> list[int]:
    """Every hash chain."""
    return [row["chain"] for row in await rows(_sql.chains(connection))]


async def read_batches(connection: Connection, chain: int) -> AsyncIterator[Any]:
    """The batches of a chain in the order of their positions, read page by page."""
    position = 0
    while True:
        page = await rows(_sql.batches(connection, chain=chain, after=position, limit=_PAGE))
        for batch in page:
            yield batch
            position = batch["position"]
        if len(page) < _PAGE:
            return


async def load_batch_entries(connection: Connection, batch_id: UUID) -> Sequence[Any]:
    """The entries of a batch, in the order of their hashes."""
    return await rows(_sql.batch_entries(connection, batch_id=batch_id))


async def load_batch_transfers(connection: Connection, batch_id: UUID) -> Sequence[Any]:
    """The transfers of a batch's entries in their order."""
    return await rows(_sql.batch_transfers(connection, batch_id=batch_id))


async def load_fx_transfers(connection: Connection, batch_id: UUID) -> Sequence[Any]:
    """What a batch's entries moved through position accounts, each beside its FX lock."""
    return await rows(_sql.fx_transfers(connection, batch_id=batch_id))
