"""Payments on the sandbox PSP, asked only through the provider's own client."""

from collections.abc import AsyncIterator

import pytest
import stripe

from tests.integration.sandbox_psp_client import START, Sandbox, sandbox

DAY = 86_400
BACK = "https://app.test/back"
SET_UP_NOW = {"confirm": True, "return_url": BACK}


@pytest.fixture
async def psp() -> AsyncIterator[Sandbox]:
    async with sandbox() as running:
        yield running


async def test_manual_intent_holds_and_a_smaller_capture_releases_the_rest(psp: Sandbox) -> None:
    held = await psp.hold(5000, expand=["latest_charge"])
    assert (held.status, held.amount_capturable, held.amount_received) == ("requires_capture", 5000, 0)
    charge = held.latest_charge
    assert (charge.captured, charge.paid, charge.balance_transaction) == (False, True, None)

    done = await psp.v1.payment_intents.capture_async(
        held.id, {"amount_to_capture": 3210, "expand": ["latest_charge.balance_transaction"]}
    )
    assert (done.status, done.amount_received, done.amount_capturable) == ("succeeded", 3210, 0)
    charge = done.latest_charge
    assert (charge.amount, charge.amount_captured, charge.amount_refunded) == (5000, 3210, 1790)
    assert not charge.refunded
    posted = charge.balance_transaction
    assert (posted.amount, posted.fee, posted.net, posted.type) == (3210, 73, 3137, "charge")  # 1.5 % + 0.25


async def test_a_captured_intent_is_never_captured_again(psp: Sandbox) -> None:
    held = await psp.hold()
    await psp.v1.payment_intents.capture_async(held.id)
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        await psp.v1.payment_intents.capture_async(held.id)
    assert rejected.value.code == "payment_intent_unexpected_state"
    assert rejected.value.error is not None
    assert rejected.value.error.payment_intent.status == "succeeded"
    assert len((await psp.v1.balance_transactions.list_async({"type": "charge"})).data) == 1


async def test_capture_above_the_hold_is_rejected_unless_overcapture_was_granted(psp: Sandbox) -> None:
    plain = await psp.hold(1000)
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        await psp.v1.payment_intents.capture_async(plain.id, {"amount_to_capture": 1001})
    assert rejected.value.code == "amount_too_large"

    options = {"card": {"request_overcapture": "if_available"}}
    able = await psp.hold(1000, payment_method_options=options, expand=["latest_charge"])
    over = able.latest_charge.payment_method_details.card.overcapture
    assert (over.status, over.maximum_amount_capturable) == ("available", 1150)
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payment_intents.capture_async(able.id, {"amount_to_capture": 1151})
    done = await psp.v1.payment_intents.capture_async(
        able.id, {"amount_to_capture": 1150, "expand": ["latest_charge"]}
    )
    assert (done.amount_received, done.latest_charge.amount_refunded) == (1150, 0)


async def test_increment_raises_the_hold_at_most_ten_times_and_only_where_requested(psp: Sandbox) -> None:
    plain = await psp.hold(1000)
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payment_intents.increment_authorization_async(plain.id, {"amount": 2000})
    options = {"card": {"request_incremental_authorization": "if_available"}}
    held = await psp.hold(1000, payment_method_options=options)
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payment_intents.increment_authorization_async(held.id, {"amount": 1000})
    for step in range(1, 11):
        raised = await psp.v1.payment_intents.increment_authorization_async(held.id, {"amount": 1000 + step})
        assert raised.amount_capturable == 1000 + step
    with pytest.raises(stripe.InvalidRequestError, match="at most 10"):
        await psp.v1.payment_intents.increment_authorization_async(held.id, {"amount": 5000})


async def test_several_captures_need_multicapture_and_end_with_the_final_one(psp: Sandbox) -> None:
    plain = await psp.hold()
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payment_intents.capture_async(plain.id, {"amount_to_capture": 1, "final_capture": False})
    held = await psp.hold(1000, payment_method_options={"card": {"request_multicapture": "if_available"}})
    part = await psp.v1.payment_intents.capture_async(
        held.id, {"amount_to_capture": 300, "final_capture": False}
    )
    assert (part.status, part.amount_capturable, part.amount_received) == ("requires_capture", 700, 300)
    last = await psp.v1.payment_intents.capture_async(held.id, {"amount_to_capture": 200})
    assert (last.status, last.amount_capturable, last.amount_received) == ("succeeded", 0, 500)


