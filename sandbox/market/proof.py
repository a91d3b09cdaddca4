"""The proof of a day: planned prices, the gateway's captures, the ledger, and the PSP's record must agree.

Pure: amounts in, checks out. Every check names both sides in minor units. The digest is of the figures alone
(no ids, no times), so two runs of one day can be compared by eye. Must not know HTTP or how to print.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from clearing.money import to_major

Amounts = Mapping[str, int]  # by currency, minor units


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule of the proof; `detail` gives both sides."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """All checks of a day, and the digest of its figures."""

    checks: Sequence[Check]
    digest: str

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class BookLine:
    """Clearing's own proof of one currency: captured, where it is booked, and the difference: 0."""

    currency: str
    captured: int
    vat: int
    platform: int
    paid: int
    open: int
    fx_sold: int
    fx_bought: int
    difference: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The figures of a finished day, each from its own source."""

    expected: Amounts  # the public tariffs' prices of all sessions that charged
    captured: Amounts  # the gateway's captures
    owed: Amounts  # priced above the hold: owed by the driver
    captured_at_psp: Amounts  # of them, those by card or mandate
    expected_sessions: int
    captured_sessions: int
    captures_twice: int
    unplanned_outcomes: Sequence[str]  # sessions that ended otherwise than planned
    books: Sequence[BookLine]
    findings: Sequence[str]  # of the audit
    paid: Amounts  # the gateway's disbursements
    forecast: Mapping[str, int]  # the forecast at the day's end, by party, due date and currency
    paid_by_date: Mapping[str, int]  # disbursements paid, by the same
    overdue: int  # payables due and neither paid nor held for a dated reason
    psp_captured: Amounts
    psp_fees: Amounts
    fees: Amounts
    psp_transferred: Amounts
    events: Mapping[str, tuple[int, int]]  # by party: events, and of them received by webhook
    rejected_webhooks: int
    figures: Mapping[str, Any]  # VAT, shares, exchange: enter the digest


def prove(evidence: Evidence) -> Proof:
    """Compare every figure with the one it must equal."""
    checks = [
        _equal(
            "One capture per session that charged", evidence.expected_sessions, evidence.captured_sessions
        ),
        _none("Sessions captured twice", evidence.captures_twice),
        _same(
            "Captured + owed by drivers = the public tariff's price",
            evidence.expected,
            _plus(evidence.captured, evidence.owed),
        ),
        _same("Captured by card = the PSP's record", evidence.captured_at_psp, evidence.psp_captured),
        _same("PSP fees = the PSP's record", evidence.fees, evidence.psp_fees),
        _same(
            "Captured = postings",
            evidence.captured,
            {line.currency: line.captured for line in evidence.books},
        ),
        _books(evidence.books),
        _listed("Ledger: zero per entry and currency, splits complete, hash chain intact", evidence.findings),
        _same("Paid out = postings", evidence.paid, {line.currency: line.paid for line in evidence.books}),
        _same("Paid out = the PSP's record", evidence.paid, evidence.psp_transferred),
        _forecast(evidence),
        _none("Payables due but not paid", evidence.overdue),
        _listed("Every session ended as planned", evidence.unplanned_outcomes),
        _webhooks(evidence),
    ]
    return Proof(checks=checks, digest=digest_of(evidence))


def digest_of(evidence: Evidence) -> str:
    """Sixteen hexadecimal digits of SHA-256 over the day's figures."""
    figures = {
        "captured": _nonzero(evidence.captured),
        "paid": _nonzero(evidence.paid),
        "fees": _nonzero(evidence.fees),
        "books": [
            msgspec.to_builtins(line) for line in sorted(evidence.books, key=lambda line: line.currency)
        ],
        "figures": evidence.figures,
    }
    return hashlib.sha256(msgspec.json.encode(figures, order="deterministic")).hexdigest()[:16]


def text_of(amounts: Amounts) -> str:
    """'CHF 12.34, EUR 5.00': in major units."""
    texts = [
        f"{currency} {to_major(minor, currency):,}" for currency, minor in sorted(_nonzero(amounts).items())
    ]
    return ", ".join(texts) or "nothing"


def _plus(first: Amounts, second: Amounts) -> dict[str, int]:
    return {currency: first.get(currency, 0) + second.get(currency, 0) for currency in {*first, *second}}


def _nonzero(amounts: Amounts) -> dict[str, int]:
    return {currency: minor for currency, minor in amounts.items() if minor}


def _same(name: str, expected: Amounts, actual: Amounts) -> Check:
    ok = _nonzero(expected) == _nonzero(actual)
    detail = text_of(expected) if ok else f"{text_of(expected)} against {text_of(actual)}"
    return Check(name=name, ok=ok, detail=detail)


def _equal(name: str, expected: int, actual: int) -> Check:
    ok = expected == actual
    return Check(name=name, ok=ok, detail=str(expected) if ok else f"{expected} against {actual}")


def _none(name: str, count: int) -> Check:
    return Check(name=name, ok=count == 0, detail=str(count))


def _listed(name: str, wrong: Sequence[str]) -> Check:
    return Check(name=name, ok=not wrong, detail="; ".join(wrong[:5]) or "all")


def _books(lines: Sequence[BookLine]) -> Check:
    off = {line.currency: line.difference for line in lines if line.difference}
    name = "Postings = payouts + open payables + VAT + platform"
    return Check(
        name=name, ok=bool(lines) and not off, detail=f"off by {text_of(off)}" if off else "to the minor unit"
    )


def _forecast(evidence: Evidence) -> Check:
    """Each party was paid on each due date exactly the forecast amount."""
    keys = {*evidence.forecast, *evidence.paid_by_date}
    off = sorted(key for key in keys if evidence.forecast.get(key, 0) != evidence.paid_by_date.get(key, 0))
    detail = "; ".join(
        f"{key}: {evidence.forecast.get(key, 0)} forecast, {evidence.paid_by_date.get(key, 0)} paid"
        for key in off[:3]
    )
    return Check(name="Paid = the forecast", ok=not off, detail=detail or f"{len(keys)} disbursements")


def _webhooks(evidence: Evidence) -> Check:
    events = sum(count for count, _ in evidence.events.values())
    received = sum(count for _, count in evidence.events.values())
    ok = events == received and evidence.rejected_webhooks == 0
    return Check(name="Webhooks received, signatures good", ok=ok, detail=f"{received} of {events}")
