"""DER: the elements of certificates, OCSP responses and CRLs, read in place.

Owns tags, definite and minimal lengths, and the primitive types. Every element keeps its exact bytes: names
are compared and hashed, and signatures checked, over what was sent, never over a re-encoding. A default value
that is written out (X.690 section 11.5 wants it absent) is read: a signature covers it, and it has one
meaning. Must not know what a field means.
Source: ITU-T X.690 sections 8 to 11, RFC 5280 sections 4.1 and 4.1.2.5.
"""

from datetime import datetime
from functools import lru_cache
from typing import Final

from pnc.errors import MalformedCertificateError

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_IDENTIFIER: Final = 0x06
ENUMERATED: Final = 0x0A
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31
# Context-specific tags [0] to [2], of a primitive and of a constructed element.
PRIMITIVE_0: Final = 0x80
PRIMITIVE_1: Final = 0x81
PRIMITIVE_2: Final = 0x82
CONSTRUCTED_0: Final = 0xA0
CONSTRUCTED_1: Final = 0xA1
CONSTRUCTED_2: Final = 0xA2
_LONG_FORM: Final = 0x80
_CONSTRUCTED: Final = 0x20
_LONG_TAG: Final = 0x1F  # the number of the tag follows in further bytes
_MAX_LENGTH_BYTES: Final = 3
_HIGH_BIT: Final = 0x80
_ALL_BITS: Final = 0xFF
_MAX_UNUSED_BITS: Final = 7
_TIME_LENGTHS: Final = {UTC_TIME: 13, GENERALIZED_TIME: 15}
_ZULU: Final = ord("Z")
_CENTURY_PIVOT: Final = ord("5")  # RFC 5280 section 4.1.2.5.1: 50 to 99 are of the 20th century
_END_OF_DAY: Final = "24"  # some versions of Python read it as midnight


def enter(der: bytes, at: int, tag: int) -> tuple[int, int]:
    """Return where the content of the element at `at` starts and ends. Raises MalformedCertificateError."""
    try:
        found, length = der[at], der[at + 1]
        start = at + 2
        if length >= _LONG_FORM:
            start, length = _long_length(der, start, length & ~_LONG_FORM)
    except IndexError:
        raise MalformedCertificateError(f"DER: ends at byte {at}, where another element is due") from None
    if found != tag:
        raise _unexpected(tag, found, at)
    end = start + length
    if end > len(der):
        raise MalformedCertificateError(f"DER: the element at byte {at} is longer than its container")
    return start, end


def _unexpected(tag: int, found: int, at: int) -> MalformedCertificateError:
    """Name the tag that stands in place of `tag`, and the two forms of it that BER alone allows."""
    text = f"DER: tag {tag:#x} expected at byte {at}, found {found:#x}"
    if found & _LONG_TAG == _LONG_TAG:
        text += ", the long form of a tag"
    elif found ^ tag == _CONSTRUCTED:
        text += ", the same tag in the other form, primitive or constructed"
    return MalformedCertificateError(text)


def skip(der: bytes, at: int) -> int:
    """Return where the element at `at`, whatever its tag, ends. Raises MalformedCertificateError."""
    if at + 1 >= len(der):
        raise MalformedCertificateError(f"DER: ends at byte {at}, where another element is due")
    length = der[at + 1]
    if length >= _LONG_FORM:
        return enter(der, at, der[at])[1]
    end = at + 2 + length
    if end > len(der):
        raise MalformedCertificateError(f"DER: the element at byte {at} is longer than its container")
    return end


def ends_with_element(start: bytes) -> bool:
    """Whether the beginning of a list, with its header, ends where one of its elements ends.

    It is False also where the beginning can't be read; whoever reads the whole list says why.
    """
    try:
        at = 2 if start[1] < _LONG_FORM else 2 + (start[1] & ~_LONG_FORM)
        while at < len(start):
            length = start[at + 1]
            at += 2 + length if length < _LONG_FORM else _long_element(start, at)
    except (IndexError, MalformedCertificateError):
        return False
    return at == len(start)


def _long_element(der: bytes, at: int) -> int:
    start, length = _long_length(der, at + 2, der[at + 1] & ~_LONG_FORM)
    return start + length - at


def content(der: bytes, tag: int) -> bytes:
    """Return the content of the one element that `der` is. Raises MalformedCertificateError."""
    start, end = enter(der, 0, tag)
    at_end(end, len(der))
    return der[start:end]


def elements(der: bytes, at: int, end: int) -> list[tuple[int, bytes]]:
    """The elements from `at` to `end` as (tag, content). Raises MalformedCertificateError."""
    found: list[tuple[int, bytes]] = []
    while at < end:
        tag = der[at]
        start, stop = enter(der, at, tag)
        found.append((tag, der[start:stop]))
        at = stop
    at_end(at, end)
    return found


