"""The wire: keys, idempotency, errors, lists, expansion, search; and no card number ever."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe

from sandbox.stripe.settings import PspSettings
from tests.integration.sandbox_psp_client import KEY, START, Sandbox, sandbox


@pytest.fixture
async def psp() -> AsyncIterator[Sandbox]:
    async with sandbox() as running:
        yield running


async def raw(psp: Sandbox, method: str, path: str, data: Any = "", **headers: str) -> tuple[int, Any, Any]:
    sent = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/x-www-form-urlencoded"} | headers
    async with psp.http.request(method, psp.psp.url + path, data=data, headers=sent) as response:
        return response.status, await response.json(), response.headers


@pytest.mark.parametrize("key", ["sk_test_other", "sk_live_x", ""])
async def test_a_wrong_key_is_rejected_and_not_repeated(psp: Sandbox, key: str) -> None:
    status, body, _ = await raw(psp, "GET", "/v1/balance", Authorization=f"Bearer {key}")
    assert (status, body["error"]["type"]) == (401, "invalid_request_error")
    assert not key or key not in body["error"]["message"]


async def test_basic_authentication_and_headers_are_as_the_provider_has_them(psp: Sandbox) -> None:
    status, _, headers = await raw(
        psp,
        "GET",
        "/v1/balance",
        Authorization="Basic c2tfdGVzdF9zYW5kYm94Og==",
        **{"Stripe-Version": "2026-10-28.endive"},
    )
    assert (status, headers["Stripe-Version"]) == (200, "2026-10-28.endive")
    assert headers["Request-Id"].startswith("req_")
    status, body, _ = await raw(psp, "GET", "/v1/balance", **{"Stripe-Version": "yesterday"})
    assert (status, "API version" in body["error"]["message"]) == (400, True)


async def test_same_key_and_parameters_give_the_first_answer_again(psp: Sandbox) -> None:
    first = await psp.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k1"})
    again = await psp.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k1"})
    assert first.id == again.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert again.last_response.headers["Original-Request"] == first.last_response.headers["Request-Id"]
    assert len((await psp.v1.customers.list_async()).data) == 1


async def test_same_key_with_other_parameters_or_path_is_an_idempotency_error(psp: Sandbox) -> None:
    await psp.v1.customers.create_async({"name": "A"}, {"idempotency_key": "k1"})
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        await psp.v1.customers.create_async({"name": "B"}, {"idempotency_key": "k1"})
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        await psp.v1.topups.create_async(
            {"amount": 1, "currency": "eur", "description": "x"}, {"idempotency_key": "k1"}
        )


async def test_a_rejected_capture_is_replayed_but_a_malformed_request_frees_its_key(psp: Sandbox) -> None:
    options = {"idempotency_key": "k1"}
    with pytest.raises(stripe.CardError) as first:
        await psp.hold_with(options, payment_method="pm_card_visa_chargeDeclined")
    with pytest.raises(stripe.CardError) as again:
        await psp.hold_with(options, payment_method="pm_card_visa_chargeDeclined")
    assert first.value.json_body == again.value.json_body
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.customers.create_async({"nonsense": "x"}, {"idempotency_key": "k2"})
    assert (await psp.v1.customers.create_async({"name": "x"}, {"idempotency_key": "k2"})).name == "x"


async def test_keys_are_forgotten_after_a_day(psp: Sandbox) -> None:
    first = await psp.v1.customers.create_async({}, {"idempotency_key": "k1"})
    await psp.advance(86_399)
    assert (await psp.v1.customers.create_async({}, {"idempotency_key": "k1"})).id == first.id
    await psp.advance(1)
    assert (await psp.v1.customers.create_async({}, {"idempotency_key": "k1"})).id != first.id


async def test_keys_of_two_accounts_do_not_meet(psp: Sandbox) -> None:
    account = await psp.v1.accounts.create_async({"country": "NL"})
    one = await psp.v1.customers.create_async({}, {"idempotency_key": "k1"})
    other = await psp.v1.customers.create_async({}, {"idempotency_key": "k1", "stripe_account": account.id})
    assert one.id != other.id
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        await psp.v1.customers.retrieve_async(other.id)


async def test_a_second_request_under_a_key_at_work_conflicts(psp: Sandbox) -> None:
    await psp.fault({"kind": "delay", "delay_ms": 300}, method="POST", path_regex="/capture$")
    held = await psp.hold()
    capture = psp.v1.payment_intents.capture_async
    first = asyncio.create_task(capture(held.id, options={"idempotency_key": "c1"}))
    await asyncio.sleep(0.1)
    with pytest.raises(stripe.APIError) as conflict:
        await capture(held.id, options={"idempotency_key": "c1"})
    assert (conflict.value.http_status, conflict.value.error.code) == (409, "idempotency_key_in_use")
    assert (await first).status == "succeeded"
    assert (await capture(held.id, options={"idempotency_key": "c1"})).status == "succeeded"


async def test_fifty_parallel_captures_of_one_hold_capture_once(psp: Sandbox) -> None:
    held = await psp.hold()
    capture = psp.v1.payment_intents.capture_async
    answers = await asyncio.gather(
        *(capture(held.id, options={"idempotency_key": f"c{n % 5}"}) for n in range(50)),
        return_exceptions=True,
    )
    done = [answer for answer in answers if not isinstance(answer, Exception)]
    assert len(done) == 10  # the ten with the key that came first
    assert len((await psp.v1.balance_transactions.list_async()).data) == 1


@pytest.mark.parametrize(
    ("path", "data", "status", "code", "param"),
    [
        ("/v1/payment_intents", "currency=eur", 400, "parameter_missing", "amount"),
        ("/v1/payment_intents", "amount=1e3&currency=eur", 400, "parameter_invalid_integer", "amount"),
        ("/v1/payment_intents", "amount=500&currency=xxx", 400, None, "currency"),
        ("/v1/payment_intents", "amount=500&currency=eur&colour=red", 400, "parameter_unknown", "colour"),
        ("/v1/payment_intents", "amount=500&currency=eur&confirm=yes", 400, None, "confirm"),
        ("/v1/payment_intents", "amount=500&currency=eur&capture_method=late", 400, None, "capture_method"),
        (
            "/v1/payment_intents",
            "amount=500&currency=eur&customer=cus_x",
            400,
            "resource_missing",
            "customer",
        ),
        ("/v1/payment_intents", "amount=500&currency=eur&metadata=x", 400, None, "metadata"),
        ("/v1/payment_intents", "amount[x]=500&currency=eur", 400, None, "amount"),
        ("/v1/payment_intents", "amount]=1", 400, None, "amount]"),
        ("/v1/payment_intents/pi_none/capture", "", 404, "resource_missing", "intent"),
        ("/v1/refunds", "", 400, "parameter_missing", None),
        ("/v1/nonsense", "", 404, None, None),
        ("/v1/balance", "", 405, None, None),
    ],
)
async def test_bad_input_names_what_is_wrong_and_where(
    psp: Sandbox, *, path: str, data: str, status: int, code: str | None, param: str | None
) -> None:
    found, body, _ = await raw(psp, "POST", path, data)
    error = body["error"]
    assert (found, error.get("code"), error.get("param")) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]


@pytest.mark.parametrize(
    "data",
    [
        "type=card&card[number]=4242424242424242&card[exp_month]=12",
        "type=card&card[token]=4242 4242 4242 4242",
        "type=card&card[cvc]=123",
    ],
)
async def test_a_card_number_is_rejected_and_not_echoed(psp: Sandbox, data: str) -> None:
    status, body, _ = await raw(psp, "POST", "/v1/payment_methods", data)
    assert status == 400
    assert "4242" not in str(body)


async def test_a_long_number_in_metadata_is_no_card_number(psp: Sandbox) -> None:
    held = await psp.hold(metadata={"meter_reading_wh": "4242424242424242"})
    assert held.metadata["meter_reading_wh"] == "4242424242424242"


async def test_metadata_merges_and_empty_values_remove(psp: Sandbox) -> None:
    held = await psp.hold(metadata={"a": "1", "b": "2"})
    changed = await psp.v1.payment_intents.update_async(held.id, {"metadata": {"a": "", "c": "3"}})
    assert dict(changed.metadata.to_dict()) == {"b": "2", "c": "3"}
    cleared = await psp.v1.payment_intents.update_async(held.id, {"metadata": ""})
    assert dict(cleared.metadata.to_dict()) == {}


async def test_pages_walk_both_ways_without_gap_or_repetition(psp: Sandbox) -> None:
    made = [(await psp.v1.customers.create_async({"name": str(n)})).id for n in range(7)]
    newest_first = made[::-1]
    first = await psp.v1.customers.list_async({"limit": 3})
    assert ([row.id for row in first.data], first.has_more) == (newest_first[:3], True)
    second = await psp.v1.customers.list_async({"limit": 3, "starting_after": first.data[-1].id})
    assert [row.id for row in second.data] == newest_first[3:6]
    back = await psp.v1.customers.list_async({"limit": 2, "ending_before": second.data[-1].id})
    assert ([row.id for row in back.data], back.has_more) == (newest_first[3:5], True)
    walked = [row.id async for row in first.auto_paging_iter()]
    assert walked == newest_first
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.customers.list_async({"starting_after": "cus_none"})
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.customers.list_async({"limit": 101})


async def test_lists_filter_by_created_and_type(psp: Sandbox) -> None:
    await psp.hold()
    await psp.advance(100)
    held = await psp.hold()
    await psp.v1.payment_intents.cancel_async(held.id)
    recent = await psp.v1.payment_intents.list_async({"created": {"gte": START + 100}})
    assert [row.id for row in recent.data] == [held.id]
    older = await psp.v1.payment_intents.list_async({"created": {"lt": START + 100}})
    assert len(older.data) == 1
    events = await psp.v1.events.list_async(
        {
            "types": ["payment_intent.canceled", "charge.refunded"],
            "created": {"gt": START},
        }
    )
    assert [event.type for event in events.data] == ["payment_intent.canceled", "charge.refunded"]
    by_prefix = await psp.v1.events.list_async({"type": "charge.*"})
    assert {event.type for event in by_prefix.data} == {"charge.succeeded", "charge.refunded"}


async def test_search_finds_a_payment_by_our_metadata(psp: Sandbox) -> None:
    held = await psp.hold(metadata={"session": "s'1", "cpo": "NL-ABC"})
    await psp.hold(metadata={"session": "s2", "cpo": "NL-ABC"})
    search = psp.v1.payment_intents.search_async
    found = await search({"query": "metadata['session']:'s\\'1' AND status:'requires_capture'"})
    assert [row.id for row in found.data] == [held.id]
    assert len((await search({"query": 'metadata["cpo"]:"NL-ABC"'})).data) == 2
    assert len((await search({"query": "metadata['cpo']:'NL-ABC' AND -metadata['session']:'s2'"})).data) == 1
    assert len((await search({"query": "metadata['session']:'s2' OR amount>5000"})).data) == 1
    assert len((await search({"query": "metadata['none']:null AND amount>=5000"})).data) == 2
    page = await search({"query": "currency:'eur'", "limit": 1})
    assert (page.has_more, len(page.data)) == (True, 1)
    rest = await search({"query": "currency:'eur'", "limit": 1, "page": page.next_page})
    assert (rest.has_more, rest.data[0].id) == (False, held.id)
    for query in ("metadata['a'", "colour:'red'", "a:'1' AND b:'2' OR c:'3'", "amount:'x'"):
        with pytest.raises(stripe.InvalidRequestError):
            await search({"query": query})


async def test_search_follows_a_changed_metadata(psp: Sandbox) -> None:
    held = await psp.hold(metadata={"session": "old"})
    await psp.v1.payment_intents.update_async(held.id, {"metadata": {"session": "new"}})
    search = psp.v1.payment_intents.search_async
    assert not (await search({"query": "metadata['session']:'old'"})).data
    assert len((await search({"query": "metadata['session']:'new'"})).data) == 1


async def test_search_lags_where_configured() -> None:
    async with sandbox(PspSettings(start_at=START, search_lag_s=60, pull_webhooks=True)) as psp:
        await psp.hold(metadata={"session": "s1"})
        query = {"query": "metadata['session']:'s1'"}
        assert not (await psp.v1.payment_intents.search_async(query)).data
        await psp.advance(60)
        assert len((await psp.v1.payment_intents.search_async(query)).data) == 1


async def test_expansion_follows_references_and_rejects_what_is_none(psp: Sandbox) -> None:
    customer = await psp.v1.customers.create_async({"name": "driver"})
    held = await psp.hold(customer=customer.id, expand=["customer", "payment_method", "latest_charge"])
    assert (held.customer.name, held.payment_method.card.last4) == ("driver", "4242")
    listed = await psp.v1.payment_intents.list_async({"expand": ["data.latest_charge", "data.customer"]})
    assert listed.data[0].latest_charge.paid
    for path in ("status", "nonsense", "latest_charge.balance_transaction.source.payment_intent.customer"):
        with pytest.raises(stripe.InvalidRequestError, match="expand"):
            await psp.v1.payment_intents.retrieve_async(held.id, {"expand": [path]})


async def test_an_expansion_that_is_rejected_leaves_no_effect(psp: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await psp.hold(expand=["nonsense"])
    assert not (await psp.v1.payment_intents.list_async()).data
    assert not (await psp.v1.events.list_async()).data


async def test_a_deleted_customer_is_a_stub_and_its_methods_are_detached(psp: Sandbox) -> None:
    customer = await psp.v1.customers.create_async({})
    method = await psp.v1.payment_methods.attach_async("pm_card_visa", {"customer": customer.id})
    await psp.v1.customers.delete_async(customer.id)
    assert (await psp.v1.customers.retrieve_async(customer.id)).deleted
    assert (await psp.v1.payment_methods.retrieve_async(method.id)).customer is None
    with pytest.raises(stripe.InvalidRequestError):
        await psp.hold(customer=customer.id)


async def test_other_methods_and_oversized_bodies_are_rejected_in_the_envelope(psp: Sandbox) -> None:
    status, body, _ = await raw(psp, "PUT", "/v1/customers", "name=x")
    assert (status, body["error"]["type"]) == (405, "invalid_request_error")
    status, body, _ = await raw(psp, "POST", "/v1/customers", io.BytesIO(b"name=" + b"x" * 2_000_000))
    assert (status, body["error"]["type"]) == (413, "invalid_request_error")
