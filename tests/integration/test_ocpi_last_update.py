"""The last update of a running session as the CDR that it would be, from what a CPO pushed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.database import Pool
from gateway.ids import format_id
from gateway.jobs.hold_monitor import HoldMonitorJob
from gateway.ocpi.last_update import OcpiLastUpdates
from gateway.payments.policy import PaymentPolicy
from gateway.payments.records import MissingCdrAction, MissingCdrPolicy, last_known_cdr_id
from gateway.payments.service import build_payments
from tests.fakes.api import START, OneTariff
from tests.fakes.parties import add_parties
from tests.fakes.psp import FakePsp
from tests.integration.test_payments import Hands, System

UPDATED = START + timedelta(hours=1)


@pytest.fixture
async def system(pool: Pool) -> System:
    async with pool.acquire() as connection:
        await add_parties(connection, {"DE-ABC": "cpo", "NL-XYZ": "cpo", "parking": "demand_partner"})
    psp, clock = FakePsp(), Hands()
    payments = build_payments(
        pool=pool,
        psp=psp,
        tariffs=OneTariff(),
        clock=clock,
        policy=PaymentPolicy(),
        updates=OcpiLastUpdates(),
    )
    return System(pool=pool, psp=psp, clock=clock, payments=payments)


async def push(system: System, *, reference: str | None, kwh: float = 10.0, **changes: Any) -> None:
    """A session as the OCPI edge keeps it: body, and what it is looked up by."""
    body = {
        "country_code": "DE",
        "party_id": "ABC",
        "id": "S-77",
        "start_date_time": "2026-10-29T08:00:00Z",
        "kwh": kwh,
        "currency": "EUR",
        "location_id": "L1",
        "evse_uid": "E1",
        "connector_id": "1",
        "auth_method": "AUTH_REQUEST",
        "status": "ACTIVE",
        "last_updated": "2026-10-29T09:00:00Z",
    }
    fields = {"party_id": "DE-ABC", "key": "s-77", "body": json.dumps(body).encode(), "at": UPDATED} | changes
    async with system.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO gateway.ocpi_session "
            "(party_id, session_key, session_ref, version, body, status, currency, energy_wh, "
            "authorization_reference, last_updated, received_at, updated_at) "
            "VALUES ($1, $2, $2, '2.2.1', $3, 'ACTIVE', 'EUR', $4, $5, $6, now(), now())",
            fields["party_id"],
            fields["key"],
            fields["body"],
            int(kwh * 1000),
            reference,
            fields["at"],
        )


async def forgotten(system: System) -> None:
    await system.payments.missing_cdrs.set_policy(
        MissingCdrPolicy(action=MissingCdrAction.LAST_KNOWN_COST, after_days=1), party_id="DE-ABC"
    )
    system.clock.at += timedelta(days=2)
    await HoldMonitorJob(clock=system.clock, payments=system.payments).run_once()


async def ended(system: System, view: Any) -> Any:
    return await system.payments.get_session(party_id="parking", session_id=view.session.id)


@pytest.mark.parametrize("named", ["session", "authorization", "reference"])
async def test_the_last_update_is_found_by_every_name_and_priced_by_the_frozen_tariff(
    system: System, named: str
) -> None:
    view = await system.authorize(session_ref="S-77")
    references = {
        "session": format_id("ses", view.session.id),
        "authorization": format_id("auth", view.authorization.id),
        "reference": None,
    }
    await push(system, reference=references[named])
    await forgotten(system)
    after = await ended(system, view)
    assert (after.capture.amount_minor, after.session.energy_wh) == (595, 10_000)
    assert after.session.cdr_id == last_known_cdr_id(view.session.id)
    assert after.session.ended_at == UPDATED
    assert list(after.session.flags) == ["last_known_cost"]


async def test_the_latest_of_several_updates_counts(system: System) -> None:
    view = await system.authorize()
    reference = format_id("ses", view.session.id)
    await push(system, reference=reference, kwh=5.0)
    await push(system, reference=reference, kwh=20.0, key="s-78", at=UPDATED + timedelta(minutes=9))
    await forgotten(system)
    assert (await ended(system, view)).capture.amount_minor == 1190


async def test_another_cpos_update_and_one_that_cannot_be_read_release_the_hold(system: System) -> None:
    views = [await system.authorize() for _ in range(2)]
    names = [format_id("ses", view.session.id) for view in views]
    await push(system, reference=names[0], party_id="NL-XYZ")
    await push(system, reference=names[1], key="s-79", body=b'{"start_date_time": "yesterday"}')
    await forgotten(system)
    assert [(await ended(system, view)).authorization.state for view in views] == ["voided", "voided"]
    assert system.clock.at > datetime(2026, 10, 30, tzinfo=UTC)
