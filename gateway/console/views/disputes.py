"""Disputes: what cardholders' banks ask about or reclaim, as a list and one by one.

Owns: what each page reads. Must not know how a dispute ends. The journal is of every party's money: the
platform alone sees a dispute's entries.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from gateway.console import csv_file, csv_lists, repository
from gateway.console.page import ConsolePage
from gateway.errors import RecordConflictError
from gateway.ids import format_id, parse_id, shard_of
from gateway.payments.session_trace import read_trace

_PAGE: Final = "25"


async def disputes(page: ConsolePage) -> web.StreamResponse:
    """Disputes, newest first."""
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.DISPUTES)
    found = await page.calls.read("listDisputes", query={"limit": _PAGE, **page.query("cursor")})
    return page.respond("disputes.html", found=found)


async def dispute(page: ConsolePage) -> web.StreamResponse:
    """One dispute: its amounts and dates, what it did to the books, and its events."""
    shown = await page.calls.read("getDispute", id=page.request.match_info["id"])
    session_id = parse_id("ses", shown["session"])
    view = await page.services.payments.get_session(
        party_id=page.signed_in.person.party_id, session_id=session_id, admin=page.calls.platform
    )
    async with page.services.pool.acquire() as connection:
        events = await repository.list_events_of(
            connection, shard=shard_of(session_id), object_ids=[shown["id"]], party_id=page.own_party
        )
    return page.respond(
        "dispute.html",
        dispute=shown,
        market=view.session.time_zone,
        evse=view.session.evse_id,
        batches=await _batches(page, shown) if page.calls.platform else (),
        events=[
            {"id": format_id("evt", one.id), "type": one.type, "party": one.party_id, "at": one.created_at}
            for one in events
        ],
    )


async def _batches(page: ConsolePage, shown: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The session's entries of this dispute, its fee and its exchange, each with when it was booked."""
    try:
        record = await read_trace(page.services.pool, parse_id("ses", shown["session"]))
    except RecordConflictError:
        return ()
    kept = await page.services.payments.disputes.get(party_id=None, dispute_id=parse_id("dsp", shown["id"]))
    name = kept.psp_dispute  # the books name a dispute as the PSP does
    return [
        {"at": batch["booked_at"], **entry}
        for batch in record["batches"]
        for entry in batch["entries"]
        if entry["reference"] == name or entry["reference"].startswith((f"{name}/", f"{name}:"))
    ]
