"""Tokens that their CPO accepted by whitelist, from the CDR to the capture, on a real PostgreSQL."""

from datetime import timedelta
from typing import Any

import pytest

from gateway.ids import parse_id
from gateway.ocpi.cdr_settlement import CdrSettlementService
from gateway.ocpi.repository import cdrs
from gateway.ocpi.repository.cdrs import CdrRecord, CdrStatus
from pnc.contract import ContractState
from tests.fakes.ocpi_edge import NOW
from tests.fakes.ocpi_objects import cdr, location, tariff
from tests.integration import test_ocpi_emaid_tokens as emaid_tokens
from tests.integration.test_ocpi_authorize import TOKEN, System

system = emaid_tokens.system  # the fixture
DECLINED = {"type": "psp_payment_method", "payment_method": "pm_declined"}
BEARER = {
    "country_code": "CH",
    "party_id": "NWC",
    "uid": TOKEN.uid,
    "type": "RFID",
    "contract_id": TOKEN.contract_id,
}


async def sent(system: System, **changes: Any) -> CdrRecord:
    """A CDR of a session that nobody asked about, settled two hours after its start."""
    fields = {"auth_method": "WHITELIST", "cdr_token": BEARER, "session_id": None} | changes
    version = fields.pop("version", "2.2.1")
    answer, status = await system.edge.call("POST", f"/emsp/{version}/cdrs", system.token, cdr(**fields))
    assert (status, answer["status_code"]) == (201, 1000), answer
    system.edge.clock.at = NOW + timedelta(hours=2)
    await system.settle()
    return await kept(system, str(fields.get("id", "CDR1")))


async def kept(system: System, cdr_id: str = "CDR1") -> CdrRecord:
    async with system.edge.pool.acquire() as connection:
        found = await cdrs.load_cdr(connection, "NL-ABC", cdr_id)
    assert found is not None
    return found


@pytest.mark.parametrize("whitelist", ["ALWAYS", "ALLOWED", "ALLOWED_OFFLINE"])
async def test_a_token_accepted_by_whitelist_is_paid_when_its_cdr_comes(
    system: System, whitelist: str
) -> None:
    await system.keep(whitelist=whitelist)
    found = await sent(system)
    assert (found.status, found.reason) == (CdrStatus.COMPLETED, None)
    assert system.psp.capture_effects == 1
    row = await system.edge.pool.fetchrow(
        "SELECT s.flags, s.price_minor, a.hold_minor, a.off_session FROM gateway.session AS s "
        "JOIN gateway.payment_authorization AS a ON a.session_id = s.id"
    )
    assert row is not None
    # 20.5 kWh at 0.49 and 21 % VAT; held for what was used, not for a guess.
    assert tuple(row) == (["accepted_by_whitelist"], 1215, 1215, True)


async def test_the_tariff_in_force_at_the_start_counts_though_it_has_changed_since(system: System) -> None:
    await system.keep(whitelist="ALLOWED")
    system.edge.clock.at = NOW + timedelta(hours=2)
    later = tariff(0.99, last_updated="2026-10-29T09:30:00Z")
    await system.edge.call("PUT", "/emsp/2.2.1/tariffs/NL/ABC/T1", system.token, later)
    await sent(system)
    assert await system.edge.pool.fetchval("SELECT price_minor FROM gateway.session") == 1215


@pytest.mark.parametrize(
    ("token", "record", "reason"),
    [
        ({"whitelist": "NEVER"}, {}, "has to be authorized before each use"),
        ({"whitelist": "ALWAYS", "valid": False}, {}, "blocked before the session began"),
        ({"whitelist": "ALWAYS"}, {"cdr_token": BEARER | {"uid": "other"}}, "no token of ours"),
        (
            {"whitelist": "ALWAYS"},
            {"cdr_location": {"id": "LOC1", "evse_uid": "E9", "evse_id": "NL*ABC*E9", "connector_id": "1"}},
            "unknown here",
        ),
        ({"whitelist": "ALWAYS"}, {"auth_method": "AUTH_REQUEST"}, "no session of this CPO carries"),
        (
            {
                "whitelist": "ALWAYS",
                "payment": {"type": "psp_payment_method", "payment_method": "pm_declined"},
            },
            {},
            "its payment is not secured: NO_CREDIT",
        ),
    ],
)
async def test_what_nobody_has_to_pay_for_waits_for_a_person(
    system: System, token: dict[str, Any], record: dict[str, Any], reason: str
) -> None:
    await system.keep(**token)
    found = await sent(system, **record)
    assert found.status is CdrStatus.UNMATCHED
    assert reason in (found.reason or "")
    assert system.psp.capture_effects == 0


async def test_a_token_blocked_while_it_charged_is_still_paid(system: System) -> None:
    await system.keep(whitelist="ALLOWED", valid=False, last_updated=NOW + timedelta(minutes=10))
    assert (await sent(system)).status is CdrStatus.COMPLETED


async def test_a_blocked_token_that_is_changed_later_was_blocked_all_the_time(system: System) -> None:
    await system.keep(whitelist="ALLOWED", valid=False, last_updated=NOW - timedelta(days=1))
    await system.keep(
        whitelist="ALLOWED", valid=False, group_id="fleet", last_updated=NOW + timedelta(minutes=10)
    )
    found = await sent(system)
    assert found.status is CdrStatus.UNMATCHED
    assert "blocked before the session began" in (found.reason or "")
    await system.keep(whitelist="ALLOWED", valid=True, last_updated=NOW + timedelta(minutes=20))
    await system.keep(whitelist="ALLOWED", valid=False, last_updated=NOW + timedelta(hours=2))
    assert (await sent(system, id="CDR2")).status is CdrStatus.COMPLETED