async def test_cancel_releases_the_whole_hold_and_costs_nothing(psp: Sandbox) -> None:
    held = await psp.hold()
    gone = await psp.v1.payment_intents.cancel_async(
        held.id, {"cancellation_reason": "abandoned", "expand": ["latest_charge"]}
    )
    assert (gone.status, gone.amount_capturable) == ("canceled", 0)
    assert (gone.latest_charge.refunded, gone.latest_charge.amount_captured) == (True, 0)
    assert not (await psp.v1.balance_transactions.list_async()).data
    with pytest.raises(stripe.InvalidRequestError, match="canceled"):
        await psp.v1.payment_intents.capture_async(held.id)


@pytest.mark.parametrize(
    ("card", "off_session", "hold_s"),
    [
        ("pm_card_visa", False, 7 * DAY),
        ("pm_card_visa", True, 4 * DAY + 18 * 3600),
        ("pm_card_mastercard", True, 7 * DAY),
    ],
)
async def test_hold_lasts_as_long_as_its_scheme_says_and_then_expires(
    psp: Sandbox, *, card: str, off_session: bool, hold_s: int
) -> None:
    held = await psp.hold(payment_method=card, off_session=off_session, expand=["latest_charge"])
    assert held.latest_charge.payment_method_details.card.capture_before == START + hold_s
    await psp.advance(hold_s - 1)
    assert (await psp.v1.payment_intents.retrieve_async(held.id)).status == "requires_capture"
    await psp.advance(1)
    expired = await psp.v1.payment_intents.retrieve_async(held.id)
    assert (expired.status, expired.cancellation_reason) == ("canceled", "automatic")
    types = [event.type for event in (await psp.v1.events.list_async({"limit": 2})).data]
    assert types == ["payment_intent.canceled", "charge.expired"]


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("pm_card_visa_chargeDeclinedVelocityLimitExceeded", "card_declined", "card_velocity_exceeded"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
        ("pm_card_chargeCustomerFail", "card_declined", "generic_decline"),
    ],
)
async def test_declining_test_cards_decline_with_their_documented_codes(
    psp: Sandbox, card: str, code: str, decline_code: str
) -> None:
    with pytest.raises(stripe.CardError) as rejected:
        await psp.hold(payment_method=card)
    error = rejected.value.error
    assert error is not None
    assert (rejected.value.http_status, rejected.value.code, error.decline_code) == (402, code, decline_code)
    intent = await psp.v1.payment_intents.retrieve_async(error.payment_intent.id)
    assert (intent.status, intent.last_payment_error.decline_code) == (
        "requires_payment_method",
        decline_code,
    )
    charge = await psp.v1.charges.retrieve_async(intent.latest_charge)
    assert (charge.status, charge.paid, charge.failure_code) == ("failed", False, code)
    retried = await psp.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert (retried.status, retried.last_payment_error) == ("requires_capture", None)


async def test_strong_authentication_is_requested_and_the_payment_continues_after_it(psp: Sandbox) -> None:
    asked = await psp.hold(
        payment_method="pm_card_authenticationRequired", return_url="https://app.example/return"
    )
    assert (asked.status, asked.next_action.type) == ("requires_action", "redirect_to_url")
    answer = await psp.control("POST", f"payment_intents/{asked.id}/authenticate", {"outcome": "succeed"})
    assert answer["status"] == "requires_capture"
    done = await psp.v1.payment_intents.capture_async(asked.id, {"expand": ["latest_charge"]})
    assert done.latest_charge.payment_method_details.card.three_d_secure.result == "authenticated"


