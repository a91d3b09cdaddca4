"""The platform's books: where money flows, balances.

Owns: what each page reads. Must not know how anything is posted or compared.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from aiohttp import web

from clearing.reporting.party_share import AccountFlow, list_capture_flows
from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.console import csv_file, csv_lists, repository
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


async def ledger(page: ConsolePage) -> web.StreamResponse:
    """Balances of our own accounts, a month's trial balance, and what its closing still needs."""
    now: datetime = page.services.now()
    period = page.request.query.get("period") or f"{now:%Y-%m}"
    of_period = {"period": period}
    match csv_file.wanted(page):
        case None:
            pass
        case "trial":
            return await csv_file.answer_list(page, csv_lists.TRIAL_BALANCE, query=of_period)
        case "closing":
            return await csv_file.answer_list(page, csv_lists.CLOSING, query=of_period)
        case "vat":
            return await csv_file.answer_list(page, csv_lists.VAT, query=of_period)
        case _:
            return await csv_file.answer_list(page, csv_lists.BALANCES)
    balances = await page.calls.read("listTreasuryBalances")
    trial = await page.calls.read("getTrialBalance", query=of_period)
    closing = await page.calls.read("getClosingCheck", query=of_period)
    vat = await page.calls.read("getVatReturn", query=of_period)
    currency = page.request.query.get("currency", "")
    listed = [*balances["data"], *trial["data"], *vat["figures"]]

    def shown(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [one for one in lines if not currency or one["currency"] == currency]

    return page.respond(
        "ledger.html",
        balances=shown(balances["data"]),
        trial=shown(trial["data"]),
        closing=closing,
        vat={**vat, "figures": shown(vat["figures"])},
        period=period,
        currency=currency,
        currencies=sorted({one["currency"] for one in listed}),
    )
