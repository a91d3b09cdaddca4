"""A process that dies between two phases of a payment: whoever goes on, there is one effect at the PSP.

Four seams for each request: the intent is committed and the PSP has not received it; the PSP has carried it
out and its answer was not received; the answer is in hand and not committed; it is committed and nothing
after it was done. Three that go on: the same request again, the resolver, the worker's jobs.
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

from gateway.audit.system_audit import audit_system
from gateway.database import Pool
from gateway.ids import ids_from, new_id
from gateway.payments.errors import PaymentError
from gateway.payments.refund import RefundReason, RefundRequest
from gateway.payments.requests import AuthorizationRequest, Estimate, PspMethod
from gateway.payments.views import SessionView
from tests.simulation.application import Ground, Simulated
from tests.simulation.in_process import SeenRequest, Verdict
from tests.simulation.market import PLACES, SUPERAPP, cdr_tree
from tests.simulation.seeded import Hands, Ids

PLACE = PLACES["DE*ABC*E1"]
pytestmark = [pytest.mark.postgres, pytest.mark.slow]


class Died(BaseException):
    """The process has ended; nothing of it runs any further."""


class Seam(StrEnum):
    INTENT_COMMITTED = "the intent is committed, the PSP has not received it"
    EFFECT_TAKEN = "the PSP has carried it out, the answer was not received"
    ANSWER_IN_HAND = "the answer is in hand, not committed"
    ANSWER_COMMITTED = "the answer is committed, nothing after it is done"


class Dying:
    """Kills at one seam of the request whose path matches, once."""

    def __init__(self, system: Simulated, path: str, seam: Seam) -> None:
        self.system, self.path, self.seam = system, path, seam
        self.spent = False
        system.wire.verdict = self.verdict
        system.wire.answered = self.answered

    def here(self, sent: SeenRequest, seam: Seam) -> bool:
        if self.spent or not sent.moves or not sent.path.endswith(self.path) or seam is not self.seam:
            return False
        self.spent = True
        return True

    async def verdict(self, sent: SeenRequest) -> Verdict:
        if self.here(sent, Seam.INTENT_COMMITTED):
            raise Died
        return Verdict.DELIVER

    async def answered(self, sent: SeenRequest) -> None:
        if self.here(sent, Seam.EFFECT_TAKEN):
            raise Died


class DyingPool:
    """A pool whose next acquire after the PSP's answer, or the one after that, is never reached."""

    def __init__(self, pool: Pool, dying: Dying) -> None:
        self._pool, self._dying = pool, dying
        self._left: int | None = None
        inner = dying.answered

        async def answered(sent: SeenRequest) -> None:
            await inner(sent)
            if dying.here(sent, Seam.ANSWER_IN_HAND):
                self._left = 0
            elif dying.here(sent, Seam.ANSWER_COMMITTED):
                self._left = 1

        dying.system.wire.answered = answered

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
    """A system, its session under way, and what its partner does."""

    system: Simulated
    request: AuthorizationRequest
    kwh: int = 20
    refund_id: Any = None

    async def authorize(self) -> Any:
        return await self.system.payments.authorize(self.request)

    async def session(self) -> SessionView:
        async with self.system.pool.acquire() as connection:
            row = await connection.fetchrow("SELECT id FROM gateway.session")
        return await self.system.payments.get_session(party_id=SUPERAPP, session_id=row["id"])

    async def complete(self) -> Any:
        view = await self.session()
        tree = cdr_tree(PLACE, cdr_id="C1", session_ref="S1", kwh=self.kwh, ended_at=self.system.hands.at)
        return await self.system.payments.complete(
            party_id=SUPERAPP,
            session_id=view.session.id,
            cdr_raw=json.dumps(tree).encode(),
            cdr_version="2.2.1",
        )

    async def release(self) -> Any:
        view = await self.session()
        assert view.authorization is not None
        return await self.system.payments.release(party_id=SUPERAPP, authorization_id=view.authorization.id)

    async def increment(self) -> Any:
        view = await self.session()
        assert view.authorization is not None
        return await self.system.payments.increment(
            party_id=SUPERAPP,
            authorization_id=view.authorization.id,
            amount_minor=3000,
            expected_version=None,
        )

    async def charge_residual(self) -> Any:
        return await self.system.jobs["charge_residual"].run_once()

    async def refund(self) -> Any:
        view = await self.session()
        request = RefundRequest(
            refund_id=self.refund_id,
            session_id=view.session.id,
            amount_minor=500,
            reason=RefundReason.REQUESTED_BY_DRIVER,
        )
        return await self.system.payments.refunds.refund(request, party_id=None)

    async def jobs(self) -> None:
        """A worker that comes up again: time passes, webhooks arrive, every job does its rounds."""
        for _ in range(7):
            self.system.hands.advance(timedelta(seconds=70))
            self.system.set_psp_clock()
            for letter in self.system.engine.pop_webhooks():
                await self.system.payments.receive_psp_webhook(
                    body=letter.body, signature=letter.headers["Stripe-Signature"]
                )
            for job in self.system.jobs.values():
                await job.run_once()