async def test_failed_authentication_leaves_the_intent_without_a_method(psp: Sandbox) -> None:
    asked = await psp.hold(payment_method="pm_card_threeDSecure2Required")
    await psp.control("POST", f"payment_intents/{asked.id}/authenticate", {"outcome": "fail"})
    intent = await psp.v1.payment_intents.retrieve_async(asked.id)
    assert intent.status == "requires_payment_method"
    assert intent.last_payment_error.code == "payment_intent_authentication_failure"
    again = await psp.control("POST", f"payment_intents/{asked.id}/authenticate", {})
    assert again["error"]["code"] == "payment_intent_unexpected_state"


async def test_off_session_payment_is_rejected_where_the_card_must_authenticate(psp: Sandbox) -> None:
    with pytest.raises(stripe.CardError) as rejected:
        await psp.hold(payment_method="pm_card_authenticationRequired", off_session=True)
    assert rejected.value.code == "authentication_required"


async def test_a_card_set_up_with_authentication_pays_off_session_under_its_mandate(psp: Sandbox) -> None:
    customer = await psp.v1.customers.create_async({"email": "driver@example.com"})
    setup = await psp.v1.setup_intents.create_async(
        {
            "customer": customer.id,
            "payment_method": "pm_card_authenticationRequiredOnSetup",
            "confirm": True,
            "return_url": "https://app.test/back",
            "usage": "off_session",
        }
    )
    assert setup.status == "requires_action"
    done = await psp.control("POST", f"setup_intents/{setup.id}/authenticate", {})
    assert done["status"] == "succeeded"
    methods = await psp.v1.customers.payment_methods.list_async(customer.id)
    assert [method.id for method in methods.data] == [done["payment_method"]]
    terms = {"customer": customer.id, "payment_method": done["payment_method"], "off_session": True}
    paid = await psp.hold(**terms, mandate=done["mandate"])
    assert paid.status == "requires_capture"

    await psp.control("POST", f"mandates/{done['mandate']}/revoke")
    assert (await psp.v1.mandates.retrieve_async(done["mandate"])).status == "inactive"
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        await psp.hold(**terms, mandate=done["mandate"])
    assert rejected.value.code == "payment_intent_mandate_invalid"


async def test_setup_fails_for_a_declining_card_and_for_failed_authentication(psp: Sandbox) -> None:
    with pytest.raises(stripe.CardError) as rejected:
        await psp.v1.setup_intents.create_async(
            {**SET_UP_NOW, "payment_method": "pm_card_visa_chargeDeclined"}
        )
    assert rejected.value.error is not None
    assert rejected.value.error.setup_intent.status == "requires_payment_method"
    setup = await psp.v1.setup_intents.create_async(
        {**SET_UP_NOW, "payment_method": "pm_card_authenticationRequired"}
    )
    await psp.control("POST", f"setup_intents/{setup.id}/authenticate", {"outcome": "fail"})
    setup = await psp.v1.setup_intents.retrieve_async(setup.id, {"expand": ["latest_attempt"]})
    assert setup.last_setup_error.code == "setup_intent_authentication_failure"
    assert setup.latest_attempt.status == "failed"


async def test_an_unattached_method_pays_once_and_an_attached_one_only_for_its_customer(psp: Sandbox) -> None:
    method = await psp.v1.payment_methods.create_async({"type": "card", "card": {"token": "tok_visa"}})
    await psp.hold(payment_method=method.id)
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        await psp.hold(payment_method=method.id)
    customer = await psp.v1.customers.create_async({})
    kept = await psp.v1.payment_methods.attach_async("pm_card_mastercard", {"customer": customer.id})
    with pytest.raises(stripe.InvalidRequestError, match="Customer"):
        await psp.hold(payment_method=kept.id)
    for _ in range(2):
        held = await psp.hold(payment_method=kept.id, customer=customer.id)
        assert held.status == "requires_capture"
    await psp.v1.payment_methods.detach_async(kept.id)
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        await psp.v1.payment_methods.attach_async(kept.id, {"customer": customer.id})


