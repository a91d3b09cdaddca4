"""The whole system over the stand-in PSP, and the steps of a person at its dashboard.

Owns: the steps that tests of unbooked charges share. Must not know: what is expected of them.
"""

import json
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.audit.system_audit import audit_system
from gateway.database import Pool, transaction
from gateway.exception_kinds import ExceptionKind
from gateway.exceptions.repository import ExceptionFilter
from gateway.exceptions.rules import ExceptionRecord
from gateway.exceptions.service import ExceptionService
from gateway.ids import new_id
from gateway.payments.requests import AuthorizationRequest, Estimate, PspMethod
from gateway.payments.state_machine import PaymentState
from gateway.payments.unbooked_charges import ChargeAction
from tests.simulation.application import Ground, Simulated, _form
from tests.simulation.market import PARKING, PLACES, cdr_tree
from tests.simulation.seeded import Hands

PLACE = PLACES["DE*ABC*E1"]
SETTLES_IN_EURO = ("eur",)


class Played:
    """The whole system over the stand-in PSP, and the steps of a person at its dashboard."""

    def __init__(self, system: Simulated) -> None:
        self.system = system
        self.queue = ExceptionService(clearing=system.clearing)

    async def authorize(self, ref: str = "S1", *, evse: str = PLACE.evse_id) -> Any:
        place = PLACES[evse]
        request = AuthorizationRequest(
            authorization_id=new_id(),
            party_id=PARKING,
            evse_id=place.evse_id,
            method="card",
            payment=PspMethod(payment_method="pm_card_visa"),
            session_ref=ref,
            estimate=Estimate(energy_wh=40_000, duration_s=3600),
            cpo_id=place.cpo_id,
        )
        view = await self.system.payments.authorize(request)
        assert view.authorization.state is PaymentState.AUTHORIZED
        return view

    def capture_by_hand(self, psp_payment: str, amount: int | None = None) -> None:
        body = {} if amount is None else {"amount": amount}
        self.system.control("POST", f"payment_intents/{psp_payment}/capture", body)

    async def release(self, view: Any) -> PaymentState:
        await self.system.payments.release(party_id=PARKING, authorization_id=view.authorization.id)
        found = await self.system.payments.get_authorization(
            party_id=PARKING, authorization_id=view.authorization.id
        )
        return found.authorization.state

    async def complete(self, session_id: UUID, kwh: int, *, evse: str = PLACE.evse_id) -> None:
        tree = cdr_tree(PLACES[evse], cdr_id="C1", session_ref="S1", kwh=kwh, ended_at=self.system.hands.at)
        await self.system.payments.complete(
            party_id=PLACES[evse].cpo_id,
            session_id=session_id,
            cdr_raw=json.dumps(tree).encode(),
            cdr_version="2.2.1",
        )

    async def deliver(self) -> None:
        for letter in self.system.engine.pop_webhooks():
            await self.system.payments.receive_psp_webhook(
                body=letter.body, signature=letter.headers["Stripe-Signature"]
            )

    async def work(self) -> None:
        """Everything that is due now and in the next minutes."""
        for _ in range(8):
            await self.deliver()
            for name, job in self.system.jobs.items():
                if name != "disbursement":
                    await job.run_once()
            self.system.hands.advance(timedelta(seconds=31))
            self.system.set_psp_clock()

    async def open(self) -> list[ExceptionRecord]:
        async with transaction(self.system.pool) as connection:
            hands = self.system.hands
            await self.queue.refresh(connection, now=hands.now(), wall_now=hands.wall_now())
            return list(
                await self.queue.list_exceptions(
                    connection, ExceptionFilter(kind=ExceptionKind.UNBOOKED_CHARGE), limit=10
                )
            )

    async def decide(self, action: ChargeAction | None) -> None:
        [one] = await self.open()
        hands = self.system.hands
        async with transaction(self.system.pool) as connection:
            await self.queue.resolve(
                connection,
                one.id,
                by="anna",
                note="asked the shift",
                decision=action,
                now=hands.now(),
                wall_now=hands.wall_now(),
            )

    async def findings(self) -> list[str]:
        audit = await audit_system(self.system.pool, clock=self.system.hands, psp=self.system.psp)
        return [f"{one.check} {one.subject}: {one.detail}" for one in audit.all_findings]

    async def value(self, query: str, *arguments: Any) -> Any:
        return await self.system.pool.fetchval(query, *arguments)


@pytest.fixture
async def ground(pool: Pool) -> Ground:
    ready = Ground(pool)
    await ready.prepare()
    return ready


@pytest.fixture(params=[(), SETTLES_IN_EURO], ids=["own currency", "settles in euro"])
async def played(ground: Ground, request: pytest.FixtureRequest) -> AsyncIterator[Played]:
    system = await ground.open(random.Random(7), Hands(), settles_in=request.param)
    yield Played(system)
    system.engine.close()


@pytest.fixture
async def plain(ground: Ground) -> AsyncIterator[Played]:
    system = await ground.open(random.Random(7), Hands())
    yield Played(system)
    system.engine.close()


def foreign_payment(plain: Played, **fields: str) -> None:
    form = {"amount": "900", "currency": "eur", "confirm": "true", "payment_method": "pm_card_visa"}
    _form(plain.system.engine, "/v1/payment_intents", form | {"off_session": "true"} | fields)
