"""The CPOs: they register over OCPI 2.2.1, publish locations and tariffs, report sessions, send CDRs.

Owns: OCPI messages as a CPO writes them. Must not know the gateway's receiver beyond the protocol.
Sources: OCPI 2.2.1, 6 (versions), 7 (credentials), 8 (locations), 9 (sessions), 10 (cdrs), 11 (tariffs).
"""

import base64
import hashlib
from typing import Any, Final

from sandbox.market.billing import bill
from sandbox.market.charging import charge_detail_record, connector_standard, instant, power_type
from sandbox.market.client import HttpResponse, MarketError
from sandbox.market.context import OcpiPeer, SimulationContext
from sandbox.market.participants import CPO_BY_ID, SITES, Cpo, Site, evse_id
from sandbox.market.plan import PlannedSession
from sandbox.market.tariffs import LAST_UPDATED, tariffs_of

_VERSION: Final = "2.2.1"
_SUCCESS: Final = 1000
_DC_VOLTS: Final = 920
_AC_VOLTS: Final = 230
_PHASES: Final = 3


async def register(context: SimulationContext, cpo: Cpo) -> None:
    """The credentials handshake, once; then the peer's endpoints are known."""
    granted = await context.checkpoints.once(f"ocpi/{cpo.party_id}", lambda: _handshake(context, cpo))
    context.peers[cpo.party_id] = OcpiPeer(
        client=context.ocpi(granted["token"]), endpoints=granted["endpoints"]
    )


async def publish(context: SimulationContext, cpo: Cpo) -> None:
    """Put every tariff, then every location."""
    peer = context.peers[cpo.party_id]
    for tariff in tariffs_of(cpo.party_id):
        await _put(peer, "tariffs", cpo, tariff["id"], tariff)
    for site in SITES:
        if site.cpo_id == cpo.party_id:
            stalls = context.day.stalls[site.site_id]
            await _put(peer, "locations", cpo, site.site_id, location(site, stalls=stalls))


async def report_start(context: SimulationContext, session: PlannedSession) -> None:
    """Put the running Session object."""
    cpo = CPO_BY_ID[session.site.cpo_id]
    started = {
        "country_code": cpo.country_code,
        "party_id": cpo.party_code,
        "id": session.ref,
        "start_date_time": instant(session.starts_at),
        "kwh": 0,
        "cdr_token": _record(context, session)["cdr_token"],
        "auth_method": "AUTH_REQUEST",
        "authorization_reference": context.authorization(session.number)["authorization"],
        "location_id": session.site.site_id,
        "evse_uid": f"{session.site.site_id}-{session.stall}",
        "connector_id": "1",
        "currency": cpo.currency,
        "status": "ACTIVE",
        "last_updated": instant(session.starts_at),
    }
    await _put(context.peers[cpo.party_id], "sessions", cpo, session.ref, started)


async def send_cdr(context: SimulationContext, session: PlannedSession) -> dict[str, Any]:
    """Post the CDR; returns its bill {"currency", "incl_vat", "excl_vat"} in minor units."""
    record, billed = bill(session, _record(context, session))
    peer = context.peers[session.site.cpo_id]
    _unwrapped(await peer.client.post(peer.endpoints["cdrs"], record), what=f"CDR {session.cdr_id}")
    return billed


