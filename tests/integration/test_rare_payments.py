"""Payments that are rare: currencies with steps, sessions without a CDR, late fees, forgotten keys, races."""

import asyncio
import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from typing_extensions import override

from clearing.ledger import service as ledger_service
from clearing.parties.party import PartyKind
from clearing.pricing.ocpi_version import OcpiVersion
from clearing.services import ClearingServices, build_clearing
from gateway.audit.system_audit import audit_system
from gateway.database import Connection, Pool, transaction
from gateway.ids import new_id
from gateway.jobs.clearing import ClearingJob
from gateway.jobs.hold_monitor import HoldMonitorJob
from gateway.ocpi.cdr_settlement import CdrSettlementService
from gateway.ocpi.repository import cdrs
from gateway.ocpi.repository.cdrs import CdrStatus, NewCdr
from gateway.payments.errors import (
    CdrRejectedError,
    InvalidPaymentRequestError,
    PaymentConflictError,
    PspUnavailableError,
    SessionAlreadyCompletedError,
)
from gateway.payments.funding import FundingService
from gateway.payments.missing_cdr import KnownUsage, SessionUpdateSource
from gateway.payments.policy import PaymentPolicy
from gateway.payments.psp.dispute_port import DisputeUpdate
from gateway.payments.psp.failures import Declined, PspOutcomeUnknown
from gateway.payments.psp.port import (
    Captured,
    HoldOutcome,
    PspTopUpRequest,
    ToppedUp,
    TopUpOutcome,
    Voided,
)
from gateway.payments.psp.stripe.adapter import STRIPE_RULES
from gateway.payments.records import MissingCdrAction, MissingCdrPolicy, SessionRecord
from gateway.payments.refund import RefundReason, RefundRequest
from gateway.payments.requests import (
    ANY_DRIVER,
    ChargePoint,
    EvseUnknown,
    PspMethod,
    TariffChoice,
    TariffMissing,
)
from gateway.payments.service import build_payments
from tests.fakes import clearing_fixtures as world
from tests.fakes.api import START, TARIFF, OneTariff
from tests.fakes.parties import add_parties
from tests.fakes.psp import FakePsp
from tests.fakes.tasks import correction_job
from tests.integration.test_payments import Hands, System, cdr


class Forgetful(FakePsp):
    """A PSP that forgets keys after a day and keeps what it did."""

    def __init__(self, clock: Hands) -> None:
        super().__init__()
        self.clock = clock
        self.topups: dict[str, tuple[datetime, PspTopUpRequest]] = {}
        self.made: list[PspTopUpRequest] = []
        self.inspected: list[str] = []

    @override
    async def inspect(self, *, psp_payment: str) -> HoldOutcome | Captured | Voided:
        self.inspected.append(psp_payment)
        return await super().inspect(psp_payment=psp_payment)

    @override
    async def top_up(self, request: PspTopUpRequest) -> TopUpOutcome:
        await asyncio.sleep(0)
        fault = self.faults.popleft() if self.faults else None
        if fault == "before":
            return PspOutcomeUnknown(reason="timeout")
        known = self.topups.get(request.idempotency_key)
        if known is None or self.clock.at - known[0] >= timedelta(hours=24):
            self.topups[request.idempotency_key] = (self.clock.at, request)
            self.made.append(request)
        return PspOutcomeUnknown(reason="timeout") if fault else ToppedUp(psp_topup=request.idempotency_key)

    @override
    async def find_top_up(self, *, top_up_id: UUID) -> ToppedUp | Declined | PspOutcomeUnknown | None:
        for request in self.made:
            if request.top_up_id == top_up_id:
                return ToppedUp(psp_topup=request.idempotency_key)
        return None


