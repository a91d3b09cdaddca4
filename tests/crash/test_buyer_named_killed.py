"""A process that dies while a driver names a company after clearing: the next click ends it, once."""

from contextlib import suppress
from dataclasses import replace
from typing import Any, cast
from uuid import uuid4

import pytest

from clearing.audit import audit_ledger
from gateway.database import Pool, transaction
from gateway.ids import parse_id
from gateway.jobs.driver_documents import DriverDocumentJob
from tests.fakes.api import Api
from tests.fakes.dying_pool import Died, DyingPool
from tests.integration import test_api_disbursements as settlement
from tests.integration.test_buyer_pages import FIELDS, issue, link, own, submit
from tests.integration.test_buyers import buyer

api = settlement.api  # the fixture: parties, an agreement, a server
pytestmark = [pytest.mark.postgres, pytest.mark.slow]
NAMING, ISSUING = 4, 24  # more connections than each takes: the last runs die nowhere


async def audited(api: Api) -> None:
    async with transaction(api.services.pool, isolation="repeatable_read") as connection:
        report = await audit_ledger(connection, now=api.clock.now())
    assert report.ok, (report.findings, report.proof)


@pytest.mark.parametrize("in_hand", [False, True], ids=["between connections", "in a transaction"])
async def test_a_company_named_by_a_process_that_died_anywhere_is_named_once(
    api: Api, *, in_hand: bool
) -> None:
    session = await settlement.settle(api)
    await issue(api)
    token = (await link(api, session)).split("/")[-2]
    identified = replace(buyer("DE", vat_evidence=()), id=f"buyer_{uuid4().hex}")
    finished = 0
    for gives in range(NAMING):
        dying = DyingPool(api.services.pool, gives=gives, in_hand=in_hand)
        service = replace(api.services.buyers, pool=cast("Pool", dying))
        with suppress(Died):
            await service.name_by_link(parse_id("ses", session), identified, token=token)
        finished += not dying.died
    assert finished
    await issue(api)
    assert len(await own(api, session)) == 1
    assert await api.services.pool.fetchval("SELECT count(*) FROM gateway.buyer") == 1
    assert await api.services.pool.fetchval("SELECT count(*) FROM gateway.invoice_link") == 1
    await audited(api)


@pytest.mark.parametrize("in_hand", [False, True], ids=["between connections", "in a transaction"])
async def test_its_documents_issued_by_processes_that_died_anywhere_are_issued_once(
    api: Api, *, in_hand: bool
) -> None:
    session = await settlement.settle(api)
    await issue(api)
    assert (await submit(api, await link(api, session), FIELDS)).status == 200
    finished = 0
    for gives in range(ISSUING):
        dying = DyingPool(api.services.pool, gives=gives, in_hand=in_hand)
        with suppress(Died):
            await DriverDocumentJob(pool=cast("Pool", dying), clock=api.clock).run_once()
        finished += not dying.died
    assert finished
    await issue(api)
    shown: list[dict[str, Any]] = (await api.call("GET", f"/v1/sessions/{session}/receipt")).json["documents"]
    assert len(await own(api, session)) == 1
    assert len({one["number"] for one in shown}) == len(shown) == 3, (
        shown
    )  # the driver's, its end, the company's
    await audited(api)
