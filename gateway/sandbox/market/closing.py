"""After the last driver: the days until what is due was paid, then the figures, each from its own source.

Owns: moving the clock to each due date, waiting for payouts and webhooks, collecting what the report shows.
Must not know: how figures are compared (proof.py) or printed (report.py).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Final

from gateway.sandbox.market.cast import CPO_BY_ID, PLATFORM
from gateway.sandbox.market.client import MarketError
from gateway.sandbox.market.opening import LISTENERS
from gateway.sandbox.market.plan import CHARGING, MARKET_DATE, Course, PlannedSession, Rail
from gateway.sandbox.market.player import pages
from gateway.sandbox.market.proof import BookLine, Evidence
from gateway.sandbox.market.stage import Stage, set_clock

HORIZON: Final = timedelta(days=7)  # parties with longer terms stay open payables
PAYDAY_HOUR: Final = time(10, tzinfo=UTC)
_PAUSE_S: Final = 0.25
_EVENTS_SETTLE_S: Final = 1.2  # an event is listed within about a second
_FORECAST: Final = "/v1/forecast?days=60"
_PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Payday:
    """A line of the disbursement calendar, amounts in minor units."""

    due: date
    party: str
    currency: str
    amount: int
    sessions: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What went through one currency pair, minor units."""

    base: str
    quote: str
    sold: int
    bought: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """All that the report shows. Keys of amounts are (name, currency)."""

    outcomes: Mapping[tuple[str, str], int]
    captures: Mapping[str, tuple[int, int, int]]  # by currency: captures, amount, PSP fee
    vat: Mapping[tuple[str, str], int]
    shares: Mapping[tuple[str, str], int]
    exchanges: Sequence[Exchange]
    calendar: Sequence[Payday]
    explained_title: str
    explained: Sequence[str]
    evidence: Evidence


async def close_market(stage: Stage) -> DayResult:
    """Pay what falls due within the horizon, then collect the day's figures."""
    await _pay(stage)
    events = await _webhooks(stage)
    return await _collect(stage, events)


async def _pay(stage: Stage) -> None:
    """Set the clock to each due date and let the payouts of that date be made."""
    promised = await stage.journal.once("forecast", lambda: _forecast(stage))
    last = MARKET_DATE + HORIZON
    days = sorted({due for _, _, due, _ in promised if date.fromisoformat(due) <= last})
    stage.audience.chapter("Disbursing", steps=len(days))
    for due in days:
        day = date.fromisoformat(due)
        if f"paid/{due}" not in stage.journal:
            await set_clock(stage, datetime.combine(day, PAYDAY_HOUR))
            await stage.admin.post("/v1/disbursement-runs", {}, key=f"run-{due}")
            await _until(partial(_nothing_due, stage, day), what=f"payouts due {due}")
            stage.journal.record(f"paid/{due}", None)
        stage.audience.advance(f"{day:%a %d %b}")


async def _nothing_due(stage: Stage, day: date) -> bool:
    lines = (await stage.admin.get(_FORECAST))["data"]
    return not [line for line in lines if _overdue(line, day)]


def _overdue(line: Mapping[str, Any], day: date) -> bool:
    return date.fromisoformat(line["due_date"]) <= day and line["hold"] is None


async def _forecast(stage: Stage) -> list[tuple[str, str, str, int]]:
    """What is promised: (party, currency, due date, amount)."""
    lines = (await stage.admin.get(_FORECAST))["data"]
    return [(line["party"], line["currency"], line["due_date"], line["amount"]) for line in lines]


async def _webhooks(stage: Stage) -> dict[str, tuple[int, int]]:
    """Wait until each listener got each of its events; then (events, received) by party."""
    stage.audience.chapter("Waiting for the last webhooks", steps=1)
    await asyncio.sleep(_EVENTS_SETTLE_S)
    counts: dict[str, tuple[int, int]] = {}

    async def complete() -> bool:
        for party_id in LISTENERS:
            ids = [event["id"] async for event in pages(stage.party(party_id).get, "/v1/events")]
            counts[party_id] = (len(ids), sum(stage.receiver.has(event_id) for event_id in ids))
        return all(events == received for events, received in counts.values())

    with suppress(MarketError):  # the proof says how many are missing
        await _until(complete, what="webhooks")
    stage.audience.advance()
    return counts


