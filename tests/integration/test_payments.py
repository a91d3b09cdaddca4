"""The single capture on a real PostgreSQL: phases, faults between them, what must happen once."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.database import Pool, register_json
from gateway.ids import new_id
from gateway.payments.capture import CaptureResult
from gateway.payments.errors import (
    AccountLimitExceededError,
    CdrRejectedError,
    EvseNotFoundError,
    NotFoundError,
    PaymentConflictError,
    RefundBoundError,
    SessionAlreadyAuthorizedError,
    SessionAlreadyCompletedError,
    VersionConflictError,
)
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp.dispute_port import DisputeUpdate, ReversalUpdate
from gateway.payments.refund import RefundReason, RefundRequest
from gateway.payments.requests import (
    AuthorizationRequest,
    ChargePoint,
    Estimate,
    EvseUnknown,
    PartnerAccount,
    PspMethod,
    TariffMissing,
)
from gateway.payments.service import PaymentService, build_payments
from gateway.payments.state_machine import PaymentState
from gateway.payments.views import AuthorizationView
from tests.fakes.psp import FakePsp
from tests.fakes.workers import resolve_outcomes

START = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)
TARIFF = {
    "country_code": "DE",
    "party_id": "ABC",
    "id": "T1",
    "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.50, "vat": 19.0, "step_size": 1}]}],
    "last_updated": "2026-10-01T00:00:00Z",
}


@dataclass
class Hands:
    """A clock whose hands the test moves; wall and business time go together."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def wall_now(self) -> datetime:
        return self.at


class OneTariff:
    """A tariff source with one EVSE."""

    async def tariff_for(
        self, connection: Any, *, evse_id: str, at: datetime, cpo_id: str | None = None, choice: Any = None
    ) -> ChargePoint | EvseUnknown | TariffMissing:
        if evse_id != "DE*ABC*E1":
            return EvseUnknown()
        return ChargePoint(
            cpo_id="DE-ABC",
            location_id="L1",
            evse_id=evse_id,
            time_zone="Europe/Berlin",
            country="DE",
            tax_jurisdiction="DE",
            max_power_w=150_000,
            tariff_raw=json.dumps(TARIFF).encode(),
            tariff_version="2.2.1",
        )


@dataclass
class System:
    """The payment services on a database, with a PSP and a clock of the test's."""

    pool: Pool
    psp: FakePsp
    clock: Hands
    payments: PaymentService
    numbers: list[int] = field(default_factory=list)

    async def authorize(self, **changes: Any) -> AuthorizationView:
        fields: dict[str, Any] = {
            "authorization_id": new_id(),
            "party_id": "parking",
            "evse_id": "DE*ABC*E1",
            "method": "card",
            "payment": PspMethod(payment_method="pm_good"),
            "estimate": Estimate(energy_wh=40_000, duration_s=3600),
        }
        return await self.payments.authorize(AuthorizationRequest(**(fields | changes)))

    async def complete(
        self, view: AuthorizationView, *, kwh: str = "20", cdr_id: str = "C1", party: str | None = None
    ) -> Any:
        """By the payer's key, or that of `party`."""
        return await self.payments.complete(
            party_id=party or view.session.demand_partner_id,
            session_id=view.session.id,
            cdr_raw=cdr(kwh=kwh, cdr_id=cdr_id),
            cdr_version="2.2.1",
        )

    async def rows(self, table: str) -> list[Any]:
        async with self.pool.acquire() as connection:
            return list(await connection.fetch(f"SELECT * FROM gateway.{table}"))  # noqa: S608 - a name of ours

    async def resolve(self) -> None:
        await resolve_outcomes(self.payments.resolver)


def cdr(*, kwh: str, cdr_id: str = "C1", currency: str = "EUR") -> bytes:
    return json.dumps(
        {
            "country_code": "DE",
            "party_id": "ABC",
            "id": cdr_id,
            "start_date_time": "2026-10-29T08:00:00Z",
            "end_date_time": "2026-10-29T09:00:00Z",
            "session_id": "S1",
            "cdr_token": {"uid": "u", "type": "APP_USER", "contract_id": "c"},
            "auth_method": "AUTH_REQUEST",
            "cdr_location": {"id": "L1", "evse_id": "DE*ABC*E1", "country": "DEU"},
            "currency": currency,
            "charging_periods": [
                {
                    "start_date_time": "2026-10-29T08:00:00Z",
                    "dimensions": [{"type": "ENERGY", "volume": float(kwh)}],
                }
            ],
            "total_cost": {"excl_vat": float(kwh) * 0.5},
            "total_energy": float(kwh),
            "total_time": 1.0,
            "last_updated": "2026-10-29T09:00:00Z",
        }
    ).encode()


