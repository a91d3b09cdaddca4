"""The lines of a disbursement's statement: what each netted payable comes from, in the party's own terms.

Owns: which facts of a session a party sees, their arithmetic, their record. Must not know: the repository,
the statement around them.

A party sees what the driver paid, since every share is counted on it, and the supplies that it makes or
receives, as on its invoices. What others get of the rest is shown as one sum, to the CPO only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from clearing.errors import ClearingInvariantViolation
from clearing.fx import FxLock, convert

CAPTURE: Final = "capture"
# Which earlier entry of the same subject a line reverses.
CORRECTS: Final = MappingProxyType(
    {
        "refund": CAPTURE,
        "refund_failed": "refund",
        "dispute": CAPTURE,
        "dispute_won": "dispute",
        "sale_cancelled": CAPTURE,
        "reserve_release": "reserve_withheld",
    }
)


class LineOrigin(StrEnum):
    """Where a line was before this disbursement."""

    NEW = "new"
    RETURNED = "returned"
    CARRIED_FORWARD = "carried_forward"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverPrice:
    """What the driver paid or got back, signed.

    `gross` = net + VAT of tax jurisdiction `vat_of` at `vat_rate` %.
    """

    currency: str
    net_minor: int
    vat_minor: int
    vat_rate: Decimal
    vat_of: str

    @property
    def gross_minor(self) -> int:
        """With VAT."""
        return self.net_minor + self.vat_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSupply:
    """A supply that the party makes (it is paid) or receives (it pays), as on the invoice of it."""

    leg: str
    made: bool
    counterparty: str
    net_minor: int
    vat_minor: int
    vat_rate: Decimal
    category: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPart:
    """What the session leaves to the party, in the session's currency.

    `owed_minor` = supplies made less supplies received, less the PSP's fee charged to it, plus `other_minor`
    that no supply of its own explains: negative for a share that the platform retains without one, positive
    for
    what of a refund is charged to the platform. `owed_minor` None: only its amount after exchange is known.
    """

    supplies: Sequence[OwnSupply] = ()
    psp_fee_minor: int = 0
    other_minor: int = 0
    owed_minor: int | None = None

    @property
    def net_minor(self) -> int:
        """Its part without VAT."""
        return sum(one.net_minor if one.made else -one.net_minor for one in self.supplies)

    @property
    def vat_minor(self) -> int:
        """The VAT that goes with it."""
        return sum(one.vat_minor if one.made else -one.vat_minor for one in self.supplies)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedDate:
    """A due date that was moved, and why."""

    old: date
    new: date
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementLine:
    """One payable that the disbursement nets: `amount_minor` of the statement's currency, signed.

    `session` is None for what is about no session: a reserve, a receivable that was settled otherwise;
    `about`
    then names the disbursement. `sale_at` is local to the party. `deducted_minor` is all that others have of
    the net together, shown to the CPO only.
    """

    subject_id: UUID
    kind: str
    reference: str
    session: str | None
    about: str | None
    booked_at: datetime
    currency: str
    event_minor: int
    price: DriverPrice | None
    part: OwnPart
    deducted_minor: int | None
    lock: FxLock | None
    amount_minor: int
    due_date: date
    origin: LineOrigin
    sale_at: datetime | None = None
    cdr_id: str | None = None
    authorization_method: str | None = None
    tax_jurisdiction: str | None = None
    energy_kwh: Decimal | None = None
    moved: Sequence[MovedDate] = ()
    flags: Sequence[str] = ()

    @property
    def key(self) -> tuple[UUID, str, str]:
        """Its entry in the journal."""
        return self.subject_id, self.kind, self.reference


def own_part(
    supplies: Sequence[OwnSupply],
    *,
    psp_fee_minor: int,
    kind: str,
    amount_minor: int,
    lock: FxLock | None,
    exchanged_minor: int | None,
) -> OwnPart:
    """The party's part of an entry, with what its own supplies don't explain beside them.

    `exchanged_minor` is what the journal gave into the exchange, where it says so. Raises
    ClearingInvariantViolation where the amount is not what the lock makes of it.
    """
    explained = OwnPart(supplies=supplies).net_minor + OwnPart(supplies=supplies).vat_minor - psp_fee_minor
    if not supplies and not psp_fee_minor:
        return OwnPart()  # a booking of its own, with no session behind it
    if lock is None:
        owed = amount_minor
    else:
        owed = explained if exchanged_minor is None else exchanged_minor
        away = abs(convert(owed, lock) - amount_minor)
        if kind != CAPTURE and away > 1:
            return OwnPart(supplies=supplies, psp_fee_minor=psp_fee_minor)
        if kind == CAPTURE and away:
            raise ClearingInvariantViolation(
                f"{owed} {lock.base} at {lock.applied_rate} is not the {amount_minor} {lock.quote} owed"
            )
    return OwnPart(
        supplies=supplies, psp_fee_minor=psp_fee_minor, other_minor=owed - explained, owed_minor=owed
    )


def line_record(line: SettlementLine, number: int) -> dict[str, Any]:
    """A line as JSON-ready values; decimals are texts, amounts minor units."""
    part = line.part
    return {
        "type": "line",
        "line": number,
        "kind": line.kind,
        "subject_id": str(line.subject_id),
        "reference": line.reference,
        "session": line.session,
        "about": line.about,
        "corrects": CORRECTS.get(line.kind),
        "cdr_id": line.cdr_id,
        "sale_at": None if line.sale_at is None else line.sale_at.isoformat(),
        "booked_at": line.booked_at.isoformat(),
        "authorization_method": line.authorization_method,
        "tax_jurisdiction": line.tax_jurisdiction,
        "energy_kwh": None if line.energy_kwh is None else f"{line.energy_kwh:f}",
        "currency": line.currency,
        "event_minor": line.event_minor,
        "price": None if line.price is None else _price(line.price),
        "supplies": [_supply(supply) for supply in part.supplies],
        "part_minor": part.net_minor,
        "part_vat_minor": part.vat_minor,
        "deducted_minor": line.deducted_minor,
        "psp_fee_minor": part.psp_fee_minor,
        "other_minor": part.other_minor,
        "owed_minor": part.owed_minor,
        "fx": None if line.lock is None else _lock(line.lock),
        "amount_minor": line.amount_minor,
        "due_date": line.due_date.isoformat(),
        "moved": [
            {"from": move.old.isoformat(), "to": move.new.isoformat(), "reason": move.reason}
            for move in line.moved
        ],
        "origin": line.origin.value,
        "flags": list(line.flags),
    }


def _price(price: DriverPrice) -> dict[str, Any]:
    return {
        "gross_minor": price.gross_minor,
        "net_minor": price.net_minor,
        "vat_minor": price.vat_minor,
        "vat_rate": f"{price.vat_rate:f}",
        "vat_of": price.vat_of,
    }


def _supply(supply: OwnSupply) -> dict[str, Any]:
    return {
        "leg": supply.leg,
        "side": "made" if supply.made else "received",
        "counterparty": supply.counterparty,
        "net_minor": supply.net_minor,
        "vat_minor": supply.vat_minor,
        "vat_rate": f"{supply.vat_rate:f}",
        "category": supply.category,
    }


def _lock(lock: FxLock) -> dict[str, Any]:
    return {
        "base": lock.base,
        "quote": lock.quote,
        "rate": f"{lock.rate:f}",
        "markup_bps": lock.markup_bps,
        "rate_date": lock.rate_date.isoformat(),
        "source": lock.source,
    }


def check_record(line: Mapping[str, Any]) -> str | None:
    """What is wrong with a line's own arithmetic: price, part, what is owed, exchange. None: nothing."""
    price, owed = line["price"], line["owed_minor"]
    if price is not None and price["gross_minor"] != price["net_minor"] + price["vat_minor"]:
        return "shows a gross price that is not its net and VAT"
    signs = {"made": 1, "received": -1}
    part = sum(signs[one["side"]] * one["net_minor"] for one in line["supplies"])
    vat = sum(signs[one["side"]] * one["vat_minor"] for one in line["supplies"])
    if (part, vat) != (line["part_minor"], line["part_vat_minor"]):
        return "shows a part that is not the sum of its supplies"
    deducted = line["deducted_minor"]
    if deducted is not None and deducted != price["net_minor"] - part - line["other_minor"]:
        return "deducts what is not the net less its part"
    if owed is None:
        return None
    if owed != part + vat - line["psp_fee_minor"] + line["other_minor"]:
        return f"owes {owed}, which is not its part and VAT less its costs"
    fx = line["fx"]
    if fx is None:
        return None if owed == line["amount_minor"] else f"owes {owed}, but {line['amount_minor']} is netted"
    lock = FxLock(
        base=fx["base"],
        quote=fx["quote"],
        rate=Decimal(fx["rate"]),
        source=fx["source"],
        rate_date=date.fromisoformat(fx["rate_date"]),
        markup_bps=fx["markup_bps"],
    )
    # What is reversed is the difference of two exchanges, each rounded once.
    if abs(convert(owed, lock) - line["amount_minor"]) > (0 if line["kind"] == CAPTURE else 1):
        return f"exchanges {owed} {lock.base} into {line['amount_minor']} {lock.quote}, against its rate"
    return None
