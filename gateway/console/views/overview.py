"""Overview: what happened today or in a range of days, what is coming, and what waits for a person.

Owns: the ranges and what is read. Must not know how a figure is summed.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from aiohttp import web

from clearing.reporting.party_share import list_shares
from gateway.console import repository
from gateway.console.bar_chart import BarChart, draw_bars
from gateway.console.page import ConsolePage
from gateway.database import transaction

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)
_COMING_DAYS: Final = "31"
_RECENT: Final = "6"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewRange:
    """A range of whole days of the viewer, up to now or to the last day with payments."""

    name: str
    since: datetime
    until: datetime
    width: timedelta


RANGES: Final[Mapping[str, int]] = {"today": 1, "week": 7, "month": 30}


def range_of(name: str, *, now: datetime, last_day: str | None = None) -> OverviewRange:
    """The range of that name up to `last_day`, else up to today. `now` carries the viewer's zone."""
    days = RANGES.get(name, 1)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if last_day:
        with suppress(ValueError):
            chosen = date.fromisoformat(last_day)
            midnight = midnight.replace(year=chosen.year, month=chosen.month, day=chosen.day)
    return OverviewRange(
        name=name if name in RANGES else "today",
        since=midnight - (days - 1) * _DAY,
        until=midnight + _DAY,
        width=_HOUR if days == 1 else _DAY,
    )


async def overview(page: ConsolePage) -> web.Response:
    """The first page."""
    now = page.services.now().astimezone(page.zone)
    chosen = range_of(
        page.request.query.get("range", "today"), now=now, last_day=page.request.query.get("day")
    )
    async with transaction(page.services.pool, isolation="repeatable_read") as connection:
        figures = await repository.read_figures(
            connection, since=chosen.since, until=chosen.until, width=chosen.width, party_id=page.own_party
        )
        latest = await repository.find_last_capture(connection, party_id=page.own_party)
        shares = (
            []
            if page.calls.platform
            else await list_shares(
                connection, since=chosen.since, until=chosen.until, party_id=page.own_party
            )
        )
    forecast = await page.calls.read("getForecast", query={"days": _COMING_DAYS})
    recent = await page.calls.read("listSessions", query={"limit": _RECENT})
    may_count = page.calls.may_read("listExceptions")
    counts = await page.live.open_exceptions.get(page.services.exceptions.count_open) if may_count else None
    summary = await page.calls.read("getSummary", query={"audit": "false"}) if page.calls.platform else None
    return page.respond(
        "overview.html",
        chosen=chosen,
        ranges=list(RANGES),
        figures=figures,
        shares=shares,
        declined=sum(one.payments for one in figures.declined),
        chart=_chart(chosen, figures.buckets),
        coming=_next_payouts(forecast["data"]),
        recent=recent["data"],
        open_exceptions=None if counts is None else sum(one.open for one in counts),
        summary=summary,
        latest=None if latest is None else latest.astimezone(page.zone).date(),
    )


def _next_payouts(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What is paid next: the sums of the first day on which something is."""
    payable = [line for line in lines if line["amount"] > 0 and line["hold"] is None]
    if not payable:
        return []
    first = min(line["due_date"] for line in payable)
    sums: dict[str, int] = {}
    for line in payable:
        if line["due_date"] == first:
            sums[line["currency"]] = sums.get(line["currency"], 0) + line["amount"]
    return [
        {"due_date": first, "currency": currency, "amount": amount}
        for currency, amount in sorted(sums.items())
    ]


def _chart(chosen: OverviewRange, buckets: Sequence[repository.BucketFigure]) -> BarChart | None:
    """Bars of the currency with most captured; amounts of two currencies are never added."""
    totals: dict[str, int] = {}
    for one in buckets:
        totals[one.currency] = totals.get(one.currency, 0) + one.amount_minor
    if not totals:
        return None
    currency = max(totals, key=lambda code: (totals[code], code))
    found = {one.bucket.astimezone(UTC): one.amount_minor for one in buckets if one.currency == currency}
    count = int((chosen.until - chosen.since) / chosen.width)
    starts = [chosen.since + number * chosen.width for number in range(count)]
    return draw_bars([(start, found.get(start.astimezone(UTC), 0)) for start in starts], currency=currency)