@pytest.fixture
async def system(pool: Pool) -> System:
    async with pool.acquire() as connection:
        await connection.executemany(
            "INSERT INTO gateway.party (id, kind, created_at) VALUES ($1, $2, now())",
            [("DE-ABC", "cpo"), ("parking", "demand_partner"), ("superapp", "demand_partner")],
        )
        await connection.execute(
            "INSERT INTO gateway.partner_account (party_id, currency, balance_minor) "
            "VALUES ('superapp', 'EUR', 5000)"
        )
    psp, clock = FakePsp(), Hands()
    payments = build_payments(
        pool=pool, psp=psp, tariffs=OneTariff(), clock=clock, policy=PaymentPolicy(), checked=False
    )
    return System(pool=pool, psp=psp, clock=clock, payments=payments)


async def test_a_card_session_is_held_completed_and_captured_once(system: System) -> None:
    view = await system.authorize()
    assert view.authorization.state is PaymentState.AUTHORIZED
    assert view.authorization.hold_minor == 2380  # 40 kWh at 0.50 and 19 % VAT
    done = await system.complete(view)
    assert done.authorization.state is PaymentState.CAPTURED
    assert (done.capture.amount_minor, done.session.price_net_minor) == (1190, 1000)
    assert system.psp.capture_effects == 1
    tasks = await system.rows("task")
    assert [task["kind"] for task in tasks] == ["clear_session"]


async def test_the_same_request_again_is_the_same_authorization_and_one_hold(system: System) -> None:
    identifier = new_id()
    first = await system.authorize(authorization_id=identifier)
    second = await system.authorize(authorization_id=identifier)
    assert first.authorization.id == second.authorization.id
    assert len(system.psp.payments) == 1


