"""What waits for a person: the exceptions queue, and the inbox of four-eyes decisions.

Owns: the lists, the pages and their acts. Must not know any kind of exception, or who may decide: the
services say so, by the person who is signed in.
"""

import re
from typing import Any, Final

from aiohttp import web

from clearing.errors import UnknownCurrencyError
from gateway.console import csv_file, csv_lists
from gateway.console.amounts import AmountNotReadError, read_amount
from gateway.console.filters import FILTERS
from gateway.console.page import ConsolePage
from gateway.console.views.saved_views import views_of
from gateway.exception_kinds import ExceptionKind
from gateway.people.roles import ActArea

_PAGE: Final = "25"
_MOST: Final = "100"
USAGE_ACTIONS: Final = ("take_as_is", "take_lower", "set_amount", "reject", "release")
_BACK: Final = re.compile(r"/console/reconciliation(?:/rdf_[0-9a-z]{26})?")
CHARGE_ACTIONS: Final = ("adopt", "refund", "leave")


async def exceptions(page: ConsolePage) -> web.StreamResponse:
    """The queue, newest first."""
    given = {"state": "open"} | page.query(*FILTERS["exceptions"])
    if given["state"] == "all":
        given.pop("state")
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.EXCEPTIONS, query=given)
    found = await page.calls.read("listExceptions", query={**given, "limit": _PAGE, **page.query("cursor")})
    counts = await page.services.exceptions.count_open(refresh=False)  # the list has just done it
    return page.respond(
        "exceptions.html",
        found=found,
        counts=sorted(counts, key=lambda one: -one.open),
        kinds=[kind.value for kind in ExceptionKind],
        given={name: given.get(name, "") for name in FILTERS["exceptions"]},
        views=await views_of(page, "exceptions"),
        names=await page.services.people.names([one["assignee"] or "" for one in found["data"]]),
    )


async def exception(page: ConsolePage) -> web.Response:
    """One exception: why it waits, what to do, what was done."""
    shown = await page.calls.read("getException", id=page.request.match_info["id"])
    people = [one for one in await page.services.people.list(party_id="platform") if one.revoked_at is None]
    actors = [line["actor"] for line in shown["history"] or ()] + [shown["assignee"] or ""]
    actions: tuple[str, ...] = ()
    if shown["kind"] == ExceptionKind.FAILED_CDR_CHECK:
        actions = USAGE_ACTIONS
    elif shown["kind"] == ExceptionKind.UNBOOKED_CHARGE:
        actions = CHARGE_ACTIONS
    return page.respond(
        "exception.html",
        exception=shown,
        people=people,
        actions=actions,
        names=await page.services.people.names(actors),
    )


async def assign(page: ConsolePage) -> web.Response:
    """Name the person who looks after an exception."""
    name = page.request.match_info["id"]
    body = {"assignee": page.form.get("assignee", "")}
    outcome = await page.act("assignException", ActArea.EXCEPTIONS, body=body, id=name)
    return page.back(f"/console/exceptions/{name}", outcome)


async def resolve(page: ConsolePage) -> web.Response:
    """Try again what stopped, or carry out a decision."""
    name = page.request.match_info["id"]
    address = f"/console/exceptions/{name}"
    body: dict[str, Any] = {"note": page.form.get("note", "")}
    if page.form.get("action"):
        body["action"] = page.form["action"]
    if text := page.form.get("amount", "").strip():
        shown = await page.calls.read("getException", id=name)
        try:
            body["amount"] = read_amount(text, shown["currency"] or "")
        except (AmountNotReadError, UnknownCurrencyError) as error:
            return page.back_with(address, f"{error}.", field_name="amount")
    return page.back(address, await page.act("resolveException", ActArea.EXCEPTIONS, body=body, id=name))


async def approvals(page: ConsolePage) -> web.StreamResponse:
    """What was proposed and waits for a second person, and disbursements above a limit."""
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.APPROVALS)
    requests = await page.calls.read("listApprovalRequests", query={"state": "pending", "limit": _MOST})
    decided = [
        one
        for state in ("booked", "rejected")
        for one in (await page.calls.read("listApprovalRequests", query={"state": state, "limit": "10"}))[
            "data"
        ]
    ]
    waiting = await page.calls.read("listDisbursementsAwaitingApproval")
    details = await page.calls.read(
        "listExceptions", query={"state": "open", "kind": "pending_bank_details", "limit": _MOST}
    )
    principals = [one["proposed_by"] for one in requests["data"]]
    principals += [one["decided_by"] or "" for one in decided] + [one["proposed_by"] for one in decided]
    principals += [name for one in waiting["data"] for name in one["by"]]
    return page.respond(
        "approvals.html",
        requests=requests["data"],
        decided=sorted(decided, key=lambda one: one["decided_at"] or "", reverse=True)[:10],
        waiting=waiting["data"],
        bank_details=await _bank_details(page, details["data"]),
        names=await page.services.people.names(principals),
    )


async def approve_request(page: ConsolePage) -> web.Response:
    """Approve what somebody else proposed."""
    return await _decide(page, "approveRequest")


async def reject_request(page: ConsolePage) -> web.Response:
    """Reject it."""
    return await _decide(page, "rejectRequest")


async def _decide(page: ConsolePage, operation: str) -> web.Response:
    outcome = await page.act(operation, ActArea.APPROVALS, body={}, id=page.request.match_info["id"])
    asked = page.form.get("back", "")
    return page.back(asked if _BACK.fullmatch(asked) else "/console/approvals", outcome)


async def decide_bank_details(page: ConsolePage) -> web.Response:
    """Approve or reject a party's new bank details."""
    match = page.request.match_info
    approved = page.form.get("decision") == "approve"
    outcome = await page.act(
        "approveBankDetails" if approved else "rejectBankDetails",
        ActArea.APPROVALS,
        body={},
        id=match["party"],
        version=match["version"],
    )
    return page.back("/console/approvals", outcome)


async def _bank_details(page: ConsolePage, waiting: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The new details beside those that they replace: the difference that is approved."""
    found = []
    for party in sorted({one["party"] for one in waiting if one["party"]}):
        versions = (await page.calls.read("listBankDetails", id=party))["data"]
        now = next((one for one in versions if one["state"] == "approved"), None)
        found += [{"new": one, "now": now} for one in versions if one["state"] == "pending"]
    return found
