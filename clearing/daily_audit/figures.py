"""The sums of the proof's equation, carried from checkpoint to checkpoint, as pure rules.

Owns: what an entry and its transfers add to each sum. Must not know: how rows are read, what is compared.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from clearing.ledger.journal_entry import PSP_EXPENSE, PSP_RECEIVABLE, EntryKind, Transfer

_RECEIVED: Final = frozenset({"suspense", "suspense_cleared", "receivable_payment"})
_RETURNED_FEES: Final = frozenset(
    {
        "dispute",
        "fee",
        "suspense",
        "suspense_cleared",
        "write_off",
        "own_funds",
        "psp_payout",
        "receivable_payment",
    }
)
_EXECUTED: Final = frozenset({"fx_result", "psp_conversion"})
# What each kind adds to "captured", and what to "paid": kinds that give money back take away.
CAPTURED_SIGN: Final = {
    "capture": 1,
    "refund": -1,
    "refund_failed": 1,
    "dispute": -1,
    "dispute_won": 1,
}
PAID_SIGN: Final = {EntryKind.DISBURSEMENT.value: 1, EntryKind.DISBURSEMENT_RETURN.value: -1}

Sums = defaultdict[str, int]
AccountSums = defaultdict[tuple[str, str], int]


def _sums() -> Sums:
    return defaultdict(int)


def _account_sums() -> AccountSums:
    return defaultdict(int)


@dataclass(slots=True, kw_only=True)
class LedgerFigures:
    """Sums over the entries proved so far, in minor units by currency; the accounts' by account and currency.

    `debits` and `credits` are of every account; `executed` is what executed exchanges and the PSP's
    conversions moved on each position, credits less debits; `converted` is what conversions brought into the
    PSP's balance. An accumulator: it changes with each entry.
    """

    debits: AccountSums = field(default_factory=_account_sums)
    credits: AccountSums = field(default_factory=_account_sums)
    executed: AccountSums = field(default_factory=_account_sums)
    captured: Sums = field(default_factory=_sums)
    received: Sums = field(default_factory=_sums)
    returned_fees: Sums = field(default_factory=_sums)
    paid: Sums = field(default_factory=_sums)
    converted: Sums = field(default_factory=_sums)
    entries: int = 0
    transfers: int = 0

    def add(self, *, kind: str, currency: str, gross_minor: int, transfers: Iterable[Transfer]) -> None:
        """Add one entry with its transfers."""
        self.entries += 1
        if kind in CAPTURED_SIGN:
            self.captured[currency] += CAPTURED_SIGN[kind] * gross_minor
        elif kind in PAID_SIGN:
            self.paid[currency] += PAID_SIGN[kind] * gross_minor
        special = kind in _RECEIVED or kind in _RETURNED_FEES or kind in _EXECUTED
        for line in transfers:
            debit, credit, minor, unit = line
            self.transfers += 1
            self.debits[debit, unit] += minor
            self.credits[credit, unit] += minor
            if special:
                self._add_special(kind, line)

    def _add_special(self, kind: str, line: Transfer) -> None:
        debit, credit, minor, unit = line
        if kind in _RECEIVED:
            self.received[unit] += minor * (_counts_as_received(credit) - _counts_as_received(debit))
        if kind in _RETURNED_FEES and credit == PSP_EXPENSE:
            self.returned_fees[unit] += minor
        if kind in _EXECUTED:
            for account, signed in ((debit, -minor), (credit, minor)):
                if account.startswith("fx:") and account.endswith(":position"):
                    self.executed[account, unit] += signed
                if kind == EntryKind.PSP_CONVERSION.value and account == PSP_RECEIVABLE:
                    self.converted[unit] -= signed

    def accounts(self) -> list[tuple[str, str]]:
        """Every account and currency that was moved, sorted."""
        return sorted({*self.debits, *self.credits})

    def as_json(self) -> dict[str, Any]:
        """JSON-ready, in one order: the same figures are the same bytes."""
        return {
            "accounts": [
                [account, unit, self.debits.get((account, unit), 0), self.credits.get((account, unit), 0)]
                for account, unit in self.accounts()
            ],
            "executed": [
                [account, unit, minor] for (account, unit), minor in sorted(self.executed.items()) if minor
            ],
            **{name: dict(sorted(getattr(self, name).items())) for name in _BY_CURRENCY},
            "entries": self.entries,
            "transfers": self.transfers,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """The inverse of `as_json`."""
        figures = cls(entries=found["entries"], transfers=found["transfers"])
        for account, unit, debit, credit in found["accounts"]:
            if debit:
                figures.debits[account, unit] = debit
            if credit:
                figures.credits[account, unit] = credit
        for account, unit, minor in found["executed"]:
            figures.executed[account, unit] = minor
        for name in _BY_CURRENCY:
            getattr(figures, name).update(found[name])
        return figures


_BY_CURRENCY: Final = ("captured", "received", "returned_fees", "paid", "converted")


def _counts_as_received(account: str) -> int:
    return 1 if account == "suspense" or account.endswith(":payable") else 0
