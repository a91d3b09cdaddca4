"""What comes between the reading of sums and the tying of payables: payouts go on, to the unit."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from clearing.payouts import repository as store
from clearing.payouts.netting import DueSum
from gateway.database import Pool, transaction
from tests.fakes import clearing_fixtures as world
from tests.integration.test_disbursements import FRIDAY, THURSDAY, System, of


@pytest.fixture
async def system(pool: Pool) -> System:
    opened = System(pool)
    await opened.open()
    return opened


async def test_a_receivable_that_commits_while_planning_stops_no_later_payout(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    await system.terms(world.NL_CPO, reserve_bps=1000, reserve_days=10)
    await system.clear(1)
    schedule = store.schedule

    async def after_a_receivable(connection: Any, dues: Mapping[UUID, DueSum]) -> dict[UUID, tuple[int, int]]:
        await system.service.sessions.refund(
            connection, world.session_id(1), minor=600, reference="re_1", now=THURSDAY
        )
        return await schedule(connection, dues)

    with monkeypatch.context() as patched:
        patched.setattr(store, "schedule", after_a_receivable)
        assert [one for one in await system.plan(FRIDAY) if one.party_id == world.NL_CPO.id] == []
    await system.clear(2, 3, now=FRIDAY - timedelta(days=2))
    planned = of(await system.plan(FRIDAY), world.NL_CPO)
    assert planned.amount_minor > 0
    await system.proved()


async def test_a_reserve_of_an_undone_plan_stops_no_other_payout(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan is undone, its reserve stays; the next of that day withholds more, beside another party's."""
    for party in (world.NL_CPO, world.SUPERAPP, world.FR_CPO):
        await system.terms(party, reserve_bps=1000, reserve_days=10)
    async with transaction(system.pool) as connection:
        await system.service.reference_data.put_agreement(
            connection, world.agreement(world.FR_CPO), now=THURSDAY
        )
    await system.clear(1)
    schedule = store.schedule

    async def after_a_receivable(connection: Any, dues: Mapping[UUID, DueSum]) -> dict[UUID, tuple[int, int]]:
        await system.service.sessions.refund(
            connection, world.session_id(1), minor=600, reference="re_1", now=THURSDAY
        )
        return await schedule(connection, dues)

    with monkeypatch.context() as patched:
        patched.setattr(store, "schedule", after_a_receivable)
        assert await system.plan(FRIDAY) == []
    early = FRIDAY - timedelta(days=2)
    await system.clear(2, 3, 4, 5, now=early)
    await system.clear(12, cpo=world.FR_CPO, now=early)
    planned = {one.party_id: one.amount_minor for one in await system.plan(FRIDAY)}
    assert set(planned) == {"NL-ABC", "superapp", "FR-LUM"}
    assert min(planned.values()) > 0
    await system.proved()
