"""A stand-in that answers as a live account of the pinned version, passed end to end by the API and its jobs.

The account has what most have: cards and terminals, no interchange-plus pricing. The stand-in refuses every
parameter that the version does not know, and so every request is one that live Stripe would take; the only
refusal is the one that teaches us that the account may not have the card features.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from typing_extensions import override

from gateway.database import Pool
from gateway.ids import parse_id, shard_of
from gateway.payments.psp.stripe.adapter import StripePsp
from gateway.payments.psp_incidents import PspIncidentLog
from sandbox.stripe.engine import PspEngine
from sandbox.stripe.settings import PspSettings
from tests.fakes.api import EVSE, Api, Hands, cdr, open_api
from tests.simulation.application import _customer, _json
from tests.simulation.in_process import API_KEY, BASE_URL, WEBHOOK_SECRET, InProcessClient, Wire


class Listening(InProcessClient):
    """Notes what the stand-in refuses."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.answered = 0
        self.refused: list[tuple[str, int, str]] = []

    @override
    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        answer = await super().request_async(method, url, headers, post_data)
        self.answered += 1
        if answer[1] >= 400:
            path = url.removeprefix(BASE_URL)
            self.refused.append((path, answer[1], json.loads(answer[0])["error"]["message"]))
        return answer


class Live:
    """The API over the real adapter, and the account that answers it."""

    def __init__(self, api: Api, engine: PspEngine, heard: Listening) -> None:
        self.api = api
        self.engine = engine
        self.heard = heard
        self.keys = 0

    async def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        self.keys += 1
        answer = await self.api.call("POST", path, body or {}, key=f"k{self.keys}")
        assert answer.status < 300, answer.text
        return answer.json

    async def authorize(self, payment: dict[str, Any]) -> Any:
        body = {
            "evse_id": EVSE,
            "method": "card",
            "payment": payment,
            "estimate": {"energy_wh": 40_000, "duration_s": 3600},
        }
        return await self.post("/v1/authorizations", body)

    async def complete(self, authorization: Any, *, kwh: str) -> Any:
        cdr_id = f"C{self.keys}"
        document = json.loads(cdr(kwh=kwh, cdr_id=cdr_id))
        return await self.post(f"/v1/sessions/{authorization['session']}/complete", {"cdr": document})

    def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return _json(self.engine, "POST", f"/_sandbox/{path}", body or {})


@pytest.fixture
async def live(pool: Pool) -> AsyncIterator[Live]:
    async with _opened(pool) as opened:
        yield opened


@asynccontextmanager
async def _opened(pool: Pool) -> AsyncIterator[Live]:
    settings = PspSettings(seed=1, card_features=False, payment_method_types=("card", "card_present"))
    engine = PspEngine(settings)
    heard = Listening(Wire(engine=engine))
    incidents = PspIncidentLog(pool=pool, clock=Hands())
    psp = StripePsp(
        api_key=API_KEY,
        webhook_secret=WEBHOOK_SECRET,
        base_url=BASE_URL,
        http_client=heard,
        report=incidents.report,
    )
    async with open_api(pool, psp=psp, incidents=incidents) as api:
        yield Live(api, engine, heard)
    engine.close()


async def test_every_way_to_pay_passes_on_a_live_account_without_card_features(live: Live) -> None:
    card = {"type": "psp_payment_method", "payment_method": "pm_card_visa"}
    below = await live.authorize(card)
    assert below["state"] == "authorized"
    session = await live.complete(below, kwh="20")
    assert (session["capture"]["state"], session["capture"]["amount"]) == ("succeeded", 1190)
    refunded = await live.post("/v1/refunds", {"session": session["id"]})
    assert refunded["state"] == "succeeded"

    customer, method = _customer(live.engine, "ann")
    saved = {**card, "payment_method": method, "customer": customer}
    above = await live.authorize(saved)
    ended = await live.complete(above, kwh="60")
    assert ended["price"]["incl_vat"] == 3570
    payments = live.api.services.payments
    charged = parse_id("ses", ended["id"])
    await payments.residual_charges.charge(shard=shard_of(charged), session_id=charged)
    taken = await live.api.services.pool.fetchrow(
        "SELECT amount_minor, residual_charge_minor FROM gateway.capture WHERE residual_charge_minor > 0"
    )
    assert tuple(taken) == (3570, 1190)

    mandate = await live.authorize({**saved, "off_session": True})
    assert mandate["state"] == "authorized"
    assert (await live.post(f"/v1/authorizations/{mandate['id']}/release"))["state"] == "voided"

    terminal = await live.authorize({"type": "card_present"})
    assert terminal["next_action"]["type"] == "present_card"
    intent = terminal["next_action"]["payment_intent"]
    live.control(f"payment_intents/{intent}/present")
    await payments.psp_events.sync_payment(psp_payment=intent)
    presented = await live.complete(terminal, kwh="20")
    assert presented["capture"]["state"] == "succeeded"

    refusals = [message for _, _, message in live.heard.refused]
    assert len(refusals) == 1
    assert refusals[0].startswith("This account is not eligible for the requested card features")
    assert live.heard.answered > 10


async def test_a_hold_is_renewed_under_its_mandate_without_card_features(live: Live) -> None:
    customer, method = _customer(live.engine, "ben")
    saved = {"type": "psp_payment_method", "payment_method": method, "customer": customer}
    held = await live.authorize(saved)
    before = await live.api.services.pool.fetchval("SELECT psp_payment FROM gateway.payment_authorization")
    payments = live.api.services.payments
    authorization = parse_id("auth", held["id"])
    await payments.holds.check_hold(shard=shard_of(authorization), authorization_id=authorization)
    after = await live.api.services.pool.fetchval("SELECT psp_payment FROM gateway.payment_authorization")
    assert after != before
    assert len(live.heard.refused) == 1