async def _until(done: Callable[[], Awaitable[bool]], *, what: str) -> None:
    deadline = asyncio.get_running_loop().time() + _PATIENCE_S
    while not await done():
        if asyncio.get_running_loop().time() > deadline:
            raise MarketError(f"{what}: not done within {_PATIENCE_S:.0f} s")
        await asyncio.sleep(_PAUSE_S)


def _calendar(
    forecast: Sequence[Mapping[str, Any]], disbursements: Sequence[Mapping[str, Any]]
) -> list[Payday]:
    """What was paid and what is still to come."""
    paid = [
        Payday(
            due=date.fromisoformat(item["due_date"]),
            party=item["party"],
            currency=item["currency"],
            amount=item["amount"],
            sessions=item["payables"],
            state=item["state"],
        )
        for item in disbursements
    ]
    return paid + [
        Payday(
            due=date.fromisoformat(line["due_date"]),
            party=line["party"],
            currency=line["currency"],
            amount=line["amount"],
            sessions=line["sessions"],
            state=line["hold"] or f"due, {line['state']}",
        )
        for line in forecast
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Collected:
    """What the public interfaces answered at the end of the day."""

    sessions: Mapping[str, Any]  # by id
    captures: Sequence[Mapping[str, Any]]
    disbursements: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]
    psp: Mapping[str, Any]  # by currency
    faults: Sequence[Mapping[str, Any]]  # the PSP's rules that disturb calls, with how often they did
    forecast: Sequence[Mapping[str, Any]]
    events: Mapping[str, tuple[int, int]]


async def _collect(stage: Stage, events: Mapping[str, tuple[int, int]]) -> DayResult:
    get = stage.admin.get
    found = _Collected(
        sessions={item["id"]: item async for item in pages(get, "/v1/sessions")},
        captures=[item async for item in pages(get, "/v1/captures") if item["state"] == "succeeded"],
        disbursements=[item async for item in pages(get, "/v1/disbursements")],
        summary=await get("/v1/summary"),
        psp=(await stage.psp.get("/_sandbox/summary"))["currencies"],
        faults=(await stage.psp.get("/_sandbox/faults"))["data"],
        forecast=(await get(_FORECAST))["data"],
        events=events,
    )
    title, explained = await _explained(stage, found.sessions)
    summary = found.summary
    return DayResult(
        outcomes=Counter(
            (session.rail.value, _outcome(stage, session, found.sessions)) for session in stage.day.sessions
        ),
        captures=_by_currency(found.captures),
        vat={(line["territory"], line["currency"]): line["amount"] for line in summary["vat"]},
        shares={(line["party"], line["currency"]): line["amount"] for line in summary["shares"]}
        | {(PLATFORM.party_id, line["currency"]): line["amount"] for line in summary["platform_fees"]},
        exchanges=[
            Exchange(base=line["base"], quote=line["quote"], sold=line["sold"], bought=line["bought"])
            for line in summary["fx"]
        ],
        calendar=_calendar(found.forecast, found.disbursements),
        explained_title=title,
        explained=explained,
        evidence=_evidence(stage, found),
    )


def _evidence(stage: Stage, found: _Collected) -> Evidence:
    bills = [_bill(stage, session) for session in stage.day.sessions if session.course in CHARGING]
    paying = [bill for bill in bills if bill["incl_vat"]]
    captures, audit = found.captures, found.summary["audit"]
    by_card = [item for item in captures if item["fee"] is not None]
    repeated = Counter(item["session"] for item in captures)
    promised = [line for line in stage.journal["forecast"] if f"paid/{line[2]}" in stage.journal]
    today = max((date.fromisoformat(line[2]) for line in promised), default=MARKET_DATE)
    psp = {currency.upper(): line for currency, line in found.psp.items()}
    paid = [item for item in found.disbursements if item["state"] == "paid"]
    return Evidence(
        expected=_sums((bill["currency"], bill["incl_vat"]) for bill in paying),
        captured=_sums((item["currency"], item["amount"]) for item in captures),
        owed=_sums((item["currency"], item["receivable"]) for item in captures),
        captured_at_psp=_sums((item["currency"], item["amount"]) for item in by_card),
        expected_sessions=len(paying),
        captured_sessions=len(captures),
        captures_twice=sum(count > 1 for count in repeated.values()),
        outcomes_wrong=[*_wrong(stage, found.sessions), *_not_disturbed(found.faults)],
        books=[_book_line(line) for line in audit["proof"]],
        findings=[f"{item['check']} {item['subject']}: {item['detail']}" for item in audit["findings"]],
        paid=_sums((item["currency"], item["amount"]) for item in paid),
        promised=_sums((f"{party} {due} {currency}", amount) for party, currency, due, amount in promised),
        kept=_sums(
            (f"{item['party']} {item['due_date']} {item['currency']}", item["amount"]) for item in paid
        ),
        overdue=sum(_overdue(line, today) for line in found.forecast),
        psp_captured={currency: line["captured"] for currency, line in psp.items()},
        psp_fees={currency: line["fees"] for currency, line in psp.items()},
        fees=_sums((item["fee_currency"] or item["currency"], item["fee"]) for item in by_card),
        psp_transferred={currency: line["transferred"] for currency, line in psp.items()},
        events=found.events,
        refused_webhooks=stage.receiver.refused,
        figures={name: found.summary[name] for name in ("vat", "shares", "fx")},
    )


