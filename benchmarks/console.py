"""The console: what each page costs, and whether 50 people on it slow down those who charge.

The demo's day is run, and its stack is started again without a worker. A person of the platform asks for one
page after the other; a page's time is the median. The baseline is a bare aiohttp handler in a process of its
own, asked in the same way. Then cards are authorized on a clock at the sandbox PSP, alone and while 50 people
open one page after the other, in two ways: with one second of reading between them, as nobody does, and with
ten, as somebody does who works there. Both are measured with the console in a process of its own
(`serve --console-processes 1`) and once more with everything in one process. Latency counts from the moment a
call was due. Gateway, sandbox PSP, PostgreSQL and these clients share the machine's cores.
"""

import asyncio
import itertools
import random
import re
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console

from benchmarks.table import Row
from gateway.migrations import migrate
from sandbox.market.day import run_market_day, running_market
from sandbox.market.plan import MarketDay, plan_day
from sandbox.market.progress import NotesOnly

GOAL_MS: Final = 100.0
MOST_SLOWDOWN: Final = 1.10
_PEOPLE: Final = 50
_READING_SECONDS: Final = (1.0, 10.0)
_CALLS_PER_SECOND: Final = 20
_PERCENTILE: Final = 0.99
_SESSIONS: Final = 24
_SEED: Final = 3
_PARTNER: Final = "parkingapp"
_SEE_OTHER: Final = 303
_TOO_MANY: Final = 429
_OK: Final = 200
_CREATED: Final = 201
_PAGES: Final = (
    "/console?day=2026-10-29",
    "/console/sessions",
    "/console/sessions?amount_min=5&currency=EUR",
    "/console/payments",
    "/console/payouts",
    "/console/flow?day=2026-10-29",
    "/console/exceptions",
    "/console/approvals",
    "/console/reconciliation",
    "/console/ledger?period=2026-10",
    "/console/documents",
    "/console/webhooks",
    "/console/events",
    "/console/parties",
    "/console/people",
    "/console/operations",
)
_OBJECTS: Final = (
    ("/console/sessions", r"/console/sessions/ses_\w+"),
    ("/console/payouts", r"/console/payouts/dis_\w+"),
    ("/console/events", r"/console/events/evt_\w+"),
    ("/console/parties", r"/console/parties/[\w-]+"),
)
_BARE: Final = """
import sys
from aiohttp import web
app = web.Application()
async def page(request):
    return web.Response(text="<!doctype html><p>" + "x" * 20000, content_type="text/html")
app.router.add_get("/", page)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


def run(*, quick: bool) -> list[Row]:
    """Each page's median, and the 99th percentile of authorizations beside 50 people."""
    directory = Path(tempfile.mkdtemp(prefix="networkcore-bench-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        return asyncio.run(_run(directory, quick=quick))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _run(directory: Path, *, quick: bool) -> list[Row]:
    day = plan_day(sessions=_SESSIONS, seed=_SEED)
    silent = NotesOnly(Console(quiet=True))
    await run_market_day(
        directory, sessions=_SESSIONS, seed=_SEED, workers=1, migrate=migrate, progress=silent
    )
    seconds = 5 if quick else 60
    async with _bare_handler() as bare, _console(directory, day, consoles=0) as (gateway_url, admin_key):
        cookies = [await _sign_in(gateway_url, admin_key, number) for number in range(_PEOPLE)]
        async with aiohttp.ClientSession(cookies=cookies[0]) as http:
            repeats = 5 if quick else 30
            baseline = await _median_ms(http, bare, repeats)
            paths = [*_PAGES, *[await _object(http, gateway_url, *one) for one in _OBJECTS]]
            pages = {path: await _median_ms(http, gateway_url + path, repeats) for path in paths}
            rows = [_page_row(path, median, baseline) for path, median in pages.items()]
        together = await _beside_people(gateway_url, admin_key, cookies, paths, seconds=seconds, run=0)
    async with _console(directory, day, consoles=1) as (gateway_url, admin_key):
        apart = await _beside_people(gateway_url, admin_key, cookies, paths, seconds=seconds, run=1)
    rows += [_authorize_row(one, "the console in a process of its own") for one in apart]
    return rows + [_authorize_row(one, "all in one process") for one in together]


async def _beside_people(
    gateway_url: str,
    admin_key: str,
    cookies: Sequence[dict[str, str]],
    paths: Sequence[str],
    *,
    seconds: int,
    run: int,
) -> list[tuple[float, float, float]]:
    """For each time of reading: it, the percentile beside the people, and alone just before."""
    found = []
    async with aiohttp.ClientSession() as http:
        authorize = await _authorizing(http, gateway_url, admin_key, run)
        await _latency_ms(authorize, seconds=1)
        for reading in _READING_SECONDS:
            alone = await _latency_ms(authorize, seconds=seconds)
            async with _people(gateway_url, cookies, paths, reading):
                found.append((reading, await _latency_ms(authorize, seconds=seconds), alone))
    return found


def _authorize_row(measured: tuple[float, float, float], how: str) -> Row:
    reading, beside, alone = measured
    return Row(
        name=f"authorize, p99 at {_CALLS_PER_SECOND}/s, {_PEOPLE} people, a page each {reading:.0f} s, {how}",
        value=beside,
        unit="ms",
        baseline_name="the same without them",
        baseline_value=alone,
        ratio=beside / alone,
        goal=MOST_SLOWDOWN * alone,
    )


def _page_row(path: str, median: float, baseline: float) -> Row:
    return Row(
        name=re.sub(r"_[0-9a-z]{26}", "_…", path),
        value=median,
        unit="ms",
        baseline_name="a bare aiohttp handler, 20 kB",
        baseline_value=baseline,
        ratio=median / baseline,
        goal=GOAL_MS,
    )


@asynccontextmanager
async def _console(directory: Path, day: MarketDay, *, consoles: int) -> AsyncIterator[tuple[str, str]]:
    """The finished day's stack: the gateway's address and the platform's key."""
    state = directory / f"demo-{_SESSIONS}-{_SEED}"
    progress = NotesOnly(Console(quiet=True))
    async with running_market(
        state, day=day, workers=0, console_processes=consoles, migrate=migrate, progress=progress
    ) as (_, stack):
        yield stack.gateway_url, stack.plan.admin_api_key


async def _sign_in(gateway_url: str, admin_key: str, number: int) -> dict[str, str]:
    """The cookies of a new person of the platform: each has a rate limit of their own."""
    person = {"email": f"bench{number}@example.com", "name": f"Bench {number}", "role": "administrator"}
    headers = {"Authorization": f"Bearer {admin_key}"}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        made = await http.post(f"{gateway_url}/v1/parties/platform/people", json=person, headers=headers)
        person_id = (await made.json())["id"]
        link = await http.post(f"{gateway_url}/v1/people/{person_id}/links", headers=headers)
        address = (await link.json())["url"]
        answer = await http.post(address, allow_redirects=False)
        for _ in range(_PEOPLE):  # one address signs in once a second
            if answer.status != _TOO_MANY:
                break
            await asyncio.sleep(1)
            answer = await http.post(address, allow_redirects=False)
        if answer.status != _SEE_OTHER:
            raise RuntimeError(f"the link answered {answer.status}")
        return {one.key: one.value for one in http.cookie_jar}


@asynccontextmanager
async def _bare_handler() -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _BARE, str(port))
    try:
        await asyncio.sleep(2)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        await process.wait()


async def _object(http: aiohttp.ClientSession, gateway_url: str, path: str, pattern: str) -> str:
    found = re.search(pattern, await (await http.get(gateway_url + path)).text())
    if found is None:
        raise RuntimeError(f"{path} shows no object")
    return found[0]


async def _median_ms(http: aiohttp.ClientSession, address: str, repeats: int) -> float:
    times: list[float] = []
    while len(times) < repeats + 1:
        began = time.perf_counter()
        async with http.get(address, allow_redirects=False) as answer:
            await answer.read()
            took = (time.perf_counter() - began) * 1000
            if answer.status == _TOO_MANY:  # a person's limit
                await asyncio.sleep(float(answer.headers["Retry-After"]))
                continue
            if answer.status != _OK:
                raise RuntimeError(f"{address} answered {answer.status}")
        times.append(took)
    return statistics.median(times[1:])


async def _authorizing(
    http: aiohttp.ClientSession, gateway_url: str, admin_key: str, run: int
) -> Callable[[], Awaitable[None]]:
    """A call that authorizes a card for the partner at the first EVSE of the day."""
    headers = {"Authorization": f"Bearer {admin_key}"}
    made = await http.post(
        f"{gateway_url}/v1/parties/{_PARTNER}/api-keys", json={"scopes": ["capture"]}, headers=headers
    )
    key: dict[str, Any] = await made.json()
    listed = await (await http.get(f"{gateway_url}/v1/sessions?limit=1", headers=headers)).json()
    body = {
        "evse_id": listed["data"][0]["evse_id"],
        "method": "app",
        "payment": {"type": "psp_payment_method", "payment_method": "pm_card_visa"},
        "estimate": {"energy_wh": 20_000, "duration_s": 3600},
        "allow_repeat": True,
    }
    numbers = itertools.count()  # short: a long number may look like the number of a card

    async def authorize() -> None:
        sent = {
            "Authorization": f"Bearer {key['api_key']}",
            "Idempotency-Key": f"bench-{run}-{next(numbers)}",
        }
        async with http.post(f"{gateway_url}/v1/authorizations", json=body, headers=sent) as answer:
            if answer.status != 201:
                raise RuntimeError(f"authorize answered {answer.status}: {await answer.text()}")

    return authorize


async def _latency_ms(call: Callable[[], Awaitable[None]], *, seconds: int) -> float:
    """The 99th percentile from the moment that each call was due."""
    began, times = time.perf_counter(), list[float]()

    async def one(number: int) -> None:
        due = began + number / _CALLS_PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await call()
        times.append((time.perf_counter() - due) * 1000)

    async with asyncio.TaskGroup() as group:
        for number in range(seconds * _CALLS_PER_SECOND):
            group.create_task(one(number))
    return sorted(times)[int(len(times) * _PERCENTILE)]


@asynccontextmanager
async def _people(
    gateway_url: str, cookies: Sequence[dict[str, str]], paths: Sequence[str], reading_seconds: float
) -> AsyncIterator[None]:
    """People who each open one page after the other, until the block ends."""

    async def person(number: int, own: dict[str, str]) -> None:
        choose = random.Random(number)
        await asyncio.sleep(choose.uniform(0, reading_seconds))
        async with aiohttp.ClientSession(cookies=own) as http:
            while True:
                async with http.get(gateway_url + choose.choice(paths)) as answer:
                    await answer.read()
                    if answer.status != _OK:
                        raise RuntimeError(f"{answer.url} answered {answer.status}")
                await asyncio.sleep(reading_seconds)

    people = [asyncio.create_task(person(number, own)) for number, own in enumerate(cookies)]
    try:
        yield
    finally:
        ended = [one.exception() for one in people if one.done() and not one.cancelled()]
        for one in people:
            one.cancel()
        await asyncio.gather(*people, return_exceptions=True)
    if ended:
        raise RuntimeError(f"{len(ended)} people could not go on: {ended[0]}")
