"""An operation leaves its act in the transaction that writes, wherever the rows lie."""

from typing import Any

import pytest

from gateway.acts.act import Act, acting
from gateway.database import Pool, transaction

ACT = Act(operation="retryClearing", principal="anna", request_id="req_1", path="POST /v1/x")
# Rows of a session's shard alone: on a distributed database they lie on another node, and the coordinator's
# own transaction writes nothing.
WRITE = "UPDATE gateway.shard_lease SET fence = fence WHERE shard = 5"
READ = "SELECT fence FROM gateway.shard_lease WHERE shard = 5"


async def carried_out(pool: Pool, *statements: str, times: int = 1) -> list[dict[str, Any]]:
    """The acts of a transaction of these statements."""
    for _ in range(times):
        with acting(ACT):
            async with transaction(pool) as connection:
                for statement in statements:
                    await connection.fetch(statement)
    return [
        dict(row) for row in await pool.fetch("SELECT * FROM gateway.admin_act WHERE request_id = 'req_1'")
    ]


@pytest.mark.parametrize("statements", [(WRITE,), (READ, WRITE, READ)])
async def test_an_operation_that_writes_rows_of_a_shard_alone_leaves_its_act(
    pool: Pool, statements: tuple[str, ...]
) -> None:
    (act,) = await carried_out(pool, *statements)
    assert (act["kind"], act["operation"], act["principal"]) == ("carried_out", "retryClearing", "anna")


async def test_each_transaction_that_writes_leaves_one_also_with_statements_that_are_prepared(
    pool: Pool,
) -> None:
    assert len(await carried_out(pool, WRITE, WRITE, times=7)) == 7


async def test_an_operation_that_only_reads_rows_of_a_shard_leaves_none(pool: Pool) -> None:
    assert await carried_out(pool, READ, times=7) == []


async def test_an_operation_of_which_a_trigger_has_recorded_a_row_leaves_no_other_act(pool: Pool) -> None:
    party = "INSERT INTO gateway.party (id, kind, created_at) VALUES ('DE-NEW', 'cpo', now())"
    (act,) = await carried_out(pool, party, WRITE)
    assert (act["kind"], act["object_table"]) == ("created", "gateway.party")
