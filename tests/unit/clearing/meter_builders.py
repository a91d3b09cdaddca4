"""Meters of the tests: keys, signed OCMF records, and CDRs that carry them."""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clearing.meter_data.keys import CURVES
from clearing.meter_data.registered_key import (
    MeterIdentity,
    MeterKeySource,
    MeterKeyState,
    RegisteredKey,
)
from tests.unit.clearing.pricing_builders import Number, cdr_tree, encode

METER = "1EMH0012345678"
BEGIN = {
    "TM": "2026-11-02T10:00:00,000+0000 S",
    "TX": "B",
    "RV": 100.5,
    "RI": "1-0:1.8.0",
    "RU": "kWh",
    "EF": "",
    "ST": "G",
}
END = {"TM": "2026-11-02T11:00:00,000+0000 S", "TX": "E", "RV": 110.5}
START_AT = datetime(2026, 11, 2, 10, tzinfo=UTC)
END_AT = datetime(2026, 11, 2, 11, tzinfo=UTC)


@cache
def private_key(curve: str = "secp256r1", seed: int = 7) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(seed * 1_000_003, CURVES[curve]())


def public_der(curve: str = "secp256r1", seed: int = 7) -> bytes:
    public = private_key(curve, seed).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def payload(readings: Sequence[Mapping[str, Any]] = (BEGIN, END), **changes: Any) -> dict[str, Any]:
    tree = {"FV": "1.2", "GS": "GW1", "PG": "T7", "MS": METER, "IS": True, "IL": "VERIFIED", "IT": "NONE"}
    found = tree | {"RD": list(readings)} | changes
    return {name: value for name, value in found.items() if value is not None}


def sign(tree: Mapping[str, Any] | str, *, curve: str = "secp256r1", seed: int = 7, **section: Any) -> str:
    """A record: the payload's text, and the signature of its bytes."""
    text = tree if isinstance(tree, str) else json.dumps(tree)
    signature = private_key(curve, seed).sign(text.encode(), ec.ECDSA(SHA256()))
    return "|".join(
        ("OCMF", text, json.dumps({"SA": f"ECDSA-{curve}-SHA256", "SD": signature.hex()} | section))
    )


def record(*readings: Mapping[str, Any], curve: str = "secp256r1", seed: int = 7, **changes: Any) -> str:
    return sign(payload(readings or (BEGIN, END), **changes), curve=curve, seed=seed)


def registered(*, curve: str = "secp256r1", seed: int = 7, number: int = 1, **changes: Any) -> RegisteredKey:
    values: dict[str, Any] = {
        "id": UUID(int=number),
        "party_id": "NL-ABC",
        "identity": MeterIdentity(meter_serial=METER),
        "curve": curve,
        "der": public_der(curve, seed),
        "source": MeterKeySource.CPO,
        "state": MeterKeyState.ACTIVE,
        "valid_from": datetime(2026, 1, 1, tzinfo=UTC),
        "valid_to": None,
        "entered_by": "NL-ABC",
        "entered_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return RegisteredKey(**values | changes)


def signed_values(*texts: str, key: bytes | None = None, **changes: Any) -> dict[str, Any]:
    """OCPI SignedData with each record base64 in signed_data."""
    values = [
        {"nature": "End", "plain_data": "", "signed_data": base64.b64encode(text.encode()).decode()}
        for text in texts
    ]
    found: dict[str, Any] = {"encoding_method": "OCMF", "signed_values": values}
    if key is not None:
        found["public_key"] = base64.b64encode(key).decode()
    return found | changes


def signed_cdr(*texts: str, energy: str = "10", key: bytes | None = None, **changes: Any) -> bytes:
    """A 2.2.1 CDR of one hour that carries records."""
    tree = cdr_tree(
        (0, {"ENERGY": energy}),
        start="2026-11-02T10:00:00",
        total_energy=Number(energy),
        total_cost={"excl_vat": Number("1.00")},
        cdr_location={"id": "LOC1", "evse_uid": "E1", "evse_id": "NL*ABC*E1"},
    )
    if texts:
        tree["signed_data"] = signed_values(*texts, key=key)
    return encode(tree | changes)
