"""The simulated market's people and prices: two CPOs, two demand partners, tariffs easy to multiply.

Owns: parties, agreements, the tariff source, CDRs, and the price of a CDR by a rule of its own. Must not
know: how the product prices.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from clearing.parties.agreement import Agreement, Deficit, LegalModel, Role, Share, Terms
from clearing.parties.party import Party, PartyKind, VatEvidence
from gateway.payments.missing_cdr import KnownUsage
from gateway.payments.records import SessionRecord
from gateway.payments.requests import ChargePoint, EvseUnknown, TariffMissing

LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
SUPERAPP, PARKING, PLATFORM = "superapp", "parking", "platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An EVSE with its tariff: a price per kWh and the VAT on it."""

    evse_id: str
    cpo_id: str
    country: str
    time_zone: str
    currency: str
    per_kwh: Decimal
    vat_percent: Decimal

    def price_minor(self, kwh: int) -> int:
        """Incl. VAT, in cents, half up: this file's own arithmetic."""
        exact = self.per_kwh * kwh * (100 + self.vat_percent)
        return int(exact.quantize(Decimal(1), ROUND_HALF_UP))

    def tariff(self) -> bytes:
        country, party = self.cpo_id.split("-")
        return json.dumps(
            {
                "country_code": country,
                "party_id": party,
                "id": "T1",
                "currency": self.currency,
                "elements": [
                    {
                        "price_components": [
                            {
                                "type": "ENERGY",
                                "price": float(self.per_kwh),
                                "vat": float(self.vat_percent),
                                "step_size": 1,
                            }
                        ]
                    }
                ],
                "last_updated": "2026-01-01T00:00:00Z",
            }
        ).encode()


PLACES: Final[Mapping[str, Place]] = MappingProxyType(
    {
        place.evse_id: place
        for place in (
            Place(
                evse_id="DE*ABC*E1",
                cpo_id="DE-ABC",
                country="DE",
                time_zone="Europe/Berlin",
                currency="EUR",
                per_kwh=Decimal("0.50"),
                vat_percent=Decimal("19.0"),
            ),
            Place(
                evse_id="CH*ALP*E1",
                cpo_id="CH-ALP",
                country="CH",
                time_zone="Europe/Zurich",
                currency="CHF",
                per_kwh=Decimal("0.60"),
                vat_percent=Decimal("8.1"),
            ),
        )
    }
)


class Tariffs:
    """The tariff source over PLACES."""

    async def tariff_for(
        self, connection: Any, *, evse_id: str, at: datetime, cpo_id: str | None = None, choice: Any = None
    ) -> ChargePoint | EvseUnknown | TariffMissing:
        place = PLACES.get(evse_id)
        if place is None:
            return EvseUnknown()
        return ChargePoint(
            cpo_id=place.cpo_id,
            location_id="L1",
            evse_id=evse_id,
            time_zone=place.time_zone,
            country=place.country,
            tax_jurisdiction=place.country,
            max_power_w=150_000,
            tariff_raw=place.tariff(),
            tariff_version="2.2.1",
        )


@dataclass(slots=True)
class Updates:
    """What CPOs report: who sends CDRs by OCPI, and of running sessions kWh so far and when, by id."""

    connected: frozenset[str] = frozenset()
    reported: dict[UUID, tuple[int, datetime]] = field(default_factory=dict)

    async def sends_cdrs(self, connection: Any, *, cpo_id: str) -> bool:
        return cpo_id in self.connected

    async def find_last_update(
        self, connection: Any, session: SessionRecord, *, authorization_id: UUID, cdr_id: str
    ) -> KnownUsage | None:
        known = self.reported.get(session.id)
        if known is None:
            return None
        kwh, at = known
        tree = cdr_tree(
            PLACES[session.evse_id],
            cdr_id=cdr_id,
            session_ref=session.session_ref or "",
            kwh=kwh,
            ended_at=at,
        )
        del tree["total_cost"]
        return KnownUsage(cdr_raw=json.dumps(tree).encode(), cdr_version="2.2.1")


