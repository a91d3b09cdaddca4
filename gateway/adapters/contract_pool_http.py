"""A contract certificate pool over HTTP, in the shape of the Open Plug & Charge Protocol.

Owns the request, its limits, and the reading of the answer. Must not know OCPP, or what is inside the
vehicle's request. Neither of both is logged: they name a vehicle and a contract.
Source: Hubject Open Plug & Charge Protocol 1.0.0, `ccp.v1.json`, operation getSignedContractData.
"""

import base64
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import msgspec
import structlog
from aiohttp.abc import AbstractResolver
from typing_extensions import override

from gateway.config import Environment, Settings
from gateway.errors import GatewayError
from gateway.outbound import check_url, read_bounded, session
from pnc.ev_certificate_pool import (
    ContractNotFound,
    ContractPool,
    ContractPoolAnswer,
    ContractPoolFailure,
    SignedContractData,
)
from pnc.messages import EvCertificateRequest

_log = structlog.get_logger(__name__)
_PATH: Final = "/v1/ccp/signedContractData"
_MAX_ANSWER_BYTES: Final = 262_144
_OK, _BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 400, 401, 403, 404


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpContractPool(ContractPool):
    """One pool at `url`, with its bearer token.

    `timeout_seconds` is less than the vehicle's patience (ISO 15118-2, table 109: the station answers within
    4.5 seconds). `allow_private` lets sandboxes and tests ask this machine; `resolver` replaces DNS in
    tests.
    """

    url: str
    token: str
    timeout_seconds: float
    allow_private: bool
    resolver: AbstractResolver | None = None

    @override
    async def get_signed_contract_data(self, request: EvCertificateRequest) -> ContractPoolAnswer:
        body = {
            "certificateInstallationReq": request.exi_request,
            "xsdMsgDefNamespace": request.schema_version,
        }
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        address = f"{self.url}{_PATH}"
        try:
            check_url(address, allow_private=self.allow_private)
            async with (
                session(
                    self.allow_private, total_seconds=self.timeout_seconds, resolver=self.resolver
                ) as client,
                client.post(address, json=body, headers=headers, allow_redirects=False) as response,
            ):
                content = await read_bounded(response, limit=_MAX_ANSWER_BYTES)
                return _read(response.status, content)
        except TimeoutError:
            failure = _unavailable(f"does not answer within {self.timeout_seconds:g} seconds")
        except (aiohttp.ClientError, GatewayError, OSError, ValueError) as problem:
            _log.warning("contract_pool_unreachable", reason=type(problem).__name__)
            failure = _unavailable("can't be reached")
        return failure


def contract_pool(settings: Settings) -> HttpContractPool | None:
    """The pool that the settings name, if they name one."""
    if settings.contract_pool_url is None or settings.contract_pool_token is None:
        return None
    return HttpContractPool(
        url=settings.contract_pool_url,
        token=settings.contract_pool_token.get_secret_value(),
        timeout_seconds=settings.contract_pool_timeout_seconds,
        allow_private=settings.environment is Environment.SANDBOX,
    )


def _read(status: int, content: bytes) -> ContractPoolAnswer:
    if status == _OK:
        found = _exi_response(content)
        return SignedContractData(exi_response=found) if found else _unavailable("gave an unreadable answer")
    if status == _NOT_FOUND:
        return ContractNotFound(exi_response=_exi_response(content))
    if status == _BAD_REQUEST:
        return ContractPoolFailure(
            reason="InvalidRequest", detail="the contract certificate pool can't read the vehicle's request"
        )
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        _log.error("contract_pool_credentials_rejected", status=status)
        return ContractPoolFailure(
            reason="PoolCredentials",
            detail="the contract certificate pool rejects the credentials that are configured here",
        )
    return _unavailable(f"answered with the status {status}")


def _exi_response(content: bytes) -> str:
    """The first contract's answer for the vehicle, or "" where there is none that is base64."""
    try:
        tree: Any = msgspec.json.decode(content)
        found = tree["CCPResponse"]["emaidContent"][0]["messageDef"]["certificateInstallationRes"]
        return found if isinstance(found, str) and base64.b64decode(found, validate=True) else ""
    except (msgspec.DecodeError, LookupError, TypeError, ValueError):
        return ""


def _unavailable(what: str) -> ContractPoolFailure:
    return ContractPoolFailure(reason="PoolUnavailable", detail=f"the contract certificate pool {what}")
