"""What happened in a session, in order: the charging, its payment, its books, the money that follows.

Owns: the order and the kinds of entries. Must not know HTTP, SQL, a language or how a page looks.
Events are deleted after a while, so each step that a row knows comes from that row; an event of the same step
and the same object stands in its place, because it says when the step was taken.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    codes: Sequence[str] = ()  # what the checks of a CDR found
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
_CLEARED: Final = "event.session.cleared"
# Where a step is shown: by the first part of an event's type, a page before the id or a section.
_DISPUTE_PAGE: Final = "/console/disputes/"
_PAYMENT: Final = "#payment"
_SECTIONS: Final[Mapping[str, str]] = {"authorization": _PAYMENT, "capture": _PAYMENT}
_DECIDED: Final[Mapping[str, Tone]] = {
    "accepted": Tone.GOOD,
    "rejected": Tone.BAD,
    "replaced": Tone.PLAIN,
}
_HELD: Final = frozenset({"authorized", "capture_requested", "captured", "voided"})
_ENDED_UNPAID: Final = frozenset({"voided", "failed"})
_WAITING: Final = frozenset({"requires_action", "outcome_unknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInstants:
    """When the session's own steps were taken, as its rows have it; None: not, or not known.

    `capture_created` is when its capture was asked for.
    """

    completed: datetime | None = None
    cleared: datetime | None = None
    exception: datetime | None = None
    capture_created: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedUsage:
    """Usage that the checks of CDRs did not let through: the codes of its findings, and what was decided."""

    id: str
    cdr_id: str
    state: str
    reasons: Sequence[str]
    received_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineFacts:
    """What a timeline is made of: the API's objects of one session, as JSON, and when its rows changed.

    `check_flags` are the flags of the session that checks of its CDR gave it.
    """

    session: Mapping[str, Any]
    instants: SessionInstants = SessionInstants()
    checked: Sequence[CheckedUsage] = field(default_factory=tuple)
    check_flags: Sequence[str] = field(default_factory=tuple)
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
    rows = [
        *_authorizations(facts),
        *_steps(facts.session, facts.instants),
        *_capture(facts.session, facts.instants),
        *_disputes(facts.disputes),
    ]
    steps = [*events, *(one for one in rows if (one.key, one.subject) not in known)]
    cleared = any(one.key == _CLEARED for one in steps)
    found = [
        *_charging(facts.session),
        *_checks(facts),
        *(replace(one, link="#journal") if one.key == _CLEARED and facts.batches else one for one in steps),
        *_refunds(facts.refunds),
        *_booked(facts.batches, cleared=cleared),
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
            link=_place_of(event),
        )


def _place_of(event: Mapping[str, Any]) -> str:
    kind = event["type"].partition(".")[0]
    return _DISPUTE_PAGE + event["object_id"] if kind == "dispute" else _SECTIONS.get(kind, "")


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


def _authorizations(facts: TimelineFacts) -> Iterable[TimelineEntry]:
    """Each hold from when it was asked for, and how it ended where it did without a capture."""
    capture = facts.session["capture"]
    for one in facts.authorizations:
        # What a capture was asked of had been held, whatever became of it.
        if one["state"] in _HELD or (capture is not None and capture["authorization"] == one["id"]):
            yield _of_row("authorization.authorized", one, one["created"], link=_PAYMENT)
        if one["state"] in _ENDED_UNPAID:
            note = str(one["decline_code"] or "")
            yield _of_row(f"authorization.{one['state']}", one, one["updated"], note=note, link=_PAYMENT)
        if one["state"] in _WAITING:
            yield _of_row(f"authorization.{one['state']}", one, one["created"], link=_PAYMENT)


def _steps(session: Mapping[str, Any], instants: SessionInstants) -> Iterable[TimelineEntry]:
    """What the session itself went through: what its payer stated, its CDR, clearing."""
    priced = session["price"] or {}
    row = {"id": session["id"], "amount": priced.get("incl_vat"), "currency": session["currency"]}
    stated = session.get("provisional_usage")
    if stated is not None:
        yield _of_row("session.usage_stated", row | {"amount": stated["price"]}, stated["stated_at"])
    for kind, at in (
        ("session.completed", instants.completed),
        ("session.cleared", instants.cleared),
        ("session.exception", instants.exception),
    ):
        if at is not None:
            yield _of_row(kind, row, at)


def _capture(session: Mapping[str, Any], instants: SessionInstants) -> Iterable[TimelineEntry]:
    capture = session["capture"]
    if capture is None:
        return
    if capture["captured_at"] is not None:
        yield _of_row("capture.succeeded", capture, capture["captured_at"], link=_PAYMENT)
    elif capture["state"] == "failed" and instants.capture_created is not None:
        yield _of_row("capture.failed", capture, instants.capture_created, link=_PAYMENT)


def _checks(facts: TimelineFacts) -> Iterable[TimelineEntry]:
    """What the checks of the session's CDRs found: of those that waited, and of the one it is priced by.

    No row says that checks were made and found nothing, so nothing says that they passed.
    """
    for one in facts.checked:
        yield TimelineEntry(
            at=one.received_at,
            key="timeline.checks_failed",
            tone=Tone.BAD,
            codes=one.reasons,
            subject=one.id,
        )
        if one.state in _DECIDED:
            yield TimelineEntry(
                at=one.updated_at, key=f"timeline.usage_{one.state}", tone=_DECIDED[one.state], subject=one.id
            )
    taken = {one.cdr_id for one in facts.checked if one.state == "accepted"}
    if facts.check_flags and facts.instants.completed is not None and facts.session["cdr_id"] not in taken:
        yield TimelineEntry(
            at=facts.instants.completed,
            key="timeline.checks_flagged",
            tone=Tone.WAITING,
            codes=facts.check_flags,
            subject=facts.session["id"],
        )


def _disputes(disputes: Sequence[Mapping[str, Any]]) -> Iterable[TimelineEntry]:
    for one in disputes:
        page = _DISPUTE_PAGE + one["id"]
        # An inquiry that ended took no money: it was never a dispute.
        inquiry = one["state"] in {"inquiry", "closed"}
        yield _of_row(f"dispute.{'inquiry' if inquiry else 'opened'}", one, one["opened_at"], link=page)
        if one["closed_at"] is not None:
            yield _of_row(f"dispute.{one['state']}", one, one["closed_at"], link=page)


def _booked(batches: Sequence[Mapping[str, Any]], *, cleared: bool) -> Iterable[TimelineEntry]:
    """Each entry of the journal, when its batch was booked; that of the sale is the session's clearing."""
    for batch in batches:
        for entry in batch["entries"]:
            if cleared and entry["kind"] == "capture":
                continue
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
            subject=one["number"],
        )


def _state_of(data: Mapping[str, Any]) -> str:
    return f"{data.get('state')}:{data.get('version')}:{data.get('amount')}"


def _amount_of(kind: str, data: Mapping[str, Any]) -> tuple[int | None, str | None]:
    if kind == "session.usage_stated":
        return (data.get("provisional_usage") or {}).get("price"), data.get("currency")
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
            subject=refund["id"],
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
            note_kind="party",
            link=f"/console/payouts/{paid['id']}",
        )
