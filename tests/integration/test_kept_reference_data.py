"""Reference data that a process keeps: read again where it changes, also while it is read."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from clearing.documents.driver_document_service import DriverDocumentSources
from clearing.parties import repository as party_repository
from clearing.parties.party import Party
from clearing.reference_data.service import ReferenceDataCache, ReferenceDataService
from gateway.database import Connection, Pool, transaction
from tests.fakes import clearing_fixtures as world

NOW = world.SALE_AT + timedelta(hours=1)
CPO = world.NL_CPO
RENAMED = replace(
    CPO,
    name="Renamed NV",
    vat_id="NL123456782B90",
    vat_evidence=(*CPO.vat_evidence, world.evidence("NL123456782B90", since=date(2026, 1, 1))),
)


async def register(pool: Pool, party: Party) -> None:
    async with transaction(pool) as connection:
        await ReferenceDataService().register_party(connection, party, now=NOW)


@pytest.mark.parametrize("reader", ["documents", "clearing"])
async def test_a_party_that_changes_while_all_are_read_is_read_again(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    """Its rows are read by several statements: the name of one state with the VAT ids of another are none."""
    await register(pool, CPO)
    read = (
        DriverDocumentSources().standing.load_parties if reader == "documents" else ReferenceDataCache().load
    )
    load_parties, rounds = party_repository.load_parties, []

    async def changed_meanwhile(connection: Connection) -> dict[str, Party]:
        found = await load_parties(connection)
        if not rounds:
            await register(pool, RENAMED)
            found[CPO.id] = replace(found[CPO.id], name=RENAMED.name)
        rounds.append(found)
        return found

    monkeypatch.setattr(party_repository, "load_parties", changed_meanwhile)
    async with asyncio.timeout(10), pool.acquire() as connection:
        found: Any = await read(connection)
        seller = getattr(found, "parties", found)[CPO.id]
        assert (seller.name, seller.vat_id) == (RENAMED.name, RENAMED.vat_id)
        assert seller.vat_evidence[-1].vat_id == RENAMED.vat_id
        assert await read(connection) is found  # once more is asked for the epoch alone
    assert len(rounds) == 2
