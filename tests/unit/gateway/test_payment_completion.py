"""What a completed session is worth: nothing delivered, nothing to pay."""

import json

from clearing.pricing.cdr import parse_cdr
from clearing.pricing.engine import compile_tariff, price
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.pricing.tariff import parse_tariff
from gateway.payments.complete import delivered_something, payable_minor

TARIFF = {
    "country_code": "DE",
    "party_id": "ABC",
    "id": "T",
    "currency": "EUR",
    "elements": [
        {
            "price_components": [{"type": "TIME", "price": 5.00, "vat": 19.0, "step_size": 60}],
            "restrictions": {"reservation": "RESERVATION"},
        },
        {
            "price_components": [
                {"type": "FLAT", "price": 1.00, "vat": 19.0, "step_size": 1},
                {"type": "ENERGY", "price": 0.50, "vat": 19.0, "step_size": 1},
            ]
        },
    ],
    "last_updated": "2026-10-01T00:00:00Z",
}


def worth(*dimensions: dict[str, object], total_kwh: float = 0.0) -> tuple[bool, int]:
    raw = {
        "country_code": "DE",
        "party_id": "ABC",
        "id": "C",
        "start_date_time": "2026-10-29T08:00:00Z",
        "end_date_time": "2026-10-29T09:00:00Z",
        "cdr_token": {"uid": "u", "type": "APP_USER", "contract_id": "c"},
        "auth_method": "AUTH_REQUEST",
        "cdr_location": {"id": "L", "country": "DEU"},
        "currency": "EUR",
        "charging_periods": [
            {"start_date_time": "2026-10-29T08:00:00Z", "dimensions": list(dimensions)},
        ],
        "total_cost": {"excl_vat": 0.0},
        "total_energy": total_kwh,
        "total_time": 1.0,
        "last_updated": "2026-10-29T09:00:00Z",
    }
    cdr = parse_cdr(json.dumps(raw).encode(), version=OcpiVersion.V2_2_1)
    program = compile_tariff(parse_tariff(json.dumps(TARIFF).encode(), version=OcpiVersion.V2_2_1))
    priced = price(program, cdr, time_zone="Europe/Berlin")
    return delivered_something(cdr, priced), payable_minor(priced)


def test_a_start_fee_without_energy_is_not_a_delivery() -> None:
    delivered, minor = worth({"type": "ENERGY", "volume": 0})
    assert (delivered, minor) == (False, 119)


def test_energy_is_a_delivery() -> None:
    assert worth({"type": "ENERGY", "volume": 2}) == (True, 238)


def test_energy_that_only_the_total_names_is_a_delivery() -> None:
    assert worth({"type": "TIME", "volume": 1}, total_kwh=3.0)[0]


def test_a_reservation_that_kept_the_place_is_a_delivery() -> None:
    delivered, minor = worth({"type": "RESERVATION_TIME", "volume": 0.5})
    assert delivered
    assert minor >= 298  # 0.5 h x 5.00, 19 % VAT
