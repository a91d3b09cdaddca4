"""Lines of a driver's document: as the tariff prices, in quantities, summing to the booked net."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.documents.charged_items import (
    ChargedItem,
    ChargedSession,
    ItemKind,
    TaxInCurrency,
    Unit,
    charged_items,
    corrected_items,
    corrected_quantity,
    parse_charged_session,
)
from clearing.documents.semantic_model import net_price
from clearing.money import Rounding, quantize
from tests.unit.clearing.pricing_builders import component, element, priced_by, program_of

PROGRAM = program_of(
    element(
        component("ENERGY", "0.50", vat="21.0"),
        component("PARKING_TIME", "2.40", vat="21.0"),
        component("FLAT", "0.44", vat="21.0"),
    )
)


def shown(items: Sequence[ChargedItem]) -> list[tuple[str, str, str, str | None, int]]:
    return [
        (
            one.kind.name,
            f"{one.quantity:f}",
            one.unit.value,
            None if one.unit_price is None else f"{one.unit_price:f}",
            one.amount_minor,
        )
        for one in items
    ]


def test_energy_time_and_fee_are_lines_with_their_unit_prices() -> None:
    # 10 kWh x 0.50 + 0.5 h x 2.40 + 0.44 = 5.00 + 1.20 + 0.44 = 6.64 net.
    priced = priced_by(PROGRAM, (0, {"ENERGY": "10"}), (30, {"PARKING_TIME": "0.5"}))
    assert priced.excl_vat_minor == 664
    assert shown(charged_items(priced, net_minor=664)) == [
        ("ENERGY", "10", "KWH", "0.5000", 500),
        ("PARKING_TIME", "30", "MIN", "0.0400", 120),
        ("SESSION_FEE", "1", "C62", "0.4400", 44),
    ]


def test_a_capture_below_the_price_has_its_own_unit_prices() -> None:
    priced = priced_by(PROGRAM, (0, {"ENERGY": "10"}), (30, {"PARKING_TIME": "0.5"}))
    assert shown(charged_items(priced, net_minor=332)) == [
        ("ENERGY", "10", "KWH", "0.2500", 250),
        ("PARKING_TIME", "30", "MIN", "0.0200", 60),
        ("SESSION_FEE", "1", "C62", "0.2200", 22),
    ]


@pytest.mark.parametrize(
    ("limit", "kind", "amount"),
    [
        ({"max_price": {"excl_vat": 4}}, "MAXIMUM_PRICE", -100),
        ({"min_price": {"excl_vat": 6}}, "MINIMUM_PRICE", 100),
    ],
)
def test_a_limit_of_the_price_is_a_line_of_its_own(limit: dict[str, object], kind: str, amount: int) -> None:
    program = program_of(element(component("ENERGY", "0.50", vat="21.0")), **limit)
    priced = priced_by(program, (0, {"ENERGY": "10"}))
    items = charged_items(priced, net_minor=priced.excl_vat_minor)
    assert [(one.kind.name, one.amount_minor) for one in items] == [("ENERGY", 500), (kind, amount)]


@given(kwh=st.integers(1, 10**6), parked=st.integers(0, 600), net=st.integers(1, 10**7))
def test_the_lines_sum_to_the_net_that_was_booked(kwh: int, parked: int, net: int) -> None:
    energy = f"{Decimal(kwh).scaleb(-4):f}"
    priced = priced_by(
        PROGRAM, (0, {"ENERGY": energy}), (30, {"PARKING_TIME": f"{Decimal(parked).scaleb(-2):f}"})
    )
    items = charged_items(priced, net_minor=net)
    assert sum(one.amount_minor for one in items) == net
    whole = sum((line.excl_vat for line in priced.lines), Decimal(0))
    for one in items:
        exact = sum((line.excl_vat for line in priced.lines if kind_of(line) == one.kind), Decimal(0))
        assert abs(one.amount_minor - exact * net / whole) < 1


def kind_of(line: object) -> ItemKind:
    named = {
        "ENERGY": ItemKind.ENERGY,
        "PARKING_TIME": ItemKind.PARKING_TIME,
        "FLAT": ItemKind.SESSION_FEE,
    }
    return named[str(getattr(line, "dimension", ""))]


@given(
    amounts=st.lists(st.integers(1, 10**6), min_size=1, max_size=4),
    part=st.integers(1, 10**6),
)
def test_the_lines_of_a_correction_sum_to_what_is_corrected(amounts: list[int], part: int) -> None:
    items = [
        ChargedItem(
            kind=ItemKind.ENERGY, quantity=Decimal(7), unit=Unit.KWH, unit_price=None, amount_minor=minor
        )
        for minor in amounts
    ]
    found = corrected_items(items, net_minor=part, of_minor=sum(amounts))
    assert sum(one.amount_minor for one in found) == part
    assert corrected_items(items, net_minor=sum(amounts), of_minor=sum(amounts)) == tuple(items)


def test_a_part_of_a_quantity() -> None:
    # Of 10 kWh for 6.05, 1.21 is given back: 2 kWh.
    assert corrected_quantity(Decimal(10), part=-121, of=605) == Decimal(2)
    assert corrected_quantity(Decimal(0), part=1, of=605) == 0


@given(
    net=st.integers(-(10**7), 10**7).filter(bool),
    quantity=st.decimals("0.0001", "100000", places=4),
)
def test_price_by_quantity_is_the_net(net: int, quantity: Decimal) -> None:
    """Peppol BIS Billing 3, R120, with a price that is never negative (BR-27)."""
    amount = Decimal(net).scaleb(-2)
    counted = quantity if net > 0 else -quantity
    price = net_price(amount, counted)
    assert price >= 0
    assert quantize(price * counted, digits=2, rounding=Rounding.HALF_AWAY) == amount


def test_what_is_stored_is_what_is_read() -> None:
    session = ChargedSession(
        evse_id="NL*ABC*E1",
        tax=TaxInCurrency(
            currency="CHF", vat_minor=12, rate=Decimal("0.95"), rate_source="ECB", rate_day="2026-10-12"
        ),
        items=charged_items(priced_by(PROGRAM, (0, {"ENERGY": "10"})), net_minor=544),
    )
    assert parse_charged_session(session.to_json()) == session
    assert parse_charged_session(None) == ChargedSession()
