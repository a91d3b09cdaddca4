"""Drivers' documents of a chain with several batches: each once, in order, from the data of their time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest

from clearing.documents import driver_document_service
from clearing.documents.driver_document_service import DriverDocumentSources
from clearing.parties import repository as party_repository
from clearing.parties.agreement import LegalModel
from clearing.parties.party import Party
from clearing.reference_data.service import ReferenceDataCache
from clearing.services import ClearingServices, build_clearing
from gateway.database import Connection, Pool, transaction
from tests.fakes import clearing_fixtures as world

NOW = world.SALE_AT + timedelta(hours=1)
SELLER = replace(world.NL_CPO, vat_id="NL004495445B01", vat_evidence=(world.evidence("NL004495445B01"),))
RENAMED = replace(
    SELLER,
    name="Renamed NV",
    vat_id="NL123456782B90",
    vat_evidence=(*SELLER.vat_evidence, world.evidence("NL123456782B90", since=date(2026, 1, 1))),
)
READERS = (DriverDocumentSources().standing.load_parties, ReferenceDataCache().load)


@pytest.fixture
async def service(pool: Pool) -> ClearingServices:
    opened = build_clearing()
    async with transaction(pool) as connection:
        await opened.reference_data.import_bundled_rates(connection, now=NOW)
        for party in (*world.PARTIES.values(), SELLER):
            await opened.reference_data.register_party(connection, party, now=NOW)
        agent = world.agreement(world.NL_CPO, legal_model=LegalModel.DISCLOSED_AGENT)
        await opened.reference_data.put_agreement(connection, agent, now=NOW)
    return opened


async def clear(pool: Pool, service: ClearingServices, number: int) -> None:
    async with transaction(pool) as connection:
        batch = await service.sessions.clear_batch(
            connection, [world.session(number)], now=NOW, batch_id=uuid4(), chain=0
        )
    assert not batch.uncleared, batch.uncleared


async def rename(pool: Pool, service: ClearingServices, party: Party) -> None:
    async with transaction(pool) as connection:
        await service.reference_data.register_party(connection, party, now=NOW)


async def issue_all(connection: Connection, sources: DriverDocumentSources) -> list[int]:
    found = []
    while (
        issued := await driver_document_service.issue_next(connection, chain=0, now=NOW, sources=sources)
    ) is not None:
        found.append(issued)
    return found


async def names(connection: Connection, numbers: Sequence[int]) -> list[str]:
    return [
        one.document.name
        for number in numbers
        for one in await driver_document_service.list_by_session(connection, world.session_id(number))
    ]


async def test_a_vacant_position_of_a_chain_is_never_passed_over(
    pool: Pool, service: ClearingServices
) -> None:
    for number in (1, 2, 3):
        await clear(pool, service, number)
    sources = DriverDocumentSources()
    async with pool.acquire() as connection:
        await connection.execute("UPDATE clearing.batch SET position = position + 1 WHERE position = 3")
        assert await issue_all(connection, sources) == [2]
        await connection.execute("UPDATE clearing.batch SET position = position - 1 WHERE position = 4")
        assert await issue_all(connection, sources) == [1]
        assert await names(connection, (1, 2, 3)) == [f"DI-NL-ABC-00000000{number}" for number in (1, 2, 3)]


async def test_batches_whose_documents_were_rolled_back_get_the_same_ones_once(
    pool: Pool, service: ClearingServices
) -> None:
    await clear(pool, service, 1)
    await clear(pool, service, 2)
    async with transaction(pool) as connection:
        await service.sessions.refund(connection, world.session_id(1), minor=200, reference="re_1", now=NOW)
    await clear(pool, service, 3)
    sources = DriverDocumentSources()
    expected = ["DI-NL-ABC-000000001", "DC-NL-ABC-000000001", "DI-NL-ABC-000000002", "DI-NL-ABC-000000003"]
    async with pool.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        assert await issue_all(connection, sources) == [2, 1, 1]
        assert await names(connection, (1, 2, 3)) == expected
        await undone.rollback()
        assert await issue_all(connection, sources) == [2, 1, 1]
        assert await names(connection, (1, 2, 3)) == expected
        assert await issue_all(connection, sources) == []
        assert await connection.fetchval("SELECT count(*) FROM clearing.driver_document") == 4


async def test_a_seller_renamed_between_two_rounds_is_shown_by_the_later_documents(
    pool: Pool, service: ClearingServices
) -> None:
    sources = DriverDocumentSources()
    await clear(pool, service, 1)
    async with pool.acquire() as connection:
        await issue_all(connection, sources)
        await clear(pool, service, 2)
        async with transaction(pool) as other:
            await service.sessions.refund(other, world.session_id(1), minor=200, reference="re_1", now=NOW)
        await rename(pool, service, RENAMED)
        assert await issue_all(connection, sources) == [1, 1]
        found = [
            (one.document.name, one.document.seller.name, one.document.seller.vat_id)
            for number in (1, 2)
            for one in await driver_document_service.list_by_session(connection, world.session_id(number))
        ]
    old, new = (SELLER.name, SELLER.vat_id), (RENAMED.name, RENAMED.vat_id)
    assert found == [
        ("DI-NL-ABC-000000001", *old),
        ("DC-NL-ABC-000000001", *old),  # a correction is by the seller of what it corrects
        ("DI-NL-ABC-000000002", *new),
    ]


@pytest.mark.parametrize("reader", READERS, ids=("documents", "clearing"))
async def test_a_party_that_changes_while_all_are_read_is_read_again(
    pool: Pool, service: ClearingServices, monkeypatch: pytest.MonkeyPatch, reader: Any
) -> None:
    """Its rows are read by several statements: the name of one state with the VAT ids of another are none."""
    load_parties, rounds = party_repository.load_parties, []

    async def changed_meanwhile(connection: Connection) -> dict[str, Party]:
        found = await load_parties(connection)
        if not rounds:
            await rename(pool, service, RENAMED)
            found[SELLER.id] = replace(found[SELLER.id], name=RENAMED.name)
        rounds.append(found)
        return found

    monkeypatch.setattr(party_repository, "load_parties", changed_meanwhile)
    async with asyncio.timeout(10), pool.acquire() as connection:
        found = await reader(connection)
    seller = getattr(found, "parties", found)[SELLER.id]
    assert (seller.name, seller.vat_id) == (RENAMED.name, RENAMED.vat_id)
    assert seller.vat_evidence[-1].vat_id == RENAMED.vat_id
