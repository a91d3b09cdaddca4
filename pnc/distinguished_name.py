"""Distinguished names: their attributes as the rules read them, and as text for people.

Owns the encodings of strings in names. Must not know what a name stands for. Names are compared by their
bytes, as RFC 5280 section 7.1 permits.
Source: RFC 5280 section 4.1.2.4, RFC 4514.
"""

from functools import lru_cache
from typing import Final

from pnc.der import OBJECT_IDENTIFIER, SEQUENCE, SET, at_end, check_oid, ends_with_element, enter, oid, skip
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
_COMMON_NAME: Final = bytes.fromhex("550403")
_DOMAIN_COMPONENT: Final = bytes.fromhex("0992268993f22c640119")
_COMMON_NAME_START: Final = bytes((OBJECT_IDENTIFIER, len(_COMMON_NAME))) + _COMMON_NAME
_COMMON_NAME_HEAD: Final = 11  # a common name up to its text: set, pair, OID, and the header of the text
# One for each encoding and each length that takes one byte.
_COMMON_NAME_HEADS: Final = frozenset(
    bytes((SET, size + 9, SEQUENCE, size + 7)) + _COMMON_NAME_START + bytes((tag, size))
    for tag in (_UTF8_STRING, *_ASCII_STRINGS)
    for size in range(119)
)
_ESCAPED: Final = frozenset('"+,;<>\\')


def attributes(name: bytes) -> list[tuple[bytes, str]]:
    """The attributes of a DER Name in order: the type's OID content, and the text.

    A text in an encoding that no rule accepts (T61, BMP, Universal), or beyond its encoding's ASCII, is read
    as replacement characters.

    Raises:
        MalformedCertificateError: not a Name, or an attribute that is no string.
    """
    return [pair for part in _parts(name) for pair in part]


def subject_names(name: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The common names and the domain components of a DER Name, in order.

    What stands before and after a single common name is the same in the certificates of one issuer, and read
    once; the common name itself, which is personal, is not remembered.

    Raises:
        MalformedCertificateError: as `attributes`.
    """
    at = name.find(_COMMON_NAME_START) - 4
    head = name[at : at + _COMMON_NAME_HEAD] if at > 0 else b""
    if head in _COMMON_NAME_HEADS and name.find(_COMMON_NAME_START, at + _COMMON_NAME_HEAD) < 0:
        start, end = at + _COMMON_NAME_HEAD, at + _COMMON_NAME_HEAD + head[-1]
        known = _names_around(name[:at], head, name[end:])
        if known is not None and end <= len(name):
            return (_text(head[-2], name[start:end]),), known
    return _subject_names(name)


@lru_cache(maxsize=1_024)
def _names_around(before: bytes, head: bytes, after: bytes) -> tuple[str, ...] | None:
    """The domain components around the only common name, which starts with `head`, whatever its text is.

    None: it is no part of the name, but stands inside another one. Raises as `attributes`.
    """
    if not ends_with_element(before):
        return None
    common, components = _subject_names(before + head + bytes(head[-1]) + after)
    return components if len(common) == 1 else None


def _subject_names(name: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = attributes(name)
    common = tuple(text for kind, text in found if kind == _COMMON_NAME)
    return common, tuple(text for kind, text in found if kind == _DOMAIN_COMPONENT)


def name_text(name: bytes) -> str:
    """Write a DER Name as text for people, the last part first (RFC 4514).

    Raises:
        MalformedCertificateError: not a Name.
    """
    parts = ["+".join(f"{_type_text(kind)}={_escaped(text)}" for kind, text in part) for part in _parts(name)]
    return ",".join(reversed(parts))


def _parts(name: bytes) -> list[tuple[tuple[bytes, str], ...]]:
    return [_part(item) for item in _items(name)]


def _items(name: bytes) -> list[bytes]:
    """The RelativeDistinguishedNames of a DER Name, uncut."""
    items: list[bytes] = []
    at, name_end = enter(name, 0, SEQUENCE)
    at_end(name_end, len(name))
    while at < name_end:
        stop = skip(name, at)
        items.append(name[at:stop])
        at = stop
    at_end(at, name_end)
    return items


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
