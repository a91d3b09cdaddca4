"""What the PSP refuses and who learns of it: the API over the real adapter and the sandbox PSP."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from clearing.services import build_clearing
from gateway.database import Pool, transaction
from gateway.exceptions.service import ExceptionService
from gateway.payments.errors import InvalidPaymentRequestError
from gateway.payments.policy import FeatureChoice, PaymentPolicy, StatementSource
from gateway.payments.psp.stripe.adapter import StripePsp
from gateway.payments.psp.stripe.kept_events import kept_body
from gateway.payments.psp_incidents import PspIncidentLog
from sandbox.stripe.engine import PspEngine
from sandbox.stripe.settings import PspSettings
from sandbox.stripe.webhooks import sign
from tests.fakes.api import Api, Hands, cdr, open_api
from tests.fakes.workers import resolve_outcomes
from tests.simulation.application import _customer
from tests.simulation.in_process import (
    API_KEY,
    BASE_URL,
    WEBHOOK_SECRET,
    InProcessClient,
    SeenRequest,
    Verdict,
    Wire,
)

CARD = {"type": "psp_payment_method", "payment_method": "pm_card_visa"}


class Played:
    """The API, the engine behind it and the seam between them."""

    def __init__(self, api: Api, engine: PspEngine, wire: Wire, incidents: PspIncidentLog) -> None:
        self.api = api
        self.incidents = incidents
        self.engine = engine
        self.wire = wire

    async def authorize(self, *, key: str, **changes: Any) -> Any:
        return await self.api.authorize(key=key, **({"payment": CARD} | changes))

    async def exceptions(self) -> list[tuple[str, str]]:
        queue = ExceptionService(clearing=build_clearing())
        now = self.api.clock.wall_now()
        async with transaction(self.api.services.pool) as connection:
            await queue.refresh(connection, now=now, wall_now=now)
        rows = await self.api.services.pool.fetch(
            "SELECT kind, reason FROM gateway.exception WHERE state = 'open' ORDER BY kind, reason"
        )
        return [(row["kind"], row["reason"]) for row in rows]

    def intents(self) -> list[dict[str, Any]]:
        return list(self.engine.state.records.scan("payment_intent", "acct_platform"))


@asynccontextmanager
async def played(
    pool: Pool, *, api_key: str = API_KEY, policy: PaymentPolicy | None = None, **settings: Any
) -> AsyncIterator[Played]:
    engine = PspEngine(PspSettings(seed=1, pull_webhooks=True, **settings))
    wire = Wire(engine=engine)
    incidents = PspIncidentLog(pool=pool, clock=Hands())
    psp = StripePsp(
        api_key=api_key,
        webhook_secret=WEBHOOK_SECRET,
        base_url=BASE_URL,
        http_client=InProcessClient(wire),
        report=incidents.report,
    )
    async with open_api(pool, psp=psp, incidents=incidents, policy=policy) as api:
        yield Played(api, engine, wire, incidents)
    engine.close()


@pytest.mark.parametrize(
    ("payment", "pointer"),
    [
        ({**CARD, "payment_method": "pm_unknown"}, "/payment/payment_method"),
        ({**CARD, "customer": "cus_unknown"}, "/payment/customer"),
    ],
)
async def test_a_partners_wrong_id_is_a_422_that_names_the_field_and_keeps_nothing(
    pool: Pool, payment: dict[str, Any], pointer: str
) -> None:
    async with played(pool) as play:
        refused = await play.authorize(key="k1", payment=payment, session_ref="s1")
        assert (refused.status, refused.json["code"]) == (422, "payment_method_invalid")
        assert [one["pointer"] for one in refused.json["errors"]] == [pointer]
        corrected = await play.authorize(key="k1", session_ref="s1")
        assert (corrected.status, corrected.json["state"]) == (201, "authorized")
        assert await play.exceptions() == []


async def test_another_customers_payment_method_is_a_422(pool: Pool) -> None:
    async with played(pool) as play:
        _, method = _customer(play.engine, "ann")
        refused = await play.authorize(key="k1", payment={**CARD, "payment_method": method})
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/payment/payment_method")


async def test_a_decline_is_a_402_with_advice_and_is_kept(pool: Pool) -> None:
    async with played(pool) as play:
        payment = {**CARD, "payment_method": "pm_card_visa_chargeDeclinedInsufficientFunds"}
        declined = await play.authorize(key="k1", payment=payment)
        assert (declined.status, declined.json["decline_code"]) == (402, "insufficient_funds")
        assert declined.json["advice"] == "lower_amount_or_later"
        again = await play.authorize(key="k1", payment=payment)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert len(play.intents()) == 1


async def test_a_wrong_key_is_our_503_seen_by_the_operator_and_never_the_drivers_decline(pool: Pool) -> None:
    async with played(pool, api_key="sk_test_another") as play:
        refused = await play.authorize(key="k1")
        assert (refused.status, refused.json["code"]) == (503, "psp_configuration")
        assert int(refused.headers["Retry-After"]) > 0
        assert await play.exceptions() == [("psp_configuration", "psp_authentication")]
        scraped = await play.api.call("GET", "/metrics", party="admin")
        assert 'networkcore_psp_refused_requests{code="psp_authentication"} 1.0' in scraped.text
        assert 'networkcore_exceptions{kind="psp_configuration"} 1.0' in scraped.text
        rows = await pool.fetch("SELECT state, decline_code FROM gateway.payment_authorization")
        assert [tuple(row) for row in rows] == [("failed", "psp_configuration")]


async def test_a_refused_key_is_not_tried_again_with_each_request(pool: Pool) -> None:
    asked: list[SeenRequest] = []

    async def count(seen: SeenRequest) -> Verdict:
        asked.append(seen)
        return Verdict.DELIVER

    async with played(pool, api_key="sk_test_another") as play:
        play.wire.verdict = count
        for number in range(5):
            assert (await play.authorize(key=f"k{number}")).status == 503
    assert len(asked) == 1


async def test_an_outcome_that_was_unknown_before_the_key_was_refused_stays_unknown_but_not_in_silence(
    pool: Pool,
) -> None:
    async def lose(_seen: SeenRequest) -> Verdict:
        return Verdict.LOST_AFTER

    async with played(pool) as play:
        play.wire.verdict = lose
        assert (await play.authorize(key="k1")).status == 202
        play.engine.state.settings = PspSettings(api_keys=("sk_test_new",))  # type: ignore[misc]

        async def deliver(_seen: SeenRequest) -> Verdict:
            return Verdict.DELIVER

        play.wire.verdict = deliver
        repeated = await play.authorize(key="k1")
        assert (repeated.status, repeated.json["state"]) == (202, "outcome_unknown")
        assert ("psp_configuration", "psp_authentication") in await play.exceptions()


async def test_a_type_that_the_account_has_not_activated_is_our_mistake(pool: Pool) -> None:
    async with played(pool, payment_method_types=("card",)) as play:
        refused = await play.authorize(key="k1", payment={"type": "card_present"})
        assert (refused.status, refused.json["code"]) == (503, "psp_configuration")
        assert await play.exceptions() == [("psp_configuration", "payment_method_unactivated")]


async def test_an_account_without_card_features_is_asked_once_more_without_and_remembered(pool: Pool) -> None:
    async with played(pool, card_features=False) as play:
        held = await play.authorize(key="k1")
        assert (held.status, held.json["state"]) == (201, "authorized")
        assert await play.exceptions() == [("psp_configuration", "card_features_refused")]
        (first,) = await pool.fetch("SELECT key_number, hold_features FROM gateway.psp_request")
        assert (first["key_number"], first["hold_features"]) == (2, [])

        assert (await play.authorize(key="k2")).status == 201
        rows = await pool.fetch("SELECT key_number FROM gateway.psp_request ORDER BY id")
        assert [row["key_number"] for row in rows] == [2, 1]
        assert len(play.intents()) == 2

        path = f"/v1/sessions/{held.json['session']}/complete"
        ended = await play.api.call("POST", path, {"cdr": json.loads(cdr())}, key="c1")
        assert ended.json["capture"]["amount"] == 1190


async def test_a_crash_between_the_two_keys_leaves_one_hold(pool: Pool) -> None:
    seen: list[SeenRequest] = []

    async def lose_the_second(one: SeenRequest) -> Verdict:
        seen.append(one)
        return Verdict.LOST_AFTER if len(seen) == 2 else Verdict.DELIVER

    async with played(pool, card_features=False) as play:
        play.wire.verdict = lose_the_second
        assert (await play.authorize(key="k1")).status == 202
        play.engine.state.settings = PspSettings()  # type: ignore[misc] - the account has the features now
        assert (await play.authorize(key="k1")).json["state"] == "authorized"
        assert len(play.intents()) == 1


@pytest.mark.parametrize("choice", [FeatureChoice.ON, FeatureChoice.OFF])
async def test_features_are_required_or_left_out_by_choice(pool: Pool, choice: FeatureChoice) -> None:
    policy = PaymentPolicy(increments=choice, over_capture=choice)
    async with played(pool, card_features=False, policy=policy) as play:
        answer = await play.authorize(key="k1")
        if choice is FeatureChoice.OFF:
            assert answer.status == 201
            assert await play.exceptions() == []
        else:
            assert (answer.status, answer.json["code"]) == (503, "psp_configuration")
            assert await play.exceptions() == [("psp_configuration", "card_features_refused")]


async def test_features_are_asked_for_again_once_the_operator_has_resolved_the_exception(pool: Pool) -> None:
    async with played(pool, card_features=False) as play:
        await play.authorize(key="k1")
        play.engine.state.settings = PspSettings()  # type: ignore[misc]
        await play.exceptions()
        identifier = await pool.fetchval("SELECT id FROM gateway.exception")
        queue = ExceptionService(clearing=build_clearing())
        now = play.api.clock.wall_now()
        async with transaction(pool) as connection:
            await queue.resolve(connection, identifier, by="anna", note="IC+ agreed", now=now, wall_now=now)
        play.incidents.clock.pass_wall(61)  # type: ignore[attr-defined]
        await play.authorize(key="k2")
        rows = await pool.fetch("SELECT hold_features FROM gateway.psp_request ORDER BY id")
        assert [row["hold_features"] for row in rows] == [[], ["increments", "over_capture"]]
        assert await play.exceptions() == []


async def test_a_payment_carries_what_the_driver_and_the_bank_read(pool: Pool) -> None:
    async with played(pool) as play:
        made = await play.authorize(key="k1", receipt_email="driver@example.com")
        (intent,) = play.intents()
        assert intent["description"] == f"Charging at DE*ABC*E1, {made.json['session']}"
        assert intent["receipt_email"] == "driver@example.com"
        assert intent["statement_descriptor_suffix"] == "DE-ABC"
        assert "driver@example.com" not in made.text
        addresses = ("driver", "a@b", "a b@c.de", "a@b.de\n", f"{'a' * 250}@b.de")
        for number, address in enumerate(addresses):
            refused = await play.authorize(key=f"e{number}", receipt_email=address)
            assert (refused.status, refused.json["code"]) == (400, "invalid_parameters"), address


@pytest.mark.parametrize(("source", "shown"), [(StatementSource.NONE, None), (StatementSource.SITE, "L1")])
async def test_what_a_statement_shows_is_a_setting(
    pool: Pool, source: StatementSource, shown: str | None
) -> None:
    async with played(pool, policy=PaymentPolicy(statement=source)) as play:
        await play.authorize(key="k1")
        assert play.intents()[0]["statement_descriptor_suffix"] == shown


async def test_an_account_is_topped_up_only_in_its_currencies(pool: Pool) -> None:
    async with played(pool) as play:
        funding = replace(play.api.services.funding, currencies=frozenset({"CHF"}))
        with pytest.raises(InvalidPaymentRequestError, match="can't be topped up in EUR, only in CHF"):
            await funding.top_up_treasury(currency="EUR", amount_minor=100, reference="r")
        await funding.top_up_treasury(currency="CHF", amount_minor=100, reference="r")


def signed(body: bytes) -> dict[str, str]:
    signature = sign(body=body, secret=WEBHOOK_SECRET, timestamp=int(time.time()))
    return {"Stripe-Signature": signature, "Content-Type": "application/json"}


def event(identifier: str, subject: Any, **more: Any) -> bytes:
    said = {"id": identifier, "type": "charge.updated", "livemode": False, "data": {"object": subject}}
    return json.dumps(said | more).encode()


REFUND = {"object": "refund", "status": "succeeded"}


@pytest.mark.parametrize(
    ("body", "readable"),
    [
        (b"", False),
        (b"[]", False),
        (b"\xff\x00", False),
        (b"{}", False),
        (b'{"id": 7, "type": "charge.refunded"}', False),
        (b'{"id": "evt_1", "type": "charge.updated"}', False),
        (event("evt_2\0", {}), False),
        (event("evt_3", {}), True),
        (event("evt_4", REFUND), False),
        (
            event("evt_5", {**REFUND, "id": "re_1", "amount": 5, "currency": "xxq"}),
            True,
        ),  # it is read at the PSP
        (event("evt_9", {**REFUND, "id": "re\0"}), False),
        (event("evt_10", {"object": "setup_intent", "id": "seti\0"}), False),
        (event("evt_11", {"object": "setup_intent"}), False),
        (event("evt_6", {"object": "payment_intent", "id": "pi\0"}), False),
        (event("evt_7", {}, livemode=True), False),
        (event("evt_8", {"object": "moon", "metadata": []}), True),
    ],
)
async def test_a_signed_event_is_kept_and_answered_200_whatever_its_body(
    pool: Pool, body: bytes, *, readable: bool
) -> None:
    async with played(pool) as play:
        for _ in range(2):
            answer = await play.api.call("POST", "/v1/psp/webhooks", body, party=None, headers=signed(body))
            assert answer.status == 200
        rows = await pool.fetch("SELECT body FROM gateway.psp_event")
        assert [bytes(row["body"]) for row in rows] == [kept_body(body) if readable else body]
        expected = [] if readable else [("psp_configuration", "unreadable_event")]
        assert await play.exceptions() == expected
        unsigned = await play.api.call(
            "POST", "/v1/psp/webhooks", body + b" ", party=None, headers=signed(body)
        )
        assert (unsigned.status, unsigned.json["code"]) == (400, "signature_invalid")


async def test_a_conflict_that_time_mends_is_not_kept_and_says_when_to_come_again(pool: Pool) -> None:
    async def lose(seen: SeenRequest) -> Verdict:
        return Verdict.LOST_BEFORE if seen.moves else Verdict.DELIVER

    async def deliver(_seen: SeenRequest) -> Verdict:
        return Verdict.DELIVER

    async with played(pool) as play:
        held = (await play.authorize(key="k1")).json
        path = f"/v1/authorizations/{held['id']}"
        play.wire.verdict = lose
        pending = await play.api.call("POST", f"{path}/increment", {"amount": 5000}, key="i1")
        assert (pending.status, pending.json["code"]) == (409, "outcome_pending")
        assert int(pending.headers["Retry-After"]) > 0
        play.wire.verdict = deliver
        resolver = play.api.services.payments.resolver
        if not await resolve_outcomes(resolver):
            play.api.clock.pass_wall(10)
            assert await resolve_outcomes(resolver) == 1
        again = await play.api.call("POST", f"{path}/increment", {"amount": 5000}, key="i1")
        assert (again.status, again.json["amount"]) == (200, 5000)


async def test_a_signed_event_that_can_change_nothing_is_answered_200_and_not_kept(pool: Pool) -> None:
    payment = {"object": "payment_intent", "id": "pi_1", "metadata": {}}
    async with played(pool) as play:
        for name in ("payment_intent.created", "charge.succeeded", "of.tomorrow"):
            body = event(f"evt_{name}", payment, type=name)
            answer = await play.api.call("POST", "/v1/psp/webhooks", body, party=None, headers=signed(body))
            assert answer.status == 200
        assert await pool.fetchval("SELECT count(*) FROM gateway.psp_event") == 0
        assert await play.exceptions() == []
