"""Distinguished names: their attributes as the rules read them, and as text for people.

Owns the encodings of strings in names. Must not know what a name stands for. Names are compared by their
bytes, as RFC 5280 section 7.1 permits.
Source: RFC 5280 section 4.1.2.4, RFC 4514.
"""

from functools import lru_cache
from typing import Final

from pnc.der import OBJECT_IDENTIFIER, SEQUENCE, SET, at_end, check_oid, enter, oid, skip
from pnc.errors import MalformedCertificateError

_UTF8_STRING: Final = 0x0C
_ASCII_STRINGS: Final = frozenset({0x12, 0x13, 0x16})  # NumericString, PrintableString, IA5String
# Of scripts and encodings that no rule accepts, with the octets of one character.
_OTHER_STRINGS: Final = {0x03: 1, 0x14: 1, 0x1C: 4, 0x1E: 2}
_SHORT_NAMES: Final = {
    "2.5.4.3": "CN",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.6": "C",
    "2.5.4.9": "STREET",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
}
_COMMON_NAME_START: Final = bytes.fromhex("0603550403")
_AFTER_TWO_HEADERS: Final = 4  # of the set and the pair, both shorter than 128 bytes
_ESCAPED: Final = frozenset('"+,;<>\\')


def attributes(name: bytes) -> list[tuple[bytes, str]]:
    """The attributes of a DER Name in order: the type's OID content, and the text.

    A text in an encoding that no rule accepts (T61, BMP, Universal), or beyond its encoding's ASCII, is read
    as replacement characters.

    Raises:
        MalformedCertificateError: not a Name, or an attribute that is no string.
    """
    return [pair for part in _parts(name) for pair in part]


def name_text(name: bytes) -> str:
    """Write a DER Name as text for people, the last part first (RFC 4514).

    Raises:
        MalformedCertificateError: not a Name.
    """
    parts = ["+".join(f"{_type_text(kind)}={_escaped(text)}" for kind, text in part) for part in _parts(name)]
    return ",".join(reversed(parts))


def _parts(name: bytes) -> list[tuple[tuple[bytes, str], ...]]:
    parts: list[tuple[tuple[bytes, str], ...]] = []
    at, name_end = enter(name, 0, SEQUENCE)
    at_end(name_end, len(name))
    while at < name_end:
        stop = skip(name, at)
        item = name[at:stop]
        # A common name is mostly its certificate's own; authorities repeat the other parts.
        own = item.startswith(_COMMON_NAME_START, _AFTER_TWO_HEADERS)
        parts.append(_part.__wrapped__(item) if own else _part(item))
        at = stop
    at_end(at, name_end)
    return parts


@lru_cache(maxsize=1_024)
def _part(item: bytes) -> tuple[tuple[bytes, str], ...]:
    """The attributes of one RelativeDistinguishedName."""
    part: list[tuple[bytes, str]] = []
    at, set_end = enter(item, 0, SET)
    at_end(set_end, len(item))
    while at < set_end:
        at, pair_end = enter(item, at, SEQUENCE)
        oid_start, oid_end = enter(item, at, OBJECT_IDENTIFIER)
        kind = item[oid_start:oid_end]
        check_oid(kind)
        value_end = skip(item, oid_end)
        if value_end != pair_end:
            raise MalformedCertificateError("a name's attribute is more than a type and a value")
        value_start, _ = enter(item, oid_end, item[oid_end])
        part.append((kind, _text(item[oid_end], item[value_start:value_end])))
        at = pair_end
    at_end(at, set_end)
    return tuple(part)


def _text(tag: int, value: bytes) -> str:
    if tag == _UTF8_STRING:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedCertificateError("a name's attribute is not in its declared encoding") from None
    if tag in _ASCII_STRINGS:
        return value.decode("ascii", "replace")
    octets = _OTHER_STRINGS.get(tag)
    if octets is None:
        raise MalformedCertificateError("a name's attribute is no string")
    if len(value) % octets:
        raise MalformedCertificateError("a name's attribute is not in its declared encoding")
    return "\N{REPLACEMENT CHARACTER}" * max(1, len(value) // octets)


def _type_text(kind: bytes) -> str:
    dotted = oid(kind)
    return _SHORT_NAMES.get(dotted, dotted)


def _escaped(text: str) -> str:
    shown = "".join(f"\\{character}" if character in _ESCAPED else character for character in text)
    shown = shown.replace("\x00", "\\00")
    if shown.startswith((" ", "#")):
        shown = "\\" + shown
    return shown[:-1] + "\\ " if text.endswith(" ") and len(text) > 1 else shown
