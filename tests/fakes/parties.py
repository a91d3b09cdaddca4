"""Parties of tests: made by the API, or as the gateway's rows alone."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.database import Connection
from gateway.partners import party_repository
from gateway.partners.party_repository import PartyRecord
from tests.fakes.api import Answer, Api

CREATED = datetime(2026, 10, 29, 8, tzinfo=UTC)
# A small market: kind, country, currency and time zone of each party.
MARKET = {
    "platform": ("platform", "CH", "CHF", "Europe/Zurich"),
    "DE-ABC": ("cpo", "DE", "EUR", "Europe/Berlin"),
    "parking": ("demand_partner", "DE", "EUR", "Europe/Berlin"),
    "superapp": ("demand_partner", "DE", "EUR", "Europe/Berlin"),
}
AGREEMENT = {
    "id": "a1",
    "cpo": "DE-ABC",
    "valid_from": "2026-01-01T00:00:00Z",
    "terms": {
        "legal_model": "reseller",
        "currency": "EUR",
        "shares": [
            {"role": "platform", "basis_points": 400},
            {"role": "demand_partner", "basis_points": 800},
        ],
    },
}


def party_body(party_id: str, **fields: Any) -> dict[str, Any]:
    """A German CPO that is paid in euro, but for what is named."""
    return {
        "id": party_id,
        "kind": "cpo",
        "name": party_id,
        "country": "DE",
        "settlement_currency": "EUR",
        "time_zone": "Europe/Berlin",
        **fields,
    }


async def create_party(api: Api, party_id: str, *, by: str = "admin", **fields: Any) -> Answer:
    """Create a party over the API, or renew it."""
    made = await api.call("POST", "/v1/parties", party_body(party_id, **fields), party=by)
    assert made.status == 201, made.text
    return made


async def create_market(
    api: Api, *, name: str | None = None, settles: Mapping[str, str] | None = None, street: str | None = None
) -> None:
    """Rates, the parties of `MARKET` and the agreement of their sessions, as `create_parties` says."""
    await create_parties(api, name=name, settles=settles, street=street)
    await agree(api)


async def create_parties(
    api: Api, *, name: str | None = None, settles: Mapping[str, str] | None = None, street: str | None = None
) -> None:
    """Rates and the parties of `MARKET`.

    `name` is that of every party, `street` gives each an address, `settles` names currencies of payout.
    """
    await api.services.clearing.reference_data.import_bundled_rates(api.services.pool, now=api.clock.now())
    for party_id, (kind, country, currency, zone) in MARKET.items():
        address = {"street": street, "post_code": "1000", "town": "Hafen", "country": country}
        await create_party(
            api,
            party_id,
            kind=kind,
            name=name or party_id,
            country=country,
            vat_id=None if party_id == "platform" else "DE136695976",
            taxable_dealer=kind == "platform",
            settlement_currency=(settles or {}).get(party_id, currency),
            time_zone=zone,
            connected_account=f"acct_{kind}",
            **({} if street is None else {"address": address}),
        )


async def agree(api: Api) -> None:
    """What the parties of `MARKET` earn of a session."""
    agreed = await api.call("POST", "/v1/agreements", AGREEMENT, party="admin")
    assert agreed.status == 201, agreed.text


async def add_parties(connection: Connection, kinds: Mapping[str, str], *, at: datetime = CREATED) -> None:
    """The gateway's rows of parties, by the kind of each."""
    for party_id, kind in kinds.items():
        await party_repository.add_party(connection, PartyRecord(id=party_id, kind=kind, created_at=at))
