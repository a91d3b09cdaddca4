"""Faults on demand, and signed webhooks that come once, twice, late, out of order or never."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import stripe
from aiohttp import web

from sandbox.stripe.settings import PspSettings
from tests.integration.sandbox_psp_client import START, Sandbox, sandbox

SECRET = "whsec_test_receiver"
PULLED = PspSettings(
    seed=1, start_at=START, pull_webhooks=True, webhook_url="http://receiver.test/hook", webhook_secret=SECRET
)


@pytest.fixture
async def psp() -> AsyncIterator[Sandbox]:
    async with sandbox(PULLED) as running:
        yield running


async def charges_posted(psp: Sandbox) -> int:
    return len((await psp.v1.balance_transactions.list_async({"type": "charge"})).data)


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, stripe.APIError), (503, stripe.APIError), (409, stripe.APIError), (429, stripe.RateLimitError)],
)
async def test_injected_status_before_the_effect_changes_nothing(
    psp: Sandbox, status: int, error: type[stripe.StripeError]
) -> None:
    held = await psp.hold()
    await psp.fault({"kind": "status", "status": status}, path_regex="/capture$")
    options = {"idempotency_key": "c1"}
    with pytest.raises(error) as failed:
        await psp.v1.payment_intents.capture_async(held.id, options=options)
    assert failed.value.http_status == status
    assert await charges_posted(psp) == 0
    assert (await psp.v1.payment_intents.capture_async(held.id, options=options)).status == "succeeded"


async def test_an_injected_status_carries_the_code_it_was_given(psp: Sandbox) -> None:
    await psp.fault({"kind": "status", "status": 429, "code": "lock_timeout"})
    with pytest.raises(stripe.RateLimitError) as failed:
        await psp.hold()
    assert failed.value.error is not None
    assert failed.value.error.code == "lock_timeout"


async def test_injected_status_after_the_effect_is_healed_by_the_same_key(psp: Sandbox) -> None:
    held = await psp.hold()
    await psp.fault({"kind": "status", "status": 500, "after": True}, path_regex="/capture$")
    options = {"idempotency_key": "c1"}
    with pytest.raises(stripe.APIError):
        await psp.v1.payment_intents.capture_async(held.id, options=options)
    assert await charges_posted(psp) == 1
    again = await psp.v1.payment_intents.capture_async(held.id, options=options)
    assert (again.status, again.last_response.headers["Idempotent-Replayed"]) == ("succeeded", "true")
    assert await charges_posted(psp) == 1


@pytest.mark.parametrize(
    ("kind", "took_effect"),
    [("timeout_before", 0), ("timeout_after", 1), ("reset_before", 0), ("reset_after", 1)],
)
async def test_a_lost_answer_is_a_connection_error_with_or_without_effect(
    kind: str, took_effect: int
) -> None:
    async with sandbox(PULLED, timeout_s=0.3) as psp:
        held = await psp.hold()
        await psp.fault({"kind": kind}, path_regex="/capture$", metadata={"session": "other"})
        await psp.fault({"kind": kind}, path_regex="/capture$")
        with pytest.raises(stripe.APIConnectionError):
            await psp.v1.payment_intents.capture_async(held.id, options={"idempotency_key": "c1"})
        assert await charges_posted(psp) == took_effect
        await psp.v1.payment_intents.capture_async(held.id, options={"idempotency_key": "c1"})
        assert await charges_posted(psp) == 1


async def test_a_client_that_gives_up_during_a_delay_leaves_no_effect_and_a_free_key() -> None:
    async with sandbox(PULLED, timeout_s=0.2) as psp:
        held = await psp.hold()
        await psp.fault({"kind": "delay", "delay_ms": 60_000}, path_regex="/capture$")
        with pytest.raises(stripe.APIConnectionError):
            await psp.v1.payment_intents.capture_async(held.id, options={"idempotency_key": "c1"})
        await asyncio.sleep(0.1)
        assert await charges_posted(psp) == 0
        done = await psp.v1.payment_intents.capture_async(held.id, options={"idempotency_key": "c1"})
        assert done.status == "succeeded"


async def test_faults_match_by_metadata_method_key_and_count(psp: Sandbox) -> None:
    await psp.fault(
        {"kind": "status", "status": 503}, metadata={"session": "s1"}, nth=2, times=2, method="POST"
    )
    held = await psp.hold(metadata={"session": "s1"})
    other = await psp.hold(metadata={"session": "s2"})
    capture = psp.v1.payment_intents.capture_async
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            await capture(held.id)
    assert (await capture(other.id)).status == "succeeded"
    assert (await capture(held.id)).status == "succeeded"
    await psp.fault({"kind": "status", "status": 500}, idempotency_key="bad", times=0)
    for _ in range(3):
        with pytest.raises(stripe.APIError):
            await psp.v1.customers.create_async({}, {"idempotency_key": "bad"})
    [first, second] = (await psp.control("GET", "faults"))["data"]
    assert (first["seen"], first["fired"], second["fired"]) == (4, 2, 3)
    assert (await psp.control("DELETE", f"faults/{second['id']}"))["removed"] == 1
    assert (await psp.control("DELETE", "faults"))["removed"] == 1
    await psp.v1.customers.create_async({}, {"idempotency_key": "bad"})


async def test_a_decline_can_be_ordered_for_an_increment(psp: Sandbox) -> None:
    options = {"card": {"request_incremental_authorization": "if_available"}}
    held = await psp.hold(payment_method_options=options)
    await psp.fault({"kind": "decline", "decline_code": "insufficient_funds"}, path_regex="increment")
    with pytest.raises(stripe.CardError) as rejected:
        await psp.v1.payment_intents.increment_authorization_async(held.id, {"amount": 9000})
    assert rejected.value.error is not None
    assert rejected.value.error.decline_code == "insufficient_funds"
    assert (await psp.v1.payment_intents.retrieve_async(held.id)).amount_capturable == 5000


@pytest.mark.parametrize(
    "body",
    [
        {"fault": {}},
        {"fault": {"kind": "explode"}},
        {"fault": {"kind": "delay"}},
        {"fault": {"kind": "status", "status": 200}},
        {"fault": {"kind": "drop"}, "match": {"type_regex": "("}},
        {"fault": {"kind": "drop"}, "match": {"colour": "red"}},
        {"fault": "drop"},
    ],
)
async def test_a_fault_that_cannot_be_read_is_rejected_with_a_reason(
    psp: Sandbox, body: dict[str, Any]
) -> None:
    answer = await psp.control("POST", "faults", body)
    assert answer["error"]["message"]
    assert (await psp.control("GET", "faults"))["data"] == []


def types(webhooks: list[Any]) -> list[str]:
    return [json.loads(webhook.body)["type"] for webhook in webhooks]


async def test_pulled_webhooks_verify_and_come_once_in_order(psp: Sandbox) -> None:
    held = await psp.hold()
    await psp.v1.payment_intents.capture_async(held.id, options={"idempotency_key": "c1"})
    webhooks = psp.engine.pop_webhooks()
    assert types(webhooks) == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "charge.captured",
        "payment_intent.succeeded",
    ]
    for webhook in webhooks:
        event = stripe.Webhook.construct_event(webhook.body, webhook.headers["Stripe-Signature"], SECRET)
        assert event.id == webhook.event_id
    last = json.loads(webhooks[-1].body)
    assert last["data"]["object"]["amount_received"] == 5000
    assert last["request"]["idempotency_key"] == "c1"
    assert not [key for key in last["data"]["object"] if key.startswith("_")]
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(webhooks[0].body, webhooks[1].headers["Stripe-Signature"], SECRET)
    assert psp.engine.pop_webhooks() == []
    psp.engine.requeue(webhooks[0])
    assert psp.engine.pop_webhooks() == []
    await psp.advance(1)
    assert types(psp.engine.pop_webhooks()) == ["payment_intent.created"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": "drop"}, ["topup.created"]),
        ({"kind": "duplicate", "copies": 3}, ["topup.created", *["topup.succeeded"] * 3]),
        ({"kind": "late", "late_s": 60}, ["topup.created"]),
    ],
)
async def test_webhook_faults_disturb_delivery_but_not_the_event_list(
    psp: Sandbox, fault: dict[str, Any], expected: list[str]
) -> None:
    await psp.fault(fault, type_regex="^topup.succeeded$")
    await psp.v1.topups.create_async({"amount": 1, "currency": "eur", "description": "x"})
    assert types(psp.engine.pop_webhooks()) == expected
    assert len((await psp.v1.events.list_async()).data) == 2
    await psp.advance(60)
    assert types(psp.engine.pop_webhooks()) == (["topup.succeeded"] if fault["kind"] == "late" else [])


async def test_disorder_lets_the_next_event_overtake(psp: Sandbox) -> None:
    await psp.fault({"kind": "disorder"}, type_regex="topup.created")
    await psp.v1.topups.create_async({"amount": 1, "currency": "eur", "description": "x"})
    assert types(psp.engine.pop_webhooks()) == ["topup.succeeded", "topup.created"]


class Receiver:
    """A partner's endpoint that fails as often as configured."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, str]] = []
        self.failures = 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.failures:
            self.failures -= 1
            return web.Response(status=500)
        self.got.append((body, request.headers["Stripe-Signature"]))
        return web.Response()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.got) < count:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield receiver, f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await runner.cleanup()


