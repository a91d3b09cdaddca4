"""Checkout Sessions of the sandbox PSP: by the provider's own client, and by the page that a browser gets."""

import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import stripe

from sandbox.stripe.test_numbers import TEST_NUMBERS
from tests.integration.sandbox_psp_client import START, Sandbox, sandbox
from tests.integration.sandbox_psp_objects import checkout

NUMBERS = {one.card: " ".join(one.groups) for one in TEST_NUMBERS}
PAYS = NUMBERS["pm_card_visa"]
ASKS = NUMBERS["pm_card_authenticationRequired"]
DECLINES = NUMBERS["pm_card_visa_chargeDeclinedInsufficientFunds"]


@pytest.fixture
async def psp() -> AsyncIterator[Sandbox]:
    async with sandbox() as running:
        await running.v1.webhook_endpoints.create_async(
            {"url": "http://receiver.test/", "enabled_events": ["*"]}
        )
        yield running


async def opened(psp: Sandbox, **changes: Any) -> Any:
    return await psp.v1.checkout.sessions.create_async(checkout(**changes))


async def read(psp: Sandbox, session: Any, *expand: str) -> Any:
    return await psp.v1.checkout.sessions.retrieve_async(session.id, {"expand": list(expand)})


async def browse(psp: Sandbox, method: str, address: str, **form: str) -> tuple[int, str, str]:
    """What a browser gets: status, where it is led, the page."""
    async with psp.http.request(method, address, data=form or None, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", ""), await answer.text()


async def pay(psp: Sandbox, session: Any, number: str, **changes: str) -> tuple[int, str, str]:
    return await browse(psp, "POST", session.url, number=number, expiry="12 / 34", cvc="123", **changes)


async def types(psp: Sandbox) -> list[str]:
    return [one.type for one in (await psp.v1.events.list_async()).data][::-1]


async def test_a_session_has_no_payment_before_its_customer_confirms(psp: Sandbox) -> None:
    session = await opened(psp, expires_at=START + 1800, client_reference_id="auth_1", locale="de")
    assert (session.status, session.payment_intent, session.payment_status) == ("open", None, "unpaid")
    assert (session.amount_total, session.currency, session.expires_at) == (5000, "eur", START + 1800)
    assert "payment_intent.created" not in await types(psp)
    status, _, page = await browse(psp, "GET", session.url)
    assert status == 200
    assert "50.00 EUR" in page
    assert "Held, not paid." in page
    assert "<script" not in page
    assert (await read(psp, session)).payment_intent is None


async def test_a_card_that_pays_holds_once_and_leads_back(psp: Sandbox) -> None:
    session = await opened(psp)
    assert (await pay(psp, session, PAYS))[:2] == (303, "https://shop.test/paid")
    done = await read(psp, session, "payment_intent.latest_charge")
    assert (done.status, done.url, done.payment_status) == ("complete", None, "unpaid")
    intent = done.payment_intent
    assert (intent.status, intent.amount_capturable) == ("requires_capture", 5000)
    assert intent.metadata.to_dict() == {"session": "ses_1"}
    assert (await types(psp))[-1] == "checkout.session.completed"
    # Again, from another tab: led on, nothing is held twice.
    assert (await pay(psp, session, PAYS))[:2] == (303, "https://shop.test/paid")
    assert (await browse(psp, "GET", session.url))[:2] == (303, "https://shop.test/paid")
    assert len((await psp.v1.payment_intents.list_async()).data) == 1
    captured = await psp.v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 1200})
    assert captured.status == "succeeded"


async def test_a_declined_card_is_said_on_the_page_and_another_is_taken(psp: Sandbox) -> None:
    session = await opened(psp)
    status, _, page = await pay(psp, session, DECLINES)
    assert status == 402
    assert "insufficient funds" in page
    failed = await read(psp, session, "payment_intent")
    assert (failed.status, failed.payment_intent.status) == ("open", "requires_payment_method")
    assert "payment_intent.payment_failed" in await types(psp)
    for number, shown in (("1234 5678 1234 5678", "incorrect"), ("", "incorrect")):
        status, _, page = await pay(psp, session, number)
        assert status == 422
        assert shown in page
        assert number not in page or not number
    assert (await pay(psp, session, PAYS))[0] == 303
    done = await read(psp, session)
    assert (done.status, done.payment_intent) == ("complete", failed.payment_intent.id)


