"""What a distributed database is sent in place of one PostgreSQL's statements; calls at the same moment."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from gateway.audit.system_audit import audit_system
from gateway.clock import SystemClock
from gateway.database import Pool, is_distributed
from gateway.payments.phase_repository import PhaseRepository
from tests.fakes.api import open_api
from tests.integration.test_forms_of_statements import (
    test_both_forms_list_the_same_decisions as test_decisions_are_listed,
)
from tests.integration.test_forms_of_statements import (
    test_both_forms_take_what_is_free_and_nothing_else as test_free_shards_are_taken,
)
from tests.integration.test_statements_per_session import USAGE

__all__ = ["test_decisions_are_listed", "test_free_shards_are_taken"]
AT_ONCE = 24


def test_the_pool_knows_that_its_database_is_distributed(pool: Pool) -> None:
    assert is_distributed(pool)


async def test_calls_at_the_same_moment_share_statements_of_one_shard(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = PhaseRepository.over(pool)
    shared = [
        one.at_shard
        for one in (phases.opening, phases.completing, phases.holding, phases.ending)
        if one.at_shard is not None
    ]
    assert len(shared) == 4
    place = {one.sql: one.parameters.index("shard") for one in (each.statement for each in shared)}
    sent: list[set[int]] = []
    fetchmany = asyncpg.Connection.fetchmany

    async def note(self: Any, query: str, args: Sequence[Any], **options: Any) -> Any:
        sent.append({arguments[place[query]] for arguments in args})
        return await fetchmany(self, query, args, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetchmany", note)
    async with open_api(pool) as api:

        async def charge(number: int) -> str:
            shown = await api.authorize(key=f"a{number}", session_ref=f"R{number}")
            assert shown.status == 201, shown.content
            path = f"/v1/sessions/{shown.json['session']}/complete"
            done = await api.call("POST", path, {"usage": USAGE}, key=f"c{number}")
            assert done.status == 200, done.content
            return str(done.json["capture"]["state"])

        done = await asyncio.gather(*(charge(number) for number in range(AT_ONCE)))
    assert done == ["succeeded"] * AT_ONCE
    assert [shards for shards in sent if len(shards) > 1] == []
    found = await audit_system(pool, clock=SystemClock(), psp=None)
    assert list(found.all_findings) == []
