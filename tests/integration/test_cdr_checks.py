"""The gate before the money, over the OCPI edge on a real database: taken, flagged, kept, refused."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from clearing.services import build_clearing
from gateway.database import Pool, transaction
from gateway.exceptions.repository import ExceptionFilter
from gateway.exceptions.rules import ExceptionKind, ExceptionRecord
from gateway.exceptions.service import ExceptionService
from gateway.ids import format_id, new_id
from gateway.jobs.credit_cdrs import CreditCdrJob
from gateway.jobs.hold_monitor import HoldMonitorJob
from gateway.jobs.running_cost import RunningCostJob
from gateway.ocpi.cdr_settlement import CdrSettlementService
from gateway.ocpi.credit_cdrs import CreditCdrService
from gateway.ocpi.tariff_source import OcpiTariffSource
from gateway.payments.policy import PaymentPolicy
from gateway.payments.requests import AuthorizationRequest, PspMethod
from gateway.payments.service import PaymentService, build_payments
from gateway.payments.stated_usage import UsageAction, UsageDecision
from gateway.payments.views import AuthorizationView
from tests.fakes.api import cdr as api_cdr
from tests.fakes.api import open_api
from tests.fakes.command import networkcore
from tests.fakes.ocpi_edge import NOW, Edge, start_edge, stop_edge
from tests.fakes.ocpi_objects import cdr, location, tariff
from tests.fakes.psp import FakePsp

ROOT = Path(__file__).parents[2]
END = NOW + timedelta(hours=1)
PRICE = 1215  # 20.5 kWh at 0.49 and 21 % VAT


@dataclass
class System:
    """The edge with checked payments behind it, one operator and one charge point of 150 kW."""

    edge: Edge
    psp: FakePsp
    payments: PaymentService
    token: str = ""

    @property
    def pool(self) -> Pool:
        return self.edge.pool

    async def authorize(self, **changes: Any) -> AuthorizationView:
        request = AuthorizationRequest(
            **{
                "authorization_id": new_id(),
                "party_id": "app",
                "evse_id": "NL*ABC*E0001",
                "method": "card",
                "payment": PspMethod(payment_method="pm_good"),
            }
            | changes
        )
        return await self.payments.authorize(request)

    async def send(self, view: AuthorizationView, **changes: Any) -> dict[str, Any]:
        """A CDR for the session, sent an hour after its start and settled."""
        self.edge.clock.at = max(self.edge.clock.at, END)
        body = cdr(**{"authorization_reference": format_id("auth", view.authorization.id)} | changes)
        answer, _ = await self.edge.call("POST", "/emsp/2.2.1/cdrs", self.token, body)
        await self.work()
        return dict(answer)

    async def work(self) -> None:
        """The worker's tasks about CDRs, one after the other."""
        service = CdrSettlementService(
            pool=self.pool, clock=self.edge.clock, payments=self.payments, environment="sandbox"
        )
        rows = await self.pool.fetch(
            "DELETE FROM gateway.task WHERE kind = 'complete_session' AND run_at <= $1 RETURNING *",
            self.edge.clock.at,
        )
        for row in rows:
            payload = row["payload"]
            if "stated_usage" in payload:
                waits = await service.carry_out(
                    shard=row["shard"], usage_id=UUID(payload["stated_usage"]), release=payload["release"]
                )
            else:
                waits = await service.settle(cpo_id=payload["cpo_id"], cdr_id=payload["cdr_id"])
            assert waits is None

    async def waiting(self) -> list[ExceptionRecord]:
        service = ExceptionService(clearing=build_clearing())
        async with transaction(self.pool) as connection:
            now = self.edge.clock.at
            await service.refresh(connection, now=now, wall_now=now)
            wanted = ExceptionFilter(kind=ExceptionKind.FAILED_CDR_CHECK)
            return list(await service.list_exceptions(connection, wanted, limit=10))

    async def decide(self, action: UsageAction, amount_minor: int | None = None, *, by: str = "anna") -> None:
        (one,) = await self.waiting()
        async with transaction(self.pool) as connection:
            await ExceptionService(clearing=build_clearing()).resolve(
                connection,
                one.id,
                by=by,
                note="asked the CPO",
                now=self.edge.clock.at,
                wall_now=self.edge.clock.at,
                decision=UsageDecision(action=action, amount_minor=amount_minor),
            )
        await self.work()

    async def session(self) -> dict[str, Any]:
        row = await self.pool.fetchrow(
            "SELECT s.state, s.price_minor, s.price_net_minor, s.flags, s.cdr_id, a.state AS payment, "
            "a.hold_minor, c.amount_minor, c.receivable_minor, c.refunded_minor FROM gateway.session AS s "
            "JOIN gateway.payment_authorization AS a ON a.session_id = s.id "
            "LEFT JOIN gateway.capture AS c ON c.session_id = s.id"
        )
        return dict(row or {})

    async def status(self, name: str = "CDR1") -> tuple[str, str | None]:
        row = await self.pool.fetchrow("SELECT status, reason FROM gateway.ocpi_cdr WHERE cdr_id = $1", name)
        return (row["status"], row["reason"]) if row else ("", None)

    async def limit(self, name: str, value: str, *, party: str = "NL-ABC", at: datetime = NOW) -> None:
        await self.pool.execute(
            "INSERT INTO gateway.cdr_limit (party_id, name, valid_from, value, set_by, created_at) "
            "VALUES ($1, $2, $3, $4::text::numeric, 'anna', $3)",
            party,
            name,
            at,
            value,
        )