@pytest.fixture
async def stage(pool: Pool) -> AsyncIterator[Stage]:
    ground = Ground(pool)
    await ground.prepare()
    rng, hands = random.Random(1), Hands()
    with ids_from(Ids(hands, rng)):
        system = await ground.open(rng, hands)
        customer, method = system.customers["ann"]
        request = AuthorizationRequest(
            authorization_id=new_id(),
            party_id=SUPERAPP,
            evse_id=PLACE.evse_id,
            method="app",
            payment=PspMethod(payment_method=method, customer=customer),
            session_ref="S1",
            estimate=Estimate(energy_wh=20_000, duration_s=3600),
            cpo_id=PLACE.cpo_id,
        )
        yield Stage(system=system, request=request, refund_id=new_id())


def decline_increments(system: Simulated) -> None:
    """So that a price above the hold is captured in part, and the rest charged under the mandate."""
    system.control(
        "POST",
        "faults",
        {
            "match": {"path_regex": "increment_authorization$", "times": 0},
            "fault": {"kind": "decline", "code": "card_declined", "decline_code": "generic_decline"},
        },
    )


Act = Callable[[Stage], Coroutine[Any, Any, Any]]
# What is done before, the request itself, and its path at the PSP.
ORDERS: dict[str, tuple[list[Act], Act, str]] = {
    "authorize": ([], Stage.authorize, "/payment_intents"),
    "capture": ([Stage.authorize], Stage.complete, "/capture"),
    "void": ([Stage.authorize], Stage.release, "/cancel"),
    "increment": ([Stage.authorize], Stage.increment, "/increment_authorization"),
    "residual_charge": ([Stage.authorize, Stage.complete], Stage.charge_residual, "/payment_intents"),
    "refund": ([Stage.authorize, Stage.complete], Stage.refund, "/refunds"),
}


def happened(system: Simulated) -> dict[str, int]:
    """Effects at the PSP, by kind; a replayed answer is no effect."""
    intents = system.objects("payment_intent")
    return {
        "authorize": sum("authorization" in intent["metadata"] for intent in intents),
        "capture": sum(
            intent["status"] == "succeeded" and "authorization" in intent["metadata"] for intent in intents
        ),
        "void": sum(intent["status"] == "canceled" for intent in intents),
        "increment": sum(intent["amount"] == 3000 for intent in intents),
        "residual_charge": sum("residual_charge_for" in intent["metadata"] for intent in intents),
        "refund": len(system.objects("refund")),
    }


