"""Before the first driver: parties, keys, agreements, money, tariffs, webhooks, contracts.

Owns: the order in which a market is set up through public interfaces, each step journaled.
Must not know sessions. Every amount brought in is a function of their number, so that a day repeats exactly.
"""

from functools import partial
from typing import Any, Final

from gateway.sandbox.market import operators
from gateway.sandbox.market.agreements import agreements
from gateway.sandbox.market.cast import (
    BUSINESSES,
    CPOS,
    DEMAND_PARTNERS,
    MOBILITY,
    PARKING_APP,
    PLATFORM,
    PLATFORM_REGISTRATIONS,
    SUPER_APP,
    Business,
    Cpo,
)
from gateway.sandbox.market.charging import instant
from gateway.sandbox.market.plan import DAY_START
from gateway.sandbox.market.stage import Stage, set_clock
from gateway.sandbox.market.vehicles import Garage, build_garage

CURRENCIES: Final = ("CHF", "EUR", "GBP")
LISTENERS: Final = (SUPER_APP.party_id, PARKING_APP.party_id, "NL-POL")  # who takes webhooks
STEPS: Final = 8
SELF_BILLING_SINCE: Final = "2026-01-01"
REGISTERED_SINCE: Final = "2026-01-01"
_PER_SESSION_MINOR: Final = 10_000  # 100.00: more than any session costs
_FLOAT_MINOR: Final = 1_000_000
_CONTRACT_END: Final = "2027-10-28T00:00:00Z"
_CONTRACT_LIMIT_MINOR: Final = 8_000


async def open_market(stage: Stage) -> None:
    """Set everything up. Steps done in an earlier run are taken from the journal."""
    audience = stage.audience
    audience.chapter("Opening the market", steps=STEPS)
    if "opened" not in stage.journal:
        await set_clock(stage, DAY_START)
    audience.advance("clock")
    for party in (*BUSINESSES, *CPOS):
        await _enroll(stage, party)
    audience.advance("parties and keys")
    for agreement in agreements():
        name = f"agreement/{agreement['id']}"
        await stage.journal.once(name, partial(_post, stage, "/v1/agreements", agreement, name))
    audience.advance("agreements")
    await _bring_money(stage)
    audience.advance("money")
    for cpo in CPOS:
        await operators.register(stage, cpo)
    audience.advance("OCPI handshakes")
    for cpo in CPOS:
        await stage.journal.once(f"published/{cpo.party_id}", partial(operators.publish, stage, cpo))
    audience.advance("locations and tariffs")
    for party_id in LISTENERS:
        await _listen(stage, party_id)
    audience.advance("webhook endpoints")
    await _issue_contracts(stage)
    audience.advance("contracts")
    if "opened" not in stage.journal:
        stage.journal.record("opened", None)


async def _post(stage: Stage, path: str, body: dict[str, Any], key: str | None = None) -> Any:
    return (await stage.admin.post(path, body, key=key)).body


async def _enroll(stage: Stage, party: Business | Cpo) -> None:
    """A connected account at the PSP, the party, and its API key."""
    party_id = party.party_id
    account = await stage.journal.once(f"account/{party_id}", lambda: _connected_account(stage, party))
    body = _party(party, account=account)
    await stage.journal.once(
        f"party/{party_id}", partial(_post, stage, "/v1/parties", body, f"party-{party_id}")
    )
    if party_id != PLATFORM.party_id:
        path = f"/v1/parties/{party_id}/api-keys"
        granted = await stage.journal.once(
            f"key/{party_id}", partial(_post, stage, path, {"scopes": _scopes(party)})
        )
        stage.keys[party_id] = granted["api_key"]


async def _connected_account(stage: Stage, party: Business | Cpo) -> str:
    parameters = {
        "type": "custom",
        "country": party.country,
        "default_currency": party.currency.lower(),
        "metadata": {"party": party.party_id},
    }
    body = await stage.psp.post_form("/v1/accounts", parameters, key=f"account-{party.party_id}")
    return str(body["id"])


def _party(party: Business | Cpo, *, account: str) -> dict[str, Any]:
    return {
        "id": party.party_id,
        "kind": "cpo" if isinstance(party, Cpo) else party.kind,
        "taxable_dealer": party is PLATFORM,
        "self_billing_since": SELF_BILLING_SINCE if isinstance(party, Cpo) else None,
        "name": party.name,
        "country": party.country,
        "territory": party.country,
        "vat_id": party.vat_id,
        "vat_registrations": _registrations(party),
        "settlement_currency": party.currency,
        "terms_days": party.terms_days,
        "time_zone": party.time_zone,
        "connected_account": None if party is PLATFORM else account,
        "minimum_payout": 0,
    }


