"""After the last session: payouts until everything due is paid, then the figures, each from its own source.

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

from sandbox.market.client import MarketError, encode_json
from sandbox.market.context import SimulationContext, set_clock
from sandbox.market.participants import CPO_BY_ID, PLATFORM
from sandbox.market.plan import CHARGING, MARKET_DATE, DriverMethod, PlannedSession, SessionScenario
from sandbox.market.proof import BookLine, Evidence
from sandbox.market.runner import pages
from sandbox.market.setup import WEBHOOK_PARTIES, webhook_endpoint_of

HORIZON: Final = timedelta(days=7)  # parties with longer terms stay open payables
PAYOUT_HOUR: Final = time(10, tzinfo=UTC)
_PAUSE_S: Final = 0.25
_EVENTS_SETTLE_S: Final = 1.2  # an event is listed within about a second
_FORECAST: Final = "/v1/forecast?days=60"
_TIMEOUT_S: Final = 120.0
_WEBHOOKS_SOON_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutLine:
    """A line of the disbursement calendar, amounts in minor units."""

    due: date
    party: str
    currency: str
    amount: int
    sessions: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Amounts exchanged in one currency pair, minor units."""

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
    calendar: Sequence[PayoutLine]
    explained_title: str
    explained: Sequence[str]
    evidence: Evidence


async def close_market(context: SimulationContext) -> DayResult:
    """Pay what falls due within the horizon, then collect the day's figures."""
    await _pay(context)
    events = await _webhooks(context)
    return await _collect(context, events)


async def _pay(context: SimulationContext) -> None:
    """Set the clock to each due date and let the payouts of that date be made."""
    forecast = await context.checkpoints.once("forecast", lambda: _forecast(context))
    last = MARKET_DATE + HORIZON
    days = sorted({due for _, _, due, _ in forecast if date.fromisoformat(due) <= last})
    context.progress.start_phase("Disbursing", steps=len(days))
    for due in days:
        day = date.fromisoformat(due)
        if f"paid/{due}" not in context.checkpoints:
            await set_clock(context, datetime.combine(day, PAYOUT_HOUR))
            await context.admin.post("/v1/disbursement-runs", {}, key=f"run-{due}")
            await _until(partial(_nothing_due, context, day), what=f"payouts due {due}")
            context.checkpoints.record(f"paid/{due}", None)
        context.progress.advance(f"{day:%a %d %b}")


async def _nothing_due(context: SimulationContext, day: date) -> bool:
    lines = (await context.admin.get(_FORECAST))["data"]
    return not [line for line in lines if _overdue(line, day)]


def _overdue(line: Mapping[str, Any], day: date) -> bool:
    return date.fromisoformat(line["due_date"]) <= day and line["hold"] is None


async def _forecast(context: SimulationContext) -> list[tuple[str, str, str, int]]:
    """What is forecast: (party, currency, due date, amount)."""
    lines = (await context.admin.get(_FORECAST))["data"]
    return [(line["party"], line["currency"], line["due_date"], line["amount"]) for line in lines]


async def _webhooks(context: SimulationContext) -> dict[str, tuple[int, int]]:
    """Wait until each party has received all of its events; then (events, received) by party.

    A day that was killed left deliveries that failed while their receiver was down, the next attempt minutes
    or hours away: the parties do as a partner does after an outage, and ask for what they missed.
    """
    context.progress.start_phase("Waiting for the last webhooks", steps=1)
    await asyncio.sleep(_EVENTS_SETTLE_S)
    counts: dict[str, tuple[int, int]] = {}
    missed: dict[str, list[str]] = {}

    async def complete() -> bool:
        for party_id in WEBHOOK_PARTIES:
            ids = [event["id"] async for event in pages(context.party(party_id).get, "/v1/events")]
            missed[party_id] = [one for one in ids if not context.receiver.has_received(one)]
            counts[party_id] = (len(ids), len(ids) - len(missed[party_id]))
        return not any(missed.values())

    try:
        await _until(complete, what="webhooks", timeout_s=_WEBHOOKS_SOON_S)
    except MarketError:
        await _request_missed(context, missed)
        with suppress(MarketError):  # the proof says how many are missing
            await _until(complete, what="webhooks")
    context.progress.advance()
    return counts


