"""The charge detail record of OCPI 2.1.1, 2.2.1 and 2.3.0 as one model.

Owns: the canonical Cdr, its wire shapes by version. Must not know: tariffs' meaning, prices, storage.
Source: OCPI mod_cdrs of each version (CDR, ChargingPeriod, CdrDimension, CdrLocation, CdrToken).

The values are msgspec structs, frozen and keyword-only like the dataclasses elsewhere: a CDR has some forty
of them and they are built at a tenth of the cost.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, overload

import msgspec

from clearing.errors import MalformedDocumentError
from clearing.pricing import json_document as document
from clearing.pricing.ocpi_version import FIRST_YEAR, LAST_YEAR, OcpiVersion, as_utc, read_time

DOCUMENT: Final = "CDR"
UNKNOWN_DATE: Final = b'"1970-1-1T'  # the literal that OCPI 2.2.1 gives for an unknown start or end
UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Quantity(msgspec.Struct, frozen=True, gc=False):
    """A CdrDimension: `type` as sent (ENERGY in kWh, times in hours, currents in A, powers in kW)."""

    type: str
    volume: Decimal


class Period(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename={"start": "start_date_time"}):
    """A ChargingPeriod: it ends where the next one starts, the last one where the session ends."""

    start: datetime
    dimensions: tuple[Quantity, ...]
    tariff_id: str | None = None


class Cost(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A cost as the CPO states it, in major units; `incl_vat` is None where no tax is stated."""

    excl_vat: Decimal
    incl_vat: Decimal | None = None


