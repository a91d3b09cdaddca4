"""Before the first session: parties, keys, agreements, funds, tariffs, webhooks, contracts.

Owns: the order in which a market is set up through public interfaces, each step with a checkpoint.
Must not know sessions. Every amount is a function of their number, so that a day repeats exactly.
"""

from dataclasses import asdict
from functools import partial
from typing import Any, Final

from sandbox.market import operators
from sandbox.market.agreements import agreements
from sandbox.market.charging import instant
from sandbox.market.checkpoints import Checkpoints
from sandbox.market.context import SimulationContext, set_clock
from sandbox.market.participants import (
    BUSINESSES,
    CPOS,
    MOBILITY,
    PARKING_APP,
    PLATFORM,
    PLATFORM_REGISTRATIONS,
    SUPER_APP,
    Business,
    Cpo,
)
from sandbox.market.plan import DAY_START
from sandbox.market.receiver import Receiver
from sandbox.market.vehicles import VehicleFleet, build_fleet

CURRENCIES: Final = ("CHF", "EUR", "GBP")
WEBHOOK_PARTIES: Final = (SUPER_APP.party_id, PARKING_APP.party_id, "NL-POL")  # who receive webhooks
STEPS: Final = 8
SELF_BILLING_SINCE: Final = "2026-01-01"
REGISTERED_SINCE: Final = "2026-01-01"
_PER_SESSION_MINOR: Final = 10_000  # 100.00: more than any session costs
_FLOAT_MINOR: Final = 1_000_000
_CONTRACT_END: Final = "2027-10-28T00:00:00Z"
_CONTRACT_LIMIT_MINOR: Final = 8_000


async def open_market(context: SimulationContext) -> None:
    """Set everything up. Steps with a checkpoint are not repeated."""
    progress = context.progress
    progress.start_phase("Opening the market", steps=STEPS)
    if "opened" not in context.checkpoints:
        await set_clock(context, DAY_START)
    progress.advance("clock")
    for party in (*BUSINESSES, *CPOS):
        await _register_party(context, party)
    await context.checkpoints.once("cdr-limits", partial(_set_cdr_limits, context))
    progress.advance("parties and keys")
    for agreement in agreements():
        name = f"agreement/{agreement['id']}"
        await context.checkpoints.once(name, partial(_post, context, "/v1/agreements", agreement, name))
    progress.advance("agreements")
    for party_id in WEBHOOK_PARTIES:  # before anything happens that they are to hear of
        await _add_webhook_endpoint(context, party_id)
    progress.advance("webhook endpoints")
    await _add_funds(context)
    progress.advance("funds")
    for cpo in CPOS:
        await operators.register(context, cpo)
    progress.advance("OCPI handshakes")
    for cpo in CPOS:
        await context.checkpoints.once(f"published/{cpo.party_id}", partial(operators.publish, context, cpo))
    progress.advance("locations and tariffs")
    await _issue_contracts(context)
    progress.advance("contracts")
    if "opened" not in context.checkpoints:
        context.checkpoints.record("opened", None)


def accept_known_webhooks(checkpoints: Checkpoints, receiver: Receiver) -> None:
    """Let the parties' server know the secrets of an interrupted day before the first delivery arrives."""
    for party_id in WEBHOOK_PARTIES:
        if _webhook(party_id) in checkpoints:
            receiver.accept_signed_with(party_id, checkpoints[_webhook(party_id)]["secret"])


def webhook_endpoint_of(context: SimulationContext, party_id: str) -> str:
    """The id of the party's webhook endpoint."""
    endpoint_id: str = context.checkpoints[_webhook(party_id)]["id"]
    return endpoint_id


def _webhook(party_id: str) -> str:
    return f"webhook/{party_id}"


async def _post(context: SimulationContext, path: str, body: dict[str, Any], key: str | None = None) -> Any:
    return (await context.admin.post(path, body, key=key)).body


async def _register_party(context: SimulationContext, party: Business | Cpo) -> None:
    """A connected account at the PSP, the party, and its API key."""
    party_id = party.party_id
    account = await context.checkpoints.once(
        f"account/{party_id}", lambda: _connected_account(context, party)
    )
    body = _party(party, account=account)
    await context.checkpoints.once(
        f"party/{party_id}", partial(_post, context, "/v1/parties", body, f"party-{party_id}")
    )
    if party_id != PLATFORM.party_id:
        path = f"/v1/parties/{party_id}/api-keys"
        granted = await context.checkpoints.once(
            f"key/{party_id}", partial(_post, context, path, {"scopes": _scopes(party)})
        )
        context.keys[party_id] = granted["api_key"]


async def _set_cdr_limits(context: SimulationContext) -> None:
    """The market's clock moves by the hour, and its meters are read every three minutes at full power."""
    limits = {"clock_slack_s": "3600", "power_slack_wh": "20000"}
    await context.admin.put(f"/v1/parties/{PLATFORM.party_id}/cdr-limits", {"limits": limits})


async def _connected_account(context: SimulationContext, party: Business | Cpo) -> str:
    parameters = {
        "type": "custom",
        "country": party.country,
        "default_currency": party.currency.lower(),
        "metadata": {"party": party.party_id},
    }
    body = await context.psp.post_form("/v1/accounts", parameters, key=f"account-{party.party_id}")
    return str(body["id"])


