"""Refunds, disputes, transfers, top-ups, payouts: movements bounded, balances the sum of their records."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import stripe

from sandbox.stripe.settings import PspSettings
from tests.integration.sandbox_psp_client import START, Sandbox, sandbox

DAY = 86_400


@pytest.fixture
async def psp() -> AsyncIterator[Sandbox]:
    async with sandbox() as running:
        yield running


async def captured(psp: Sandbox, amount: int = 5000, **more: Any) -> Any:
    held = await psp.hold(amount, **more)
    return await psp.v1.payment_intents.capture_async(held.id, {"expand": ["latest_charge"]})


async def available(psp: Sandbox, currency: str = "eur", account: str | None = None) -> int:
    balance = await psp.v1.balance.retrieve_async(options={"stripe_account": account} if account else None)
    return next((row.amount for row in balance.available if row.currency == currency), 0)


async def connected(psp: Sandbox, **more: Any) -> Any:
    return await psp.v1.accounts.create_async({"country": "NL", "type": "custom"} | more)


async def test_several_refunds_never_exceed_what_was_captured(psp: Sandbox) -> None:
    held = await psp.hold(5000)
    await psp.v1.payment_intents.capture_async(held.id, {"amount_to_capture": 3000})
    await psp.v1.refunds.create_async({"payment_intent": held.id, "amount": 1000})
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        await psp.v1.refunds.create_async({"payment_intent": held.id, "amount": 2001})
    last = await psp.v1.refunds.create_async({"payment_intent": held.id, "reason": "requested_by_customer"})
    assert (last.amount, last.status) == (2000, "succeeded")
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        await psp.v1.refunds.create_async({"charge": last.charge})
    assert rejected.value.code == "charge_already_refunded"
    charge = await psp.v1.charges.retrieve_async(last.charge)
    assert (charge.refunded, charge.amount_refunded, len(charge.refunds.data)) == (True, 5000, 2)
    rows = (await psp.v1.balance_transactions.list_async({"type": "refund"})).data
    assert sorted(row.net for row in rows) == [-2000, -1000]


async def test_a_hold_that_was_not_captured_cannot_be_refunded(psp: Sandbox) -> None:
    held = await psp.hold()
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        await psp.v1.refunds.create_async({"payment_intent": held.id})


async def test_pending_refund_succeeds_later_and_failing_refund_returns_the_money(psp: Sandbox) -> None:
    slow = await captured(psp, payment_method="pm_card_pendingRefund")
    refund = await psp.v1.refunds.create_async({"payment_intent": slow.id})
    assert refund.status == "pending"
    fails = await captured(psp, payment_method="pm_card_refundFail")
    failing = await psp.v1.refunds.create_async({"payment_intent": fails.id})
    assert failing.status == "succeeded"
    await psp.advance(60)
    assert (await psp.v1.refunds.retrieve_async(refund.id)).status == "succeeded"
    failed = await psp.v1.refunds.retrieve_async(
        failing.id, {"expand": ["failure_balance_transaction", "charge"]}
    )
    assert (failed.status, failed.failure_balance_transaction.amount) == ("failed", 5000)
    assert (failed.charge.amount_refunded, failed.charge.refunded) == (0, False)


@pytest.mark.parametrize(("outcome", "returned"), [("won", 5000), ("lost", 0)])
async def test_dispute_withdraws_the_funds_and_only_a_won_one_returns_them(
    psp: Sandbox, outcome: str, returned: int
) -> None:
    paid = await captured(psp, payment_method="pm_card_createDispute")
    [dispute] = (await psp.v1.disputes.list_async({"payment_intent": paid.id})).data
    assert (dispute.amount, dispute.status, dispute.reason) == (5000, "needs_response", "fraudulent")
    assert [(row.amount, row.fee) for row in dispute.balance_transactions] == [(-5000, 2000)]
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        await psp.v1.refunds.create_async({"payment_intent": paid.id})
    assert rejected.value.code == "charge_disputed"
    evidence = {"uncategorized_text": "winning_evidence" if outcome == "won" else "losing_evidence"}
    closed = await psp.v1.disputes.update_async(dispute.id, {"evidence": evidence})
    assert closed.status == outcome
    assert sum(row.amount for row in closed.balance_transactions) == returned - 5000
    assert await available(psp) == returned - 5000 - 2000
    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        await psp.v1.disputes.close_async(dispute.id)


async def test_an_inquiry_moves_no_money(psp: Sandbox) -> None:
    paid = await captured(psp, payment_method="pm_card_createDisputeInquiry")
    [dispute] = (await psp.v1.disputes.list_async({"charge": paid.latest_charge.id})).data
    assert (dispute.status, dispute.balance_transactions) == ("warning_needs_response", [])
    closed = await psp.control("POST", f"disputes/{dispute.id}/close", {"outcome": "won"})
    assert closed["status"] == "warning_closed"
    assert await available(psp) == 0


async def test_transfer_beyond_the_available_balance_is_rejected(psp: Sandbox) -> None:
    account = await connected(psp)
    await captured(psp)  # pending for two days, so not yet available
    terms = {"currency": "eur", "destination": account.id}
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        await psp.v1.transfers.create_async({"amount": 1, **terms})
    assert rejected.value.code == "balance_insufficient"
    await psp.v1.topups.create_async({"amount": 800, "currency": "eur", "description": "float"})
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.transfers.create_async({"amount": 801, **terms})
    sent = await psp.v1.transfers.create_async({"amount": 800, "transfer_group": "g1", **terms})
    assert (await available(psp), await available(psp, account=account.id)) == (0, 800)
    found = await psp.v1.transfers.list_async({"transfer_group": "g1"})
    assert [row.id for row in found.data] == [sent.id]


async def test_captured_money_is_available_after_the_settlement_days(psp: Sandbox) -> None:
    paid = await captured(psp)
    charge = await psp.v1.charges.retrieve_async(paid.latest_charge.id, {"expand": ["balance_transaction"]})
    posted = charge.balance_transaction
    assert (posted.status, posted.available_on) == ("pending", START + 2 * DAY)
    assert await available(psp) == 0
    await psp.advance(2 * DAY)
    assert await available(psp) == 5000 - 100
    assert (await psp.v1.balance_transactions.retrieve_async(posted.id)).status == "available"


async def test_transfer_from_a_source_charge_needs_no_available_balance_but_stays_below_it(
    psp: Sandbox,
) -> None:
    account = await connected(psp)
    paid = await captured(psp, transfer_group="s1")
    terms = {"currency": "eur", "destination": account.id, "source_transaction": paid.latest_charge.id}
    first = await psp.v1.transfers.create_async({"amount": 4000, **terms})
    assert first.transfer_group == "s1"
    with pytest.raises(stripe.InvalidRequestError, match="must not exceed"):
        await psp.v1.transfers.create_async({"amount": 1001, **terms})
    assert await available(psp, account=account.id) == 0
    await psp.advance(2 * DAY)
    assert (await available(psp), await available(psp, account=account.id)) == (900, 4000)


async def test_transfer_to_an_unknown_or_incapable_account_is_rejected(psp: Sandbox) -> None:
    await psp.v1.topups.create_async({"amount": 100, "currency": "eur", "description": "float"})
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        await psp.v1.transfers.create_async({"amount": 1, "currency": "eur", "destination": "acct_nobody"})
    assert (unknown.value.code, unknown.value.param) == ("resource_missing", "destination")
    account = await connected(psp, capabilities={"transfers": {"requested": False}})
    with pytest.raises(stripe.InvalidRequestError) as incapable:
        await psp.v1.transfers.create_async({"amount": 1, "currency": "eur", "destination": account.id})
    assert incapable.value.code == "insufficient_capabilities_for_transfer"


async def test_transfer_reversals_return_at_most_what_was_sent_and_is_still_there(psp: Sandbox) -> None:
    account = await connected(psp, external_account=bank())
    await psp.v1.topups.create_async({"amount": 1000, "currency": "eur", "description": "float"})
    sent = await psp.v1.transfers.create_async(
        {
            "amount": 1000,
            "currency": "eur",
            "destination": account.id,
        }
    )
    back = await psp.v1.transfers.reversals.create_async(sent.id, {"amount": 300})
    assert (await psp.v1.transfers.retrieve_async(sent.id)).amount_reversed == 300
    with pytest.raises(stripe.InvalidRequestError, match="greater than unreversed"):
        await psp.v1.transfers.reversals.create_async(sent.id, {"amount": 701})
    await psp.v1.payouts.create_async({"amount": 700, "currency": "eur"}, {"stripe_account": account.id})
    with pytest.raises(stripe.InvalidRequestError) as empty:
        await psp.v1.transfers.reversals.create_async(sent.id)
    assert empty.value.code == "balance_insufficient"
    assert [row.id for row in (await psp.v1.transfers.reversals.list_async(sent.id)).data] == [back.id]


def bank(currency: str = "eur") -> dict[str, str]:
    number = "NL91ABNA0417164300"  # the example of the IBAN registry, owned by nobody
    return {"object": "bank_account", "country": "NL", "currency": currency, "account_number": number}


async def test_payout_of_a_connected_account_arrives_and_a_failed_one_comes_back(psp: Sandbox) -> None:
    account = await connected(psp, external_account=bank())
    mine = {"stripe_account": account.id}
    assert account.external_accounts.data[0].last4 == "4300"
    await psp.v1.topups.create_async({"amount": 900, "currency": "eur", "description": "float"})
    await psp.v1.transfers.create_async({"amount": 900, "currency": "eur", "destination": account.id})
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payouts.create_async({"amount": 901, "currency": "eur"}, mine)
    first = await psp.v1.payouts.create_async({"amount": 400, "currency": "eur"}, mine)
    assert (first.status, first.arrival_date) == ("pending", START + DAY)
    await psp.advance(DAY)
    assert (await psp.v1.payouts.retrieve_async(first.id, options=mine)).status == "paid"
    async with psp.http.post(
        f"{psp.psp.url}/_sandbox/payouts/{first.id}/fail",
        json={"failure_code": "account_closed"},
        headers={"Stripe-Account": account.id},
    ) as response:
        failed = await response.json()
    assert (failed["status"], failed["failure_code"]) == ("failed", "account_closed")
    assert await available(psp, account=account.id) == 900
    with pytest.raises(stripe.InvalidRequestError):
        await psp.v1.payouts.retrieve_async(first.id)  # the platform does not own it


async def test_payout_without_a_bank_account_in_the_currency_is_rejected(psp: Sandbox) -> None:
    account = await connected(psp, external_account=bank("chf"))
    with pytest.raises(stripe.InvalidRequestError, match="external accounts in that currency"):
        await psp.v1.payouts.create_async({"amount": 1, "currency": "eur"}, {"stripe_account": account.id})


async def test_canceled_payout_returns_to_the_balance(psp: Sandbox) -> None:
    await psp.v1.topups.create_async({"amount": 500, "currency": "chf", "description": "float"})
    payout = await psp.v1.payouts.create_async({"amount": 500, "currency": "chf"})
    assert await available(psp, "chf") == 0
    canceled = await psp.v1.payouts.cancel_async(payout.id)
    assert (canceled.status, await available(psp, "chf")) == ("canceled", 500)


async def test_summary_is_what_the_balance_transactions_sum_to() -> None:
    settings = PspSettings(seed=3, start_at=START, pull_webhooks=True, settlement_days=0)
    async with sandbox(settings) as psp:
        account = await connected(psp)
        for amount in (1000, 2000, 3001):
            paid = await captured(psp, amount)
        await psp.v1.refunds.create_async({"payment_intent": paid.id, "amount": 501})
        await psp.v1.topups.create_async({"amount": 700, "currency": "gbp", "description": "float"})
        await captured(psp, 9000, currency="gbp", payment_method="pm_card_createDispute")
        sent = await psp.v1.transfers.create_async(
            {
                "amount": 2500,
                "currency": "eur",
                "destination": account.id,
            }
        )
        await psp.v1.transfers.reversals.create_async(sent.id, {"amount": 500})
        summary = (await psp.control("GET", "summary"))["currencies"]
        rows = [
            row
            async for row in (await psp.v1.balance_transactions.list_async({"limit": 3})).auto_paging_iter()
        ]
    for currency, totals in summary.items():
        mine = [row for row in rows if row.currency == currency]
        assert totals["balance"] == sum(row.net for row in mine)
        assert totals["fees"] == sum(row.fee for row in mine)
        assert totals["captured"] == sum(row.amount for row in mine if row.type == "charge")
        moved = totals["captured"] + totals["topped_up"] - totals["refunded"] - totals["transferred"]
        assert totals["balance"] == moved - totals["disputed"] - totals["paid_out"] - totals["fees"]
    assert summary["eur"]["captured"] == 6001
    assert (summary["eur"]["refunded"], summary["eur"]["transferred"]) == (501, 2000)
    assert (summary["gbp"]["topped_up"], summary["gbp"]["disputed"]) == (700, 9000)
