"""Every object has the keys of the provider's published fixtures, with values of the same kind."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sandbox_psp_client import Sandbox, sandbox

FOLDER = os.environ.get("STRIPE_FIXTURES_DIR")
pytestmark = pytest.mark.skipif(
    FOLDER is None, reason="STRIPE_FIXTURES_DIR does not name the provider's fixtures"
)

# Keys of one variant of a union, or of an object that the platform never has.
VARIANTS = {
    "topup.source",
    "event.data.object",
}


def differences(published: Any, ours: Any, path: str) -> list[str]:
    """What `ours` lacks of `published`, or has of another kind; null stands for anything on either side."""
    if path in VARIANTS or published is None or ours is None:
        return []
    if isinstance(published, dict):
        if not isinstance(ours, dict):
            return [f"{path}: {type(ours).__name__} instead of an object"]
        if ours.get("type") != published.get("type") and "type" in published and "object" not in published:
            return []  # another variant of a union
        found = (
            []
            if path.endswith("metadata")
            else [
                f"{path}.{key}: missing"
                for key in published
                if key not in ours and f"{path}.{key}" not in VARIANTS
            ]
        )
        for key in published.keys() & ours.keys():
            found += differences(published[key], ours[key], f"{path}.{key}")
        return found
    if isinstance(published, list):
        return [] if isinstance(ours, list) else [f"{path}: {type(ours).__name__} instead of a list"]
    if type(published) is not type(ours):
        return [f"{path}: {type(ours).__name__} instead of {type(published).__name__}"]
    return []


async def everything(psp: Sandbox) -> dict[str, Any]:
    """One object of each kind, as the sandbox answers it over the wire."""
    v1 = psp.v1
    customer = await v1.customers.create_async({"address": {"city": "Bern"}})
    setup = await v1.setup_intents.create_async(
        {"customer": customer.id, "payment_method": "pm_card_visa", "confirm": True}
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
    account = await v1.accounts.create_async({"country": "NL", "external_account": bank})
    topup = await v1.topups.create_async({"amount": 20_000, "currency": "eur", "description": "x"})
    transfer = await v1.transfers.create_async({"amount": 200, "currency": "eur", "destination": account.id})
    endpoint = {"url": "http://receiver.test/", "enabled_events": ["*"]}
    return {
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


async def test_objects_have_the_published_keys_and_kinds() -> None:
    published = json.loads((Path(FOLDER or "") / "fixtures3.json").read_text())["resources"]
    async with sandbox() as psp:
        ours = {kind: body.to_dict() for kind, body in (await everything(psp)).items()}
    found = [line for kind, body in ours.items() for line in differences(published[kind], body, kind)]
    assert found == []
    assert all(body["object"] == kind for kind, body in ours.items())