def priced_record(
    context: SimulationContext, session: PlannedSession
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The CDR with its cost, and its bill, for whoever sends it."""
    return bill(session, _record(context, session))


def location(site: Site, *, stalls: int) -> dict[str, Any]:
    """The OCPI Location of a site with `stalls` EVSEs of one connector each."""
    cpo = CPO_BY_ID[site.cpo_id]
    return {
        "country_code": cpo.country_code,
        "party_id": cpo.party_code,
        "id": site.site_id,
        "publish": True,
        "name": site.name,
        "address": site.address,
        "city": site.city,
        "postal_code": site.postal_code,
        "country": cpo.country3,
        "coordinates": {"latitude": site.latitude, "longitude": site.longitude},
        "evses": [_evse(site, stall) for stall in range(1, stalls + 1)],
        "operator": {"name": cpo.name},
        "time_zone": cpo.time_zone,
        "last_updated": LAST_UPDATED,
    }


def _evse(site: Site, stall: int) -> dict[str, Any]:
    volts = _DC_VOLTS if site.direct_current else _AC_VOLTS
    phases = 1 if site.direct_current else _PHASES
    connector = {
        "id": "1",
        "standard": connector_standard(site),
        "format": "CABLE",
        "power_type": power_type(site),
        "max_voltage": volts,
        "max_amperage": -(-site.power_w // (volts * phases)),
        "max_electric_power": site.power_w,
        "tariff_ids": [site.tariff_id],
        "last_updated": LAST_UPDATED,
    }
    return {
        "uid": f"{site.site_id}-{stall}",
        "evse_id": evse_id(site, stall=stall),
        "status": "AVAILABLE",
        "capabilities": ["RESERVABLE", "REMOTE_START_STOP_CAPABLE"],
        "connectors": [connector],
        "last_updated": LAST_UPDATED,
    }


def _record(context: SimulationContext, session: PlannedSession) -> dict[str, Any]:
    token_uid = session.ref
    contract_id = session.partner_id.upper()
    if session.vehicle is not None and context.fleet is not None:
        token_uid = contract_id = context.fleet.vehicles[session.vehicle].emaid
    reference = context.authorization(session.number)["authorization"]
    return charge_detail_record(
        session, authorization_reference=reference, token_uid=token_uid, contract_id=contract_id
    )


async def _handshake(context: SimulationContext, cpo: Cpo) -> dict[str, Any]:
    invited = await context.admin.post("/v1/ocpi/registrations", {"party_id": cpo.party_id})
    token_a = invited.body["token_a"]
    client = context.ocpi(_encoded(token_a))
    versions = _unwrapped(await client.call("GET", invited.body["versions_url"]), what="OCPI versions")
    details_url = next(found["url"] for found in versions if found["version"] == _VERSION)
    details = _unwrapped(await client.call("GET", details_url), what="OCPI version details")
    endpoints = {
        found["identifier"]: found["url"]
        for found in details["endpoints"]
        if found.get("role") == "RECEIVER" or found["identifier"] == "credentials"
    }
    # The gateway's token for requests to us; derived from token A, so that a repeated handshake gives the
    # same.
    token_b = hashlib.sha256(f"market {token_a}".encode()).hexdigest()
    credentials = {
        "token": token_b,
        "url": context.receiver.versions_url(cpo.party_id),
        "roles": [
            {
                "role": "CPO",
                "country_code": cpo.country_code,
                "party_id": cpo.party_code,
                "business_details": {"name": cpo.name},
            }
        ],
    }
    answer = await client.post(endpoints["credentials"], credentials)
    token_c = _unwrapped(answer, what=f"OCPI credentials of {cpo.party_id}")["token"]
    return {"token": _encoded(token_c), "endpoints": endpoints}


async def _put(peer: OcpiPeer, module: str, cpo: Cpo, object_id: str, body: dict[str, Any]) -> None:
    url = f"{peer.endpoints[module].rstrip('/')}/{cpo.country_code}/{cpo.party_code}/{object_id}"
    _unwrapped(await peer.client.put(url, body), what=f"{module} {object_id}")


def _unwrapped(answer: HttpResponse, *, what: str) -> Any:
    """The data of an OCPI envelope. Raises MarketError unless its status_code is 1000."""
    envelope = answer.body
    if not isinstance(envelope, dict) or envelope.get("status_code") != _SUCCESS:
        raise MarketError(f"{what}: OCPI answered {envelope}")
    return envelope.get("data")


def _encoded(token: str) -> str:
    """A token as an OCPI 2.2.1 Authorization header carries it (4.1.1: Base64)."""
    return base64.b64encode(token.encode()).decode()