class KuwaitTariff(OneTariff):
    """The same tariff in a currency of three decimals: 0.050 a kWh, and 19 % on it."""

    @override
    async def tariff_for(
        self,
        connection: Any,
        *,
        evse_id: str,
        at: datetime,
        cpo_id: str | None = None,
        choice: TariffChoice = ANY_DRIVER,
    ) -> ChargePoint | EvseUnknown | TariffMissing:
        point = await super().tariff_for(connection, evse_id=evse_id, at=at, cpo_id=cpo_id, choice=choice)
        assert isinstance(point, ChargePoint)
        component = {"type": "ENERGY", "price": 0.0502, "vat": 19.0, "step_size": 1}
        tariff = TARIFF | {"currency": "KWD", "elements": [{"price_components": [component]}]}
        return replace(point, tariff_raw=json.dumps(tariff).encode())


@dataclass
class LastUpdates(SessionUpdateSource):
    """The last update of a session, as the test says: kWh of it, None where nothing is known."""

    kwh: str | None = "10"
    requested: list[str] = field(default_factory=list)
    connected: bool = False

    @override
    async def sends_cdrs(self, connection: Connection, *, cpo_id: str) -> bool:
        return self.connected

    @override
    async def find_last_update(
        self, connection: Connection, session: SessionRecord, *, authorization_id: UUID, cdr_id: str
    ) -> KnownUsage | None:
        self.requested.append(cdr_id)
        if self.kwh is None:
            return None
        return KnownUsage(cdr_raw=cdr(kwh=self.kwh, cdr_id=cdr_id), cdr_version="2.2.1")


@pytest.fixture
async def system(pool: Pool) -> System:
    async with pool.acquire() as connection:
        await add_parties(connection, {"DE-ABC": "cpo", "parking": "demand_partner", "platform": "platform"})
    clock = Hands()
    psp = Forgetful(clock)
    return opened(pool, psp, clock)


def opened(
    pool: Pool, psp: FakePsp, clock: Hands, *, tariffs: Any = None, updates: SessionUpdateSource | None = None
) -> System:
    payments = build_payments(
        pool=pool,
        psp=psp,
        tariffs=tariffs or OneTariff(),
        checked=False,
        clock=clock,
        policy=PaymentPolicy(),
        updates=updates,
    )
    return System(pool=pool, psp=psp, clock=clock, payments=payments)


def another(system: System, **changes: Any) -> System:
    return opened(system.pool, system.psp, system.clock, **changes)


async def refund(system: System, view: Any, amount: int | None, *, up_to: bool = False) -> Any:
    request = RefundRequest(
        refund_id=new_id(),
        session_id=view.session.id,
        amount_minor=amount,
        reason=RefundReason.REQUESTED_BY_DRIVER,
        up_to=up_to,
    )
    return await system.payments.refunds.refund(request, party_id="parking")


async def watch(system: System) -> None:
    await HoldMonitorJob(clock=system.clock, payments=system.payments).run_once()


async def set_state(system: System, state: str) -> None:
    async with system.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = $1", state)


# Currencies


async def test_a_three_decimal_session_is_held_up_captured_down_and_proved(system: System) -> None:
    kuwait = another(system, tariffs=KuwaitTariff())
    view = await kuwait.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    assert view.authorization.hold_minor == 2390  # 40 kWh: 2389.52
    done = await kuwait.payments.complete(
        party_id="parking",
        session_id=view.session.id,
        cdr_raw=cdr(kwh="20", currency="KWD"),
        cdr_version="2.2.1",
    )
    assert done.capture is not None
    assert done.session.price_minor == 1195  # 20 kWh at 0.0502 and 19 %
    assert (done.capture.amount_minor, done.capture.receivable_minor) == (1190, 5)
    assert [row["kind"] for row in await system.rows("task")] == [
        "clear_session"
    ]  # 5 fils are never sent for
    found = await audit_system(system.pool, clock=system.clock, psp=None)
    assert not [one for one in found.findings if one.check == "captured_is_price"]


