"""`networkcore trigger EVENT`: make an event happen at a sandbox, by the calls that lead to it.

Owns: which calls lead to which event. Must not know: how an event is written or sent. Nothing is invented:
each event comes from a real object, so what a receiver sees is what it will see.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import click

from gateway.cli.api_client import ApiAnswerError, ApiClient, connection_options
from gateway.cli.command_group import suggestion
from gateway.cli.process import run_async
from gateway.errors import GatewayError
from gateway.webhooks.events import EventType

_PAYS: Final = "pm_card_visa"
_DECLINES: Final = "pm_card_visa_chargeDeclined"
_ASKS: Final = "pm_card_threeDSecure2Required"
_DISPUTED: Final = "pm_card_createDispute"
_ENERGY_WH: Final = 12_000
_DURATION: Final = timedelta(minutes=40)
_TEST_KEY: Final = "pk_test_"  # of the PSP: it can't charge a real card


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Who acts: the party whose events are wanted, and the platform in the operator's place."""

    party: ApiClient
    platform: ApiClient | None
    evse_id: str

    async def authorize(self, card: str = _PAYS) -> Mapping[str, Any]:
        """An authorization with a card of the sandbox PSP."""
        body = {
            "evse_id": self.evse_id,
            "method": "card",
            "payment": {"type": "psp_payment_method", "payment_method": card},
            "estimate": {"energy_wh": 30_000, "duration_s": 3600},
            "session_ref": f"trigger-{uuid4().hex[:12]}",  # another order, so not a double tap
        }
        found: Mapping[str, Any] = await self.party.post("/v1/authorizations", body)
        return found

    async def charge(self, card: str = _PAYS) -> Mapping[str, Any]:
        """A session that was authorized, charged and captured; the platform states what the meter would."""
        if self.platform is None:
            raise GatewayError(
                "this event needs a completed session, and the operator's CDR completes it: give the "
                "platform's key as --platform-key or $ADMIN to state the usage in its place"
            )
        made = await self.authorize(card)
        ended = await _market_time(self.platform)
        usage = {
            "started_at": (ended - _DURATION).isoformat(),
            "ended_at": ended.isoformat(),
            "energy_wh": _ENERGY_WH,
        }
        found: Mapping[str, Any] = await self.platform.post(
            f"/v1/sessions/{made['session']}/complete", {"usage": usage}
        )
        return found


async def _market_time(platform: ApiClient) -> datetime:
    """The sandbox's business time; it has a clock of its own."""
    clock = await platform.get("/v1/market-clock")
    return datetime.fromisoformat(clock["business_at"])


Recipe = Callable[[Sandbox], Awaitable[str]]


async def _authorized(sandbox: Sandbox) -> str:
    return str((await sandbox.authorize())["id"])


async def _failed(sandbox: Sandbox) -> str:
    try:
        return str((await sandbox.authorize(_DECLINES))["id"])
    except ApiAnswerError as error:
        if error.code != "card_declined":
            raise
        return "the card was declined"


async def _requires_action(sandbox: Sandbox) -> str:
    return str((await sandbox.authorize(_ASKS))["id"])


async def _voided(sandbox: Sandbox) -> str:
    made = await sandbox.authorize()
    return str((await sandbox.party.post(f"/v1/authorizations/{made['id']}/release"))["id"])


async def _captured(sandbox: Sandbox) -> str:
    return str((await sandbox.charge())["id"])


async def _refunded(sandbox: Sandbox) -> str:
    session = await sandbox.charge()
    return str((await sandbox.party.post("/v1/refunds", {"session": session["id"]}))["id"])


async def _disputed(sandbox: Sandbox) -> str:
    return str((await sandbox.charge(_DISPUTED))["capture"]["id"])


async def _tested(sandbox: Sandbox) -> str:
    endpoints = (await sandbox.party.get("/v1/webhook-endpoints"))["data"]
    if not endpoints:
        raise GatewayError("the party has no webhook endpoint; register one, or run networkcore listen")
    return str((await sandbox.party.post(f"/v1/webhook-endpoints/{endpoints[0]['id']}/test"))["id"])


RECIPES: Final[Mapping[EventType, Recipe]] = {
    EventType.AUTHORIZATION_AUTHORIZED: _authorized,
    EventType.AUTHORIZATION_FAILED: _failed,
    EventType.AUTHORIZATION_REQUIRES_ACTION: _requires_action,
    EventType.AUTHORIZATION_VOIDED: _voided,
    EventType.SESSION_COMPLETED: _captured,
    EventType.CAPTURE_SUCCEEDED: _captured,
    EventType.SESSION_CLEARED: _captured,
    EventType.REFUND_SUCCEEDED: _refunded,
    EventType.DISPUTE_OPENED: _disputed,
    EventType.WEBHOOK_ENDPOINT_TEST: _tested,
}


@click.command(name="trigger")
@click.argument("event", metavar="EVENT")
@connection_options
@click.option(
    "--platform-key",
    envvar="ADMIN",
    help="The platform's key; else $ADMIN. For events of completed sessions.",
)
@click.option("--evse", "evse_id", help="Where to charge; the first EVSE with a tariff unless given.")
def command(*, event: str, url: str, api_key: str, platform_key: str | None, evse_id: str | None) -> None:
    """Make EVENT happen at a sandbox, by the calls that lead to it, such as capture.succeeded."""
    names = sorted(one.value for one in RECIPES)
    if event not in names:
        hint = suggestion(event, names)
        raise click.UsageError(f"{event!r} can't be made to happen{hint}; these can: {', '.join(names)}")
    click.echo(run_async(_trigger(EventType(event), url, api_key, platform_key, evse_id)))


async def _trigger(
    event: EventType, url: str, api_key: str, platform_key: str | None, evse_id: str | None
) -> str:
    async with ApiClient(url, api_key) as party, ApiClient(url, platform_key or api_key) as platform:
        await _check_sandbox(party)
        sandbox = Sandbox(
            party=party,
            platform=platform if platform_key else None,
            evse_id=evse_id or await _find_evse(party),
        )
        made = await RECIPES[event](sandbox)
    return f"{event.value}: {made}"


async def _check_sandbox(party: ApiClient) -> None:
    """Raises GatewayError where real cards would be charged."""
    about = await party.get("/v1/client-configuration")
    if not str(about["publishable_key"]).startswith(_TEST_KEY):
        raise GatewayError(f"{party.url} takes real payments: events are made to happen at a sandbox only")


async def _find_evse(party: ApiClient) -> str:
    for one in (await party.get("/v1/evses", limit=100))["data"]:
        if one["tariff"] is not None:
            return str(one["evse_id"] or one["uid"])
    raise GatewayError("no operator has published an EVSE yet; name one with --evse")
