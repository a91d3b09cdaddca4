"""The signature of a record: its algorithm, and whether a key made it.

Owns: names of algorithms, forms of a signature. Must not know: which key is trusted, what readings mean.
Source: OCMF specification 1.4.1, tables 8 and 22: ECDSA over SHA-256 of the payload as transmitted.
"""

import base64
import binascii
import re
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from clearing.meter_data.findings import MeterCode, MeterFinding
from clearing.meter_data.keys import CURVES, DEFAULT_CURVE, MeterKey, curve_name
from clearing.meter_data.ocmf import OcmfRecord

_ALGORITHM: Final = re.compile(r"ECDSA-([A-Za-z0-9]{1,40})-SHA-?256", re.IGNORECASE)
_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.\d{1,4})?", re.ASCII)
_FIRST_DEFAULT: Final = (0, 4)  # a missing SA means secp256r1 from this version on
_LATEST: Final = (1, 4)
_DER: Final = (None, "application/x-der")
_SCHEME: Final = ec.ECDSA(SHA256())


def check_version(record: OcmfRecord) -> MeterFinding | None:
    """`ocmf_version` for a version that is not known; an unknown minor one is a note. None: known."""
    if record.version is None:
        return None
    found = _VERSION.fullmatch(record.version.strip())
    if found is None or int(found[1]) > _LATEST[0]:
        return MeterFinding(code=MeterCode.VERSION, text=f"OCMF version {record.version[:20]} is not known")
    version = (int(found[1]), int(found[2]))
    if version > _LATEST or version == (0, 0):
        text = f"OCMF version {record.version[:20]} is not known; read as 1.4"
        return MeterFinding(code=MeterCode.VERSION, text=text, note=True)
    return None


def curve_of(record: OcmfRecord) -> str | MeterFinding:
    """The curve that the record says it is signed on, or `algorithm_not_checked`."""
    stated = record.signature.algorithm
    if stated is None:
        found = _VERSION.fullmatch((record.version or "1.0").strip())
        if found is not None and (int(found[1]), int(found[2])) < _FIRST_DEFAULT:
            text = f"OCMF {record.version} has no default algorithm and the record states none"
            return MeterFinding(code=MeterCode.ALGORITHM_NOT_CHECKED, text=text)
        return DEFAULT_CURVE
    match = _ALGORITHM.fullmatch(stated.strip())
    name = "" if match is None else curve_name(match[1])
    if name not in CURVES:
        text = f"the signature algorithm {stated.strip()[:60]!r} is not checked"
        return MeterFinding(code=MeterCode.ALGORITHM_NOT_CHECKED, text=text)
    return name


def verify_record(record: OcmfRecord, key: MeterKey) -> MeterFinding | None:
    """None when `key` signed the record's payload; else `key_curve_differs` or `signature_bad`.

    A record that states an algorithm that is not checked is not the key's: to name one must not avoid it. One
    that states none where its version has no default is checked on the key's curve.
    """
    curve = curve_of(record)
    if isinstance(curve, MeterFinding):
        curve = (record.signature.algorithm or key.curve).strip()[:60]
    if key.curve != curve:
        text = f"the record is signed on {curve}, the key is on {key.curve}"
        return MeterFinding(code=MeterCode.KEY_CURVE_DIFFERS, text=text)
    raw = _signature_bytes(record)
    if raw is None:
        return MeterFinding(
            code=MeterCode.SIGNATURE_BAD, text=f"SD is not {record.signature.encoding} of a signature"
        )
    size = (key.public.curve.key_size + 7) // 8
    for candidate in _forms(raw, size):
        try:
            key.public.verify(candidate, record.signed, _SCHEME)
        except InvalidSignature:
            continue
        return None
    return MeterFinding(
        code=MeterCode.SIGNATURE_BAD,
        text=f"the signature of record {record.context}{record.page} is not the key's",
    )


def _signature_bytes(record: OcmfRecord) -> bytes | None:
    signature = record.signature
    if signature.mime_type not in _DER:
        return None
    try:
        if signature.encoding == "base64":
            return base64.b64decode(signature.data, validate=True)
        return bytes.fromhex(signature.data)
    except (binascii.Error, ValueError):
        return None


def _forms(raw: bytes, size: int) -> list[bytes]:
    """DER, as the specification says; some meters send r and s side by side."""
    if len(raw) != 2 * size:
        return [raw]
    r, s = int.from_bytes(raw[:size], "big"), int.from_bytes(raw[size:], "big")
    return [raw, encode_dss_signature(r, s)]