@pytest.fixture
async def system(pool: Pool) -> AsyncIterator[System]:
    edge, psp = await start_edge(pool), FakePsp()
    payments = build_payments(
        pool=pool, psp=psp, tariffs=OcpiTariffSource(), clock=edge.clock, policy=PaymentPolicy()
    )
    await edge.party("app", "demand_partner")
    await edge.party("platform", "platform")
    started = System(edge=edge, psp=psp, payments=payments, token=await edge.register("NL-ABC"))
    await edge.call("PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", started.token, location())
    await edge.call("PUT", "/emsp/2.2.1/tariffs/NL/ABC/T1", started.token, tariff())
    yield started
    await stop_edge(edge)


def energy(kwh: float, **changes: Any) -> dict[str, Any]:
    period = {"start_date_time": "2026-10-29T08:00:00Z", "dimensions": [{"type": "ENERGY", "volume": kwh}]}
    net = round(kwh * 0.49, 2)
    return {"charging_periods": [period], "total_energy": kwh, "total_cost": {"excl_vat": net}, **changes}


async def test_an_ordinary_cdr_is_captured_at_once(system: System) -> None:
    await system.send(await system.authorize())
    assert await system.status() == ("completed", None)
    found = await system.session()
    assert (found["state"], found["amount_minor"], found["flags"]) == ("completed", PRICE, [])
    assert await system.waiting() == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (energy(200), "energy_above_power"),
        (energy(20_500), "energy_looks_like_wh"),
        (energy(-1), "negative_volume"),
        ({"total_energy": 21.0}, "total_energy_differs"),
        ({"start_date_time": "2026-10-29T07:54:59Z"}, "starts_before_authorization"),
        ({"end_date_time": "2026-10-29T09:05:01Z"}, "ends_in_future"),
        ({"cdr_location": {"id": "LOC1", "evse_uid": "E9"}}, "evse_differs"),
        ({"total_cost": {"excl_vat": 9}}, "cpo_total_lower"),
        ({"total_cost": {"excl_vat": 0}}, "cpo_total_lower"),
        ({"total_cost": {"excl_vat": -10.05}}, "negative_total"),
        ({"home_charging_compensation": True}, "home_charging"),
        ({"currency": "CHF"}, "currency_differs"),
    ],
)
async def test_an_odd_cdr_waits_for_a_person_and_the_hold_stays(
    system: System, changes: dict[str, Any], reason: str
) -> None:
    answer = await system.send(await system.authorize(), **changes)
    assert answer["status_code"] == 1000
    status, text = await system.status()
    assert (status, reason in str(text)) == ("exception", True), text
    (waits,) = await system.waiting()
    assert reason in waits.detail
    assert (waits.owner, waits.party_id) == ("operations", "NL-ABC")
    found = await system.session()
    assert (found["state"], found["payment"], found["amount_minor"]) == ("active", "authorized", None)


