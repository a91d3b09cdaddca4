"""How much evidence a difference holds, whoever attaches it when."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from clearing.errors import ClearingConflictError
from clearing.reconciliation import evidence_service
from clearing.reconciliation.evidence import MOST_OF_A_DIFFERENCE, check_reference
from gateway.database import Pool, transaction

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


async def difference(pool: Pool) -> UUID:
    found: UUID = await pool.fetchval(
        "INSERT INTO clearing.reconciliation_difference (pair, reference, type, amount_minor, currency, "
        "since, owner, proposal, detail, first_seen_at, last_seen_at, run) VALUES ('book_bank', 'E2E', "
        "'missing_right', 250, 'EUR', $1, 'treasury', '{}', 'nothing at the bank', $2, $2, $3) RETURNING id",
        NOW.date(),
        NOW,
        uuid4(),
    )
    return found


async def attach(pool: Pool, difference_id: UUID, reference: str) -> int:
    """How much the difference holds afterwards."""
    async with transaction(pool) as connection:
        attached = await evidence_service.attach(
            connection,
            difference_id,
            check_reference(reference),
            evidence_id=uuid4(),
            by="anna",
            now=NOW,
        )
    return len(attached)


async def test_a_full_difference_takes_what_it_has_again_and_nothing_new(pool: Pool) -> None:
    full = await difference(pool)
    for number in range(MOST_OF_A_DIFFERENCE):
        assert await attach(pool, full, f"file {number}") == number + 1
    assert await attach(pool, full, "file 7") == MOST_OF_A_DIFFERENCE
    with pytest.raises(ClearingConflictError, match="at most"):
        await attach(pool, full, "one more")
    assert await pool.fetchval("SELECT count(*) FROM clearing.difference_evidence") == MOST_OF_A_DIFFERENCE


async def test_two_at_once_do_not_exceed_what_a_difference_holds(pool: Pool) -> None:
    nearly = await difference(pool)
    for number in range(MOST_OF_A_DIFFERENCE - 1):
        await attach(pool, nearly, f"file {number}")
    came = await asyncio.gather(
        *(attach(pool, nearly, f"at once {number}") for number in range(4)), return_exceptions=True
    )
    assert [type(one) for one in came if not isinstance(one, int)] == [ClearingConflictError] * 3
    assert await pool.fetchval("SELECT count(*) FROM clearing.difference_evidence") == MOST_OF_A_DIFFERENCE
