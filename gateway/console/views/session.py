"""One session: everything that happened to it, what it cost and why, who is owed what, and what may be done.

Owns: what is read for the page, and its two acts. Must not know how a session is priced, captured or cleared.
The journal and the proof are of every party's money: the platform alone sees them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from clearing.cdr_checks.finding import CheckCode
from clearing.meter_data.findings import MeterCode
from clearing.money import exponent
from clearing.session_trace.service import ClearingInstants, find_instants
from clearing.session_trace.verification import TraceStep, verify_trace
from gateway.console import repository
from gateway.console.amounts import AmountNotReadError, read_amount
from gateway.console.flow_chart import FlowChart, draw
from gateway.console.money_flow import flows_of_transfers
from gateway.console.page import ConsolePage
from gateway.console.timeline import CheckedUsage, SessionInstants, TimelineFacts, timeline
from gateway.errors import RecordConflictError
from gateway.ids import format_id, parse_id, shard_of
from gateway.payments.session_trace import read_trace
from gateway.payments.views import SessionView
from gateway.people.roles import ActArea

_ALL: Final = "100"
_SETTLED: Final = ("completed", "cleared", "exception")
# The flags of a session that checks of its CDR and of its signed meter data give it.
_CHECK_CODES: Final = frozenset({*CheckCode, *MeterCode})
_METER_FLAGS: Final = "meter_data_"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proof:
    """The trace of a session as the platform sees it."""

    steps: Sequence[TraceStep] = ()
    entries: Sequence[Mapping[str, Any]] = ()
    chart: FlowChart | None = None
    hashes: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    batches: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _PaymentRows:
    """What the session's rows say of its payment."""

    authorizations: Sequence[Mapping[str, Any]]
    disputes: Sequence[Mapping[str, Any]]
    instants: SessionInstants
    checked: Sequence[CheckedUsage]


async def session(page: ConsolePage) -> web.Response:
    """The session's page."""
    name = page.request.match_info["id"]
    calls = page.calls
    shown = await calls.read("getSession", id=name)
    session_id = parse_id("ses", shown["id"])
    view = await page.services.payments.get_session(
        party_id=page.signed_in.person.party_id, session_id=session_id, admin=calls.platform
    )
    # An authorization is its demand partner's: the operator sees the session and not who pays how.
    authorization = (
        await calls.read_where_there("getAuthorization", id=shown["authorization"])
        if shown["authorization"]
        else None
    )
    settled = shown["state"] in _SETTLED and shown["price"] is not None
    price = await calls.read_where_there("getSessionPrice", id=name) if settled else None
    refunds = (await calls.read("listRefunds", query={"session": shown["id"], "limit": _ALL}))["data"]
    payables = (await calls.read("listPayables", query={"session": shown["id"], "limit": _ALL}))["data"]
    disbursements = [
        await calls.read("getDisbursement", id=one)
        for one in sorted({payable["disbursement"] for payable in payables if payable["disbursement"]})
    ]
    rows = await _rows(page, view)
    events, deliveries = await _events(page, shown, [*refunds, *rows.authorizations, *rows.disputes])
    receipt = await calls.read_where_there("getSessionReceipt", id=name) if shown["capture"] else None
    proof = await _proof(page, session_id) if calls.platform and settled else _Proof()
    return page.respond(
        "session.html",
        session=shown,
        market=view.session.time_zone,
        partner=view.session.demand_partner_id,
        authorization=authorization,
        price=price,
        refunds=refunds,
        payables=payables,
        disbursements={one["id"]: one for one in disbursements},
        receipt=receipt,
        proof=proof,
        entries=timeline(
            TimelineFacts(
                session=shown,
                instants=rows.instants,
                checked=rows.checked,
                check_flags=[one for one in shown["flags"] if _of_a_check(one)],
                events=events,
                refunds=refunds,
                payables=payables,
                disbursements=disbursements,
                authorizations=rows.authorizations,
                disputes=rows.disputes,
                batches=proof.batches,
                documents=receipt["documents"] if receipt else (),
            )
        ),
        disputes=rows.disputes,
        events=events,
        deliveries=deliveries,
        exceptions=[] if shown["state"] == "cleared" else await _exceptions(page, shown["id"]),
        refundable=_refundable(shown),
        digits=exponent(shown["currency"]),
    )


async def refund(page: ConsolePage) -> web.Response:
    """Refund all or part of what was captured."""
    name = page.request.match_info["id"]
    address = f"/console/sessions/{name}"
    shown = await page.calls.read("getSession", id=name)
    body: dict[str, Any] = {"session": shown["id"], "reason": page.form.get("reason", "")}
    text = page.form.get("amount", "").strip()
    if text:
        try:
            body["amount"] = read_amount(text, shown["currency"])
        except AmountNotReadError as error:
            return page.back_with(address, str(error), field_name="amount")
    return page.back(address, await page.act("createRefund", ActArea.PAYMENTS, body=body))


