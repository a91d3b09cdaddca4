"""Extensions of certificates, as far as rules read them; what must be honored and is not known is named.

Owns which extensions are read, and their encodings as certificate authorities issue them. Must not know which
are required where: that is pnc.profile.
Source: RFC 5280 section 4.2, RFC 6960 section 4.2.2.2.1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

from pnc.der import (
    BIT_STRING,
    BOOLEAN,
    CONSTRUCTED_0,
    CONSTRUCTED_1,
    CONSTRUCTED_2,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    PRIMITIVE_0,
    PRIMITIVE_1,
    PRIMITIVE_2,
    SEQUENCE,
    at_end,
    bits,
    boolean,
    check_oid,
    content,
    elements,
    ends_with_element,
    enter,
    integer,
    members,
    oid,
    skip,
)
from pnc.distinguished_name import attributes
from pnc.errors import MalformedCertificateError

_OCSP: Final = bytes.fromhex("2b06010505073001")
_URI: Final = 0x86
_DIRECTORY_NAME: Final = 0xA4
_IP_ADDRESS: Final = 0x87
_IP_OCTETS: Final = frozenset({4, 16})
_REGISTERED_ID: Final = 0x88
_OTHER_NAME: Final = 0xA0
_TEXT_NAMES: Final = frozenset({0x81, 0x82, _URI})
GeneralName = tuple[int, bytes]


class RawExtension(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One extension: the content of its OID, whether it is critical, and its value in DER."""

    kind: bytes
    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """The usages that the rules read (RFC 5280 section 4.2.1.3); others may be set."""

    digital_signature: bool
    key_cert_sign: bool
    crl_sign: bool


