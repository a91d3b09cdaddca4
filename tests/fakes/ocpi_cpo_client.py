"""A CPO's side of an OCPI connection, over the gateway's own caller: the peer that pushes to us in tests.

Owns: the registration as its sender, and pushes to the receiver interfaces.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.ocpi.client import PeerAnswer, PeerCaller, PeerVersion, discover
from gateway.ocpi.errors import PeerRejectedError
from gateway.ocpi.repository.peers import PeerRole

_encoder: Final = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpoClient:
    """A CPO's side of a registered connection.

    Pushes to the receiver interfaces of an eMSP or settlement platform.
    """

    caller: PeerCaller
    remote: PeerVersion
    role: PeerRole

    async def put(self, module: str, *segments: str, body: bytes) -> PeerAnswer:
        """PUT a client owned object at `{module}/{country}/{party}/{segments...}`.

        Raises as PeerCaller.call.
        """
        return await self.caller.call("PUT", self._url(module, *segments), body=body, routed=True)

    async def patch(self, module: str, *segments: str, changes: Mapping[str, Any]) -> PeerAnswer:
        """PATCH a client owned object; `changes` must hold last_updated."""
        return await self.caller.call(
            "PATCH", self._url(module, *segments), body=_encoder.encode(changes), routed=True
        )

    async def get(self, module: str, *segments: str) -> PeerAnswer:
        """GET a client owned object as the receiver has it."""
        return await self.caller.call("GET", self._url(module, *segments), routed=True)

    async def delete(self, module: str, *segments: str) -> PeerAnswer:
        """DELETE a client owned object (tariffs)."""
        return await self.caller.call("DELETE", self._url(module, *segments), routed=True)

    async def post_cdr(self, body: bytes) -> str:
        """POST a CDR; returns the Location that the receiver gave it, empty when it gave none."""
        answer = await self.caller.call("POST", self._endpoint("cdrs"), body=body, routed=True)
        return next((value for name, value in answer.headers if name.lower() == "location"), "")

    def _endpoint(self, module: str) -> str:
        url = self.remote.url(module, "RECEIVER") or self.remote.url(module, "SENDER")
        if url is None:
            raise PeerRejectedError(f"the peer offers no module {module}", http_status=200, code=None)
        return url.rstrip("/")

    def _url(self, module: str, *segments: str) -> str:
        path = [self.role.country_code, self.role.party_code, *segments]
        return "/".join([self._endpoint(module), *(quote(segment, safe="") for segment in path)])


async def register_as_cpo(
    caller: PeerCaller,
    *,
    versions_url: str,
    version: OcpiVersion,
    own_credentials: Mapping[str, Any],
    role: PeerRole,
) -> CpoClient:
    """Run the registration as its sender: discover with token A, POST our credentials, keep token C.

    `own_credentials` is our credentials object with token B; the receiver calls its `url` back meanwhile.

    Raises:
        PeerUnreachableError, PeerRejectedError: as the calls do, or when the peer lacks the version.
    """
    remote = await discover(caller, versions_url=versions_url, version=version)
    if remote is None:
        raise PeerRejectedError(f"the peer does not speak {version.value}", http_status=200, code=3002)
    url = remote.url("credentials", "RECEIVER")
    if url is None:
        raise PeerRejectedError("the peer offers no credentials module", http_status=200, code=3003)
    answer = await caller.call("POST", url, body=_encoder.encode(own_credentials))
    token = answer.data.get("token") if isinstance(answer.data, dict) else None
    if not isinstance(token, str) or not token:
        raise PeerRejectedError(
            "the peer's credentials hold no token", http_status=answer.http_status, code=None
        )
    registered = PeerCaller(
        http=caller.http,
        token=token,
        raw_token=caller.raw_token,
        allow_private=caller.allow_private,
        routing=caller.routing,
    )
    return CpoClient(caller=registered, remote=remote, role=role)