async def test_a_cdr_that_names_another_authorization_waits(system: System) -> None:
    view = await system.authorize(session_ref="S1")
    answer = await system.send(view, authorization_reference=format_id("auth", new_id()))
    assert (answer["status_code"], (await system.status())[0]) == (1000, "exception")
    assert "reference_differs" in str((await system.status())[1])
    await system.send(view, id="CDR2", authorization_reference=format_id("ses", view.session.id).upper())
    assert "reference_differs" not in str((await system.status("CDR2"))[1])


async def test_another_evse_is_compared_by_the_drivers_own_kind_of_tariff(system: System) -> None:
    """A contract's tariff is frozen; at both EVSEs a card would pay another one."""
    ad_hoc = {**tariff(), "id": "T2", "type": "AD_HOC_PAYMENT"}
    await system.edge.call("PUT", "/emsp/2.2.1/tariffs/NL/ABC/T2", system.token, ad_hoc)
    place = location()
    for evse in place["evses"]:
        evse["connectors"][0]["tariff_ids"] = ["T1", "T2"]
    place["evses"].append({**place["evses"][0], "uid": "E2", "evse_id": "NL*ABC*E0002"})
    await system.edge.call("PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", system.token, place)
    view = await system.authorize(method="app")
    await system.send(view, cdr_location={"id": "LOC1", "evse_uid": "E2"})
    assert (await system.session())["flags"] == ["evse_differs"]


async def test_a_cdr_of_the_far_future_is_refused(system: System) -> None:
    answer = await system.send(await system.authorize(), end_date_time="2026-10-30T09:00:01Z")
    assert (answer["status_code"], await system.status()) == (2001, ("", None))


async def test_another_evse_with_the_same_tariff_is_captured_and_shown(system: System) -> None:
    place = location()
    place["evses"].append({**place["evses"][0], "uid": "E2", "evse_id": "NL*ABC*E0002"})
    await system.edge.call("PUT", "/emsp/2.2.1/locations/NL/ABC/LOC1", system.token, place)
    await system.send(await system.authorize(), cdr_location={"id": "LOC1", "evse_uid": "E2"})
    found = await system.session()
    assert (found["amount_minor"], found["flags"]) == (PRICE, ["evse_differs"])


@pytest.mark.parametrize(
    ("action", "amount", "captured", "flagged"),
    [
        (UsageAction.TAKE_AS_IS, None, PRICE, False),
        (UsageAction.TAKE_LOWER, None, 1089, True),
        (UsageAction.SET_AMOUNT, 500, 500, True),
    ],
)
async def test_a_person_decides_what_is_captured(
    system: System, action: UsageAction, amount: int | None, captured: int, *, flagged: bool
) -> None:
    await system.send(await system.authorize(), total_cost={"excl_vat": 9})
    await system.decide(action, amount)
    found = await system.session()
    assert (found["state"], found["price_minor"], found["amount_minor"]) == ("completed", captured, captured)
    assert ("captured_below_tariff" in found["flags"], "cpo_total_lower" in found["flags"]) == (flagged, True)
    assert found["price_net_minor"] == {PRICE: 1005, 1089: 900, 500: 413}[captured]
    assert (await system.status(), await system.waiting()) == (("completed", None), [])


async def test_a_rejected_cdr_leaves_the_hold_for_a_corrected_one(system: System) -> None:
    view = await system.authorize()
    await system.send(view, **energy(20_500))
    await system.decide(UsageAction.REJECT)  # about 12,000 EUR: two people decide
    assert (await system.status())[0] == "exception"
    await system.decide(UsageAction.REJECT, by="ben")
    assert (await system.status())[0] == "rejected"
    assert (await system.session())["payment"] == "authorized"
    await system.send(view, id="CDR2")
    assert (await system.session())["amount_minor"] == PRICE


