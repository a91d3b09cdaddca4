"""From a CPO's question about a token to the captured payment, over real HTTP on a real PostgreSQL."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from clearing.services import build_clearing
from gateway.database import Pool, transaction
from gateway.ids import format_id, new_id
from gateway.jobs.running_cost import RunningCostJob
from gateway.ocpi.cdr_settlement import CdrSettlementService
from gateway.ocpi.repository import cdrs, tokens
from gateway.ocpi.repository.cdrs import CdrStatus
from gateway.ocpi.repository.tokens import TokenRecord
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.ocpi.token_authorization import SAME_REQUEST, TokenAuthorizationService
from gateway.payments.policy import PaymentPolicy
from gateway.payments.service import PaymentService, build_payments
from gateway.plug_and_charge.authorization_service import VehicleAuthorizationRequest
from gateway.plug_and_charge.contract_signals import ContractSignalService
from gateway.plug_and_charge.contract_spending import ContractSpendingService
from gateway.plug_and_charge.station_services import build_station_services
from pnc.certificate_chain import ChainVerifier
from pnc.contract import ContractState
from pnc.contract_administration import put_contract, set_state
from pnc.messages import OcppVersion
from pnc.trust import trust_of
from tests.fakes.ocpi_edge import NOW, Edge, start_edge, stop_edge
from tests.fakes.ocpi_objects import cdr, location, tariff
from tests.fakes.pnc_market import EMAID, contract, open_market
from tests.fakes.psp import FakePsp

TOKEN = TokenRecord(
    uid="04A2B3C4",
    type="RFID",
    country_code="CH",
    party_code="NWC",
    contract_id="CH-NWC-C12345678-X",
    visual_number="0001",
    issuer="Super App",
    group_id=None,
    valid=True,
    whitelist="NEVER",
    language="de",
    demand_partner_id="app",
    payment={"type": "psp_payment_method", "payment_method": "pm_good"},
    last_updated=NOW,
)
FUNDED = (
    "INSERT INTO gateway.partner_account (party_id, currency, balance_minor)"
    " VALUES ('app', 'EUR', $1::bigint)"
)
BEARER = {"uid": TOKEN.uid, "type": TOKEN.type, "contract_id": TOKEN.contract_id}
PLACE = {"location_id": "LOC1", "evse_uids": ["E1"]}


@dataclass
class System:
    """The edge with a payment service behind it and one operator with one charge point."""

    edge: Edge
    psp: FakePsp
    payments: PaymentService
    token: str = ""

    async def keep(self, token: TokenRecord = TOKEN, **changes: Any) -> None:
        async with transaction(self.edge.pool) as connection:
            assert await tokens.save_token(connection, replace(token, **changes))

    async def ask(
        self, body: Any = PLACE, *, uid: str = "04a2b3c4", kind: str = "RFID", version: str = "2.2.1"
    ) -> tuple[Any, int]:
        return await self.edge.call(
            "POST", f"/emsp/{version}/tokens/{uid}/authorize?type={kind}", self.token, body
        )

    async def settle(self) -> None:
        """The worker's tasks, one after the other, an hour after the start: a CDR tells of what has ended."""
        self.edge.clock.at = max(self.edge.clock.at, NOW + timedelta(hours=1))
        service = CdrSettlementService(
            pool=self.edge.pool, clock=self.edge.clock, payments=self.payments, environment="sandbox"
        )
        rows = await self.edge.pool.fetch(
            "DELETE FROM gateway.task WHERE kind = 'complete_session' RETURNING *"
        )
        for row in rows:
            await service.settle(cpo_id=row["payload"]["cpo_id"], cdr_id=row["payload"]["cdr_id"])


@asynccontextmanager
async def open_system(pool: Pool) -> AsyncIterator[System]:
    """The edge with its payments, an operator's location and tariff."""
    edge, psp = await start_edge(pool), FakePsp()
    payments = build_payments(
        pool=pool, psp=psp, tariffs=OcpiTariffSource(), clock=edge.clock, policy=PaymentPolicy()
    )
    authorizer = TokenAuthorizationService(
        pool=pool, clock=edge.clock, payments=payments, environment="sandbox"
    )
    object.__setattr__(edge.services, "authorizer", authorizer)
    await edge.party("app", "demand_partner")
    started = System(edge=edge, psp=psp, payments=payments, token=await edge.register("NL-ABC"))
    await edge.call("PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", started.token, location())
    await edge.call("PUT", "/emsp/2.2.1/tariffs/NL/ABC/T1", started.token, tariff())
    yield started
    await stop_edge(edge)


