"""The originals of a session as they are stored outside clearing: its CDR and its frozen tariff.

Owns: their shape, and what a document shows of them. Must not know: where they are stored, VAT, numbering.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from clearing.documents.charged_items import ChargedSession, charged_items
from clearing.errors import ClearingError
from clearing.parties.business_details import BusinessAddress
from clearing.pricing.cdr import Cdr, parse_cdr
from clearing.pricing.engine import price
from clearing.pricing.priced import PricedSession
from clearing.pricing.program import PricingProgram, compile_tariff
from clearing.pricing.tariff import OcpiVersion, parse_tariff

_MAX_PROGRAMS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOriginals:
    """CDR and tariff snapshot as JSON with their OCPI versions; `time_zone` is the charge point's (IANA)."""

    cdr_json: bytes
    cdr_version: str
    tariff_json: bytes
    tariff_sha256: str
    tariff_version: str
    time_zone: str


class _Location(msgspec.Struct, frozen=True):
    address: str = ""
    city: str = ""
    postal_code: str = ""


class _Located(msgspec.Struct, frozen=True):
    cdr_location: _Location | None = None
    location: _Location | None = None


_located: Final = msgspec.json.Decoder(_Located)


@dataclass(slots=True, kw_only=True)
class SessionReader:
    """Reads what was charged from a session's originals. Caches compiled tariffs by their hash."""

    _programs: OrderedDict[tuple[str, str], PricingProgram] = field(default_factory=OrderedDict)

    def read(
        self, originals: SessionOriginals, *, net_minor: int, country: str, operator: str | None
    ) -> ChargedSession:
        """What a document shows of a session whose net is `net_minor`.

        `country` is that of the charge point, `operator` the CPO's name where another sells. A CDR that can't
        be read, or a tariff that prices it no longer, leaves out what it would have given.
        """
        try:
            cdr = parse_cdr(originals.cdr_json, version=OcpiVersion(originals.cdr_version))
        except (ClearingError, ValueError):
            return ChargedSession(operator=operator)
        zone = ZoneInfo(originals.time_zone)
        priced = self._price(originals, cdr)
        return ChargedSession(
            started_at=_local(cdr.start, zone),
            ended_at=_local(cdr.end, zone),
            evse_id=cdr.evse_id or cdr.evse_uid,
            address=_address(originals.cdr_json, country),
            operator=operator,
            items=() if priced is None else charged_items(priced, net_minor=net_minor),
        )

    def _price(self, originals: SessionOriginals, cdr: Cdr) -> PricedSession | None:
        try:
            return price(self._program(originals), cdr, time_zone=originals.time_zone)
        except (ClearingError, ValueError):
            return None

    def _program(self, originals: SessionOriginals) -> PricingProgram:
        key = (originals.tariff_sha256, originals.tariff_version)
        program = self._programs.get(key)
        if program is None:
            version = OcpiVersion(originals.tariff_version)
            program = compile_tariff(parse_tariff(originals.tariff_json, version=version))
            self._programs[key] = program
            if len(self._programs) > _MAX_PROGRAMS:
                self._programs.popitem(last=False)
        return program


def _local(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone)


def _address(cdr_json: bytes, country: str) -> BusinessAddress | None:
    try:
        located = _located.decode(cdr_json)
    except msgspec.DecodeError:
        return None
    location = located.cdr_location or located.location
    if location is None or not location.city:
        return None
    return BusinessAddress(
        street=location.address, post_code=location.postal_code, town=location.city, country=country
    )