async def test_a_refund_off_the_currencys_step_is_rejected_before_it_is_sent(system: System) -> None:
    kuwait = another(system, tariffs=KuwaitTariff())
    view = await kuwait.authorize()
    await kuwait.payments.complete(
        party_id="parking",
        session_id=view.session.id,
        cdr_raw=cdr(kwh="20", currency="KWD"),
        cdr_version="2.2.1",
    )
    with pytest.raises(InvalidPaymentRequestError, match="multiples of 10"):
        await refund(kuwait, view, 123)
    assert (await refund(kuwait, view, 120)).state == "succeeded"
    assert (await refund(kuwait, view, 123, up_to=True)).amount_minor == 130


# A session whose CDR never comes


async def forget(
    system: System, updates: LastUpdates, *, days: int = 5, **changes: Any
) -> tuple[System, Any]:
    reported = another(system, updates=updates)
    await reported.payments.missing_cdrs.set_policy(
        MissingCdrPolicy(action=MissingCdrAction.LAST_KNOWN_COST, after_days=days), party_id="DE-ABC"
    )
    view = await reported.authorize(**changes)
    system.clock.at += timedelta(days=days, minutes=1)
    await watch(reported)
    return reported, view


async def seen(system: System, view: Any) -> Any:
    return await system.payments.get_session(party_id="parking", session_id=view.session.id)


async def test_without_a_policy_the_hold_of_a_stale_session_is_released(system: System) -> None:
    reported = another(system, updates=LastUpdates())
    view = await reported.authorize()
    system.clock.at += timedelta(days=31)
    await watch(reported)
    assert (await seen(system, view)).authorization.state == "voided"


async def test_the_last_known_cost_is_captured_where_the_cpos_policy_says_so(system: System) -> None:
    reported, view = await forget(system, LastUpdates())
    after = await seen(reported, view)
    assert (after.capture.amount_minor, after.session.price_minor) == (595, 595)
    assert "last_known_cost" in after.session.flags


async def test_the_platforms_policy_holds_for_a_cpo_without_one(system: System) -> None:
    reported = another(system, updates=LastUpdates())
    await reported.payments.missing_cdrs.set_policy(
        MissingCdrPolicy(action=MissingCdrAction.LAST_KNOWN_COST, after_days=2), party_id="platform"
    )
    view = await reported.authorize()
    system.clock.at += timedelta(days=3)
    await watch(reported)
    assert (await seen(reported, view)).capture.amount_minor == 595


async def test_nothing_known_releases_the_hold_whatever_the_policy(system: System) -> None:
    reported, view = await forget(system, LastUpdates(kwh=None))
    assert (await seen(reported, view)).authorization.state == "voided"


async def test_the_last_known_cost_never_takes_more_than_the_hold(system: System) -> None:
    reported, view = await forget(
        system, LastUpdates(kwh="60"), payment=PspMethod(payment_method="pm_increment", customer="cus_1")
    )
    after = await seen(reported, view)
    assert (after.capture.amount_minor, after.capture.receivable_minor) == (2380, 1190)
    assert [row["kind"] for row in await system.rows("task")] == [
        "clear_session"
    ]  # nothing is charged off-session


async def test_a_hold_about_to_be_lost_is_captured_before_its_end(system: System) -> None:
    system.psp.capture_before = START + timedelta(days=7)
    reported = another(system, updates=LastUpdates())
    await reported.payments.missing_cdrs.set_policy(
        MissingCdrPolicy(action=MissingCdrAction.LAST_KNOWN_COST, after_days=30), party_id="DE-ABC"
    )
    view = await reported.authorize()
    system.clock.at = START + timedelta(days=7) - timedelta(minutes=100)
    await watch(reported)
    assert (await seen(reported, view)).capture.amount_minor == 595


