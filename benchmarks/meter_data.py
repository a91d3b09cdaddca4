"""Signed meter data: records verified a second on one core, beside the bare signature check.

The baseline is `cryptography`'s own ECDSA verification of the same payload with the key loaded. The signed
data, the bare verification alone, and a CDR without signed data are measured beside reading and pricing the
same CDR without a signature. Processor time, in turns.
"""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.table import Row, cpu_times_us, share
from clearing.meter_data.check import check_meter_data, facts_of
from clearing.meter_data.findings import MeterVerdict
from clearing.meter_data.registered_key import MeterIdentity, MeterKeySource, MeterKeyState, RegisteredKey
from clearing.meter_data.signed_data import read_signed_data
from clearing.pricing.cdr import parse_cdr
from clearing.pricing.embedded import embedded_programs
from clearing.pricing.engine import price
from clearing.pricing.ocpi_version import OcpiVersion
from pnc.errors import PncInvariantViolation

MOST_SHARE = 0.1  # of the time of reading and pricing
BASELINE = "read and price it"
MILLION = 1_000_000
_METER = "1EMH0012345678"


def run(*, quick: bool) -> list[Row]:
    private = ec.generate_private_key(ec.SECP256R1())
    payload = json.dumps(_payload())
    signature = private.sign(payload.encode(), ec.ECDSA(SHA256()))
    section = json.dumps({"SA": "ECDSA-secp256r1-SHA256", "SD": signature.hex()})
    public, keys = private.public_key(), (_registered(private),)
    signed, unsigned = _cdr(f"OCMF|{payload}|{section}"), _cdr(None)
    facts = facts_of(parse_cdr(signed, version=OcpiVersion.V2_2_1))

    def bare() -> None:
        public.verify(signature, payload.encode(), ec.ECDSA(SHA256()))

    def whole() -> None:
        found = check_meter_data(read_signed_data(signed), keys=keys, facts=facts)
        if found.verdict is not MeterVerdict.VERIFIED:
            raise PncInvariantViolation("a benchmark measured rejections")

    def missing() -> None:
        check_meter_data(read_signed_data(unsigned), keys=keys, facts=facts)

    programs = embedded_programs(parse_cdr(unsigned, version=OcpiVersion.V2_2_1))

    def priced() -> None:
        price(programs.main, parse_cdr(unsigned, version=OcpiVersion.V2_2_1), time_zone="Europe/Berlin")

    bare_us, whole_us, missing_us, priced_us = cpu_times_us(bare, whole, missing, priced, quick=quick)
    return [
        Row(
            name="signed meter data read and verified, secp256r1",
            value=MILLION / whole_us,
            unit="CDRs/s",
            baseline_name="1 bare signature check",
            baseline_value=MILLION / bare_us,
            ratio=bare_us / whole_us,
        ),
        share("signed meter data of a CDR of 1 period", whole_us, BASELINE, priced_us, MOST_SHARE),
        share("  the bare signature check of them", bare_us, BASELINE, priced_us, MOST_SHARE),
        share("a CDR without signed meter data", missing_us, BASELINE, priced_us, MOST_SHARE),
    ]


def _payload() -> dict[str, object]:
    begin = {
        "TM": "2026-11-02T10:00:00,000+0000 S",
        "TX": "B",
        "RV": 100.5,
        "RI": "1-0:1.8.0",
        "RU": "kWh",
        "ST": "G",
    }
    end = {"TM": "2026-11-02T11:00:00,000+0000 S", "TX": "E", "RV": 110.5}
    return {"FV": "1.2", "PG": "T7", "MS": _METER, "RD": [begin, end]}


def _registered(private: ec.EllipticCurvePrivateKey) -> RegisteredKey:
    return RegisteredKey(
        id=UUID(int=1),
        party_id="NL-ABC",
        identity=MeterIdentity(meter_serial=_METER),
        curve="secp256r1",
        der=private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        source=MeterKeySource.CPO,
        state=MeterKeyState.ACTIVE,
        valid_from=datetime(2026, 1, 1, tzinfo=UTC),
        valid_to=None,
        entered_by="NL-ABC",
        entered_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def _cdr(record: str | None) -> bytes:
    tariff = {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "T1",
        "currency": "EUR",
        "elements": [{"price_components": [{"type": "ENERGY", "price": 0.5, "step_size": 1}]}],
        "last_updated": "2026-01-01T00:00:00Z",
    }
    tree: dict[str, object] = {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "C1",
        "start_date_time": "2026-11-02T10:00:00Z",
        "end_date_time": "2026-11-02T11:00:00Z",
        "currency": "EUR",
        "tariffs": [tariff],
        "charging_periods": [
            {
                "start_date_time": "2026-11-02T10:00:00Z",
                "dimensions": [{"type": "ENERGY", "volume": 10}],
            }
        ],
        "total_cost": {"excl_vat": 5},
        "total_energy": 10,
    }
    if record is not None:
        encoded = base64.b64encode(record.encode()).decode()
        value = {"nature": "End", "plain_data": "", "signed_data": encoded}
        tree["signed_data"] = {"encoding_method": "OCMF", "signed_values": [value]}
    return json.dumps(tree).encode()