async def test_a_release_ends_the_hold(system: System) -> None:
    await system.send(await system.authorize(), home_charging_compensation=True)
    await system.decide(UsageAction.RELEASE)
    assert (await system.session())["payment"] == "voided"


async def test_a_second_cdr_waits_while_the_first_does(system: System) -> None:
    view = await system.authorize()
    await system.send(view, **energy(20_500))
    await system.send(view, id="CDR2")
    assert (await system.status("CDR2"))[1] == "second_cdr: the session has CDR CDR1, which is not credited"
    assert len(await system.waiting()) == 2


async def test_a_second_cdr_of_a_captured_session_waits_by_its_code(system: System) -> None:
    view = await system.authorize()
    await system.send(view)
    await system.send(view, id="CDR2")
    status, reason = await system.status("CDR2")
    assert (status, str(reason).startswith("second_cdr: ")) == ("unpriceable", True)
    assert (await system.session())["amount_minor"] == PRICE


async def test_one_token_cannot_charge_twice_at_one_evse_at_one_time(system: System) -> None:
    await system.send(await system.authorize())
    system.edge.clock.at = NOW
    await system.send(await system.authorize(), id="CDR2")
    assert "overlaps_other" in str((await system.status("CDR2"))[1])
    system.edge.clock.at = NOW
    other = {"uid": "v", "type": "APP_USER", "contract_id": "d"}
    await system.send(await system.authorize(), id="CDR3", cdr_token=other)
    assert await system.status("CDR3") == ("completed", None)


async def test_by_agreement_the_lower_is_captured_at_once_but_never_nothing(system: System) -> None:
    await system.limit("lower_of_both", "1")
    await system.send(await system.authorize(), total_cost={"excl_vat": 9})
    found = await system.session()
    assert (found["amount_minor"], found["flags"]) == (
        1089,
        ["cpo_total_differs", "cpo_total_lower", "captured_below_tariff"],
    )
    system.edge.clock.at = NOW
    await system.send(
        await system.authorize(),
        id="CDR2",
        total_cost={"excl_vat": 0},
        cdr_token={"uid": "v", "contract_id": "d"},
    )
    assert (await system.status("CDR2"))[0] == "exception"


async def test_a_limit_counts_for_its_cpo_from_its_date_on(system: System) -> None:
    await system.limit("total_tolerance", "5", party="platform")
    await system.send(await system.authorize(), total_cost={"excl_vat": 9})
    assert await system.status() == ("completed", None)
    await system.limit("total_tolerance", "0.01", at=NOW + timedelta(minutes=5))
    system.edge.clock.at = NOW + timedelta(minutes=5)
    changes = {"cdr_token": {"uid": "v", "contract_id": "d"}, "total_cost": {"excl_vat": 9}}
    await system.send(await system.authorize(), id="CDR2", **changes)
    assert (await system.status("CDR2"))[0] == "exception"


async def ending_hold(system: System) -> None:
    await system.pool.execute(
        "UPDATE gateway.payment_authorization SET capture_before = $1",
        system.edge.clock.at + timedelta(hours=23),
    )
    await HoldMonitorJob(clock=system.edge.clock, payments=system.payments).run_once()


async def test_a_day_before_the_hold_ends_the_lower_is_captured_and_the_rest_stays_open(
    system: System,
) -> None:
    await system.send(await system.authorize(), total_cost={"excl_vat": 9})
    await ending_hold(system)
    found = await system.session()
    assert (found["amount_minor"], found["price_minor"]) == (1089, 1089)
    (waits,) = await system.waiting()
    assert "captured meanwhile: 1089" in waits.detail
    await system.pool.execute("UPDATE gateway.session SET state = 'cleared'")
    await system.decide(UsageAction.TAKE_AS_IS)
    found = await system.session()
    assert (found["price_minor"], found["amount_minor"], found["receivable_minor"]) == (
        PRICE,
        1089,
        PRICE - 1089,
    )