@pytest.fixture
async def system(pool: Pool) -> AsyncIterator[System]:
    async with open_system(pool) as started:
        yield started


async def test_allowed_means_the_payment_is_held_and_the_reference_leads_to_one_capture(
    system: System,
) -> None:
    await system.keep()
    answer, status = await system.ask()
    assert (status, answer["status_code"]) == (200, 1000)
    info = answer["data"]
    assert info["allowed"] == "ALLOWED"
    assert info["location"] == PLACE
    assert info["token"]["contract_id"] == TOKEN.contract_id
    reference = info["authorization_reference"]
    assert len(reference) <= 36
    assert len(system.psp.payments) == 1
    record = cdr(authorization_reference=reference, session_id=None, cdr_token=BEARER)
    for _ in range(2):
        await system.edge.call("POST", "/emsp/2.2.1/cdrs", system.token, record)
    await system.settle()
    async with system.edge.pool.acquire() as connection:
        kept = await cdrs.load_cdr(connection, "NL-ABC", "CDR1")
    assert kept is not None
    assert kept.status is CdrStatus.COMPLETED
    assert system.psp.capture_effects == 1
    amount = await system.edge.pool.fetchval("SELECT amount_minor FROM gateway.capture")
    # 20.5 kWh at 0.49 is 10.045 net; 21 % VAT on it makes 12.15445.
    assert amount == 1215


async def test_the_same_question_again_is_the_same_hold(system: System) -> None:
    await system.keep()
    answers = await asyncio.gather(*(system.ask() for _ in range(5)))
    references = {answer["data"].get("authorization_reference") for answer, _ in answers}
    assert len(references - {None}) == 1
    assert len(system.psp.payments) == 1
    system.edge.clock.at = NOW + SAME_REQUEST * 2
    answer, _ = await system.ask()
    assert answer["data"]["authorization_reference"] not in references


async def test_a_spent_authorization_is_not_given_again(system: System) -> None:
    await system.keep()
    first, _ = await system.ask()
    reference = first["data"]["authorization_reference"]
    await system.edge.call("POST", "/emsp/2.2.1/cdrs", system.token, cdr(authorization_reference=reference))
    await system.settle()
    second, _ = await system.ask()
    assert second["data"]["allowed"] == "ALLOWED"
    assert second["data"]["authorization_reference"] != reference


async def test_a_token_we_do_not_know_is_not_found(system: System) -> None:
    for uid, kind in (("04A2B3C4", "RFID"), ("x", "APP_USER")):
        answer, status = await system.ask(uid=uid, kind=kind)
        assert (status, answer["status_code"]) == (404, 2004)
        assert "data" not in answer
    await system.keep()
    assert (await system.ask(kind="APP_USER"))[1] == 404


async def test_without_a_location_there_is_too_little_information(system: System) -> None:
    await system.keep()
    for body in (None, {}):
        answer, _ = await system.ask(body)
        assert answer["status_code"] == 2002


@pytest.mark.parametrize(
    ("changes", "place", "allowed"),
    [
        ({"valid": False}, PLACE, "BLOCKED"),
        ({"payment": {"type": "psp_payment_method", "payment_method": "pm_declined"}}, PLACE, "NO_CREDIT"),
        ({"payment": {"type": "partner_account"}}, PLACE, "NO_CREDIT"),
        ({}, {"location_id": "LOC1", "evse_uids": ["E9"]}, "NOT_ALLOWED"),
        ({}, {"location_id": "LOC9"}, "NOT_ALLOWED"),
    ],
)
async def test_a_no_says_why_and_gives_no_reference(
    system: System, changes: dict[str, Any], place: dict[str, Any], allowed: str
) -> None:
    await system.keep(**changes)
    answer, _ = await system.ask(place)
    assert answer["data"]["allowed"] == allowed
    assert "authorization_reference" not in answer["data"]
    assert "location" not in answer["data"]


