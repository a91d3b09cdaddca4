"""What happened in a session, in order: its events, the charging itself, and the money that follows.

Owns: the order and the kinds of entries. Must not know HTTP, SQL, a language or how a page looks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from gateway.console.figures import parse_instant


class Tone(StrEnum):
    """How an entry ended."""

    GOOD = "good"
    WAITING = "waiting"
    BAD = "bad"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One thing that happened. `key` names its text, `amount` is minor units of `currency`."""

    at: datetime
    key: str
    tone: Tone = Tone.PLAIN
    amount: int | None = None
    currency: str | None = None
    energy_wh: int | None = None
    note: str = ""
    link: str = ""


_TONES: Final[Mapping[str, Tone]] = {
    "authorization.authorized": Tone.GOOD,
    "authorization.requires_action": Tone.WAITING,
    "authorization.failed": Tone.BAD,
    "authorization.outcome_unknown": Tone.WAITING,
    "authorization.voided": Tone.PLAIN,
    "session.completed": Tone.GOOD,
    "session.usage_stated": Tone.PLAIN,
    "session.cleared": Tone.GOOD,
    "session.exception": Tone.BAD,
    "capture.succeeded": Tone.GOOD,
    "capture.failed": Tone.BAD,
    "refund.succeeded": Tone.PLAIN,
    "refund.failed": Tone.BAD,
    "dispute.opened": Tone.BAD,
    "dispute.lost": Tone.BAD,
    "dispute.won": Tone.GOOD,
}
_ORDER: Final = {"timeline.requested": 0, "timeline.started": 1, "timeline.ended": 2}
_AFTER_ALL: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineFacts:
    """What a timeline is made of: the API's objects of one session, as JSON."""

    session: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    refunds: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    payables: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    disbursements: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def timeline(facts: TimelineFacts) -> list[TimelineEntry]:
    """Every entry, oldest first; of one instant, the cause before what follows from it."""
    found = [*_charging(facts.session), *_events(facts.events), *_refunds(facts.refunds), *_payouts(facts)]
    return sorted(found, key=lambda one: (one.at, _ORDER.get(one.key, _AFTER_ALL)))


def _charging(session: Mapping[str, Any]) -> Iterable[TimelineEntry]:
    yield TimelineEntry(at=parse_instant(session["created"]), key="timeline.requested")
    if session["started_at"] is not None:
        yield TimelineEntry(at=parse_instant(session["started_at"]), key="timeline.started")
    if session["ended_at"] is not None:
        yield TimelineEntry(
            at=parse_instant(session["ended_at"]), key="timeline.ended", energy_wh=session["energy_wh"]
        )


def _events(events: Sequence[Mapping[str, Any]]) -> Iterable[TimelineEntry]:
    """An event of two parties is one thing that happened; a refund's has an entry of its own."""
    seen: set[tuple[str, str, str]] = set()
    for event in events:
        name = (event["type"], event["object_id"], _state_of(event["data"]))
        if name in seen or event["type"] == "refund.succeeded":
            continue
        seen.add(name)
        amount, currency = _amount_of(event["type"], event["data"])
        yield TimelineEntry(
            at=parse_instant(event["created"]),
            key=f"event.{event['type']}",
            tone=_TONES.get(event["type"], Tone.PLAIN),
            amount=amount,
            currency=currency,
            note=str(event["data"].get("decline_code") or ""),
        )


def _state_of(data: Mapping[str, Any]) -> str:
    return f"{data.get('state')}:{data.get('version')}:{data.get('amount')}"


def _amount_of(kind: str, data: Mapping[str, Any]) -> tuple[int | None, str | None]:
    if kind.startswith("session."):
        price = data.get("price") or {}
        return price.get("incl_vat"), data.get("currency")
    return data.get("amount"), data.get("currency")


def _refunds(refunds: Sequence[Mapping[str, Any]]) -> Iterable[TimelineEntry]:
    for refund in refunds:
        tone = {"succeeded": Tone.GOOD, "failed": Tone.BAD}.get(refund["state"], Tone.WAITING)
        yield TimelineEntry(
            at=parse_instant(refund["created"]),
            key=f"timeline.refund_{refund['state']}",
            tone=tone,
            amount=refund["amount"],
            currency=refund["currency"],
            note=str(refund["failure_code"] or refund["reason"]).replace("_", " "),
        )


def _payouts(facts: TimelineFacts) -> Iterable[TimelineEntry]:
    """Each payout with this session's part of it: it nets many sessions."""
    for paid in facts.disbursements:
        at = paid["paid_at"] or paid["created"]
        if at is None:
            continue
        tone = {"paid": Tone.GOOD, "failed": Tone.BAD, "returned": Tone.BAD}.get(paid["state"], Tone.WAITING)
        yield TimelineEntry(
            at=parse_instant(at),
            key=f"timeline.payout_{'paid' if paid['state'] == 'paid' else 'planned'}",
            tone=tone,
            amount=sum(one["amount"] for one in facts.payables if one["disbursement"] == paid["id"]),
            currency=paid["currency"],
            note=paid["party"],
            link=f"/console/payouts/{paid['id']}",
        )
