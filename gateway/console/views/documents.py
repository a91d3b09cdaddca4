"""Documents between parties, and those that could not be issued: what, for whom, why, what to do.

Owns: what the page and its files read. Must not know how a document is issued. What could not be issued is of
every party, so it is shown to whom of the platform reads the exceptions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from clearing.documents import driver_document_service, invoice_service
from clearing.documents.document import DocumentExceptionRecord
from clearing.documents.driver_document import PendingDocumentRecord
from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.console import csv_file, csv_lists
from gateway.console.page import ConsolePage
from gateway.console.views.sessions import market_zones
from gateway.exception_kinds import ExceptionKind
from gateway.ids import format_id

_PAGE: Final = "25"
_MOST: Final = 100  # of what could not be issued, on the page; its file has the rest
_OF_PARTIES: Final = ExceptionKind.DOCUMENT_EXCEPTION.value
_OF_DRIVERS: Final = ExceptionKind.PENDING_DRIVER_DOCUMENTS.value
_COLUMNS: Final = (
    "kind",
    "supplier",
    "customer",
    "currency",
    "period_start",
    "period_end",
    "session",
    "entry",
    "reason",
    "since",
    "last_tried",
    "exception",
    "next_step",
)
_Unissued = Mapping[str, Any]


async def documents(page: ConsolePage) -> web.StreamResponse:
    """Invoices and credit notes between parties, newest first, and what could not be issued."""
    match csv_file.wanted(page):
        case None:
            pass
        case "unissued":
            return await _unissued_file(page)
        case _:
            return await csv_file.answer_list(page, csv_lists.DOCUMENTS)
    found = await page.calls.read("listDocuments", query={"limit": _PAGE, **page.query("cursor")})
    unissued = await _unissued(page) if _may_read(page) else []
    return page.respond(
        "documents.html",
        found=found,
        unissued=unissued[:_MOST],
        more=len(unissued) > _MOST,
        zones=await market_zones(page, [one["session"] for one in unissued if one["session"]]),
    )


async def document_file(page: ConsolePage) -> web.Response:
    """One document as PDF or XML."""
    query = {"format": page.request.query.get("format", "pdf"), "language": page.t.language}
    answer = await page.calls.answer("getDocument", number=page.request.match_info["number"], query=query)
    body = answer.body if isinstance(answer.body, bytes) else b""
    return web.Response(body=body, headers=dict(answer.headers))


def _may_read(page: ConsolePage) -> bool:
    return page.calls.platform and page.calls.may_read("listExceptions")


async def _unissued(page: ConsolePage) -> list[_Unissued]:
    """Those of parties, then drivers': up to one more of each than the page shows."""
    known = await _exceptions(page)
    async with page.services.pool.acquire() as connection:
        of_parties = await invoice_service.list_document_exceptions(connection)
        of_drivers = await driver_document_service.list_pending(connection, after=None, limit=_MOST + 1)
    return [
        *(_of_parties(one, known) for one in of_parties[: _MOST + 1]),
        *(_of_driver(one, known) for one in of_drivers),
    ]


async def _unissued_file(page: ConsolePage) -> web.StreamResponse:
    if not _may_read(page):
        raise ProblemError(problems.NOT_FOUND, "There is no such list.")
    known = await _exceptions(page)
    async with page.services.pool.acquire() as connection:
        of_parties = await invoice_service.list_document_exceptions(connection)

    async def read(
        last: DocumentExceptionRecord | PendingDocumentRecord | None,
    ) -> Sequence[DocumentExceptionRecord | PendingDocumentRecord]:
        if last is None and of_parties:
            return of_parties
        after = last if isinstance(last, PendingDocumentRecord) else None
        async with page.services.pool.acquire() as connection:
            return await driver_document_service.list_pending(connection, after=after, limit=_MOST)

    def rows_of(one: DocumentExceptionRecord | PendingDocumentRecord) -> Sequence[Sequence[Any]]:
        if isinstance(one, PendingDocumentRecord):
            return _cells(_of_driver(one, known))
        return _cells(_of_parties(one, known))

    return await csv_file.answer_pages(page, "unissued-documents", _COLUMNS, read, rows_of)


def _cells(one: _Unissued) -> Sequence[Sequence[Any]]:
    return [[one[column] for column in _COLUMNS]]


async def _exceptions(page: ConsolePage) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """The open exceptions of both kinds, by kind and subject."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for kind in (_OF_PARTIES, _OF_DRIVERS):
        query = {"state": "open", "kind": kind, "limit": str(_MOST)}
        while True:
            answer = await page.calls.read("listExceptions", query=query)
            found |= {(kind, one["subject"]): one for one in answer["data"]}
            if not answer["has_more"]:
                break
            query["cursor"] = answer["next_cursor"]
    return found


def _of_parties(
    one: DocumentExceptionRecord, known: Mapping[tuple[str, str], Mapping[str, Any]]
) -> _Unissued:
    start, end = one.period_start.isoformat(), one.period_end.isoformat()
    subject = f"{one.supplier_id}/{one.customer_id}/{one.currency}/{start}/{end}"
    return {
        "kind": _OF_PARTIES,
        "supplier": one.supplier_id,
        "customer": one.customer_id,
        "currency": one.currency,
        "period_start": start,
        "period_end": end,
        "session": None,
        "entry": None,
        "reason": one.reason,
        "since": one.first_at,
        "last_tried": one.last_at,
        **_what_to_do(known.get((_OF_PARTIES, subject))),
    }


def _of_driver(one: PendingDocumentRecord, known: Mapping[tuple[str, str], Mapping[str, Any]]) -> _Unissued:
    return {
        "kind": _OF_DRIVERS,
        "supplier": one.supplier_id,
        "customer": None,
        "currency": None,
        "period_start": None,
        "period_end": None,
        "session": format_id("ses", one.session_id),
        "entry": one.kind,
        "reason": one.reason,
        "since": one.first_at,
        "last_tried": one.last_at,
        **_what_to_do(known.get((_OF_DRIVERS, one.supplier_id))),
    }


def _what_to_do(exception: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if exception is None:  # its cause ended while the page was read
        return {"exception": None, "next_step": None}
    return {"exception": exception["id"], "next_step": exception["next_step"]["text"]}