async def test_a_decision_counts_though_the_process_ended_before_it_recorded_what_it_had_settled(
    system: System,
) -> None:
    await system.send(await system.authorize(), total_cost={"excl_vat": 9})
    await ending_hold(system)
    await system.pool.execute("UPDATE gateway.stated_usage SET settled_minor = NULL")
    await system.pool.execute("UPDATE gateway.session SET state = 'cleared'")
    await system.decide(UsageAction.TAKE_AS_IS)
    found = await system.session()
    assert (found["price_minor"], found["receivable_minor"]) == (PRICE, PRICE - 1089)


async def test_what_was_captured_meanwhile_is_refunded_when_it_is_rejected(system: System) -> None:
    await system.send(await system.authorize(), total_cost={"excl_vat": 9})
    await ending_hold(system)
    await system.pool.execute("UPDATE gateway.session SET state = 'cleared'")
    await system.decide(UsageAction.REJECT)
    assert (await system.session())["refunded_minor"] == 1089


async def test_what_can_not_have_been_delivered_is_never_captured_in_time(system: System) -> None:
    await system.send(await system.authorize(), **energy(20_500))
    await ending_hold(system)
    assert (await system.session())["amount_minor"] is None


async def test_a_session_whose_cdr_waits_is_not_stale(system: System) -> None:
    await system.send(await system.authorize(), **energy(20_500))
    system.edge.clock.at = NOW + timedelta(days=40)
    await HoldMonitorJob(clock=system.edge.clock, payments=system.payments).run_once()
    assert (await system.session())["payment"] == "authorized"


@pytest.mark.parametrize(("kwh", "raised"), [(100, True), (60_000, False), (90_000_000, False)])
async def test_an_update_raises_the_hold_by_no_more_than_is_possible(
    system: System, kwh: float, *, raised: bool
) -> None:
    system.psp.incrementable = True
    view = await system.authorize()
    held = (await system.session())["hold_minor"]
    system.edge.clock.at = END
    body = {
        "country_code": "NL",
        "party_id": "ABC",
        "id": "S1",
        "start_date_time": "2026-10-29T08:00:00Z",
        "kwh": kwh,
        "cdr_token": {"uid": "u", "type": "APP_USER", "contract_id": "c"},
        "auth_method": "AUTH_REQUEST",
        "location_id": "LOC1",
        "evse_uid": "E1",
        "connector_id": "1",
        "currency": "EUR",
        "status": "ACTIVE",
        "authorization_reference": format_id("auth", view.authorization.id),
        "last_updated": "2026-10-29T09:00:00Z",
    }
    await system.edge.call("PUT", "/emsp/2.2.1/sessions/NL/ABC/S1", system.token, body)
    await RunningCostJob(services=system.edge.services, payments=system.payments).run_once()
    assert ((await system.session())["hold_minor"] > held) is raised


async def test_the_check_reads_once(system: System) -> None:
    view = await system.authorize()
    raw = json.dumps(cdr()).encode()
    statements: list[str] = []
    system.edge.clock.at = END
    session = await system.payments.get_session(party_id="app", session_id=view.session.id)
    async with system.pool.acquire() as connection:
        connection.add_query_logger(lambda query: statements.append(query.query))
    await system.payments.completions.complete(session, cdr_raw=raw, cdr_version="2.2.1")
    assert len([one for one in statements if "cdr_limit" in one]) <= 1


def credit_of(name: str, **changes: Any) -> dict[str, Any]:
    fields = {"id": f"{name}-C", "credit": True, "credit_reference_id": name.lower()}
    return {**fields, "total_cost": {"excl_vat": -10.05}, **changes}


async def look_at_credits(
    system: System, *, after: timedelta = timedelta(hours=25)
) -> dict[str, tuple[str, str]]:
    """Let time pass and look at credit CDRs; what became of each."""
    system.edge.clock.at += after
    service = CreditCdrService(pool=system.pool, clock=system.edge.clock, payments=system.payments)
    await CreditCdrJob(clock=system.edge.clock, credits=service).run_once()
    rows = await system.pool.fetch("SELECT cdr_id, credit_state, reason FROM gateway.ocpi_cdr WHERE credit")
    return {row["cdr_id"]: (row["credit_state"], str(row["reason"]).partition(":")[0]) for row in rows}


