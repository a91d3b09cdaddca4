"""Where the drivers' money of a range of days went.

Owns: what the page reads. Must not know how anything is posted.
"""

from typing import Any

from aiohttp import web

from clearing.reporting.party_share import AccountFlow, list_capture_flows
from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.console import repository
from gateway.console.flow_chart import draw
from gateway.console.money_flow import flows_of_transfers
from gateway.console.page import ConsolePage
from gateway.console.views.overview import RANGES, range_of
from gateway.database import transaction


async def flow(page: ConsolePage) -> web.Response:
    """Where the drivers' money of a range went, by currency."""
    if not page.calls.platform:
        raise ProblemError(problems.NOT_FOUND, "There is no such page.")
    now = page.services.now().astimezone(page.zone)
    chosen = range_of(
        page.request.query.get("range", "week"), now=now, last_day=page.request.query.get("day")
    )
    async with transaction(page.services.pool, isolation="repeatable_read") as connection:
        found = await list_capture_flows(connection, since=chosen.since, until=chosen.until)
        latest = await repository.find_last_capture(connection, party_id=None)
    charts = []
    for currency in sorted({one.currency for one in found}):
        flows = flows_of_transfers([_transfer(one) for one in found], currency=currency)
        if flows:
            charts.append(draw(flows))
    charts.sort(key=lambda one: -one.total_minor)
    return page.respond(
        "flow.html",
        charts=charts,
        chosen=chosen,
        ranges=list(RANGES),
        latest=None if latest is None else latest.astimezone(page.zone).date(),
    )


def _transfer(one: AccountFlow) -> dict[str, Any]:
    return {
        "debit": one.debit_account,
        "credit": one.credit_account,
        "minor": one.amount_minor,
        "currency": one.currency,
    }