def cdr_tree(
    place: Place, *, cdr_id: str, session_ref: str, kwh: int, ended_at: datetime, credit_of: str | None = None
) -> dict[str, Any]:
    """An OCPI 2.2.1 CDR of an hour that ended at `ended_at`; a credit CDR where it reverses `credit_of`."""
    country, party = place.cpo_id.split("-")
    began = _text(ended_at - timedelta(hours=1))
    sign = 1 if credit_of is None else -1
    tree: dict[str, Any] = {
        "country_code": country,
        "party_id": party,
        "id": cdr_id,
        "start_date_time": began,
        "end_date_time": _text(ended_at),
        "session_id": session_ref,
        "cdr_token": {
            "country_code": country,
            "party_id": party,
            "uid": session_ref,
            "type": "APP_USER",
            "contract_id": session_ref,
        },
        "auth_method": "AUTH_REQUEST",
        "cdr_location": {
            "id": "L1",
            "address": "Kai 1",
            "city": "Ort",
            "country": "DEU" if country == "DE" else "CHE",
            "coordinates": {"latitude": "52.09", "longitude": "5.12"},
            "evse_uid": "E1",
            "evse_id": place.evse_id,
            "connector_id": "1",
            "connector_standard": "IEC_62196_T2",
            "connector_format": "CABLE",
            "connector_power_type": "DC",
        },
        "currency": place.currency,
        "charging_periods": [{"start_date_time": began, "dimensions": [{"type": "ENERGY", "volume": kwh}]}],
        "total_cost": {"excl_vat": sign * float(place.per_kwh * kwh)},
        "total_energy": kwh,
        "total_time": 1.0,
        "last_updated": _text(ended_at),
    }
    return tree if credit_of is None else tree | {"credit": True, "credit_reference_id": credit_of}


def parties(accounts: Mapping[str, str]) -> list[Party]:
    """Everybody, with the connected accounts they are paid on."""
    return [
        _party(PLATFORM, PartyKind.PLATFORM, "CH", None),
        _party("DE-ABC", PartyKind.CPO, "DE", accounts["DE-ABC"]),
        _party("CH-ALP", PartyKind.CPO, "CH", accounts["CH-ALP"]),
        _party(SUPERAPP, PartyKind.DEMAND_PARTNER, "DE", accounts[SUPERAPP]),
        _party(PARKING, PartyKind.DEMAND_PARTNER, "CH", accounts[PARKING]),
    ]


def agreements() -> list[Agreement]:
    """80 / 8 / 12, one per CPO."""
    return [
        Agreement(
            id=f"agr-{place.cpo_id}",
            version=1,
            cpo_id=place.cpo_id,
            demand_partner_id=None,
            valid_from=LONG_AGO,
            terms=Terms(
                legal_model=LegalModel.RESELLER,
                currency=place.currency,
                shares=(
                    Share(role=Role.DEMAND_PARTNER, basis_points=800),
                    Share(role=Role.PLATFORM, basis_points=1200),
                ),
                deficit=Deficit.CAP,
            ),
        )
        for place in PLACES.values()
    ]


def _party(party_id: str, kind: PartyKind, country: str, account: str | None) -> Party:
    currency, time_zone = {"CH": ("CHF", "Europe/Zurich"), "DE": ("EUR", "Europe/Berlin")}[country]
    vat_id = {"CH": "CHE107787577MWST", "DE": "DE136695976"}[country]
    proof = VatEvidence(
        effective_from=date(2015, 1, 1), vat_id=vat_id, valid=True, source="declared", checked_at=LONG_AGO
    )
    return Party(
        id=party_id,
        kind=kind,
        name=party_id,
        country=country,
        tax_jurisdiction=country,
        vat_id=vat_id,
        vat_evidence=(proof,),
        settlement_currency=currency,
        time_zone=time_zone,
        connected_account=account,
        taxable_dealer=kind is PartyKind.PLATFORM,
    )


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
