"""From a CDR with signed meter data to its capture, or to a person: over real HTTP on a real PostgreSQL."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from clearing.meter_data import service
from clearing.meter_data.findings import MeterPolicy
from clearing.meter_data.registered_key import MeterIdentity, MeterKeySource, NewMeterKey
from clearing.services import build_clearing
from gateway.database import Pool, transaction
from gateway.exceptions.repository import ExceptionFilter
from gateway.exceptions.service import ExceptionService
from gateway.ids import new_id
from gateway.jobs.hold_monitor import HoldMonitorJob
from gateway.ocpi.last_update import OcpiLastUpdates
from gateway.ocpi.repository import cdrs
from gateway.ocpi.repository.cdrs import CdrRecord, CdrStatus
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.ocpi.token_authorization import SAME_REQUEST, TokenAuthorizationService
from gateway.payments.policy import PaymentPolicy
from gateway.payments.service import build_payments
from tests.fakes import clearing_fixtures as world
from tests.fakes.ocpi_edge import NOW, start_edge, stop_edge
from tests.fakes.ocpi_objects import cdr, location, tariff
from tests.fakes.psp import FakePsp
from tests.integration.test_ocpi_authorize import BEARER, System
from tests.unit.clearing.meter_builders import BEGIN, END, METER, public_der, record, signed_values

START = {"TM": "2026-10-29T08:00:00,000+0000 S"}
STOP = {"TM": "2026-10-29T09:00:00,000+0000 S"}


def signed(kwh: float = 20.5, *, seed: int = 7, page: str = "T7") -> str:
    """A record of the hour of `ocpi_objects.cdr`."""
    return record(BEGIN | START, END | STOP | {"RV": 100.5 + kwh}, seed=seed, PG=page)


@pytest.fixture
async def system(pool: Pool) -> AsyncIterator[System]:
    async with opened(pool, checked=False) as started:  # several CDRs of one hour at one EVSE
        yield started


@pytest.fixture
async def checked(pool: Pool) -> AsyncIterator[System]:
    """The same with the checks of CDRs behind those of meter data."""
    async with opened(pool, checked=True) as started:
        yield started


@asynccontextmanager
async def opened(pool: Pool, *, checked: bool) -> AsyncIterator[System]:
    edge, psp = await start_edge(pool), FakePsp()
    payments = build_payments(
        pool=pool,
        psp=psp,
        tariffs=OcpiTariffSource(),
        clock=edge.clock,
        policy=PaymentPolicy(),
        checked=checked,
        updates=OcpiLastUpdates(),
    )
    authorizer = TokenAuthorizationService(
        pool=pool, clock=edge.clock, payments=payments, environment="sandbox"
    )
    object.__setattr__(edge.services, "authorizer", authorizer)
    await edge.party("app", "demand_partner")
    started = System(edge=edge, psp=psp, payments=payments, token=await edge.register("NL-ABC"))
    async with pool.acquire() as connection:
        await build_clearing().reference_data.register_party(connection, world.PARTIES["NL-ABC"], now=NOW)
    await edge.call("PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", started.token, location())
    await edge.call("PUT", "/emsp/2.2.1/tariffs/NL/ABC/T1", started.token, tariff())
    await started.keep()
    await registered(started)
    yield started
    await stop_edge(edge)


async def registered(system: System) -> None:
    new = NewMeterKey(
        identity=MeterIdentity(meter_serial=METER),
        public_key=public_der().hex(),
        source=MeterKeySource.BNETZA,
        valid_from=NOW - timedelta(days=30),
    )
    async with transaction(system.edge.pool) as connection:
        await service.register_key(connection, "NL-ABC", new, key_id=new_id(), by="anna", now=NOW)


async def under(system: System, policy: MeterPolicy) -> None:
    start = NOW - timedelta(days=30)
    async with transaction(system.edge.pool) as connection:
        await service.set_policy(connection, "NL-ABC", policy, valid_from=start, by="anna", now=NOW)


async def sent(system: System, *texts: str, key: bytes | None = None, **changes: Any) -> CdrRecord:
    """A CDR of a fresh session with these records, settled."""
    answer, _ = await system.ask()
    reference = answer["data"]["authorization_reference"]
    system.edge.clock.at = max(system.edge.clock.at + SAME_REQUEST * 2, NOW + timedelta(hours=1))
    tree = cdr(authorization_reference=reference, session_id=None, **changes)
    if texts:
        tree["signed_data"] = signed_values(*texts, key=key)
    answer, status = await system.edge.call("POST", "/emsp/2.2.1/cdrs", system.token, tree)
    assert (status, answer["status_code"]) == (201, 1000)
    await system.settle()
    return await kept(system, tree["id"])


async def kept(system: System, cdr_id: str = "CDR1") -> CdrRecord:
    async with system.edge.pool.acquire() as connection:
        found = await cdrs.load_cdr(connection, "NL-ABC", cdr_id)
    assert found is not None
    return found


async def flags(system: System, found: CdrRecord) -> list[str]:
    flagged: list[str] = await system.edge.pool.fetchval(
        "SELECT flags FROM gateway.session WHERE id = $1", found.session_id
    )
    return flagged


async def test_what_the_meter_signed_is_captured_without_a_flag(system: System) -> None:
    found = await sent(system, signed())
    assert (found.status, system.psp.capture_effects) == (CdrStatus.COMPLETED, 1)
    assert not [flag for flag in await flags(system, found) if "meter" in flag or "key" in flag]


async def test_more_than_the_meter_signed_waits_and_captures_nothing(system: System) -> None:
    found = await sent(system, signed(kwh=10))
    assert (found.status, system.psp.capture_effects) == (CdrStatus.UNPRICEABLE, 0)
    assert "the meter signed 10.0 kWh [energy_differs]" in (found.reason or "")
    queue = ExceptionService(clearing=build_clearing())
    async with transaction(system.edge.pool) as connection:
        await queue.refresh(connection, now=NOW, wall_now=NOW)
        waiting = await queue.list_exceptions(connection, ExceptionFilter(), limit=10)
    assert [(one.kind.value, one.subject_id) for one in waiting] == [("unmatched_cdr", "NL-ABC/CDR1")]
    assert "energy_differs" in waiting[0].detail


async def test_less_than_the_meter_signed_waits_as_well(system: System) -> None:
    found = await sent(system, signed(kwh=30))
    assert (found.status, system.psp.capture_effects) == (CdrStatus.UNPRICEABLE, 0)


async def test_a_record_that_another_key_signed_waits_until_the_cdr_may_be_taken(system: System) -> None:
    found = await sent(system, signed(seed=9), key=public_der(seed=9))
    assert (found.status, system.psp.capture_effects) == (CdrStatus.UNPRICEABLE, 0)
    assert "[signature_bad]" in (found.reason or "")
    await under(system, MeterPolicy.IGNORED)
    async with system.edge.pool.acquire() as connection:
        assert await cdrs.replay_cdr(connection, "NL-ABC", "CDR1", now=NOW, wall_now=NOW)
    await system.settle()
    assert ((await kept(system)).status, system.psp.capture_effects) == (CdrStatus.COMPLETED, 1)


async def test_a_record_under_the_cdrs_own_key_is_captured_with_flags(system: System) -> None:
    other = record(BEGIN | START, END | STOP | {"RV": 121.0}, seed=9, MS="unknown")
    found = await sent(system, other, key=public_der(seed=9))
    assert (found.status, system.psp.capture_effects) == (CdrStatus.COMPLETED, 1)
    assert {"meter_data_self_asserted", "key_unknown"} <= set(await flags(system, found))


@pytest.mark.parametrize(
    ("policy", "status"),
    [(MeterPolicy.REQUIRED, CdrStatus.UNPRICEABLE), (MeterPolicy.CHECKED, CdrStatus.COMPLETED)],
)
async def test_a_cdr_without_signed_data_waits_where_they_are_required(
    system: System, policy: MeterPolicy, status: CdrStatus
) -> None:
    await under(system, policy)
    assert (await sent(system)).status is status


@pytest.mark.parametrize(
    ("policy", "status"),
    [(MeterPolicy.REQUIRED, CdrStatus.UNPRICEABLE), (MeterPolicy.CHECKED, CdrStatus.COMPLETED)],
)
async def test_a_record_that_names_no_meter_waits_where_signed_data_are_required(
    system: System, policy: MeterPolicy, status: CdrStatus
) -> None:
    await under(system, policy)
    unnamed = record(BEGIN | START, END | STOP | {"RV": 121.0}, seed=9, MS=None)
    found = await sent(system, unnamed, key=public_der(seed=9))
    assert found.status is status
    assert ("[meter_unnamed]" in (found.reason or "")) is (policy is MeterPolicy.REQUIRED)


async def test_without_any_registered_key_a_record_that_names_no_meter_is_flagged(system: System) -> None:
    await under(system, MeterPolicy.REQUIRED)
    await system.edge.pool.execute("UPDATE clearing.meter_key SET valid_to = $1", NOW - timedelta(days=20))
    unnamed = record(BEGIN | START, END | STOP | {"RV": 121.0}, seed=9, MS=None)
    found = await sent(system, unnamed, key=public_der(seed=9))
    assert found.status is CdrStatus.COMPLETED
    assert "meter_data_self_asserted" in await flags(system, found)


async def test_the_record_of_one_session_settles_no_other(system: System) -> None:
    assert (await sent(system, signed())).status is CdrStatus.COMPLETED
    again = await sent(system, signed(), id="CDR2")
    assert (again.status, system.psp.capture_effects) == (CdrStatus.UNPRICEABLE, 1)
    assert "[record_replayed]" in (again.reason or "")
    assert (await sent(system, signed(page="T8"), id="CDR3")).status is CdrStatus.COMPLETED


async def test_a_cdr_that_replaces_a_credited_one_may_carry_its_record(system: System) -> None:
    first = await sent(system, signed())
    tree = cdr(
        id="CDR1-C",
        credit=True,
        credit_reference_id="CDR1",
        session_id=None,
        signed_data=signed_values(signed()),
        total_cost={"excl_vat": -10.05},
    )
    await system.edge.call("POST", "/emsp/2.2.1/cdrs", system.token, tree)
    async with transaction(system.edge.pool) as connection:
        assert first.session_id is not None
        await connection.execute(
            "UPDATE gateway.session SET state = 'cleared' WHERE id = $1", first.session_id
        )
    view = cdr(
        id="CDR2",
        authorization_reference=first.authorization_reference,
        session_id=None,
        signed_data=signed_values(signed()),
    )
    await system.edge.call("POST", "/emsp/2.2.1/cdrs", system.token, view)
    await system.settle()
    assert (await kept(system, "CDR2")).status is CdrStatus.COMPLETED


def absurd(kwh: float) -> dict[str, Any]:
    period = {"start_date_time": "2026-10-29T08:00:00Z", "dimensions": [{"type": "ENERGY", "volume": kwh}]}
    return {
        "charging_periods": [period],
        "total_energy": kwh,
        "total_cost": {"excl_vat": round(kwh * 0.49, 2)},
        "cdr_token": BEARER,
    }


async def replayed(system: System) -> CdrRecord:
    async with system.edge.pool.acquire() as connection:
        now = system.edge.clock.at
        assert await cdrs.replay_cdr(connection, "NL-ABC", "CDR1", now=now, wall_now=now)
    await system.settle()
    return await kept(system)


async def test_a_cdr_passes_both_gates_or_waits_at_the_first_that_stops_it(checked: System) -> None:
    """In watt-hours: the meter signed a thousandth. Without the meter's word its own check still stops it."""
    found = await sent(checked, signed(), **absurd(20_500))
    assert (found.status, checked.psp.capture_effects) == (CdrStatus.UNPRICEABLE, 0)
    assert "the meter signed 20.5 kWh [energy_differs]" in (found.reason or "")
    await under(checked, MeterPolicy.IGNORED)
    found = await replayed(checked)
    assert (found.status, checked.psp.capture_effects) == (CdrStatus.EXCEPTION, 0)
    assert (found.reason or "").startswith("energy_looks_like_wh")


