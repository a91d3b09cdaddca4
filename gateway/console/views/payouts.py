"""Payouts: the calendar of what is due, held and paid, and one payout with its settlement statement.

Owns: how the forecast is grouped, what a payout's page reads, and the forms of holds. Must not know netting.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from clearing.money import EXPONENTS, exponent
from gateway.console import csv_file, csv_lists
from gateway.console.filters import FILTERS
from gateway.console.page import ConsolePage
from gateway.console.views.saved_views import views_of
from gateway.people.roles import ActArea

DISBURSEMENT_STATES: Final = (
    "planned",
    "requested",
    "outcome_unknown",
    "paid",
    "failed",
    "returned",
    "cancelled",
)
_PAGE: Final = "25"
_DAYS: Final = "35"
_MOST_HELD: Final = 20  # parties whose holds a page shows
# Of the currencies that do not have two digits after the point, as the proof in the browser reads them.
_USUAL_DIGITS: Final = 2
_UNUSUAL_EXPONENTS: Final = " ".join(
    f"{code} {digits}" for code, digits in EXPONENTS.items() if digits != _USUAL_DIGITS
)
_BACK: Final = re.compile(r"/console/(?:parties|payouts)(?:/[A-Za-z0-9_-]{1,64}|\?party=[A-Za-z0-9_-]{1,63})")


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutDay:
    """What is due on one day."""

    day: str
    lines: Sequence[Mapping[str, Any]]


def calendar(lines: Sequence[Mapping[str, Any]]) -> list[PayoutDay]:
    """The forecast by day; within a day the greatest first."""
    days: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        days.setdefault(line["due_date"], []).append(line)
    return [
        PayoutDay(day=day, lines=sorted(found, key=lambda line: (-line["amount"], line["party"])))
        for day, found in sorted(days.items())
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastSum:
    """Forecast beside actual of one day and currency, over the parties that are shown; None: no forecast."""

    day: str
    currency: str
    forecast: int | None
    actual: int

    @property
    def difference(self) -> int | None:
        """Actual less forecast."""
        return None if self.forecast is None else self.actual - self.forecast


def forecast_sums(lines: Sequence[Mapping[str, Any]]) -> list[ForecastSum]:
    """The days of `listForecastDays` by day and currency, in their order."""
    sums: dict[tuple[str, str], tuple[int | None, int]] = {}
    for line in lines:
        key = (line["day"], line["currency"])
        forecast, actual = sums.get(key, (None, 0))
        if line["forecast"] is not None:
            forecast = (forecast or 0) + line["forecast"]
        sums[key] = (forecast, actual + line["actual"])
    return [
        ForecastSum(day=day, currency=currency, forecast=forecast, actual=actual)
        for (day, currency), (forecast, actual) in sums.items()
    ]


async def payouts(page: ConsolePage) -> web.StreamResponse:
    """The calendar, forecast beside actual, holds, and the disbursements behind them."""
    query = page.query(*FILTERS["payouts"])
    party = {"party": query["party"]} if "party" in query else {}
    asked = {"days": _DAYS, **party}
    match csv_file.wanted(page):
        case None:
            pass
        case "calendar":
            return await csv_file.answer_list(page, csv_lists.CALENDAR, query=asked)
        case "forecast":
            return await csv_file.answer_list(page, csv_lists.ACCURACY, query=party)
        case _:
            return await csv_file.answer_list(page, csv_lists.PAYOUTS, query=query)
    forecast = await page.calls.read("getForecast", query=asked)
    past = await page.calls.read("listForecastDays", query=party)
    found = await page.calls.read(
        "listDisbursements", query={**query, "limit": _PAGE, **page.query("cursor")}
    )
    return page.respond(
        "payouts.html",
        days=calendar(forecast["data"]),
        past=forecast_sums(past["data"]),
        found=found,
        states=DISBURSEMENT_STATES,
        given={name: query.get(name, "") for name in FILTERS["payouts"]},
        views=await views_of(page, "payouts"),
        **await holds_shown(page, held_parties(forecast["data"], asked=query.get("party") or page.own_party)),
    )


def held_parties(lines: Sequence[Mapping[str, Any]], *, asked: str | None) -> list[str]:
    """Whose holds a page shows: of the party that is asked for, else of those that the forecast has held."""
    if asked is not None:
        return [asked]
    return sorted({line["party"] for line in lines if line["hold"]})[:_MOST_HELD]


async def holds_shown(page: ConsolePage, parties: Sequence[str]) -> dict[str, Any]:
    """The holds in force of these parties, who placed each, and of which one party a hold can be placed."""
    found = []
    for party in parties:
        listed = await page.calls.read_where_there("listPayoutHolds", id=party)
        found += [] if listed is None else [one for one in listed["data"] if one["lifted"] is None]
    return {
        "holds": found,
        "holds_of": parties[0] if len(parties) == 1 else None,
        "names": await page.services.people.names([one["placed_by"] for one in found]),
        "back": page.address(cursor=None),
    }


async def payout(page: ConsolePage) -> web.StreamResponse:
    """One disbursement: what it nets, and its statement."""
    name = page.request.match_info["id"]
    shown = await page.calls.read("getDisbursement", id=name)
    nets = {"disbursement": shown["id"]}
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.PAYABLES, query=nets)
    payables = await page.calls.read("listPayables", query={**nets, "limit": "50", **page.query("cursor")})
    return page.respond(
        "payout.html",
        payout=shown,
        payables=payables,
        digits=exponent(shown["currency"]),
        exponents=_UNUSUAL_EXPONENTS,
        **await holds_shown(page, [shown["party"]]),
    )


async def place_hold(page: ConsolePage) -> web.StreamResponse:
    """Hold a party's payouts, with the reason that the party reads."""
    body: dict[str, Any] = {"reason": page.form.get("reason", "")}
    body |= {name: page.form[name] for name in ("since", "until") if page.form.get(name)}
    outcome = await page.act("createPayoutHold", ActArea.PAYOUTS, body=body, id=page.request.match_info["id"])
    return page.back(_back(page), outcome)


async def lift_hold(page: ConsolePage) -> web.StreamResponse:
    """Lift a hold; the service asks for another person where the hold is of a recorded return."""
    match = page.request.match_info
    outcome = await page.act("liftPayoutHold", ActArea.PAYOUTS, id=match["id"], hold_id=match["hold_id"])
    return page.back(_back(page), outcome)


def _back(page: ConsolePage) -> str:
    """The page that the form was on; the party's own where it names none of ours."""
    asked = page.form.get("back", "")
    party = page.request.match_info["id"]
    return asked if _BACK.fullmatch(asked) else f"/console/payouts?{urlencode({'party': party})}"


async def statement(page: ConsolePage) -> web.StreamResponse:
    """The settlement statement as JSON lines, CSV or PDF."""
    query = page.query("format") | {"language": page.t.language}
    answer = await page.calls.answer(
        "getDisbursementStatement", id=page.request.match_info["id"], query=query
    )
    if answer.stream is None:
        return web.Response(status=answer.status)
    return web.Response(body=answer.stream, headers=dict(answer.headers))


async def approve(page: ConsolePage) -> web.Response:
    """Approve a disbursement as one of the persons that it needs."""
    outcome = await page.act("approveDisbursement", ActArea.APPROVALS, id=page.request.match_info["id"])
    return page.back("/console/approvals", outcome)
