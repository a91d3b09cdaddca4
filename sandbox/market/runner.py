"""Runs the day: hour by hour, each hour's events concurrently but bounded, each with a checkpoint.

Owns: when what is sent. An hour ends when every request in it was answered. Before exchange rates change,
every session sent so far must be captured, so that a day's figures don't depend on the speed of the run or on
how often it was killed.
Must not know: the form of messages (operators.py, apps.py) or the final figures (payout_phase.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from clearing.fx import publication_day
from sandbox.market import apps, operators
from sandbox.market.client import MarketError
from sandbox.market.context import MAX_OPEN_CALLS, SimulationContext, set_clock
from sandbox.market.plan import COMPLETING, DriverMethod, PlannedSession, SessionScenario

_SETTLED: Final = frozenset({"cleared", "exception"})
_PAUSE_S: Final = 0.25
_TIMEOUT_S: Final = 240.0
_PAGE: Final = 100
_RESPONSE_HELD_MS: Final = 500
_BY_API_EVERY: Final = 10  # of the app's sessions: the app, too, states what every tenth has used


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketEvent:
    """One thing that happens in a market hour. `name` is its checkpoint."""

    hour: datetime
    number: int
    name: str
    run: Callable[[], Awaitable[Any]]


async def run_day(context: SimulationContext) -> None:
    """Run every hour of the day, and wait for clearing before rates change and at the end."""
    events = _events(context)
    context.progress.start_phase("Running the day", steps=len(events))
    hours = context.day.hours()
    for place, hour in enumerate(hours):
        new_rates = place > 0 and publication_day(hours[place - 1]) != publication_day(hour)
        if new_rates:
            await wait_until_settled(context)
        await _run_hour(context, hour, [event for event in events if event.hour == hour], new_rates=new_rates)
    await wait_until_settled(context)


async def _run_hour(
    context: SimulationContext, hour: datetime, events: Sequence[MarketEvent], *, new_rates: bool
) -> None:
    todo = [event for event in events if event.name not in context.checkpoints]
    for _ in range(len(events) - len(todo)):
        context.progress.advance()
    if not todo:
        return
    await set_clock(context, hour, new_rates=new_rates)
    chains: dict[int, list[MarketEvent]] = {}
    for event in todo:
        chains.setdefault(event.number, []).append(event)
    slots = asyncio.Semaphore(MAX_OPEN_CALLS)

    async def run_chain(chain: list[MarketEvent]) -> None:
        async with slots:
            for event in chain:
                await context.checkpoints.once(event.name, event.run)
                context.progress.advance(f"{hour:%a %H:%M} UTC")

    async with asyncio.TaskGroup() as group:
        for chain in chains.values():
            group.create_task(run_chain(chain))


def _events(context: SimulationContext) -> list[MarketEvent]:
    return [event for session in context.day.sessions for event in _events_of(context, session)]


def _events_of(context: SimulationContext, session: PlannedSession) -> list[MarketEvent]:
    """The events of a session, in order."""
    number = session.number
    events = [
        MarketEvent(
            hour=session.authorized_hour,
            number=number,
            name=f"authorized/{number}",
            run=lambda: apps.authorize(context, session),
        )
    ]
    if session.scenario is SessionScenario.RELEASED:
        events.append(_later(context, session, "released", apps.release))
    if session.scenario in COMPLETING:
        events.append(
            MarketEvent(
                hour=session.authorized_hour,
                number=number,
                name=f"started/{number}",
                run=lambda: _start(context, session),
            )
        )
        events.append(_later(context, session, "completed", _complete))
    if session.scenario is SessionScenario.CDR_TWICE:
        again = _later(context, session, "repeated", _repeat)
        events.append(
            MarketEvent(hour=again.hour + timedelta(hours=1), number=number, name=again.name, run=again.run)
        )
    return events


def _later(
    context: SimulationContext,
    session: PlannedSession,
    step: str,
    run: Callable[[SimulationContext, PlannedSession], Awaitable[Any]],
) -> MarketEvent:
    return MarketEvent(
        hour=session.completed_hour,
        number=session.number,
        name=f"{step}/{session.number}",
        run=lambda: run(context, session),
    )


async def _start(context: SimulationContext, session: PlannedSession) -> None:
    _expect_authorized(context, session)
    await operators.report_start(context, session)


async def _complete(context: SimulationContext, session: PlannedSession) -> dict[str, Any]:
    _expect_authorized(context, session)
    if session.scenario is SessionScenario.PSP_TIMEOUT:
        await _lose_the_response(context, session)
    by_partner = session.method is DriverMethod.APP and session.number % _BY_API_EVERY == 0
    if by_partner and session.scenario is SessionScenario.CHARGES:
        await apps.state_usage(context, session)
    return await operators.send_cdr(context, session)


async def _repeat(context: SimulationContext, session: PlannedSession) -> dict[str, Any]:
    return await operators.send_cdr(context, session)


async def _lose_the_response(context: SimulationContext, session: PlannedSession) -> None:
    """Have the PSP capture this session's payment and then drop the connection without an answer."""
    session_id = context.authorization(session.number)["session"]
    query = quote(f"metadata['session']:'{session_id}'")
    payment = (await context.psp.get(f"/v1/payment_intents/search?query={query}"))["data"][0]["id"]
    match = {"method": "POST", "path_regex": f"^/v1/payment_intents/{payment}/capture$", "times": 1}
    fault = {"match": match, "fault": {"kind": "timeout_after", "hold_ms": _RESPONSE_HELD_MS}}
    await context.psp.post_form("/_sandbox/faults", fault)


def _expect_authorized(context: SimulationContext, session: PlannedSession) -> None:
    outcome = context.authorization(session.number)
    if outcome["state"] != "authorized":
        where = f"{session.ref} at {session.evse_id} by {session.method.value}"
        raise MarketError(f"{where} should be authorized, but is {outcome}")


async def wait_until_settled(context: SimulationContext) -> None:
    """Wait until every session whose CDR was sent is cleared, or released where nothing was delivered.

    Raises MarketError when some are not within four minutes, naming them.
    """
    waiting = {
        context.authorization(session.number)["session"]: session
        for session in context.day.sessions
        if f"completed/{session.number}" in context.checkpoints
        and f"settled/{session.number}" not in context.checkpoints
    }
    deadline = asyncio.get_running_loop().time() + _TIMEOUT_S
    while waiting:
        unsettled = await _unsettled(context)
        for session_id in [waiting_id for waiting_id in waiting if waiting_id not in unsettled]:
            context.checkpoints.record(f"settled/{waiting.pop(session_id).number}", None)
        if waiting and asyncio.get_running_loop().time() > deadline:
            named = ", ".join(f"{session.ref} ({found})" for found, session in list(waiting.items())[:5])
            raise MarketError(f"{len(waiting)} sessions are not cleared after {_TIMEOUT_S:.0f} s: {named}")
        if waiting:
            await asyncio.sleep(_PAUSE_S)


async def _unsettled(context: SimulationContext) -> set[str]:
    """Ids of sessions that still have something to come: not cleared, and not released whole."""
    found: set[str] = set()
    for state in ("active", "completed"):
        async for session in pages(context.admin.get, f"/v1/sessions?state={state}"):
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