async def _request_missed(context: SimulationContext, missed: Mapping[str, Sequence[str]]) -> None:
    """Enable each endpoint that has missed events, which ends its pause, and have them sent again."""
    for party_id, event_ids in missed.items():
        if not event_ids:
            continue
        client, path = (
            context.party(party_id),
            f"/v1/webhook-endpoints/{webhook_endpoint_of(context, party_id)}",
        )
        await client.call("PATCH", path, content=encode_json({"state": "enabled"}))
        for event_id in event_ids:
            await client.post(f"{path}/deliveries/{event_id}/retry", {})


async def _until(done: Callable[[], Awaitable[bool]], *, what: str, timeout_s: float = _TIMEOUT_S) -> None:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not await done():
        if asyncio.get_running_loop().time() > deadline:
            raise MarketError(f"{what}: not done within {timeout_s:.0f} s")
        await asyncio.sleep(_PAUSE_S)


def _calendar(
    forecast: Sequence[Mapping[str, Any]], disbursements: Sequence[Mapping[str, Any]]
) -> list[PayoutLine]:
    """Paid disbursements, then those that are still due."""
    paid = [
        PayoutLine(
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
        PayoutLine(
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
class _FinalAnswers:
    """The answers of the public interfaces at the end of the day."""

    sessions: Mapping[str, Any]  # by id
    captures: Sequence[Mapping[str, Any]]
    disbursements: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]
    psp: Mapping[str, Any]  # by currency
    faults: Sequence[Mapping[str, Any]]  # the PSP's fault rules, with how often they applied
    forecast: Sequence[Mapping[str, Any]]
    events: Mapping[str, tuple[int, int]]


async def _collect(context: SimulationContext, events: Mapping[str, tuple[int, int]]) -> DayResult:
    get = context.admin.get
    answers = _FinalAnswers(
        sessions={item["id"]: item async for item in pages(get, "/v1/sessions")},
        captures=[item async for item in pages(get, "/v1/captures") if item["state"] == "succeeded"],
        disbursements=[item async for item in pages(get, "/v1/disbursements")],
        summary=await get("/v1/summary?audit=true"),
        psp=(await context.psp.get("/_sandbox/summary"))["currencies"],
        faults=(await context.psp.get("/_sandbox/faults"))["data"],
        forecast=(await get(_FORECAST))["data"],
        events=events,
    )
    title, explained = await _explained(context, answers.sessions)
    summary = answers.summary
    return DayResult(
        outcomes=Counter(
            (session.method.value, _outcome(context, session, answers.sessions))
            for session in context.day.sessions
        ),
        captures=_by_currency(answers.captures),
        vat={(line["tax_jurisdiction"], line["currency"]): line["amount"] for line in summary["vat"]},
        shares={(line["party"], line["currency"]): line["amount"] for line in summary["shares"]}
        | {(PLATFORM.party_id, line["currency"]): line["amount"] for line in summary["platform_fees"]},
        exchanges=[
            Exchange(base=line["base"], quote=line["quote"], sold=line["sold"], bought=line["bought"])
            for line in summary["fx"]
        ],
        calendar=_calendar(answers.forecast, answers.disbursements),
        explained_title=title,
        explained=explained,
        evidence=_evidence(context, answers),
    )


def _evidence(context: SimulationContext, answers: _FinalAnswers) -> Evidence:
    bills = [_bill(context, session) for session in context.day.sessions if session.scenario in CHARGING]
    paying = [bill for bill in bills if bill["incl_vat"]]
    captures, audit = answers.captures, answers.summary["audit"]
    by_card = [item for item in captures if item["fee"] is not None]
    repeated = Counter(item["session"] for item in captures)
    due_by_forecast = [
        line for line in context.checkpoints["forecast"] if f"paid/{line[2]}" in context.checkpoints
    ]
    today = max((date.fromisoformat(line[2]) for line in due_by_forecast), default=MARKET_DATE)
    psp = {currency.upper(): line for currency, line in answers.psp.items()}
    paid = [item for item in answers.disbursements if item["state"] == "paid"]
    return Evidence(
        expected=_sums((bill["currency"], bill["incl_vat"]) for bill in paying),
        captured=_sums((item["currency"], item["amount"]) for item in captures),
        owed=_sums((item["currency"], item["receivable"]) for item in captures),
        captured_at_psp=_sums((item["currency"], item["amount"]) for item in by_card),
        expected_sessions=len(paying),
        captured_sessions=len(captures),
        captures_twice=sum(count > 1 for count in repeated.values()),
        unplanned_outcomes=[*_unplanned(context, answers.sessions), *_unused_faults(answers.faults)],
        books=[_book_line(line) for line in audit["proof"]],
        findings=[f"{item['check']} {item['subject']}: {item['detail']}" for item in audit["findings"]],
        paid=_sums((item["currency"], item["amount"]) for item in paid),
        forecast=_sums(
            (f"{party} {due} {currency}", amount) for party, currency, due, amount in due_by_forecast
        ),
        paid_by_date=_sums(
            (f"{item['party']} {item['due_date']} {item['currency']}", item["amount"]) for item in paid
        ),
        overdue=sum(_overdue(line, today) for line in answers.forecast),
        psp_captured={currency: line["captured"] for currency, line in psp.items()},
        psp_fees={currency: line["fees"] for currency, line in psp.items()},
        fees=_sums((item["fee_currency"] or item["currency"], item["fee"]) for item in by_card),
        psp_transferred={currency: line["transferred"] for currency, line in psp.items()},
        events=answers.events,
        rejected_webhooks=context.receiver.rejected,
        figures={name: answers.summary[name] for name in ("vat", "shares", "fx")},
    )


def _bill(context: SimulationContext, session: PlannedSession) -> Mapping[str, Any]:
    bill: Mapping[str, Any] = context.checkpoints[f"completed/{session.number}"]
    return bill


def _sums(pairs: Any) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for currency, minor in pairs:
        totals[currency] += minor
    return dict(totals)


def _by_currency(captures: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int, int]]:
    totals: dict[str, tuple[int, int, int]] = {}
    for item in captures:
        count, amount, fee = totals.get(item["currency"], (0, 0, 0))
        totals[item["currency"]] = (count + 1, amount + item["amount"], fee + (item["fee"] or 0))
    return totals


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


def _outcome(context: SimulationContext, session: PlannedSession, sessions: Mapping[str, Any]) -> str:
    """captured, free, released, declined or rejected, as the gateway shows it."""
    authorization = context.authorization(session.number)
    if authorization["state"] != "authorized":
        return "rejected" if session.method is DriverMethod.PLUG_AND_CHARGE else "declined"
    shown = sessions.get(authorization["session"])
    if shown is None:
        return "lost"
    if shown["capture"] is not None:
        return "captured" if shown["capture"]["state"] == "succeeded" else "not captured"
    price = shown["price"]
    return "released" if price is None or price["incl_vat"] == 0 else "not captured"


_PLANNED: Final = {
    SessionScenario.DECLINED: ("declined",),
    SessionScenario.REVOKED: ("rejected",),
    SessionScenario.RELEASED: ("released",),
    SessionScenario.NOTHING_DELIVERED: ("released",),
}


def _unplanned(context: SimulationContext, sessions: Mapping[str, Any]) -> list[str]:
    wrong = []
    for session in context.day.sessions:
        free = session.site.tariff_id == "free"
        planned = _PLANNED.get(session.scenario, ("released",) if free else ("captured",))
        outcome = _outcome(context, session, sessions)
        if outcome not in planned:
            wrong.append(f"{session.ref} {outcome}, planned {planned[0]}")
        elif session.scenario is SessionScenario.OVERBILLED:
            shown = sessions[context.authorization(session.number)["session"]]
            if "cpo_total_differs" not in shown["flags"]:
                wrong.append(f"{session.ref} was billed above its tariff and not flagged")
    return wrong


def _unused_faults(faults: Sequence[Mapping[str, Any]]) -> list[str]:
    """A response that was to be lost and was not proves nothing."""
    return [f"{fault['match']['path_regex']} was never disturbed" for fault in faults if not fault["fired"]]


async def _explained(context: SimulationContext, sessions: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The price of the most instructive session: the one with the most charging periods and components."""
    instructive = max(
        (session for session in context.day.sessions if session.scenario is SessionScenario.CHARGES),
        key=lambda session: (_INSTRUCTIVENESS.get(session.site.tariff_id, 0), session.energy_wh),
    )
    shown = sessions[context.authorization(instructive.number)["session"]]
    price = await context.admin.get(f"/v1/sessions/{shown['id']}/price")
    cpo = CPO_BY_ID[instructive.site.cpo_id]
    title = f"{shown['id']} at {instructive.site.name}, {instructive.site.city} ({cpo.name})"
    return title, list(price["explained"])


_INSTRUCTIVENESS: Final = {
    "reservation": 4,
    "peak-and-weekend": 3,
    "idle-fee": 2,
    "energy-and-parking": 2,
    "tiers": 1,
}
