"""Plays the day: hour by hour, each hour's events at once but bounded, every one journaled.

Owns: when what is sent. An hour ends when every call in it was answered. Before exchange rates change, every
session sent so far must be captured, so that a day's figures don't depend on how fast it was played or how
often it was killed.
Must not know: how messages look (operators.py, apps.py) or what the books say (closing.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from clearing.fx import publication_day
from gateway.sandbox.market import apps, operators
from gateway.sandbox.market.client import MarketError
from gateway.sandbox.market.plan import COMPLETING, Course, PlannedSession, Rail
from gateway.sandbox.market.stage import MAX_OPEN_CALLS, Stage, set_clock

_SETTLED: Final = frozenset({"cleared", "parked"})
_PAUSE_S: Final = 0.25
_PATIENCE_S: Final = 240.0
_PAGE: Final = 100
_ANSWER_HELD_MS: Final = 500
_HANDED_IN_EVERY: Final = 10  # of the app's sessions, every tenth CDR comes through the capture API


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happens in a market hour. `name` is its step in the journal."""

    hour: datetime
    number: int
    name: str
    act: Callable[[], Awaitable[Any]]


async def play(stage: Stage) -> None:
    """Play every hour of the day, and wait for clearing before rates change and at the end."""
    events = _events(stage)
    stage.audience.chapter("Playing the day", steps=len(events))
    hours = stage.day.hours()
    for place, hour in enumerate(hours):
        new_rates = place > 0 and publication_day(hours[place - 1]) != publication_day(hour)
        if new_rates:
            await settle(stage)
        await _play_hour(stage, hour, [event for event in events if event.hour == hour], new_rates=new_rates)
    await settle(stage)


async def _play_hour(stage: Stage, hour: datetime, events: Sequence[Event], *, new_rates: bool) -> None:
    todo = [event for event in events if event.name not in stage.journal]
    for _ in range(len(events) - len(todo)):
        stage.audience.advance()
    if not todo:
        return
    await set_clock(stage, hour, new_rates=new_rates)
    chains: dict[int, list[Event]] = {}
    for event in todo:
        chains.setdefault(event.number, []).append(event)
    room = asyncio.Semaphore(MAX_OPEN_CALLS)

    async def run(chain: list[Event]) -> None:
        async with room:
            for event in chain:
                await stage.journal.once(event.name, event.act)
                stage.audience.advance(f"{hour:%a %H:%M} UTC")

    async with asyncio.TaskGroup() as group:
        for chain in chains.values():
            group.create_task(run(chain))


def _events(stage: Stage) -> list[Event]:
    return [event for session in stage.day.sessions for event in _events_of(stage, session)]


def _events_of(stage: Stage, session: PlannedSession) -> list[Event]:
    """What happens to a session, in order."""
    number = session.number
    found = [
        Event(
            hour=session.authorized_hour,
            number=number,
            name=f"authorized/{number}",
            act=lambda: apps.authorize(stage, session),
        )
    ]
    if session.course is Course.RELEASED:
        found.append(_later(stage, session, "released", apps.release))
    if session.course in COMPLETING:
        found.append(
            Event(
                hour=session.authorized_hour,
                number=number,
                name=f"started/{number}",
                act=lambda: _start(stage, session),
            )
        )
        found.append(_later(stage, session, "completed", _complete))
    if session.course is Course.CDR_TWICE:
        again = _later(stage, session, "repeated", _repeat)
        found.append(
            Event(hour=again.hour + timedelta(hours=1), number=number, name=again.name, act=again.act)
        )
    return found


def _later(
    stage: Stage,
    session: PlannedSession,
    step: str,
    act: Callable[[Stage, PlannedSession], Awaitable[Any]],
) -> Event:
    return Event(
        hour=session.completed_hour,
        number=session.number,
        name=f"{step}/{session.number}",
        act=lambda: act(stage, session),
    )


async def _start(stage: Stage, session: PlannedSession) -> None:
    _expect_authorized(stage, session)
    await operators.report_start(stage, session)


async def _complete(stage: Stage, session: PlannedSession) -> dict[str, Any]:
    _expect_authorized(stage, session)
    if session.course is Course.PSP_TIMEOUT:
        await _lose_the_answer(stage, session)
    by_partner = session.rail is Rail.APP and session.number % _HANDED_IN_EVERY == 0
    if by_partner and session.course is Course.CHARGES:
        return await apps.hand_in(stage, session)
    return await operators.send_cdr(stage, session)


async def _repeat(stage: Stage, session: PlannedSession) -> dict[str, Any]:
    return await operators.send_cdr(stage, session)


async def _lose_the_answer(stage: Stage, session: PlannedSession) -> None:
    """Have the PSP capture this session's payment and then drop the connection without an answer."""
    ours = stage.authorization(session.number)["session"]
    query = quote(f"metadata['session']:'{ours}'")
    payment = (await stage.psp.get(f"/v1/payment_intents/search?query={query}"))["data"][0]["id"]
    match = {"method": "POST", "path_regex": f"^/v1/payment_intents/{payment}/capture$", "times": 1}
    fault = {"match": match, "fault": {"kind": "timeout_after", "hold_ms": _ANSWER_HELD_MS}}
    await stage.psp.post_form("/_sandbox/faults", fault)


def _expect_authorized(stage: Stage, session: PlannedSession) -> None:
    found = stage.authorization(session.number)
    if found["state"] != "authorized":
        raise MarketError(
            f"{session.ref} at {session.evse_id} by {session.rail.value} should be authorized, but is {found}"
        )


async def settle(stage: Stage) -> None:
    """Wait until every session whose CDR was sent is cleared, or released where nothing was delivered.

    Raises MarketError when some are not within four minutes, naming them.
    """
    waiting = {
        stage.authorization(session.number)["session"]: session
        for session in stage.day.sessions
        if f"completed/{session.number}" in stage.journal and f"settled/{session.number}" not in stage.journal
    }
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    while waiting:
        unsettled = await _unsettled(stage)
        for session_id in [found for found in waiting if found not in unsettled]:
            stage.journal.record(f"settled/{waiting.pop(session_id).number}", None)
        if waiting and asyncio.get_running_loop().time() > deadline:
            named = ", ".join(f"{session.ref} ({found})" for found, session in list(waiting.items())[:5])
            raise MarketError(f"{len(waiting)} sessions are not cleared after {_PATIENCE_S:.0f} s: {named}")
        if waiting:
            await asyncio.sleep(_PAUSE_S)


async def _unsettled(stage: Stage) -> set[str]:
    """Ids of sessions that still have something to come: not cleared, and not released whole."""
    found: set[str] = set()
    for state in ("active", "completed"):
        async for session in pages(stage.admin.get, f"/v1/sessions?state={state}"):
            if not _ended_for_nothing(session):
                found.add(session["id"])
    return found


def _ended_for_nothing(session: dict[str, Any]) -> bool:
    """A completed session of price 0 has no capture and nothing to clear."""
    price = session.get("price")
    return session["state"] == "completed" and price is not None and price["incl_vat"] == 0


async def pages(get: Callable[[str], Awaitable[Any]], path: str) -> Any:
    """Every object of a list, page by page."""
    joint, cursor = "&" if "?" in path else "?", ""
    while True:
        page = await get(f"{path}{joint}limit={_PAGE}{cursor}")
        for item in page["data"]:
            yield item
        if not page["has_more"]:
            return
        cursor = f"&cursor={page['next_cursor']}"
