"""What the OCPI versions share: their names and how they write time.

Owns: OcpiVersion and the reading of OCPI DateTime values. Must not know: any object of OCPI.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import overload


class OcpiVersion(StrEnum):
    """The versions this house speaks."""

    V2_1_1 = "2.1.1"
    V2_2_1 = "2.2.1"
    V2_3_0 = "2.3.0"


@overload
def as_utc(moment: datetime) -> datetime: ...
@overload
def as_utc(moment: None) -> None: ...
def as_utc(moment: datetime | None) -> datetime | None:
    """An OCPI DateTime as aware UTC: no designator means UTC (OCPI types); an offset is converted."""
    if moment is None:
        return None
    zone = moment.tzinfo
    if zone is UTC:
        return moment
    return moment.replace(tzinfo=UTC) if zone is None else moment.astimezone(UTC)