@pytest.mark.parametrize("goes_on", ["the same request again", "the resolver and the jobs"])
@pytest.mark.parametrize("seam", list(Seam), ids=lambda seam: seam.name.lower())
@pytest.mark.parametrize("name", list(ORDERS))
async def test_a_death_at_any_seam_leaves_one_effect_and_books_that_agree(
    stage: Stage, name: str, seam: Seam, goes_on: str
) -> None:
    before, act, path = ORDERS[name]
    system = stage.system
    if name == "residual_charge":
        stage.kwh = 41
        decline_increments(system)
    for earlier in before:
        await earlier(stage)
    dying = Dying(system, path, seam)
    mortal = DyingPool(system.pool, dying)
    services = (
        system.payments,
        system.payments.authorizations,
        system.payments.captures,
        system.payments.residual_charges,
        system.payments.refunds,
        system.payments.psp_requests,
    )
    for service in services:
        object.__setattr__(service, "pool", mortal)
    try:
        await act(stage)
    except* Died:
        pass
    for service in services:
        object.__setattr__(service, "pool", system.pool)
    assert dying.spent, "the seam was never reached"
    if goes_on == "the same request again":
        with suppress(PaymentError):  # rejected while its first try is not decided yet: the jobs decide it
            await act(stage)
    await stage.jobs()
    assert happened(system)[name] == 1
    assert happened(system)["capture"] <= 1
    audit = await audit_system(system.pool, clock=system.hands, psp=system.psp)
    assert [str(finding) for finding in audit.all_findings] == []
    assert audit.open_work.open_requests == 0
    if name in {"capture", "residual_charge", "refund"}:
        view = await stage.session()
        assert view.capture is not None
        assert view.capture.state == "succeeded"
        assert view.capture.amount_minor + view.capture.receivable_minor == PLACE.price_minor(stage.kwh)


def fault(system: Simulated, path: str, kind: str, *, times: int = 1) -> None:
    """The next requests to that path are disturbed at the PSP."""
    system.control(
        "POST",
        "faults",
        {"match": {"path_regex": path, "times": times}, "fault": {"kind": kind, "hold_ms": 0}},
    )


async def test_a_request_repeated_past_the_keys_lifetime_does_not_hold_twice(stage: Stage) -> None:
    system = stage.system
    fault(system, "/payment_intents$", "timeout_after")
    await stage.authorize()
    system.hands.advance(timedelta(hours=25))
    system.set_psp_clock()
    await stage.authorize()
    assert happened(system)["authorize"] == 1
    await stage.jobs()
    view = await stage.session()
    assert view.authorization is not None
    assert view.authorization.state.value == "authorized"


async def test_a_capture_that_came_after_the_holds_end_is_made_under_the_mandate(stage: Stage) -> None:
    system = stage.system
    await stage.authorize()
    system.hands.advance(timedelta(days=8))
    system.set_psp_clock()
    await stage.complete()
    await stage.jobs()
    view = await stage.session()
    assert view.capture is not None
    assert (view.capture.state, view.capture.amount_minor) == ("succeeded", PLACE.price_minor(stage.kwh))
    assert happened(system)["capture"] == 1


async def test_a_dispute_reported_before_its_capture_is_recorded_is_not_lost(stage: Stage) -> None:
    system = stage.system
    await stage.authorize()
    fault(system, "/capture$", "timeout_after")
    await stage.complete()
    fault(system, "/capture$", "reset_before", times=0)  # and no request after it is answered
    charge = system.objects("charge")[0]["id"]
    system.control("POST", f"charges/{charge}/dispute", {"reason": "fraudulent"})
    for letter in system.engine.pop_webhooks():
        await system.payments.receive_psp_webhook(
            body=letter.body, signature=letter.headers["Stripe-Signature"]
        )
    await system.jobs["handle_psp_event"].run_once()
    assert await count(system, "dispute") == 0
    system.control("DELETE", "faults")
    system.hands.advance(timedelta(hours=2))  # every event retried it once; the next attempt is an hour off
    await stage.jobs()
    assert await count(system, "dispute") == 1
    audit = await audit_system(system.pool, clock=system.hands, psp=system.psp)
    assert [str(finding) for finding in audit.all_findings] == []


async def test_a_dispute_of_the_charge_beside_the_capture_finds_its_session(stage: Stage) -> None:
    system = stage.system
    stage.kwh = 41
    decline_increments(system)
    await stage.authorize()
    await stage.complete()
    await stage.charge_residual()
    beside = next(one for one in system.objects("payment_intent") if "residual_charge_for" in one["metadata"])
    system.control("POST", f"charges/{beside['latest_charge']}/dispute", {"reason": "fraudulent"})
    await stage.jobs()
    assert await count(system, "dispute") == 1


async def count(system: Simulated, table: str) -> int:
    async with system.pool.acquire() as connection:
        found: int = await connection.fetchval(f"SELECT count(*) FROM gateway.{table}")  # noqa: S608 - a name of ours
        return found
