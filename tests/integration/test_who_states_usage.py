"""Who may state a session's usage, over the OCPI edge: the operator's CDR, its key, until then the payer."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway.database import Pool
from gateway.ids import format_id
from gateway.jobs.hold_monitor import HoldMonitorJob
from gateway.jobs.running_cost import RunningCostJob
from gateway.ocpi.last_update import OcpiLastUpdates
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.payments.errors import CdrRejectedError, PaymentConflictError, SessionAlreadyCompletedError
from gateway.payments.policy import PaymentPolicy
from gateway.payments.presenters import session_object
from gateway.payments.records import MissingCdrAction, MissingCdrPolicy
from gateway.payments.service import build_payments
from gateway.payments.stated_usage import UsageAction
from gateway.payments.views import AuthorizationView, SessionView
from tests.fakes.ocpi_edge import NOW, start_edge, stop_edge
from tests.fakes.ocpi_objects import cdr, location, tariff
from tests.fakes.psp import FakePsp
from tests.integration.test_cdr_checks import END, PRICE, System, energy

TINY = 6  # 0.1 kWh at 0.49 and 21 % VAT
MONTH = timedelta(days=31)


@pytest.fixture
async def system(pool: Pool) -> AsyncIterator[System]:
    """An operator that is connected by OCPI, and one authorized session's payer."""
    edge, psp = await start_edge(pool), FakePsp()
    payments = build_payments(
        pool=pool,
        psp=psp,
        tariffs=OcpiTariffSource(),
        clock=edge.clock,
        policy=PaymentPolicy(),
        updates=OcpiLastUpdates(),
    )
    await edge.party("app", "demand_partner")
    await edge.party("platform", "platform")
    started = System(edge=edge, psp=psp, payments=payments, token=await edge.register("NL-ABC"))
    await edge.call("PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", started.token, location())
    await edge.call("PUT", "/emsp/2.2.1/tariffs/NL/ABC/T1", started.token, tariff())
    yield started
    await stop_edge(edge)


async def state(
    system: System,
    view: AuthorizationView,
    kwh: float,
    *,
    party: str = "app",
    end: str = "2026-10-29T09:00:00Z",
    name: str = "STATED",
) -> SessionView:
    """Usage by the key of a party, at the end of the session or later."""
    system.edge.clock.at = max(system.edge.clock.at, END)
    body = cdr(id=name, end_date_time=end, **energy(kwh))
    del body["total_cost"]
    return await system.payments.complete(
        party_id=party,
        session_id=view.session.id,
        cdr_raw=json.dumps(body).encode(),
        cdr_version="2.2.1",
        admin=party == "platform",
    )


async def seen(system: System, view: AuthorizationView) -> Any:
    """The public session."""
    found = await system.payments.get_session(party_id="app", session_id=view.session.id)
    return session_object(await system.payments.with_usage(found))


async def report(system: System, view: AuthorizationView) -> None:
    """The operator reports 12 kWh of the running session."""
    update = {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "S1",
        "start_date_time": "2026-10-29T08:00:00Z",
        "kwh": 12.0,
        "cdr_token": {
            "country_code": "NL",
            "party_id": "ABC",
            "uid": "u",
            "type": "APP_USER",
            "contract_id": "c",
        },
        "auth_method": "AUTH_REQUEST",
        "authorization_reference": format_id("auth", view.authorization.id),
        "location_id": "LOC1",
        "evse_uid": "E1",
        "connector_id": "1",
        "currency": "EUR",
        "status": "ACTIVE",
        "charging_periods": energy(12.0)["charging_periods"],
        "last_updated": "2026-10-29T08:40:00Z",
    }
    system.edge.clock.at = NOW + timedelta(minutes=40)
    answer, _ = await system.edge.call("PUT", "/emsp/2.2.1/sessions/NL/ABC/S1", system.token, update)
    assert answer["status_code"] == 1000, answer


