"""The parties' own server: receives webhooks, and serves what the gateway requests from an OCPI peer.

Owns: verifying Standard Webhooks signatures, recording received events; the operators' OCPI versions
endpoints that a credentials handshake reads; the mobility operator's OCSP responder and CRL. Must not know:
the gateway's tables; the day's plan.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from sandbox.market.charging import instant
from sandbox.market.checkpoints import Checkpoints
from sandbox.market.client import MarketError
from sandbox.market.participants import CPO_BY_ID
from sandbox.market.plan import DAY_START
from sandbox.market.vehicles import VehicleFleet, status_answer

TOLERANCE_S: Final = 300
_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix of every secret, not one
_UNAUTHORIZED: Final = 401


def signature_is_good(
    *, secret: str, headers: Mapping[str, str], body: bytes, now_s: float, tolerance_s: int = TOLERANCE_S
) -> bool:
    """Whether a webhook is authentic and fresh (Standard Webhooks: HMAC-SHA256 of id.timestamp.body)."""
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not stamp.isdecimal() or abs(now_s - int(stamp)) > tolerance_s:
        return False
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    offered = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected, candidate) for candidate in offered)


class Receiver:
    """One loopback server for all parties. Deliveries are recorded by event id: a repeat counts once."""

    def __init__(self, checkpoints_path: Path) -> None:
        self._checkpoints = Checkpoints(checkpoints_path)
        self._secrets: dict[str, str] = {}
        self._fleet: VehicleFleet | None = None
        self._runner: web.AppRunner | None = None
        self.rejected = 0
        self.repeated = 0
        self.url = ""

    async def start(self, *, port: int) -> None:
        """Listen on 127.0.0.1. Raises MarketError when the port is taken."""
        app = web.Application()
        app.router.add_post("/webhooks/{party}", self._receive_webhook)
        app.router.add_post("/ocsp", self._ocsp)
        app.router.add_get("/crl/{name}", self._crl)
        app.router.add_get("/ocpi/{party}/versions", self._versions)
        app.router.add_get("/ocpi/{party}/2.2.1", self._version_details)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", port).start()
        except OSError as error:
            raise MarketError(
                f"the parties' server can't listen on port {port} any more ({error.strerror}); "
                "stop the process that uses it, or start again with --fresh"
            ) from None
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close the server and the record of deliveries."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._checkpoints.__exit__(None, None, None)

    def accept_signed_with(self, party_id: str, secret: str) -> None:
        """Accept webhooks for a party that are signed with `secret`."""
        self._secrets[party_id] = secret

    def serve_status_of(self, fleet: VehicleFleet) -> None:
        """Serve OCSP responses and CRLs for these vehicles."""
        self._fleet = fleet

    def has_received(self, event_id: str) -> bool:
        """Whether an event was received, in this run or in an earlier one of the same day."""
        return event_id in self._checkpoints

    def webhook_url(self, party_id: str) -> str:
        """The URL of a party's webhooks."""
        return f"{self.url}/webhooks/{party_id}"

    def versions_url(self, party_id: str) -> str:
        """A CPO's OCPI versions endpoint."""
        return f"{self.url}/ocpi/{party_id}/versions"

    async def _receive_webhook(self, request: web.Request) -> web.Response:
        party_id, body = request.match_info["party"], await request.read()
        secret = self._secrets.get(party_id, "")
        if not secret or not signature_is_good(
            secret=secret, headers=request.headers, body=body, now_s=time.time()
        ):
            self.rejected += 1
            return web.Response(status=_UNAUTHORIZED)
        event_id = request.headers["webhook-id"]
        if event_id in self._checkpoints:
            self.repeated += 1
        else:
            event = msgspec.json.decode(body)
            self._checkpoints.record(event_id, [party_id, str(event.get("type", ""))])
        return web.Response(status=204)

    async def _ocsp(self, request: web.Request) -> web.Response:
        if self._fleet is None:
            raise web.HTTPServiceUnavailable
        answer = status_answer(self._fleet, await request.read())
        return web.Response(body=answer, content_type="application/ocsp-response")

    async def _crl(self, request: web.Request) -> web.Response:
        crl = None if self._fleet is None else self._fleet.crls.get(request.match_info["name"])
        if crl is None:
            raise web.HTTPNotFound
        return web.Response(body=crl, content_type="application/pkix-crl")

    async def _versions(self, request: web.Request) -> web.Response:
        party_id = request.match_info["party"]
        if party_id not in CPO_BY_ID:
            raise web.HTTPNotFound
        return _envelope([{"version": "2.2.1", "url": f"{self.url}/ocpi/{party_id}/2.2.1"}])

    async def _version_details(self, request: web.Request) -> web.Response:
        party_id = request.match_info["party"]
        if party_id not in CPO_BY_ID:
            raise web.HTTPNotFound
        here = f"{self.url}/ocpi/{party_id}/2.2.1"
        endpoints = [
            {"identifier": module, "role": "SENDER", "url": f"{here}/{module}"}
            for module in ("credentials", "locations", "tariffs", "sessions", "cdrs")
        ]
        return _envelope({"version": "2.2.1", "endpoints": endpoints})


def _envelope(data: Any) -> web.Response:
    body = {"data": data, "status_code": 1000, "status_message": "Success", "timestamp": instant(DAY_START)}
    return web.json_response(body)
