"""From a location's tree to its connectors: what an authorization needs to know of each.

Owns: reading EVSEs and connectors of all three versions, the EVSE ID's comparable form. Must not know: SQL,
HTTP.
Sources: OCPI mod_locations (2.1.1 sections 3.1 to 3.3; 2.2.1 and 2.3.0 Location, EVSE, Connector objects).
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.ocpi.countries import alpha_2, only_time_zone
from gateway.ocpi.errors import OcpiRejectionError
from gateway.ocpi.repository.objects import Connector
from gateway.ocpi.request_bodies import Tree, identifier, integer, objects, optional_text, shown, text
from gateway.ocpi.tax_jurisdiction import tax_jurisdiction_of

_SEPARATORS: Final = re.compile(r"[*\s._-]")
_MAX_EVSES: Final = 2000
_PHASES: Final = {"AC_3_PHASE": 3, "AC_2_PHASE": 2, "AC_2_PHASE_SPLIT": 2}
_MAX_TARIFF_IDS: Final = 100
_MAX_LABEL: Final = 40


def evse_key(evse_id: str) -> str:
    """An EVSE ID without case and separators, which eMI3 makes optional: `DE*abc*E1` is `DEABCE1`."""
    return _SEPARATORS.sub("", evse_id).upper()


def read_connectors(location: Tree, *, party_id: str) -> list[Connector]:
    """Every connector of a location that is not removed, in order.

    Raises Refusal naming the JSON path of a fault.
    """
    location_id = identifier(location, "id", limit=39)
    country = _country(location)
    postal_code = optional_text(location, "postal_code", limit=20) or ""
    tax_jurisdiction = tax_jurisdiction_of(country, postal_code)
    time_zone = _time_zone(location, country=country, tax_jurisdiction=tax_jurisdiction)
    return [
        Connector(
            party_id=party_id,
            location_id=location_id,
            evse_uid=identifier(evse, "uid", at=at_evse, limit=39),
            evse_id=(evse_id := optional_text(evse, "evse_id", at=at_evse, limit=64)),
            evse_key=None if evse_id is None else evse_key(evse_id),
            connector_id=identifier(connector, "id", at=at),
            status=text(evse, "status", at=at_evse, limit=40).upper(),
            standard=_label(connector, "standard"),
            format=_label(connector, "format"),
            power_type=optional_text(connector, "power_type", at=at, limit=40) or "",
            max_power_w=_max_power_w(connector, at=at),
            tariff_keys=_tariff_keys(connector, at=at),
            time_zone=time_zone,
            country=country,
            postal_code=postal_code,
            tax_jurisdiction=tax_jurisdiction,
        )
        for evse, at_evse, connector, at in _each(location)
    ]


def _label(connector: Tree, name: str) -> str:
    """A text that is only shown and searched: empty where it is none, never a reason to reject."""
    found = connector.get(name)
    return found if isinstance(found, str) and len(found) <= _MAX_LABEL and "\x00" not in found else ""


def _each(location: Tree) -> Iterator[tuple[Tree, str, Tree, str]]:
    """Every connector with its EVSE and the place of both; an EVSE has at least one (OCPI EVSE object)."""
    evses = objects(location, "evses")
    if len(evses) > _MAX_EVSES:
        raise OcpiRejectionError(f"$.evses: expected at most {_MAX_EVSES} EVSEs")
    for place, evse in enumerate(evses):
        at_evse = f"$.evses[{place}]"
        identifier(evse, "uid", at=at_evse, limit=39)
        if text(evse, "status", at=at_evse, limit=40).upper() == "REMOVED":
            continue
        for position, connector in enumerate(objects(evse, "connectors", at=at_evse, required=True)):
            yield evse, at_evse, connector, f"{at_evse}.connectors[{position}]"


def _country(location: Tree) -> str:
    named = text(location, "country", limit=3)
    country = alpha_2(named)
    if country is None:
        raise OcpiRejectionError(
            f"$.country: expected an ISO 3166-1 alpha-3 code such as CHE, got {shown(named)}"
        )
    return country


def _time_zone(location: Tree, *, country: str, tax_jurisdiction: str) -> str:
    """The location's zone; where 2.1.1 leaves it out, that of its country, or empty when that has several."""
    named = optional_text(location, "time_zone")
    if named is None:
        return only_time_zone(country, tax_jurisdiction) or ""
    try:
        return ZoneInfo(named).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise OcpiRejectionError(
            "$.time_zone: expected a name of the IANA time zone database such as Europe/Zurich,"
            f" got {shown(named)}"
        ) from None


def _max_power_w(connector: Tree, *, at: str) -> int:
    """Watts: as stated, else voltage times amperage, the voltage being per phase for AC.

    It is 0 when unknown.
    """
    stated = integer(connector, "max_electric_power", at=at, highest=10**9)
    if stated:
        return stated
    volts = _first_integer(connector, ("max_voltage", "voltage"), at=at)
    amperes = _first_integer(connector, ("max_amperage", "amperage"), at=at)
    phases = _PHASES.get(str(connector.get("power_type")).upper(), 1)
    return int(Decimal(volts) * amperes * phases)


def _first_integer(connector: Tree, names: tuple[str, ...], *, at: str) -> int:
    for name in names:
        found = integer(connector, name, at=at, highest=10**6)
        if found is not None:
            return found
    return 0


def _tariff_keys(connector: Tree, *, at: str) -> tuple[str, ...]:
    """Tariff ids in lower case: `tariff_ids`, or the one `tariff_id` of 2.1.1."""
    listed = connector.get("tariff_ids")
    if listed is None:
        single = optional_text(connector, "tariff_id", at=at, limit=36)
        return () if single is None else (single.lower(),)
    if not isinstance(listed, list) or len(listed) > _MAX_TARIFF_IDS:
        raise OcpiRejectionError(
            f"{at}.tariff_ids: expected a list of at most {_MAX_TARIFF_IDS} tariff ids, got {shown(listed)}"
        )
    for position, tariff_id in enumerate(listed):
        if not isinstance(tariff_id, str) or not tariff_id or "\x00" in tariff_id:
            raise OcpiRejectionError(
                f"{at}.tariff_ids[{position}]: expected a tariff id, got {shown(tariff_id)}"
            )
    return tuple(dict.fromkeys(tariff_id.lower() for tariff_id in listed))