class Extensions(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The extensions that the rules read. `unhandled` names critical ones, and name or policy constraints.

    `authority_issuer` is the DER name in authorityKeyIdentifier; `extended_usages` are dotted OIDs.
    """

    is_authority: bool = False
    has_basic_constraints: bool = False
    basic_constraints_critical: bool = False
    path_length: int | None = None
    key_usage: KeyUsage | None = None
    extended_usages: frozenset[str] | None = None
    authority_key_id: bytes | None = None
    authority_issuer: bytes | None = None
    authority_serial: int | None = None
    ocsp_urls: tuple[str, ...] = ()
    crl_urls: tuple[str, ...] = ()
    unhandled: tuple[str, ...] = ()


def extension_list(der: bytes) -> list[RawExtension]:
    """Cut a DER Extensions value into its parts; `critical FALSE`, written out or not, is not critical.

    Raises:
        MalformedCertificateError: not Extensions, or one of them repeats (RFC 5280 section 4.2).
    """
    found: list[RawExtension] = []
    seen: set[bytes] = set()
    for item in _items(der):
        extension = _raw_extension(item)
        if extension.kind in seen:
            raise MalformedCertificateError(f"the extension {oid(extension.kind)} repeats")
        seen.add(extension.kind)
        found.append(extension)
    return found


def read_extensions(der: bytes) -> tuple[Extensions, bytes | None]:
    """Read a certificate's Extensions in DER, and its own key identifier; empty bytes are none.

    All but the key identifier is the same in the certificates of one issuer, so the bytes before and after it
    are read once.

    Raises:
        MalformedCertificateError: they can't be read, or one repeats.
    """
    at = der.find(_KEY_ID_START) - 2
    head = der[at : at + _KEY_ID_HEAD] if at > 0 else b""
    if head in _KEY_ID_HEADS:
        start, end = at + _KEY_ID_HEAD, at + _KEY_ID_HEAD + head[-1]
        known = _read_around(der[:at], head, der[end:])
        if known is not None and end <= len(der):
            return known, der[start:end]
    return read_every_extension(der)


@lru_cache(maxsize=1_024)
def _read_around(before: bytes, head: bytes, after: bytes) -> Extensions | None:
    """Read Extensions around a key identifier that starts with `head`, whatever its octets are.

    None: it is no element of the list, but stands inside another one. Elements are read from left to right,
    so whether one begins after `before` does not depend on the octets. Raises as `read_extensions`.
    """
    if not ends_with_element(before):
        return None
    return _read_items(_items(before + head + bytes(head[-1]) + after))[0]


def read_every_extension(der: bytes) -> tuple[Extensions, bytes | None]:
    """Read as `read_extensions`, and remember nothing."""
    return _read_items(_items(der)) if der else (Extensions(), None)


def _items(der: bytes) -> list[bytes]:
    """The elements of a DER Extensions value, uncut."""
    at, end = enter(der, 0, SEQUENCE)
    at_end(end, len(der))
    found: list[bytes] = []
    while at < end:
        stop = skip(der, at)
        found.append(der[at:stop])
        at = stop
    at_end(at, end)
    return found


def _raw_extension(item: bytes) -> RawExtension:
    at, end = enter(item, 0, SEQUENCE)
    at_end(end, len(item))
    start, at = enter(item, at, OBJECT_IDENTIFIER)
    kind = item[start:at]
    check_oid(kind)
    critical = False
    if item[at : at + 1] == bytes((BOOLEAN,)):
        start, at = enter(item, at, BOOLEAN)
        critical = boolean(item[start:at])
    start, at = enter(item, at, OCTET_STRING)
    at_end(at, end)
    return RawExtension(kind=kind, critical=critical, value=item[start:at])


def _read_items(items: list[bytes]) -> tuple[Extensions, bytes | None]:
    """Read extensions, each given as its whole element. Raises as `read_extensions`."""
    facts: dict[str, Any] = {}
    unhandled: list[str] = []
    seen: set[bytes] = set()
    for item in items:
        extension = _raw_extension(item)
        if extension.kind in seen:
            raise MalformedCertificateError(f"the extension {oid(extension.kind)} repeats")
        seen.add(extension.kind)
        reader = _READERS.get(extension.kind)
        if reader is not None:
            try:
                facts.update(reader(extension.value))
            except MalformedCertificateError as problem:
                raise MalformedCertificateError(
                    f"the extension {oid(extension.kind)} can't be read: {problem}"
                ) from None
            if extension.kind == _BASIC_CONSTRAINTS:
                facts["basic_constraints_critical"] = extension.critical
            # RFC 5280 makes the others non-critical; a critical one requires something that we do not do.
            if extension.critical and extension.kind not in _MAY_BE_CRITICAL:
                unhandled.append(oid(extension.kind))
        elif extension.kind in _CONSTRAINING or (
            extension.critical and extension.kind not in _HARMLESS_CRITICAL
        ):
            unhandled.append(oid(extension.kind))
    key_id: bytes | None = facts.pop("subject_key_id", None)
    return Extensions(**facts, unhandled=tuple(unhandled)), key_id


def general_names(names: list[GeneralName]) -> list[GeneralName]:
    """Check GeneralNames, given as (tag, content), and return them.

    A name in a form that no rule reads is checked as far as its form says (RFC 5280 section 4.2.1.6).

    Raises:
        MalformedCertificateError: there is none, or one is of no known form.
    """
    if not names:
        raise MalformedCertificateError("an extension lists no name")
    for tag, value in names:
        good = True
        if tag == _DIRECTORY_NAME:
            attributes(value)
        elif tag == _IP_ADDRESS:
            good = len(value) in _IP_OCTETS
        elif tag == _REGISTERED_ID:
            check_oid(value)
        elif tag == _OTHER_NAME:
            parts = elements(value, 0, len(value))
            good = [part[0] for part in parts] == [OBJECT_IDENTIFIER, CONSTRUCTED_0]
        else:
            good = tag in _TEXT_NAMES
        if not good:
            raise MalformedCertificateError("an extension names something in an unknown form")
    return names


def _check_relative_name(value: bytes) -> None:
    """Check a RelativeDistinguishedName: a set of attributes, each a type with its value."""
    attributes = elements(value, 0, len(value))
    for tag, attribute in attributes:
        parts = elements(attribute, 0, len(attribute)) if tag == SEQUENCE else []
        if len(parts) != _TYPE_AND_VALUE or parts[0][0] != OBJECT_IDENTIFIER:
            raise MalformedCertificateError("a distribution point's relative name is no set of attributes")
    if not attributes:
        raise MalformedCertificateError("a distribution point's relative name is empty")


def distribution_urls(point: bytes) -> tuple[str, ...]:
    """The addresses in the content of a DistributionPointName (RFC 5280 section 4.2.1.13).

    Raises:
        MalformedCertificateError: neither a full name nor a relative one.
    """
    parts = elements(point, 0, len(point))
    match parts:
        case [(0xA0, value)]:
            return _urls(general_names(elements(value, 0, len(value))))
        case [(0xA1, value)]:
            _check_relative_name(value)
            return ()
        case _:
            raise MalformedCertificateError("a distribution point has a name in an unknown form")


_TYPE_AND_VALUE: Final = 2
# What a reader found: field names of Extensions with their values.
Facts = tuple[tuple[str, Any], ...]


def _basic_constraints(value: bytes) -> Facts:
    parts = members(value)
    authority = boolean(parts.pop(0)[1]) if parts and parts[0][0] == BOOLEAN else False
    length = integer(parts.pop(0)[1]) if parts and parts[0][0] == INTEGER else None
    if length is not None and length < 0:
        raise MalformedCertificateError("a path length is negative")
    if parts:
        raise MalformedCertificateError("basic constraints hold more than their two fields")
    return (("is_authority", authority), ("path_length", length), ("has_basic_constraints", True))


def _key_usage(value: bytes) -> Facts:
    octets = bits(content(value, BIT_STRING))
    first = octets[0] if octets else 0
    usage = KeyUsage(
        digital_signature=bool(first & 0x80), key_cert_sign=bool(first & 0x04), crl_sign=bool(first & 0x02)
    )
    return (("key_usage", usage),)


def _extended_usages(value: bytes) -> Facts:
    usages = members(value)
    if not usages or any(tag != OBJECT_IDENTIFIER for tag, _ in usages):
        raise MalformedCertificateError("an extended key usage lists no usage")
    return (("extended_usages", frozenset(oid(usage) for _, usage in usages)),)


def _subject_key_id(value: bytes) -> Facts:
    return (("subject_key_id", content(value, OCTET_STRING)),)


def _authority_key_id(value: bytes) -> Facts:
    parts = members(value)
    key_id = parts.pop(0)[1] if parts and parts[0][0] == PRIMITIVE_0 else None
    issuer: bytes | None = None
    if parts and parts[0][0] == CONSTRUCTED_1:
        listed = parts.pop(0)[1]
        names = general_names(elements(listed, 0, len(listed)))
        issuer = next((name for tag, name in names if tag == _DIRECTORY_NAME), None)
    serial = integer(parts.pop(0)[1]) if parts and parts[0][0] == PRIMITIVE_2 else None
    if parts:
        raise MalformedCertificateError("an authority key identifier holds more than its three fields")
    return (("authority_key_id", key_id), ("authority_issuer", issuer), ("authority_serial", serial))


def _access(value: bytes) -> Facts:
    urls: list[str] = []
    for tag, description in members(value):
        parts = elements(description, 0, len(description))
        if tag != SEQUENCE or len(parts) != 2 or parts[0][0] != OBJECT_IDENTIFIER:  # noqa: PLR2004 - a method and a place
            raise MalformedCertificateError("authority information access is not a list of places")
        check_oid(parts[0][1])
        places = _urls(general_names(parts[1:]))
        if parts[0][1] == _OCSP:
            urls += places
    return (("ocsp_urls", tuple(urls)),)


def _distribution(value: bytes) -> Facts:
    urls: list[str] = []
    for tag, point in members(value):
        parts = elements(point, 0, len(point))
        if tag != SEQUENCE:
            raise MalformedCertificateError("CRL distribution points are not a list of points")
        if parts and parts[0][0] == CONSTRUCTED_0:
            urls += distribution_urls(parts.pop(0)[1])
        if parts and parts[0][0] == PRIMITIVE_1:
            bits(parts.pop(0)[1])
        if parts and parts[0][0] == CONSTRUCTED_2:
            issuers = parts.pop(0)[1]
            general_names(elements(issuers, 0, len(issuers)))
        if parts:
            raise MalformedCertificateError("a CRL distribution point holds more than its three fields")
    return (("crl_urls", tuple(urls)),)


def _alternative_names(value: bytes) -> Facts:
    general_names(members(value))
    return ()


def _urls(names: list[GeneralName]) -> tuple[str, ...]:
    return tuple(value.decode("ascii") for tag, value in names if tag == _URI and value.isascii())


_BASIC_CONSTRAINTS: Final = bytes.fromhex("551d13")
_KEY_USAGE: Final = bytes.fromhex("551d0f")
_SUBJECT_KEY_ID: Final = bytes.fromhex("551d0e")
_KEY_ID_START: Final = bytes((OBJECT_IDENTIFIER, len(_SUBJECT_KEY_ID))) + _SUBJECT_KEY_ID
_KEY_ID_HEAD: Final = 11  # a key identifier up to its octets: header, OID, and two headers of OCTET STRING
# One for each length that takes one byte, of a key identifier that is not critical.
_KEY_ID_HEADS: Final = frozenset(
    bytes((SEQUENCE, size + 9)) + _KEY_ID_START + bytes((OCTET_STRING, size + 2, OCTET_STRING, size))
    for size in range(119)
)
_READERS: Final[Mapping[bytes, Callable[[bytes], Facts]]] = {
    _BASIC_CONSTRAINTS: _basic_constraints,
    _KEY_USAGE: _key_usage,
    bytes.fromhex("551d25"): _extended_usages,
    _SUBJECT_KEY_ID: _subject_key_id,
    bytes.fromhex("551d23"): _authority_key_id,
    bytes.fromhex("2b06010505070101"): _access,
    bytes.fromhex("551d1f"): _distribution,
    bytes.fromhex("551d11"): _alternative_names,
}
_MAY_BE_CRITICAL: Final = frozenset({_BASIC_CONSTRAINTS, _KEY_USAGE, bytes.fromhex("551d25")})
_HARMLESS_CRITICAL: Final = frozenset({bytes.fromhex("551d20")})  # certificatePolicies: any is acceptable
# What a path must honor (RFC 5280 section 6.1, RFC 3779, RFC 3820) and ISO 15118 does not use: present is
# rejected. Name constraints, policy mappings, policy constraints, inhibitAnyPolicy; IP address blocks,
# autonomous systems; proxy certificates; Netscape's certificate type.
_CONSTRAINING: Final = frozenset(
    map(
        bytes.fromhex,
        (
            *("551d1e", "551d21", "551d24", "551d36"),
            *("2b06010505070107", "2b06010505070108", "2b0601050507010e", "6086480186f8420101"),
        ),
    )
)
