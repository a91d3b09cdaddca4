"""From a netted payable's rows to the line of a statement: what of its entry concerns the party.

Owns: which legs are the party's own, to whom the PSP's fee is charged, what went into an exchange. Must not
know: the records' form, SQL.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from clearing.errors import ClearingInvariantViolation
from clearing.fx import FxLock
from clearing.identifiers import format_id
from clearing.ledger.account_statement import StatementBatch
from clearing.ledger.journal_entry import PSP_EXPENSE, SESSION_TRANSIT, Transfer, position_account
from clearing.parties.agreement import Role
from clearing.settlement_statements.lines import (
    CAPTURE,
    DriverPrice,
    LineOrigin,
    MovedDate,
    OwnSupply,
    SettlementLine,
    own_part,
)
from clearing.tax.vat import SupplyLeg, VatDecision

_OF_SESSIONS: Final = frozenset(
    {"capture", "refund", "refund_failed", "dispute", "dispute_won", "sale_cancelled", "sale_reissued"}
)
_OF_DISBURSEMENTS: Final = frozenset(
    {"reserve_withheld", "reserve_release", "remainder_carried", "remainder_release"}
)
# Flags of the entry that every party is shown; others come with the VAT ruling of a leg.
_COMMON_FLAGS: Final = frozenset({"captured_below_price", "tariff_vat_differs"})
_MOST_RULINGS: Final = 4096
_RULING: Final = re.compile(r'"ruling":"([0-9a-f]{16})"')


class LineReader:
    """Reads the rows of one batch after the other, for one party and account."""

    def __init__(
        self,
        *,
        party_id: str,
        account: str,
        currency: str,
        zone: ZoneInfo,
        before: Mapping[int, int],
    ) -> None:
        """`before` is the cut of the statement before: what lies within it was in the opening balance."""
        self._party_id = party_id
        self._account = account
        self._currency = currency
        self._zone = zone
        self._before = before
        self._rulings: dict[str, VatDecision] = {}

    def missing_rulings(self, rows: Sequence[Any]) -> Sequence[str]:
        """The VAT rulings of a batch that the reader has not; they are few, and never change."""
        named = {name for row in rows for name in _RULING.findall(row["legs"])}
        return sorted(named - self._rulings.keys())

    def add_rulings(self, rulings: Mapping[str, VatDecision], *, rows: Sequence[Any]) -> None:
        """Add the missing rulings of a batch; with very many, only those of `rows` stay."""
        if len(self._rulings) > _MOST_RULINGS:
            named = {name for row in rows for name in _RULING.findall(row["legs"])}
            self._rulings = {name: one for name, one in self._rulings.items() if name in named}
        self._rulings |= rulings

    def lines(self, rows: Sequence[Any], sealed: StatementBatch) -> list[SettlementLine]:
        """The lines of one batch whose rulings were added; it reads nothing.

        Raises ClearingInvariantViolation where an entry isn't in its batch.
        """
        legs = [json.loads(row["legs"]) for row in rows]
        transfers = {
            (entry.subject_id, entry.kind, entry.reference): [transfer for transfer, _ in entry.transfers]
            for entry in sealed.entries
        }
        found = []
        for row, legs_of_row in zip(rows, legs, strict=True):
            key = (row["subject_id"], row["kind"], row["reference"])
            if key not in transfers:
                raise ClearingInvariantViolation(f"payable {key} has no transfer on {self._account}")
            found.append(self._line(row, legs_of_row, transfers[key]))
        return found

    def _line(
        self, row: Any, legs: Sequence[Mapping[str, Any]], transfers: Sequence[Transfer]
    ) -> SettlementLine:
        own = [leg for leg in legs if self._party_id in (leg["supplier"], leg["customer"])]
        lock = _lock(row)
        price = self._price(row, legs)
        part = own_part(
            [self._supply(leg) for leg in own],
            psp_fee_minor=_psp_fee(transfers) if self._cost_charged_to(row, legs) == self._party_id else 0,
            kind=row["kind"],
            amount_minor=row["amount_minor"],
            lock=lock,
            exchanged_minor=self._exchanged(row, transfers, lock),
        )
        is_cpo = row["cpo_id"] == self._party_id
        return SettlementLine(
            subject_id=row["subject_id"],
            kind=row["kind"],
            reference=row["reference"],
            session=format_id("ses", row["subject_id"]) if row["kind"] in _OF_SESSIONS else None,
            about=format_id("dis", row["subject_id"]) if row["kind"] in _OF_DISBURSEMENTS else None,
            booked_at=row["booked_at"],
            currency=row["session_currency"],
            event_minor=row["gross_minor"],
            price=price,
            part=part,
            deducted_minor=None
            if price is None or not (own and is_cpo)
            else price.net_minor - part.net_minor - part.other_minor,
            lock=lock,
            amount_minor=row["amount_minor"],
            due_date=row["due_date"],
            origin=self._origin(row),
            sale_at=None if row["sale_at"] is None else row["sale_at"].astimezone(self._zone),
            cdr_id=row["cdr_id"],
            authorization_method=row["authorization_method"],
            tax_jurisdiction=row["tax_jurisdiction"],
            energy_kwh=row["energy_kwh"],
            moved=_moved(row["moved"]),
            flags=self._flags(row, own),
        )

    def _origin(self, row: Any) -> LineOrigin:
        if row["came_back"]:
            return LineOrigin.RETURNED
        within = row["position"] <= self._before.get(row["chain"], 0)
        return LineOrigin.CARRIED_FORWARD if within else LineOrigin.NEW

    def _price(self, row: Any, legs: Sequence[Mapping[str, Any]]) -> DriverPrice | None:
        if not legs or legs[0]["leg"] != SupplyLeg.TO_DRIVER:
            return None
        ruling = self._rulings[legs[0]["ruling"]]
        return DriverPrice(
            currency=row["session_currency"],
            net_minor=legs[0]["net"],
            vat_minor=legs[0]["vat"],
            vat_rate=ruling.rate,
            vat_of=ruling.vat_of,
        )

    def _supply(self, leg: Mapping[str, Any]) -> OwnSupply:
        ruling = self._rulings[leg["ruling"]]
        made = leg["supplier"] == self._party_id
        return OwnSupply(
            leg=leg["leg"],
            made=made,
            counterparty=leg["customer"] if made else leg["supplier"],
            net_minor=leg["net"],
            vat_minor=leg["vat"],
            vat_rate=ruling.rate,
            category=ruling.category.value,
        )

    def _cost_charged_to(self, row: Any, legs: Sequence[Mapping[str, Any]]) -> str | None:
        """The party to which the agreement charges the PSP's fee."""
        role = row["psp_cost_charged_to"]
        named = {Role.CPO: row["cpo_id"], Role.DEMAND_PARTNER: row["demand_partner_id"]}
        if role in named:
            party_id: str | None = named[role]
            return party_id
        return next((leg["supplier"] for leg in legs[1:] if leg["role"] == role), None)

    def _exchanged(self, row: Any, transfers: Sequence[Transfer], lock: FxLock | None) -> int | None:
        """What of a capture was converted: the transfer before the one that ends on the account."""
        if lock is None or row["kind"] != CAPTURE:
            return None
        position = position_account(lock.base, lock.quote)
        for before, after in pairwise(transfers):
            if {after.debit_account, after.credit_account} != {position, self._account}:
                continue
            if (before.debit_account, before.credit_account) == (SESSION_TRANSIT, position):
                return before.amount_minor
            if (before.debit_account, before.credit_account) == (position, SESSION_TRANSIT):
                return -before.amount_minor
        return None

    def _flags(self, row: Any, own: Sequence[Mapping[str, Any]]) -> list[str]:
        ruled = {flag for leg in own for flag in self._rulings[leg["ruling"]].flags}
        return [flag for flag in row["flags"] if flag in ruled or flag in _COMMON_FLAGS]


def _psp_fee(transfers: Sequence[Transfer]) -> int:
    return sum(
        line.amount_minor
        for line in transfers
        if (line.debit_account, line.credit_account) == (SESSION_TRANSIT, PSP_EXPENSE)
    )


def _lock(row: Any) -> FxLock | None:
    if row["rate"] is None:
        return None
    return FxLock(
        base=row["base"],
        quote=row["quote"],
        rate=row["rate"],
        source=row["source"],
        rate_date=row["rate_date"],
        markup_bps=row["markup_bps"],
    )


def _moved(legs_of_row: str | None) -> list[MovedDate]:
    if legs_of_row is None:
        return []
    return [
        MovedDate(old=date.fromisoformat(old), new=date.fromisoformat(new), reason=reason)
        for old, new, reason in json.loads(legs_of_row)
    ]