async def test_a_token_pays_the_regular_tariff_and_the_ad_hoc_one_only_where_there_is_no_other(
    system: System,
) -> None:
    regular = tariff(0.40, id="T1", type="REGULAR")
    for body in (regular, tariff(0.80, id="T2", type="AD_HOC_PAYMENT")):
        await system.edge.call("PUT", f"/emsp/2.2.1/tariffs/NL/ABC/{body['id']}", system.token, body)
    place = location()
    place["evses"][0]["connectors"][0]["tariff_ids"] = ["T2", "T1"]
    await system.edge.call("PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", system.token, place)
    await system.keep()
    answer, _ = await system.ask()
    assert answer["data"]["allowed"] == "ALLOWED"
    assert await hold_of(system) == 60 * 40 * 121 // 100
    await system.edge.call("DELETE", "/emsp/2.2.1/tariffs/NL/ABC/T1", system.token)
    await system.edge.pool.execute("UPDATE gateway.session SET state = 'cancelled'")
    await system.edge.pool.execute("UPDATE gateway.payment_authorization SET state = 'voided'")
    answer, _ = await system.ask()
    assert answer["data"]["allowed"] == "ALLOWED"
    flags = await system.edge.pool.fetch("SELECT flags FROM gateway.session ORDER BY id")
    assert [row["flags"] for row in flags] == [[], ["ad_hoc_for_contract"]]


async def test_the_oldest_version_finds_the_session_by_the_drivers_token(system: System) -> None:
    await system.keep()
    answer, _ = await system.ask(version="2.1.1")
    assert answer["data"] == {"allowed": "ALLOWED", "location": PLACE}
    old = {
        "id": "OLD1",
        "start_date_time": "2026-10-29T08:00:00Z",
        "stop_date_time": "2026-10-29T09:00:00Z",
        "auth_id": TOKEN.contract_id,
        "auth_method": "AUTH_REQUEST",
        "location": {"id": "LOC1", "evses": [{"uid": "E1", "connectors": []}]},
        "currency": "EUR",
        "charging_periods": cdr()["charging_periods"],
        "total_cost": 10.05,
        "total_energy": 20.5,
        "total_time": 1,
        "last_updated": "2026-10-29T09:00:00Z",
    }
    answer, _ = await system.edge.call("POST", "/emsp/2.1.1/cdrs", system.token, old)
    assert answer["status_code"] == 1000
    await system.settle()
    row = await system.edge.pool.fetchrow("SELECT status, reason FROM gateway.ocpi_cdr")
    assert row is not None
    assert tuple(row) == ("completed", None)


async def test_a_cdr_that_names_another_operators_session_stays_unmatched(system: System) -> None:
    await system.keep()
    answer, _ = await system.ask()
    other = await system.edge.register("DE-XYZ")
    stolen = cdr(
        country_code="DE", party_id="XYZ", authorization_reference=answer["data"]["authorization_reference"]
    )
    await system.edge.call("POST", "/emsp/2.2.1/cdrs", other, stolen)
    nowhere = cdr(id="CDR2", authorization_reference=format_id("auth", new_id()))
    await system.edge.call("POST", "/emsp/2.2.1/cdrs", system.token, nowhere)
    await system.settle()
    rows = await system.edge.pool.fetch("SELECT status FROM gateway.ocpi_cdr")
    assert [row["status"] for row in rows] == ["unmatched", "unmatched"]
    assert system.psp.capture_effects == 0


async def test_tokens_are_listed_by_last_updated_in_the_words_of_each_version(system: System) -> None:
    await system.keep()
    await system.keep(uid="APP1", type="APP_USER", visual_number=None, language=None)
    listed, _ = await system.edge.call("GET", "/emsp/2.2.1/tokens", system.token)
    assert [row["uid"] for row in listed["data"]] == ["04A2B3C4", "APP1"]
    assert "payment" not in listed["data"][0]
    assert "visual_number" not in listed["data"][1]
    old, _ = await system.edge.call("GET", "/emsp/2.1.1/tokens", system.token)
    assert (old["data"][0]["auth_id"], old["data"][1]["type"]) == (TOKEN.contract_id, "OTHER")
    later, _ = await system.edge.call(
        "GET", "/emsp/2.2.1/tokens?date_from=2026-10-29T08:00:01Z", system.token
    )
    assert later["data"] == []


async def test_one_partner_cannot_overwrite_anothers_token(system: System) -> None:
    await system.keep()
    await system.edge.party("rival", "demand_partner")
    async with transaction(system.edge.pool) as connection:
        assert not await tokens.save_token(connection, replace(TOKEN, demand_partner_id="rival"))


def running(**changes: Any) -> dict[str, Any]:
    return {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "S1",
        "start_date_time": "2026-10-29T08:00:00Z",
        "kwh": 10,
        "cdr_token": {"uid": "u", "type": "RFID", "contract_id": "c"},
        "auth_method": "AUTH_REQUEST",
        "location_id": "LOC1",
        "evse_uid": "E1",
        "connector_id": "1",
        "currency": "EUR",
        "status": "ACTIVE",
        "last_updated": "2026-10-29T08:30:00Z",
        **changes,
    }


