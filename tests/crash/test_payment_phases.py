"""A process that dies between two phases of a payment: whoever goes on, there is one effect at the PSP.

Four seams for each order: the intent is committed and the PSP has not heard; the PSP has carried it out and
nobody has heard the answer; the answer is in hand and not committed; it is committed and nothing after it was
done. Three that go on: the same order again, the resolver, the worker's lanes.
"""

import json
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import pytest

from gateway.audit import audit_house
from gateway.database import Pool
from gateway.ids import ids_from, new_id
from gateway.payments.orders import AuthorizeOrder, Estimate, PaymentError, PspMethod, SessionView
from gateway.payments.refund import RefundReason, RefundRequest
from tests.simulation.house import Ground, Simulated
from tests.simulation.in_process import Asked, Verdict
from tests.simulation.market import PLACES, SUPERAPP, cdr_tree
from tests.simulation.seeded import Hands, Ids

PLACE = PLACES["DE*ABC*E1"]
pytestmark = [pytest.mark.postgres, pytest.mark.slow]


class Died(BaseException):
    """The process is gone; nothing of it runs any further."""


class Seam(StrEnum):
    INTENT_COMMITTED = "the intent is committed, the PSP has not heard"
    EFFECT_TAKEN = "the PSP has carried it out, nobody heard the answer"
    ANSWER_IN_HAND = "the answer is in hand, not committed"
    ANSWER_COMMITTED = "the answer is committed, nothing after it is done"


class Dying:
    """Kills at one seam of the request whose path matches, once."""

    def __init__(self, house: Simulated, path: str, seam: Seam) -> None:
        self.house, self.path, self.seam = house, path, seam
        self.spent = False
        house.wire.verdict = self.verdict
        house.wire.answered = self.answered

    def here(self, asked: Asked, seam: Seam) -> bool:
        if self.spent or not asked.moves or not asked.path.endswith(self.path) or seam is not self.seam:
            return False
        self.spent = True
        return True

    async def verdict(self, asked: Asked) -> Verdict:
        if self.here(asked, Seam.INTENT_COMMITTED):
            raise Died
        return Verdict.DELIVER

    async def answered(self, asked: Asked) -> None:
        if self.here(asked, Seam.EFFECT_TAKEN):
            raise Died


class DyingPool:
    """A pool whose next acquire after the PSP's answer, or the one after that, is never reached."""

    def __init__(self, pool: Pool, dying: Dying) -> None:
        self._pool, self._dying = pool, dying
        self._left: int | None = None
        inner = dying.answered

        async def answered(asked: Asked) -> None:
            await inner(asked)
            if dying.here(asked, Seam.ANSWER_IN_HAND):
                self._left = 0
            elif dying.here(asked, Seam.ANSWER_COMMITTED):
                self._left = 1

        dying.house.wire.answered = answered

    @asynccontextmanager
    async def acquire(self, **options: Any) -> AsyncIterator[Any]:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._left = None
                raise Died
        async with self._pool.acquire(**options) as connection:
            yield connection


@dataclass
class Stage:
    """A house, its session under way, and what its partner does."""

    house: Simulated
    order: AuthorizeOrder
    kwh: int = 20
    refund_id: Any = None

    async def authorize(self) -> Any:
        return await self.house.payments.authorize(self.order)

    async def session(self) -> SessionView:
        async with self.house.pool.acquire() as connection:
            row = await connection.fetchrow("SELECT id FROM gateway.session")
        return await self.house.payments.get_session(party_id=SUPERAPP, session_id=row["id"])

    async def complete(self) -> Any:
        view = await self.session()
        tree = cdr_tree(PLACE, cdr_id="C1", session_ref="S1", kwh=self.kwh, ended_at=self.house.hands.at)
        return await self.house.payments.complete(
            party_id=SUPERAPP,
            session_id=view.session.id,
            cdr_raw=json.dumps(tree).encode(),
            cdr_version="2.2.1",
        )

    async def release(self) -> Any:
        view = await self.session()
        assert view.authorization is not None
        return await self.house.payments.release(party_id=SUPERAPP, authorization_id=view.authorization.id)

    async def increment(self) -> Any:
        view = await self.session()
        assert view.authorization is not None
        return await self.house.payments.increment(
            party_id=SUPERAPP,
            authorization_id=view.authorization.id,
            amount_minor=3000,
            expected_version=None,
        )

    async def collect(self) -> Any:
        return await self.house.lanes["collect"].run_once()

    async def refund(self) -> Any:
        view = await self.session()
        request = RefundRequest(
            refund_id=self.refund_id,
            session_id=view.session.id,
            amount_minor=500,
            reason=RefundReason.REQUESTED_BY_DRIVER,
        )
        return await self.house.payments.refunds.refund(request, party_id=None)

    async def lanes(self) -> None:
        """A worker that comes up again: time passes, webhooks arrive, every lane does its rounds."""
        for _ in range(7):
            self.house.hands.advance(timedelta(seconds=70))
            self.house.set_psp_clock()
            for letter in self.house.engine.take_webhooks():
                await self.house.payments.psp_webhook(
                    body=letter.body, signature=letter.headers["Stripe-Signature"]
                )
            for lane in self.house.lanes.values():
                await lane.run_once()


