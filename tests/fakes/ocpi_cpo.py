"""A charge point operator's platform: it answers version information, and keeps what it was asked."""

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

TOKEN_B = "token-b-of-the-operator"


@dataclass
class FakeCpo:
    """Serves /versions and the details of some versions.

    `accepts` says which Authorization headers it takes; another one gets the HTTP and OCPI status of
    `refusal`.
    """

    versions: tuple[str, ...] = ("2.1.1", "2.2.1", "2.3.0")
    accepts: tuple[str, ...] = ()
    refusal: tuple[int, int] = (401, 2000)
    endpoints: list[dict[str, Any]] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    server: TestServer | None = None

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/versions", self._list)
        application.router.add_get("/{version}/details", self._details)
        self.server = TestServer(application)
        await self.server.start_server()

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.close()

    @property
    def versions_url(self) -> str:
        return f"{self._base}/versions"

    @property
    def _base(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.port}"

    def _rejected(self, request: web.Request) -> web.Response | None:
        header = request.headers.get("Authorization", "")
        self.asked.append((request.path, header))
        if self.accepts and header not in self.accepts:
            status, code = self.refusal
            return web.json_response(
                {"status_code": code, "timestamp": "2026-10-29T08:00:00Z"}, status=status
            )
        return None

    async def _list(self, request: web.Request) -> web.Response:
        return self._rejected(request) or _enveloped(
            [{"version": version, "url": f"{self._base}/{version}/details"} for version in self.versions]
        )

    async def _details(self, request: web.Request) -> web.Response:
        version = request.match_info["version"]
        endpoints = self.endpoints
        if endpoints is None:
            endpoints = [
                {"identifier": name, "role": "SENDER", "url": f"{self._base}/{version}/{name}"}
                for name in ("credentials", "locations", "tariffs", "sessions", "cdrs", "commands")
            ]
        return self._rejected(request) or _enveloped({"version": version, "endpoints": endpoints})


def _enveloped(data: Any) -> web.Response:
    return web.json_response({"data": data, "status_code": 1000, "timestamp": "2026-10-29T08:00:00Z"})