def _party(party: Business | Cpo, *, account: str) -> dict[str, Any]:
    return {
        "id": party.party_id,
        "kind": "cpo" if isinstance(party, Cpo) else party.kind,
        "taxable_dealer": party is PLATFORM,
        "self_billing_since": SELF_BILLING_SINCE if isinstance(party, Cpo) else None,
        "name": party.name,
        "country": party.country,
        "tax_jurisdiction": party.country,
        "vat_id": party.vat_id,
        "vat_registrations": _registrations(party),
        "settlement_currency": party.currency,
        "terms_days": party.terms_days,
        "time_zone": party.time_zone,
        "connected_account": None if party is PLATFORM else account,
        "minimum_payout": 0,
        "address": {**asdict(party.address), "country": party.country},
        "register_number": party.register_number,
    }


def _registrations(party: Business | Cpo) -> list[dict[str, Any]]:
    if party is not PLATFORM:
        return []
    return [
        {"tax_jurisdiction": tax_jurisdiction, "vat_id": vat_id, "valid_from": REGISTERED_SINCE}
        for tax_jurisdiction, vat_id in PLATFORM_REGISTRATIONS.items()
    ]


def _scopes(party: Business | Cpo) -> list[str]:
    if isinstance(party, Cpo):
        return ["plug_and_charge", "settlement:read", "webhooks"]
    shared = ["capture", "settlement:read", "webhooks"]
    return [*shared, "contracts"] if party is MOBILITY else shared


async def _add_funds(context: SimulationContext) -> None:
    """Fund the treasury in every currency, and the accounts of the super app and the mobility provider."""
    amount = _FLOAT_MINOR + _PER_SESSION_MINOR * len(context.day.sessions)
    for currency in CURRENCIES:
        name = f"treasury/{currency}"
        body: dict[str, Any] = {"currency": currency, "amount": amount, "reference": f"float-{currency}"}
        await context.checkpoints.once(name, partial(_post, context, "/v1/treasury/topups", body, name))
        for partner in (SUPER_APP, MOBILITY):
            name = f"funding/{partner.party_id}/{currency}"
            path = f"/v1/partner-accounts/{partner.party_id}/{currency}/fundings"
            funding = {"amount": amount, "reference": f"funds-{partner.party_id}-{currency}"}
            await context.checkpoints.once(name, partial(_post, context, path, funding, name))


async def _add_webhook_endpoint(context: SimulationContext, party_id: str) -> None:
    client, url = context.party(party_id), context.receiver.webhook_url(party_id)

    async def subscribe() -> Any:
        # An endpoint of an interrupted run, whose secret was lost, is replaced.
        for endpoint in (await client.get("/v1/webhook-endpoints"))["data"]:
            await client.call("DELETE", f"/v1/webhook-endpoints/{endpoint['id']}")
        made = (await client.post("/v1/webhook-endpoints", {"url": url, "events": ["*"]})).body
        return {"id": made["id"], "secret": made["secret"]}

    endpoint = await context.checkpoints.once(_webhook(party_id), subscribe)
    context.receiver.accept_signed_with(party_id, endpoint["secret"])


async def _issue_contracts(context: SimulationContext) -> None:
    """Certificates for the day, the trusted root, and one contract per vehicle with its means of payment."""
    day = context.day

    async def build() -> Any:
        fleet = build_fleet(
            vehicles=day.vehicles, revoked=day.revoked_vehicles, status_url=context.receiver.url
        )
        return fleet.to_json()

    context.fleet = VehicleFleet.from_json(await context.checkpoints.once("fleet", build))
    context.receiver.serve_status_of(context.fleet)
    anchor = {
        "environment": "sandbox",
        "kind": "mo_root",
        "pem": context.fleet.root_pem,
        "policy": "require",
        "revocation_sources": [
            {"kind": "ocsp", "url": f"{context.receiver.url}/ocsp"},
            {"kind": "crl", "url": f"{context.receiver.url}/crl/contracts"},
        ],
    }
    await context.checkpoints.once(
        "trust-anchor", lambda: _post(context, "/v1/plug-and-charge/trust-anchors", anchor, "trust-anchor")
    )
    for number, vehicle in enumerate(context.fleet.vehicles):
        emaid = vehicle.emaid
        await context.checkpoints.once(f"contract/{emaid}", partial(_contract, context, number, emaid))


async def _contract(context: SimulationContext, number: int, emaid: str) -> None:
    """Every second contract is paid by a card under a mandate, the others by the provider's account."""
    payment: dict[str, Any] = {"type": "partner_account"}
    if number % 2 == 0:
        payment = await _mandate(context, emaid)
    body = {
        "emaid": emaid,
        "party": MOBILITY.party_id,
        "payment": payment,
        "valid_from": instant(DAY_START),
        "valid_to": _CONTRACT_END,
        "limit": _CONTRACT_LIMIT_MINOR,
    }
    await context.admin.post("/v1/plug-and-charge/contracts", body, key=f"contract-{emaid}")


async def _mandate(context: SimulationContext, emaid: str) -> dict[str, Any]:
    """A customer at the PSP with a card that may be charged off session."""
    customer = await context.psp.post_form(
        "/v1/customers", {"metadata": {"emaid": emaid}}, key=f"customer-{emaid}"
    )
    method = await context.psp.post_form(
        "/v1/payment_methods/pm_card_visa/attach", {"customer": customer["id"]}, key=f"attach-{emaid}"
    )
    setup = {
        "customer": customer["id"],
        "payment_method": method["id"],
        "confirm": True,
        "usage": "off_session",
        "automatic_payment_methods[enabled]": True,
        "automatic_payment_methods[allow_redirects]": "never",
    }
    await context.psp.post_form("/v1/setup_intents", setup, key=f"mandate-{emaid}")
    return {
        "type": "psp_payment_method",
        "payment_method": method["id"],
        "customer": customer["id"],
    }
