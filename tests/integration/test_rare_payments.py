"""Payments that are rare: currencies with steps, sessions without a CDR, late fees, forgotten keys, races."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from typing_extensions import override

from clearing.parties.party import PartyKind
from clearing.pricing.ocpi import OcpiVersion
from clearing.service import ClearingService
from gateway.audit import audit_house
from gateway.database import Connection, Pool, transaction
from gateway.ids import new_id
from gateway.lanes.clearing_lane import ClearingLane
from gateway.lanes.correction_lane import CorrectionLane
from gateway.lanes.errands import Errands
from gateway.lanes.hold_watch import HoldWatchLane
from gateway.payments.funding import Funding
from gateway.payments.holds import MissingCdrAction
from gateway.payments.missing import KnownUsage, LastUpdates, MissingCdrPolicy
from gateway.payments.orders import (
    CdrRefusedError,
    ChargePoint,
    EvseUnknown,
    InvalidOrderError,
    PspMethod,
    PspUnavailableError,
    SessionAlreadyCompletedError,
    StateConflictError,
    TariffMissing,
)
from gateway.payments.policy import KEY_LIFETIME, PaymentPolicy
from gateway.payments.psp import (
    Captured,
    Declined,
    DisputeNews,
    HoldOutcome,
    OutcomeUnknown,
    ToppedUp,
    TopUpOrder,
    TopUpOutcome,
    Voided,
)
from gateway.payments.records import SessionRecord
from gateway.payments.refund import RefundReason, RefundRequest
from gateway.payments.service import build_payments
from gateway.store.ocpi_cdrs import CdrStatus, StoredCdr
from tests.fakes import clearing_world as world
from tests.fakes.psp import FakePsp
from tests.integration.test_payments import START, TARIFF, Hands, House, OneTariff, cdr


class Forgetful(FakePsp):
    """A PSP that forgets keys after a day and keeps what it did."""

    def __init__(self, clock: Hands) -> None:
        super().__init__()
        self.clock = clock
        self.topups: dict[str, tuple[datetime, TopUpOrder]] = {}
        self.made: list[TopUpOrder] = []
        self.inspected: list[str] = []

    @override
    async def inspect(self, *, psp_payment: str) -> HoldOutcome | Captured | Voided:
        self.inspected.append(psp_payment)
        return await super().inspect(psp_payment=psp_payment)

    @override
    async def top_up(self, order: TopUpOrder) -> TopUpOutcome:
        await asyncio.sleep(0)
        fault = self.faults.popleft() if self.faults else None
        if fault == "before":
            return OutcomeUnknown(reason="timeout")
        known = self.topups.get(order.idempotency_key)
        if known is None or self.clock.at - known[0] >= timedelta(hours=24):
            self.topups[order.idempotency_key] = (self.clock.at, order)
            self.made.append(order)
        return OutcomeUnknown(reason="timeout") if fault else ToppedUp(psp_topup=order.idempotency_key)

    @override
    async def find_top_up(self, *, top_up_id: UUID) -> ToppedUp | Declined | OutcomeUnknown | None:
        for order in self.made:
            if order.top_up_id == top_up_id:
                return ToppedUp(psp_topup=order.idempotency_key)
        return None


class KuwaitTariff(OneTariff):
    """The same tariff in a currency of three decimals: 0.050 a kWh, and 19 % on it."""

    @override
    async def tariff_for(
        self, connection: Any, *, evse_id: str, at: datetime, cpo_id: str | None = None
    ) -> ChargePoint | EvseUnknown | TariffMissing:
        point = await super().tariff_for(connection, evse_id=evse_id, at=at, cpo_id=cpo_id)
        assert isinstance(point, ChargePoint)
        component = {"type": "ENERGY", "price": 0.0502, "vat": 19.0, "step_size": 1}
        tariff = TARIFF | {"currency": "KWD", "elements": [{"price_components": [component]}]}
        return replace(point, tariff_raw=json.dumps(tariff).encode())


@dataclass
class Told(LastUpdates):
    """The last update of a session, as the test says: kWh of it, None where nothing is known."""

    kwh: str | None = "10"
    asked: list[str] = field(default_factory=list)

    @override
    async def last_known(
        self, connection: Connection, session: SessionRecord, *, authorization_id: UUID, cdr_id: str
    ) -> KnownUsage | None:
        self.asked.append(cdr_id)
        if self.kwh is None:
            return None
        return KnownUsage(cdr_raw=cdr(kwh=self.kwh, cdr_id=cdr_id), cdr_version="2.2.1")


@pytest.fixture
async def house(pool: Pool) -> House:
    async with pool.acquire() as connection:
        await connection.executemany(
            "INSERT INTO gateway.party (id, kind, name, created_at) VALUES ($1, $2, $1, now())",
            [("DE-ABC", "cpo"), ("parking", "demand_partner"), ("platform", "platform")],
        )
    clock = Hands()
    psp = Forgetful(clock)
    return opened(pool, psp, clock)


def opened(
    pool: Pool, psp: FakePsp, clock: Hands, *, tariffs: Any = None, updates: LastUpdates | None = None
) -> House:
    payments = build_payments(
        pool=pool,
        psp=psp,
        tariffs=tariffs or OneTariff(),
        clock=clock,
        policy=PaymentPolicy(),
        updates=updates,
    )
    return House(pool=pool, psp=psp, clock=clock, payments=payments)


def another(house: House, **changes: Any) -> House:
    return opened(house.pool, house.psp, house.clock, **changes)


async def refund(house: House, view: Any, amount: int | None, *, up_to: bool = False) -> Any:
    request = RefundRequest(
        refund_id=new_id(),
        session_id=view.session.id,
        amount_minor=amount,
        reason=RefundReason.REQUESTED_BY_DRIVER,
        up_to=up_to,
    )
    return await house.payments.refunds.refund(request, party_id="parking")


async def watch(house: House) -> None:
    await HoldWatchLane(clock=house.clock, payments=house.payments).run_once()


async def set_state(house: House, state: str) -> None:
    async with house.pool.acquire() as connection:
        await connection.execute("UPDATE gateway.session SET state = $1", state)


# Currencies


async def test_a_three_decimal_session_is_held_up_captured_down_and_proved(house: House) -> None:
    kuwait = another(house, tariffs=KuwaitTariff())
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
    assert [row["kind"] for row in await house.rows("task")] == ["clear"]  # 5 fils are never asked for
    found = await audit_house(house.pool, clearing=ClearingService(), clock=house.clock, psp=None)
    assert not [one for one in found.findings if one.check == "captured_is_price"]


async def test_a_refund_off_the_currencys_step_is_refused_before_it_is_asked_for(house: House) -> None:
    kuwait = another(house, tariffs=KuwaitTariff())
    view = await kuwait.authorize()
    await kuwait.payments.complete(
        party_id="parking",
        session_id=view.session.id,
        cdr_raw=cdr(kwh="20", currency="KWD"),
        cdr_version="2.2.1",
    )
    with pytest.raises(InvalidOrderError, match="multiples of 10"):
        await refund(kuwait, view, 123)
    assert (await refund(kuwait, view, 120)).state == "succeeded"
    assert (await refund(kuwait, view, 123, up_to=True)).amount_minor == 130


# A session whose CDR never comes


async def forget(house: House, updates: Told, *, days: int = 5, **changes: Any) -> tuple[House, Any]:
    told = another(house, updates=updates)
    await told.payments.missing.set_policy(
        MissingCdrPolicy(action=MissingCdrAction.LAST_KNOWN_COST, after_days=days), party_id="DE-ABC"
    )
    view = await told.authorize(**changes)
    house.clock.at += timedelta(days=days, minutes=1)
    await watch(told)
    return told, view


async def seen(house: House, view: Any) -> Any:
    return await house.payments.get_session(party_id="parking", session_id=view.session.id)


async def test_without_a_policy_a_forgotten_hold_goes_back(house: House) -> None:
    told = another(house, updates=Told())
    view = await told.authorize()
    house.clock.at += timedelta(days=31)
    await watch(told)
    assert (await seen(house, view)).authorization.state == "voided"


async def test_the_last_known_cost_is_captured_where_the_cpos_policy_says_so(house: House) -> None:
    told, view = await forget(house, Told())
    after = await seen(told, view)
    assert (after.capture.amount_minor, after.session.price_minor) == (595, 595)
    assert "last_known_cost" in after.session.flags


async def test_the_platforms_policy_holds_for_a_cpo_without_one(house: House) -> None:
    told = another(house, updates=Told())
    await told.payments.missing.set_policy(
        MissingCdrPolicy(action=MissingCdrAction.LAST_KNOWN_COST, after_days=2), party_id="platform"
    )
    view = await told.authorize()
    house.clock.at += timedelta(days=3)
    await watch(told)
    assert (await seen(told, view)).capture.amount_minor == 595


async def test_nothing_known_releases_the_hold_whatever_the_policy(house: House) -> None:
    told, view = await forget(house, Told(kwh=None))
    assert (await seen(told, view)).authorization.state == "voided"


async def test_the_last_known_cost_never_takes_more_than_the_hold(house: House) -> None:
    told, view = await forget(
        house, Told(kwh="60"), payment=PspMethod(payment_method="pm_increment", customer="cus_1")
    )
    after = await seen(told, view)
    assert (after.capture.amount_minor, after.capture.receivable_minor) == (2380, 1190)
    assert [row["kind"] for row in await house.rows("task")] == ["clear"]  # nothing is charged off-session


async def test_a_hold_about_to_be_lost_is_captured_before_its_end(house: House) -> None:
    house.psp.capture_before = START + timedelta(days=7)
    told = another(house, updates=Told())
    await told.payments.missing.set_policy(
        MissingCdrPolicy(action=MissingCdrAction.LAST_KNOWN_COST, after_days=30), party_id="DE-ABC"
    )
    view = await told.authorize()
    house.clock.at = START + timedelta(days=7) - timedelta(minutes=100)
    await watch(told)
    assert (await seen(told, view)).capture.amount_minor == 595


@pytest.mark.parametrize(
    ("kwh", "refunded", "owed"), [("4", 595 - 238, 0), ("10", 0, 0), ("30", 0, 1785 - 595)]
)
async def test_a_cdr_that_comes_after_all_takes_the_last_known_costs_place(
    house: House, kwh: str, refunded: int, owed: int
) -> None:
    told, view = await forget(house, Told())
    with pytest.raises(StateConflictError, match="last known cost"):
        await told.complete(view, kwh=kwh)  # the ledger has not seen the capture yet
    await set_state(house, "cleared")
    await told.complete(view, kwh=kwh)
    after = await told.complete(view, kwh=kwh)
    assert (house.psp.refunded_minor, after.capture.receivable_minor) == (refunded, owed)
    assert after.session.cdr_id == "C1"
    found = await audit_house(house.pool, clearing=ClearingService(), clock=house.clock, psp=None)
    assert not [one for one in found.findings if one.check == "captured_is_price"]
    with pytest.raises(SessionAlreadyCompletedError):
        await told.complete(view, kwh=kwh, cdr_id="C2")


async def test_a_pushed_cdr_takes_the_last_known_costs_place_as_well(house: House) -> None:
    told, view = await forget(house, Told())
    await set_state(house, "cleared")
    errands = Errands(
        pool=house.pool, clock=house.clock, payments=told.payments, cdrs=cast("Any", NoCredits())
    )
    assert await errands._settle(pushed(kwh="4"), view.session.id) is None
    assert house.psp.refunded_minor == 595 - 238


class NoCredits:
    """CDRs of which none was reversed."""

    async def credits_of(self, connection: Any, cpo_id: str, cdr_id: str) -> bool:
        return False

    async def mark_cdr(self, connection: Any, cpo_id: str, cdr_id: str, **fields: Any) -> None:
        assert fields["status"] is CdrStatus.SETTLED, fields


def pushed(*, kwh: str) -> StoredCdr:
    raw = cdr(kwh=kwh)
    values: dict[str, Any] = dict.fromkeys(StoredCdr.__dataclass_fields__)
    return StoredCdr(
        **values
        | {"cpo_id": "DE-ABC", "cdr_id": "C1", "raw": raw, "version": OcpiVersion.V2_2_1, "credit": False}
    )


# Holds


async def test_holds_that_cannot_be_renewed_keep_no_other_from_its_turn(house: House) -> None:
    house.psp.capture_before = START + timedelta(hours=6)
    for _ in range(3):
        await house.authorize()  # no mandate: nothing can be done
    renewable = await house.authorize(payment=PspMethod(payment_method="pm_good", customer="cus_1"))
    house.psp.capture_before = START + timedelta(days=7)
    due = []
    for _ in range(4):
        found = await house.payments.holds.ending(before=START + timedelta(hours=12), batch=1)
        for lane, authorization_id in found:
            assert await house.payments.holds.take_turn(
                lane=lane, authorization_id=authorization_id, rest=timedelta(hours=1)
            )
            await house.payments.holds.look_after(lane=lane, authorization_id=authorization_id)
            due.append(authorization_id)
    assert renewable.authorization.id in due
    assert len(set(due)) == 4
    after = await seen(house, renewable)
    assert after.authorization.capture_before == START + timedelta(days=7)


async def test_a_hold_has_one_turn_at_a_time_and_another_at_its_end(house: House) -> None:
    house.psp.capture_before = START + timedelta(minutes=30)
    view = await house.authorize()
    turn: dict[str, Any] = {
        "lane": view.session.lane,
        "authorization_id": view.authorization.id,
        "rest": timedelta(hours=1),
    }
    taken = await asyncio.gather(*[house.payments.holds.take_turn(**turn) for _ in range(6)])
    assert sum(taken) == 1
    assert not await house.payments.holds.ending(before=START + timedelta(hours=12), batch=9)
    house.clock.at = START + timedelta(minutes=30)
    assert await house.payments.holds.ending(before=START + timedelta(hours=12), batch=9)


# Money in


@pytest.fixture
def funding(house: House) -> Funding:
    return Funding(pool=house.pool, clock=house.clock, psp=house.psp, clearing=ClearingService())


async def test_a_top_up_unanswered_for_days_is_looked_up_and_not_made_again(
    house: House, funding: Funding
) -> None:
    psp = cast("Forgetful", house.psp)
    psp.faults.append("after")
    with pytest.raises(PspUnavailableError):
        await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    house.clock.at += timedelta(days=3)
    await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    assert [order.amount_minor for order in psp.made] == [900]


async def test_a_top_up_that_never_reached_the_psp_is_made_once_after_days(
    house: House, funding: Funding
) -> None:
    psp = cast("Forgetful", house.psp)
    psp.faults.extend(["before", "after"])
    fields = {"party_id": "parking", "currency": "EUR", "amount_minor": 700, "reference": "INV-1"}
    for wait in (KEY_LIFETIME, timedelta(hours=20)):
        with pytest.raises(PspUnavailableError):
            await funding.fund_partner(funding_id=new_id(), **fields)  # type: ignore[arg-type]
        house.clock.at += wait
    account = await funding.fund_partner(funding_id=new_id(), **fields)  # type: ignore[arg-type]
    assert (account.balance_minor, len(psp.made)) == (700, 1)


async def test_a_known_reference_with_another_amount_is_a_conflict(house: House, funding: Funding) -> None:
    await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    for other in ({"currency": "EUR", "amount_minor": 901}, {"currency": "CHF", "amount_minor": 900}):
        with pytest.raises(StateConflictError, match="FLOAT-1 is booked as 900"):
            await funding.top_up_treasury(reference="FLOAT-1", **other)  # type: ignore[arg-type]


async def test_an_unanswered_reference_keeps_its_first_amount(house: House, funding: Funding) -> None:
    psp = cast("Forgetful", house.psp)
    psp.faults.append("before")
    with pytest.raises(PspUnavailableError):
        await funding.top_up_treasury(currency="EUR", amount_minor=900, reference="FLOAT-1")
    with pytest.raises(StateConflictError, match="under way"):
        await funding.top_up_treasury(currency="EUR", amount_minor=901, reference="FLOAT-1")
    assert not psp.made


@pytest.mark.parametrize("_again", range(4))
async def test_parallel_requests_under_one_reference_bring_money_in_once(
    house: House, funding: Funding, _again: int
) -> None:
    psp = cast("Forgetful", house.psp)
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
    assert sorted(order.amount_minor for order in psp.made) == [50, 700]
    async with house.pool.acquire() as connection:
        booked = {one.account: one.minor for one in await ClearingService().balances(connection)}
    assert booked["psp:stripe:receivable"] == -750


async def test_parallel_requests_of_two_amounts_under_one_reference_book_one(
    house: House, funding: Funding
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
    refused = [one for one in results if isinstance(one, StateConflictError)]
    assert len(refused) == 5
    assert len(cast("Forgetful", house.psp).made) == 1


# Races


async def test_one_cdr_told_for_two_sessions_at_once_ends_one_of_them(house: House) -> None:
    views = [await house.authorize() for _ in range(8)]
    results = await asyncio.gather(*[house.complete(view) for view in views], return_exceptions=True)
    assert sum(isinstance(one, CdrRefusedError) for one in results) == 7
    assert [row["amount_minor"] for row in await house.rows("capture")] == [1190]
    assert house.psp.capture_effects == 1


async def test_one_cdr_told_many_times_at_once_captures_once(house: House) -> None:
    view = await house.authorize()
    await asyncio.gather(*[house.complete(view) for _ in range(12)])
    assert house.psp.capture_effects == 1
    assert len(await house.rows("capture")) == 1


async def test_two_cdrs_told_at_once_end_a_session_by_one_of_them(house: House) -> None:
    view = await house.authorize()
    results = await asyncio.gather(
        *[house.complete(view, kwh=kwh, cdr_id=name) for kwh, name in (("20", "C1"), ("30", "C2")) * 4],
        return_exceptions=True,
    )
    assert sum(isinstance(one, SessionAlreadyCompletedError) for one in results) == 4
    (session,) = await house.rows("session")
    (capture,) = await house.rows("capture")
    assert capture["amount_minor"] == session["price_minor"]
    assert house.psp.capture_effects == 1


# Disputes


def news(state: str, *, amount: int = 1190, fee: int = 0) -> DisputeNews:
    return DisputeNews(
        psp_dispute="du_1",
        state=state,
        amount_minor=amount,
        fee_minor=fee,
        currency="EUR",
        reason="fraudulent",
    )


async def hear(house: House, view: Any, *told: DisputeNews) -> None:
    for one in told:
        assert await house.payments.disputes.heard(one, lane=view.session.lane, session_id=view.session.id)


class Books:
    """Clearing as the correction lane sees it: what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def open_dispute(self, connection: Any, session_id: UUID, **fields: Any) -> None:
        self.asked.append(("open", fields["minor"]))

    async def correct_dispute_fee(self, connection: Any, session_id: UUID, **fields: Any) -> bool:
        self.asked.append(("fee", fields["fee_minor"]))
        return True