async def retry_clearing(page: ConsolePage) -> web.Response:
    """Clear again a session that clearing could not clear."""
    name = page.request.match_info["id"]
    outcome = await page.act("retryClearing", ActArea.EXCEPTIONS, id=name)
    return page.back(f"/console/sessions/{name}", outcome)


async def receipt_file(page: ConsolePage) -> web.Response:
    """A document of the session as PDF or XML, or what its meter signed."""
    query = page.query("format", "document") | {"language": page.t.language}
    answer = await page.calls.answer("getSessionReceipt", id=page.request.match_info["id"], query=query)
    body = answer.body if isinstance(answer.body, bytes) else b""
    return web.Response(body=body, headers=dict(answer.headers))


def _refundable(shown: Mapping[str, Any]) -> int:
    capture = shown["capture"]
    if capture is None or capture["state"] != "succeeded":
        return 0
    return int(capture["amount"]) - int(capture["refunded"]) - int(capture["disputed"])


async def _rows(page: ConsolePage, view: SessionView) -> _PaymentRows:
    """The session's authorizations and disputes that the person may see, and when its rows changed."""
    shard, session_id = view.session.shard, view.session.id
    async with page.services.pool.acquire() as connection:
        authorizations = await repository.list_authorizations_of(
            connection, shard=shard, session_id=session_id, party_id=page.own_party
        )
        disputes = await repository.list_disputes_of(connection, shard=shard, session_id=session_id)
        checked = await repository.list_checked_usage_of(connection, shard=shard, session_id=session_id)
        stopped_at = await repository.find_exception_at(connection, shard=shard, session_id=session_id)
        clearing = await find_instants(connection, session_id)
    found = [await page.calls.read_where_there("getDispute", id=format_id("dsp", one)) for one in disputes]
    return _PaymentRows(
        authorizations=[
            {
                "id": format_id("auth", one.id),
                "state": one.state,
                "amount": one.hold_minor,
                "currency": one.currency,
                "decline_code": one.decline_code,
                "created": one.created_at,
                "updated": one.updated_at,
            }
            for one in authorizations
        ],
        disputes=[one for one in found if one is not None],
        instants=_instants(view, clearing, stopped_at),
        checked=[
            CheckedUsage(
                id=str(one.id),
                cdr_id=one.cdr_id,
                state=one.state,
                reasons=one.reasons,
                received_at=one.received_at,
                updated_at=one.updated_at,
            )
            for one in checked
        ],
    )


def _instants(view: SessionView, clearing: ClearingInstants, stopped_at: datetime | None) -> SessionInstants:
    """Completed is when its capture was asked for; of a session without one, when its row changed last."""
    session, capture = view.session, view.capture
    completed = None
    if session.ended_at is not None:
        completed = session.updated_at if capture is None else capture.created_at
    return SessionInstants(
        completed=completed,
        cleared=clearing.cleared_at,
        exception=clearing.uncleared_at or stopped_at,
        capture_created=None if capture is None else capture.created_at,
    )


def _of_a_check(flag: str) -> bool:
    return flag in _CHECK_CODES or flag.startswith(_METER_FLAGS)


async def _events(
    page: ConsolePage, shown: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, list[repository.ObjectDelivery]]]:
    names = {shown["id"], shown["authorization"], *(one["id"] for one in objects)}
    if shown["capture"]:
        names.add(shown["capture"]["id"])
    shard = shard_of(parse_id("ses", shown["id"]))
    async with page.services.pool.acquire() as connection:
        found = await repository.list_events_of(
            connection, shard=shard, object_ids=[one for one in names if one], party_id=page.own_party
        )
        sent = await repository.list_deliveries_of(
            connection, shard=shard, event_ids=[event.id for event in found]
        )
    deliveries: dict[str, list[repository.ObjectDelivery]] = {}
    for one in sent:
        deliveries.setdefault(format_id("evt", one.event_id), []).append(one)
    events = [
        {
            "id": format_id("evt", event.id),
            "type": event.type,
            "party": event.party_id,
            "object_id": event.object_id,
            "data": event.data,
            "created": event.created_at.isoformat(),
        }
        for event in found
    ]
    return events, deliveries


async def _exceptions(page: ConsolePage, name: str) -> list[dict[str, Any]]:
    """The open exceptions whose subject the session is."""
    if not page.calls.may_read("listExceptions"):
        return []
    found = await page.calls.read("listExceptions", query={"state": "open", "limit": _ALL})
    return [one for one in found["data"] if name in one["subject"]]


async def _proof(page: ConsolePage, session_id: Any) -> _Proof:
    try:
        record = await read_trace(page.services.pool, session_id)
    except RecordConflictError:
        return _Proof()
    entries = [entry for batch in record["batches"] for entry in batch["entries"]]
    transfers = [one for entry in entries if entry["kind"] == "capture" for one in entry["transfers"]]
    flows = flows_of_transfers(transfers, currency=record["currency"])
    return _Proof(
        steps=verify_trace(record),
        entries=entries,
        batches=record["batches"],
        chart=draw(flows) if flows else None,
        hashes=[
            {"batch": one["batch"], "hash": one["hash"], "at": one["booked_at"]} for one in record["batches"]
        ],
    )
