"""A market to develop against: opened, its clock running, with the addresses and keys of everything.

Owns: what a developer needs to know about a running stack. Must not know what the developer does with it.
"""

import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from sandbox.market.charging import instant
from sandbox.market.client import encode_json
from sandbox.market.console_links import (
    ConsoleLink,
    console_links,
    provider_settings,
    running_provider,
    show_links,
)
from sandbox.market.context import ProgressReporter, start_clock
from sandbox.market.day import running_market
from sandbox.market.participants import BUSINESSES, CPO_BY_ID, CPOS, PARKING_APP, PLATFORM, SITES, evse_id
from sandbox.market.plan import DAY_START, plan_day
from sandbox.market.setup import open_market
from sandbox.stack import Migrate, StackDatabase, remove_state

OPENS_AT: Final = DAY_START + timedelta(hours=8)
_SEED: Final = 1
_SESSIONS: Final = 24  # sizes the stalls, the vehicles and the money
_SHOWN_EVSE: Final = "DE-RHN start-fee"
_DRIVER_PAGE: Final = {
    "demand_partner": PARKING_APP.party_id,
    "brand": "Sandbox Charging",
    "support": "help@charging.example",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DevMarket:
    """Addresses and keys of a running market. Every key is of this run, all money is test money."""

    base_url: str
    psp_url: str
    psp_api_key: str
    database_url: str
    admin_api_key: str
    api_keys: Mapping[str, str] = field(repr=False)
    ocpi_tokens: Mapping[str, str] = field(repr=False)
    evses: Mapping[str, str]  # an EVSE id by operator and tariff
    pids: Mapping[str, int]
    log_dir: str
    console_links: Sequence[ConsoleLink] = field(repr=False)

    @property
    def driver_page_url(self) -> str:
        """Where a driver without an account pays at one of the chargers."""
        return f"{self.base_url}/c/{self.evses[_SHOWN_EVSE]}"

    def to_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "ready": True,
            "base_url": self.base_url,
            "docs_url": f"{self.base_url}/docs",
            "console_url": f"{self.base_url}/console",
            "console_links": [
                {"party": one.party_id, "role": one.role, "name": one.name, "url": one.url}
                for one in self.console_links
            ],
            "openapi_url": f"{self.base_url}/openapi.json",
            "driver_page_url": self.driver_page_url,
            "ocpi_versions_url": f"{self.base_url}/ocpi/versions",
            "sandbox_psp_url": self.psp_url,
            "sandbox_psp_api_key": self.psp_api_key,
            "database_url": self.database_url,
            "admin_api_key": self.admin_api_key,
            "api_keys": dict(self.api_keys),
            "ocpi_tokens": dict(self.ocpi_tokens),
            "evses": dict(self.evses),
            "business_time": instant(OPENS_AT),
            "pids": dict(self.pids),
            "logs": self.log_dir,
        }

    def show(self, console: Console) -> None:
        """Print it for a person, with a first request to copy."""
        console.print(f"\n[bold]Gateway[/bold]      {self.base_url}", highlight=False, soft_wrap=True)
        console.print(f"[bold]Docs[/bold]         {self.base_url}/docs", highlight=False, soft_wrap=True)
        console.print(f"[bold]Console[/bold]      {self.base_url}/console", highlight=False, soft_wrap=True)
        console.print(
            f"[bold]Sandbox PSP[/bold]  {self.psp_url}  key {self.psp_api_key}",
            highlight=False,
            soft_wrap=True,
        )
        console.print(f"[bold]Database[/bold]     {self.database_url}", highlight=False, soft_wrap=True)
        console.print(f"[bold]Logs[/bold]         {self.log_dir}", highlight=False, soft_wrap=True)
        console.print(f"\n[bold]{'Party':12}{'role':16}API key[/bold]")
        for party_id, key in {"platform": self.admin_api_key, **self.api_keys}.items():
            console.print(f"{party_id:12}{_kind_of(party_id):16}{key}", highlight=False, soft_wrap=True)
        show_links(console, self.console_links)
        console.print("\n[bold]Try[/bold] (Ctrl-C stops everything)\n")
        console.print(self.example_request(), highlight=False, soft_wrap=True)
        console.print("\n[bold]Driver page[/bold] (in a browser; a phone reads the code)\n")
        console.print(self.driver_page_url, highlight=False, soft_wrap=True)

    def example_request(self) -> str:
        """A curl command that authorizes a card at a charger."""
        body = {
            "evse_id": self.evses[_SHOWN_EVSE],
            "method": "card",
            "payment": {"type": "psp_payment_method", "payment_method": "pm_card_visa"},
            "estimate": {"energy_wh": 30_000, "duration_s": 3_600},
        }
        return (
            f"curl -s {self.base_url}/v1/authorizations"
            f" -H 'Authorization: Bearer {self.api_keys[PARKING_APP.party_id]}'"
            " -H 'Idempotency-Key: first-1' -H 'Content-Type: application/json'"
            f" -d {shlex.quote(encode_json(body).decode())}"
        )


@asynccontextmanager
async def open_dev_market(
    state_dir: Path,
    *,
    workers: int,
    gateway_port: int | None,
    migrate: Migrate,
    progress: ProgressReporter,
    database: StackDatabase | None = None,
) -> AsyncIterator[DevMarket]:
    """Run a new market; once it is open, business time runs from Thursday 08:00 UTC.

    `database` is used in place of an embedded PostgreSQL of the market's own.
    """
    remove_state(state_dir)
    day = plan_day(sessions=_SESSIONS, seed=_SEED)
    async with (
        running_provider() as provider,
        running_market(
            state_dir,
            day=day,
            workers=workers,
            migrate=migrate,
            progress=progress,
            gateway_port=gateway_port,
            settings=provider_settings(provider),
            database=database,
        ) as (context, stack),
    ):
        provider.redirect_uri = f"{stack.gateway_url}/console/sign-in/openid/return"
        await open_market(context)
        await context.admin.put(f"/v1/parties/{PLATFORM.party_id}/driver-page", _DRIVER_PAGE)
        progress.start_phase("Starting the clock", steps=1)
        await start_clock(context, OPENS_AT)
        progress.advance()
        yield DevMarket(
            base_url=stack.gateway_url,
            psp_url=stack.psp_url,
            psp_api_key=stack.psp_api_key,
            database_url=stack.postgres.dsn,
            admin_api_key=stack.plan.admin_api_key,
            api_keys=dict(context.keys),
            ocpi_tokens={cpo.party_id: context.checkpoints[f"ocpi/{cpo.party_id}"]["token"] for cpo in CPOS},
            evses={f"{site.cpo_id} {site.tariff_id}": evse_id(site, stall=1) for site in SITES},
            pids=stack.pids,
            log_dir=str(stack.log_dir),
            console_links=await console_links(
                context.http, gateway_url=stack.gateway_url, admin_key=stack.plan.admin_api_key
            ),
        )


def _kind_of(party_id: str) -> str:
    if party_id == PLATFORM.party_id:
        return "admin"
    if party_id in CPO_BY_ID:
        return f"operator, {CPO_BY_ID[party_id].country}"
    return next(party.kind.replace("_", " ") for party in BUSINESSES if party.party_id == party_id)