async def test_a_dispute_is_recorded_whole_whatever_was_refunded_before(house: House) -> None:
    view = await house.authorize()
    await house.complete(view)
    await refund(house, view, 500)
    await hear(house, view, news("opened"))
    (dispute,) = await house.rows("dispute")
    assert dispute["amount_minor"] == 1190
    with pytest.raises(Exception, match="outside 1 to 0"):
        await refund(house, view, None)


async def test_a_fee_told_after_the_dispute_was_posted_reaches_the_ledger(house: House) -> None:
    view = await house.authorize()
    await house.complete(view)
    await set_state(house, "cleared")
    books = Books()
    lane = CorrectionLane(pool=house.pool, clock=house.clock, clearing=cast("ClearingService", books))
    await hear(house, view, news("opened"))
    await lane.run_once()
    await hear(house, view, news("opened", fee=1500), news("opened"), news("opened", fee=1500))
    await lane.run_once()
    assert books.asked == [("open", 1190), ("fee", 1500)]


async def test_only_what_ends_a_dispute_lowers_its_fee(house: House) -> None:
    view = await house.authorize()
    await house.complete(view)
    await hear(house, view, news("opened", fee=1500), news("opened", fee=0), news("won", fee=0))
    assert [row["fee_minor"] for row in await house.rows("dispute")] == [0]
    await hear(house, view, news("opened", fee=1500))  # late and out of order
    assert [row["fee_minor"] for row in await house.rows("dispute")] == [0]