async def watch(system: System, at: datetime) -> None:
    system.edge.clock.at = at
    await HoldMonitorJob(clock=system.edge.clock, payments=system.payments).run_once()


async def events(system: System) -> list[tuple[str, str]]:
    rows = await system.pool.fetch("SELECT type, party_id FROM gateway.event ORDER BY id")
    return [(row["type"], row["party_id"]) for row in rows if row["type"].startswith("session.")]


async def test_a_payer_does_not_end_a_connected_operators_session(system: System) -> None:
    view = await system.authorize()
    stated = await state(system, view, 0.1)
    assert (stated.session.state, stated.capture) == ("active", None)
    shown = await seen(system, view)
    assert (shown.state, shown.capture, shown.stated_by) == ("active", None, None)
    assert (shown.provisional_usage.state, shown.provisional_usage.party) == ("awaiting_cdr", "app")
    assert (shown.provisional_usage.energy_wh, shown.provisional_usage.price) == (100, TINY)
    assert (await system.session())["payment"] == "authorized"
    assert await events(system) == [("session.usage_stated", "app"), ("session.usage_stated", "NL-ABC")]


async def test_the_same_statement_again_changes_nothing_and_another_one_takes_its_place(
    system: System,
) -> None:
    view = await system.authorize()
    for kwh in (20.5, 20.5, 20.0):
        await state(system, view, kwh)
    assert (await seen(system, view)).provisional_usage.energy_wh == 20_000
    assert len(await events(system)) == 4


async def test_a_cdr_that_says_the_same_is_captured_at_once_and_confirms(system: System) -> None:
    view = await system.authorize()
    await state(system, view, 20.5)
    await system.send(view)
    found = await system.session()
    assert (found["amount_minor"], found["flags"], found["cdr_id"]) == (PRICE, [], "CDR1")
    shown = await seen(system, view)
    assert (shown.stated_by, shown.provisional_usage.state) == ("operator_cdr", "confirmed")


# 5 % of the larger energy and 500 Wh: 20.5 against 18.975 kWh is the last that is only shown.
@pytest.mark.parametrize(("kwh", "waits"), [(20.4, False), (18.975, False), (18.974, True), (0.1, True)])
async def test_a_cdr_that_differs_is_shown_or_waits(system: System, kwh: float, *, waits: bool) -> None:
    view = await system.authorize()
    await state(system, view, kwh)
    await system.send(view)
    found, waiting = await system.session(), await system.waiting()
    if not waits:
        assert (found["amount_minor"], found["flags"], waiting) == (PRICE, ["usage_differs"], [])
        assert (await seen(system, view)).provisional_usage.state == "replaced"
        return
    assert (found["state"], found["amount_minor"], found["payment"]) == ("active", None, "authorized")
    (one,) = waiting
    assert "usage_differs: 20.500 kWh in 1:00:00, the payer stated" in one.detail
    assert (await seen(system, view)).usage.reasons == ["usage_differs"]


@pytest.mark.parametrize(("end", "waits"), [("08:45:00", False), ("08:44:59", True)])
async def test_another_length_of_the_session_is_a_difference(
    system: System, end: str, *, waits: bool
) -> None:
    view = await system.authorize()
    await state(system, view, 20.5, end=f"2026-10-29T{end}Z")
    await system.send(view)
    assert bool(await system.waiting()) is waits
    assert ((await system.session())["amount_minor"] is None) is waits


@pytest.mark.parametrize(
    ("action", "captured"),
    [(UsageAction.TAKE_AS_IS, PRICE), (UsageAction.TAKE_LOWER, TINY), (UsageAction.RELEASE, None)],
)
async def test_a_person_decides_between_the_cdr_and_the_payer(
    system: System, action: UsageAction, captured: int | None
) -> None:
    view = await system.authorize()
    await state(system, view, 0.1)
    await system.send(view)
    await system.decide(action)
    assert (await system.session())["amount_minor"] == captured