@pytest.mark.parametrize(
    ("kwh", "refunded", "owed"), [("4", 595 - 238, 0), ("10", 0, 0), ("30", 0, 1785 - 595)]
)
async def test_a_cdr_that_comes_after_all_takes_the_last_known_costs_place(
    system: System, kwh: str, refunded: int, owed: int
) -> None:
    reported, view = await forget(system, LastUpdates())
    with pytest.raises(PaymentConflictError, match="captured without a CDR"):
        await reported.complete(view, kwh=kwh, party="DE-ABC")  # the ledger has not seen the capture yet
    with pytest.raises(SessionAlreadyCompletedError, match="its operator's CDR corrects it"):
        await reported.complete(view, kwh=kwh)  # the payer's word is less than the operator's update
    await set_state(system, "cleared")
    await reported.complete(view, kwh=kwh, party="DE-ABC")
    after = await reported.complete(view, kwh=kwh, party="DE-ABC")
    assert (system.psp.refunded_minor, after.capture.receivable_minor) == (refunded, owed)
    assert after.session.cdr_id == "C1"
    found = await audit_system(system.pool, clock=system.clock, psp=None)
    assert not [one for one in found.findings if one.check == "captured_is_price"]
    with pytest.raises(SessionAlreadyCompletedError):
        await reported.complete(view, kwh=kwh, cdr_id="C2", party="DE-ABC")


async def test_a_pushed_cdr_takes_the_last_known_costs_place_as_well(system: System) -> None:
    reported, view = await forget(system, LastUpdates())
    await set_state(system, "cleared")
    service = CdrSettlementService(
        pool=system.pool, clock=system.clock, payments=reported.payments, environment="sandbox"
    )
    new = pushed(kwh="4")
    async with system.pool.acquire() as connection:
        now = system.clock.now()
        assert await cdrs.add_cdr(connection, new, now=now, wall_now=now)
        kept = await cdrs.load_cdr(connection, new.cpo_id, new.cdr_id)
    assert kept is not None
    assert await service.complete(kept, view.session.id) is None
    assert system.psp.refunded_minor == 595 - 238
    async with system.pool.acquire() as connection:
        kept = await cdrs.load_cdr(connection, new.cpo_id, new.cdr_id)
    assert kept is not None
    assert kept.status is CdrStatus.COMPLETED


def pushed(*, kwh: str) -> NewCdr:
    raw = cdr(kwh=kwh)
    return NewCdr(
        cpo_id="DE-ABC",
        cdr_id="C1",
        version=OcpiVersion.V2_2_1,
        raw=raw,
        fingerprint=hashlib.sha256(raw).digest(),
        session_ref=None,
        authorization_reference=None,
        currency="EUR",
        ended_at=START,
        credit=False,
        credit_reference_id=None,
        last_updated=START,
    )


# Holds


async def test_holds_that_cannot_be_renewed_keep_no_other_from_its_check(system: System) -> None:
    system.psp.capture_before = START + timedelta(hours=6)
    for _ in range(3):
        await system.authorize()  # no mandate: nothing can be done
    renewable = await system.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    system.psp.capture_before = START + timedelta(days=7)
    due = []
    for _ in range(4):
        found = await system.payments.holds.list_holds_ending(before=START + timedelta(hours=12), batch=1)
        for shard, authorization_id in found:
            assert await system.payments.holds.claim_check(
                shard=shard, authorization_id=authorization_id, interval=timedelta(hours=1)
            )
            await system.payments.holds.check_hold(shard=shard, authorization_id=authorization_id)
            due.append(authorization_id)
    assert renewable.authorization.id in due
    assert len(set(due)) == 4
    after = await seen(system, renewable)
    assert after.authorization.capture_before == START + timedelta(days=7)


async def test_a_hold_has_one_check_at_a_time_and_another_at_its_end(system: System) -> None:
    system.psp.capture_before = START + timedelta(minutes=30)
    view = await system.authorize()
    turn: dict[str, Any] = {
        "shard": view.session.shard,
        "authorization_id": view.authorization.id,
        "interval": timedelta(hours=1),
    }
    claimed = await asyncio.gather(*[system.payments.holds.claim_check(**turn) for _ in range(6)])
    assert sum(claimed) == 1
    assert not await system.payments.holds.list_holds_ending(before=START + timedelta(hours=12), batch=9)
    system.clock.at = START + timedelta(minutes=30)
    assert await system.payments.holds.list_holds_ending(before=START + timedelta(hours=12), batch=9)


