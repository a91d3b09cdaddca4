"""The PSP's record beside our own, allowing for what is under way, as pure functions.

Owns: how far the two may lie apart while calls are open, and what a comparison says. Must not know how a
figure is read. Our figures are read twice, before and after the PSP's record: what changed between, and what
was open, bounds the difference. With nothing under way the bounds are one figure: the comparison is exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.payments.psp.movement_port import PspTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderWay:
    """Of one currency, in minor units, none negative: what has begun and is not in every book yet.

    `captures`, `refunds`: asked of the PSP, no answer yet. `uncleared`: captured and not in the ledger,
    waiting for a person or a worker, and the PSP's `uncleared_fees` on it. `corrections`: refunds and
    disputes that the ledger does not have yet. `transfers`: disbursements sent to the PSP without an outcome.
    `top_ups`: on their way to the PSP.
    """

    captures: int = 0
    refunds: int = 0
    uncleared: int = 0
    uncleared_fees: int = 0
    corrections: int = 0
    transfers: int = 0
    top_ups: int = 0

    def named(self, currency: str) -> list[str]:
        """Each amount that is not 0, as text."""
        amounts = {
            "captures without an answer": self.captures,
            "refunds without an answer": self.refunds,
            "captured and not cleared": self.uncleared,
            "corrections not posted": self.corrections,
            "transfers without an outcome": self.transfers,
            "top-ups on their way": self.top_ups,
        }
        return [f"{name} {minor} {currency}" for name, minor in amounts.items() if minor]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFigures:
    """Ours of one currency at one instant, minor units.

    `debit` and `credit` are the turnover of the PSP's account in the ledger, `unposted` is what the PSP has
    of charges that are in no book.
    """

    captured: int = 0
    refunded: int = 0
    debit: int = 0
    credit: int = 0
    converted: int = 0
    unposted: int = 0
    under_way: UnderWay = field(default_factory=UnderWay)


@dataclass(frozen=True, slots=True, kw_only=True)
class PspComparison:
    """One figure of the PSP, and the lowest and highest that agree with ours. All in minor units."""

    check: str
    currency: str
    theirs: int
    low: int
    high: int
    noun: str
    hint: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the PSP's figure is one that our books allow now."""
        return self.low <= self.theirs <= self.high

    @property
    def detail(self) -> str:
        """Both figures."""
        ours = str(self.low) if self.low == self.high else f"from {self.low} to {self.high}, work under way"
        return f"{self.noun}: the PSP {self.theirs}, our books {ours} minor units{self.hint}"


def compare_with_psp(
    records: Sequence[PspTotals], *, before: Mapping[str, OwnFigures], after: Mapping[str, OwnFigures]
) -> list[PspComparison]:
    """Compare captures, refunds, conversions and the balance of each currency.

    `before` and `after` are our figures by currency, read before and after the PSP's record. Captures are
    compared in the currency of their charge. What the PSP converted and the books don't have yet is a
    comparison of its own, so it is left out of the comparison of balances.
    """
    theirs = {record.currency: record for record in records}
    capturing = any(one.under_way.captures for one in after.values())
    found: list[PspComparison] = []
    for currency in sorted({*theirs, *before, *after}):
        found += _compare(
            theirs.get(currency, PspTotals(currency=currency)),
            before=before.get(currency, OwnFigures()),
            after=after.get(currency, OwnFigures()),
            capturing=capturing,
        )
    return found


def _compare(
    record: PspTotals, *, before: OwnFigures, after: OwnFigures, capturing: bool
) -> list[PspComparison]:
    low, high = _balance_bounds(before, after)
    converted = sorted((before.converted, after.converted))
    unbooked = record.converted_minor - min(max(record.converted_minor, converted[0]), converted[1])
    if capturing:  # the fee of a capture without an answer may be in the currency that it was converted to
        low -= max(0, unbooked)
    return [
        PspComparison(
            check="psp_captured",
            currency=record.currency,
            noun="captured",
            theirs=record.captured_minor,
            low=min(before.captured, after.captured),
            high=max(before.captured, after.captured) + after.under_way.captures,
        ),
        PspComparison(
            check="psp_refunded",
            currency=record.currency,
            noun="refunded",
            theirs=record.refunded_minor,
            # A refund counts as refunded with us from the moment at which it is asked for.
            low=min(one.refunded - one.under_way.refunds for one in (before, after)),
            high=max(before.refunded, after.refunded),
        ),
        PspComparison(
            check="psp_converted",
            currency=record.currency,
            noun="converted",
            theirs=record.converted_minor,
            low=converted[0],
            high=converted[1],
            hint="; the worker's reconciliation books what is new every hour" if unbooked else "",
        ),
        PspComparison(
            check="psp_balance",
            currency=record.currency,
            noun="balance",
            theirs=psp_balance_minor(record) - unbooked,
            low=low,
            high=high,
        ),
    ]


def _balance_bounds(before: OwnFigures, after: OwnFigures) -> tuple[int, int]:
    """The lowest and highest balance that the PSP may have: every turnover and open amount counted or not."""
    if before == after and after.under_way == UnderWay():
        exact = after.debit - after.credit + after.unposted
        return exact, exact
    # What the PSP has done by now is in our books afterwards, or is still under way then.
    open_ = after.under_way
    unposted = sorted((before.unposted, after.unposted))
    outgoing = open_.refunds + open_.corrections + open_.transfers + open_.uncleared_fees
    incoming = open_.captures + open_.uncleared + open_.corrections + open_.top_ups
    return (
        before.debit - after.credit + unposted[0] - outgoing,
        after.debit - before.credit + unposted[1] + incoming,
    )


def psp_balance_minor(record: PspTotals) -> int:
    """What the PSP should hold after its own movements."""
    incoming = record.captured_minor + record.topped_up_minor + record.other_minor + record.converted_minor
    return incoming - record.refunded_minor - record.fee_minor - record.transferred_minor
