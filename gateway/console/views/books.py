"""The platform's books: where money flows, what differs between the three sides, balances, documents.

Owns: what each page reads. Must not know how anything is posted or compared.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from clearing.reporting.party_share import AccountFlow, list_capture_flows
from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.console import repository
from gateway.console.flow_chart import draw
from gateway.console.money_flow import flows_of_transfers
from gateway.console.page import ConsolePage
from gateway.console.views.overview import RANGES, range_of
from gateway.console.views.sessions import read_all
from gateway.database import transaction

_PAGE: Final = "25"
_MOST: Final = "100"
_DOCUMENT_COLUMNS: Final = (
    "id",
    "type",
    "supplier",
    "customer",
    "period_start",
    "period_end",
    "net_minor",
    "vat_minor",
    "gross_minor",
    "currency",
    "issued",
)


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


async def reconciliation(page: ConsolePage) -> web.Response:
    """Books, PSP and bank: what differs, whose it is and how old; and money whose purpose is not known."""
    differences = await page.calls.read(
        "listReconciliationDifferences", query={"limit": _MOST, **page.query("owner")}
    )
    suspense = await page.calls.read("listSuspense", query={"limit": _MOST})
    receivables = await page.calls.read("listReceivables")
    return page.respond(
        "reconciliation.html",
        differences=differences["data"],
        suspense=suspense["data"],
        receivables=receivables["data"],
    )


async def ledger(page: ConsolePage) -> web.Response:
    """Balances of our own accounts, a month's trial balance, and what its closing still needs."""
    now: datetime = page.services.now()
    period = page.request.query.get("period") or f"{now - timedelta(days=0):%Y-%m}"
    balances = await page.calls.read("listTreasuryBalances")
    trial = await page.calls.read("getTrialBalance", query={"period": period})
    closing = await page.calls.read("getClosingCheck", query={"period": period})
    vat = await page.calls.read("getVatReturn", query={"period": period})
    return page.respond(
        "ledger.html", balances=balances["data"], trial=trial["data"], closing=closing, vat=vat, period=period
    )


async def documents(page: ConsolePage) -> web.Response:
    """Invoices and credit notes between parties, newest first."""
    if page.request.query.get("format") == "csv":
        rows = await read_all(page, "listDocuments", {})
        return page.csv(
            "documents",
            _DOCUMENT_COLUMNS,
            [tuple(one[name.removesuffix("_minor")] for name in _DOCUMENT_COLUMNS) for one in rows],
        )
    found = await page.calls.read("listDocuments", query={"limit": _PAGE, **page.query("cursor")})
    return page.respond("documents.html", found=found)


async def document_file(page: ConsolePage) -> web.Response:
    """One document as PDF or XML."""
    query = {"format": page.request.query.get("format", "pdf"), "language": page.t.language}
    answer = await page.calls.answer("getDocument", number=page.request.match_info["number"], query=query)
    body = answer.body if isinstance(answer.body, bytes) else b""
    return web.Response(body=body, headers=dict(answer.headers))
