"""What comes between the reading of sums and the tying of payables: payouts go on, to the unit."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from clearing.payouts.disbursement import DueSum
from clearing.store import payouts as store
from gateway.database import Pool, transaction
from tests.fakes import clearing_world as world
from tests.integration.test_settlement import FRIDAY, THURSDAY, House, of


@pytest.fixture
async def house(pool: Pool) -> House:
    opened = House(pool)
    await opened.open()
    return opened


async def test_a_debt_that_lands_while_planning_stops_no_later_payout(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.terms(world.NL_CPO, reserve_bps=1000, reserve_days=10)
    await house.clear(1)
    schedule = store.schedule

    async def after_a_debt(connection: Any, dues: Mapping[UUID, DueSum]) -> dict[UUID, tuple[int, int]]:
        await house.service.refund_session(
            connection, world.session_id(1), minor=600, reference="re_1", now=THURSDAY
        )
        return await schedule(connection, dues)

    with monkeypatch.context() as patched:
        patched.setattr(store, "schedule", after_a_debt)
        assert [one for one in await house.plan(FRIDAY) if one.party_id == world.NL_CPO.id] == []
    await house.clear(2, 3, now=FRIDAY - timedelta(days=2))
    planned = of(await house.plan(FRIDAY), world.NL_CPO)
    assert planned.amount_minor > 0
    await house.proved()


async def test_a_reserve_of_an_undone_plan_stops_nobody_elses_payout(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan is undone, its reserve stays; the next of that day withholds more, beside another party's."""
    for party in (world.NL_CPO, world.SUPERAPP, world.FR_CPO):
        await house.terms(party, reserve_bps=1000, reserve_days=10)
    async with transaction(house.pool) as connection:
        await house.service.put_agreement(connection, world.agreement(world.FR_CPO), now=THURSDAY)
    await house.clear(1)
    schedule = store.schedule

    async def after_a_debt(connection: Any, dues: Mapping[UUID, DueSum]) -> dict[UUID, tuple[int, int]]:
        await house.service.refund_session(
            connection, world.session_id(1), minor=600, reference="re_1", now=THURSDAY
        )
        return await schedule(connection, dues)

    with monkeypatch.context() as patched:
        patched.setattr(store, "schedule", after_a_debt)
        assert await house.plan(FRIDAY) == []
    early = FRIDAY - timedelta(days=2)
    await house.clear(2, 3, 4, 5, now=early)
    await house.clear(12, cpo=world.FR_CPO, now=early)
    planned = {one.party_id: one.amount_minor for one in await house.plan(FRIDAY)}
    assert set(planned) == {"NL-ABC", "superapp", "FR-LUM"}
    assert min(planned.values()) > 0
    await house.proved()
