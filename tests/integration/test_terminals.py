"""A card at a terminal: location, reader, connection token, the card presented, the same payment captured."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from gateway.database import Pool
from gateway.payments.psp.stripe.adapter import StripePsp
from sandbox.stripe.server import RunningPsp, start_psp
from sandbox.stripe.settings import PspSettings
from tests.fakes.api import Answer, Api, cdr, open_api

ADDRESS = {"line1": "Kade 1", "city": "Rotterdam", "postal_code": "3011 AB", "country": "NL"}
PLACE = {"display_name": "Harbour", "address": ADDRESS}


@dataclass
class Site:
    """A gateway on the sandbox PSP."""

    api: Api
    psp: RunningPsp
    http: aiohttp.ClientSession

    async def location(self, *, party: str = "parking", key: str = "l") -> str:
        made = await self.api.call("POST", "/v1/terminal-locations", PLACE, party=party, key=key)
        assert made.status == 201, made.text
        return str(made.json["id"])

    async def reader(self, location: str, *, party: str = "parking", key: str = "r") -> Answer:
        body = {"registration_code": "simulated-wpe", "label": "Column 1"}
        return await self.api.call(
            "POST", f"/v1/terminal-locations/{location}/readers", body, party=party, key=key
        )

    async def hold_card_to(self, reader: str) -> Any:
        path = f"/v1/test_helpers/terminal/readers/{reader}/present_payment_method"
        key = {"Authorization": "Bearer sk_test_sandbox"}
        async with self.http.post(self.psp.url + path, headers=key) as answer:
            return await answer.json()

    async def authorize(self, *, party: str = "parking") -> Any:
        made = await self.api.authorize(key=f"a-{party}", party=party, payment={"type": "card_present"})
        assert (made.status, made.json["state"]) == (201, "requires_action"), made.text
        return made.json

    async def present(self, authorization: Any, reader: str, *, key: str = "p", **call: Any) -> Answer:
        path = f"/v1/authorizations/{authorization['id']}/present"
        return await self.api.call("POST", path, {"reader": reader}, key=key, **call)


@pytest.fixture
async def site(pool: Pool) -> AsyncIterator[Site]:
    async with start_psp(PspSettings(pull_webhooks=True)) as running, aiohttp.ClientSession() as http:
        adapter = StripePsp(
            api_key="sk_test_sandbox", webhook_secret="whsec_of_the_test", base_url=running.url
        )
        async with open_api(pool, psp=adapter) as api:  # type: ignore[arg-type]
            try:
                yield Site(api=api, psp=running, http=http)
            finally:
                await adapter.close()


async def test_a_card_at_a_terminal_is_held_and_captured(site: Site) -> None:
    location = await site.location()
    reader = (await site.reader(location)).json
    assert (reader["location"], reader["label"], reader["online"]) == (location, "Column 1", True)
    listed = (await site.api.call("GET", f"/v1/terminal-locations/{location}/readers")).json["data"]
    assert listed == [reader]
    authorization = await site.authorize()
    presented = await site.present(authorization, reader["id"])
    assert (presented.status, presented.json["id"]) == (200, reader["id"]), presented.text
    busy = await site.present(authorization, reader["id"], key="p2")
    assert busy.status in {409, 503}, busy.text
    taken = await site.hold_card_to(reader["id"])
    assert taken["action"]["status"] == "succeeded", taken
    payment = authorization["client_secret"].partition("_secret")[0]
    await site.api.services.payments.psp_events.sync_payment(psp_payment=payment)
    held = (await site.api.call("GET", f"/v1/authorizations/{authorization['id']}")).json
    assert held["state"] == "authorized"
    path = f"/v1/sessions/{authorization['session']}/complete"
    done = await site.api.call("POST", path, b'{"cdr": ' + cdr(kwh="20") + b"}", key="c")
    assert done.json["capture"]["state"] == "succeeded", done.text
    late = await site.present(authorization, reader["id"], key="p3")
    assert (late.status, late.json["code"]) == (409, "state_conflict")


async def test_a_connection_token_is_of_one_location_and_kept_nowhere(site: Site, pool: Pool) -> None:
    location = await site.location()
    with capture_logs() as log:
        made = await site.api.call(
            "POST", f"/v1/terminal-locations/{location}/connection-tokens", {}, key="t"
        )
    assert (made.status, made.json["location"]) == (201, location), made.text
    assert made.headers["Cache-Control"] == "no-store"
    secret = made.json["secret"]
    assert secret.startswith("pst_")
    assert secret not in str(log)
    stored = await pool.fetch("SELECT * FROM gateway.idempotency_key")
    assert secret not in str([dict(row) for row in stored])


async def test_another_partys_terminals_are_not_found(site: Site) -> None:
    location = await site.location()
    reader = (await site.reader(location)).json["id"]
    for method, path, body in (
        ("GET", f"/v1/terminal-locations/{location}", None),
        ("GET", f"/v1/terminal-locations/{location}/readers", None),
        ("POST", f"/v1/terminal-locations/{location}/connection-tokens", {}),
    ):
        foreign = await site.api.call(method, path, body, party="superapp", key="f")
        assert (foreign.status, foreign.json["code"]) == (404, "not_found"), path
    assert (await site.reader(location, party="superapp", key="f")).status == 404
    theirs = await site.authorize(party="superapp")
    foreign = await site.present(theirs, reader, party="superapp")
    assert (foreign.status, foreign.json["code"]) == (404, "not_found")
    unknown = await site.present(theirs, "tmr_none", key="u", party="superapp")
    assert (unknown.status, unknown.json["code"]) == (404, "not_found")
    assert (await site.present(theirs, reader, key="o")).status == 404  # another party's authorization
    own = (await site.api.call("GET", "/v1/terminal-locations")).json["data"]
    assert [one["id"] for one in own] == [location]
    assert (await site.api.call("GET", "/v1/terminal-locations", party="superapp")).json["data"] == []


async def test_what_waits_for_no_card_is_not_presented(site: Site) -> None:
    reader = (await site.reader(await site.location())).json["id"]
    payment = {"type": "psp_payment_method", "payment_method": "pm_card_visa"}
    held = (await site.api.authorize(key="h", payment=payment)).json
    refused = await site.present(held, reader)
    assert (refused.status, refused.json["code"]) == (409, "state_conflict")


async def test_a_wrong_registration_code_is_the_partners_to_mend(site: Site) -> None:
    location = await site.location()
    body = {"registration_code": "no-such-reader", "label": "x"}
    refused = await site.api.call("POST", f"/v1/terminal-locations/{location}/readers", body, key="x")
    assert (refused.status, refused.json["code"]) == (400, "invalid_parameters")


async def test_the_same_location_again_is_one_location(site: Site) -> None:
    assert await site.location() == await site.location()
    assert await site.location(key="l2") != await site.location()