# What clearing set aside


async def with_ledger(house: House) -> tuple[ClearingService, ClearingLane]:
    """Clearing with the parties and the agreement of the house's sessions."""
    service = ClearingService()
    cpo = world.party("DE-ABC", PartyKind.CPO, "DE", "EUR")
    partner = world.party("parking", PartyKind.DEMAND_PARTNER, "DE", "EUR", vat_id="DE811907980")
    async with transaction(house.pool) as connection:
        await service.load_reference_data(connection, now=START)
        for party in (world.PLATFORM, cpo, partner):
            await service.register_party(connection, party, now=START)
        await service.put_agreement(connection, world.agreement(cpo), now=START)
    lane = ClearingLane(pool=house.pool, clock=house.clock, clearing=service, batch_size=10, chain=0)
    return service, lane


async def test_a_session_captured_above_its_price_is_cleared_once_the_rest_is_refunded(house: House) -> None:
    service, clearing = await with_ledger(house)
    view = await house.authorize()
    await house.complete(view)
    async with house.pool.acquire() as connection:  # as a bug would leave it
        await connection.execute("UPDATE gateway.capture SET amount_minor = 1290")
    await clearing.run_once()
    parked = await seen(house, view)
    assert (parked.session.state, list(parked.session.flags)) == ("parked", ["captured_above_price"])
    corrections = CorrectionLane(pool=house.pool, clock=house.clock, clearing=service)
    assert (await refund(house, view, 100)).state == "succeeded"
    await corrections.run_once()
    again = await house.payments.clear_again(session_id=view.session.id)
    assert again.session.state == "completed"
    await clearing.run_once()
    await corrections.run_once()
    assert (await seen(house, view)).session.state == "cleared"
    async with house.pool.acquire() as connection:
        booked = {one.account: one.minor for one in await service.balances(connection)}
    assert booked["psp:stripe:receivable"] == -1190 + 42  # what is kept, less the PSP's fee
    found = await audit_house(house.pool, clearing=service, clock=house.clock, psp=None)
    assert {one.check for one in found.all_findings} == {"captured_is_price"}  # the bug stays named
    assert (await refund(house, view, None)).amount_minor == 1190
    await corrections.run_once()
    found = await audit_house(house.pool, clearing=service, clock=house.clock, psp=None)
    assert {one.check for one in found.all_findings} == {"captured_is_price"}