# Money in


@pytest.fixture
def funding(system: System) -> FundingService:
    return FundingService(pool=system.pool, clock=system.clock, psp=system.psp)


async def test_a_top_up_unanswered_for_days_is_looked_up_and_not_made_again(
    system: System, funding: FundingService
) -> None:
    psp = cast("Forgetful", system.psp)
    psp.faults.append("after")
    with pytest.raises(PspUnavailableError):
        await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    system.clock.at += timedelta(days=3)
    await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    assert [request.amount_minor for request in psp.made] == [900]


async def test_a_top_up_that_never_reached_the_psp_is_made_once_after_days(
    system: System, funding: FundingService
) -> None:
    psp = cast("Forgetful", system.psp)
    psp.faults.extend(["before", "after"])
    fields = {"party_id": "parking", "currency": "EUR", "amount_minor": 700, "reference": "INV-1"}
    for wait in (STRIPE_RULES.key_lifetime, timedelta(hours=20)):
        with pytest.raises(PspUnavailableError):
            await funding.fund_partner(funding_id=new_id(), **fields)  # type: ignore[arg-type]
        system.clock.at += wait
    account = await funding.fund_partner(funding_id=new_id(), **fields)  # type: ignore[arg-type]
    assert (account.balance_minor, len(psp.made)) == (700, 1)


async def test_a_known_reference_with_another_amount_is_a_conflict(
    system: System, funding: FundingService
) -> None:
    await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    for other in ({"currency": "EUR", "amount_minor": 901}, {"currency": "CHF", "amount_minor": 900}):
        with pytest.raises(PaymentConflictError, match="FLOAT-1 is booked as 900"):
            await funding.top_up_treasury(reference="FLOAT-1", **other)  # type: ignore[arg-type]


async def test_an_unanswered_reference_keeps_its_first_amount(
    system: System, funding: FundingService
) -> None:
    psp = cast("Forgetful", system.psp)
    psp.faults.append("before")
    with pytest.raises(PspUnavailableError):
        await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    with pytest.raises(PaymentConflictError, match="under way"):
        await funding.top_up_treasury(currency="EUR", amount_minor=901, reference="FLOAT-1")
    assert not psp.made


@pytest.mark.parametrize("_again", range(4))
async def test_parallel_requests_under_one_reference_bring_money_in_once(
    system: System, funding: FundingService, _again: int
) -> None:
    psp = cast("Forgetful", system.psp)
    accounts = await asyncio.gather(
        *[
            funding.fund_partner(
                funding_id=new_id(), party_id="parking", currency="EUR", amount_minor=700, reference="INV-1"
            )
            for _ in range(12)
        ]
    )
    assert {account.balance_minor for account in accounts} == {700}
    await asyncio.gather(
        *[funding.top_up_treasury(currency="EUR", amount_minor=50, reference="INV-1") for _ in range(12)]
    )
    assert sorted(request.amount_minor for request in psp.made) == [50, 700]
    async with system.pool.acquire() as connection:
        booked = {one.account: one.minor for one in await ledger_service.list_balances(connection)}
    assert booked["psp:stripe:receivable"] == -750


async def test_parallel_requests_of_two_amounts_under_one_reference_book_one(
    system: System, funding: FundingService
) -> None:
    results = await asyncio.gather(
        *[
            funding.fund_partner(
                funding_id=new_id(),
                party_id="parking",
                currency="EUR",
                amount_minor=amount,
                reference="INV-1",
            )
            for amount in (700, 701) * 5
        ],
        return_exceptions=True,
    )
    rejected = [one for one in results if isinstance(one, PaymentConflictError)]
    assert len(rejected) == 5
    assert len(cast("Forgetful", system.psp).made) == 1