def members(der: bytes, tag: int = SEQUENCE) -> list[tuple[int, bytes]]:
    """The elements inside the one element that `der` is. Raises MalformedCertificateError."""
    start, end = enter(der, 0, tag)
    at_end(end, len(der))
    return elements(der, start, end)


def at_end(at: int, end: int) -> None:
    """Check that what was read ends where its container does. Raises MalformedCertificateError."""
    if at != end:
        raise MalformedCertificateError(
            "DER: an element is followed by other bytes or is longer than its container"
        )


def boolean(value: bytes) -> bool:
    """Read the content of a BOOLEAN: 00 or FF (X.690 section 11.1). Raises MalformedCertificateError."""
    if value == b"\xff":
        return True
    if value == b"\x00":
        return False
    raise MalformedCertificateError("DER: a boolean is neither 00 nor FF")


def integer(value: bytes) -> int:
    """Read the content of an INTEGER, which has no needless first octet. Raises MalformedCertificateError."""
    if not value:
        raise MalformedCertificateError("DER: an integer without a value")
    if len(value) > 1 and value[0] == (_ALL_BITS if value[1] & _HIGH_BIT else 0):
        raise MalformedCertificateError("DER: an integer has a needless first octet")
    return int.from_bytes(value, "big", signed=True)


def bits(value: bytes) -> bytes:
    """Return the octets of a BIT STRING's content; unused bits must be zero, trailing zero bits may be there.

    Raises:
        MalformedCertificateError: no count of unused bits, more than 7, or one of them is set.
    """
    if not value or value[0] > _MAX_UNUSED_BITS or (len(value) == 1 and value[0]):
        raise MalformedCertificateError("DER: a bit string does not state its unused bits")
    if value[0] and value[-1] & ((1 << value[0]) - 1):
        raise MalformedCertificateError("DER: an unused bit of a bit string is set")
    return value[1:]


def oid(value: bytes) -> str:
    """Write the content of an OBJECT IDENTIFIER with dots. Raises MalformedCertificateError."""
    check_oid(value)
    arcs: list[int] = []
    arc = 0
    for octet in value:
        arc = arc << 7 | octet & ~_HIGH_BIT
        if octet < _HIGH_BIT:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


@lru_cache(maxsize=1_024)
def check_oid(value: bytes) -> None:
    """Check that an OBJECT IDENTIFIER is whole and minimal. Raises MalformedCertificateError."""
    if not value or value[-1] & _HIGH_BIT or value[0] == _HIGH_BIT:
        raise MalformedCertificateError("DER: an object identifier is not whole")
    for place, octet in enumerate(value):
        if octet == _HIGH_BIT and value[place - 1] < _HIGH_BIT:
            raise MalformedCertificateError("DER: an object identifier has a needless octet")


def time_at(der: bytes, at: int) -> tuple[datetime, int]:
    """Read the Time at `at` to the second, in UTC, and where it ends (RFC 5280 section 4.1.2.5).

    Raises:
        MalformedCertificateError: not a UTCTime or GeneralizedTime with seconds and Z, or no such moment.
    """
    tag = der[at] if at < len(der) else 0
    if tag not in _TIME_LENGTHS:
        raise MalformedCertificateError("a time is neither UTCTime nor GeneralizedTime")
    end = skip(der, at)
    return moment(der[at + 2 : end], tag), end


@lru_cache(maxsize=1_024)
def moment(value: bytes, tag: int) -> datetime:
    """Read the content of a UTCTime or GeneralizedTime. Raises MalformedCertificateError."""
    digits = value[:-1]
    if len(value) != _TIME_LENGTHS[tag] or value[-1] != _ZULU or not digits.isdigit():
        raise MalformedCertificateError("a time is not written to the second, in UTC, with Z")
    if tag == UTC_TIME:
        digits = (b"19" if digits[0] >= _CENTURY_PIVOT else b"20") + digits
    text = digits.decode("ascii")
    day, clock = text[:8], text[8:]
    try:
        if clock[:2] != _END_OF_DAY:
            return datetime.fromisoformat(f"{day}T{clock}+00:00")
    except ValueError:
        pass
    raise MalformedCertificateError(f"a time names no moment: {text}")


def _long_length(der: bytes, start: int, size: int) -> tuple[int, int]:
    """Where the content starts, and its length, given in `size` bytes from `start`. Raises IndexError."""
    if size == 1:
        length, least = der[start], _LONG_FORM
    elif size == 2:  # noqa: PLR2004 - two bytes of length, as most certificates have
        length, least = der[start] << 8 | der[start + 1], 1 << 8
    else:
        length, least = int.from_bytes(der[start : start + size], "big"), 1 << 16
    if length < least or size > _MAX_LENGTH_BYTES:
        raise MalformedCertificateError(f"DER: the length before byte {start} is not definite and minimal")
    return start + size, length
