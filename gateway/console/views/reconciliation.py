"""The reconciliation workbench: books, PSP and bank, differences with evidence, proposals, decisions.

Owns: what each page reads, and its forms. Must not know how anything is compared or booked. Who proposes and
who approves is the person who is signed in, never a name in a form.
"""

from base64 import b64encode
from typing import Any, Final, get_args

from aiohttp import web

from clearing.reconciliation.comparison import ReconciliationPair
from clearing.reconciliation.evidence import MOST_BYTES
from gateway.api.reconciliation.resolutions import ClearSuspenseBody, ResolutionBody
from gateway.console import csv_file, csv_lists
from gateway.console.filters import FILTERS
from gateway.console.page import ConsolePage
from gateway.console.rendering import PAGE_HEADERS
from gateway.console.views.saved_views import views_of
from gateway.people.roles import ActArea

_PAGE: Final = "25"
_MOST: Final = "100"
_DECIDED: Final = "10"
_AGES: Final = ("1", "8", "31", "91")
RESOLUTIONS: Final = get_args(ResolutionBody.model_fields["resolution"].annotation)
CLEARINGS: Final = get_args(ClearSuspenseBody.model_fields["resolution"].annotation)


async def reconciliation(page: ConsolePage) -> web.StreamResponse:
    """What each side has open, differences by owner and age, money whose purpose is not known, decisions."""
    query = page.query(*FILTERS["reconciliation"])
    match csv_file.wanted(page):
        case None:
            pass
        case "suspense":
            return await csv_file.answer_list(page, csv_lists.SUSPENSE)
        case "receivables":
            return await csv_file.answer_list(page, csv_lists.RECEIVABLES)
        case "decided":
            return await csv_file.answer_list(page, csv_lists.APPROVALS)
        case _:
            return await csv_file.answer_list(page, csv_lists.DIFFERENCES, query=query)
    position = await page.calls.read("getReconciliation")
    found = await page.calls.read(
        "listReconciliationDifferences", query={**query, "limit": _PAGE, **page.query("cursor")}
    )
    pending = await page.calls.read("listApprovalRequests", query={"state": "pending", "limit": _MOST})
    decided = await _decided(page)
    people = [one["proposed_by"] for one in [*pending["data"], *decided]]
    people += [one["decided_by"] or "" for one in decided]
    return page.respond(
        "reconciliation.html",
        position=position,
        sides=side_rows(position["sides"]),
        found=found,
        suspense=(await page.calls.read("listSuspense", query={"limit": _MOST}))["data"],
        receivables=(await page.calls.read("listReceivables"))["data"],
        pending=pending["data"],
        decided=decided,
        given={name: query.get(name, "") for name in FILTERS["reconciliation"]},
        pairs=[pair.value for pair in ReconciliationPair],
        ages=_AGES,
        clearings=CLEARINGS,
        views=await views_of(page, "reconciliation"),
        names=await page.services.people.names(people),
    )


def side_rows(sides: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each side has open, as one row for each pair and currency with a cell for each of the three."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in sides:
        row = found.setdefault((one["pair"], one["currency"]), {"books": None, "psp": None, "bank": None})
        row |= {"pair": one["pair"], "currency": one["currency"], one["side"]: one}
    return list(found.values())


async def _decided(page: ConsolePage) -> list[dict[str, Any]]:
    """The last that were booked or rejected, the latest first."""
    found: list[dict[str, Any]] = []
    for state in ("booked", "rejected"):
        query = {"state": state, "limit": _DECIDED}
        found += (await page.calls.read("listApprovalRequests", query=query))["data"]
    return sorted(found, key=lambda one: one["decided_at"] or "", reverse=True)[: int(_DECIDED)]


async def difference(page: ConsolePage) -> web.StreamResponse:
    """One difference: its sides, its evidence, what was proposed and decided, and the form to propose."""
    name = page.request.match_info["id"]
    shown = await page.calls.read("getReconciliationDifference", id=name)
    requests = await page.calls.read(
        "listApprovalRequests", query={"difference": shown["id"], "limit": _MOST}
    )
    evidence = await page.calls.read("listDifferenceEvidence", id=name)
    people = [one["added_by"] for one in evidence["data"]]
    for one in requests["data"]:
        people += [one["proposed_by"], one["decided_by"] or ""]
    return page.respond(
        "difference.html",
        difference=shown,
        requests=requests["data"],
        evidence=evidence["data"],
        resolutions=RESOLUTIONS,
        proposed=shown["proposal"].get("as"),
        most_bytes=MOST_BYTES,
        names=await page.services.people.names(people),
    )


async def propose(page: ConsolePage) -> web.StreamResponse:
    """Propose how to resolve a difference; above the approval limit another person approves."""
    name = page.request.match_info["id"]
    body: dict[str, Any] = {
        "resolution": page.form.get("resolution", ""),
        "reason": page.form.get("reason", "").strip(),
        "related_references": [one for one in page.form.get("related", "").split() if one],
    }
    if page.form.get("party", "").strip():
        body["party"] = page.form["party"].strip()
    outcome = await page.act("resolveReconciliationDifference", ActArea.APPROVALS, body=body, id=name)
    return page.back(f"/console/reconciliation/{name}", outcome)


async def attach(page: ConsolePage) -> web.StreamResponse:
    """Attach a file or a reference."""
    name = page.request.match_info["id"]
    body: dict[str, Any] = {}
    file = page.files.get("file")
    if file is not None and file.content:
        body = {"name": file.name or "evidence", "content": b64encode(file.content).decode()}
    if page.form.get("reference", "").strip():
        body["reference"] = page.form["reference"].strip()
    outcome = await page.act("addDifferenceEvidence", ActArea.APPROVALS, body=body, id=name)
    return page.back(f"/console/reconciliation/{name}", outcome)


async def evidence_file(page: ConsolePage) -> web.StreamResponse:
    """Evidence as a download: no browser shows it on our address."""
    answer = await page.calls.answer("getDifferenceEvidence", id=page.request.match_info["id"])
    body = answer.body if isinstance(answer.body, bytes) else b""
    return web.Response(body=body, headers={**PAGE_HEADERS, **answer.headers})


async def clear_suspense(page: ConsolePage) -> web.StreamResponse:
    """Propose to clear a suspense item, all that remains of it."""
    body: dict[str, Any] = {
        "resolution": page.form.get("resolution", ""),
        "reason": page.form.get("reason", "").strip(),
    }
    if page.form.get("party", "").strip():
        body["party"] = page.form["party"].strip()
    outcome = await page.act("clearSuspense", ActArea.APPROVALS, body=body, id=page.request.match_info["id"])
    return page.back("/console/reconciliation", outcome)
