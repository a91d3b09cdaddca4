"""The ECB's files of euro reference rates, as CSV, as XML, and within its zip.

Owns: their formats, their bounds, and what makes a file unreadable. Must not know: which rates are known
already, who fetched the file. Source: the ECB's page of euro foreign exchange reference rates
(eurofxref.csv, eurofxref-hist.csv, eurofxref-daily.xml, eurofxref-hist-90d.xml, and the zips of the CSVs).
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Final
from xml.etree.ElementTree import Element

from clearing.errors import UnknownCurrencyError, UnreadableMessageError, UnreadableRatesError
from clearing.fx import LAST_DAY, PIVOT, ReferenceRate
from clearing.iso20022.safe_xml import children, local, subtrees
from clearing.money import exponent

SOURCE: Final = "ECB"
MAX_BYTES: Final = 16 * 2**20  # the whole history since 1999 is 2 MB as CSV
FIRST_DAY: Final = date(1999, 1, 4)  # the first publication
_FETCH_AGAIN: Final = "fetch the file from the ECB again"
_RATE: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_ISO_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LONG_DAY: Final = re.compile(r"([0-9]{1,2}) ([A-Z][a-z]{2,8}) ([0-9]{4})")
_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_HOLES: Final = frozenset({"", "N/A"})
_ZIP_MAGIC: Final = b"PK\x03\x04"
_ENCRYPTED: Final = 1
# Other methods have no bound on what one read unpacks.
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


def read_rates(content: bytes, *, today: date) -> Sequence[ReferenceRate]:
    """Every rate of one of the ECB's files, by day and currency, with exactly the file's figures.

    `today` is Frankfurt's: a later day is rejected. Raises UnreadableRatesError, which names the place and
    what to do, for another file, an impossible currency or figure, or two figures for one day.
    """
    if len(content) > MAX_BYTES:
        raise UnreadableRatesError("the file", f"is larger than {MAX_BYTES} bytes; {_FETCH_AGAIN}")
    if content.startswith(_ZIP_MAGIC):
        content = _unzipped(content)
    start = content[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    found = _from_xml(content) if start.startswith(b"<") else _from_csv(content)
    rates: dict[tuple[date, str], Decimal] = {}
    for where, day, currency, figure in found:
        if day > today:
            raise UnreadableRatesError(where, f"{day} is in the future; is this system's clock right?")
        _check_currency(where, currency, day)
        rate = _figure(where, figure)
        if rates.setdefault((day, currency), rate) != rate:
            raise UnreadableRatesError(
                where, f"{currency} of {day} is {rate} here and {rates[day, currency]} before; {_FETCH_AGAIN}"
            )
    if not rates:
        raise UnreadableRatesError("the file", f"has no rates; {_FETCH_AGAIN}")
    return tuple(
        ReferenceRate(base=PIVOT, quote=currency, rate_date=day, rate=rate, source=SOURCE)
        for (day, currency), rate in sorted(rates.items())
    )


def _unzipped(content: bytes) -> bytes:
    """The one member of a zip, within the bounds whatever size its directory states."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) != 1:
                raise UnreadableRatesError(
                    "the zip", f"has {len(members)} files, expected one; {_FETCH_AGAIN}"
                )
            (member,) = members
            if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
                raise UnreadableRatesError("the zip", f"is encrypted or not deflated; {_FETCH_AGAIN}")
            with archive.open(member) as stream:
                unpacked = stream.read(MAX_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise UnreadableRatesError("the zip", f"can't be unpacked ({error}); {_FETCH_AGAIN}") from None
    except ValueError as error:
        raise UnreadableRatesError("the zip", f"has an invalid member ({error}); {_FETCH_AGAIN}") from None
    if len(unpacked) > MAX_BYTES:
        raise UnreadableRatesError("the zip", f"unpacks to more than {MAX_BYTES} bytes; {_FETCH_AGAIN}")
    return unpacked


def _from_csv(content: bytes) -> Iterator[tuple[str, date, str, str]]:
    """Each rate with its place: one column per currency, one line per day, with or without a final comma."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableRatesError(
            "the file", f"is not UTF-8 text (byte {error.start}); {_FETCH_AGAIN}"
        ) from None
    lines = text.split("\n")
    head = [cell.strip() for cell in lines[0].split(",")]
    if head[0] != "Date":
        raise UnreadableRatesError(
            "line 1", f"begins with {_shown(head[0])}, expected 'Date'; {_FETCH_AGAIN}"
        )
    if head[-1] == "":
        head.pop()
    if len(set(head)) != len(head):
        raise UnreadableRatesError("line 1", f"names a currency twice; {_FETCH_AGAIN}")
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == len(head) + 1 and cells[-1] == "":
            cells.pop()
        if len(cells) != len(head):
            raise UnreadableRatesError(
                f"line {number}",
                f"has {len(cells)} columns, expected {len(head)}: it was cut; {_FETCH_AGAIN}",
            )
        day = _day(f"line {number}, column Date", cells[0])
        for currency, figure in zip(head[1:], cells[1:], strict=True):
            if figure not in _HOLES:
                yield f"line {number}, column {_shown(currency)}", day, currency, figure


def _from_xml(content: bytes) -> Iterator[tuple[str, date, str, str]]:
    """Each rate with its place: `Cube/Cube[@time]/Cube[@currency][@rate]`."""
    try:
        for _, outer in subtrees(io.BytesIO(content), names={"Cube"}, max_bytes=MAX_BYTES):
            for day in children(outer, "Cube"):
                yield from _of_day(day)
    except UnreadableMessageError as error:
        raise UnreadableRatesError("the XML", f"can't be read ({error.detail}); {_FETCH_AGAIN}") from None


def _of_day(element: Element) -> Iterable[tuple[str, date, str, str]]:
    time = element.get("time")
    if time is None:
        raise UnreadableRatesError("the XML, /Envelope/Cube/Cube", f"has no time; {_FETCH_AGAIN}")
    day = _day(f"the XML, /Envelope/Cube/Cube[@time={_shown(time)}]", time)
    for one in element:
        currency, figure = one.get("currency"), one.get("rate")
        where = f"the XML, Cube[@time='{day}']/{local(one.tag)}"
        if currency is None or figure is None:
            raise UnreadableRatesError(where, f"has no currency or no rate; {_FETCH_AGAIN}")
        yield f"{where}[@currency={_shown(currency)}]", day, currency, figure


def _day(where: str, text: str) -> date:
    long = _LONG_DAY.fullmatch(text)
    if long is not None and long[2] in _MONTHS:
        text = f"{long[3]}-{_MONTHS.index(long[2]) + 1:02}-{int(long[1]):02}"
    try:
        day = date.fromisoformat(text if _ISO_DAY.fullmatch(text) else "")
    except ValueError:
        raise UnreadableRatesError(
            where,
            f"{_shown(text)} is no day, expected one such as 2026-10-30 or 30 October 2026; {_FETCH_AGAIN}",
        ) from None
    if day < FIRST_DAY:
        raise UnreadableRatesError(
            where, f"{day} is before the first publication, {FIRST_DAY}; {_FETCH_AGAIN}"
        )
    return day


def _check_currency(where: str, currency: str, day: date) -> None:
    """A currency of ISO 4217 that existed on the day."""
    if currency == PIVOT:
        raise UnreadableRatesError(
            where, f"the rates are per euro, so EUR can't be among them; {_FETCH_AGAIN}"
        )
    last = LAST_DAY.get(currency)
    if last is None:
        try:
            exponent(currency)
        except UnknownCurrencyError:
            raise UnreadableRatesError(
                where, f"{_shown(currency)} is no currency of ISO 4217 that this release knows; update it"
            ) from None
    elif day > last:
        raise UnreadableRatesError(
            where, f"{currency} ended on {last}, so it has no rate of {day}; {_FETCH_AGAIN}"
        )


def _figure(where: str, text: str) -> Decimal:
    rate = Decimal(text) if _RATE.fullmatch(text) else Decimal(0)
    if rate <= 0:
        raise UnreadableRatesError(
            where,
            f"{_shown(text)} is no rate, expected a decimal figure above 0 such as 0.9194; {_FETCH_AGAIN}",
        )
    return rate


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")  # noqa: PLR2004 - enough to recognize it