@pytest.fixture
async def stage(pool: Pool) -> AsyncIterator[Stage]:
    ground = Ground(pool)
    await ground.prepare()
    dice, hands = random.Random(1), Hands()
    with ids_from(Ids(hands, dice)):
        house = await ground.open(dice, hands)
        customer, method = house.customers["ann"]
        order = AuthorizeOrder(
            authorization_id=new_id(),
            party_id=SUPERAPP,
            evse_id=PLACE.evse_id,
            rail="app",
            payment=PspMethod(payment_method=method, customer=customer),
            session_ref="S1",
            estimate=Estimate(energy_wh=20_000, duration_s=3600),
            cpo_id=PLACE.cpo_id,
        )
        yield Stage(house=house, order=order, refund_id=new_id())


def decline_increments(house: Simulated) -> None:
    """So that a price above the hold is captured in part, and the rest charged under the mandate."""
    house.control(
        "POST",
        "faults",
        {
            "match": {"path_regex": "increment_authorization$", "times": 0},
            "fault": {"kind": "decline", "code": "card_declined", "decline_code": "generic_decline"},
        },
    )


Act = Callable[[Stage], Coroutine[Any, Any, Any]]
# What is done before, the order itself, and the path of its request.
ORDERS: dict[str, tuple[list[Act], Act, str]] = {
    "authorize": ([], Stage.authorize, "/payment_intents"),
    "capture": ([Stage.authorize], Stage.complete, "/capture"),
    "void": ([Stage.authorize], Stage.release, "/cancel"),
    "increment": ([Stage.authorize], Stage.increment, "/increment_authorization"),
    "collect": ([Stage.authorize, Stage.complete], Stage.collect, "/payment_intents"),
    "refund": ([Stage.authorize, Stage.complete], Stage.refund, "/refunds"),
}


def happened(house: Simulated) -> dict[str, int]:
    """Effects at the PSP, by kind; a replayed answer is no effect."""
    intents = house.objects("payment_intent")
    return {
        "authorize": sum("authorization" in intent["metadata"] for intent in intents),
        "capture": sum(
            intent["status"] == "succeeded" and "authorization" in intent["metadata"] for intent in intents
        ),
        "void": sum(intent["status"] == "canceled" for intent in intents),
        "increment": sum(intent["amount"] == 3000 for intent in intents),
        "collect": sum("collects_for" in intent["metadata"] for intent in intents),
        "refund": len(house.objects("refund")),
    }