async def captured_and_cleared(system: System) -> AuthorizationView:
    view = await system.authorize()
    await system.send(view)
    await system.pool.execute("UPDATE gateway.session SET state = 'cleared'")
    return view


async def test_a_credit_alone_refunds_the_whole_after_its_wait(system: System) -> None:
    view = await captured_and_cleared(system)
    await system.send(view, **credit_of("CDR1"))
    assert await look_at_credits(system, after=timedelta(hours=23)) == {"CDR1-C": ("pending", "None")}
    assert (await system.session())["refunded_minor"] == 0
    assert await look_at_credits(system, after=timedelta(hours=2)) == {"CDR1-C": ("applied", "None")}
    found = await system.session()
    assert (found["refunded_minor"], found["price_minor"]) == (PRICE, 0)
    assert "credited" in found["flags"]
    assert await look_at_credits(system) == {"CDR1-C": ("applied", "None")}
    assert (await system.session())["refunded_minor"] == PRICE


async def test_a_credit_waits_until_its_session_is_in_the_ledger(system: System) -> None:
    view = await system.authorize()
    await system.send(view)
    await system.send(view, **credit_of("CDR1"))
    assert (await look_at_credits(system))["CDR1-C"][0] == "pending"
    await system.pool.execute("UPDATE gateway.session SET state = 'cleared'")
    assert (await look_at_credits(system))["CDR1-C"][0] == "applied"
    assert (await system.session())["refunded_minor"] == PRICE


@pytest.mark.parametrize("credit_first", [True, False])
async def test_a_credit_and_a_new_cdr_are_one_movement(system: System, *, credit_first: bool) -> None:
    view = await captured_and_cleared(system)
    both = [credit_of("CDR1"), {"id": "CDR2", **energy(10)}]
    for changes in both if credit_first else both[::-1]:
        await system.send(view, **changes)
    await system.pool.execute("UPDATE gateway.task SET run_at = $1", NOW)
    await system.work()
    found = await system.session()
    assert (found["cdr_id"], found["price_minor"]) == ("CDR2", 593)
    assert found["refunded_minor"] == PRICE - 593
    assert (await look_at_credits(system))["CDR1-C"][0] == "applied"
    assert (await system.session())["refunded_minor"] == PRICE - 593


async def test_a_cdr_that_was_credited_before_it_came_is_not_captured(system: System) -> None:
    view = await system.authorize()
    await system.send(view, **credit_of("CDR1"))
    await system.send(view)
    status, reason = await system.status()
    assert (status, str(reason).partition(":")[0]) == ("rejected", "credited_before")
    assert (await system.session())["payment"] == "authorized"
    assert (await look_at_credits(system))["CDR1-C"][0] == "applied"
    await system.send(view, id="CDR2", end_date_time="2026-10-29T09:00:00Z")
    assert (await system.session())["amount_minor"] == PRICE


async def test_credited_twice_changes_nothing_the_second_time(system: System) -> None:
    view = await captured_and_cleared(system)
    await system.send(view, **credit_of("CDR1"))
    await system.send(view, **credit_of("CDR1", id="CDR1-D"))
    assert await look_at_credits(system) == {
        "CDR1-C": ("applied", "None"),
        "CDR1-D": ("applied", "credited_twice"),
    }
    assert (await system.session())["refunded_minor"] == PRICE


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"total_cost": {"excl_vat": -5}}, "partial_credit"),
        ({"credit_reference_id": "CDR9"}, "credit_of_unknown"),
    ],
)
async def test_a_credit_that_is_not_of_the_whole_waits_for_a_person(
    system: System, changes: dict[str, Any], code: str
) -> None:
    view = await captured_and_cleared(system)
    await system.send(view, **credit_of("CDR1", **changes))
    assert await look_at_credits(system) == {"CDR1-C": ("exception", code)}
    assert (await system.session())["refunded_minor"] == 0