async def test_a_session_without_an_agreement_is_cleared_again_once_there_is_one(house: House) -> None:
    view = await house.authorize()
    await house.complete(view)
    service = ClearingService()
    async with transaction(house.pool) as connection:
        await service.load_reference_data(connection, now=START)
    lane = ClearingLane(pool=house.pool, clock=house.clock, clearing=service, batch_size=10, chain=0)
    await lane.run_once()
    assert (await seen(house, view)).session.state == "parked"
    _, lane = await with_ledger(house)
    await house.payments.clear_again(session_id=view.session.id)
    await lane.run_once()
    assert (await seen(house, view)).session.state == "cleared"
    with pytest.raises(StateConflictError, match="not set aside"):
        await house.payments.clear_again(session_id=view.session.id)


async def test_a_session_is_not_cleared_again_while_a_refund_is_unanswered(house: House) -> None:
    view = await house.authorize()
    await house.complete(view)
    await set_state(house, "parked")
    house.psp.faults.append("before")
    assert (await refund(house, view, 100)).state == "requested"
    with pytest.raises(StateConflictError, match="not answered"):
        await house.payments.clear_again(session_id=view.session.id)


async def test_what_was_refunded_while_an_agreement_was_missing_is_posted_after_the_whole_capture(
    house: House,
) -> None:
    view = await house.authorize()
    await house.complete(view)
    await set_state(house, "parked")
    await refund(house, view, 396)
    await house.payments.clear_again(session_id=view.session.id)
    service, clearing = await with_ledger(house)
    await clearing.run_once()
    assert (await seen(house, view)).session.state == "cleared"
    corrections = CorrectionLane(pool=house.pool, clock=house.clock, clearing=service)
    await corrections.run_once()
    assert await taken_back(house) == [("refund", 396)]
    found = await audit_house(house.pool, clearing=service, clock=house.clock, psp=None)
    assert not found.all_findings