def _bill(stage: Stage, session: PlannedSession) -> Mapping[str, Any]:
    found: Mapping[str, Any] = stage.journal[f"completed/{session.number}"]
    return found


def _sums(pairs: Any) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for currency, minor in pairs:
        totals[currency] += minor
    return dict(totals)


def _by_currency(captures: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int, int]]:
    found: dict[str, tuple[int, int, int]] = {}
    for item in captures:
        count, amount, fee = found.get(item["currency"], (0, 0, 0))
        found[item["currency"]] = (count + 1, amount + item["amount"], fee + (item["fee"] or 0))
    return found


def _book_line(line: Mapping[str, Any]) -> BookLine:
    return BookLine(
        currency=line["currency"],
        captured=line["captured"],
        vat=line["output_vat"] - line["input_vat"],
        platform=line["platform"],
        paid=line["paid"],
        open=line["open"],
        fx_sold=line["fx_sold"],
        fx_bought=line["fx_bought"],
        difference=line["difference"],
    )


def _outcome(stage: Stage, session: PlannedSession, sessions: Mapping[str, Any]) -> str:
    """captured, free, released, declined or refused, as the gateway shows it."""
    authorization = stage.authorization(session.number)
    if authorization["state"] != "authorized":
        return "refused" if session.rail is Rail.PLUG_AND_CHARGE else "declined"
    shown = sessions.get(authorization["session"])
    if shown is None:
        return "lost"
    if shown["capture"] is not None:
        return "captured" if shown["capture"]["state"] == "succeeded" else "not captured"
    price = shown["price"]
    return "released" if price is None or price["incl_vat"] == 0 else "not captured"


_PLANNED: Final = {
    Course.DECLINED: ("declined",),
    Course.REVOKED: ("refused",),
    Course.RELEASED: ("released",),
    Course.NOTHING_DELIVERED: ("released",),
}


def _wrong(stage: Stage, sessions: Mapping[str, Any]) -> list[str]:
    wrong = []
    for session in stage.day.sessions:
        free = session.site.tariff_id == "free"
        planned = _PLANNED.get(session.course, ("released",) if free else ("captured",))
        found = _outcome(stage, session, sessions)
        if found not in planned:
            wrong.append(f"{session.ref} {found}, planned {planned[0]}")
        elif session.course is Course.OVERBILLED:
            shown = sessions[stage.authorization(session.number)["session"]]
            if "cpo_total_differs" not in shown["flags"]:
                wrong.append(f"{session.ref} was billed above its tariff and not flagged")
    return wrong


def _not_disturbed(faults: Sequence[Mapping[str, Any]]) -> list[str]:
    """A lost answer that was never lost proves nothing."""
    return [f"{fault['match']['path_regex']} was not disturbed" for fault in faults if not fault["fired"]]


async def _explained(stage: Stage, sessions: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The price of the day's most telling session: the one with the most charging periods and components."""
    telling = max(
        (session for session in stage.day.sessions if session.course is Course.CHARGES),
        key=lambda session: (_TELLING.get(session.site.tariff_id, 0), session.energy_wh),
    )
    shown = sessions[stage.authorization(telling.number)["session"]]
    price = await stage.admin.get(f"/v1/sessions/{shown['id']}/price")
    cpo = CPO_BY_ID[telling.site.cpo_id]
    title = f"{shown['id']} at {telling.site.name}, {telling.site.city} ({cpo.name})"
    return title, list(price["explained"])


_TELLING: Final = {
    "reservation": 4,
    "peak-and-weekend": 3,
    "idle-fee": 2,
    "energy-and-parking": 2,
    "tiers": 1,
}
