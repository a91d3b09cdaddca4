"""Drivers' tokens reach connected platforms, one by one or from a file."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import networkcore
from gateway.database import Pool
from gateway.jobs.ocpi_outbox import OcpiOutboxJob
from gateway.ocpi.services import PLATFORM_ROLE
from gateway.ocpi.token_service import TokenService, TokenType, TokenUpdate, WhitelistType
from tests.fakes.ocpi_edge import Edge, start_edge, stop_edge

HEADING = "uid,type,party,contract_id,issuer,payment_method,customer,valid,whitelist"


@pytest.fixture
async def edge(pool: Pool) -> AsyncIterator[Edge]:
    started = await start_edge(pool)
    yield started
    await stop_edge(started)


def update(**changes: Any) -> TokenUpdate:
    fields: dict[str, Any] = {
        "uid": "04A1/B2",
        "type": TokenType.RFID,
        "contract_id": "CH-NWC-C1",
        "issuer": "Super App",
        "party_id": "superapp",
        "payment": {"type": "partner_account"},
        "valid": True,
        "whitelist": WhitelistType.NEVER,
    }
    return TokenUpdate(**fields | changes)


async def test_a_token_is_sent_to_the_platforms_that_take_tokens_and_to_no_other(edge: Edge) -> None:
    await edge.register("NL-ABC")
    await edge.register("DE-XYZ", version="2.1.1")
    await edge.register("FR-QQQ")
    await edge.party("superapp")
    await edge.pool.execute(
        "INSERT INTO gateway.ocpi_peer_endpoint (peer_id, module, role, url) "
        "SELECT id, 'tokens', 'RECEIVER', 'http://127.0.0.1:1/tokens' FROM gateway.ocpi_peer "
        "WHERE party_id <> 'FR-QQQ' ON CONFLICT DO NOTHING"
    )
    service = TokenService(pool=edge.pool, clock=edge.clock, role=PLATFORM_ROLE)
    await service.save(update())
    await service.save(update(valid=False))
    rows = await edge.pool.fetch(
        "SELECT party_id, method, path, body FROM gateway.ocpi_outbox ORDER BY party_id, id"
    )
    assert [(row["party_id"], row["method"], row["path"]) for row in rows] == [
        (party, "PUT", "/CH/NWC/04A1%2FB2?type=RFID") for party in ("DE-XYZ",) * 2 + ("NL-ABC",) * 2
    ]
    bodies = [json.loads(row["body"]) for row in rows]
    assert [body["valid"] for body in bodies] == [True, False, True, False]
    assert [("auth_id" in body, "contract_id" in body) for body in bodies] == [
        *[(True, False)] * 2,
        *[(False, True)] * 2,
    ]
    assert "payment" not in bodies[0]


async def test_an_unreachable_platform_gets_its_tokens_later_and_in_order(edge: Edge) -> None:
    await edge.register("NL-ABC")
    await edge.party("superapp")
    await edge.pool.execute(
        "INSERT INTO gateway.ocpi_peer_endpoint (peer_id, module, role, url) "
        "SELECT id, 'tokens', 'RECEIVER', 'http://127.0.0.1:1/tokens' FROM gateway.ocpi_peer "
        "ON CONFLICT DO NOTHING"
    )
    service = TokenService(pool=edge.pool, clock=edge.clock, role=PLATFORM_ROLE)
    await service.save(update())
    await service.save(update(valid=False))
    await OcpiOutboxJob(services=edge.services).run_once()
    rows = await edge.pool.fetch("SELECT attempts FROM gateway.ocpi_outbox ORDER BY id")
    assert [row["attempts"] for row in rows] == [1, 0]


@pytest.fixture
def run(pool: Pool, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    assert pool is not None
    monkeypatch.setenv("DATABASE_URL", database_url)

    async def invoke(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, networkcore, ["ocpi", "tokens", *arguments])

    return invoke


async def test_a_file_of_tokens_is_stored_whole(edge: Edge, run: Any, tmp_path: Path) -> None:
    await edge.party("superapp")
    file = tmp_path / "tokens.csv"
    file.write_text(
        f"{HEADING}\n04A1,RFID,superapp,CH-NWC-C1,Super App,pm_1,cus_1,true,ALLOWED\n"
        "user-7,APP_USER,superapp,CH-NWC-C2,Super App,,,false,\n",
        encoding="utf-8-sig",
    )
    assert (await run("import", str(file), "--dry-run")).output == "2 tokens can be read\n"
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_token") == 0
    done = await run("import", str(file))
    assert (done.exit_code, done.output) == (0, "stored 2 tokens\n")
    rows = await edge.pool.fetch("SELECT uid, valid, whitelist, payment FROM gateway.ocpi_token ORDER BY uid")
    assert [(row["uid"], row["valid"], row["whitelist"]) for row in rows] == [
        ("04A1", True, "ALLOWED"),
        ("user-7", False, "NEVER"),
    ]
    listed = json.loads((await run("list", "--json", "--party", "superapp")).output)
    assert [row["uid"] for row in listed] == ["04A1", "user-7"]
    assert "pm_1" not in json.dumps(listed)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["uid,type"], "the heading lacks party, contract_id, issuer"),
        ([HEADING + ",colour"], "the heading has the unknown column colour"),
        ([HEADING, ",RFID,superapp,C,I,,,,"], "line 2: uid: expected 1 to 36 printable ASCII characters"),
        ([HEADING, "a,CARD,superapp,C,I,,,,"], "line 2: type: expected one of APP_USER, RFID, OTHER"),
        ([HEADING, "a,RFID,superapp,C,I,,,maybe,"], "line 2: valid: expected true or false"),
        ([HEADING, "a,RFID,superapp,,I,,,,"], "line 2: contract_id: Field required"),
        ([HEADING, "a,RFID,superapp,C,I,,,,SOMETIMES"], "line 2: whitelist: Input should be"),
        ([HEADING, "a,RFID,nobody,C,I,,,,"], "line 2: party: there is no party nobody"),
        ([HEADING, "a,RFID,superapp,C,I,,,,", "A,RFID,superapp,C,I,,,,"], "line 3: uid: A occurs twice"),
        ([HEADING, "a,RFID,superapp,C,I,,,,,x"], "line 2: more cells than the heading has"),
        ([HEADING, "taken,RFID,superapp,C,I,,,,"], "line 2: token RFID taken is another demand partner's"),
    ],
)
async def test_a_file_with_a_fault_stores_nothing_and_says_where(
    edge: Edge, run: Any, tmp_path: Path, lines: list[str], expected: str
) -> None:
    for party in ("superapp", "parking"):
        await edge.party(party)
    service = TokenService(pool=edge.pool, clock=edge.clock, role=PLATFORM_ROLE)
    await service.save(update(uid="taken", party_id="parking"))
    first = ["ok,RFID,superapp,C,I,,,,"] if len(lines) > 1 else []
    file = tmp_path / "tokens.csv"
    file.write_text("\n".join([*lines, *first]), encoding="utf-8")
    done = await run("import", str(file))
    assert done.exit_code == 2, done.output
    assert expected in " ".join(done.output.split())
    assert await edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_token") == 1


async def test_a_lost_card_is_blocked_once_and_its_change_is_sent(edge: Edge, run: Any) -> None:
    await edge.register("NL-ABC")
    await edge.party("superapp")
    await edge.pool.execute(
        "INSERT INTO gateway.ocpi_peer_endpoint (peer_id, module, role, url) "
        "SELECT id, 'tokens', 'RECEIVER', 'http://127.0.0.1:1/tokens' FROM gateway.ocpi_peer "
        "ON CONFLICT DO NOTHING"
    )
    service = TokenService(pool=edge.pool, clock=edge.clock, role=PLATFORM_ROLE)
    await service.save(update(uid="04A1"))
    for _ in range(2):
        done = await run("block", "RFID", "04a1")
        assert (done.exit_code, done.output) == (0, "RFID 04a1 is blocked\n")
    assert (await run("unblock", "RFID", "04A1")).output == "RFID 04A1 is valid\n"
    rows = await edge.pool.fetch("SELECT body FROM gateway.ocpi_outbox ORDER BY id")
    assert [json.loads(row["body"])["valid"] for row in rows] == [True, False, True]
    missing = await run("block", "APP_USER", "04A1")
    assert missing.exit_code == 1
    assert "there is no APP_USER token 04A1" in missing.output
    assert (await run("block", "EMAID", "04A1")).exit_code == 2
