"""The proof of a day: what the market meant, what the gateway took, what the books say, what the PSP says.

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
    """One thing that must hold; `detail` gives both sides."""

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
    """Clearing's own proof of one currency: what went in, where it lies, and the difference: 0."""

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
    owed: Amounts  # priced above what was held: the driver's to pay
    captured_at_psp: Amounts  # of them, those by card or mandate
    expected_sessions: int
    captured_sessions: int
    captures_twice: int
    outcomes_wrong: Sequence[str]  # sessions that ended otherwise than planned
    books: Sequence[BookLine]
    findings: Sequence[str]  # what the audit found wrong
    paid: Amounts  # the gateway's disbursements
    promised: Mapping[str, int]  # the forecast at the day's end, by party, due date and currency
    kept: Mapping[str, int]  # what was paid, by the same
    overdue: int  # payables due and neither paid nor held for a dated reason
    psp_captured: Amounts
    psp_fees: Amounts
    fees: Amounts
    psp_transferred: Amounts
    events: Mapping[str, tuple[int, int]]  # by party: events, and of them received by webhook
    refused_webhooks: int
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
        _listed("Books: zero per entry and currency, splits whole, chain intact", evidence.findings),
        _same("Paid out = postings", evidence.paid, {line.currency: line.paid for line in evidence.books}),
        _same("Paid out = the PSP's record", evidence.paid, evidence.psp_transferred),
        _promise(evidence),
        _none("Payables due but not paid", evidence.overdue),
        _listed("Every session ended as planned", evidence.outcomes_wrong),
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
    shown = [
        f"{currency} {to_major(minor, currency):,}" for currency, minor in sorted(_nonzero(amounts).items())
    ]
    return ", ".join(shown) or "nothing"


def _plus(left: Amounts, right: Amounts) -> dict[str, int]:
    return {currency: left.get(currency, 0) + right.get(currency, 0) for currency in {*left, *right}}


def _nonzero(amounts: Amounts) -> dict[str, int]:
    return {currency: minor for currency, minor in amounts.items() if minor}


def _same(name: str, left: Amounts, right: Amounts) -> Check:
    ok = _nonzero(left) == _nonzero(right)
    return Check(
        name=name, ok=ok, detail=text_of(left) if ok else f"{text_of(left)} against {text_of(right)}"
    )


def _equal(name: str, left: int, right: int) -> Check:
    return Check(
        name=name, ok=left == right, detail=str(left) if left == right else f"{left} against {right}"
    )


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


def _promise(evidence: Evidence) -> Check:
    """Each party got on each due date what the forecast had said, to the minor unit."""
    keys = {*evidence.promised, *evidence.kept}
    off = sorted(key for key in keys if evidence.promised.get(key, 0) != evidence.kept.get(key, 0))
    detail = "; ".join(f"{key}: {evidence.promised.get(key, 0)} promised, {evidence.kept.get(key, 0)} paid"
                       for key in off[:3])  # fmt: skip
    return Check(name="Paid = the forecast", ok=not off, detail=detail or f"{len(keys)} payments")


def _webhooks(evidence: Evidence) -> Check:
    events = sum(count for count, _ in evidence.events.values())
    received = sum(count for _, count in evidence.events.values())
    ok = events == received and evidence.refused_webhooks == 0
    return Check(name="Webhooks received, signatures good", ok=ok, detail=f"{received} of {events}")
