"""Fields of a CDR that its OCPI version does not have.

Owns: the names that each version gives its CDR. Must not know: what any of them means.
Unknown fields stay in the CDR as received; naming them is for a person who looks into one, not for every CDR.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from clearing.pricing import json_document as document
from clearing.pricing.cdr import DOCUMENT
from clearing.pricing.notes import Note, NoteCode, NoteSeverity
from clearing.pricing.ocpi_version import OcpiVersion

_SHARED: Final = frozenset(
    {
        "id",
        "start_date_time",
        "auth_method",
        "meter_id",
        "currency",
        "tariffs",
        "charging_periods",
        "total_cost",
        "total_energy",
        "total_time",
        "total_parking_time",
        "remark",
        "last_updated",
    }
)
_SINCE_2_2: Final = _SHARED | {
    "country_code",
    "party_id",
    "end_date_time",
    "session_id",
    "cdr_token",
    "authorization_reference",
    "cdr_location",
    "signed_data",
    "total_fixed_cost",
    "total_energy_cost",
    "total_time_cost",
    "total_parking_cost",
    "total_reservation_cost",
    "invoice_reference_id",
    "credit",
    "credit_reference_id",
    "home_charging_compensation",
}
_CDR: Final[Mapping[OcpiVersion, frozenset[str]]] = {
    OcpiVersion.V2_1_1: _SHARED | {"stop_date_time", "auth_id", "location"},
    OcpiVersion.V2_2_1: _SINCE_2_2,
    OcpiVersion.V2_3_0: _SINCE_2_2 | {"booking_id"},  # of the bookings edition
}
_PERIOD: Final = frozenset({"start_date_time", "dimensions", "tariff_id"})
_DIMENSION: Final = frozenset({"type", "volume"})
_TOKEN: Final = frozenset({"country_code", "party_id", "uid", "type", "contract_id"})
_LOCATION: Final = frozenset(
    {
        "id",
        "name",
        "address",
        "city",
        "postal_code",
        "state",
        "country",
        "coordinates",
        "evse_uid",
        "evse_id",
        "connector_id",
        "connector_standard",
        "connector_format",
        "connector_power_type",
    }
)


def unknown_cdr_fields(raw: bytes, *, version: OcpiVersion) -> tuple[Note, ...]:
    """Notes on the fields of a CDR that its version does not have. Raises MalformedDocumentError."""
    text = f"is not a field of OCPI {version}; it is kept and does not change the price"
    return tuple(
        Note(code=NoteCode.UNKNOWN_FIELD, severity=NoteSeverity.INFO, path=path, text=text)
        for path in _unknown(document.load(raw, document=DOCUMENT), version)
    )


def _unknown(tree: Mapping[str, Any], version: OcpiVersion) -> Iterator[str]:
    yield from _beyond(tree, _CDR[version], "$")
    yield from _beyond(tree.get("cdr_token"), _TOKEN, "$.cdr_token")
    yield from _beyond(tree.get("cdr_location"), _LOCATION, "$.cdr_location")
    for place, period in enumerate(_items(tree.get("charging_periods"))):
        path = f"$.charging_periods[{place}]"
        yield from _beyond(period, _PERIOD, path)
        if isinstance(period, dict):
            for spot, quantity in enumerate(_items(period.get("dimensions"))):
                yield from _beyond(quantity, _DIMENSION, f"{path}.dimensions[{spot}]")


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def _beyond(value: Any, known: frozenset[str], path: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{path}.{name}" for name in value if name not in known)
