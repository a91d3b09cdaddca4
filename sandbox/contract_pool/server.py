"""A stand-in for a contract certificate pool, in the shape of the Open Plug & Charge Protocol.

Owns the operation that a charge point operator calls, the one by which a mobility operator looks up its own
contract, and the token that this one needs, with their refusals. Must not know what is inside a vehicle's
request: it compares bytes, and issues nothing.
Source: Hubject Open Plug & Charge Protocol 1.0.0, `ccp.v1.json`, operations getSignedContractData and
lookupContract; `accessToken.v1.json`; docs/04_authentication.md (a mobility operator reads the contracts of
its own provider, the first five characters of the eMAID). The protocol has no operation that lists contracts.
"""

import base64
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

PATH: Final = "/v1/ccp/signedContractData"
AUDIENCE: Final = "https://pool.sandbox.test"
LOOKUP_PATH: Final = "/v1/ccp/lookupContract"
TOKEN_PATH: Final = "/oauth/token"  # noqa: S105 - an address
_TOKEN_LIFETIME_S: Final = 86_400
_BODY_LENGTH: Final = 14
_EMAID: Final = re.compile(r"[A-Za-z]{2}-?\w{3}-?\w{9}-?(\w)?", re.ASCII)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedContract:
    """A contract that its mobility operator has published for a vehicle; times as the protocol has them."""

    pcid: str
    certificate: str
    valid_from: str
    valid_to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolClient:
    """A mobility operator's OAuth client, and the provider whose contracts it may read, such as DE8AA."""

    client_id: str
    client_secret: str
    audience: str
    provider: str


@dataclass(slots=True, kw_only=True)
class ContractPoolServer:
    """The pool's contracts by the vehicle's request, and the bearer token that its clients need.

    `published` are contracts by the 14 characters of their eMAID, for those who look them up with one of
    `tokens`, which `client` gets.
    """

    token: str
    contracts: Mapping[str, PooledContract] = field(default_factory=dict)
    published: dict[str, list[PublishedContract]] = field(default_factory=dict)
    client: PoolClient | None = None
    tokens: set[str] = field(default_factory=set)
    unavailable: bool = False
    looked_up: list[str] = field(default_factory=list)

    def application(self) -> web.Application:
        """The web application of the pool."""
        app = web.Application(client_max_size=65_536)
        app.router.add_post(PATH, self._deliver)
        app.router.add_post(TOKEN_PATH, self._issue_token)
        app.router.add_get(f"{LOOKUP_PATH}/{{emaid}}", self._look_up)
        return app

    async def _issue_token(self, request: web.Request) -> web.Response:
        try:
            asked: Any = await request.json()
        except ValueError:
            asked = None
        needed = ("client_id", "client_secret", "audience", "grant_type")
        if not isinstance(asked, dict) or any(not isinstance(asked.get(name), str) for name in needed):
            problem = {"error": "invalid_request", "error_description": f"needed: {', '.join(needed)}"}
            return web.json_response(problem, status=400)
        known = self.client
        given = tuple(asked[name] for name in needed)
        if known is None or given != (
            known.client_id,
            known.client_secret,
            known.audience,
            "client_credentials",
        ):
            return web.json_response(
                {"error": "access_denied", "error_description": "Unauthorized"}, status=401
            )
        token = secrets.token_urlsafe(24)
        self.tokens.add(token)
        issued = {
            "access_token": token,
            "scope": "ccpservice",
            "expires_in": _TOKEN_LIFETIME_S,
            "token_type": "Bearer",
        }
        return web.json_response(issued)

    async def _look_up(self, request: web.Request) -> web.Response:
        if self.unavailable:
            return web.json_response({"errorMessages": ["Service Unavailable"]}, status=503)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.tokens or self.client is None:
            return web.json_response({"errorMessages": ["Unauthorized"]}, status=401)
        asked = request.match_info["emaid"]
        if _EMAID.fullmatch(asked) is None:
            problem = f'emaid : must match "^{_EMAID.pattern}$"'
            return web.json_response({"errorMessages": [problem]}, status=400)
        emaid = asked.replace("-", "").upper()
        self.looked_up.append(emaid)
        if not emaid.startswith(self.client.provider):
            return web.json_response({"errorMessages": ["Forbidden"]}, status=403)
        found = self.published.get(emaid[:_BODY_LENGTH])
        if not found:
            return web.json_response({"errorMessages": ["Not Found"]}, status=404)
        listed = [
            {
                "pcid": one.pcid,
                "emaid": emaid[:_BODY_LENGTH],
                "xsdMsgDefNamespace": "urn:iso:15118:2:2013:MsgDef",
                "contractCertificate": one.certificate,
                "priority": place,
                "certValidFrom": one.valid_from,
                "certValidTo": one.valid_to,
            }
            for place, one in enumerate(found, start=1)
        ]
        return web.json_response({"XMLContracts": listed})

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


def read_published(text: str) -> dict[str, list[PublishedContract]]:
    """Read published contracts from JSON: eMAID -> its certificates, as `PublishedContract` has them.

    Raises ValueError in one line.
    """
    try:
        tree: Any = json.loads(text)
        return {
            str(emaid): [
                PublishedContract(**{str(name): str(value) for name, value in one.items()}) for one in found
            ]
            for emaid, found in tree.items()
        }
    except (ValueError, AttributeError, TypeError):
        raise ValueError(
            'expected {"<eMAID>": [{"pcid": "...", "certificate": "<base64 of DER>", "valid_from": "...", '
            '"valid_to": "..."}]}'
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
