"""Links into the console, one for each role: people of the platform, of a partner and of an operator.

Owns: who these people are. Must not know what a role may do. A link works once; each start makes new ones.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from rich.console import Console

from sandbox.market.client import MarketError
from sandbox.market.participants import CPOS, PARKING_APP, PLATFORM
from sandbox.openid import OpenIdPerson, SandboxOpenIdProvider

_PEOPLE: Final = (
    (PLATFORM.party_id, "administrator", "Anna Keller"),
    (PLATFORM.party_id, "finance", "Luca Rossi"),
    (PLATFORM.party_id, "support", "Marie Dubois"),
    (PLATFORM.party_id, "viewer", "Jonas Weber"),
    (PARKING_APP.party_id, "developer", "Elena Marin"),
    (CPOS[0].party_id, "administrator", "Tim Bakker"),
)
_HOST: Final = "127.0.0.1"
_CONFLICT: Final = 409
_CREATED: Final = 201


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleLink:
    """A person's link; `url` signs them in once."""

    party_id: str
    role: str
    name: str
    url: str = field(repr=False)


async def console_links(
    http: aiohttp.ClientSession, *, gateway_url: str, admin_key: str, opens: str | None = None
) -> list[ConsoleLink]:
    """Invite the people where they are not yet, and make a link for each. Raises MarketError.

    `opens`: the page of the console that a link leads to; the first one unless given.
    """
    query = "" if opens is None else f"?{urlencode({'next': opens})}"
    headers = {"Authorization": f"Bearer {admin_key}"}

    async def call(method: str, path: str, body: Any = None, *, fine: int = _CREATED) -> Any:
        async with http.request(method, f"{gateway_url}{path}", json=body, headers=headers) as response:
            if response.status not in {fine, _CONFLICT}:
                raise MarketError(f"{method} {path} answered {response.status}: {await response.text()}")
            return await response.json()

    for party_id, role, name in _PEOPLE:
        person = {"email": address_of(name, party_id), "name": name, "role": role}
        await call("POST", f"/v1/parties/{party_id}/people", person)
    listed = (await call("GET", "/v1/people", fine=200))["data"]
    ids = {one["email"]: one["id"] for one in listed if one["revoked"] is None}
    links = []
    for party_id, role, name in _PEOPLE:
        made = await call("POST", f"/v1/people/{ids[address_of(name, party_id)]}/links")
        links.append(ConsoleLink(party_id=party_id, role=role, name=name, url=f"{made['url']}{query}"))
    return links


@asynccontextmanager
async def running_provider() -> AsyncIterator[SandboxOpenIdProvider]:
    """A stand-in OpenID provider with these people, on a free port of this machine.

    Its `redirect_uri` is set once the gateway's address is known.
    """
    people = [
        OpenIdPerson(
            subject=f"{party_id}-{role}",
            name=f"{name}, {role} of {party_id}",
            email=address_of(name, party_id),
        )
        for party_id, role, name in _PEOPLE
    ]
    provider = SandboxOpenIdProvider(
        client_id="networkcore", client_secret=secrets.token_urlsafe(16), redirect_uri="", people=people
    )
    runner = web.AppRunner(provider.application(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, _HOST, 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        provider.issuer = f"http://{host}:{port}"
        yield provider
    finally:
        await runner.cleanup()


def provider_settings(provider: SandboxOpenIdProvider) -> Mapping[str, str]:
    """The gateway's settings for it."""
    return {
        "NETWORKCORE_OIDC_ISSUER": provider.issuer,
        "NETWORKCORE_OIDC_CLIENT_ID": provider.client_id,
        "NETWORKCORE_OIDC_CLIENT_SECRET": provider.client_secret,
        "NETWORKCORE_OIDC_NAME": "the sandbox's accounts",
    }


def address_of(name: str, party_id: str) -> str:
    """The e-mail address of one of these people: `anna.keller@platform.example`."""
    return f"{name.lower().replace(' ', '.')}@{party_id.lower().replace('_', '-')}.example"


def show_links(console: Console, links: Sequence[ConsoleLink]) -> None:
    """Print a line for each; a link works once, `networkcore people link` makes another."""
    console.print("\n[bold]Sign in to the console[/bold] (each link works once)")
    for one in links:
        console.print(f"{one.party_id:12}{one.role:16}{one.url}", highlight=False, soft_wrap=True)
