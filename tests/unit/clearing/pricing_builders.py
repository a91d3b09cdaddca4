"""Builders of small tariffs and CDRs for the pricing tests: our own fixtures, numbers kept as written."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from clearing.pricing.cdr import Cdr, parse_cdr
from clearing.pricing.engine import PricedSession, PricingProgram, compile_tariff, price
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.tariff import Tariff, parse_tariff

V221 = OcpiVersion.V2_2_1
V230 = OcpiVersion.V2_3_0
MONDAY_NOON = "2026-03-02T12:00:00"


class Number:
    """A JSON number written exactly as given."""

    def __init__(self, text: str) -> None:
        self.text = text


def encode(tree: Any) -> bytes:
    """JSON in which a Number or a Decimal stands as its own text."""
    if isinstance(tree, Number):
        return tree.text.encode()
    if isinstance(tree, Decimal):
        return format(tree, "f").encode()
    if isinstance(tree, dict):
        members = b",".join(json.dumps(name).encode() + b":" + encode(value) for name, value in tree.items())
        return b"{" + members + b"}"
    if isinstance(tree, list | tuple):
        return b"[" + b",".join(encode(value) for value in tree) + b"]"
    return json.dumps(tree).encode()


def component(kind: str, amount: str, *, vat: str | None = None, step: int | None = 1) -> dict[str, Any]:
    found: dict[str, Any] = {"type": kind, "price": Number(amount)}
    if step is not None:
        found["step_size"] = step
    if vat is not None:
        found["vat"] = Number(vat)
    return found


def element(*components: dict[str, Any], **restrictions: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"price_components": list(components)}
    return found | {"restrictions": restrictions} if restrictions else found


def tariff_tree(*elements: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "T1",
        "currency": "EUR",
        "elements": list(elements),
        "last_updated": "2026-01-01T00:00:00Z",
    } | fields


def tariff_of(*elements: dict[str, Any], version: OcpiVersion = V221, **fields: Any) -> Tariff:
    return parse_tariff(encode(tariff_tree(*elements, **fields)), version=version)


def program_of(*elements: dict[str, Any], version: OcpiVersion = V221, **fields: Any) -> PricingProgram:
    return compile_tariff(tariff_of(*elements, version=version, **fields))


Spec = tuple[float, dict[str, str]]


def cdr_tree(*periods: Spec, minutes: float = 60, start: str = MONDAY_NOON, **fields: Any) -> dict[str, Any]:
    began = datetime.fromisoformat(start)
    return {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "C1",
        "start_date_time": f"{began.isoformat()}Z",
        "end_date_time": f"{(began + timedelta(minutes=minutes)).isoformat()}Z",
        "cdr_token": {"uid": "U1"},
        "currency": "EUR",
        "charging_periods": [
            {
                "start_date_time": f"{(began + timedelta(minutes=after)).isoformat()}Z",
                "dimensions": [{"type": kind, "volume": Number(volume)} for kind, volume in dims.items()],
            }
            for after, dims in periods
        ],
    } | fields


def cdr_of(*periods: Spec, version: OcpiVersion = V221, **fields: Any) -> Cdr:
    return parse_cdr(encode(cdr_tree(*periods, **fields)), version=version)


def priced_by(
    program: PricingProgram, *periods: Spec, zone: str | None = "UTC", **fields: Any
) -> PricedSession:
    return price(program, cdr_of(*periods, **fields), time_zone=zone)


def codes(priced: PricedSession | Tariff) -> set[str]:
    return {note.code.value for note in priced.notes}
