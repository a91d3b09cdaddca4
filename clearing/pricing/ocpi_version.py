"""What the OCPI versions share: their names and how they write time.

Owns: OcpiVersion and the reading of OCPI DateTime values within bounds. Must not know: any object of OCPI.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, overload

from clearing.errors import MalformedDocumentError

FIRST_YEAR: Final = 1970  # also the year of OCPI's literal for an unknown time
LAST_YEAR: Final = 2199


class OcpiVersion(StrEnum):
    """The versions this system speaks."""

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


@overload
def read_time(moment: datetime, *, document: str, path: str) -> datetime: ...
@overload
def read_time(moment: None, *, document: str, path: str) -> None: ...
def read_time(moment: datetime | None, *, document: str, path: str) -> datetime | None:
    """An OCPI DateTime as aware UTC, of the years 1970 to 2199. Raises MalformedDocumentError at `path`."""
    if moment is None or (moment.tzinfo is UTC and FIRST_YEAR < moment.year < LAST_YEAR):
        return moment
    if FIRST_YEAR < moment.year < LAST_YEAR or (moment.year == FIRST_YEAR and moment.tzinfo in {None, UTC}):
        return as_utc(moment)
    raise MalformedDocumentError(
        document=document,
        path=path,
        problem=f"expected a time from {FIRST_YEAR} on and before {LAST_YEAR}, got {moment.isoformat()}",
    )
