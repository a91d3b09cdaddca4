"""Public keys of meters: read from the texts that senders use, and named by their curve.

Owns: curves, spellings, forms of a key. Must not know: whose key it is, what it signs.
Source: OCMF specification 1.4.1, tables 22 and 23; RFC 5480 (SubjectPublicKeyInfo).
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from clearing.meter_data.findings import MeterCode, MeterFinding

DEFAULT_CURVE: Final = "secp256r1"
MAX_KEY_CHARACTERS: Final = 2_048
CURVES: Final[Mapping[str, type[ec.EllipticCurve]]] = MappingProxyType(
    {
        "secp192r1": ec.SECP192R1,
        "secp256k1": ec.SECP256K1,
        "secp256r1": ec.SECP256R1,
        "secp384r1": ec.SECP384R1,
        "brainpool256r1": ec.BrainpoolP256R1,
        "brainpool384r1": ec.BrainpoolP384R1,
    }
)
_SYNONYMS: Final = MappingProxyType(
    {
        "prime192v1": "secp192r1",
        "prime256v1": "secp256r1",
        "prime384v1": "secp384r1",
        "brainpoolp256r1": "brainpool256r1",
        "brainpoolp384r1": "brainpool384r1",
    }
)
_NOT_CHECKED_OIDS: Final = MappingProxyType({bytes.fromhex("06052b8104001f"): "secp192k1"})
_SPACE: Final = re.compile(r"\s+")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
_PEM: Final = re.compile(r"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", re.DOTALL)
_SEQUENCE: Final = 0x30
_UNCOMPRESSED: Final = 0x04


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterKey:
    """A public key; `der` is its SubjectPublicKeyInfo, the one form in which keys are compared."""

    curve: str
    der: bytes
    public: ec.EllipticCurvePublicKey


def curve_name(text: str) -> str:
    """The curve's name as the specification writes it, whatever the spelling."""
    lowered = text.strip().lower()
    return _SYNONYMS.get(lowered, lowered)


def read_key(text: str, *, curve: str | None = None) -> MeterKey | MeterFinding:
    """A key from hex, base64 or PEM: SubjectPublicKeyInfo, or a bare point on `curve`.

    Returns `key_malformed`, or `algorithm_not_checked` for a curve that can't be computed here. Raises
    nothing, whatever the text.
    """
    if len(text) > MAX_KEY_CHARACTERS:
        return _malformed(f"is {len(text)} characters long; at most {MAX_KEY_CHARACTERS} are read")
    raw = _decode(text)
    if raw is None:
        return _malformed("expected hex, base64 or PEM")
    found = _of_der(raw) if raw[0] == _SEQUENCE else None
    if found is None or (isinstance(found, MeterFinding) and found.code is MeterCode.KEY_MALFORMED):
        return _of_point(raw, curve)  # the first byte of a bare point may be that of a sequence
    return found


@lru_cache(maxsize=4_096)
def key_of_der(der: bytes) -> MeterKey:
    """A key that was stored, read once, since a meter signs many sessions.

    Raises ValueError for anything that `read_key` would not have given.
    """
    found = _of_der(der)
    if isinstance(found, MeterFinding):
        raise ValueError(found.text)  # noqa: TRY004 - the bytes are wrong, not their type
    return found


def _decode(text: str) -> bytes | None:
    """The bytes of a key; base64 of text that itself is hex or PEM is read through."""
    for _ in range(2):
        pem = _PEM.search(text)
        compact = _SPACE.sub("", text if pem is None else pem[1])
        if not compact:
            return None
        if _HEX.fullmatch(compact) and pem is None:
            return bytes.fromhex(compact)
        try:
            raw = base64.b64decode(compact, validate=True)
        except (binascii.Error, ValueError):
            return None
        if not raw:
            return None
        try:
            inner = raw.decode("ascii")
        except UnicodeDecodeError:
            return raw
        text = inner
    return None


def _of_der(raw: bytes) -> MeterKey | MeterFinding:
    for oid, name in _NOT_CHECKED_OIDS.items():
        if oid in raw[:32]:
            return MeterFinding(
                code=MeterCode.ALGORITHM_NOT_CHECKED, text=f"a key on the curve {name} is not checked"
            )
    try:
        public = load_der_public_key(raw)
    except UnsupportedAlgorithm:
        return MeterFinding(code=MeterCode.ALGORITHM_NOT_CHECKED, text="a key on a curve that is not checked")
    except (ValueError, TypeError):
        return _malformed("is no SubjectPublicKeyInfo")
    if not isinstance(public, ec.EllipticCurvePublicKey):
        return MeterFinding(
            code=MeterCode.ALGORITHM_NOT_CHECKED, text="a key of another kind than ECDSA is not checked"
        )
    return _named(public)


def _of_point(raw: bytes, curve: str | None) -> MeterKey | MeterFinding:
    kind = CURVES.get(curve or "")
    if kind is None:
        return _malformed("is a bare point; its curve is not known")
    size = (kind().key_size + 7) // 8
    point = raw if raw[0] == _UNCOMPRESSED and len(raw) == 2 * size + 1 else bytes([_UNCOMPRESSED]) + raw
    if len(point) != 2 * size + 1:
        return _malformed(f"is {len(raw)} bytes; expected SubjectPublicKeyInfo or a point on {curve}")
    try:
        return _named(ec.EllipticCurvePublicKey.from_encoded_point(kind(), point))
    except ValueError:
        return _malformed(f"is no point on {curve}")


def _named(public: ec.EllipticCurvePublicKey) -> MeterKey | MeterFinding:
    name = curve_name(public.curve.name)
    if name not in CURVES:
        return MeterFinding(
            code=MeterCode.ALGORITHM_NOT_CHECKED, text=f"a key on the curve {name} is not checked"
        )
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return MeterKey(curve=name, der=der, public=public)


def _malformed(problem: str) -> MeterFinding:
    return MeterFinding(code=MeterCode.KEY_MALFORMED, text=f"the public key {problem}")