async def test_undecided_the_billing_record_is_captured_before_the_hold_ends(system: System) -> None:
    system.psp.capture_before = NOW + timedelta(days=7)
    view = await system.authorize()
    await state(system, view, 0.1)
    await system.send(view)
    await watch(system, NOW + timedelta(days=6, minutes=-1))
    assert (await system.session())["amount_minor"] is None
    await watch(system, NOW + timedelta(days=6, minutes=1))
    assert (await system.session())["amount_minor"] == PRICE
    assert len(await system.waiting()) == 1  # a person still decides
    await system.pool.execute("UPDATE gateway.session SET state = 'cleared'")
    await system.decide(UsageAction.TAKE_LOWER)
    assert (await system.session())["refunded_minor"] == PRICE - TINY


@pytest.mark.parametrize("action", list(MissingCdrAction))
async def test_what_the_payer_stated_is_captured_where_no_cdr_comes(
    system: System, action: MissingCdrAction
) -> None:
    system.psp.capture_before = NOW + 2 * MONTH
    await system.payments.missing_cdrs.set_policy(
        MissingCdrPolicy(action=action, after_days=30), party_id="NL-ABC"
    )
    view = await system.authorize()
    await state(system, view, 20.0)
    await watch(system, NOW + timedelta(days=29))
    assert (await system.session())["amount_minor"] is None
    await watch(system, NOW + MONTH)
    found = await system.session()
    assert (found["amount_minor"], found["flags"]) == (1186, ["provisional_usage"])
    shown = await seen(system, view)
    assert (shown.stated_by, shown.provisional_usage.state) == ("payer", "captured")


async def test_it_is_captured_before_a_hold_is_lost(system: System) -> None:
    system.psp.capture_before = NOW + timedelta(days=7)
    view = await system.authorize()
    await state(system, view, 20.0)
    await watch(system, NOW + timedelta(days=7) - timedelta(minutes=100))
    assert (await system.session())["amount_minor"] == 1186


async def test_the_operators_last_update_comes_before_the_payers_statement(system: System) -> None:
    await system.payments.missing_cdrs.set_policy(
        MissingCdrPolicy(action=MissingCdrAction.LAST_KNOWN_COST, after_days=30), party_id="NL-ABC"
    )
    view = await system.authorize()
    await report(system, view)
    await state(system, view, 0.1)
    await watch(system, NOW + MONTH)
    assert (await system.session())["flags"] == ["last_known_cost"]
    assert (await seen(system, view)).stated_by == "operator_session"
    with pytest.raises(SessionAlreadyCompletedError, match="operator's CDR corrects it"):
        await state(system, view, 0.1)


async def test_a_cdr_that_comes_after_all_takes_the_statements_place(system: System) -> None:
    view = await system.authorize()
    await state(system, view, 20.4)
    await watch(system, NOW + MONTH)
    await system.pool.execute("UPDATE gateway.session SET state = 'cleared'")
    await system.send(view)
    found = await system.session()
    assert (found["price_minor"], found["receivable_minor"]) == (PRICE, PRICE - 1210)
    assert "usage_differs" in found["flags"]
    assert (await seen(system, view)).stated_by == "operator_cdr"


async def test_a_late_cdr_that_differs_much_waits_too(system: System) -> None:
    view = await system.authorize()
    await state(system, view, 0.1)
    await watch(system, NOW + MONTH)
    await system.pool.execute("UPDATE gateway.session SET state = 'cleared'")
    await system.send(view)
    assert (await system.session())["price_minor"] == TINY
    await system.decide(UsageAction.TAKE_AS_IS)
    found = await system.session()
    assert (found["price_minor"], found["receivable_minor"]) == (PRICE, PRICE - found["amount_minor"])


@pytest.mark.parametrize(("party", "source"), [("NL-ABC", "operator_api"), ("platform", "platform")])
async def test_the_operators_key_and_the_platforms_end_a_session(
    system: System, party: str, source: str
) -> None:
    view = await system.authorize()
    done = await state(system, view, 20.5, party=party)
    assert done.capture is not None
    assert (done.capture.amount_minor, done.session.stated_by) == (PRICE, source)


