"""Payouts: the calendar of what is due, held and paid, and one payout with its settlement statement.

Owns: how the forecast is grouped, and what a payout's page reads. Must not know netting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from gateway.console.page import ConsolePage
from gateway.console.views.sessions import read_all
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
_COLUMNS: Final = (
    "id",
    "party",
    "state",
    "amount_minor",
    "currency",
    "due_date",
    "paid_at",
    "payables",
    "end_to_end_id",
    "statement",
)


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


async def payouts(page: ConsolePage) -> web.Response:
    """The calendar, and the disbursements behind it."""
    query = page.query("state", "party")
    if page.request.query.get("format") == "csv":
        rows = await read_all(page, "listDisbursements", query)
        return page.csv(
            "payouts",
            _COLUMNS,
            [
                (
                    one["id"],
                    one["party"],
                    one["state"],
                    one["amount"],
                    one["currency"],
                    one["due_date"],
                    one["paid_at"],
                    one["payables"],
                    one["end_to_end_id"],
                    one["statement"],
                )
                for one in rows
            ],
        )
    party = {"party": query["party"]} if "party" in query else {}
    forecast = await page.calls.read("getForecast", query={"days": _DAYS, **party})
    found = await page.calls.read(
        "listDisbursements", query={**query, "limit": _PAGE, **page.query("cursor")}
    )
    return page.respond(
        "payouts.html",
        days=calendar(forecast["data"]),
        found=found,
        states=DISBURSEMENT_STATES,
        given={name: query.get(name, "") for name in ("state", "party")},
    )


async def payout(page: ConsolePage) -> web.Response:
    """One disbursement: what it nets, and its statement."""
    name = page.request.match_info["id"]
    shown = await page.calls.read("getDisbursement", id=name)
    payables = await page.calls.read(
        "listPayables", query={"disbursement": shown["id"], "limit": "50", **page.query("cursor")}
    )
    holds = await page.calls.read("listPayoutHolds", id=shown["party"])
    return page.respond(
        "payout.html",
        payout=shown,
        payables=payables,
        holds=[hold for hold in holds["data"] if hold["lifted"] is None],
        names=await page.services.people.names([hold["placed_by"] for hold in holds["data"]]),
    )


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
