"""A station at the API, with a PKI, a vehicle and its contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gateway.database import Pool
from pnc.revocation_checker import RevocationChecker
from pnc.service import PlugAndChargeService
from sandbox.pki.hierarchy import ContractPki, Issued, Suite, build_pki
from tests.fakes.api import EVSE, START, Answer, Api, open_api
from tests.fakes.pnc_market import EMAID, OCSP_URL, ScriptedFetcher

ROOT = "/v1/plug-and-charge"


@dataclass
class StationApi:
    """The API, a PKI, and a vehicle with its contract."""

    api: Api
    pki: ContractPki
    leaf: Issued
    fetcher: ScriptedFetcher

    def request(self, **changes: Any) -> dict[str, Any]:
        token = {"idToken": EMAID, "type": "eMAID"}
        return {"idToken": token, "certificate": self.pki.bundle(self.leaf)} | changes

    async def plug_in(
        self,
        *,
        ref: str = "tx-1",
        request: Any = None,
        evse: str = EVSE,
        version: str = "2.0.1",
        **changes: Any,
    ) -> Answer:
        body = {
            "ocpp_version": version,
            "station": {"evse_id": evse},
            "session_ref": ref,
            "authorize_request": self.request() if request is None else request,
        }
        return await self.api.call("POST", f"{ROOT}/authorizations", body | changes, party="DE-ABC")

    async def contract(self, payment: dict[str, Any], **changes: Any) -> Answer:
        body = {
            "emaid": EMAID,
            "party": "superapp",
            "payment": payment,
            "valid_from": "2026-10-01T00:00:00Z",
        }
        return await self.api.call("POST", f"{ROOT}/contracts", body | changes, party="admin")


@asynccontextmanager
async def open_station_api(pool: Pool, *, now: datetime = START, **options: Any) -> AsyncIterator[StationApi]:
    """The API at `now`, with a trusted root and the contract of one vehicle; `options` as `open_api`."""
    pki = build_pki(suite=Suite.P256, now=now, ocsp_url=OCSP_URL)
    leaf = pki.issue(EMAID)
    fetcher = ScriptedFetcher(now=now)
    fetcher.know(pki.root, pki.first)
    fetcher.know(pki.first, pki.second)
    fetcher.know(pki.second, leaf)
    service = PlugAndChargeService(revocation_checker=RevocationChecker(fetcher=fetcher))
    async with open_api(pool, plug_and_charge=service, **options) as api:
        api.clock.at = now
        trusted = await api.call(
            "POST",
            f"{ROOT}/trust-anchors",
            {
                "environment": "sandbox",
                "kind": "mo_root",
                "pem": pki.root.pem,
                "policy": "require",
                "revocation_sources": [{"kind": "ocsp", "url": OCSP_URL}],
            },
            party="admin",
        )
        assert trusted.status == 201, trusted.text
        station = StationApi(api=api, pki=pki, leaf=leaf, fetcher=fetcher)
        stored = await station.contract(
            {"type": "psp_payment_method", "payment_method": "pm_good", "customer": "cus_1"}
        )
        assert stored.status == 201, stored.text
        assert "pm_good" not in stored.text
        yield station


def statuses(answer: Answer) -> tuple[str, str]:
    response = answer.json["authorize_response"]
    return response["idTokenInfo"]["status"], response["certificateStatus"]