@pytest.mark.parametrize(("outcome", "status"), [("succeed", "complete"), ("fail", "open")])
async def test_a_bank_that_asks_leads_back_to_the_page(psp: Sandbox, outcome: str, status: str) -> None:
    session = await opened(psp)
    led, bank, _ = await pay(psp, session, ASKS)
    assert (led, urlsplit(bank).path.rpartition("/")[2]) == (303, "authenticate")
    _, _, question = await browse(psp, "GET", bank)
    action = re.search(r'action="([^"]+)"', question)
    assert action
    led, back, _ = await browse(psp, "POST", psp.psp.url + action[1], outcome=outcome)
    assert (led, urlsplit(back).path) == (303, urlsplit(session.url).path)
    answer = await browse(psp, "GET", back)
    if outcome == "succeed":
        assert answer[:2] == (303, "https://shop.test/paid")
    else:
        assert answer[0] == 200
        assert "failed authentication" in answer[2]
    assert (await read(psp, session)).status == status


async def test_a_session_expires_by_its_time_or_by_request_and_then_takes_nothing(psp: Sandbox) -> None:
    first, second = await opened(psp, expires_at=START + 1800), await opened(psp)
    await pay(psp, first, DECLINES)  # its payment ends with it
    await psp.advance(1800)
    status, _, page = await pay(psp, first, PAYS)
    assert (status, "has expired" in page) == (200, True)
    ended = await read(psp, first, "payment_intent")
    assert (ended.status, ended.url, ended.payment_intent.status) == ("expired", None, "canceled")
    assert (await psp.v1.checkout.sessions.expire_async(second.id)).status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="Only Checkout Sessions with a status in"):
        await psp.v1.checkout.sessions.expire_async(second.id)
    assert (await types(psp)).count("checkout.session.expired") == 2


async def test_a_session_that_was_paid_is_not_expired(psp: Sandbox) -> None:
    session = await opened(psp)
    await pay(psp, session, PAYS)
    with pytest.raises(stripe.InvalidRequestError, match="status of `complete`"):
        await psp.v1.checkout.sessions.expire_async(session.id)
    await psp.advance(2 * 86_400)
    assert (await read(psp, session)).status == "complete"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"expires_at": START + 1799}, "expires_at"),
        ({"expires_at": START + 86_401}, "expires_at"),
        ({"mode": "subscription"}, "mode"),
        ({"ui_mode": "elements"}, "ui_mode"),
        ({"success_url": "javascript:alert(1)"}, "success_url"),
        ({"line_items": [{"quantity": 1}]}, "line_items[0][price_data][unit_amount]"),
        ({"payment_method_types": ["card"]}, "payment_method_types"),
        ({"payment_intent_data": {"capture_method": "sometimes"}}, "payment_intent_data[capture_method]"),
        ({"customer_creation": "always"}, "customer_creation"),
        ({"locale": "xx"}, "locale"),
        ({"custom_text": {"submit": {"message": "x" * 1201}}}, "custom_text[submit][message]"),
        ({"custom_text": {"after": "x"}}, "custom_text[after]"),
    ],
)
async def test_what_the_provider_refuses_or_is_not_played_is_refused(
    psp: Sandbox, changes: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await opened(psp, **changes)
    assert refused.value.param == param


async def test_a_page_that_is_none_says_so_and_names_nothing(psp: Sandbox) -> None:
    for path in ("cs_test_none", "%3Cscript%3E", "..%2f..%2fv1"):
        status, _, page = await browse(psp, "GET", f"{psp.psp.url}/c/pay/{path}")
        assert status in {404, 401}
        assert "<script>" not in page


async def test_text_with_markup_is_shown_as_text(psp: Sandbox) -> None:
    attack = "<img src=x onerror=alert(1)>"
    price = {"currency": "eur", "unit_amount": 5000, "product_data": {"name": attack}}
    session = await opened(
        psp,
        line_items=[{"price_data": price, "quantity": 1}],
        cancel_url='https://shop.test/"><script>alert(1)</script>',
        custom_text={"submit": {"message": attack}},
    )
    _, _, page = await browse(psp, "GET", session.url)
    assert "<img" not in page
    assert "<script" not in page