async def test_a_capture_given_back_whole_while_it_was_set_aside_leaves_the_fee_in_the_books(
    house: House,
) -> None:
    view = await house.authorize()
    await house.complete(view)
    await set_state(house, "parked")
    await refund(house, view, None)
    await house.payments.clear_again(session_id=view.session.id)
    service, clearing = await with_ledger(house)
    await clearing.run_once()
    await CorrectionLane(pool=house.pool, clock=house.clock, clearing=service).run_once()
    async with house.pool.acquire() as connection:
        booked = {one.account: one.minor for one in await service.balances(connection) if one.minor}
    assert booked == {"psp:stripe:receivable": 42, "platform:psp:expense": -42}


async def test_more_than_the_excess_refunded_before_clearing_is_cleared_below_the_price(house: House) -> None:
    view = await house.authorize()
    await house.complete(view)
    async with house.pool.acquire() as connection:  # as a bug would leave it
        await connection.execute("UPDATE gateway.capture SET amount_minor = 1290")
    await set_state(house, "parked")
    await refund(house, view, 200)
    await house.payments.clear_again(session_id=view.session.id)
    _, clearing = await with_ledger(house)
    await clearing.run_once()
    assert (await seen(house, view)).session.state == "cleared"


# Refunds that come back


async def taken_back(house: House) -> list[tuple[str, int]]:
    async with house.pool.acquire() as connection:
        found = await connection.fetch("SELECT kind, gross_minor FROM clearing.entry WHERE kind <> 'capture'")
    return [(row["kind"], row["gross_minor"]) for row in found]