async def test_a_cdr_after_the_refund_of_a_credit_waits_for_a_person(system: System) -> None:
    view = await captured_and_cleared(system)
    await system.send(view, **credit_of("CDR1"))
    await look_at_credits(system)
    await system.send(view, id="CDR2")
    status, reason = await system.status("CDR2")
    assert (status, str(reason).partition(":")[0]) == ("unpriceable", "credited")


async def test_odd_usage_is_replaced_when_its_cdr_is_credited(system: System) -> None:
    view = await system.authorize()
    await system.send(view, **energy(20_500))
    await system.send(view, **credit_of("CDR1", total_cost={"excl_vat": -10_045}))
    await system.send(view, id="CDR2")
    assert (await system.session())["amount_minor"] == PRICE
    assert await system.waiting() == []
    assert (await look_at_credits(system))["CDR1-C"][0] == "applied"


async def test_a_credit_of_odd_usage_ends_its_exception(system: System) -> None:
    view = await system.authorize()
    await system.send(view, **energy(20_500))
    await system.send(view, **credit_of("CDR1", total_cost={"excl_vat": -10_045}))
    assert (await look_at_credits(system))["CDR1-C"][0] == "applied"
    assert await system.waiting() == []


async def test_limits_are_set_and_read_by_api_from_a_time_on(pool: Pool) -> None:
    async with open_api(pool) as api:
        where = "/v1/parties/DE-ABC/cdr-limits"
        body = {"limits": {"cdr_age_days": "60", "total_tolerance": "0.05"}}
        done = await api.call("PUT", where, body, party="admin")
        assert done.status == 200, done.text
        assert (done.json["limits"]["cdr_age_days"], done.json["limits"]["usage_age_days"]) == ("60", "30")
        assert [one["name"] for one in done.json["own"]] == ["cdr_age_days", "total_tolerance"]
        later = {"limits": {"cdr_age_days": "10"}, "valid_from": "2026-11-29T08:00:00Z"}
        assert (await api.call("PUT", where, later, party="admin")).json["limits"]["cdr_age_days"] == "60"
        other = {"limits": {"cdr_age_days": "11"}, "valid_from": "2026-11-29T08:00:00Z"}
        assert (await api.call("PUT", where, other, party="admin")).status == 409
        for wrong in (
            {"limits": {"nothing": "1"}},
            {"limits": {}},
            {"limits": {"cdr_age_days": "-1"}},
            {"limits": {"cdr_age_days": "1e5"}},
            {"limits": {"lower_of_both": "2"}},
            {"limits": {"cdr_age_days": "1"}, "valid_from": "2026-10-28T08:00:00Z"},
        ):
            refused = await api.call("PUT", where, wrong, party="admin")
            assert refused.status == 400, (wrong, refused.text)
        assert (await api.call("GET", where, party="parking")).status == 404
        assert (await api.call("PUT", where, body, party="parking")).status == 403
        nobody = await api.call("PUT", "/v1/parties/nobody/cdr-limits", body, party="admin")
        assert nobody.status == 404


async def test_limits_are_set_and_read_at_the_command_line(system: System, database_url: str) -> None:
    def run(*options: str) -> tuple[int, str, str]:
        done = networkcore("ocpi", "limits", *options, database_url=database_url)
        return done.returncode, done.stdout, done.stderr

    status, out, _ = run(
        "NL-ABC", "--set", "cdr_age_days=60", "--by", "anna", "--from", "2099-01-01", "--json"
    )
    assert status == 0
    rows = json.loads(out)
    assert {"limit": "cdr_age_days", "value": "60", "set_by": "anna"}.items() <= rows[-1].items()
    for wrong in (
        ("NL-ABC", "--set", "cdr_age_days=60"),
        ("NL-ABC", "--set", "x=1", "--by", "anna"),
        ("NL-ABC", "--set", "cdr_age_days=x", "--by", "anna"),
        ("NL-ABC", "--set", "cdr_age_days=NaN", "--by", "anna"),
        ("NL-ABC", "--set", "cdr_age_days=5", "--by", "anna", "--from", "2099-01-01"),
        ("NL-ABC", "--set", "cdr_age_days=-5", "--by", "anna"),
        ("NL-ABC", "--set", "cdr_age_days=5", "--by", "anna", "--from", "2020-01-01"),
        ("NL-NOP", "--set", "cdr_age_days=5", "--by", "anna"),
    ):
        status, _, err = run(*wrong)
        assert (status, err.count("\n")) == (2, 1), (wrong, err)