async def test_no_signature_makes_more_energy_possible_than_the_charge_point_gives(
    checked: System,
) -> None:
    found = await sent(checked, signed(kwh=200), **absurd(200))
    assert (found.status, checked.psp.capture_effects) == (CdrStatus.EXCEPTION, 0)
    assert (found.reason or "").startswith("energy_above_power")


async def test_a_good_signature_and_a_possible_cdr_are_captured(checked: System) -> None:
    found = await sent(checked, signed(), cdr_token=BEARER)
    assert (found.status, found.reason, checked.psp.capture_effects) == (CdrStatus.COMPLETED, None, 1)
    assert await flags(checked, found) == []


async def test_while_a_cdr_waits_for_its_meters_key_the_hold_stays(checked: System) -> None:
    """Neither released nor captured by the payer's word: the CDR is there."""
    found = await sent(checked, signed(seed=9), key=public_der(seed=9))
    assert found.status is CdrStatus.UNPRICEABLE
    (row,) = await checked.edge.pool.fetch("SELECT id, demand_partner_id FROM gateway.session")
    body = cdr(id="STATED", session_id=None, **absurd(1))
    del body["total_cost"]
    stated = await checked.payments.complete(
        party_id=row["demand_partner_id"],
        session_id=row["id"],
        cdr_raw=json.dumps(body).encode(),
        cdr_version="2.2.1",
    )
    assert stated.provisional is not None
    checked.edge.clock.at = NOW + timedelta(days=40)
    await HoldMonitorJob(clock=checked.edge.clock, payments=checked.payments).run_once()
    (state,) = await checked.edge.pool.fetch("SELECT state FROM gateway.payment_authorization")
    assert (state["state"], checked.psp.capture_effects) == ("authorized", 0)
