"""How the system does, for the night shift: queues, leases, unknown outcomes, the PSP, audits, processes.

Owns: what the page shows, and its lists as files. Must not know how anything is worked off. Its figures
follow what happens by server-sent events where a browser runs its script; without, by reload.
"""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any, Final

from aiohttp import web

from clearing.daily_audit.service import find_latest_checkpoint
from gateway import audit_run_repository, status_repository
from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.console import csv_file, operations_repository
from gateway.console.bar_chart import draw_bars
from gateway.console.operations_repository import UnknownOutcome
from gateway.console.page import ConsolePage, UnrenderedPage
from gateway.console.rendering import PAGE_HEADERS
from gateway.database import transaction
from gateway.ids import format_id
from gateway.jobs.shard_owners import list_shard_owners, summarize
from gateway.live_streams import LiveLook
from gateway.personal_data import retention_service

_MINUTES: Final = 60
_MINUTE: Final = timedelta(minutes=1)
_UNKNOWN_SHOWN: Final = 50
FILE_PAGE: Final = 500  # rows of a file that are read at once
_UNKNOWN_COLUMNS: Final = ("session", "kind", "state", "amount_minor", "currency", "created", "attempts")
_started: Final = time.monotonic()


async def operations(page: ConsolePage) -> web.StreamResponse:
    """Queues, leases, outcomes, audits and processes as they are now."""
    _check(page)
    if page.request.query.get("format") == "csv":
        return await _file(page)
    return _respond(page, await _read(page))


async def live(page: ConsolePage) -> web.StreamResponse:
    """The figures of the same page as they change, as server-sent events, while the person is signed in.

    All open views show one reading: however many people look, the figures are read once in a pause.
    """
    _check(page)
    page.turn.give_back()  # the stream stays open: others make their pages meanwhile

    async def look(_number: int) -> LiveLook:
        if not await page.still_signed_in():
            return LiveLook(html=None, moving=False, over=True)
        values = await page.live.operations.get(lambda: _read(page))
        return LiveLook(html=await _respond(page, values).render_block("figures"), moving=True)

    viewer = page.signed_in.person.public_id
    return await page.live.streams.run(page.request, look, viewer=viewer, headers=PAGE_HEADERS)


def _check(page: ConsolePage) -> None:
    if not page.calls.platform:
        raise ProblemError(problems.NOT_FOUND, "There is no such page.")
    page.calls.need("getSummary")


def _respond(page: ConsolePage, values: Mapping[str, Any]) -> UnrenderedPage:
    wall_now: datetime = values["wall_now"]
    return page.respond(
        "operations.html",
        age=lambda since: _age(since, wall_now),
        session_id=lambda one: format_id("ses", one),
        **values,
    )


async def _read(page: ConsolePage) -> Mapping[str, Any]:
    now, wall_now = page.services.now(), page.services.clock.wall_now()
    counts = await page.live.open_exceptions.get(page.services.exceptions.count_open)
    summary: dict[str, Any] = await page.calls.read("getSummary", query={"audit": "false"})
    return {
        "counts": sorted(counts, key=lambda one: -one.open),
        "summary": summary,
        "wall_now": wall_now,
        "facts": _facts(page),
        "responding": page.services.payments.psp.responding,
        **await _figures(page, now=now, wall_now=wall_now),
    }


async def _figures(page: ConsolePage, *, now: datetime, wall_now: datetime) -> Mapping[str, Any]:
    until = now.replace(second=0, microsecond=0) + _MINUTE
    since = until - _MINUTES * _MINUTE
    async with transaction(page.services.pool, isolation="repeatable_read") as connection:
        minutes = await operations_repository.list_throughput(connection, since=since, until=until)
        return {
            "tasks": await status_repository.count_tasks(connection, wall_now=wall_now),
            "deliveries": await status_repository.count_deliveries(connection, wall_now=wall_now),
            "oldest_delivery": await status_repository.find_oldest_pending_delivery(connection),
            "unknown": await operations_repository.list_unknown_outcomes(connection, limit=_UNKNOWN_SHOWN),
            "owners": (owners := await list_shard_owners(connection, wall_now=wall_now)),
            "shards": summarize(owners, wall_now=wall_now),
            "processes": await operations_repository.list_processes(connection),
            "audits": [
                found
                for daily in (False, True)
                if (found := await audit_run_repository.find_latest_run_of(connection, daily=daily))
            ],
            "audited": await audit_run_repository.find_latest_run(connection),
            "checkpoint": await find_latest_checkpoint(connection),
            "retention": await retention_service.find_latest_run(connection),
            "chart": draw_bars(
                [
                    (at, next((one.captured for one in minutes if one.minute == at), 0))
                    for at in (since + number * _MINUTE for number in range(_MINUTES))
                ],
                currency="",
            ),
            "captured": sum(one.captured for one in minutes),
            "failed": sum(one.failed for one in minutes),
        }


def _facts(page: ConsolePage) -> Mapping[str, Any]:
    """What this process is: the one that answers this request."""
    pool, options = page.services.pool, page.services.options
    return {
        "version": version("networkcore"),
        "python": platform.python_version(),
        "process": os.getpid(),
        "up": timedelta(seconds=round(time.monotonic() - _started)),
        "connections": pool.get_size(),
        "idle": pool.get_idle_size(),
        "most": pool.get_max_size(),
        "environment": options.environment,
        "recovery": options.recovery_mode.value,
    }


def _age(since: datetime | None, now: datetime) -> timedelta:
    return timedelta(0) if since is None else max(timedelta(0), now - since)


async def _file(page: ConsolePage) -> web.StreamResponse:
    async def read(last: UnknownOutcome | None) -> Sequence[UnknownOutcome]:
        async with page.services.pool.acquire() as connection:
            return await operations_repository.list_unknown_outcomes(connection, limit=FILE_PAGE, after=last)

    return await csv_file.answer_pages(
        page, "unknown-outcomes", _UNKNOWN_COLUMNS, read, lambda one: [_row(one)]
    )


def _row(one: UnknownOutcome) -> tuple[Any, ...]:
    return (
        format_id("ses", one.session_id),
        one.kind,
        one.state,
        one.amount_minor,
        one.currency,
        one.created_at,
        one.attempts,
    )
