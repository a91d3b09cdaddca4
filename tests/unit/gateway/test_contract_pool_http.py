"""The client of a contract certificate pool: it calls public addresses alone and believes no odd answer."""

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.adapters.contract_pool_http import HttpContractPool
from pnc.ev_certificate_pool import ContractNotFound, ContractPoolFailure, SignedContractData
from pnc.messages import EvCertificateRequest
from sandbox.contract_pool.server import read_contracts
from tests.unit.gateway.test_revocation_http import Rebinding

REQUEST = EvCertificateRequest(schema_version="urn:iso:15118:2:2013:MsgDef", exi_request="gJg=")


def client(url: str, **changes: Any) -> HttpContractPool:
    values: dict[str, Any] = {"token": "pool-token", "timeout_seconds": 5, "allow_private": True}
    return HttpContractPool(url=url, **values | changes)


async def answered(content: bytes, status: int = 200) -> Any:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=content, content_type="application/json")

    return await through(answer)


async def through(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(app) as server:
        return await client(str(server.make_url("")).rstrip("/")).get_signed_contract_data(REQUEST)


def delivery(found: object) -> bytes:
    message = {"messageDef": {"certificateInstallationRes": found, "emaid": "DE8AAC12345678"}}
    return json.dumps({"CCPResponse": {"emaidContent": [message]}}).encode()


async def test_the_first_contract_is_delivered_and_a_404_may_carry_an_answer_for_the_vehicle() -> None:
    exi = base64.b64encode(b"\x80answer").decode()
    assert await answered(delivery(exi)) == SignedContractData(exi_response=exi)
    assert await answered(delivery(exi), 404) == ContractNotFound(exi_response=exi)
    assert await answered(b'{"errorMessages": ["Contract or Vehicle not found."]}', 404) == ContractNotFound()


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b"null", b'{"CCPResponse": {"emaidContent": []}}', delivery(7), delivery("%%"),
     delivery(""), b"{" * 5000, b"x" * 300_000],
)  # one line of shapes  # fmt: skip
async def test_an_answer_that_can_t_be_read_is_no_contract(content: bytes) -> None:
    found = await answered(content)
    assert isinstance(found, ContractPoolFailure), found
    assert found.reason == "PoolUnavailable"


@pytest.mark.parametrize("status", [500, 502, 503, 302, 201])
async def test_another_status_is_a_pool_that_is_unavailable(status: int) -> None:
    found = await answered(delivery("gJg="), status)
    assert isinstance(found, ContractPoolFailure)
    assert found.reason == "PoolUnavailable"


async def test_a_redirect_is_not_followed() -> None:
    async def redirect(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data")

    assert isinstance(await through(redirect), ContractPoolFailure)


@pytest.mark.parametrize("url", ["http://pool.example", "https://127.0.0.1", "https://10.0.0.1", "ftp://a.b"])
async def test_an_address_that_is_not_public_is_never_called(url: str) -> None:
    found = await client(url, allow_private=False).get_signed_contract_data(REQUEST)
    assert isinstance(found, ContractPoolFailure)
    rebound = client("https://pool.example", allow_private=False, resolver=Rebinding("10.0.0.1"))
    assert isinstance(await rebound.get_signed_contract_data(REQUEST), ContractPoolFailure)


def test_contracts_of_the_stand_in_are_read_or_refused_in_one_line() -> None:
    found = read_contracts('{"gJg=": {"emaid": "DE8AAC12345678", "exi_response": "gJgA"}}')
    assert found["gJg="].exi_response == "gJgA"
    for text in ("", "[]", "7", '{"a": 1}', '{"a": {"emaid": "x"}}'):
        with pytest.raises(ValueError, match="expected"):
            read_contracts(text)
