"""After a restore nobody is paid twice: no payment file is sent again, payees of lost payments are held."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from clearing.errors import UnreadableMessageError
from clearing.iso20022.sent_pain001 import read_sent_file
from gateway.database import Pool, transaction
from gateway.ids import new_id
from gateway.ocpi.repository import pulls
from gateway.payments.psp.movement_port import PspMovement
from gateway.payouts import connected_account_repository
from gateway.recovery.restored_payouts import RestoredPayouts
from tests.fakes.api import Hands
from tests.fakes.parties import add_parties
from tests.integration.test_bank_files import DUTCH, THURSDAY, outbox_job, system
from tests.integration.test_disbursements import NOW, System

__all__ = ["system"]  # a fixture
PEER = UUID(int=7)


def restored(system: System, *, at: datetime = THURSDAY) -> RestoredPayouts:
    return RestoredPayouts(pool=system.pool, clock=Hands(at=at), clearing=system.service)


async def holds(system: System) -> dict[str, str]:
    async with system.pool.acquire() as connection:
        rows = await connection.fetch(
            "SELECT party_id, reason FROM clearing.payout_hold WHERE lifted_at IS NULL"
        )
    return {row["party_id"]: row["reason"] for row in rows}


def transfer(identifier: str, *, account: str = "acct_nl", name: str | None = None) -> PspMovement:
    return PspMovement(
        id=f"txn_{identifier}",
        kind="transfer",
        source=identifier,
        amount_minor=-500,
        currency="EUR",
        created_at=NOW,
        psp_account=account,
        end_to_end_id=name,
    )


async def test_a_transfer_that_no_book_has_holds_its_payee_once(system: System) -> None:
    async with transaction(system.pool) as connection:
        await connected_account_repository.add_account(
            connection, party_id="NL-ABC", account_id=new_id(), psp_account="acct_nl", now=NOW
        )
    step = await restored(system).hold_for_transfers([transfer("tr_1")])
    held = "payouts of NL-ABC are held; resolve its difference, then lift the hold"
    assert list(step.waits) == [f"transfer tr_1 of 500 EUR to acct_nl: {held}"]
    assert await holds(system) == {
        "NL-ABC": "transfer tr_1 of 500 EUR was made before the database was restored"
    }
    async with system.pool.acquire() as connection:
        await connection.execute("UPDATE clearing.payout_hold SET lifted_at = now(), lifted_by = 'ben'")
    await restored(system).hold_for_transfers([transfer("tr_1")])
    assert await holds(system) == {}  # a person lifted it: it stays lifted
    unknown = await restored(system).hold_for_transfers([transfer("tr_2", account="acct_of_nobody")])
    assert "no party has that account" in unknown.waits[0]


async def test_a_transfer_of_a_known_disbursement_holds_nobody(system: System, tmp_path: Path) -> None:
    await system.plan(THURSDAY)
    assert await outbox_job(system, tmp_path / "out", at=THURSDAY).create_file() is not None
    async with system.pool.acquire() as connection:
        name = await connection.fetchval("SELECT end_to_end_id FROM clearing.disbursement")
    step = await restored(system).hold_for_transfers([transfer("tr_1", name=name)])
    assert not step.waits


async def test_a_file_that_is_taken_for_unsent_is_never_sent_again(system: System, tmp_path: Path) -> None:
    await system.plan(THURSDAY)
    job = outbox_job(system, tmp_path / "out", at=THURSDAY)
    file = await job.create_file()
    assert file is not None
    step = await restored(system).keep_files_unsent()
    assert [one.partition(" ")[0] for one in step.waits] == [file.message_id]
    assert await job.send() == 0
    assert list((tmp_path / "out").iterdir()) == []
    assert not (await restored(system).keep_files_unsent()).waits


async def test_a_sent_file_that_the_database_lost_holds_its_payees(system: System, tmp_path: Path) -> None:
    out = tmp_path / "out"
    await system.plan(THURSDAY)
    job = outbox_job(system, out, at=THURSDAY)
    file = await job.create_file()
    assert file is not None
    assert await job.send() == 1
    known = await restored(system).hold_for_files(out)
    assert known.done == [f"{file.message_id} is recorded"]
    lost = out / "lost.xml"
    lost.write_bytes(file.content.replace(file.message_id.encode(), b"NC" + b"0" * 32))
    (out / "other.xml").write_text("<Document/>", encoding="utf-8")
    step = await restored(system).hold_for_files(out)
    assert sorted(one.partition(" ")[0] for one in step.waits) == ["NC" + "0" * 32, "other.xml"]
    assert await holds(system) == {
        "NL-ABC": f"payment file NC{'0' * 32} was sent before the database was restored"
    }
    assert "give --sent-files" in (await restored(system).hold_for_files(None)).waits[0]


async def test_a_payment_file_says_what_it_is_and_whom_it_pays(system: System, tmp_path: Path) -> None:
    await system.plan(THURSDAY)
    job = outbox_job(system, tmp_path / "out", at=THURSDAY)
    file = await job.create_file()
    assert file is not None
    await job.send()
    path = tmp_path / "out" / f"{file.message_id}.xml"
    with path.open("rb") as stream:
        sent = read_sent_file(stream)
    assert (sent.message_id, sent.ibans) == (file.message_id, (DUTCH.iban,))
    for text, said in (
        (
            b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'><GrpHdr/></Document>",
            "expected a pain.001",
        ),
        (
            b"<Document xmlns='urn:iso:std:iso:20022:tech:xsd:pain.001.001.09'><GrpHdr/></Document>",
            "is missing",
        ),
        (b"rubbish", "not well-formed"),
    ):
        path.write_bytes(text)
        with path.open("rb") as stream, pytest.raises(UnreadableMessageError, match=said):
            read_sent_file(stream)


async def test_every_list_of_an_operator_is_read_again_from_before_the_point(pool: Pool) -> None:
    point = datetime(2026, 10, 29, 3, tzinfo=UTC)
    async with transaction(pool) as connection:
        await add_parties(connection, {"NL-ABC": "cpo"})
        await connection.execute(
            "INSERT INTO gateway.ocpi_peer (id, party_id, state, created_at) "
            "VALUES ($1, 'NL-ABC', 'invited', now())",
            PEER,
        )
        for module, since in (("cdrs", point + timedelta(hours=2)), ("sessions", None), ("tariffs", point)):
            await connection.execute(
                "INSERT INTO gateway.ocpi_pull "
                "(peer_id, module, since, run_until, next_url, due_at, updated_at) "
                "VALUES ($1, $2, $3, $4, 'https://cpo.example/next', $4, $4)",
                PEER,
                module,
                since,
                point + timedelta(days=1),
            )
        count = await pulls.rewind(connection, since=point - timedelta(hours=1), wall_now=point)
        rows = await connection.fetch(
            "SELECT module, since, next_url, run_until, due_at FROM gateway.ocpi_pull"
        )
    assert count == 3
    assert {row["module"]: row["since"] for row in rows} == {
        "cdrs": point - timedelta(hours=1),
        "sessions": None,
        "tariffs": point - timedelta(hours=1),
    }
    assert {(row["next_url"], row["run_until"], row["due_at"]) for row in rows} == {(None, None, point)}