class Cdr(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A charge detail record in canonical form; all times aware UTC, volumes in kWh and hours.

    `auth_id` is the token's uid, or the auth_id of 2.1.1; `tariffs_raw` the embedded tariffs, unread. Totals
    and token are None where a CPO left them out: a price does not need them.
    `home_charging`: home_charging_compensation, the driver is to be paid.
    `time_zone` is only there when the CPO sent it inside the location, as 2.1.1 does.
    """

    version: OcpiVersion
    id: str
    country_code: str | None
    party_id: str | None
    session_id: str | None
    authorization_reference: str | None
    auth_id: str | None
    auth_method: str | None
    contract_id: str | None
    token_type: str | None
    currency: str
    start: datetime
    end: datetime
    periods: tuple[Period, ...]
    location_id: str | None
    evse_uid: str | None
    evse_id: str | None
    connector_id: str | None
    country: str | None
    time_zone: str | None
    total_cost: Cost | None
    total_energy_kwh: Decimal | None
    total_time_h: Decimal | None
    total_parking_time_h: Decimal | None
    credit: bool
    credit_reference_id: str | None
    tariffs_raw: tuple[bytes, ...]
    last_updated: datetime | None
    home_charging: bool = False


class _WireToken(msgspec.Struct, gc=False):
    uid: str
    type: str | None = None
    contract_id: str | None = None


class _WireConnector(msgspec.Struct, gc=False):
    id: str | None = None


class _WireEvse(msgspec.Struct, gc=False):
    uid: str | None = None
    evse_id: str | None = None
    connectors: list[_WireConnector] | None = None


class _WireLocation(msgspec.Struct, gc=False):
    """CdrLocation of 2.2.1 and 2.3.0, and what is used of the Location that 2.1.1 embeds."""

    id: str | None = None
    evse_uid: str | None = None
    evse_id: str | None = None
    connector_id: str | None = None
    country: str | None = None
    time_zone: str | None = None
    evses: list[_WireEvse] | None = None


class _WireTax(msgspec.Struct, gc=False):
    amount: Decimal


class _WireCost(msgspec.Struct, gc=False):
    excl_vat: Decimal | None = None
    incl_vat: Decimal | None = None
    before_taxes: Decimal | None = None
    taxes: list[_WireTax] | None = None


class _WireCdr(msgspec.Struct, gc=False):
    start_date_time: datetime
    currency: str
    charging_periods: tuple[Period, ...]
    id: str | None = None
    total_cost: Decimal | _WireCost | None = None
    total_energy: Decimal | None = None
    total_time: Decimal | None = None
    country_code: str | None = None
    party_id: str | None = None
    end_date_time: datetime | None = None
    stop_date_time: datetime | None = None
    session_id: str | None = None
    cdr_token: _WireToken | None = None
    auth_id: str | None = None
    auth_method: str | None = None
    authorization_reference: str | None = None
    cdr_location: _WireLocation | None = None
    location: _WireLocation | None = None
    tariffs: list[msgspec.Raw] | None = None
    total_parking_time: Decimal | None = None
    credit: bool | None = None
    credit_reference_id: str | None = None
    last_updated: datetime | None = None
    home_charging_compensation: bool | None = None


_DECODER: Final = msgspec.json.Decoder(_WireCdr)


def _version(wire: _WireCdr) -> OcpiVersion:
    """The OCPI version of a CDR, by the fields that only that version has.

    2.1.1 has stop_date_time and a bare total_cost; 2.3.0 states costs before_taxes.
    """
    if wire.stop_date_time is not None or isinstance(wire.total_cost, Decimal):
        return OcpiVersion.V2_1_1
    if wire.total_cost is not None and wire.total_cost.before_taxes is not None:
        return OcpiVersion.V2_3_0
    return OcpiVersion.V2_2_1


def parse_any_cdr(raw: bytes) -> Cdr:
    """Read a CDR of whichever version it is written in; a price needs no id.

    Raises MalformedDocumentError.
    """
    wire = _decode(raw)
    return _build(wire, _version(wire))


def parse_cdr(raw: bytes, *, version: OcpiVersion, needs_id: bool = True) -> Cdr:
    """Read the JSON of one CDR object; without `needs_id` one may lack its id, which is empty then.

    Fields this system does not use are left in the raw text, which is what gets stored. Raises
    MalformedDocumentError (what, JSON path, what is expected).
    Source: OCPI mod_cdrs, CDR object; 2.1.1 has stop_date_time, auth_id and location in their place.
    """
    wire = _decode(raw)
    if needs_id and wire.id is None:
        raise _missing("id")
    return _build(wire, version)


def _build(wire: _WireCdr, version: OcpiVersion) -> Cdr:
    older = version is OcpiVersion.V2_1_1
    end = (
        (wire.stop_date_time or wire.end_date_time) if older else (wire.end_date_time or wire.stop_date_time)
    )
    if end is None:
        raise _missing("stop_date_time" if older else "end_date_time")
    token = wire.cdr_token
    location = wire.cdr_location or wire.location or _NOWHERE
    evse, connector = _evse(location)
    return Cdr(
        version=version,
        id=wire.id or "",
        country_code=wire.country_code,
        party_id=wire.party_id,
        session_id=wire.session_id,
        authorization_reference=wire.authorization_reference,
        auth_id=token.uid if token is not None else wire.auth_id,
        auth_method=wire.auth_method,
        contract_id=token.contract_id if token is not None else None,
        token_type=token.type if token is not None else None,
        currency=wire.currency,
        start=read_time(wire.start_date_time, document=DOCUMENT, path="$.start_date_time"),
        end=read_time(end, document=DOCUMENT, path="$.stop_date_time" if older else "$.end_date_time"),
        periods=_periods(wire.charging_periods),
        location_id=location.id,
        evse_uid=location.evse_uid or evse.uid,
        evse_id=location.evse_id or evse.evse_id,
        connector_id=location.connector_id or connector.id,
        country=location.country,
        time_zone=location.time_zone,
        total_cost=None if wire.total_cost is None else _cost(wire.total_cost),
        total_energy_kwh=_number(wire.total_energy, "$.total_energy"),
        total_time_h=_number(wire.total_time, "$.total_time"),
        total_parking_time_h=_number(wire.total_parking_time, "$.total_parking_time"),
        credit=bool(wire.credit),
        credit_reference_id=wire.credit_reference_id,
        tariffs_raw=tuple(bytes(tariff) for tariff in wire.tariffs) if wire.tariffs else (),
        last_updated=read_time(wire.last_updated, document=DOCUMENT, path="$.last_updated"),
        home_charging=bool(wire.home_charging_compensation),
    )


_NOWHERE: Final = _WireLocation()
_NO_EVSE: Final = _WireEvse()
_NO_CONNECTOR: Final = _WireConnector()


def _decode(raw: bytes) -> _WireCdr:
    if UNKNOWN_DATE in raw:
        raw = raw.replace(UNKNOWN_DATE, b'"1970-01-01T')
    return document.decode(_DECODER, raw, document=DOCUMENT)


def _missing(field: str) -> MalformedDocumentError:
    return MalformedDocumentError(
        document=DOCUMENT, path="$", problem=f"Object missing required field '{field}'"
    )


def _evse(location: _WireLocation) -> tuple[_WireEvse, _WireConnector]:
    """The one EVSE and connector that a 2.1.1 CDR names inside its location."""
    if not location.evses:
        return _NO_EVSE, _NO_CONNECTOR
    evse = location.evses[0]
    return evse, evse.connectors[0] if evse.connectors else _NO_CONNECTOR


@overload
def _number(value: Decimal, path: str) -> Decimal: ...
@overload
def _number(value: None, path: str) -> None: ...
def _number(value: Decimal | None, path: str) -> Decimal | None:
    if value is None or document.is_plain(value):
        return value
    return document.check_number(value, document=DOCUMENT, path=path)


def _periods(wire: tuple[Period, ...]) -> tuple[Period, ...]:
    if not wire:
        raise MalformedDocumentError(
            document=DOCUMENT, path="$.charging_periods", problem="expected at least one charging period"
        )
    in_utc = True
    for place, period in enumerate(wire):
        in_utc = in_utc and period.start.tzinfo is UTC
        if not FIRST_YEAR < period.start.year < LAST_YEAR:
            path = f"$.charging_periods[{place}].start_date_time"
            read_time(period.start, document=DOCUMENT, path=path)
        for spot, quantity in enumerate(period.dimensions):
            if not document.is_plain(quantity.volume):
                path = f"$.charging_periods[{place}].dimensions[{spot}].volume"
                document.check_number(quantity.volume, document=DOCUMENT, path=path)
    if in_utc:
        return wire
    return tuple(
        Period(start=as_utc(period.start), dimensions=period.dimensions, tariff_id=period.tariff_id)
        for period in wire
    )


def _cost(wire: Decimal | _WireCost) -> Cost:
    if isinstance(wire, Decimal):
        return Cost(excl_vat=_number(wire, "$.total_cost"))
    if wire.before_taxes is not None:
        net = _number(wire.before_taxes, "$.total_cost.before_taxes")
        if wire.taxes is None:
            return Cost(excl_vat=net)
        taxes = (
            _number(tax.amount, f"$.total_cost.taxes[{place}].amount") for place, tax in enumerate(wire.taxes)
        )
        return Cost(excl_vat=net, incl_vat=sum(taxes, net))
    if wire.excl_vat is None:
        raise MalformedDocumentError(
            document=DOCUMENT,
            path="$.total_cost",
            problem="expected excl_vat (2.2.1) or before_taxes (2.3.0)",
        )
    return Cost(
        excl_vat=_number(wire.excl_vat, "$.total_cost.excl_vat"),
        incl_vat=_number(wire.incl_vat, "$.total_cost.incl_vat"),
    )