async def hold_of(system: System) -> int:
    return int(await system.edge.pool.fetchval("SELECT hold_minor FROM gateway.payment_authorization"))


async def look(system: System) -> None:
    job = RunningCostJob(services=system.edge.services, payments=system.payments)
    while await job.run_once():
        pass


async def test_a_session_that_outgrows_its_hold_raises_it_once_with_headroom(system: System) -> None:
    await system.keep(payment={"type": "partner_account"})
    await system.edge.pool.execute(FUNDED, 100_000)
    reference = (await system.ask())[0]["data"]["authorization_reference"]
    held = await hold_of(system)
    where = "/emsp/2.2.1/sessions/NL/ABC/S1"
    await system.edge.call("PUT", where, system.token, running(authorization_reference=reference))
    await look(system)
    assert await hold_of(system) == held
    system.edge.clock.at = NOW + timedelta(minutes=90)
    grown = {"kwh": 100, "last_updated": "2026-10-29T09:30:00Z"}
    for _ in range(2):
        await system.edge.call("PATCH", where, system.token, grown)
        await look(system)
    assert (
        await hold_of(system) == 7412
    )  # 100 kWh at 0.49 and 21 % VAT is 59.29; and a quarter more, rounded up
    assert await system.edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_session_due") == 0


async def test_periods_in_another_unit_than_the_meter_do_not_raise_the_hold(system: System) -> None:
    await system.keep(payment={"type": "partner_account"})
    await system.edge.pool.execute(FUNDED, 9_000_000)
    reference = (await system.ask())[0]["data"]["authorization_reference"]
    held = await hold_of(system)
    wrong = [{"start_date_time": "2026-10-29T08:00:00Z", "dimensions": [{"type": "ENERGY", "volume": 10000}]}]
    session = running(authorization_reference=reference, charging_periods=wrong)
    await system.edge.call("PUT", "/emsp/2.2.1/sessions/NL/ABC/S1", system.token, session)
    await look(system)
    assert await hold_of(system) == held


async def test_a_hold_that_can_not_be_raised_is_left_to_the_cdr(system: System) -> None:
    await system.keep(payment={"type": "partner_account"})
    await system.edge.pool.execute(FUNDED, 4_000)
    reference = (await system.ask())[0]["data"]["authorization_reference"]
    held = await hold_of(system)
    session = running(authorization_reference=reference, kwh=100)
    await system.edge.call("PUT", "/emsp/2.2.1/sessions/NL/ABC/S1", system.token, session)
    for _ in range(6):
        await look(system)
        system.edge.clock.at += timedelta(minutes=2)
    assert await hold_of(system) == held
    assert await system.edge.pool.fetchval("SELECT count(*) FROM gateway.ocpi_session_due") == 0


async def test_a_session_of_another_operators_authorization_touches_no_hold(system: System) -> None:
    await system.keep(payment={"type": "partner_account"})
    await system.edge.pool.execute(FUNDED, 100_000)
    reference = (await system.ask())[0]["data"]["authorization_reference"]
    held = await hold_of(system)
    other = await system.edge.register("DE-XYZ")
    session = running(authorization_reference=reference, kwh=100, country_code="DE", party_id="XYZ")
    await system.edge.call("PUT", "/emsp/2.2.1/sessions/DE/XYZ/S1", other, session)
    await look(system)
    assert await hold_of(system) == held


async def test_a_booking_that_nobody_used_costs_its_no_show_fee(system: System) -> None:
    """The fee is in the tariff: a FLAT that applies when the reservation expires (2.3.0 bookings.

    Noshow_fee).
    """
    fee = {
        "price_components": [{"type": "FLAT", "price": 4.0, "vat": 21.0, "step_size": 1}],
        "restrictions": {"reservation": "RESERVATION_EXPIRES"},
    }
    elements = [fee, *tariff()["elements"]]
    await system.edge.call("PUT", "/emsp/2.2.1/tariffs/NL/ABC/T1", system.token, tariff(elements=elements))
    await system.keep()
    reference = (await system.ask())[0]["data"]["authorization_reference"]
    unused = cdr(
        authorization_reference=reference,
        session_id=None,
        cdr_token=BEARER,
        cdr_location={"id": "LOC1", "evse_uid": "#NA", "evse_id": "#NA", "connector_id": "#NA"},
        charging_periods=[
            {
                "start_date_time": "2026-10-29T08:00:00Z",
                "dimensions": [{"type": "RESERVATION_TIME", "volume": 1.0}],
            }
        ],
        total_energy=0,
        total_cost={"excl_vat": 4.0, "incl_vat": 4.84},
    )
    await system.edge.call("POST", "/emsp/2.2.1/cdrs", system.token, unused)
    await system.settle()
    assert await system.edge.pool.fetchval("SELECT amount_minor FROM gateway.capture") == 484


