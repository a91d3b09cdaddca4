"""The last update of a running session as the CDR that it would be, from what a CPO pushed."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.database import Pool
from gateway.ids import format_id
from gateway.lanes.hold_watch import HoldWatchLane
from gateway.ocpi.last_update import OcpiLastUpdates
from gateway.payments.holds import MissingCdrAction
from gateway.payments.missing import MissingCdrPolicy
from gateway.payments.policy import PaymentPolicy
from gateway.payments.records import last_known_cdr_id
from gateway.payments.service import build_payments
from tests.fakes.psp import FakePsp
from tests.integration.test_payments import START, Hands, House, OneTariff

UPDATED = START + timedelta(hours=1)


@pytest.fixture
async def house(pool: Pool) -> House:
    async with pool.acquire() as connection:
        await connection.executemany(
            "INSERT INTO gateway.party (id, kind, name, created_at) VALUES ($1, $2, $1, now())",
            [("DE-ABC", "cpo"), ("NL-XYZ", "cpo"), ("parking", "demand_partner")],
        )
    psp, clock = FakePsp(), Hands()
    payments = build_payments(
        pool=pool,
        psp=psp,
        tariffs=OneTariff(),
        clock=clock,
        policy=PaymentPolicy(),
        updates=OcpiLastUpdates(),
    )
    return House(pool=pool, psp=psp, clock=clock, payments=payments)


async def push(house: House, *, reference: str | None, kwh: float = 10.0, **changes: Any) -> None:
    """A session as the OCPI edge keeps it: body, and what it is looked up by."""
    body = {
        "country_code": "DE", "party_id": "ABC", "id": "S-77", "start_date_time": "2026-10-29T08:00:00Z",
        "kwh": kwh, "currency": "EUR", "location_id": "L1", "evse_uid": "E1", "connector_id": "1",
        "auth_method": "AUTH_REQUEST", "status": "ACTIVE", "last_updated": "2026-10-29T09:00:00Z",
    }  # fmt: skip
    fields = {"party_id": "DE-ABC", "key": "s-77", "body": json.dumps(body).encode(), "at": UPDATED} | changes
    async with house.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO gateway.ocpi_session "
            "(party_id, session_key, session_ref, version, body, status, currency, energy_wh, "
            "authorization_reference, last_updated, received_at, updated_at) "
            "VALUES ($1, $2, $2, '2.2.1', $3, 'ACTIVE', 'EUR', $4, $5, $6, now(), now())",
            fields["party_id"], fields["key"], fields["body"], int(kwh * 1000), reference, fields["at"],
        )  # fmt: skip


async def forgotten(house: House) -> None:
    await house.payments.missing.set_policy(
        MissingCdrPolicy(action=MissingCdrAction.LAST_KNOWN_COST, after_days=1), party_id="DE-ABC"
    )
    house.clock.at += timedelta(days=2)
    await HoldWatchLane(clock=house.clock, payments=house.payments).run_once()


async def ended(house: House, view: Any) -> Any:
    return await house.payments.get_session(party_id="parking", session_id=view.session.id)


@pytest.mark.parametrize("named", ["session", "authorization", "reference"])
async def test_the_last_update_is_found_by_every_name_and_priced_by_the_frozen_tariff(
    house: House, named: str
) -> None:
    view = await house.authorize(session_ref="S-77")
    references = {
        "session": format_id("ses", view.session.id),
        "authorization": format_id("auth", view.authorization.id),
        "reference": None,
    }
    await push(house, reference=references[named])
    await forgotten(house)
    after = await ended(house, view)
    assert (after.capture.amount_minor, after.session.energy_wh) == (595, 10_000)
    assert after.session.cdr_id == last_known_cdr_id(view.session.id)
    assert after.session.ended_at == UPDATED
    assert list(after.session.flags) == ["last_known_cost"]


async def test_the_latest_of_several_updates_counts(house: House) -> None:
    view = await house.authorize()
    reference = format_id("ses", view.session.id)
    await push(house, reference=reference, kwh=5.0)
    await push(house, reference=reference, kwh=20.0, key="s-78", at=UPDATED + timedelta(minutes=9))
    await forgotten(house)
    assert (await ended(house, view)).capture.amount_minor == 1190


async def test_another_cpos_update_and_one_that_cannot_be_read_release_the_hold(house: House) -> None:
    views = [await house.authorize() for _ in range(2)]
    names = [format_id("ses", view.session.id) for view in views]
    await push(house, reference=names[0], party_id="NL-XYZ")
    await push(house, reference=names[1], key="s-79", body=b'{"start_date_time": "yesterday"}')
    await forgotten(house)
    assert [(await ended(house, view)).authorization.state for view in views] == ["voided", "voided"]
    assert house.clock.at > datetime(2026, 10, 30, tzinfo=UTC)
