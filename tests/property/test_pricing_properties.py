"""What must hold of every price, whatever the tariff and the session."""

from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.money import EXPONENTS
from clearing.pricing.cdr import parse_cdr
from clearing.pricing.engine import PricedSession, PricingProgram, compile_tariff, price
from clearing.pricing.lint import lint
from clearing.pricing.quote import QuoteRequest, quote
from clearing.pricing.tariff import parse_tariff
from tests.unit.clearing.pricing_builders import (
    V221,
    Number,
    cdr_tree,
    component,
    element,
    encode,
    tariff_tree,
)

ZONES = ["UTC", "Europe/Amsterdam", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]


def decimals(top: int, places: int) -> st.SearchStrategy[str]:
    return st.integers(0, top * 10**places).map(lambda units: f"{Decimal(units).scaleb(-places):f}")


KINDS = st.sampled_from(["ENERGY", "TIME", "PARKING_TIME", "FLAT"])
VATS = st.sampled_from([None, "0", "5.2", "7", "19", "21.0", "25.5"])


@st.composite
def components(draw: st.DrawFn) -> dict[str, Any]:
    steps = st.sampled_from([0, 1, 60, 300, 500])
    return component(draw(KINDS), draw(decimals(9, 4)), vat=draw(VATS), step=draw(steps))


@st.composite
def restrictions(draw: st.DrawFn) -> dict[str, Any]:
    clock = st.sampled_from(["00:00", "06:30", "12:00", "18:45", "23:00"])
    found: dict[str, Any] = {}
    if draw(st.booleans()):
        found |= {"start_time": draw(clock), "end_time": draw(clock)}
    if draw(st.booleans()):
        found["day_of_week"] = draw(st.lists(st.sampled_from(["MONDAY", "FRIDAY", "SUNDAY"]), unique=True))
    if draw(st.booleans()):
        found["max_kwh"] = draw(st.integers(0, 40))
    if draw(st.booleans()):
        found["min_duration"] = draw(st.integers(0, 7200))
    if draw(st.booleans()):
        found["max_power"] = draw(st.integers(0, 60))
    return found


@st.composite
def elements(draw: st.DrawFn) -> dict[str, Any]:
    rules = draw(restrictions()) if draw(st.booleans()) else {}
    return element(*draw(st.lists(components(), min_size=1, max_size=3)), **rules)


TARIFFS = st.lists(elements(), min_size=1, max_size=4)


def compiled(tariff: list[dict[str, Any]], **fields: Any) -> PricingProgram:
    return compile_tariff(parse_tariff(encode(tariff_tree(*tariff, **fields)), version=V221))


@st.composite
def sessions(draw: st.DrawFn) -> dict[str, Any]:
    """A session of whole minutes, each period charging or parked, volumes agreeing with its length."""
    lengths = draw(st.lists(st.integers(1, 180), min_size=1, max_size=6))
    minute = 0
    periods: list[tuple[float, dict[str, str]]] = []
    for length in lengths:
        hours = f"{Decimal(length) / 60:.4f}"
        if draw(st.booleans()):
            periods.append((minute, {"TIME": hours, "ENERGY": draw(decimals(30, 4))}))
        else:
            periods.append((minute, {"PARKING_TIME": hours}))
        minute += length
    day = draw(st.integers(1, 28))
    hour = draw(st.integers(0, 23))
    return cdr_tree(*periods, minutes=minute, start=f"2026-10-{day:02}T{hour:02}:00:00")


def run(program: PricingProgram, tree: dict[str, Any], zone: str = "Europe/Amsterdam") -> PricedSession:
    return price(program, parse_cdr(encode(tree), version=V221), time_zone=zone)


@given(tariff=TARIFFS, tree=sessions(), zone=st.sampled_from(ZONES))
def test_lines_and_taxes_add_up(tariff: list[dict[str, Any]], tree: dict[str, Any], zone: str) -> None:
    found = run(compiled(tariff), tree, zone)
    assert sum((line.excl_vat for line in found.lines), Decimal(0)) == found.excl_vat
    assert sum((line.incl_vat for line in found.lines), Decimal(0)) == found.incl_vat
    tax = found.incl_vat_minor - found.excl_vat_minor
    assert sum(share.tax_minor for share in found.taxes) == tax >= 0
    assert sum(share.net_minor for share in found.taxes) == found.excl_vat_minor
    assert abs(found.excl_vat * 100 - found.excl_vat_minor) <= Decimal("0.5")


@given(tariff=TARIFFS, tree=sessions(), seed=st.integers())
def test_the_order_of_equal_input_is_irrelevant(
    tariff: list[dict[str, Any]], tree: dict[str, Any], seed: int
) -> None:
    shuffled = tree | {"charging_periods": list(tree["charging_periods"])}
    Random(seed).shuffle(shuffled["charging_periods"])
    for period in shuffled["charging_periods"]:
        Random(seed).shuffle(period["dimensions"])
    program = compiled(tariff)
    one, other = run(program, tree), run(program, shuffled)
    assert (one.excl_vat, one.incl_vat, one.rates) == (other.excl_vat, other.incl_vat, other.rates)


@given(tariff=TARIFFS, tree=sessions())
def test_replay_is_identical_to_the_bit(tariff: list[dict[str, Any]], tree: dict[str, Any]) -> None:
    first, again = run(compiled(tariff), tree), run(compiled(tariff), tree)
    assert repr(first.to_dict()) == repr(again.to_dict())
    assert (repr(first.rates), repr(first.lines)) == (repr(again.rates), repr(again.lines))