async def test_background_delivery_signs_retries_and_acknowledges() -> None:
    async with (
        receiving() as (receiver, url),
        sandbox(PspSettings(webhook_url=url, webhook_secret=SECRET)) as psp,
    ):
        receiver.failures = 1
        await psp.hold()
        await receiver.wait_for(3)
        found = {
            stripe.Webhook.construct_event(body, signature, SECRET).type for body, signature in receiver.got
        }
        assert found == {
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.amount_capturable_updated",
        }
        await asyncio.sleep(0.05)
        assert all(event.pending_webhooks == 0 for event in (await psp.v1.events.list_async()).data)


async def test_endpoints_made_by_the_api_get_the_events_they_subscribe_to_until_deleted() -> None:
    async with receiving() as (receiver, url), sandbox(PspSettings()) as psp:
        endpoint = await psp.v1.webhook_endpoints.create_async(
            {"url": url, "enabled_events": ["topup.succeeded"]}
        )
        assert endpoint.secret.startswith("whsec_")
        shown = await psp.v1.webhook_endpoints.retrieve_async(endpoint.id)
        assert not hasattr(shown, "secret")
        top_up = {"amount": 1, "currency": "eur", "description": "x"}
        await psp.v1.topups.create_async(top_up)
        await receiver.wait_for(1)
        body, signature = receiver.got[0]
        assert stripe.Webhook.construct_event(body, signature, endpoint.secret).type == "topup.succeeded"
        await psp.v1.webhook_endpoints.delete_async(endpoint.id)
        await psp.v1.topups.create_async(top_up)
        await asyncio.sleep(0.3)
        assert len(receiver.got) == 1
        assert (await psp.v1.webhook_endpoints.list_async()).data == []


async def test_connected_account_events_name_their_account(psp: Sandbox) -> None:
    account = await psp.v1.accounts.create_async({"country": "NL", "type": "custom"})
    await psp.v1.topups.create_async({"amount": 100, "currency": "eur", "description": "x"})
    psp.engine.pop_webhooks()
    await psp.v1.transfers.create_async({"amount": 100, "currency": "eur", "destination": account.id})
    await psp.v1.accounts.update_async(account.id, {"metadata": {"place": "1"}})
    [sent, changed] = [json.loads(webhook.body) for webhook in psp.engine.pop_webhooks()]
    assert ("account" in sent, changed["account"], changed["type"]) == (False, account.id, "account.updated")