async def test_a_declined_card_never_reaches_clearing(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_declined"))
    assert (view.authorization.state, view.authorization.decline_code) == (
        PaymentState.FAILED,
        "insufficient_funds",
    )
    done = await system.complete(view)
    assert done.capture is None
    assert not [task for task in await system.rows("task") if task["kind"] == "clear_session"]


async def test_a_second_card_may_pay_a_session_whose_first_was_declined(system: System) -> None:
    rejected = await system.authorize(session_ref="R1", payment=PspMethod(payment_method="pm_declined"))
    second = await system.authorize(session_ref="R1")
    assert second.session.id == rejected.session.id
    assert second.authorization.state is PaymentState.AUTHORIZED


async def test_two_authorizations_cannot_both_hold_one_session(system: System) -> None:
    await system.authorize(session_ref="R1")
    with pytest.raises(SessionAlreadyAuthorizedError):
        await system.authorize(session_ref="R1", party_id="superapp", method="app", payment=PartnerAccount())


async def test_two_authorizations_racing_for_one_session_leave_one_hold(system: System) -> None:
    tries = [system.authorize(session_ref="R1") for _ in range(12)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    held = [result for result in results if not isinstance(result, BaseException)]
    rejected = [result for result in results if isinstance(result, BaseException)]
    assert len(held) == 1
    assert all(isinstance(error, SessionAlreadyAuthorizedError) for error in rejected)
    assert len(await system.rows("payment_authorization")) == 1


async def test_a_funded_account_is_held_and_captured_in_our_books_alone(system: System) -> None:
    view = await system.authorize(party_id="superapp", method="app", payment=PartnerAccount())
    account = (await system.rows("partner_account"))[0]
    assert (account["balance_minor"], account["held_minor"]) == (5000, 2380)
    await system.complete(view)
    account = (await system.rows("partner_account"))[0]
    assert (account["balance_minor"], account["held_minor"]) == (5000 - 1190, 0)
    assert system.psp.calls == []


async def test_a_funded_account_is_held_in_the_statement_that_opens_the_authorization(
    database_url: str, system: System
) -> None:
    written: list[str] = []

    async def prepare(connection: Any) -> None:
        await register_json(connection)
        connection.add_query_logger(lambda record: written.append(record.query))

    async with asyncpg.create_pool(database_url, init=prepare, min_size=1, max_size=1) as pool:
        payments = build_payments(
            pool=pool, psp=system.psp, tariffs=OneTariff(), clock=system.clock, policy=PaymentPolicy()
        )
        system = replace(system, payments=payments)
        await system.authorize(party_id="superapp", method="app", payment=PartnerAccount())
    (statement,) = [query for query in written if "INSERT INTO gateway.payment_authorization" in query]
    assert [query for query in written if "UPDATE gateway.partner_account" in query] == [statement]
    assert (await system.rows("partner_account"))[0]["held_minor"] == 2380


async def test_a_cdr_and_its_price_are_stored_together(system: System) -> None:
    view = await system.authorize()
    with pytest.raises(CdrRejectedError):
        await system.payments.complete(
            party_id="parking",
            session_id=view.session.id,
            cdr_raw=cdr(kwh="20", currency="CHF"),
            cdr_version="2.2.1",
        )
    (row,) = await system.rows("session")
    assert (row["cdr"], row["price_minor"], row["ended_at"]) == (None, None, None)
    for column, value in (("cdr", b"{}"), ("price_minor", 1190)):
        with pytest.raises(asyncpg.CheckViolationError):
            await system.pool.execute(f"UPDATE gateway.session SET {column} = $1", value)  # noqa: S608 - ours
    await system.complete(view)
    (row,) = await system.rows("session")
    assert (row["cdr_id"], row["price_minor"]) == ("C1", 1190)


async def test_the_psp_is_called_with_no_connection_in_use(system: System) -> None:
    """A connection that is not in use has no transaction open."""
    in_use: dict[str, int] = {}

    def watch(kind: str) -> None:
        in_use[kind] = system.pool.get_size() - system.pool.get_idle_size()

    system.psp.on_request = watch
    method = PspMethod(payment_method="pm_over", customer="cus_1")
    view = await system.authorize(estimate=SMALL, payment=method)
    await system.complete(view)
    await system.payments.charge_residual(shard=view.session.shard, session_id=view.session.id)
    await refund(system, view, 100)
    raised = await system.authorize(estimate=SMALL, payment=PspMethod(payment_method="pm_increment"))
    await system.complete(raised, cdr_id="C2")
    other = await system.authorize()
    await system.payments.release(party_id="parking", authorization_id=other.authorization.id)
    assert in_use == dict.fromkeys(("hold", "increment", "capture", "charge", "refund", "void"), 0)


async def test_an_account_that_does_not_cover_the_hold_writes_nothing(system: System) -> None:
    await system.authorize(party_id="superapp", method="app", payment=PartnerAccount())
    await system.authorize(party_id="superapp", method="app", payment=PartnerAccount())
    with pytest.raises(AccountLimitExceededError, match="fund it"):
        await system.authorize(party_id="superapp", method="app", payment=PartnerAccount())
    assert len(await system.rows("session")) == 2


async def test_concurrent_holds_never_overdraw_an_account(system: System) -> None:
    tries = [system.authorize(party_id="superapp", method="app", payment=PartnerAccount()) for _ in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 2


async def test_a_session_that_delivered_nothing_releases_the_hold(system: System) -> None:
    view = await system.authorize()
    done = await system.complete(view, kwh="0")
    assert done.authorization.state is PaymentState.VOIDED
    assert done.capture is None
    assert [payment.status for payment in system.psp.payments.values()] == ["canceled"]


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_a_hold_whose_answer_is_lost_is_sent_again_under_its_key(system: System, fault: str) -> None:
    system.psp.faults.append(fault)
    view = await system.authorize()
    assert view.authorization.state is PaymentState.OUTCOME_UNKNOWN
    system.clock.at += timedelta(seconds=6)
    await system.resolve()
    again = await system.payments.get_authorization(
        party_id="parking", authorization_id=view.authorization.id
    )
    assert again.authorization.state is PaymentState.AUTHORIZED
    assert len(system.psp.payments) == 1
    assert len({key for kind, key in system.psp.calls if kind == "hold"}) == 1


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_a_capture_whose_answer_is_lost_takes_effect_once(system: System, fault: str) -> None:
    view = await system.authorize()
    system.psp.faults.append(fault)
    done = await system.complete(view)
    assert done.authorization.state is PaymentState.OUTCOME_UNKNOWN
    system.clock.at += timedelta(seconds=6)
    await system.resolve()
    after = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    assert after.authorization is not None
    assert after.authorization.state is PaymentState.CAPTURED
    assert system.psp.capture_effects == 1


async def test_past_the_keys_lifetime_a_request_is_looked_up_not_replayed(system: System) -> None:
    view = await system.authorize()
    system.psp.faults.extend(["after", *["before"] * 4])
    await system.complete(view)
    for _ in range(4):
        system.clock.at += timedelta(hours=2)
        await system.resolve()
    system.psp.answers.clear()  # the PSP has forgotten our keys
    system.clock.at += timedelta(days=2)
    system.psp.calls.clear()
    await system.resolve()
    after = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    assert after.capture is not None
    assert after.capture.state == "succeeded"
    assert system.psp.capture_effects == 1
    assert [kind for kind, _ in system.psp.calls] == ["inspect"]


async def test_a_hold_that_never_reached_the_psp_fails_in_the_end(system: System) -> None:
    system.psp.faults.append("before")
    view = await system.authorize()
    system.clock.at += timedelta(days=2)
    await system.resolve()
    after = await system.payments.get_authorization(
        party_id="parking", authorization_id=view.authorization.id
    )
    assert (after.authorization.state, after.authorization.decline_code) == (
        PaymentState.FAILED,
        "never_reached_psp",
    )


async def test_the_same_cdr_again_changes_nothing_and_another_one_is_rejected(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    await system.complete(view)
    assert system.psp.capture_effects == 1
    with pytest.raises(SessionAlreadyCompletedError, match="credit CDR"):
        await system.complete(view, kwh="30", cdr_id="C2")


async def test_fifty_parallel_completes_of_one_session_capture_once(system: System) -> None:
    view = await system.authorize()
    await asyncio.gather(*[system.complete(view) for _ in range(50)])
    assert system.psp.capture_effects == 1
    assert len(await system.rows("capture")) == 1


SMALL = Estimate(energy_wh=10_000, duration_s=3600)  # a hold of 5.95 for a session that costs 11.90


async def test_a_hold_is_raised_before_the_capture_where_the_psp_offers_it(system: System) -> None:
    view = await system.authorize(estimate=SMALL, payment=PspMethod(payment_method="pm_increment"))
    done = await system.complete(view)
    assert (done.capture.amount_minor, done.capture.receivable_minor) == (1190, 0)
    assert [kind for kind, _ in system.psp.calls] == ["hold", "increment", "capture"]


async def test_a_rejected_increment_is_recorded_and_the_hold_captured(system: System) -> None:
    view = await system.authorize(estimate=SMALL, payment=PspMethod(payment_method="pm_no_increment"))
    done = await system.complete(view)
    assert (done.capture.amount_minor, done.capture.receivable_minor) == (595, 595)
    calls = {call["kind"]: call["state"] for call in await system.rows("psp_request")}
    assert calls == {"hold": "succeeded", "increment": "declined", "capture": "succeeded"}


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_an_increment_whose_answer_is_lost_is_sent_again_then_captured(
    system: System, fault: str
) -> None:
    view = await system.authorize(estimate=SMALL, payment=PspMethod(payment_method="pm_increment"))
    system.psp.faults.append(fault)
    done = await system.complete(view)
    assert done.authorization.state is PaymentState.AUTHORIZED
    system.clock.at += timedelta(seconds=6)
    await system.resolve()
    assert (
        await system.payments.capture(shard=view.session.shard, session_id=view.session.id)
        is CaptureResult.DONE
    )
    after = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    assert after.capture is not None
    assert after.capture.amount_minor == 1190


async def test_over_capture_then_a_charge_under_the_mandate_pay_the_whole_price(system: System) -> None:
    method = PspMethod(payment_method="pm_over", customer="cus_1")
    view = await system.authorize(estimate=SMALL, payment=method)
    done = await system.complete(view)
    assert (done.capture.amount_minor, done.capture.receivable_minor) == (684, 506)
    assert [task["kind"] for task in await system.rows("task")] == ["charge_residual"]
    for _ in range(2):
        await system.payments.charge_residual(shard=view.session.shard, session_id=view.session.id)
    after = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    assert after.capture is not None
    assert (after.capture.amount_minor, after.capture.receivable_minor) == (1190, 0)
    assert system.psp.charged_minor == 506
    assert [task["kind"] for task in await system.rows("task")] == ["clear_session"]


async def test_a_declined_charge_under_the_mandate_leaves_a_receivable(system: System) -> None:
    method = PspMethod(payment_method="pm_over_then_declined", customer="cus_1")
    view = await system.authorize(estimate=SMALL, payment=method)
    await system.complete(view)
    await system.payments.charge_residual(shard=view.session.shard, session_id=view.session.id)
    after = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    assert after.capture is not None
    assert after.capture.receivable_minor == 506
    assert [task["kind"] for task in await system.rows("task")] == ["clear_session"]


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_a_charge_under_the_mandate_whose_answer_is_lost_is_made_once(
    system: System, fault: str
) -> None:
    method = PspMethod(payment_method="pm_over", customer="cus_1")
    view = await system.authorize(estimate=SMALL, payment=method)
    await system.complete(view)
    system.psp.faults.append(fault)
    await system.payments.charge_residual(shard=view.session.shard, session_id=view.session.id)
    assert [task["kind"] for task in await system.rows("task")] == ["charge_residual"]
    system.clock.at += timedelta(seconds=6)
    await system.resolve()
    assert system.psp.charged_minor == 506
    assert [task["kind"] for task in await system.rows("task")] == ["clear_session"]


async def test_a_hold_on_an_account_is_raised_as_far_as_the_account_covers_it(system: System) -> None:
    view = await system.authorize(party_id="superapp", method="app", payment=PartnerAccount(), estimate=SMALL)
    done = await system.complete(view)
    assert (done.capture.amount_minor, done.capture.receivable_minor) == (1190, 0)
    account = (await system.rows("partner_account"))[0]
    assert (account["balance_minor"], account["held_minor"]) == (5000 - 1190, 0)


async def test_an_account_that_does_not_cover_the_rest_pays_its_hold_and_owes_the_rest(
    system: System,
) -> None:
    view = await system.authorize(party_id="superapp", method="app", payment=PartnerAccount(), estimate=SMALL)
    done = await system.complete(view, kwh="200")
    assert (done.capture.amount_minor, done.capture.receivable_minor) == (595, 11_900 - 595)


async def test_what_exceeds_the_hold_is_owed_and_never_captured(system: System) -> None:
    view = await system.authorize(estimate=Estimate(energy_wh=10_000, duration_s=3600))
    done = await system.complete(view)
    assert (done.capture.amount_minor, done.capture.receivable_minor) == (595, 595)


async def test_a_challenge_is_handed_to_the_app_and_resumed_by_the_psps_event(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_challenge"))
    assert view.authorization.state is PaymentState.REQUIRES_ACTION
    assert view.authorization.next_action == {"type": "redirect_to_url"}
    payment = view.authorization.psp_payment
    assert payment is not None
    system.psp.authenticate(payment)
    assert await system.payments.psp_events.sync_payment(psp_payment=payment)
    after = await system.payments.get_authorization(
        party_id="parking", authorization_id=view.authorization.id
    )
    assert after.authorization.state is PaymentState.AUTHORIZED


async def test_a_late_decline_fails_the_capture_and_publishes_it(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_late_decline"))
    done = await system.complete(view)
    assert (done.authorization.state, done.capture.state) == (PaymentState.FAILED, "failed")
    reported = {event["type"] for event in await system.rows("event")}
    assert {"authorization.authorized", "session.completed", "capture.failed"} <= reported


async def test_a_release_voids_the_hold_and_repeats_harmlessly(system: System) -> None:
    view = await system.authorize()
    for _ in range(2):
        after = await system.payments.release(party_id="parking", authorization_id=view.authorization.id)
        assert after.authorization.state is PaymentState.VOIDED


async def test_a_release_at_a_stale_version_is_rejected(system: System) -> None:
    view = await system.authorize()
    with pytest.raises(VersionConflictError):
        await system.payments.release(
            party_id="parking", authorization_id=view.authorization.id, expected_version=99
        )


async def test_a_completed_session_cannot_be_released(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    with pytest.raises(PaymentConflictError):
        await system.payments.release(party_id="parking", authorization_id=view.authorization.id)


async def test_another_partys_objects_are_not_found(system: System) -> None:
    view = await system.authorize()
    with pytest.raises(NotFoundError):
        await system.payments.get_authorization(party_id="superapp", authorization_id=view.authorization.id)
    with pytest.raises(NotFoundError):
        await system.payments.get_session(party_id="superapp", session_id=view.session.id)


async def test_an_unknown_evse_is_named(system: System) -> None:
    with pytest.raises(EvseNotFoundError, match="DE\\*NOPE"):
        await system.authorize(evse_id="DE*NOPE")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"id": 1}', cdr(kwh="1", currency="CHF")])
async def test_a_cdr_that_cannot_be_priced_is_rejected_and_the_hold_stays(system: System, raw: bytes) -> None:
    view = await system.authorize()
    with pytest.raises(CdrRejectedError):
        await system.payments.complete(
            party_id="parking", session_id=view.session.id, cdr_raw=raw, cdr_version="2.2.1"
        )
    after = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    assert after.session.state == "active"
    assert after.authorization is not None
    assert after.authorization.state is PaymentState.AUTHORIZED


async def test_the_price_is_explained_from_the_stored_originals(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    price = await system.payments.explain_price(party_id="parking", session_id=view.session.id)
    assert price.priced.incl_vat_minor == 1190
    assert price.priced.lines


async def test_a_session_that_lost_its_hold_is_secured_again_under_the_mandate(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    system.psp.payments[view.authorization.psp_payment or ""].status = "canceled"  # the scheme ended it
    await system.payments.holds.check_hold(shard=view.session.shard, authorization_id=view.authorization.id)
    done = await system.complete(view)
    assert done.capture is None
    late = system.payments.cdr_corrections
    assert await late.secure_again(shard=view.session.shard, session_id=view.session.id)
    assert (
        await system.payments.capture(shard=view.session.shard, session_id=view.session.id)
        is CaptureResult.DONE
    )
    after = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    assert after.capture is not None
    assert (after.capture.amount_minor, system.psp.capture_effects) == (1190, 1)


async def test_a_session_nobody_can_pay_waits_for_a_person(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_declined"))
    await system.complete(view)
    assert not await system.payments.cdr_corrections.secure_again(
        shard=view.session.shard, session_id=view.session.id
    )
    after = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    assert (after.session.state, list(after.session.flags)[-1]) == ("exception", "unpaid")


async def test_after_a_release_nothing_is_charged_any_more(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    await system.payments.release(party_id="parking", authorization_id=view.authorization.id)
    await system.complete(view)
    assert not await system.payments.cdr_corrections.secure_again(
        shard=view.session.shard, session_id=view.session.id
    )
    assert system.psp.capture_effects == 0


async def test_a_hold_about_to_end_is_renewed_and_the_old_one_released(system: System) -> None:
    system.psp.capture_before = START + timedelta(days=1)
    view = await system.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    system.psp.capture_before = START + timedelta(days=8)
    await system.payments.holds.check_hold(shard=view.session.shard, authorization_id=view.authorization.id)
    system.clock.at += timedelta(seconds=1)
    await system.resolve()
    after = await system.payments.get_authorization(
        party_id="parking", authorization_id=view.authorization.id
    )
    assert after.authorization.psp_payment != view.authorization.psp_payment
    assert after.authorization.capture_before == START + timedelta(days=8)
    assert [payment.status for payment in system.psp.payments.values()] == ["canceled", "held"]
    assert (await system.complete(view)).capture.amount_minor == 1190


async def test_a_correction_before_the_capture_changes_what_is_captured(system: System) -> None:
    system.psp.faults.append("before")
    view = await system.authorize()  # the hold is not known yet, so nothing can be captured
    done = await system.complete(view)
    assert done.capture is None
    late = system.payments.cdr_corrections
    assert await late.correct(done.session, cdr_raw=cdr(kwh="10", cdr_id="C2"), cdr_version="2.2.1") is None
    system.clock.at += timedelta(seconds=6)
    await system.resolve()
    await system.payments.capture(shard=view.session.shard, session_id=view.session.id)
    after = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    assert after.capture is not None
    assert (after.capture.amount_minor, after.session.cdr_id) == (595, "C2")


async def test_a_correction_after_clearing_refunds_the_difference_once(system: System) -> None:
    view = await system.authorize()
    done = await system.complete(view)
    late = system.payments.cdr_corrections
    new = cdr(kwh="10", cdr_id="C2")
    waits = await late.correct(done.session, cdr_raw=new, cdr_version="2.2.1")
    assert waits is not None
    assert "ledger" in waits
    async with system.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = 'cleared'")
    cleared = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    for _ in range(2):
        assert await late.correct(cleared.session, cdr_raw=new, cdr_version="2.2.1") is None
    assert system.psp.refunded_minor == 595


async def test_a_correction_waits_for_a_refund_that_is_not_answered(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    system.psp.faults.append("before")
    assert (await refund(system, view, None)).state == "requested"
    async with system.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = 'cleared'")
    cleared = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    new = cdr(kwh="10", cdr_id="C2")
    waits = await system.payments.cdr_corrections.correct(cleared.session, cdr_raw=new, cdr_version="2.2.1")
    assert waits is not None
    assert "refund" in waits
    system.clock.at += timedelta(days=2)  # past the key's lifetime: the refund never reached the PSP
    await system.resolve()
    assert [row["state"] for row in await system.rows("refund")] == ["failed"]
    assert (
        await system.payments.cdr_corrections.correct(cleared.session, cdr_raw=new, cdr_version="2.2.1")
        is None
    )
    assert system.psp.refunded_minor == 595


async def test_a_correction_waits_for_its_own_refund_and_makes_it_again_where_it_never_reached_the_psp(
    system: System,
) -> None:
    view = await system.authorize()
    await system.complete(view)
    async with system.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = 'cleared'")
    cleared = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    late, new = system.payments.cdr_corrections, cdr(kwh="10", cdr_id="C2")
    system.psp.faults.append("before")
    waits = await late.correct(cleared.session, cdr_raw=new, cdr_version="2.2.1")
    assert waits is not None
    assert "refund" in waits
    system.clock.at += timedelta(days=2)  # past the key's lifetime
    await system.resolve()
    assert [row["state"] for row in await system.rows("refund")] == ["failed"]
    for _ in range(2):
        assert await late.correct(cleared.session, cdr_raw=new, cdr_version="2.2.1") is None
    assert system.psp.refunded_minor == 595


async def refund(system: System, view: AuthorizationView, amount: int | None, **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "refund_id": new_id(),
        "session_id": view.session.id,
        "amount_minor": amount,
        "reason": RefundReason.REQUESTED_BY_DRIVER,
    }
    return await system.payments.refunds.refund(RefundRequest(**(fields | changes)), party_id="parking")


async def test_refunds_are_several_partial_and_bounded_by_the_capture(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    assert (await refund(system, view, 400)).state == "succeeded"
    assert (await refund(system, view, None)).amount_minor == 790
    with pytest.raises(RefundBoundError):
        await refund(system, view, 1)
    assert system.psp.refunded_minor == 1190
    kinds = [task["kind"] for task in await system.rows("task")]
    assert sorted(kinds) == ["book_correction", "book_correction", "clear_session"]


async def test_the_same_refund_again_is_the_same_refund(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    identifier = new_id()
    for _ in range(3):
        await refund(system, view, 100, refund_id=identifier)
    assert system.psp.refunded_minor == 100


async def test_parallel_refunds_never_exceed_the_capture(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    await asyncio.gather(*[refund(system, view, 1000) for _ in range(10)], return_exceptions=True)
    assert system.psp.refunded_minor == 1000


@pytest.mark.parametrize("fault", ["before", "after"])
async def test_a_refund_whose_answer_is_lost_takes_effect_once(system: System, fault: str) -> None:
    view = await system.authorize()
    await system.complete(view)
    system.psp.faults.append(fault)
    assert (await refund(system, view, 500)).state == "requested"
    system.clock.at += timedelta(seconds=6)
    await system.resolve()
    assert system.psp.refunded_minor == 500
    assert [row["state"] for row in await system.rows("refund")] == ["succeeded"]


async def test_a_refund_to_a_funded_account_is_back_at_once(system: System) -> None:
    view = await system.authorize(party_id="superapp", method="app", payment=PartnerAccount())
    await system.complete(view)
    request = RefundRequest(
        refund_id=new_id(),
        session_id=view.session.id,
        amount_minor=190,
        reason=RefundReason.REQUESTED_BY_DRIVER,
    )
    done = await system.payments.refunds.refund(request, party_id="superapp")
    assert done.state == "succeeded"
    assert (await system.rows("partner_account"))[0]["balance_minor"] == 5000 - 1190 + 190


async def test_only_the_drivers_partner_may_refund(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    request = RefundRequest(
        refund_id=new_id(), session_id=view.session.id, amount_minor=1, reason=RefundReason.DUPLICATE
    )
    for stranger in ("superapp", "DE-ABC"):
        with pytest.raises(NotFoundError):
            await system.payments.refunds.refund(request, party_id=stranger)


def news(state: str, identifier: str = "du_1") -> DisputeUpdate:
    return DisputeUpdate(
        psp_dispute=identifier,
        state=state,
        amount_minor=1190,
        withdrawn_minor=1190,
        fee_minor=1500,
        fee_currency="EUR",
        currency="EUR",
        reason="fraudulent",
    )


@pytest.mark.parametrize("order", [["opened", "won"], ["won", "opened"], ["opened", "opened", "won", "won"]])
async def test_a_dispute_is_opened_and_closed_once_in_any_order(system: System, order: list[str]) -> None:
    view = await system.authorize()
    await system.complete(view)
    for state in order:
        await system.payments.disputes.record_update(
            news(state), shard=view.session.shard, session_id=view.session.id
        )
    assert [row["state"] for row in await system.rows("dispute")] == ["won"]
    assert (await system.rows("capture"))[0]["disputed_minor"] == 0
    reported = [row["type"] for row in await system.rows("event") if row["type"].startswith("dispute")]
    assert sorted(reported) == ["dispute.opened"] * 2 + ["dispute.won"] * 2


async def test_disputed_money_cannot_be_refunded(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    await system.payments.disputes.record_update(
        news("lost"), shard=view.session.shard, session_id=view.session.id
    )
    with pytest.raises(RefundBoundError):
        await refund(system, view, 1)


async def test_money_that_the_psp_gave_back_by_itself_is_recorded_once(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    given_back = ReversalUpdate(psp_refund="re_outside", amount_minor=190, currency="EUR")
    for _ in range(2):
        await system.payments.refunds.record_reversal(
            given_back, shard=view.session.shard, session_id=view.session.id
        )
    (recorded,) = await system.rows("refund")
    assert (recorded["reason"], recorded["amount_minor"]) == ("reversed_by_psp", 190)
    assert (await system.rows("capture"))[0]["refunded_minor"] == 190
    assert sorted(task["kind"] for task in await system.rows("task")) == ["book_correction", "clear_session"]
    with pytest.raises(RefundBoundError):
        await refund(system, view, 1001)


async def test_an_event_of_the_psp_is_kept_once(system: System) -> None:
    for _ in range(2):
        await system.payments.receive_psp_webhook(body=b"evt_1", signature="good")
    assert [row["id"] for row in await system.rows("psp_event")] == ["evt_1"]


def test_ids_of_a_session_share_its_shard() -> None:
    identifier: UUID = new_id(shard=7)
    assert identifier.int & 63 == 7


# The session's own state


async def state_of(system: System, view: AuthorizationView) -> str:
    session = await system.payments.get_session(party_id="", session_id=view.session.id, admin=True)
    return session.session.state.value


async def test_a_session_whose_hold_is_released_is_cancelled(system: System) -> None:
    view = await system.authorize()
    assert await state_of(system, view) == "active"
    await system.payments.release(party_id="parking", authorization_id=view.authorization.id)
    assert await state_of(system, view) == "cancelled"


async def test_a_session_whose_account_hold_is_released_is_cancelled(system: System) -> None:
    view = await system.authorize(party_id="superapp", method="app", payment=PartnerAccount())
    await system.payments.release(party_id="superapp", authorization_id=view.authorization.id)
    assert await state_of(system, view) == "cancelled"


async def test_a_declined_session_is_cancelled_and_active_again_with_another_card(system: System) -> None:
    declined = PspMethod(payment_method="pm_declined")
    view = await system.authorize(session_ref="S1", payment=declined)
    assert await state_of(system, view) == "cancelled"
    again = await system.authorize(session_ref="S1")
    assert again.session.id == view.session.id
    assert await state_of(system, view) == "active"


async def test_a_session_whose_hold_expired_at_the_psp_is_cancelled(system: System) -> None:
    view = await system.authorize()
    system.psp.payments[view.authorization.psp_payment or ""].status = "canceled"
    await system.payments.holds.check_hold(shard=view.session.shard, authorization_id=view.authorization.id)
    assert await state_of(system, view) == "cancelled"


async def test_a_session_whose_challenge_failed_is_cancelled(system: System) -> None:
    view = await system.authorize(payment=PspMethod(payment_method="pm_challenge"))
    payment = view.authorization.psp_payment or ""
    system.psp.payments[payment].status = "canceled"
    await system.payments.psp_events.sync_payment(psp_payment=payment)
    assert await state_of(system, view) == "cancelled"


async def test_a_cdr_completes_a_cancelled_session(system: System) -> None:
    view = await system.authorize()
    await system.payments.release(party_id="parking", authorization_id=view.authorization.id)
    done = await system.complete(view)
    assert (done.session.state, done.capture) == ("completed", None)


async def test_a_completed_session_shows_the_start_of_its_cdr(system: System) -> None:
    view = await system.authorize()
    assert view.session.started_at is None
    reported = datetime(2026, 10, 29, 7, 58, tzinfo=UTC)
    await system.payments.record_start(session_id=view.session.id, started_at=reported)
    running = await system.payments.get_session(party_id="parking", session_id=view.session.id)
    assert running.session.started_at == reported
    done = await system.complete(view)
    assert done.session.started_at == datetime(2026, 10, 29, 8, tzinfo=UTC)
