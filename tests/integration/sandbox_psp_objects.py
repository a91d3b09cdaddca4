"""One object of each kind that the sandbox PSP makes, as it answers them over the wire."""

from typing import Any

from tests.integration.sandbox_psp_client import Sandbox


def checkout(**changes: Any) -> dict[str, Any]:
    """The parameters of a Checkout Session that holds 50 euros."""
    price = {"currency": "eur", "unit_amount": 5000, "product_data": {"name": "Charging"}}
    return {
        "mode": "payment",
        "success_url": "https://shop.test/paid",
        "cancel_url": "https://shop.test/left",
        "line_items": [{"price_data": price, "quantity": 1}],
        "payment_intent_data": {"capture_method": "manual", "metadata": {"session": "ses_1"}},
        "custom_text": {"submit": {"message": "Held, not paid."}},
    } | changes


async def everything(psp: Sandbox) -> dict[str, Any]:
    """One object of each kind, as the sandbox answers it over the wire."""
    v1 = psp.v1
    customer = await v1.customers.create_async({"address": {"city": "Bern"}})
    setup = await v1.setup_intents.create_async(
        {
            "customer": customer.id,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "return_url": "https://app.test/back",
        }
    )
    held = await psp.hold(payment_method="pm_card_createDispute")
    captured = await v1.payment_intents.capture_async(held.id, {"expand": ["latest_charge"]})
    plain = await v1.payment_intents.capture_async((await psp.hold()).id)
    bank = {
        "object": "bank_account",
        "country": "NL",
        "currency": "eur",
        "account_number": "NL91ABNA0417164300",
    }
    account = await v1.accounts.create_async({"type": "custom", "country": "NL", "external_account": bank})
    topup = await v1.topups.create_async({"amount": 20_000, "currency": "eur", "description": "x"})
    transfer = await v1.transfers.create_async({"amount": 200, "currency": "eur", "destination": account.id})
    endpoint = {"url": "http://receiver.test/", "enabled_events": ["*"]}
    return {
        "checkout.session": await v1.checkout.sessions.create_async(checkout()),
        "customer": customer,
        "setup_intent": setup,
        "setup_attempt": (await v1.setup_attempts.list_async({"setup_intent": setup.id})).data[0],
        "mandate": await v1.mandates.retrieve_async(setup.mandate),
        "payment_method": await v1.payment_methods.retrieve_async(setup.payment_method),
        "payment_intent": held,
        "charge": captured.latest_charge,
        "dispute": (await v1.disputes.list_async()).data[0],
        "refund": await v1.refunds.create_async({"payment_intent": plain.id, "amount": 100}),
        "account": account,
        "account_link": await v1.account_links.create_async(
            {
                "account": account.id,
                "type": "account_onboarding",
                "return_url": "https://app.test/back",
                "refresh_url": "https://app.test/again",
            }
        ),
        "topup": topup,
        "transfer": transfer,
        "transfer_reversal": await v1.transfers.reversals.create_async(transfer.id, {"amount": 50}),
        "payout": await v1.payouts.create_async(
            {"amount": 50, "currency": "eur"}, {"stripe_account": account.id}
        ),
        "balance": await v1.balance.retrieve_async(),
        "balance_transaction": (await v1.balance_transactions.list_async()).data[0],
        "event": (await v1.events.list_async()).data[0],
        "webhook_endpoint": await v1.webhook_endpoints.create_async(endpoint),
    }