@given(
    tariff=st.lists(components(), min_size=1, max_size=4),
    minutes=st.lists(st.integers(1, 90), min_size=2, max_size=6),
    energy=st.lists(decimals(30, 3), min_size=6, max_size=6),
)
def test_splitting_a_period_where_nothing_changes_alters_nothing(
    tariff: list[dict[str, Any]], minutes: list[int], energy: list[str]
) -> None:
    program = compiled([element(*tariff)])
    starts = [sum(minutes[:rank]) for rank in range(len(minutes))]
    split = [
        (start, {"TIME": f"{Decimal(length) / 60:.4f}", "ENERGY": kwh})
        for start, length, kwh in zip(starts, minutes, energy, strict=False)
    ]
    used = sum(Decimal(kwh) for _, kwh in zip(split, energy, strict=False))
    whole = (0, {"TIME": f"{Decimal(sum(minutes)) / 60:.4f}", "ENERGY": f"{used}"})
    one = run(program, cdr_tree(whole, minutes=sum(minutes)))
    many = run(program, cdr_tree(*split, minutes=sum(minutes)))
    assert (one.excl_vat, one.incl_vat) == (many.excl_vat, many.incl_vat)


@given(tariff=TARIFFS, tree=sessions(), length=st.integers(1, 120), kwh=decimals(20, 4))
def test_one_more_period_never_lowers_an_unbounded_price(
    tariff: list[dict[str, Any]], tree: dict[str, Any], length: int, kwh: str
) -> None:
    """Of prices that are not negative; a later period may only move where a step is added, never below."""
    steady = [
        {**part, "price_components": [c | {"step_size": 1} for c in part["price_components"]]}
        for part in tariff
    ]
    program = compiled(steady)
    longer = dict(tree)
    last = tree["end_date_time"]
    more = {
        "start_date_time": last,
        "dimensions": [
            {"type": "TIME", "volume": Number(f"{Decimal(length) / 60:.4f}")},
            {"type": "ENERGY", "volume": Number(kwh)},
        ],
    }
    longer["charging_periods"] = [*tree["charging_periods"], more]
    longer["end_date_time"] = later(last, length)
    slack = Decimal("0.01")  # the last second and watt-hour may be rounded up in another, dearer period
    assert run(program, longer).excl_vat >= run(program, tree).excl_vat - slack


def later(moment: str, minutes: int) -> str:
    hours, rest = divmod(int(moment[11:13]) * 60 + int(moment[14:16]) + minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{moment[:8]}{int(moment[8:10]) + days:02}T{hour:02}:{rest:02}:00Z"


@given(tariff=TARIFFS, tree=sessions(), net=decimals(40, 2), span=decimals(40, 2), rate=st.integers(0, 25))
def test_minimum_and_maximum_hold(
    tariff: list[dict[str, Any]], tree: dict[str, Any], net: str, span: str, rate: int
) -> None:
    low, high = Decimal(net), Decimal(net) + Decimal(span)
    factor = Decimal(100 + rate) / 100
    limit = {
        name: {"excl_vat": Number(f"{bound}"), "incl_vat": Number(f"{bound * factor:f}")}
        for name, bound in (("min_price", low), ("max_price", high))
    }
    found = run(compiled(tariff, **limit), tree)
    assert found.excl_vat_minor <= high * 100
    assert found.incl_vat_minor <= high * factor * 100
    assert found.excl_vat_minor >= low * 100 - Decimal("0.5") or found.incl_vat_minor == found.excl_vat_minor


@given(tariff=TARIFFS, currency=st.sampled_from(sorted(EXPONENTS)), tree=sessions())
def test_every_currency_s_total_has_its_digits(
    tariff: list[dict[str, Any]], currency: str, tree: dict[str, Any]
) -> None:
    found = run(compiled(tariff, currency=currency), tree | {"currency": currency})
    text = found.to_dict()["incl_vat"]
    assert len(text.partition(".")[2]) == EXPONENTS[currency]


@given(tariff=TARIFFS)
@settings(max_examples=60)
def test_lint_says_something_or_nothing_but_never_fails(tariff: list[dict[str, Any]]) -> None:
    parsed = parse_tariff(encode(tariff_tree(*tariff)), version=V221)
    findings = lint(parsed)
    assert list(findings) == sorted(
        findings, key=lambda found: [int(x.split("]")[0]) for x in found.path.split("[")[1:]]
    )


@given(
    tariff=TARIFFS, energy=st.integers(1, 80_000), minutes=st.integers(1, 900), zone=st.sampled_from(ZONES)
)
@settings(max_examples=60)
def test_a_quote_spans_no_price_change_and_is_held(
    tariff: list[dict[str, Any]], energy: int, minutes: int, zone: str
) -> None:
    request = QuoteRequest(
        energy_wh=energy,
        duration_s=minutes * 60,
        start=datetime(2026, 10, 24, 20, tzinfo=UTC),
        time_zone=zone,
        max_power_w=50_000,
        parking_s=1800,
    )
    found = quote(compiled(tariff), request)
    assert found.hold_minor >= found.priced.incl_vat_minor
    assert found.priced.energy_wh == energy
    assert "period_spans_price_change" not in {note.code for note in found.priced.notes}
