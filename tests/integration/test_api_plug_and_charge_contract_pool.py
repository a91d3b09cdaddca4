"""Get15118EVCertificate: the vehicle's request goes to the configured pool, its answer comes back unread."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from gateway.adapters.contract_pool_http import HttpContractPool
from gateway.database import Pool
from pnc.messages import check_message
from sandbox.contract_pool.server import ContractPoolServer, PooledContract
from tests.fakes.api import Answer
from tests.fakes.pnc_authorize import ROOT, StationApi, open_station_api
from tests.integration.test_api_plug_and_charge_ocpp import unwrapped, wrapped

NAMESPACE = "urn:iso:15118:2:2013:MsgDef"
TOKEN = "the-pool-token"
REQUEST = base64.b64encode(b"\x80\x98a vehicle asks").decode()
RESPONSE = base64.b64encode(b"\x80\x98and is answered").decode()
LONG_REQUEST = base64.b64encode(b"\x80\x98a vehicle with a long answer").decode()
CONTRACTS = {
    REQUEST: PooledContract(emaid="DE8AAC12345678", exi_response=RESPONSE),
    LONG_REQUEST: PooledContract(
        emaid="DE8AAC87654321", exi_response=base64.b64encode(b"\x80" * 6000).decode()
    ),
}


@asynccontextmanager
async def with_pool(pool: Pool, **changes: Any) -> AsyncIterator[StationApi]:
    async with TestServer(ContractPoolServer(token=TOKEN, contracts=CONTRACTS).application()) as server:
        values: dict[str, Any] = {
            "url": str(server.make_url("")).rstrip("/"),
            "token": TOKEN,
            "timeout_seconds": 5,
            "allow_private": True,
        }
        client = HttpContractPool(**values | changes)
        async with open_station_api(pool, contract_pool=client) as station:
            yield station


def message(**changes: Any) -> dict[str, Any]:
    return {"iso15118SchemaVersion": NAMESPACE, "action": "Install", "exiRequest": REQUEST} | changes


async def ask(station: StationApi, version: str, **changes: Any) -> Answer:
    body: Any = message(**changes)
    path = f"{version}/get-15118-ev-certificate"
    if version == "1.6":
        path, body = "1.6/data-transfer", wrapped("Get15118EVCertificate", body)
    return await station.api.call("POST", f"{ROOT}/ocpp/{path}", body, party="DE-ABC")


def response(version: str, answer: Answer) -> Any:
    body = unwrapped(answer) if version == "1.6" else answer.json
    check_message("v21" if version == "2.1" else "v201", "Get15118EVCertificateResponse", body)
    return body


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
async def test_a_vehicles_request_reaches_the_pool_and_its_answer_comes_back(
    pool: Pool, version: str
) -> None:
    async with with_pool(pool) as station:
        found = response(version, await ask(station, version))
        assert found == {"status": "Accepted", "exiResponse": RESPONSE}
        unknown = base64.b64encode(b"\x80another vehicle").decode()
        missing = response(version, await ask(station, version, exiRequest=unknown))
        assert (missing["status"], missing["exiResponse"]) == ("Failed", "")
        assert missing["statusInfo"]["reasonCode"] == "NoContract"
        long = response(version, await ask(station, version, exiRequest=LONG_REQUEST))
        accepted = version == "2.1"  # 17,000 characters instead of 7,500
        assert long["status"] == ("Accepted" if accepted else "Failed")
        assert accepted or long["statusInfo"]["reasonCode"] == "TooLong"


@pytest.mark.parametrize(
    ("changes", "sent", "reason"),
    [
        ({"token": "a-wrong-token"}, {}, "PoolCredentials"),
        ({}, {"iso15118SchemaVersion": "urn:of:nobody"}, "InvalidRequest"),
        ({}, {"exiRequest": base64.b64encode(b"<xml/>").decode()}, "InvalidRequest"),
        ({"allow_private": False}, {}, "PoolUnavailable"),
        ({"url": "http://127.0.0.1:1"}, {}, "PoolUnavailable"),
        ({"timeout_seconds": 0.000_1}, {}, "PoolUnavailable"),
    ],
)
async def test_a_pool_that_gives_no_answer_is_failed_with_the_reason(
    pool: Pool, changes: dict[str, Any], sent: dict[str, Any], reason: str
) -> None:
    async with with_pool(pool, **changes) as station:
        failed = response("2.1", await ask(station, "2.1", **sent))
        assert (failed["status"], failed["statusInfo"]["reasonCode"]) == ("Failed", reason)
        assert "contract certificate pool" in failed["statusInfo"]["additionalInfo"]
        assert TOKEN not in json.dumps(failed)


async def test_without_a_configured_pool_the_answer_says_so(pool: Pool) -> None:
    async with open_station_api(pool) as station:
        failed = response("2.0.1", await ask(station, "2.0.1"))
        assert (failed["status"], failed["statusInfo"]["reasonCode"]) == ("Failed", "NoContractPool")
        assert "NETWORKCORE_CONTRACT_POOL_URL" in failed["statusInfo"]["additionalInfo"]


async def test_a_request_that_breaks_its_schema_gets_a_call_error(pool: Pool) -> None:
    async with with_pool(pool) as station:
        for changes in ({"action": "Delete"}, {"exiRequest": "%%%"}, {"exiRequest": ""}, {"exiRequest": 7}):
            refused = await ask(station, "2.1", **changes)
            assert (refused.status, refused.json["code"]) == (400, "invalid_parameters"), refused.text
            assert refused.json["ocpp_error"]["errorCode"].endswith("ConstraintViolation")
        # OCPP 2.0.1 takes no more than 5,600 characters of a vehicle's request.
        long = base64.b64encode(b"\x80" * 4500).decode()
        assert (await ask(station, "2.0.1", exiRequest=long)).status == 400
