"""An operator's location, tariff and CDR, our own, in OCPI 2.2.1."""

from typing import Any

AT = "2026-10-29T07:00:00Z"


def location(**changes: Any) -> dict[str, Any]:
    connector = {
        "id": "1",
        "standard": "IEC_62196_T2_COMBO",
        "format": "CABLE",
        "power_type": "DC",
        "max_voltage": 920,
        "max_amperage": 400,
        "max_electric_power": 150000,
        "tariff_ids": ["T1"],
        "last_updated": AT,
    }
    return {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "LOC1",
        "publish": True,
        "address": "Kade 1",
        "city": "Rotterdam",
        "postal_code": "3011 AB",
        "country": "NLD",
        "coordinates": {"latitude": "51.92", "longitude": "4.48"},
        "time_zone": "Europe/Amsterdam",
        "evses": [
            {
                "uid": "E1",
                "evse_id": "NL*ABC*E0001",
                "status": "AVAILABLE",
                "connectors": [connector],
                "last_updated": AT,
            }
        ],
        "last_updated": AT,
        **changes,
    }


def tariff(price: float = 0.49, **changes: Any) -> dict[str, Any]:
    return {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "T1",
        "currency": "EUR",
        "elements": [{"price_components": [{"type": "ENERGY", "price": price, "vat": 21.0, "step_size": 1}]}],
        "last_updated": AT,
        **changes,
    }


def cdr(**changes: Any) -> dict[str, Any]:
    return {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "CDR1",
        "start_date_time": "2026-10-29T08:00:00Z",
        "end_date_time": "2026-10-29T09:00:00Z",
        "session_id": "S1",
        "cdr_token": {
            "country_code": "CH",
            "party_id": "NWC",
            "uid": "u",
            "type": "APP_USER",
            "contract_id": "c",
        },
        "auth_method": "AUTH_REQUEST",
        "cdr_location": {"id": "LOC1", "evse_uid": "E1", "evse_id": "NL*ABC*E0001", "connector_id": "1"},
        "currency": "EUR",
        "charging_periods": [
            {"start_date_time": "2026-10-29T08:00:00Z", "dimensions": [{"type": "ENERGY", "volume": 20.5}]}
        ],
        "total_cost": {"excl_vat": 10.05},
        "total_energy": 20.5,
        "total_time": 1,
        "last_updated": AT,
        **changes,
    }