USAGE = {"started_at": "2026-10-29T08:05:00Z", "ended_at": "2026-10-29T08:50:00Z", "energy_wh": 18_500}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"energy_wh": 260_000}, "energy_above_limit"),
        ({"started_at": "2026-10-29T07:54:59Z"}, "starts_before_authorization"),
        ({"ended_at": "2026-10-29T09:05:01Z"}, "ends_in_future"),
    ],
)
async def test_usage_stated_by_api_passes_the_same_gate(
    pool: Pool, changes: dict[str, Any], reason: str
) -> None:
    async with open_api(pool, checked=True) as api:
        shown = (await api.authorize(key="a")).json
        api.clock.at = END
        path = f"/v1/sessions/{shown['session']}/complete"
        held = await api.call("POST", path, {"usage": USAGE | changes}, key="c")
        assert held.status == 202, held.text
        assert (held.json["state"], held.json["usage"]["reasons"]) == ("active", [reason])
        assert (held.json["usage"]["source"], held.json["usage"]["state"]) == ("payer", "exception")
        read = await api.call("GET", f"/v1/sessions/{shown['session']}")
        assert read.json["usage"] == held.json["usage"]
        again = await api.call("POST", path, {"usage": USAGE | changes}, key="d")
        assert (again.status, again.json["usage"]) == (202, held.json["usage"])


async def test_usage_that_is_possible_is_captured_at_once(pool: Pool) -> None:
    async with open_api(pool, checked=True) as api:
        shown = (await api.authorize(key="a")).json
        api.clock.at = END
        done = await api.call("POST", f"/v1/sessions/{shown['session']}/complete", {"usage": USAGE}, key="c")
        assert (done.status, done.json["state"], done.json["usage"]) == (200, "completed", None)


@pytest.mark.parametrize("party", ["parking", "admin"])
async def test_a_cdr_by_api_in_another_currency_is_refused_at_once(pool: Pool, party: str) -> None:
    async with open_api(pool, checked=True) as api:
        shown = (await api.authorize(key="a")).json
        api.clock.at = END
        body = {"cdr": json.loads(api_cdr()) | {"currency": "CHF"}}
        path = f"/v1/sessions/{shown['session']}/complete"
        refused = await api.call("POST", path, body, party=party, key="c")
        assert (refused.status, "currency_differs" in refused.text) == (422, True), refused.text
        done = await api.call("POST", path, {"cdr": json.loads(api_cdr())}, party=party, key="d")
        assert (done.status, done.json["stated_by"]) == (200, "payer" if party == "parking" else "platform")


@pytest.mark.parametrize(
    "changes",
    [
        {"started_at": "1926-10-29T08:05:00Z"},
        {"ended_at": "2126-10-29T08:50:00Z"},
        {"ended_at": "2026-10-29T08:04:59Z"},
        {"energy_wh": -1},
        {"energy_wh": 10_000_001},
        {"parking_s": 2_701},
    ],
)
async def test_usage_that_contradicts_itself_is_no_usage(pool: Pool, changes: dict[str, Any]) -> None:
    async with open_api(pool, checked=True) as api:
        shown = (await api.authorize(key="a")).json
        api.clock.at = END
        path = f"/v1/sessions/{shown['session']}/complete"
        refused = await api.call("POST", path, {"usage": USAGE | changes}, key="c")
        assert refused.status == 400, refused.text


async def test_usage_of_another_cpo_is_refused(pool: Pool) -> None:
    async with open_api(pool, checked=True) as api:
        shown = (await api.authorize(key="a")).json
        api.clock.at = END
        body = json.dumps({"cdr": cdr()}).encode()
        refused = await api.call("POST", f"/v1/sessions/{shown['session']}/complete", body, key="c")
        assert (refused.status, "cpo_differs" in refused.text) == (422, True), refused.text