# Races


async def test_one_cdr_sent_for_two_sessions_at_once_ends_one_of_them(system: System) -> None:
    views = [await system.authorize() for _ in range(8)]
    results = await asyncio.gather(*[system.complete(view) for view in views], return_exceptions=True)
    assert sum(isinstance(one, CdrRejectedError) for one in results) == 7
    assert [row["amount_minor"] for row in await system.rows("capture")] == [1190]
    assert system.psp.capture_effects == 1


async def test_one_cdr_sent_many_times_at_once_captures_once(system: System) -> None:
    view = await system.authorize()
    await asyncio.gather(*[system.complete(view) for _ in range(12)])
    assert system.psp.capture_effects == 1
    assert len(await system.rows("capture")) == 1


async def test_two_cdrs_sent_at_once_end_a_session_by_one_of_them(system: System) -> None:
    view = await system.authorize()
    results = await asyncio.gather(
        *[system.complete(view, kwh=kwh, cdr_id=name) for kwh, name in (("20", "C1"), ("30", "C2")) * 4],
        return_exceptions=True,
    )
    assert sum(isinstance(one, SessionAlreadyCompletedError) for one in results) == 4
    (session,) = await system.rows("session")
    (capture,) = await system.rows("capture")
    assert capture["amount_minor"] == session["price_minor"]
    assert system.psp.capture_effects == 1


# Disputes


def news(state: str, *, amount: int = 1190, fee: int = 0) -> DisputeUpdate:
    return DisputeUpdate(
        psp_dispute="du_1",
        state=state,
        amount_minor=amount,
        withdrawn_minor=amount,
        fee_minor=fee,
        fee_currency="EUR",
        currency="EUR",
        reason="fraudulent",
    )


async def hear(system: System, view: Any, *reported: DisputeUpdate) -> None:
    for one in reported:
        assert await system.payments.disputes.record_update(
            one, shard=view.session.shard, session_id=view.session.id
        )


class RecordedCorrections:
    """Clearing as the correction job sees it: what was requested of it."""

    def __init__(self) -> None:
        self.requested: list[tuple[str, int]] = []
        self.sessions = self

    async def open_dispute(self, connection: Any, session_id: UUID, **fields: Any) -> None:
        self.requested.append(("open", fields["minor"]))

    async def correct_dispute_fee(self, connection: Any, session_id: UUID, **fields: Any) -> bool:
        self.requested.append(("fee", fields["fee_minor"]))
        return True