async def postpone_corrections(house: House) -> None:
    """As after a round in which the session was not cleared yet."""
    async with house.pool.acquire() as connection:
        await connection.execute(
            "UPDATE gateway.task SET run_at = run_at + interval '1 hour' WHERE kind = 'correct'"
        )


async def test_a_refund_that_failed_before_it_was_posted_leaves_no_trace_and_keeps_no_other_back(
    house: House,
) -> None:
    service, clearing = await with_ledger(house)
    view = await house.authorize()
    await house.complete(view)
    await clearing.run_once()
    corrections = CorrectionLane(pool=house.pool, clock=house.clock, clearing=service)
    first = await refund(house, view, 396)
    [sent] = [row["psp_refund"] for row in await house.rows("refund")]
    payment = (await seen(house, view)).authorization.psp_payment
    assert await house.payments.refunds.heard_failed(sent, psp_payment=payment) is None
    await postpone_corrections(house)
    second = await refund(house, view, 892)  # more than 396 less than the capture: the first came back
    await corrections.run_once()
    house.clock.at += timedelta(hours=2)
    await corrections.run_once()
    assert (first.state, second.state) == ("succeeded", "succeeded")
    assert await taken_back(house) == [("refund", 892)]
    assert not [row for row in await house.rows("task") if row["kind"] == "correct"]
    found = await audit_house(house.pool, clearing=service, clock=house.clock, psp=None)
    assert not found.all_findings


async def test_a_refund_that_failed_before_its_session_is_cleared_again_leaves_no_errand(
    house: House,
) -> None:
    view = await house.authorize()
    await house.complete(view)
    await set_state(house, "parked")
    await refund(house, view, 396)
    [sent] = [row["psp_refund"] for row in await house.rows("refund")]
    payment = (await seen(house, view)).authorization.psp_payment
    assert await house.payments.refunds.heard_failed(sent, psp_payment=payment) is None
    await house.payments.clear_again(session_id=view.session.id)
    service, clearing = await with_ledger(house)
    await clearing.run_once()
    await CorrectionLane(pool=house.pool, clock=house.clock, clearing=service).run_once()
    assert not [row for row in await house.rows("task") if row["kind"] == "correct"]
    found = await audit_house(house.pool, clearing=service, clock=house.clock, psp=None)
    assert not found.all_findings
