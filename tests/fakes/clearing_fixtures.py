"""Parties, agreements, tariffs and CDRs for the tests of clearing."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

from clearing.captured_session import AuthorizationMethod, CapturedSession, FundingSource, shard_of
from clearing.parties.agreement import Agreement, Deficit, LegalModel, Role, Share, Terms
from clearing.parties.business_details import BusinessAddress, BusinessDetails
from clearing.parties.party import Party, PartyKind, VatEvidence, VatRegistration
from clearing.sessions.reprice import RepricedSession

# A Tuesday inside the bundled exchange rates; sales of that day are due on Thursday.
SALE_AT = datetime(2026, 10, 13, 12, 0, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
# Valid in form and check digit, and assigned to no company.
VAT_IDS = {
    "AT": "ATU13585627",
    "CH": "CHE107787577MWST",
    "DE": "DE136695976",
    "EE": "EE100000007",
    "ES": "ESA13585625",
    "FR": "FR40303265045",
    "GB": "GB980780684",
    "GR": "EL094259216",
    "IE": "IE6433435F",
    "IT": "IT00100000017",
    "LI": "LI12345",
    "NL": "NL004495445B01",
    "NO": "NO995525828MVA",
    "RO": "RO100000006",
}


def evidence(vat_id: str, *, since: date = date(2015, 1, 1), valid: bool = True) -> VatEvidence:
    return VatEvidence(
        effective_from=since, vat_id=vat_id, valid=valid, source="declared", checked_at=LONG_AGO
    )


def party(party_id: str, kind: PartyKind, country: str, currency: str, **changes: Any) -> Party:
    vat_id = changes.pop("vat_id", VAT_IDS[country])
    fields: dict[str, Any] = {
        "id": party_id,
        "kind": kind,
        "name": f"{party_id} Ltd",
        "country": country,
        "tax_jurisdiction": country,
        "vat_id": vat_id,
        "vat_evidence": (evidence(vat_id),) if vat_id else (),
        "settlement_currency": currency,
        "time_zone": {"CH": "Europe/Zurich", "GB": "Europe/London"}.get(country, "Europe/Amsterdam"),
        "connected_account": f"acct_{party_id}",
        "details": BusinessDetails(
            address=BusinessAddress(street="Kade 1", post_code="1000", town="Utrecht", country=country),
            register_number="552100554" if country == "FR" else None,
        ),
    }
    return Party(**{**fields, **changes})


def registered(known: Party, *countries: str) -> Party:
    """The party with a proven VAT registration in each country."""
    more = tuple(
        VatRegistration(tax_jurisdiction=country, vat_id=VAT_IDS[country], valid_from=date(2015, 1, 1))
        for country in countries
    )
    proofs = tuple(evidence(one.vat_id) for one in more)
    return replace(
        known,
        vat_registrations=(*known.vat_registrations, *more),
        vat_evidence=(*known.vat_evidence, *proofs),
    )


# The platform sells to drivers, so it is registered wherever its CPOs have charge points.
PLATFORM = registered(
    party("platform", PartyKind.PLATFORM, "CH", "CHF", taxable_dealer=True, connected_account=None),
    *(country for country in VAT_IDS if country not in ("CH", "LI")),
)
NL_CPO = party("NL-ABC", PartyKind.CPO, "NL", "EUR")
DE_CPO = party("DE-XYZ", PartyKind.CPO, "DE", "EUR")
FR_CPO = party("FR-LUM", PartyKind.CPO, "FR", "EUR")
CH_CPO = party("CH-ALP", PartyKind.CPO, "CH", "CHF")
GB_CPO = party("GB-VLT", PartyKind.CPO, "GB", "GBP")
SUPERAPP = party("superapp", PartyKind.DEMAND_PARTNER, "DE", "EUR")
PARKING = party("parking", PartyKind.DEMAND_PARTNER, "CH", "CHF")
SITE = party("hotel", PartyKind.SITE_HOST, "NL", "EUR")
EMSP = party("NL-EMP", PartyKind.EMSP, "NL", "EUR")
PARTIES = {
    known.id: known
    for known in (PLATFORM, NL_CPO, DE_CPO, FR_CPO, CH_CPO, GB_CPO, SUPERAPP, PARKING, SITE, EMSP)
}


def terms(currency: str = "EUR", **changes: Any) -> Terms:
    fields: dict[str, Any] = {
        "legal_model": LegalModel.RESELLER,
        "currency": currency,
        "shares": (
            Share(role=Role.DEMAND_PARTNER, basis_points=800),
            Share(role=Role.PLATFORM, basis_points=1200),
        ),
        "deficit": Deficit.CAP,
    }
    return Terms(**{**fields, **changes})


def agreement(cpo: Party, *, partner: str | None = None, version: int = 1, **changes: Any) -> Agreement:
    return Agreement(
        id=f"agr-{cpo.id}",
        version=version,
        cpo_id=cpo.id,
        demand_partner_id=partner,
        valid_from=LONG_AGO,
        terms=terms(cpo.settlement_currency, **changes),
    )


def tariff_json(cpo: Party, *, price: str = "0.50", vat: str | None = "21.0") -> bytes:
    component: dict[str, Any] = {"type": "ENERGY", "price": Decimal(price), "step_size": 1}
    if vat is not None:
        component["vat"] = Decimal(vat)
    country, party_id = cpo.id.split("-")
    tariff = {
        "country_code": country,
        "party_id": party_id,
        "id": f"{cpo.id}-1",
        "currency": cpo.settlement_currency,
        "elements": [{"price_components": [component]}],
        "last_updated": "2026-01-01T00:00:00Z",
    }
    return json.dumps(tariff, sort_keys=True, separators=(",", ":"), default=float).encode()


def cdr_json(session_id: UUID, cpo: Party, *, kwh: str = "10", ended_at: datetime = SALE_AT) -> bytes:
    country, party_id = cpo.id.split("-")
    started = ended_at - timedelta(hours=1)
    cdr = {
        "country_code": country,
        "party_id": party_id,
        "id": f"CDR-{session_id.hex[-12:]}",
        "start_date_time": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "end_date_time": ended_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cdr_token": {
            "country_code": country,
            "party_id": "EMP",
            "uid": "T1",
            "type": "APP_USER",
            "contract_id": "C1",
        },
        "auth_method": "COMMAND",
        "cdr_location": {
            "id": "LOC1",
            "address": "Kade 1",
            "city": "Utrecht",
            "country": "NLD",
            "coordinates": {"latitude": "52.09", "longitude": "5.12"},
            "evse_uid": "E1",
            "evse_id": f"{country}*{party_id}*E1",
            "connector_id": "1",
            "connector_standard": "IEC_62196_T2",
            "connector_format": "CABLE",
            "connector_power_type": "AC_3_PHASE",
        },
        "currency": cpo.settlement_currency,
        "charging_periods": [
            {
                "start_date_time": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "dimensions": [{"type": "ENERGY", "volume": Decimal(kwh)}],
            }
        ],
        "total_cost": {"excl_vat": 5.00},
        "total_energy": Decimal(kwh),
        "total_time": 1.0,
        "last_updated": ended_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return json.dumps(cdr, default=float).encode()


def session_id(number: int) -> UUID:
    """A version 7 id with the number in its tail, so that shards vary."""
    return UUID(int=(0x0192F000_0000_7000_8000_000000000000 | number))


def session(number: int, cpo: Party = NL_CPO, **changes: Any) -> CapturedSession:
    """10 kWh at 0.50 and 21 % VAT: 6.05 captured by card."""
    identifier = session_id(number)
    kwh = changes.pop("kwh", "10")
    tariff = changes.pop("tariff_json", tariff_json(cpo))
    cdr = cdr_json(identifier, cpo, kwh=kwh, ended_at=changes.get("sale_at", SALE_AT))
    fields: dict[str, Any] = {
        "shard": shard_of(identifier),
        "session_id": identifier,
        "cpo_id": cpo.id,
        "demand_partner_id": "superapp",
        "authorization_method": AuthorizationMethod.CARD,
        "funding": FundingSource.PSP,
        "tax_jurisdiction": cpo.tax_jurisdiction,
        "time_zone": cpo.time_zone,
        "sale_at": SALE_AT,
        "captured_at": changes.get("sale_at", SALE_AT) + timedelta(minutes=1),
        "captured_minor": 605,
        "currency": cpo.settlement_currency,
        "tariff_sha256": sha256(tariff).hexdigest(),
        "tariff_json": tariff,
        "tariff_version": "2.2.1",
        "cdr_id": f"CDR-{identifier.hex[-12:]}",
        "cdr_json": cdr,
        "cdr_version": "2.2.1",
        "psp_object_id": f"pi_{number}",
        "psp_fee_minor": 34,
        "psp_fee_currency": cpo.settlement_currency,
    }
    return CapturedSession(**{**fields, **changes})


def repriced(captured: CapturedSession, **changes: Any) -> RepricedSession:
    """A price that agrees with what was captured, at 21 % in the tariff."""
    fields: dict[str, Any] = {
        "currency": captured.currency,
        "incl_vat_minor": captured.captured_minor,
        "vat_minor": 0,
        "tax_known": False,
        "energy_kwh": Decimal(10),
        "policy": "test",
    }
    return RepricedSession(**{**fields, **changes})


def without_vat_id(known: Party) -> Party:
    return replace(known, vat_id=None, vat_registrations=(), vat_evidence=())