@pytest.mark.parametrize("goes_on", ["the same order again", "the resolver and the lanes"])
@pytest.mark.parametrize("seam", list(Seam), ids=lambda seam: seam.name.lower())
@pytest.mark.parametrize("name", list(ORDERS))
async def test_a_death_at_any_seam_leaves_one_effect_and_books_that_agree(
    stage: Stage, name: str, seam: Seam, goes_on: str
) -> None:
    before, act, path = ORDERS[name]
    house = stage.house
    if name == "collect":
        stage.kwh = 41
        decline_increments(house)
    for earlier in before:
        await earlier(stage)
    dying = Dying(house, path, seam)
    mortal = DyingPool(house.pool, dying)
    services = (
        house.payments, house.payments.authorizations, house.payments.captures, house.payments.collections,
        house.payments.refunds,
    )  # fmt: skip
    for service in services:
        object.__setattr__(service, "pool", mortal)
    try:
        await act(stage)
    except* Died:
        pass
    for service in services:
        object.__setattr__(service, "pool", house.pool)
    assert dying.spent, "the seam was never reached"
    if goes_on == "the same order again":
        with suppress(PaymentError):  # refused while its first try is not decided yet: the lanes decide it
            await act(stage)
    await stage.lanes()
    assert happened(house)[name] == 1
    assert happened(house)["capture"] <= 1
    audit = await audit_house(house.pool, clearing=house.clearing, clock=house.hands, psp=house.psp)
    assert [str(finding) for finding in audit.all_findings] == []
    assert audit.unfinished.open_calls == 0
    if name in {"capture", "collect", "refund"}:
        view = await stage.session()
        assert view.capture is not None
        assert view.capture.state == "succeeded"
        assert view.capture.amount_minor + view.capture.receivable_minor == PLACE.price_minor(stage.kwh)


def fault(house: Simulated, path: str, kind: str, *, times: int = 1) -> None:
    """The next requests to that path are disturbed at the PSP."""
    house.control(
        "POST",
        "faults",
        {"match": {"path_regex": path, "times": times}, "fault": {"kind": kind, "hold_ms": 0}},
    )


async def test_an_order_repeated_past_the_keys_lifetime_does_not_hold_twice(stage: Stage) -> None:
    house = stage.house
    fault(house, "/payment_intents$", "timeout_after")
    await stage.authorize()
    house.hands.advance(timedelta(hours=25))
    house.set_psp_clock()
    await stage.authorize()
    assert happened(house)["authorize"] == 1
    await stage.lanes()
    view = await stage.session()
    assert view.authorization is not None
    assert view.authorization.state.value == "authorized"


async def test_a_capture_that_came_after_the_holds_end_is_taken_under_the_mandate(stage: Stage) -> None:
    house = stage.house
    await stage.authorize()
    house.hands.advance(timedelta(days=8))
    house.set_psp_clock()
    await stage.complete()
    await stage.lanes()
    view = await stage.session()
    assert view.capture is not None
    assert (view.capture.state, view.capture.amount_minor) == ("succeeded", PLACE.price_minor(stage.kwh))
    assert happened(house)["capture"] == 1


async def test_a_dispute_heard_before_its_capture_is_recorded_is_not_forgotten(stage: Stage) -> None:
    house = stage.house
    await stage.authorize()
    fault(house, "/capture$", "timeout_after")
    await stage.complete()
    fault(house, "/capture$", "reset_before", times=0)  # and no question after it is answered
    charge = house.objects("charge")[0]["id"]
    house.control("POST", f"charges/{charge}/dispute", {"reason": "fraudulent"})
    for letter in house.engine.take_webhooks():
        await house.payments.psp_webhook(body=letter.body, signature=letter.headers["Stripe-Signature"])
    await house.lanes["psp_event"].run_once()
    assert await count(house, "dispute") == 0
    house.control("DELETE", "faults")
    house.hands.advance(timedelta(hours=2))  # every event asked once; by now the next question is an hour off
    await stage.lanes()
    assert await count(house, "dispute") == 1
    audit = await audit_house(house.pool, clearing=house.clearing, clock=house.hands, psp=house.psp)
    assert [str(finding) for finding in audit.all_findings] == []


async def test_a_dispute_of_the_charge_beside_the_capture_finds_its_session(stage: Stage) -> None:
    house = stage.house
    stage.kwh = 41
    decline_increments(house)
    await stage.authorize()
    await stage.complete()
    await stage.collect()
    beside = next(one for one in house.objects("payment_intent") if "collects_for" in one["metadata"])
    house.control("POST", f"charges/{beside['latest_charge']}/dispute", {"reason": "fraudulent"})
    await stage.lanes()
    assert await count(house, "dispute") == 1


async def count(house: Simulated, table: str) -> int:
    async with house.pool.acquire() as connection:
        found: int = await connection.fetchval(f"SELECT count(*) FROM gateway.{table}")  # noqa: S608 - a name of ours
        return found
