"""Contracts as tokens: sent, listed and asked about; over real HTTP on a real PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.database import Pool, transaction
from gateway.jobs.emaid_tokens import EmaidTokenJob
from gateway.jobs.running_cost import RunningCostJob
from gateway.ocpi.emaid_tokens import EmaidTokenService
from gateway.ocpi.services import PLATFORM_ROLE
from pnc import contract_administration
from pnc.contract import ContractState, NewContract, PaymentKind
from pnc.revocation_checker import RevocationChecker
from pnc.service import PlugAndChargeService
from tests.fakes.ocpi_edge import NOW
from tests.integration.test_ocpi_authorize import System, open_system

EMAID = "DE8AAC12345678"
PLACE = {"location_id": "LOC1", "evse_uids": ["E1"]}


class NoFetcher:
    """No revocation source is asked: no certificate is registered here."""

    async def ocsp(self, url: str, request: bytes) -> bytes:
        raise AssertionError(url)

    async def crl(self, url: str) -> bytes:
        raise AssertionError(url)


@pytest.fixture
async def system(pool: Pool) -> AsyncIterator[System]:
    async with open_system(pool) as started:
        yield started


async def put(
    system: System, emaid: str = EMAID, party: str = "app", environment: str = "sandbox", **changes: Any
) -> None:
    fields: dict[str, Any] = {
        "emaid": emaid,
        "party": party,
        "payment_kind": PaymentKind.PSP_MANDATE,
        "payment_reference": "/pm_good",
        "valid_from": NOW,
    }
    decisions = PlugAndChargeService(revocation_checker=RevocationChecker(fetcher=NoFetcher()))
    verifier, _ = await decisions.load_trust(system.edge.pool, environment=environment)
    async with transaction(system.edge.pool) as connection:
        await contract_administration.put_contract(
            connection,
            NewContract(**fields | changes),
            environment=environment,
            verifier=verifier,
            actor=party,
            now=NOW,
        )


async def set_state(system: System, state: ContractState, environment: str = "sandbox") -> None:
    async with transaction(system.edge.pool) as connection:
        await contract_administration.set_state(
            connection,
            environment=environment,
            emaid=EMAID,
            state=state,
            actor="app",
            reason="lost",
            now=NOW,
        )


async def follow(system: System, environment: str = "sandbox") -> int:
    service = EmaidTokenService(
        pool=system.edge.pool, clock=system.edge.clock, role=PLATFORM_ROLE, environment=environment
    )
    job, read = EmaidTokenJob(tokens=service), 0
    while found := await job.run_once():
        read += found
    return read


async def listed(system: System, version: str) -> list[Any]:
    answer, _ = await system.edge.call("GET", f"/emsp/{version}/tokens", system.token)
    found: list[Any] = answer["data"]
    return found


async def receivers(system: System) -> None:
    await system.edge.pool.execute(
        "INSERT INTO gateway.ocpi_peer_endpoint (peer_id, module, role, url) "
        "SELECT id, 'tokens', 'RECEIVER', 'http://127.0.0.1:1/tokens' FROM gateway.ocpi_peer "
        "ON CONFLICT DO NOTHING"
    )


async def pushed(system: System) -> list[tuple[str, str, bool]]:
    rows = await system.edge.pool.fetch(
        "SELECT path, convert_from(body, 'UTF8')::jsonb AS body FROM gateway.ocpi_outbox ORDER BY id"
    )
    return [(row["path"], row["body"]["type"], row["body"]["valid"]) for row in rows]


async def test_an_active_contract_is_listed_by_the_name_of_each_version(system: System) -> None:
    await put(system)
    assert await follow(system) == 1
    named = {version: (await listed(system, version))[0] for version in ("2.1.1", "2.2.1", "2.3.0")}
    assert {version: token["type"] for version, token in named.items()} == {
        "2.1.1": "OTHER",
        "2.2.1": "OTHER",
        "2.3.0": "EMAID",
    }
    assert named["2.1.1"]["auth_id"] == named["2.2.1"]["contract_id"] == EMAID
    assert all(
        (token["uid"], token["valid"], token["whitelist"]) == (EMAID, True, "NEVER")
        for token in named.values()
    )


async def test_each_change_of_a_contract_is_sent_once_and_in_order(system: System) -> None:
    await receivers(system)
    await put(system)
    await follow(system)
    await set_state(system, ContractState.BLOCKED)
    await follow(system)
    await put(system, sessions_at_once=None, limit_minor=500, currency="EUR")
    await set_state(system, ContractState.ACTIVE)
    await follow(system)
    assert await follow(system) == 0, "nothing is read twice"
    path = f"/CH/NWC/{EMAID}?type=OTHER"
    assert await pushed(system) == [(path, "OTHER", True), (path, "OTHER", False), (path, "OTHER", True)]


async def test_contracts_of_another_environment_are_no_tokens_here(system: System) -> None:
    await put(system)
    assert await follow(system, environment="production") == 0
    assert await listed(system, "2.3.0") == []


async def test_a_contract_of_no_party_here_does_not_stop_the_others(system: System) -> None:
    await put(system, "DE8AAC00000001", party="nobody")
    await put(system)
    assert await follow(system) == 2
    assert [token["uid"] for token in await listed(system, "2.3.0")] == [EMAID]


@pytest.mark.parametrize(
    ("version", "kind"), [("2.3.0", "EMAID"), ("2.2.1", "OTHER"), ("2.2.1", "EMAID"), ("2.1.1", "OTHER")]
)
async def test_an_emaid_authorizes_as_its_contract_pays(system: System, version: str, kind: str) -> None:
    await put(system, limit_minor=700, currency="EUR")
    await follow(system)
    answer, _ = await system.ask(PLACE, uid="de-8aa-c12345678", kind=kind, version=version)
    assert answer["data"]["allowed"] == "ALLOWED"
    row = await system.edge.pool.fetchrow(
        "SELECT authorization_method, hold_minor, payment_method FROM gateway.payment_authorization"
    )
    assert row is not None
    assert tuple(row) == ("plug_and_charge", 700, "pm_good")


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"payment_reference": "/pm_declined"}, "NO_CREDIT"),
        ({"sessions_at_once": 1}, "NOT_ALLOWED"),
        ({"sessions_per_day": 1}, "NOT_ALLOWED"),
        ({"amount_per_day_minor": 1_000, "currency": "EUR"}, "NOT_ALLOWED"),
    ],
)
async def test_what_the_contract_does_not_allow_is_not_allowed(
    system: System, changes: dict[str, Any], allowed: str
) -> None:
    await put(system, **changes)
    await follow(system)
    answer, _ = await system.ask(PLACE, uid=EMAID, kind="EMAID", version="2.3.0")
    assert answer["data"]["allowed"] == allowed


async def test_a_contract_blocked_a_moment_ago_holds_nothing_though_its_token_is_still_valid(
    system: System,
) -> None:
    await put(system)
    await follow(system)
    await set_state(system, ContractState.BLOCKED)
    answer, _ = await system.ask(PLACE, uid=EMAID, kind="EMAID", version="2.3.0")
    assert answer["data"]["allowed"] == "BLOCKED"
    assert await system.edge.pool.fetchval("SELECT count(*) FROM gateway.payment_authorization") == 0


async def test_an_app_token_is_found_by_the_name_that_2_1_1_has_for_it(system: System) -> None:
    await system.keep(uid="app-1", type="APP_USER")
    answer, _ = await system.ask(PLACE, uid="APP-1", kind="OTHER", version="2.1.1")
    assert answer["data"]["allowed"] == "ALLOWED"
    answer, status = await system.ask(PLACE, uid="APP-1", kind="OTHER", version="2.2.1")
    assert (status, answer["status_code"]) == (404, 2004)


@pytest.mark.parametrize(("limit", "held"), [(700, 700), (2000, 1853), (None, 1853)])
async def test_an_update_raises_a_hold_no_further_than_its_contract_says(
    system: System, limit: int | None, held: int
) -> None:
    await put(system, limit_minor=limit, currency=None if limit is None else "EUR")
    await follow(system)
    answer, _ = await system.ask(PLACE, uid=EMAID, kind="EMAID", version="2.3.0")
    await system.edge.pool.execute(
        "UPDATE gateway.payment_authorization SET incrementable = true, hold_minor = least(hold_minor, 700)"
    )
    reference = answer["data"]["authorization_reference"]
    begun = "2026-10-29T08:00:00Z"
    update = {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "S1",
        "start_date_time": begun,
        "kwh": 25.0,
        "cdr_token": {
            "country_code": "CH",
            "party_id": "NWC",
            "uid": EMAID,
            "type": "OTHER",
            "contract_id": EMAID,
        },
        "auth_method": "AUTH_REQUEST",
        "authorization_reference": reference,
        "location_id": "LOC1",
        "evse_uid": "E1",
        "connector_id": "1",
        "currency": "EUR",
        "status": "ACTIVE",
        "charging_periods": [{"start_date_time": begun, "dimensions": [{"type": "ENERGY", "volume": 25.0}]}],
        "last_updated": "2026-10-29T08:40:00Z",
    }
    system.edge.clock.at = NOW + timedelta(minutes=40)
    answer, _ = await system.edge.call("PUT", "/emsp/2.2.1/sessions/NL/ABC/S1", system.token, update)
    assert answer["status_code"] == 1000, answer
    await RunningCostJob(services=system.edge.services, payments=system.payments).run_once()
    row = await system.edge.pool.fetchrow("SELECT hold_minor FROM gateway.payment_authorization")
    assert row is not None
    assert row["hold_minor"] == held
