"""How many views a person may save, however they come."""

import asyncio

import pytest

from gateway.clock import SystemClock
from gateway.database import Pool
from gateway.people.errors import SavedViewError
from gateway.people.saved_views import MOST_VIEWS, SavedViewService
from tests.fakes.console import open_console


async def test_at_the_limit_a_view_is_replaced_and_none_is_added(pool: Pool) -> None:
    async with open_console(pool) as console:
        person, _ = await console.invite()
        views = SavedViewService(pool=pool, clock=SystemClock())

        async def save(name: str, state: str = "cleared") -> None:
            await views.save(person, list_name="sessions", name=name, filters={"state": state}, shared=False)

        for number in range(MOST_VIEWS - 1):
            await save(f"view {number}")
        came = await asyncio.gather(save("one"), save("two"), return_exceptions=True)
        assert [type(one) for one in came if one is not None] == [SavedViewError]
        await save("view 7", state="exception")
        with pytest.raises(SavedViewError, match="delete one first"):
            await save("one more")
        found = await pool.fetch("SELECT name, filters ->> 'state' AS state FROM gateway.saved_view")
    assert len(found) == MOST_VIEWS
    assert {row["name"]: row["state"] for row in found}["view 7"] == "exception"