async def test_a_statement_that_fails_a_check_is_refused_at_once(system: System) -> None:
    view = await system.authorize()
    for kwh in (20_500, 200):
        with pytest.raises(CdrRejectedError, match="energy_"):
            await state(system, view, kwh)
    assert (await seen(system, view)).provisional_usage is None


async def test_once_the_hold_is_released_the_payer_states_nothing(system: System) -> None:
    view = await system.authorize()
    await system.payments.release(party_id="app", authorization_id=view.authorization.id)
    with pytest.raises(PaymentConflictError, match="its operator's CDR decides"):
        await state(system, view, 0.1)


async def test_after_the_cdr_the_payer_changes_nothing(system: System) -> None:
    view = await system.authorize()
    await system.send(view)
    with pytest.raises(SessionAlreadyCompletedError):
        await state(system, view, 0.1)
    assert (await system.session())["amount_minor"] == PRICE


async def test_of_an_operator_that_has_left_the_payer_states_what_is_captured(system: System) -> None:
    view = await system.authorize()
    await system.edge.call("DELETE", "/2.2.1/credentials", system.token)
    done = await state(system, view, 20.5)
    assert done.capture is not None
    assert (done.capture.amount_minor, done.session.stated_by) == (PRICE, "payer")
    assert (await seen(system, view)).provisional_usage is None


@pytest.mark.parametrize(("kwh", "waits"), [(20.4, False), (0.1, True)])
async def test_what_the_payer_ended_gives_way_to_a_cdr_that_comes(
    system: System, kwh: float, *, waits: bool
) -> None:
    """The operator connects later: its CDR is no second CDR that is lost, it corrects or waits."""
    unconnected = replace(system.payments.usage_statements, updates=None)
    view = await system.authorize()
    connected, system.payments = system.payments, replace(system.payments, usage_statements=unconnected)
    await state(system, view, kwh)
    system.payments = connected
    await system.pool.execute("UPDATE gateway.session SET state = 'cleared'")
    await system.send(view)
    assert bool(await system.waiting()) is waits
    found = await system.session()
    assert (found["price_minor"] == PRICE) is not waits
    if waits:
        await system.decide(UsageAction.TAKE_AS_IS)
    assert (await system.session())["price_minor"] == PRICE


@pytest.mark.parametrize(("party", "released"), [("app", False), ("platform", True)])
async def test_a_payer_does_not_release_a_session_that_its_operator_reports_running(
    system: System, party: str, *, released: bool
) -> None:
    view = await system.authorize()
    await report(system, view)
    await RunningCostJob(services=system.edge.services, payments=system.payments).run_once()
    release = system.payments.release(
        party_id=party, authorization_id=view.authorization.id, admin=party == "platform"
    )
    if released:
        await release
    else:
        with pytest.raises(PaymentConflictError, match="reports that the session runs"):
            await release
    assert ((await system.session())["payment"] == "voided") is released


async def test_of_an_operator_that_has_left_a_payer_releases_what_was_reported(system: System) -> None:
    view = await system.authorize()
    await report(system, view)
    await RunningCostJob(services=system.edge.services, payments=system.payments).run_once()
    await system.edge.call("DELETE", "/2.2.1/credentials", system.token)
    await system.payments.release(party_id="app", authorization_id=view.authorization.id)
    assert (await system.session())["payment"] == "voided"


async def test_a_payer_does_not_release_a_session_whose_cdr_waits_for_a_person(system: System) -> None:
    view = await system.authorize()  # its operator sends CDRs and no sessions
    await system.send(view, **energy(205))
    assert await system.waiting()
    with pytest.raises(PaymentConflictError, match="waits for a decision"):
        await system.payments.release(party_id="app", authorization_id=view.authorization.id)
    assert (await system.session())["payment"] == "authorized"