def _registrations(party: Business | Cpo) -> list[dict[str, Any]]:
    if party is not PLATFORM:
        return []
    return [
        {"territory": territory, "vat_id": vat_id, "valid_from": REGISTERED_SINCE}
        for territory, vat_id in PLATFORM_REGISTRATIONS.items()
    ]


def _scopes(party: Business | Cpo) -> list[str]:
    if isinstance(party, Cpo):
        return ["plug_and_charge", "settlement:read", "webhooks"]
    return ["capture", "settlement:read", "webhooks"]


async def _bring_money(stage: Stage) -> None:
    """Treasury in every currency, and what the super app and the mobility provider put on their accounts."""
    amount = _FLOAT_MINOR + _PER_SESSION_MINOR * len(stage.day.sessions)
    for currency in CURRENCIES:
        name = f"treasury/{currency}"
        body: dict[str, Any] = {"currency": currency, "amount": amount, "reference": f"float-{currency}"}
        await stage.journal.once(name, partial(_post, stage, "/v1/treasury/topups", body, name))
        for partner in (SUPER_APP, MOBILITY):
            name = f"funding/{partner.party_id}/{currency}"
            path = f"/v1/partner-accounts/{partner.party_id}/{currency}/fundings"
            funding = {"amount": amount, "reference": f"funds-{partner.party_id}-{currency}"}
            await stage.journal.once(name, partial(_post, stage, path, funding, name))


async def _listen(stage: Stage, party_id: str) -> None:
    client, url = stage.party(party_id), stage.receiver.webhook_url(party_id)

    async def subscribe() -> Any:
        # One that an interrupted run made, and whose secret was lost with it, is replaced.
        for endpoint in (await client.get("/v1/webhook-endpoints"))["data"]:
            await client.call("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}")
        made = (await client.post("/v1/webhook-endpoints", {"url": url, "events": ["*"]})).body
        return {"id": made["id"], "secret": made["secret"]}

    endpoint = await stage.journal.once(f"webhook/{party_id}", subscribe)
    stage.receiver.trust(party_id, endpoint["secret"])


async def _issue_contracts(stage: Stage) -> None:
    """Certificates for the day, the trusted root, and one contract per vehicle with its way to pay."""
    day = stage.day

    async def build() -> Any:
        garage = build_garage(
            vehicles=day.vehicles, revoked=day.revoked_vehicles, status_url=stage.receiver.url
        )
        return garage.to_json()

    stage.garage = Garage.from_json(await stage.journal.once("garage", build))
    stage.receiver.answer_status_of(stage.garage)
    anchor = {
        "environment": "sandbox",
        "kind": "mo_root",
        "pem": stage.garage.root_pem,
        "policy": "require",
        "revocation_sources": [
            {"kind": "ocsp", "url": f"{stage.receiver.url}/ocsp"},
            {"kind": "crl", "url": f"{stage.receiver.url}/crl/contracts"},
        ],
    }
    await stage.journal.once(
        "trust-anchor", lambda: _post(stage, "/v1/plug-and-charge/trust-anchors", anchor, "trust-anchor")
    )
    for number, vehicle in enumerate(stage.garage.vehicles):
        emaid = vehicle.emaid
        await stage.journal.once(f"contract/{emaid}", partial(_contract, stage, number, emaid))


async def _contract(stage: Stage, number: int, emaid: str) -> None:
    """Every second contract is paid by a card under a mandate, the others by the provider's account."""
    payment: dict[str, Any] = {"type": "partner_account"}
    if number % 2 == 0:
        payment = await _mandate(stage, emaid)
    body = {
        "emaid": emaid,
        "party": MOBILITY.party_id,
        "payment": payment,
        "valid_from": instant(DAY_START),
        "valid_to": _CONTRACT_END,
        "limit": _CONTRACT_LIMIT_MINOR,
    }
    await stage.admin.post("/v1/plug-and-charge/contracts", body, key=f"contract-{emaid}")


async def _mandate(stage: Stage, emaid: str) -> dict[str, Any]:
    """A customer at the PSP with a card that may be charged off session."""
    customer = await stage.psp.post_form(
        "/v1/customers", {"metadata": {"emaid": emaid}}, key=f"customer-{emaid}"
    )
    method = await stage.psp.post_form(
        "/v1/payment_methods/pm_card_visa/attach", {"customer": customer["id"]}, key=f"attach-{emaid}"
    )
    setup = {
        "customer": customer["id"],
        "payment_method": method["id"],
        "confirm": True,
        "usage": "off_session",
        "payment_method_types[]": "card",
    }
    await stage.psp.post_form("/v1/setup_intents", setup, key=f"mandate-{emaid}")
    return {
        "type": "psp_payment_method",
        "payment_method": method["id"],
        "customer": customer["id"],
    }


def listening_partners() -> tuple[str, ...]:
    """Demand partners whose events are pushed."""
    return tuple(partner.party_id for partner in DEMAND_PARTNERS if partner.party_id in LISTENERS)
