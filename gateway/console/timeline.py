"""What happened in a session, in order: the charging, its payment, its books, the money that follows.

Owns: the order and the kinds of entries. Must not know HTTP, SQL, a language or how a page looks.
Events are deleted after a while, so each step that a row knows comes from that row; an event of the same step
and the same object stands in its place, because it says when the step was taken.
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
    note_kind: str = "decline"  # of which codes the note is one
    link: str = ""
    subject: str = ""  # the id of what it happened to


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
_DISPUTE_PAGE: Final = "/console/disputes/"
_HELD: Final = frozenset({"authorized", "capture_requested", "captured", "voided"})
_ENDED_UNPAID: Final = frozenset({"voided", "failed"})
_WAITING: Final = frozenset({"requires_action", "outcome_unknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineFacts:
    """What a timeline is made of: the API's objects of one session, as JSON."""

    session: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    refunds: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    payables: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    disbursements: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    authorizations: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    disputes: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    batches: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    documents: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def timeline(facts: TimelineFacts) -> list[TimelineEntry]:
    """Every entry, oldest first; of one instant, the cause before what follows from it."""
    events = list(_events(facts.events))
    known = {(one.key, one.subject) for one in events}
    rows = [*_authorizations(facts.authorizations), *_capture(facts.session), *_disputes(facts.disputes)]
    found = [
        *_charging(facts.session),
        *events,
        *(one for one in rows if (one.key, one.subject) not in known),
        *_refunds(facts.refunds),
        *_booked(facts.batches),
        *_documents(facts.documents),
        *_payouts(facts),
    ]
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
        if name in seen or event["type"].startswith("refund."):
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
            subject=event["object_id"],
            link=_DISPUTE_PAGE + event["object_id"] if event["type"].startswith("dispute.") else "",
        )


def _of_row(
    kind: str, row: Mapping[str, Any], at: datetime | str, *, note: str = "", link: str = ""
) -> TimelineEntry:
    """A step that a row knows, as the event of that kind would say it."""
    return TimelineEntry(
        at=parse_instant(at) if isinstance(at, str) else at,
        key=f"event.{kind}",
        tone=_TONES.get(kind, Tone.PLAIN),
        amount=row["amount"],
        currency=row["currency"],
        note=note,
        subject=row["id"],
        link=link,
    )


def _authorizations(authorizations: Sequence[Mapping[str, Any]]) -> Iterable[TimelineEntry]:
    """Each hold from when it was asked for, and how it ended where it did without a capture."""
    for one in authorizations:
        if one["state"] in _HELD:
            yield _of_row("authorization.authorized", one, one["created"])
        if one["state"] in _ENDED_UNPAID:
            yield _of_row(
                f"authorization.{one['state']}", one, one["updated"], note=str(one["decline_code"] or "")
            )
        if one["state"] in _WAITING:
            yield _of_row(f"authorization.{one['state']}", one, one["created"])


def _capture(session: Mapping[str, Any]) -> Iterable[TimelineEntry]:
    capture = session["capture"]
    if capture is not None and capture["captured_at"] is not None:
        yield _of_row("capture.succeeded", capture, capture["captured_at"])


def _disputes(disputes: Sequence[Mapping[str, Any]]) -> Iterable[TimelineEntry]:
    for one in disputes:
        page = _DISPUTE_PAGE + one["id"]
        # An inquiry that ended took no money: it was never a dispute.
        inquiry = one["state"] in {"inquiry", "closed"}
        yield _of_row(f"dispute.{'inquiry' if inquiry else 'opened'}", one, one["opened_at"], link=page)
        if one["closed_at"] is not None:
            yield _of_row(f"dispute.{one['state']}", one, one["closed_at"], link=page)


def _booked(batches: Sequence[Mapping[str, Any]]) -> Iterable[TimelineEntry]:
    """Each entry of the journal, when its batch was booked."""
    for batch in batches:
        for entry in batch["entries"]:
            yield TimelineEntry(
                at=parse_instant(batch["booked_at"]),
                key="timeline.booked",
                tone=Tone.GOOD,
                note=entry["kind"],
                note_kind="entry",
                link="#journal",
            )


def _documents(documents: Sequence[Mapping[str, Any]]) -> Iterable[TimelineEntry]:
    for one in documents:
        yield TimelineEntry(
            at=parse_instant(one["issued"]),
            key="timeline.document",
            amount=one["gross"],
            currency=one["currency"],
            note=one["type"],
            note_kind="document",
            link="#documents",
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
