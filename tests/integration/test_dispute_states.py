"""Disputes that are no plain chargeback: inquiries, prevented ones, appeals, after a refund."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.audit.system_audit import audit_system
from gateway.payments.psp.dispute_port import DisputeState, DisputeUpdate, RefundState, RefundUpdate
from gateway.payments.psp.failures import PspOutcomeUnknown
from tests.fakes.tasks import correction_job
from tests.integration.test_payments import System
from tests.integration.test_rare_payments import hear, refund, system, with_ledger

__all__ = ["system"]
GROSS = 1190
INQUIRY = DisputeUpdate(
    psp_dispute="du_1",
    state=DisputeState.INQUIRY,
    amount_minor=GROSS,
    withdrawn_minor=None,
    fee_minor=0,
    fee_currency="EUR",
    currency="EUR",
    reason="fraudulent",
    is_refundable=True,
)
OPENED = replace(
    INQUIRY, state=DisputeState.OPENED, withdrawn_minor=GROSS, fee_minor=2000, is_refundable=False
)
LOST = replace(OPENED, state=DisputeState.LOST)
WON = replace(OPENED, state=DisputeState.WON)


async def cleared(system: System) -> tuple[Any, Any]:
    """A session in the ledger, and the job that posts corrections."""
    service, clearing = await with_ledger(system)
    view = await system.authorize()
    await system.complete(view)
    await clearing.run_once()
    return view, correction_job(system.pool, system.clock, service.sessions)


async def prove(system: System) -> None:
    found = await audit_system(system.pool, clock=system.clock, psp=None)
    assert found.ok, found.all_findings


async def events(system: System) -> list[str]:
    rows = await system.rows("event")
    return [row["type"] for row in rows if row["type"].startswith("dispute") and row["party_id"] == "parking"]


async def state(system: System) -> tuple[str, int, int]:
    (dispute,) = await system.rows("dispute")
    (capture,) = await system.rows("capture")
    return dispute["state"], dispute["withdrawn_minor"], capture["disputed_minor"]


async def test_an_inquiry_moves_no_money_until_it_is_escalated(system: System) -> None:
    view, corrections = await cleared(system)
    await hear(system, view, INQUIRY, INQUIRY)
    assert await state(system) == ("inquiry", 0, 0)
    await corrections.run_once()
    await prove(system)
    await hear(system, view, OPENED, OPENED)
    assert await state(system) == ("opened", GROSS, GROSS)
    await corrections.run_once()
    await prove(system)
    assert await events(system) == ["dispute.inquiry", "dispute.opened"]


@pytest.mark.parametrize("refunded", [0, 500])
async def test_an_inquiry_that_ends_or_is_prevented_leaves_the_money_alone(
    system: System, refunded: int
) -> None:
    view, corrections = await cleared(system)
    await hear(system, view, INQUIRY)
    if refunded:
        await refund(system, view, refunded)
    await hear(system, view, replace(INQUIRY, state=DisputeState.CLOSED), INQUIRY)
    assert await state(system) == ("closed", 0, 0)
    await corrections.run_once()
    assert await events(system) == ["dispute.inquiry", "dispute.closed"]
    assert (await refund(system, view, None)).amount_minor == GROSS - refunded


async def test_a_lost_dispute_that_is_won_on_appeal_brings_the_money_back(system: System) -> None:
    view, corrections = await cleared(system)
    await hear(system, view, OPENED, LOST)
    await corrections.run_once()
    assert await state(system) == ("lost", GROSS, GROSS)
    await prove(system)
    await hear(system, view, OPENED)  # late and out of order: it stays lost
    assert await state(system) == ("lost", GROSS, GROSS)
    await hear(system, view, WON, WON, LOST)
    await corrections.run_once()
    assert await state(system) == ("won", GROSS, 0)
    await prove(system)


@pytest.mark.parametrize("fee", [0, 2000])
async def test_a_dispute_after_a_full_refund_costs_its_fee_at_most(system: System, fee: int) -> None:
    """As it was: a CHECK refused an amount of zero, and the task failed for eleven days."""
    view, corrections = await cleared(system)
    await refund(system, view, None)
    await corrections.run_once()
    nothing = replace(OPENED, amount_minor=0, withdrawn_minor=0, fee_minor=0)
    await hear(system, view, nothing, replace(nothing, fee_minor=fee))
    await corrections.run_once()
    assert await state(system) == ("opened", 0, 0)
    await prove(system)
    await hear(system, view, replace(nothing, fee_minor=fee, state=DisputeState.WON))
    await corrections.run_once()
    assert (await state(system))[0] == "won"
    assert await system.rows("task") == []
    await prove(system)


async def test_an_event_of_a_dispute_is_only_a_hint(system: System) -> None:
    """What is recorded is what the PSP answers; without an answer the event waits."""
    await cleared(system)
    assert await system.payments.psp_events.sync_dispute(psp_dispute="du_1") is not None
    (authorization,) = await system.rows("payment_authorization")
    system.psp.disputes["du_1"] = replace(OPENED, psp_payment=authorization["psp_payment"])
    assert await system.payments.psp_events.sync_dispute(psp_dispute="du_1") is None
    assert await state(system) == ("opened", GROSS, GROSS)
    system.psp.disputes["du_1"] = PspOutcomeUnknown(reason="timeout")  # type: ignore[assignment]
    waits = await system.payments.psp_events.sync_dispute(psp_dispute="du_1")
    assert waits is not None
    assert "timeout" in waits


@pytest.mark.parametrize(
    ("state", "is_ours", "recorded"),
    [
        (RefundState.PENDING, False, []),
        (RefundState.SUCCEEDED, True, []),
        (RefundState.FAILED, False, []),
        (RefundState.SUCCEEDED, False, [(190, "reversed_by_psp")]),
    ],
)
async def test_a_refund_made_at_the_psp_is_recorded_as_the_psp_answers(
    system: System, state: RefundState, *, is_ours: bool, recorded: list[tuple[int, str]]
) -> None:
    await cleared(system)
    sync = system.payments.psp_events.sync_refund
    assert "does not find" in (await sync(psp_refund="re_1") or "")
    (authorization,) = await system.rows("payment_authorization")
    system.psp.refunds["re_1"] = RefundUpdate(
        psp_refund="re_1",
        psp_payment=authorization["psp_payment"],
        state=state,
        is_ours=is_ours,
        amount_minor=190,
        currency="EUR",
    )
    for _ in range(2):
        assert await sync(psp_refund="re_1") is None
    assert [(row["amount_minor"], row["reason"]) for row in await system.rows("refund")] == recorded
