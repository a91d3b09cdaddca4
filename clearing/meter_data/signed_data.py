"""The signed meter data of a CDR: format, texts and key, from wherever a sender put them.

Owns: the places and the encodings. Must not know: what a record says, or whether it is right.
Source: OCPI 2.2.1 and 2.3.0 mod_cdrs, SignedData and SignedValue. Nobody has settled what goes where for
OCMF: the whole record base64 in signed_data, bare in signed_data, whole in plain_data, or its payload in
plain_data and its signature section in signed_data.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from clearing.meter_data.findings import MeterCode, MeterFinding
from clearing.meter_data.ocmf import HEADER, SEPARATOR, is_ocmf

MAX_VALUES: Final = 500
_SPACE: Final = re.compile(r"\s+")
_FIELD: Final = b'"signed_data"'


class MeterFormat(StrEnum):
    """A format of signed meter data. Only OCMF is checked."""

    OCMF = "ocmf"
    ALFEN = "alfen"
    EDL40 = "edl40"
    ISA_EDL40 = "isa_edl40"
    PCDF = "pcdf"
    CHARGEIT = "chargeit"
    CHARGEPOINT = "chargepoint"
    UNKNOWN = "unknown"


# What the name of an encoding method begins with, in lower case and without separators.
_METHODS: Final[Mapping[str, MeterFormat]] = MappingProxyType(
    {
        "ocmf": MeterFormat.OCMF,
        "alfen": MeterFormat.ALFEN,
        "isaedl40": MeterFormat.ISA_EDL40,
        "edl40": MeterFormat.EDL40,
        "edl": MeterFormat.EDL40,
        "mennekes": MeterFormat.EDL40,
        "pcdf": MeterFormat.PCDF,
        "chargeit": MeterFormat.CHARGEIT,
        "bsm": MeterFormat.CHARGEIT,
        "chargepoint": MeterFormat.CHARGEPOINT,
    }
)
_NOT_LETTERS: Final = re.compile(r"[^a-z0-9]+")


class SignedMeterData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a CDR carries: texts of records in the order sent, each once, and the key that it claims.

    `method` is the encoding method as sent; `problem` says why the field could not be read at all.
    """

    format: MeterFormat
    method: str
    texts: tuple[str, ...]
    claimed_key: str | None = None
    url: str | None = None
    meter_id: str | None = None
    problem: MeterFinding | None = None


class _WireValue(msgspec.Struct, gc=False):
    nature: str | None = None
    plain_data: str | None = None
    signed_data: str | None = None


class _WireSigned(msgspec.Struct, gc=False):
    signed_values: list[_WireValue]
    encoding_method: str = ""
    public_key: str | None = None
    url: str | None = None


class _WireHolder(msgspec.Struct, gc=False):
    signed_data: _WireSigned | None = None
    meter_id: str | None = None


_DECODER: Final = msgspec.json.Decoder(_WireHolder)


def read_signed_data(cdr_raw: bytes) -> SignedMeterData | None:
    """The signed meter data of a CDR's JSON, None where it carries none. Raises nothing."""
    if _FIELD not in cdr_raw:
        return None
    try:
        holder = _DECODER.decode(cdr_raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _unreadable(f"signed_data can't be read: {error}")
    wire = holder.signed_data
    if wire is None:
        return None
    if not 1 <= len(wire.signed_values) <= MAX_VALUES:
        return _unreadable(f"signed_values: expected 1 to {MAX_VALUES} values")
    texts = tuple(dict.fromkeys(_text_of(value) for value in wire.signed_values))
    stated = format_of(wire.encoding_method)
    found = MeterFormat.OCMF if any(map(is_ocmf, texts)) else stated
    return SignedMeterData(
        format=found,
        method=wire.encoding_method,
        texts=texts,
        claimed_key=wire.public_key,
        url=wire.url,
        meter_id=holder.meter_id,
    )


def from_texts(
    texts: Sequence[str],
    *,
    method: str = "OCMF",
    claimed_key: str | None = None,
    problem: MeterFinding | None = None,
) -> SignedMeterData:
    """Signed meter data that came without a CDR."""
    decoded = tuple(dict.fromkeys(decode_text(text) for text in texts))
    found = MeterFormat.OCMF if any(map(is_ocmf, decoded)) else format_of(method)
    return SignedMeterData(
        format=found, method=method, texts=decoded, claimed_key=claimed_key, problem=problem
    )


def format_of(method: str) -> MeterFormat:
    """The format that an encoding method names, compared without case and separators."""
    name = _NOT_LETTERS.sub("", method.lower())
    for start, found in _METHODS.items():
        if name.startswith(start):
            return found
    return MeterFormat.UNKNOWN


def decode_text(text: str) -> str:
    """The text of a value: as it is, or decoded where it is base64 or hex of a record."""
    if is_ocmf(text):
        return text
    compact = _SPACE.sub("", text)
    for decode in (_from_base64, bytes.fromhex):
        try:
            inner = decode(compact).decode()
        except (binascii.Error, ValueError):
            continue
        if is_ocmf(inner):
            return inner
    return text


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _text_of(value: _WireValue) -> str:
    """The record of one value, whichever of the places it is in."""
    signed, plain = value.signed_data or "", value.plain_data or ""
    whole = decode_text(signed)
    if is_ocmf(whole):
        return whole
    if is_ocmf(plain):
        return plain
    if plain.strip().startswith("{"):
        section = signed if signed.strip().startswith("{") else _section(signed)
        return SEPARATOR.join((HEADER, plain, section))
    return signed or plain


def _section(text: str) -> str:
    try:
        return _from_base64(_SPACE.sub("", text)).decode()
    except (binascii.Error, ValueError):
        return text


def _unreadable(problem: str) -> SignedMeterData:
    return SignedMeterData(
        format=MeterFormat.UNKNOWN,
        method="",
        texts=(),
        problem=MeterFinding(code=MeterCode.MALFORMED, text=problem),
    )