async def test_a_declining_card_cannot_be_attached(psp: Sandbox) -> None:
    customer = await psp.v1.customers.create_async({})
    with pytest.raises(stripe.CardError):
        await psp.v1.payment_methods.attach_async("pm_card_visa_chargeDeclined", {"customer": customer.id})
    fails_later = await psp.v1.payment_methods.attach_async(
        "pm_card_chargeCustomerFail", {"customer": customer.id}
    )
    with pytest.raises(stripe.CardError):
        await psp.hold(payment_method=fails_later.id, customer=customer.id)


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "eur", "amount_too_small"),
        (49, "jpy", "amount_too_small"),
        (100_000_000, "eur", "amount_too_large"),
        (1005, "kwd", "invalid_charge_amount"),
        (1050, "isk", "invalid_charge_amount"),
        (0, "eur", "parameter_invalid_integer"),
    ],
)
async def test_amounts_the_provider_rejects_are_rejected(
    psp: Sandbox, amount: int, currency: str, code: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        await psp.hold(amount, currency=currency)
    assert rejected.value.code == code


@pytest.mark.parametrize(
    ("amount", "currency", "fee"),
    [(1000, "jpy", 15), (1000, "kwd", 270), (10_000, "isk", 200), (1000, "chf", 40), (1, "usd", 25)],
)
async def test_fee_is_whole_minor_units_of_the_currency(
    psp: Sandbox, amount: int, currency: str, fee: int
) -> None:
    held = await psp.hold(max(amount, 50), currency=currency)
    done = await psp.v1.payment_intents.capture_async(
        held.id, {"amount_to_capture": amount, "expand": ["latest_charge.balance_transaction"]}
    )
    assert done.latest_charge.balance_transaction.fee == fee


async def test_automatic_intent_is_captured_when_confirmed(psp: Sandbox) -> None:
    intent = await psp.v1.payment_intents.create_async({"amount": 700, "currency": "chf"})
    assert intent.status == "requires_payment_method"
    with pytest.raises(stripe.InvalidRequestError, match="missing a payment method"):
        await psp.v1.payment_intents.confirm_async(intent.id)
    intent = await psp.v1.payment_intents.update_async(intent.id, {"payment_method": "pm_card_visa"})
    assert intent.status == "requires_confirmation"
    intent = await psp.v1.payment_intents.confirm_async(intent.id, {"return_url": BACK})
    assert (intent.status, intent.amount_received) == ("succeeded", 700)


async def test_a_card_at_the_terminal_is_held_two_days_and_its_hold_can_grow(psp: Sandbox) -> None:
    intent = await psp.v1.payment_intents.create_async(
        {
            "amount": 3000,
            "currency": "eur",
            "capture_method": "manual",
            "allowed_payment_method_types": ["card_present"],
            "payment_method_options": {"card_present": {"request_incremental_authorization_support": True}},
        }
    )
    with pytest.raises(stripe.InvalidRequestError, match="terminal"):
        await psp.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    await psp.control(
        "POST", f"payment_intents/{intent.id}/present", {"payment_method": "pm_card_mastercard"}
    )
    raised = await psp.v1.payment_intents.increment_authorization_async(
        intent.id, {"amount": 6000, "expand": ["latest_charge"]}
    )
    details = raised.latest_charge.payment_method_details
    assert (details.type, details.card_present.brand) == ("card_present", "mastercard")
    assert details.card_present.incremental_authorization_supported
    assert details.card_present.capture_before == START + 2 * DAY
    done = await psp.v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 5500})
    assert (done.status, done.amount_received) == ("succeeded", 5500)


async def test_a_card_declined_at_the_terminal_can_be_followed_by_another(psp: Sandbox) -> None:
    intent = await psp.v1.payment_intents.create_async(
        {
            "amount": 3000,
            "currency": "eur",
            "capture_method": "manual",
            "allowed_payment_method_types": ["card_present"],
        }
    )
    rejected = await psp.control(
        "POST", f"payment_intents/{intent.id}/present", {"payment_method": "pm_card_visa_chargeDeclined"}
    )
    assert rejected["error"]["decline_code"] == "generic_decline"
    held = await psp.control("POST", f"payment_intents/{intent.id}/present")
    assert held["status"] == "requires_capture"
