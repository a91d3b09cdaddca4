"""A payment method saved by the payment that uses it first: consent, whose it is, and the charges after."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from gateway.database import Pool
from gateway.jobs.psp_event_poll import PspEventPollJob
from gateway.payments.psp.stripe.adapter import StripePsp
from gateway.task_kinds import TaskKind
from sandbox.stripe.server import RunningPsp, start_psp
from sandbox.stripe.settings import PspSettings
from tests.fakes.api import Answer, Api, cdr, open_api
from tests.fakes.tasks import jobs_by_kind

SECRET = "whsec_of_the_test"
KEY = {"Authorization": "Bearer sk_test_sandbox"}
SAVE = {"usage": "off_session", "consent": "terms-7 accepted 2026-10-29T08:00:00Z"}


@dataclass
class Till:
    """A gateway on the sandbox PSP, and a driver who pays for the first time."""

    api: Api
    psp: RunningPsp
    http: aiohttp.ClientSession
    pool: Pool

    async def customer(self, *, key: str = "c", party: str = "parking") -> str:
        made = await self.api.call("POST", "/v1/customers", {}, key=key, party=party)
        return str(made.json["id"])

    async def card(self, token: str = "tok_visa") -> str:
        """A payment method as a driver's app gets it from the PSP."""
        form = {"type": "card", "card[token]": token}
        async with self.http.post(f"{self.psp.url}/v1/payment_methods", data=form, headers=KEY) as answer:
            return str((await answer.json())["id"])

    async def pay(self, customer: str | None, method: str, *, key: str = "a", **more: Any) -> Answer:
        payment = {
            "type": "psp_payment_method",
            "payment_method": method,
            "customer": customer or None,
            "return_url": "https://app.example/back",
            "save": SAVE,
        }
        return await self.api.authorize(key=key, session_ref=key, payment=payment | more)

    async def deliver(self, *, lost: bool = False) -> None:
        for webhook in self.psp.engine.pop_webhooks():
            if not lost:
                answer = await self.api.client.post(
                    "/v1/psp/webhooks", data=webhook.body, headers=webhook.headers
                )
                assert answer.status == 200
        if lost:
            await PspEventPollJob(clock=self.api.clock, payments=self.api.services.payments).run_once()
        worker = jobs_by_kind(self.pool, self.api.clock, payments=self.api.services.payments)
        while await worker[TaskKind.HANDLE_PSP_EVENT].run_once():
            pass

    async def saved(self, customer: str, *, party: str = "parking") -> list[Any]:
        path = f"/v1/customers/{customer}/payment-methods"
        found: list[Any] = (await self.api.call("GET", path, party=party)).json["data"]
        return found


@pytest.fixture
async def till(pool: Pool) -> AsyncIterator[Till]:
    settings = PspSettings(
        pull_webhooks=True, webhook_url="http://gateway.test/v1/psp/webhooks", webhook_secret=SECRET
    )
    async with start_psp(settings) as psp, aiohttp.ClientSession() as http:
        adapter = StripePsp(api_key="sk_test_sandbox", webhook_secret=SECRET, base_url=psp.url)
        async with open_api(pool, psp=adapter) as api:
            try:
                yield Till(api=api, psp=psp, http=http, pool=pool)
            finally:
                await adapter.close()


async def test_a_card_is_saved_by_the_payment_and_charged_again_while_the_driver_is_away(till: Till) -> None:
    customer, method = await till.customer(), await till.card()
    held = await till.pay(customer, method)
    assert (held.status, held.json["state"]) == (201, "authorized"), held.text
    await till.deliver()
    (saved,) = await till.saved(customer)
    assert (saved["id"], saved["brand"], saved["last4"]) == (method, "visa", "4242")
    assert (saved["authorization"], saved["setup"]) == (held.json["id"], None)
    assert saved["consent"] == SAVE["consent"]
    again = await till.pay(customer, method, key="b", save=None, return_url=None, off_session=True)
    assert (again.status, again.json["state"]) == (201, "authorized"), again.text
    path = f"/v1/sessions/{again.json['session']}/complete"
    done = await till.api.call("POST", path, b'{"cdr": ' + cdr(kwh="20") + b"}", key="d")
    assert done.json["capture"]["state"] == "succeeded", done.text


async def test_a_card_that_must_be_authenticated_is_saved_once_the_driver_has_confirmed(till: Till) -> None:
    customer, method = await till.customer(), await till.card("tok_threeDSecure2Required")
    waits = await till.pay(customer, method)
    assert (waits.status, waits.json["state"]) == (201, "requires_action"), waits.text
    await till.deliver()
    assert await till.saved(customer) == []
    payment = waits.json["client_secret"].partition("_secret")[0]
    async with till.http.post(f"{till.psp.url}/_sandbox/payment_intents/{payment}/authenticate") as answer:
        assert answer.status == 200
    await till.deliver()
    assert [one["id"] for one in await till.saved(customer)] == [method]


async def test_a_lost_event_is_made_up_for_by_the_psps_own_list(till: Till) -> None:
    customer, method = await till.customer(), await till.card()
    await till.pay(customer, method)
    await till.deliver(lost=True)
    assert [one["id"] for one in await till.saved(customer)] == [method]


async def test_a_declined_payment_and_one_that_does_not_ask_save_nothing(till: Till) -> None:
    customer = await till.customer()
    declined = await till.pay(customer, await till.card("tok_chargeDeclined"))
    assert (declined.status, declined.json["code"]) == (402, "card_declined"), declined.text
    paid = await till.pay(customer, await till.card(), key="b", save=None)
    assert paid.status == 201, paid.text
    await till.deliver()
    assert await till.saved(customer) == []


async def test_a_saved_card_belongs_to_the_party_whose_payment_saved_it(till: Till) -> None:
    customer, method = await till.customer(), await till.card()
    await till.pay(customer, method)
    await till.deliver()
    foreign = await till.api.call("GET", f"/v1/payment-methods/{method}", party="superapp")
    assert (foreign.status, foreign.json["code"]) == (404, "not_found")
    payment = {"type": "psp_payment_method", "payment_method": method, "customer": customer}
    charged = await till.api.authorize(key="f", party="superapp", payment=payment)
    assert charged.status == 404, charged.text
    removed = await till.api.call("DELETE", f"/v1/payment-methods/{method}")
    assert removed.status == 204
    assert (await till.pay(customer, method, key="g", save=None)).status == 404


@pytest.mark.parametrize(
    "change",
    [
        {"customer": ""},
        {"off_session": True, "return_url": None},
        {"save": {"usage": "off_session"}},
        {"save": {"usage": "always", "consent": "x"}},
    ],
)
async def test_saving_needs_a_customer_a_driver_who_is_there_and_a_consent(till: Till, change: Any) -> None:
    refused = await till.pay(change.pop("customer", "cus_1"), "pm_1", **change)
    assert (refused.status, refused.json["code"]) == (400, "invalid_parameters"), refused.text