async def test_a_dispute_is_recorded_whole_whatever_was_refunded_before(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    await refund(system, view, 500)
    await hear(system, view, news("opened"))
    (dispute,) = await system.rows("dispute")
    assert dispute["amount_minor"] == 1190
    with pytest.raises(Exception, match="outside 1 to 0"):
        await refund(system, view, None)


async def test_a_fee_named_after_the_dispute_was_posted_reaches_the_ledger(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    await set_state(system, "cleared")
    books = RecordedCorrections()
    job = correction_job(system.pool, system.clock, books)
    await hear(system, view, news("opened"))
    await job.run_once()
    await hear(system, view, news("opened", fee=1500), news("opened"), news("opened", fee=1500))
    await job.run_once()
    assert books.requested == [("open", 1190), ("fee", 1500)]


async def test_only_what_ends_a_dispute_lowers_its_fee(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    await hear(system, view, news("opened", fee=1500), news("opened", fee=0), news("won", fee=0))
    assert [row["fee_minor"] for row in await system.rows("dispute")] == [0]
    await hear(system, view, news("opened", fee=1500))  # late and out of order
    assert [row["fee_minor"] for row in await system.rows("dispute")] == [0]


# What clearing set aside


async def with_ledger(system: System) -> tuple[ClearingServices, ClearingJob]:
    """Clearing with the parties and the agreement of the system's sessions."""
    service = build_clearing()
    cpo = world.party("DE-ABC", PartyKind.CPO, "DE", "EUR")
    partner = world.party("parking", PartyKind.DEMAND_PARTNER, "DE", "EUR", vat_id="DE811907980")
    async with transaction(system.pool) as connection:
        await service.reference_data.import_bundled_rates(connection, now=START)
        for party in (world.PLATFORM, cpo, partner):
            await service.reference_data.register_party(connection, party, now=START)
        await service.reference_data.put_agreement(connection, world.agreement(cpo), now=START)
    job = ClearingJob(pool=system.pool, clock=system.clock, sessions=service.sessions, batch_size=10, chain=0)
    return service, job


async def test_a_session_captured_above_its_price_is_cleared_once_the_rest_is_refunded(
    system: System,
) -> None:
    service, clearing = await with_ledger(system)
    view = await system.authorize()
    await system.complete(view)
    async with system.pool.acquire() as connection:  # as a bug would leave it
        await connection.execute("UPDATE gateway.capture SET amount_minor = 1290")
    await clearing.run_once()
    exception = await seen(system, view)
    assert (exception.session.state, list(exception.session.flags)) == ("exception", ["captured_above_price"])
    corrections = correction_job(system.pool, system.clock, service.sessions)
    assert (await refund(system, view, 100)).state == "succeeded"
    await corrections.run_once()
    again = await system.payments.retry_clearing(session_id=view.session.id)
    assert again.session.state == "completed"
    await clearing.run_once()
    await corrections.run_once()
    assert (await seen(system, view)).session.state == "cleared"
    async with system.pool.acquire() as connection:
        booked = {one.account: one.minor for one in await ledger_service.list_balances(connection)}
    assert booked["psp:stripe:receivable"] == -1190 + 42  # what is kept, less the PSP's fee
    found = await audit_system(system.pool, clock=system.clock, psp=None)
    assert {one.check for one in found.all_findings} == {"captured_is_price"}  # the bug stays named
    assert (await refund(system, view, None)).amount_minor == 1190
    await corrections.run_once()
    found = await audit_system(system.pool, clock=system.clock, psp=None)
    assert {one.check for one in found.all_findings} == {"captured_is_price"}


async def test_a_session_without_an_agreement_is_cleared_again_once_there_is_one(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    service = build_clearing()
    async with transaction(system.pool) as connection:
        await service.reference_data.import_bundled_rates(connection, now=START)
    job = ClearingJob(pool=system.pool, clock=system.clock, sessions=service.sessions, batch_size=10, chain=0)
    await job.run_once()
    assert (await seen(system, view)).session.state == "exception"
    _, job = await with_ledger(system)
    await system.payments.retry_clearing(session_id=view.session.id)
    await job.run_once()
    assert (await seen(system, view)).session.state == "cleared"
    with pytest.raises(PaymentConflictError, match="no exception"):
        await system.payments.retry_clearing(session_id=view.session.id)


async def test_a_session_is_not_cleared_again_while_a_refund_is_unanswered(system: System) -> None:
    view = await system.authorize()
    await system.complete(view)
    await set_state(system, "exception")
    system.psp.faults.append("before")
    assert (await refund(system, view, 100)).state == "requested"
    with pytest.raises(PaymentConflictError, match="not answered"):
        await system.payments.retry_clearing(session_id=view.session.id)


async def test_what_was_refunded_while_an_agreement_was_missing_is_posted_after_the_whole_capture(
    system: System,
) -> None:
    view = await system.authorize()
    await system.complete(view)
    await set_state(system, "exception")
    await refund(system, view, 396)
    await system.payments.retry_clearing(session_id=view.session.id)
    service, clearing = await with_ledger(system)
    await clearing.run_once()
    assert (await seen(system, view)).session.state == "cleared"
    corrections = correction_job(system.pool, system.clock, service.sessions)
    await corrections.run_once()
    assert await reversed_amounts(system) == [("refund", 396)]
    found = await audit_system(system.pool, clock=system.clock, psp=None)
    assert not found.all_findings


async def test_a_capture_refunded_whole_while_it_was_an_exception_leaves_the_fee_in_the_books(
    system: System,
) -> None:
    view = await system.authorize()
    await system.complete(view)
    await set_state(system, "exception")
    await refund(system, view, None)
    await system.payments.retry_clearing(session_id=view.session.id)
    service, clearing = await with_ledger(system)
    await clearing.run_once()
    await correction_job(system.pool, system.clock, service.sessions).run_once()
    async with system.pool.acquire() as connection:
        booked = {
            one.account: one.minor for one in await ledger_service.list_balances(connection) if one.minor
        }
    assert booked == {"psp:stripe:receivable": 42, "platform:psp:expense": -42}


async def test_more_than_the_excess_refunded_before_clearing_is_cleared_below_the_price(
    system: System,
) -> None:
    view = await system.authorize()
    await system.complete(view)
    async with system.pool.acquire() as connection:  # as a bug would leave it
        await connection.execute("UPDATE gateway.capture SET amount_minor = 1290")
    await set_state(system, "exception")
    await refund(system, view, 200)
    await system.payments.retry_clearing(session_id=view.session.id)
    _, clearing = await with_ledger(system)
    await clearing.run_once()
    assert (await seen(system, view)).session.state == "cleared"


# Refunds that come back


async def reversed_amounts(system: System) -> list[tuple[str, int]]:
    async with system.pool.acquire() as connection:
        found = await connection.fetch("SELECT kind, gross_minor FROM clearing.entry WHERE kind <> 'capture'")
    return [(row["kind"], row["gross_minor"]) for row in found]


async def postpone_corrections(system: System) -> None:
    """As after a round in which the session was not cleared yet."""
    async with system.pool.acquire() as connection:
        await connection.execute(
            "UPDATE gateway.task SET run_at = run_at + interval '1 hour' WHERE kind = 'book_correction'"
        )


async def test_a_refund_that_failed_before_it_was_posted_leaves_no_trace_and_keeps_no_other_back(
    system: System,
) -> None:
    service, clearing = await with_ledger(system)
    view = await system.authorize()
    await system.complete(view)
    await clearing.run_once()
    corrections = correction_job(system.pool, system.clock, service.sessions)
    first = await refund(system, view, 396)
    [sent] = [row["psp_refund"] for row in await system.rows("refund")]
    payment = (await seen(system, view)).authorization.psp_payment
    assert await system.payments.refunds.handle_failed_refund(sent, psp_payment=payment) is None
    await postpone_corrections(system)
    second = await refund(system, view, 892)  # more than 396 less than the capture: the first came back
    await corrections.run_once()
    system.clock.at += timedelta(hours=2)
    await corrections.run_once()
    assert (first.state, second.state) == ("succeeded", "succeeded")
    assert await reversed_amounts(system) == [("refund", 892)]
    assert not [row for row in await system.rows("task") if row["kind"] == "book_correction"]
    found = await audit_system(system.pool, clock=system.clock, psp=None)
    assert not found.all_findings


async def test_a_refund_that_failed_before_its_session_is_cleared_again_leaves_no_task(
    system: System,
) -> None:
    view = await system.authorize()
    await system.complete(view)
    await set_state(system, "exception")
    await refund(system, view, 396)
    [sent] = [row["psp_refund"] for row in await system.rows("refund")]
    payment = (await seen(system, view)).authorization.psp_payment
    assert await system.payments.refunds.handle_failed_refund(sent, psp_payment=payment) is None
    await system.payments.retry_clearing(session_id=view.session.id)
    service, clearing = await with_ledger(system)
    await clearing.run_once()
    await correction_job(system.pool, system.clock, service.sessions).run_once()
    assert not [row for row in await system.rows("task") if row["kind"] == "book_correction"]
    found = await audit_system(system.pool, clock=system.clock, psp=None)
    assert not found.all_findings
