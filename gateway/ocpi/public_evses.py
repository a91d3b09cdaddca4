"""From a location's tree to its entries of the EVSE directory.

Owns: which EVSEs are public, and what the directory says of each. Must not know: SQL, HTTP, tariffs.
Sources: OCPI mod_locations, Location.publish (2.2.1 and later: false keeps a location out of websites and
apps; 2.1.1 has no such field), GeoLocation. What is only shown is never a reason to reject a location: a
name or a place that can't be read is left out.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.ocpi.errors import OcpiRejectionError
from gateway.ocpi.location_tree import find_part
from gateway.ocpi.repository.objects import Connector
from gateway.ocpi.repository.public_evses import PublicEvse
from gateway.ocpi.request_bodies import Tree, optional_moment

_DEGREES: Final = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,20})?")
_MAX_LATITUDE: Final = 90
_MAX_LONGITUDE: Final = 180
_STEP: Final = Decimal("0.0000001")  # a centimetre; OCPI sends five to seven decimals
_SHOWN: Final = 255


def is_public(location: Tree, *, version: OcpiVersion) -> bool:
    """Whether a location may be shown on websites and in apps."""
    return version is OcpiVersion.V2_1_1 or location.get("publish") is True


def read_public_evses(
    location: Tree, *, connectors: Sequence[Connector], version: OcpiVersion, changed_at: datetime
) -> list[PublicEvse]:
    """The directory's entries of a location, in its order; none where it is not public.

    Args:
        location: the whole location, from which `connectors` were read.
        connectors: its connectors that are not removed.
        version: the OCPI version of the tree.
        changed_at: aware; stands for an EVSE's last_updated that is missing or later.
    """
    if not is_public(location, version=version):
        return []
    by_evse: dict[str, list[Connector]] = {}
    for connector in connectors:
        by_evse.setdefault(connector.evse_uid.lower(), []).append(connector)
    return [_entry(location, found, changed_at=changed_at) for found in by_evse.values()]


def _entry(location: Tree, connectors: Sequence[Connector], *, changed_at: datetime) -> PublicEvse:
    first = connectors[0]
    evse = find_part(location, [first.evse_uid]) or {}
    place = read_place(evse) or read_place(location)
    operator = location.get("operator")
    return PublicEvse(
        party_id=first.party_id,
        location_id=first.location_id,
        evse_uid=first.evse_uid,
        evse_id=first.evse_id,
        evse_key=first.evse_key,
        status=first.status,
        latitude=None if place is None else place[0],
        longitude=None if place is None else place[1],
        name=_shown_text(location, "name"),
        address=_shown_text(location, "address"),
        city=_shown_text(location, "city"),
        postal_code=first.postal_code,
        country=first.country,
        time_zone=first.time_zone,
        operator_name=_shown_text(operator, "name") if isinstance(operator, dict) else None,
        standards=tuple(sorted({one.standard.upper() for one in connectors if one.standard})),
        max_power_w=max(connector.max_power_w for connector in connectors),
        last_updated=_last_updated(evse, changed_at=changed_at),
    )


def read_place(holder: Tree) -> tuple[Decimal, Decimal] | None:
    """Latitude and longitude of a location or EVSE in degrees, to seven decimals; None where it has none."""
    found = holder.get("coordinates")
    if not isinstance(found, dict):
        return None
    latitude = _degrees(found.get("latitude"), limit=_MAX_LATITUDE)
    longitude = _degrees(found.get("longitude"), limit=_MAX_LONGITUDE)
    return None if latitude is None or longitude is None else (latitude, longitude)


def _degrees(value: object, *, limit: int) -> Decimal | None:
    """Degrees from OCPI's text, or from the number that some platforms send."""
    text = format(value, "f") if isinstance(value, Decimal) else value
    if not isinstance(text, str) or _DEGREES.fullmatch(text) is None:
        return None
    degrees = Decimal(text)
    return None if abs(degrees) > limit else degrees.quantize(_STEP)


def _shown_text(holder: Tree, name: str) -> str | None:
    found = holder.get(name)
    if not isinstance(found, str) or "\x00" in found:
        return None
    return found[:_SHOWN] or None


def _last_updated(evse: Tree, *, changed_at: datetime) -> datetime:
    try:
        own = optional_moment(evse, "last_updated")
    except OcpiRejectionError:
        own = None
    return changed_at if own is None else min(own, changed_at)
