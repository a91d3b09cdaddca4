"""Parties, agreements and captured sessions for the clearing benchmark.

Five countries, two partners, ten tariffs; sessions of 6 to 55 kWh that end over a working day.
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from hashlib import sha256

from asyncpg.pgproto.pgproto import UUID  # what the store's rows carry

from clearing.captured_session import AuthorizationMethod, CapturedSession, FundingSource, shard_of
from clearing.connection import Connection
from clearing.parties.agreement import Agreement, LegalModel, Role, Share, Terms
from clearing.parties.party import Party, PartyKind, VatEvidence, VatRegistration
from clearing.services import ClearingServices

SALE_AT = datetime(2026, 10, 13, 12, 0, tzinfo=UTC)
NOW = SALE_AT + timedelta(days=1)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
# Country: currency, time zone, VAT in the tariff, a VAT id with a right check digit.
COUNTRIES = {
    "NL": ("EUR", "Europe/Amsterdam", "21.0", "NL100000009B01"),
    "DE": ("EUR", "Europe/Berlin", "19.0", "DE100000008"),
    "CH": ("CHF", "Europe/Zurich", "8.1", "CHE100000006MWST"),
    "GB": ("GBP", "Europe/London", "20.0", "GB100000034"),
    "FR": ("EUR", "Europe/Paris", "20.0", "FR88100000009"),
}
PARTNERS = (("superapp", "DE", "EUR"), ("parking", "CH", "CHF"))


async def open_books(service: ClearingServices, connection: Connection) -> None:
    """Register everyone and load the rates."""
    await service.reference_data.import_bundled_rates(connection, now=NOW)
    parties = [_party("platform", PartyKind.PLATFORM, "CH", "CHF")]
    parties += [_party(name, PartyKind.DEMAND_PARTNER, country, unit) for name, country, unit in PARTNERS]
    parties += [
        _party(f"{country}-ABC", PartyKind.CPO, country, unit) for country, (unit, *_) in COUNTRIES.items()
    ]
    for party in parties:
        await service.reference_data.register_party(connection, party, now=NOW)
    for country, (unit, *_) in COUNTRIES.items():
        await service.reference_data.put_agreement(connection, _agreement(country, unit), now=NOW)


def captured_sessions(count: int, *, first: int = 0, step: int = 1) -> list[CapturedSession]:
    """Sessions from number `first` on, with a tariff and a CDR each, as the gateway passes them on.

    Five numbers that follow on each other are of five countries; a `step` of five stays in one.
    """
    tariffs = {country: _tariff(country, unit, vat) for country, (unit, _, vat, _) in COUNTRIES.items()}
    names = list(COUNTRIES)
    numbers = range(first, first + count * step, step)
    return [_session(number, names[number % len(names)], tariffs) for number in numbers]


def _session(number: int, country: str, tariffs: dict[str, bytes]) -> CapturedSession:
    unit, zone, vat, _ = COUNTRIES[country]
    identifier = UUID(f"0192f000-0000-7000-8000-{number:012x}")
    tariff = tariffs[country]
    energy_kwh, end = 6 + number % 50, SALE_AT + timedelta(minutes=number % 480)
    # 0.50 a kWh, VAT on top.
    gross = ((100 + Decimal(vat)) * energy_kwh / 2).quantize(Decimal(1), ROUND_HALF_UP)
    return CapturedSession(
        shard=shard_of(identifier),
        session_id=identifier,
        cpo_id=f"{country}-ABC",
        demand_partner_id=PARTNERS[number % 2][0],
        authorization_method=AuthorizationMethod.CARD,
        funding=FundingSource.PSP,
        tax_jurisdiction=country,
        time_zone=zone,
        sale_at=end,
        captured_at=end,
        captured_minor=int(gross),
        currency=unit,
        tariff_sha256=sha256(tariff).hexdigest(),
        tariff_json=tariff,
        tariff_version="2.2.1",
        cdr_id=f"CDR-{number}",
        cdr_json=_cdr(number, country, unit, end=end, energy_kwh=energy_kwh),
        cdr_version="2.2.1",
        psp_object_id=f"ch_{number}",
        psp_fee_minor=34,
        psp_fee_currency=unit,
    )


def _party(party_id: str, kind: PartyKind, country: str, unit: str) -> Party:
    """A party with the VAT id of its place of establishment.

    The platform, which sells to drivers, with one of each country.
    """
    countries = list(COUNTRIES) if kind is PartyKind.PLATFORM else [country]
    first_day = LONG_AGO.date()
    return Party(
        id=party_id,
        kind=kind,
        name=party_id,
        country=country,
        tax_jurisdiction=country,
        vat_id=COUNTRIES[country][3],
        vat_registrations=tuple(
            VatRegistration(tax_jurisdiction=other, vat_id=COUNTRIES[other][3], valid_from=first_day)
            for other in countries
            if other != country
        ),
        vat_evidence=tuple(
            VatEvidence(
                effective_from=first_day,
                vat_id=COUNTRIES[other][3],
                valid=True,
                source="declared",
                checked_at=LONG_AGO,
            )
            for other in countries
        ),
        taxable_dealer=kind is PartyKind.PLATFORM,
        settlement_currency=unit,
        time_zone=COUNTRIES[country][1],
        connected_account=f"acct_{party_id}",
    )


def _agreement(country: str, unit: str) -> Agreement:
    shares = (
        Share(role=Role.DEMAND_PARTNER, basis_points=800),
        Share(role=Role.PLATFORM, basis_points=1200),
    )
    return Agreement(
        id=f"agr-{country}",
        version=1,
        cpo_id=f"{country}-ABC",
        valid_from=LONG_AGO,
        terms=Terms(legal_model=LegalModel.RESELLER, currency=unit, shares=shares),
    )


def _tariff(country: str, unit: str, vat: str) -> bytes:
    return (
        f'{{"country_code":"{country}","party_id":"ABC","id":"T1","currency":"{unit}",'
        f'"elements":[{{"price_components":[{{"type":"ENERGY","price":0.50,"vat":{vat},"step_size":1}}]}}],"last_updated":"2026-01-01T00:00:00Z"}}'
    ).encode()


def _cdr(number: int, country: str, unit: str, *, end: datetime, energy_kwh: int) -> bytes:
    start, ended = _time(end - timedelta(hours=1)), _time(end)
    location = {
        "id": "LOC1",
        "address": "Quay 1",
        "city": "Town",
        "country": "NLD",
        "coordinates": {"latitude": "52.09", "longitude": "5.12"},
        "evse_uid": "E1",
        "evse_id": f"{country}*ABC*E1",
        "connector_id": "1",
        "connector_standard": "IEC_62196_T2",
        "connector_format": "CABLE",
        "connector_power_type": "AC_3_PHASE",
    }
    energy = {"type": "ENERGY", "volume": energy_kwh}
    token = {"country_code": country, "party_id": "EMP", "uid": "T1", "type": "APP_USER", "contract_id": "C1"}
    cdr = {
        "country_code": country,
        "party_id": "ABC",
        "id": f"CDR-{number}",
        "start_date_time": start,
        "end_date_time": ended,
        "cdr_token": token,
        "auth_method": "COMMAND",
        "cdr_location": location,
        "currency": unit,
        "charging_periods": [{"start_date_time": start, "dimensions": [energy]}],
        "total_cost": {"excl_vat": energy_kwh / 2},
        "total_energy": energy_kwh,
        "total_time": 1,
        "last_updated": ended,
    }
    return json.dumps(cdr).encode()


def _time(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
