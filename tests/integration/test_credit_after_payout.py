"""A credit CDR of a session that was paid out: its refund, its entries, its documents, what parties owe."""

import json
from datetime import timedelta
from typing import Any

import pytest

from clearing.audit import audit_ledger
from clearing.documents import driver_document_service
from clearing.documents.invoice import DocumentType
from gateway.database import transaction
from gateway.ids import parse_id
from gateway.jobs.clearing import ClearingJob
from gateway.jobs.credit_cdrs import CreditCdrJob
from gateway.jobs.disbursements import DisbursementJob, PspRail
from gateway.jobs.driver_documents import DriverDocumentJob
from gateway.ocpi.cdr_settlement import CdrSettlementService
from gateway.ocpi.credit_cdrs import CreditCdrService
from gateway.ocpi.repository import cdrs
from gateway.ocpi.repository.cdrs import NewCdr
from tests.fakes.api import Api, cdr
from tests.fakes.tasks import correction_job
from tests.integration import test_api_disbursements as settlement

api = settlement.api  # the fixture: parties, an agreement, a server
PRICE = 1190  # 20 kWh at 0.50 and 19 % VAT


async def push(api: Api, session: str, **changes: Any) -> None:
    """A CDR as the OCPI edge keeps it."""
    tree = (
        json.loads(cdr()) | {"authorization_reference": session, "total_cost": {"excl_vat": 10.0}} | changes
    )
    raw = json.dumps(tree).encode()
    new = NewCdr(
        cpo_id="DE-ABC",
        cdr_id=tree["id"],
        version=cdrs.OcpiVersion.V2_2_1,
        raw=raw,
        fingerprint=raw[:32].ljust(32),
        session_ref=None,
        authorization_reference=session,
        currency="EUR",
        ended_at=api.clock.at,
        credit=bool(tree.get("credit")),
        credit_reference_id=tree.get("credit_reference_id"),
        last_updated=api.clock.at,
    )
    async with transaction(api.services.pool) as connection:
        await cdrs.add_cdr(connection, new, now=api.clock.at, wall_now=api.clock.at)


async def paid_out(api: Api, **changes: Any) -> str:
    """A session that its operator's CDR ended: captured, cleared, documented, and paid out to everybody."""
    services = api.services
    session = str((await api.authorize(key="a1")).json["session"])
    api.clock.at += timedelta(hours=1)
    await push(api, session, **changes)
    settle = CdrSettlementService(
        pool=services.pool, clock=api.clock, payments=services.payments, environment="sandbox"
    )
    assert await settle.settle(cpo_id="DE-ABC", cdr_id="C1") is None
    api.clock.pass_wall(5)
    clearing = services.clearing
    job = ClearingJob(pool=services.pool, clock=api.clock, sessions=clearing.sessions, batch_size=10, chain=0)
    assert await job.run_once() == 1
    await documents(api, session)
    api.clock.at += timedelta(days=7)
    assert await pay(api) == 2
    return session


async def pay(api: Api) -> int:
    job = DisbursementJob(
        pool=api.services.pool, clock=api.clock, clearing=api.services.clearing, rail=PspRail(psp=api.psp)
    )
    return await job.run()


async def documents(api: Api, session: str) -> dict[DocumentType, int]:
    """The driver's documents by type, with their totals in minor units."""
    job = DriverDocumentJob(pool=api.services.pool, clock=api.clock)
    while await job.run_once():
        pass
    async with api.services.pool.acquire() as connection:
        found = await driver_document_service.list_by_session(connection, parse_id("ses", session))
    return {one.document.type: one.document.supply.net_minor + one.document.supply.vat_minor for one in found}


async def book(api: Api) -> None:
    """The worker's tasks about corrections."""
    api.clock.pass_wall(5)
    job = correction_job(api.services.pool, api.clock, api.services.clearing.sessions)
    while await job.run_once():
        pass


async def look_at_credits(api: Api) -> list[tuple[str, str | None]]:
    """A day passes and credit CDRs are looked at; what became of each."""
    api.clock.at += timedelta(hours=25)
    service = CreditCdrService(pool=api.services.pool, clock=api.clock, payments=api.services.payments)
    await CreditCdrJob(clock=api.clock, credits=service).run_once()
    rows = await api.services.pool.fetch(
        "SELECT credit_state, reason FROM gateway.ocpi_cdr WHERE credit ORDER BY cdr_id"
    )
    return [(row["credit_state"], row["reason"]) for row in rows]


async def test_a_session_that_was_paid_out_is_taken_back_whole(api: Api) -> None:
    session = await paid_out(api)
    await push(api, session, id="C1-C", credit=True, credit_reference_id="C1", total_cost={"excl_vat": -10.0})
    assert await look_at_credits(api) == [("applied", None)]
    await book(api)
    shown = (await api.call("GET", f"/v1/sessions/{session}")).json
    assert (shown["capture"]["refunded"], shown["price"]["incl_vat"]) == (PRICE, 0)
    assert "credited" in shown["flags"]
    assert await documents(api, session) == {DocumentType.INVOICE: PRICE, DocumentType.CREDIT_NOTE: -PRICE}
    owed = await api.services.pool.fetch(
        "SELECT party_id, sum(amount_minor)::bigint AS minor, sum(amount_minor) FILTER "
        "(WHERE disbursement_id IS NULL)::bigint AS open FROM clearing.payable GROUP BY party_id ORDER BY 1"
    )
    assert [(row["minor"], row["open"] < 0) for row in owed] == [(0, True), (0, True)]
    assert await pay(api) == 0  # what a party owes is carried forward, never paid
    assert (await audit_ledger(api.services.pool, now=api.clock.at)).ok


async def test_a_second_credit_of_a_session_that_was_paid_out_moves_nothing(api: Api) -> None:
    session = await paid_out(api)
    for name in ("C1-C", "C1-D"):
        await push(
            api, session, id=name, credit=True, credit_reference_id="C1", total_cost={"excl_vat": -10.0}
        )
    found = await look_at_credits(api)
    await book(api)
    assert [(state, str(reason).partition(":")[0]) for state, reason in found] == [
        ("applied", "None"),
        ("applied", "credited_twice"),
    ]
    shown = (await api.call("GET", f"/v1/sessions/{session}")).json
    assert shown["capture"]["refunded"] == PRICE


@pytest.mark.parametrize("total", [{"excl_vat": 10.0}, None])  # without one the tariff's price counts
async def test_a_partial_credit_of_a_session_that_was_paid_out_waits_and_moves_nothing(
    api: Api, total: dict[str, float] | None
) -> None:
    session = await paid_out(api, total_cost=total)
    await push(api, session, id="C1-C", credit=True, credit_reference_id="C1", total_cost={"excl_vat": -4.0})
    ((state, reason),) = await look_at_credits(api)
    assert (state, str(reason).partition(":")[0]) == ("exception", "partial_credit")
    assert await documents(api, session) == {DocumentType.INVOICE: PRICE}
    # A person turns it into a refund of that part, with the documents of any refund.
    refund = {"session": session, "amount": 476, "reason": "requested_by_driver"}
    made = await api.call("POST", "/v1/refunds", refund, key="r1")
    assert made.status == 201, made.text
    await book(api)
    assert await documents(api, session) == {DocumentType.INVOICE: PRICE, DocumentType.CREDIT_NOTE: -476}
