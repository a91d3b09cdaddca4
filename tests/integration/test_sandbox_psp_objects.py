"""Every object of the sandbox has what the SDK's types of the pinned version require, with valid values."""

from contextlib import suppress

import stripe

from tests.integration.sandbox_psp_client import Sandbox, sandbox
from tests.integration.sandbox_psp_objects import everything
from tests.stripe_types import object_problems

RESOURCES = {
    resource.OBJECT_NAME: resource
    for resource in (
        stripe.Account,
        stripe.AccountLink,
        stripe.Balance,
        stripe.BalanceTransaction,
        stripe.Charge,
        stripe.Customer,
        stripe.Dispute,
        stripe.Event,
        stripe.Mandate,
        stripe.PaymentIntent,
        stripe.PaymentMethod,
        stripe.Payout,
        stripe.Refund,
        stripe.TransferReversal,
        stripe.SetupAttempt,
        stripe.SetupIntent,
        stripe.Topup,
        stripe.Transfer,
        stripe.WebhookEndpoint,
        stripe.checkout.Session,
    )
}
OF_EVENTS = RESOURCES | {stripe.Capability.OBJECT_NAME: stripe.Capability}  # some are read of events alone


async def every_state(psp: Sandbox) -> None:
    """Objects in the states beside the usual ones: refused, waiting, at a terminal, failed later, ended."""
    v1 = psp.v1
    onboarded = await v1.accounts.create_async(
        {
            "country": "NL",
            "controller": {
                "fees": {"payer": "application"},
                "losses": {"payments": "application"},
                "requirement_collection": "stripe",
                "stripe_dashboard": {"type": "express"},
            },
            "capabilities": {"transfers": {"requested": True}},
        }
    )
    await psp.control("POST", f"accounts/{onboarded.id}/complete", {})
    await psp.control("POST", f"accounts/{onboarded.id}/restrict", {"disabled_reason": "under_review"})
    at_terminal = {"amount": 900, "currency": "eur", "capture_method": "manual"}
    intent = await v1.payment_intents.create_async(
        {
            **at_terminal,
            "allowed_payment_method_types": ["card_present"],
            "payment_method_options": {"card_present": {"request_incremental_authorization_support": True}},
        }
    )
    await psp.control("POST", f"payment_intents/{intent.id}/present", {})
    for method in ("pm_card_visa_chargeDeclined", "pm_card_authenticationRequired"):
        with suppress(stripe.CardError):
            await psp.hold(payment_method=method)
        with suppress(stripe.CardError):
            await v1.setup_intents.create_async(
                {"payment_method": method, "confirm": True, "return_url": "https://app.test/back"}
            )
    options = {"card": {"request_overcapture": "if_available", "request_multicapture": "if_available"}}
    held = await psp.hold(payment_method="pm_card_refundFail", payment_method_options=options)
    await v1.payment_intents.capture_async(held.id)
    await v1.refunds.create_async({"payment_intent": held.id})
    await v1.payment_intents.cancel_async((await psp.hold(5000)).id)
    inquired = await psp.hold(payment_method="pm_card_createDisputeInquiry")
    await v1.payment_intents.capture_async(inquired.id)
    for dispute in (await v1.disputes.list_async()).data:
        await v1.disputes.update_async(dispute.id, {"evidence": {"uncategorized_text": "x"}, "submit": True})
        await psp.control("POST", f"disputes/{dispute.id}/close", {"outcome": "won"})
    await psp.advance(8 * 86_400)
    await v1.balance.retrieve_async()


async def stored(psp: Sandbox) -> list[dict[str, object]]:
    """Each object that the engine holds, as it answers it, and the object of each event."""
    found = []
    for kind in RESOURCES:
        for account in ("acct_platform", *(one.id for one in (await psp.v1.accounts.list_async()).data)):
            found += list(psp.engine.state.records.scan(kind, account))
    events = [body["data"]["object"] for body in found if body["object"] == "event"]
    shown = [{key: value for key, value in body.items() if key[0] != "_"} for body in found + events]
    return [body for body in shown if not body.get("deleted")]


async def test_objects_are_those_of_the_sdks_types() -> None:
    async with sandbox() as psp:
        answered = [body.to_dict() for body in (await everything(psp)).values()]
        await every_state(psp)
        bodies = [*answered, *(await stored(psp))]
    assert {body["object"] for body in answered} == RESOURCES.keys()
    found = {
        line
        for body in bodies
        if body["object"] in OF_EVENTS
        for line in object_problems(body, OF_EVENTS[str(body["object"])], str(body["object"]))
    }
    assert sorted(found) == []


async def test_every_kind_of_object_that_an_event_carries_is_compared() -> None:
    async with sandbox() as psp:
        await everything(psp)
        await every_state(psp)
        accounts = ("acct_platform", *(one.id for one in (await psp.v1.accounts.list_async()).data))
        kinds = {
            body["data"]["object"]["object"]
            for account in accounts
            for body in psp.engine.state.records.scan("event", account)
        }
    assert "capability" in kinds
    assert kinds <= OF_EVENTS.keys()
