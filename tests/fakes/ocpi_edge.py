"""The OCPI edge alone, over real HTTP on a real database, with one registered operator."""

import base64
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway import outbound
from gateway.database import Pool, transaction
from gateway.ocpi.registrations import OcpiRegistrations
from gateway.ocpi.routes import routes
from gateway.ocpi.services import OcpiServices
from tests.fakes.ocpi_cpo import TOKEN_B, FakeCpo

NOW = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)


class StoppedClock:
    """Business time stands; wall time as well."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return self.at


@dataclass
class Edge:
    """A running edge, a client session, the operator's platform."""

    pool: Pool
    services: OcpiServices
    server: TestServer
    http: aiohttp.ClientSession
    cpo: FakeCpo
    clock: StoppedClock

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/ocpi"

    async def party(self, slug: str, kind: str = "cpo") -> None:
        async with self.pool.acquire() as connection:
            await connection.execute(
                "INSERT INTO gateway.party (id, kind, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                slug,
                kind,
                NOW,
            )

    async def invite(self, slug: str, *also: str) -> str:
        for name in (slug, *also):
            await self.party(name)
        async with transaction(self.pool) as connection:
            return await OcpiRegistrations().create_registration(connection, slug, NOW, also=also)

    async def register(self, slug: str, *also: str, version: str = "2.2.1") -> str:
        """Register an operator; returns token C."""
        token_a = await self.invite(slug, *also)
        answer, status = await self.call(
            "POST", f"/{version}/credentials", token_a, self.credentials(slug, *also, version=version)
        )
        assert (status, answer["status_code"]) == (200, 1000), answer
        return str(answer["data"]["token"])

    def credentials(self, *slugs: str, version: str = "2.2.1") -> dict[str, Any]:
        roles = [
            {
                "role": "CPO",
                "country_code": slug[:2],
                "party_id": slug[3:],
                "business_details": {"name": slug},
            }
            for slug in slugs
        ]
        own = {"token": TOKEN_B, "url": self.cpo.versions_url}
        if version == "2.1.1":
            return {**own, **{name: value for name, value in roles[0].items() if name != "role"}}
        return {**own, "roles": roles}

    async def call(
        self,
        method: str,
        path: str,
        token: str | None,
        body: Any = None,
        *,
        raw: Any = None,
        headers: dict[str, str] | None = None,
        bare: bool = False,
    ) -> tuple[Any, int]:
        response, answer = await self.send(method, path, token, body, raw=raw, headers=headers, bare=bare)
        return answer, response.status

    async def send(
        self,
        method: str,
        path: str,
        token: str | None,
        body: Any = None,
        *,
        raw: Any = None,
        headers: dict[str, str] | None = None,
        bare: bool = False,
    ) -> tuple[aiohttp.ClientResponse, Any]:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Token {token if bare else base64.b64encode(token.encode()).decode()}"
        url = path if path.startswith("http") else f"{self.base}{path}"
        arguments: dict[str, Any] = (
            {"data": raw} if raw is not None else {"json": body} if body is not None else {}
        )
        async with self.http.request(method, url, headers=sent, **arguments) as response:
            return response, await response.json()


async def start_edge(pool: Pool, **settings: Any) -> Edge:
    cpo, clock = FakeCpo(), StoppedClock()
    await cpo.start()
    application = web.Application()
    http = outbound.session(allow_private=True)
    server_port = _free_port()
    services = OcpiServices(
        pool=pool,
        clock=clock,
        public_url=f"http://127.0.0.1:{server_port}",
        outbound=http,
        allow_private_peers=True,
        **settings,
    )
    application.router.add_routes(routes(services))
    server = TestServer(application, port=server_port)
    await server.start_server()
    return Edge(
        pool=pool, services=services, server=server, http=aiohttp.ClientSession(), cpo=cpo, clock=clock
    )


async def stop_edge(edge: Edge) -> None:
    await edge.http.close()
    await edge.services.outbound.close()
    await edge.server.close()
    await edge.cpo.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
