"""From a netted payable's rows to the line of a statement: what of its entry concerns the party.

Owns: which legs are the party's own, who bears the PSP's fee, what went into an exchange. Must not know: the
records' form, SQL.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from clearing.connection import Connection
from clearing.errors import InvariantViolation
from clearing.fx import FxLock
from clearing.journal.ledger import PSP_EXPENSE, SESSION_TRANSIT, Transfer, position_account
from clearing.journal.statement import StatementBatch
from clearing.parties.agreement import Role
from clearing.payouts.statement_lines import (
    CAPTURE,
    DriverPrice,
    MovedDate,
    Origin,
    OwnSupply,
    PaymentLine,
    own_part,
)
from clearing.store.captures import rulings_of
from clearing.tax.vat import Leg, VatDecision

_OF_SESSIONS: Final = frozenset({"capture", "reversal", "refund", "refund_failed", "dispute", "dispute_won"})
_OF_PAYMENTS: Final = frozenset({"reserve_hold", "reserve_release", "remainder_hold", "remainder_release"})
# What a flag of the entry tells everybody; others come with the VAT ruling of a leg.
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
        names: Callable[[str, UUID], str],
    ) -> None:
        """`before` is the cut of the statement before: what lies within it was in the opening balance."""
        self._party_id = party_id
        self._account = account
        self._currency = currency
        self._zone = zone
        self._before = before
        self._names = names
        self._rulings: dict[str, VatDecision] = {}

    async def learn(self, connection: Connection, rows: Sequence[Any]) -> None:
        """Read the rulings of a batch that are not known yet; they are few, and never change."""
        named = {name for row in rows for name in _RULING.findall(row["legs"])}
        if named <= self._rulings.keys():
            return
        if len(self._rulings) > _MOST_RULINGS:
            self._rulings.clear()
        self._rulings |= await rulings_of(connection, sorted(named - self._rulings.keys()))

    def lines(self, rows: Sequence[Any], sealed: StatementBatch) -> list[PaymentLine]:
        """The lines of one batch whose rulings were learned; it reads nothing.

        Raises InvariantViolation where an entry isn't in its batch.
        """
        legs = [json.loads(row["legs"]) for row in rows]
        transfers = {
            (entry.subject_id, entry.kind, entry.reference): [transfer for transfer, _ in entry.transfers]
            for entry in sealed.entries
        }
        found = []
        for row, told in zip(rows, legs, strict=True):
            key = (row["subject_id"], row["kind"], row["reference"])
            if key not in transfers:
                raise InvariantViolation(f"payable {key} has no transfer on {self._account}")
            found.append(self._line(row, told, transfers[key]))
        return found

    def _line(
        self, row: Any, legs: Sequence[Mapping[str, Any]], transfers: Sequence[Transfer]
    ) -> PaymentLine:
        own = [leg for leg in legs if self._party_id in (leg["supplier"], leg["customer"])]
        lock = _lock(row)
        price = self._price(row, legs)
        part = own_part(
            [self._supply(leg) for leg in own],
            psp_fee_minor=_psp_fee(transfers) if self._bearer(row, legs) == self._party_id else 0,
            kind=row["kind"],
            amount_minor=row["amount_minor"],
            lock=lock,
            exchanged_minor=self._exchanged(row, transfers, lock),
        )
        is_cpo = row["cpo_id"] == self._party_id
        return PaymentLine(
            subject_id=row["subject_id"],
            kind=row["kind"],
            reference=row["reference"],
            session=self._names("ses", row["subject_id"]) if row["kind"] in _OF_SESSIONS else None,
            about=self._names("dis", row["subject_id"]) if row["kind"] in _OF_PAYMENTS else None,
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
            rail=row["rail"],
            territory=row["territory"],
            energy_kwh=row["energy_kwh"],
            moved=_moved(row["moved"]),
            flags=self._flags(row, own),
        )

    def _origin(self, row: Any) -> Origin:
        if row["came_back"]:
            return Origin.RETURNED
        within = row["position"] <= self._before.get(row["chain"], 0)
        return Origin.CARRIED_FORWARD if within else Origin.NEW

    def _price(self, row: Any, legs: Sequence[Mapping[str, Any]]) -> DriverPrice | None:
        if not legs or legs[0]["leg"] != Leg.TO_DRIVER:
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

    def _bearer(self, row: Any, legs: Sequence[Mapping[str, Any]]) -> str | None:
        """The party that the agreement lets bear what the PSP keeps."""
        role = row["psp_cost_bearer"]
        named = {Role.CPO: row["cpo_id"], Role.DEMAND_PARTNER: row["demand_partner_id"]}
        if role in named:
            bearer: str | None = named[role]
            return bearer
        return next((leg["supplier"] for leg in legs[1:] if leg["role"] == role), None)

    def _exchanged(self, row: Any, transfers: Sequence[Transfer], lock: FxLock | None) -> int | None:
        """What a capture gave into the exchange: the transfer before the one that ends on the account."""
        if lock is None or row["kind"] != CAPTURE:
            return None
        position = position_account(lock.base, lock.quote)
        for given, taken in pairwise(transfers):
            if {taken.debit_account, taken.credit_account} != {position, self._account}:
                continue
            if (given.debit_account, given.credit_account) == (SESSION_TRANSIT, position):
                return given.amount_minor
            if (given.debit_account, given.credit_account) == (position, SESSION_TRANSIT):
                return -given.amount_minor
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


def _moved(told: str | None) -> list[MovedDate]:
    if told is None:
        return []
    return [
        MovedDate(old=date.fromisoformat(old), new=date.fromisoformat(new), reason=reason)
        for old, new, reason in json.loads(told)
    ]