async def test_the_same_cdr_settled_again_has_one_authorization(system: System) -> None:
    await system.keep(whitelist="ALLOWED")
    await sent(system)
    await system.edge.pool.execute("UPDATE gateway.ocpi_cdr SET status = 'pending'")
    await system.edge.pool.execute(
        "INSERT INTO gateway.task (shard, id, kind, payload, run_at) VALUES "
        '(0, gen_random_uuid(), \'complete_session\', \'{"cpo_id": "NL-ABC", "cdr_id": "CDR1"}\', now())'
    )
    await system.settle()
    assert await system.edge.pool.fetchval("SELECT count(*) FROM gateway.payment_authorization") == 1
    assert system.psp.capture_effects == 1


async def test_a_later_authorization_of_the_token_is_not_taken_for_an_earlier_use(system: System) -> None:
    await system.keep(whitelist="ALLOWED")
    system.edge.clock.at = NOW + timedelta(hours=1, minutes=5)
    answer, _ = await system.ask({"location_id": "LOC1", "evse_uids": ["E1"]})
    assert answer["data"]["allowed"] == "ALLOWED"
    assert (await sent(system)).status is CdrStatus.COMPLETED
    assert await system.edge.pool.fetchval("SELECT count(*) FROM gateway.session") == 2
    states = await system.edge.pool.fetch("SELECT state FROM gateway.session ORDER BY state")
    assert [row["state"] for row in states] == ["active", "completed"]


async def test_a_cdr_that_names_its_evse_by_its_id_alone_finds_its_authorization(system: System) -> None:
    await system.keep(whitelist="NEVER")
    answer, _ = await system.ask({"location_id": "LOC1", "evse_uids": ["E1"]})
    assert answer["data"]["allowed"] == "ALLOWED"
    place = {"id": "LOC1", "evse_id": location()["evses"][0]["evse_id"].lower(), "connector_id": "1"}
    found = await sent(system, auth_method="AUTH_REQUEST", cdr_location=place)
    assert (found.status, found.reason) == (CdrStatus.COMPLETED, None)


async def test_an_answer_of_the_psp_that_was_lost_is_waited_for(system: System) -> None:
    await system.keep(whitelist="ALLOWED")
    system.psp.faults.append("after")
    found = await sent(system)
    assert (found.status, system.psp.capture_effects) == (CdrStatus.PENDING, 0)


async def test_a_use_by_whitelist_is_not_taken_for_a_request_that_was_released_days_before(
    system: System,
) -> None:
    await system.keep(whitelist="ALLOWED")
    system.edge.clock.at = NOW - timedelta(days=5)
    answer, _ = await system.ask({"location_id": "LOC1", "evse_uids": ["E1"]})
    await system.payments.release(
        party_id="app", authorization_id=parse_id("auth", answer["data"]["authorization_reference"])
    )
    system.edge.clock.at = NOW
    assert (await sent(system)).status is CdrStatus.COMPLETED
    rows = await system.edge.pool.fetch(
        "SELECT a.state, c.amount_minor, c.receivable_minor FROM gateway.payment_authorization AS a "
        "LEFT JOIN gateway.capture AS c ON c.authorization_id = a.id ORDER BY a.created_at"
    )
    assert [tuple(row) for row in rows] == [("voided", None, None), ("captured", 1215, 0)]


async def test_a_token_under_an_emaid_follows_its_contract_of_this_environment(system: System) -> None:
    emaid = emaid_tokens.EMAID
    await emaid_tokens.put(system, environment="production")
    await emaid_tokens.set_state(system, ContractState.BLOCKED, environment="production")
    await system.keep(uid=emaid, type="OTHER", contract_id=emaid, whitelist="ALLOWED")
    service = CdrSettlementService(
        pool=system.edge.pool, clock=system.edge.clock, payments=system.payments, environment="production"
    )
    token = BEARER | {"uid": emaid, "type": "OTHER", "contract_id": emaid}
    fields = {"auth_method": "WHITELIST", "cdr_token": token, "session_id": None}
    await system.edge.call("POST", "/emsp/2.2.1/cdrs", system.token, cdr(**fields))
    system.edge.clock.at = NOW + timedelta(hours=2)
    await service.settle(cpo_id="NL-ABC", cdr_id="CDR1")
    found = await kept(system)
    assert (found.status, system.psp.payments) == (CdrStatus.UNMATCHED, {})
    assert "BLOCKED" in (found.reason or "")


@pytest.mark.parametrize(
    "limit", [{"sessions_at_once": 1}, {"amount_per_day_minor": 1_000, "currency": "EUR"}]
)
async def test_the_limits_of_a_contract_are_not_evaded_by_a_token_stored_under_its_emaid(
    system: System, limit: dict[str, Any]
) -> None:
    """Neither by asking, nor by whitelist: sessions are counted where a certificate is decided about."""
    emaid = emaid_tokens.EMAID
    await emaid_tokens.put(system, **limit)
    await system.keep(uid=emaid, type="OTHER", contract_id=emaid, whitelist="ALWAYS")
    answer, _ = await system.ask(emaid_tokens.PLACE, uid=emaid, kind="OTHER", version="2.2.1")
    assert answer["data"]["allowed"] == "NOT_ALLOWED"
    bearer = {"country_code": "CH", "party_id": "NWC", "uid": emaid, "type": "OTHER", "contract_id": emaid}
    found = await sent(system, cdr_token=bearer)
    assert "its payment is not secured: NOT_ALLOWED" in (found.reason or "")
    assert await system.edge.pool.fetchval("SELECT count(*) FROM gateway.payment_authorization") == 0
