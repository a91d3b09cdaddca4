"""Pages are made a few at a time and in steps: nobody else waits for a whole one."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from jinja2 import DictLoader, Environment

from gateway.console import rendering
from gateway.console.rendering import PIECES_OF_A_STEP, environment, render_in_steps
from gateway.console.turns import WAITING_FOR_EACH, PageTurns, TooManyPagesError

ROWS = 5_000


@pytest.fixture
def long_page(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Environment(
        loader=DictLoader({"long.html": "{% for row in rows %}<td>{{ row }}</td>{% endfor %}"}),
        autoescape=True,
    )
    monkeypatch.setattr(rendering, "environment", lambda: made)


async def _turns_of_others(work: Callable[[], Any]) -> tuple[Any, int]:
    """What the work gave, and how often the loop came round to somebody else meanwhile."""
    turns, ended = 0, False

    async def other() -> None:
        nonlocal turns
        while not ended:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    await asyncio.sleep(0)
    turns = 0
    found = await work()
    counted, ended = turns, True
    await task
    return found, counted


@pytest.mark.usefixtures("long_page")
async def test_others_have_a_turn_after_every_step_of_a_page() -> None:
    text, turns = await _turns_of_others(lambda: render_in_steps("long.html", {"rows": ["<"] * ROWS}))
    assert text == "<td>&lt;</td>" * ROWS
    pieces = len(list(rendering.environment().get_template("long.html").generate({"rows": ["<"] * ROWS})))
    assert pieces >= ROWS
    assert turns == pieces // PIECES_OF_A_STEP


async def test_no_page_does_more_between_two_turns_than_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pieces of the longest stretch are counted, not its time."""
    most, now = 0, 0
    sleep = asyncio.sleep

    class Counted:
        def generate(self, values: dict[str, Any]) -> Any:
            nonlocal now
            for one in values["rows"]:
                now += 1
                yield one

    class Templates:
        def get_template(self, _name: str) -> Counted:
            return Counted()

    async def turn(seconds: float) -> None:
        nonlocal most, now
        most, now = max(most, now), 0
        await sleep(seconds)

    monkeypatch.setattr(rendering, "environment", Templates)
    monkeypatch.setattr(rendering.asyncio, "sleep", turn)
    await render_in_steps("any.html", {"rows": ["x"] * ROWS})
    assert most == PIECES_OF_A_STEP
    assert now <= PIECES_OF_A_STEP


def test_templates_are_not_looked_for_again() -> None:
    assert environment().auto_reload is False


async def test_only_so_many_pages_are_made_at_once_and_each_gets_its_turn() -> None:
    turns, together, most = PageTurns(3), 0, 0

    async def page() -> None:
        nonlocal together, most
        async with turns.turn():
            together += 1
            most = max(most, together)
            await asyncio.sleep(0)
            together -= 1

    await asyncio.gather(*(page() for _ in range(3 * WAITING_FOR_EACH)))
    assert most == 3


async def test_a_turn_that_does_not_come_is_rejected() -> None:
    turns = PageTurns(1, patience_seconds=0.01)
    async with turns.turn():
        with pytest.raises(TooManyPagesError):
            await turns.turn().__aenter__()
    async with turns.turn():
        pass  # who gave up took no turn with them


async def test_who_comes_to_a_long_queue_does_not_wait() -> None:
    turns = PageTurns(1, patience_seconds=60)
    async with turns.turn():
        waiting = [asyncio.ensure_future(turns.turn().__aenter__()) for _ in range(WAITING_FOR_EACH)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyPagesError):
            await asyncio.wait_for(turns.turn().__aenter__(), 5)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    async with turns.turn():
        pass


async def test_a_turn_that_is_given_back_early_is_given_back_once() -> None:
    turns = PageTurns(1, patience_seconds=0.01)
    async with turns.turn() as first:
        first.give_back()
        async with turns.turn():
            first.give_back()
            with pytest.raises(TooManyPagesError):
                await turns.turn().__aenter__()
