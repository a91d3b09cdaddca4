"""A stand-in for a contract certificate pool, in the shape of the Open Plug & Charge Protocol.

Owns the one operation that a charge point operator calls, with its refusals. Must not know what is inside a
vehicle's request: it compares bytes, and issues nothing.
Source: Hubject Open Plug & Charge Protocol 1.0.0, `ccp.v1.json`, operation getSignedContractData.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

PATH: Final = "/v1/ccp/signedContractData"
NAMESPACES: Final = frozenset(
    {
        "urn:iso:15118:2:2010:MsgDef",
        "urn:iso:15118:2:2013:MsgDef",
        "urn:iso:std:iso:15118:-20:CommonMessages",
    }
)
_EXI_BITS: Final = 0b10  # an EXI stream begins with these two bits (EXI 1.0 section 5.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledContract:
    """What one vehicle's request is answered: its eMAID and CertificateInstallationRes, base64 of EXI."""

    emaid: str
    exi_response: str


@dataclass(slots=True, kw_only=True)
class ContractPoolServer:
    """The pool's contracts by the vehicle's request, and the bearer token that its clients need."""

    token: str
    contracts: Mapping[str, PooledContract] = field(default_factory=dict)

    def application(self) -> web.Application:
        """The web application of the pool."""
        app = web.Application(client_max_size=65_536)
        app.router.add_post(PATH, self._deliver)
        return app

    async def _deliver(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"errorMessages": ["Unauthorized"]}, status=401)
        if request.content_type != "application/json":
            return web.json_response({"errorMessages": ["Unsupported media type"]}, status=415)
        problem, vehicle_request = _read(await request.text())
        if problem:
            return web.json_response({"errorMessages": [problem]}, status=400)
        contract = self.contracts.get(vehicle_request)
        if contract is None:
            return web.json_response({"errorMessages": ["Contract or Vehicle not found."]}, status=404)
        delivered = {"certificateInstallationRes": contract.exi_response, "emaid": contract.emaid}
        return web.json_response({"CCPResponse": {"emaidContent": [{"messageDef": delivered}]}})


def read_contracts(text: str) -> dict[str, PooledContract]:
    """Read contracts from JSON: the vehicle's request -> `emaid` and `exi_response`.

    Raises ValueError in one line.
    """
    try:
        tree: Any = json.loads(text)
        return {
            str(request): PooledContract(emaid=one["emaid"], exi_response=one["exi_response"])
            for request, one in tree.items()
        }
    except (ValueError, AttributeError, KeyError, TypeError):
        raise ValueError(
            'expected {"<request in base64>": {"emaid": "...", "exi_response": "<base64>"}}'
        ) from None


def _read(text: str) -> tuple[str, str]:
    """What is wrong with the body, or "", and the vehicle's request in it."""
    try:
        body: Any = json.loads(text)
        vehicle_request = str(body["certificateInstallationReq"])
        namespace = body["xsdMsgDefNamespace"]
        content = base64.b64decode(vehicle_request, validate=True)
    except (ValueError, KeyError, TypeError):
        return "The request is not readable!", ""
    if namespace not in NAMESPACES:
        return "xsdMsgDefNamespace is unknown!", ""
    if not content or content[0] >> 6 != _EXI_BITS:
        return "EXI format is invalid!", ""
    return "", vehicle_request
