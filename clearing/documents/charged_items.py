"""What a driver was charged for: energy, time and fees as lines, the place, start and end.

Owns: the lines of a priced session as a document shows them, and their parts of the amount that was booked.
Must not know: VAT, numbering, the repository.
Source: Directive 2006/112/EC art. 226(6) to (8): quantity and nature, date, unit price exclusive of VAT.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from clearing.money import EXACT, Rounding, half_away, proportion, quantize, to_major
from clearing.parties.business_details import BusinessAddress, BusinessDetails
from clearing.pricing.priced import Line, PricedSession, Reason
from clearing.pricing.restrictions import Phase
from clearing.pricing.tariff import Dimension

_DIGITS: Final = 4  # of a quantity and of an amount of a price line
_SECONDS: Final = Decimal(60)


class Unit(StrEnum):
    """UN/ECE Recommendation 20: how a quantity is counted (BT-130)."""

    KWH = "KWH"
    MINUTE = "MIN"
    ONE = "C62"


class ItemKind(StrEnum):
    """What a line is for; each has a text in every language of documents."""

    ENERGY = "item_energy"
    CHARGING_TIME = "item_charging_time"
    PARKING_TIME = "item_parking_time"
    SESSION_FEE = "item_session_fee"
    RESERVATION = "item_reservation"
    MINIMUM_PRICE = "item_minimum_price"
    MAXIMUM_PRICE = "item_maximum_price"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargedItem:
    """One line: `amount_minor` is its signed part of the net that was booked.

    `unit_price` is in major units, without VAT, four decimals; None where the line has none of its own.
    """

    kind: ItemKind
    quantity: Decimal
    unit: Unit
    unit_price: Decimal | None
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxInCurrency:
    """The VAT of a document in the currency of the state whose VAT it is (BT-6, BT-111), by which rate."""

    currency: str
    vat_minor: int
    rate: Decimal
    rate_source: str
    rate_day: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentBuyer:
    """The business that a driver's document names, as registered; `vat_id` only if proven that day."""

    id: str
    name: str
    country: str
    vat_id: str | None
    details: BusinessDetails


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargedSession:
    """What a driver's document shows of a session beside its amounts, as stored with the document.

    Times are local to the charge point. `operator` is the CPO's name where another sells. `corrects_day` is
    the day of the document that this one corrects (BT-26).
    """

    started_at: datetime | None = None
    ended_at: datetime | None = None
    evse_id: str | None = None
    address: BusinessAddress | None = None
    operator: str | None = None
    items: tuple[ChargedItem, ...] = ()
    corrects_day: str | None = None
    tax: TaxInCurrency | None = None
    buyer: DocumentBuyer | None = None

    def to_json(self) -> str:
        """As JSON, which is stored."""
        return msgspec.json.encode(self, order="sorted").decode()


NOTHING_KNOWN: Final = ChargedSession()
_decoder: Final = msgspec.json.Decoder(ChargedSession)


def parse_charged_session(text: str | None) -> ChargedSession:
    """From its JSON; a document of before has none."""
    return NOTHING_KNOWN if text is None else _decoder.decode(text)


def charged_items(priced: PricedSession, *, net_minor: int) -> tuple[ChargedItem, ...]:
    """The lines of a price by kind and unit price, energy first, their amounts scaled to the booked net.

    Each is within one minor unit of its exact part, and together they are `net_minor`. Empty where the price
    came to nothing.
    """
    sums: dict[tuple[ItemKind, Decimal | None], tuple[Decimal, Decimal]] = {}
    for line in priced.lines:
        kind = _kind(line)
        volume, amount = sums.get((kind, line.price), (Decimal(0), Decimal(0)))
        sums[kind, line.price] = (
            EXACT.add(volume, line.billed_volume),
            EXACT.add(amount, line.excl_vat),
        )
    order = list(ItemKind)
    kept = {key: one for key, one in sorted(sums.items(), key=lambda item: order.index(item[0][0])) if one[1]}
    weights = [int(amount.scaleb(_DIGITS)) for _, amount in kept.values()]
    if not sum(weights):
        return ()
    amounts = proportion(net_minor, weights)
    # Less than the price was captured, or the tariff's prices have VAT within that it does not state.
    scaled = abs(net_minor - priced.excl_vat_minor) > 1
    found = []
    for ((kind, _), (volume, amount)), minor in zip(kept.items(), amounts, strict=True):
        quantity = _quantity(kind, volume)
        shown = to_major(minor, priced.currency) if scaled else amount
        found.append(
            ChargedItem(
                kind=kind,
                quantity=quantity,
                unit=_unit(kind),
                unit_price=_unit_price(shown, quantity),
                amount_minor=minor,
            )
        )
    return tuple(found)


def corrected_items(
    items: Sequence[ChargedItem], *, net_minor: int, of_minor: int
) -> tuple[ChargedItem, ...]:
    """The lines of a correction: `net_minor` of the `of_minor` that was sold, in the same proportions."""
    if not items or not of_minor:
        return ()
    amounts = proportion(net_minor, [item.amount_minor for item in items])
    return tuple(
        replace(
            item, quantity=corrected_quantity(item.quantity, part=net_minor, of=of_minor), amount_minor=minor
        )
        for item, minor in zip(items, amounts, strict=True)
    )


def corrected_quantity(quantity: Decimal, *, part: int, of: int) -> Decimal:
    """The part of a quantity that a correction is about, four decimals, positive."""
    scaled = int(quantity.scaleb(_DIGITS).to_integral_value())
    found = Decimal(half_away(scaled * abs(part), abs(of))).scaleb(-_DIGITS)
    return found.normalize() if found else Decimal(0)


def _kind(line: Line) -> ItemKind:
    if line.dimension is None:
        return ItemKind.MAXIMUM_PRICE if line.reason is Reason.MAX_PRICE else ItemKind.MINIMUM_PRICE
    if line.phase in (Phase.RESERVATION, Phase.RESERVATION_EXPIRES):
        return ItemKind.RESERVATION
    return {
        Dimension.ENERGY: ItemKind.ENERGY,
        Dimension.TIME: ItemKind.CHARGING_TIME,
        Dimension.PARKING_TIME: ItemKind.PARKING_TIME,
        Dimension.FLAT: ItemKind.SESSION_FEE,
    }[line.dimension]


def _unit(kind: ItemKind) -> Unit:
    if kind is ItemKind.ENERGY:
        return Unit.KWH
    return Unit.MINUTE if kind in (ItemKind.CHARGING_TIME, ItemKind.PARKING_TIME) else Unit.ONE


def _quantity(kind: ItemKind, volume: Decimal) -> Decimal:
    """In the line's unit; a reservation or a limit is one, however long it was."""
    if kind in (ItemKind.RESERVATION, ItemKind.MINIMUM_PRICE, ItemKind.MAXIMUM_PRICE):
        return Decimal(1)
    counted = EXACT.divide(volume, _SECONDS) if _unit(kind) is Unit.MINUTE else volume
    found = quantize(counted, digits=_DIGITS, rounding=Rounding.HALF_AWAY)
    return found.normalize() if found else Decimal(0)


def _unit_price(amount: Decimal, quantity: Decimal) -> Decimal | None:
    if not quantity:
        return None
    return quantize(EXACT.divide(amount, quantity), digits=_DIGITS, rounding=Rounding.HALF_AWAY)