def cdr_fields_of_the_guide() -> dict[str, Any]:
    """What the Plug & Charge guide says that a CDR carries."""
    guide = (Path(__file__).parents[2] / "docs/guides/plug-and-charge.md").read_text(encoding="utf-8")
    (example,) = re.findall(r'\{"authorization_reference": .*?\.\.\.\}\n', guide, flags=re.DOTALL)
    fields: dict[str, Any] = json.loads(example.replace(", ...}", "}"))
    return fields


async def test_a_vehicles_session_is_settled_by_the_cdr_that_the_plug_and_charge_guide_shows(
    system: System,
) -> None:
    fields = cdr_fields_of_the_guide()
    assert fields["cdr_token"]["contract_id"] == EMAID
    assert fields["authorization_reference"].startswith("auth_")
    await system.edge.party("superapp", "demand_partner")
    market = await open_market(system.edge.pool, now=NOW)
    await market.put(contract(valid_from=NOW - timedelta(days=1)))
    stations = build_station_services(
        pool=system.edge.pool,
        clock=system.edge.clock,
        environment=market.environment,
        base_url="http://api.test",
        payments=system.payments,
        decisions=market.service,
        spending=ContractSpendingService(
            pool=system.edge.pool, clock=system.edge.clock, clearing=build_clearing()
        ),
        signals=ContractSignalService(pool=system.edge.pool, clock=system.edge.clock),
    )
    assert stations.authorization is not None
    vehicle = await stations.authorization.authorize(
        VehicleAuthorizationRequest(
            operator_id="NL-ABC",
            evse_ids=(location()["evses"][0]["evse_id"],),
            session_ref="pnc-1",
            ocpp_version=OcppVersion.V2_1,
            message=market.pem_request(),
        )
    )
    assert vehicle.decision.finding == "accepted", vehicle.decision.detail
    record = cdr(session_id=None, **fields | {"authorization_reference": vehicle.decision.authorization_id})
    await system.edge.call("POST", "/emsp/2.2.1/cdrs", system.token, record)
    await system.settle()
    async with system.edge.pool.acquire() as connection:
        kept = await cdrs.load_cdr(connection, "NL-ABC", "CDR1")
    assert kept is not None
    assert kept.status is CdrStatus.COMPLETED
    assert await system.edge.pool.fetchval("SELECT amount_minor FROM gateway.capture") == 1215


@pytest.mark.parametrize(
    ("stored", "kind", "allowed"),
    [
        ({"state": ContractState.BLOCKED}, "OTHER", "BLOCKED"),
        ({"state": ContractState.CANCELLED}, "OTHER", "BLOCKED"),
        ({"valid_until": NOW}, "OTHER", "EXPIRED"),
        ({}, "OTHER", "ALLOWED"),
        ({"state": ContractState.BLOCKED}, "RFID", "ALLOWED"),  # a card is not the vehicle's contract
        ({"state": ContractState.BLOCKED, "party": "other"}, "OTHER", "ALLOWED"),  # another party's contract
    ],
)
async def test_an_emaid_whose_contract_is_blocked_is_not_let_in_by_its_token(
    system: System, stored: dict[str, Any], kind: str, allowed: str
) -> None:
    emaid = "DE8AAC12345678"
    await system.keep(uid="de-8aa-c12345678" if kind == "OTHER" else emaid, type=kind, contract_id=emaid)
    state = stored.pop("state", ContractState.ACTIVE)
    async with transaction(system.edge.pool) as connection:
        await put_contract(
            connection,
            contract(emaid, **({"party": "app", "valid_from": NOW - timedelta(days=9)} | stored)),
            environment="sandbox",
            verifier=ChainVerifier(trust=trust_of(version=1, anchors=[], cross_certificates=[])),
            actor="app",
            now=NOW,
        )
        if state is not ContractState.ACTIVE:
            await set_state(
                connection, environment="sandbox", emaid=emaid, state=state, actor="app", reason="", now=NOW
            )
    uid = "de-8aa-c12345678" if kind == "OTHER" else emaid
    answer, status = await system.ask(uid=uid, kind=kind)
    assert (status, answer["data"]["allowed"]) == (200, allowed), answer
    assert len(system.psp.payments) == int(allowed == "ALLOWED")
