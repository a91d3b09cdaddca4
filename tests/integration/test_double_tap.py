"""The same payment method at the same EVSE within a minute, without a session reference, is held once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway.database import Pool
from gateway.jobs.idempotency_key_cleanup import IdempotencyKeyCleanupJob
from tests.fakes.api import EVSE, START, Answer, Api, open_api

POLICY = "/v1/parties/parking/double-tap-policy"


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool, double_taps=True) as opened:
        yield opened


async def tap(api: Api, key: str, *, token: str = "pm_good", **changes: Any) -> Answer:
    payment = {"type": "psp_payment_method", "payment_method": token}
    return await api.authorize(key=key, **({"payment": payment} | changes))


def holds(api: Api) -> int:
    return len(api.psp.payments)


async def test_a_double_tap_is_answered_with_the_existing_authorization(api: Api) -> None:
    first = await tap(api, "a")
    api.clock.at = START + timedelta(seconds=59)
    second = await tap(api, "b", evse_id=EVSE)
    assert (first.status, second.status) == (201, 200)
    assert second.json == first.json
    assert second.headers["Location"] == f"/v1/authorizations/{first.json['id']}"
    assert holds(api) == 1
    assert (await tap(api, "b", evse_id=EVSE)).json == second.json  # kept under its own key
    assert (await tap(api, "a")).headers["Idempotent-Replayed"] == "true"


async def test_after_the_time_it_holds_again(api: Api) -> None:
    first = await tap(api, "a")
    api.clock.at = START + timedelta(seconds=60)
    later = await tap(api, "b")
    assert (later.status, later.json["id"] != first.json["id"]) == (201, True)
    assert holds(api) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"session_ref": "order-2"},
        {"allow_repeat": True},
        {"payment": {"type": "psp_payment_method", "payment_method": "pm_other"}},
        {"payment": {"type": "card_present"}},
    ],
)
async def test_what_is_no_double_tap_holds(api: Api, changes: dict[str, Any]) -> None:
    await tap(api, "a")
    other = await tap(api, "b", **changes)
    assert other.status == 201, other.text
    assert holds(api) == 2


async def test_another_party_is_another_driver(api: Api) -> None:
    first = await tap(api, "a")
    other = await tap(api, "a", party="superapp")
    assert (other.status, other.json["id"] != first.json["id"]) == (201, True)


async def test_a_funded_account_pays_for_every_driver(api: Api) -> None:
    path = "/v1/partner-accounts/parking/EUR"
    limit = await api.call("PUT", path, {"credit_limit": 1_000_000}, party="admin", key="l")
    assert limit.status == 200, limit.text
    changes: dict[str, Any] = {"method": "app", "payment": {"type": "partner_account"}}
    first, second = await tap(api, "a", **changes), await tap(api, "b", **changes)
    assert (first.status, second.status) == (201, 201), second.text
    assert first.json["id"] != second.json["id"]


async def test_an_authorization_that_has_ended_is_held_again(api: Api) -> None:
    declined = await tap(api, "a", token="pm_declined")
    assert declined.status == 402
    assert (await tap(api, "b", token="pm_declined")).status == 402
    first = await tap(api, "c")
    await api.call("POST", f"/v1/authorizations/{first.json['id']}/release", {}, key="r")
    again = await tap(api, "d")
    assert (again.status, again.json["state"]) == (201, "authorized")
    assert again.json["id"] != first.json["id"]
    assert (await tap(api, "e")).json["id"] == again.json["id"]


async def test_taps_at_once_hold_once(api: Api) -> None:
    answers = await asyncio.gather(*(tap(api, f"key-{number}") for number in range(8)))
    assert holds(api) == 1
    assert len({answer.json["id"] for answer in answers}) == 1
    assert min(answer.status for answer in answers) in {200, 201}
    assert {answer.status for answer in answers} <= {200, 201, 202}
    assert await api.services.pool.fetchval("SELECT count(*) FROM gateway.session") == 1


async def test_a_tap_while_the_first_is_unanswered_sends_nothing_again(api: Api) -> None:
    api.psp.faults.append("after")
    first = await tap(api, "a")
    assert first.status == 202
    calls = len(api.psp.calls)
    second = await tap(api, "b")
    assert (second.status, second.json["id"]) == (202, first.json["id"])
    assert len(api.psp.calls) == calls
    assert (await tap(api, "a")).json["state"] == "authorized"  # its own repeat asks the PSP again


async def test_a_double_tap_that_requires_action_hands_the_action_out_again(api: Api) -> None:
    first = await tap(api, "a", token="pm_challenge")
    second = await tap(api, "b", token="pm_challenge")
    assert (second.status, second.json) == (200, first.json)
    assert second.json["client_secret"]
    assert second.headers["Cache-Control"] == "no-store"
    stored = await api.services.pool.fetch("SELECT body FROM gateway.idempotency_key WHERE body IS NOT NULL")
    assert "SECRET" not in str(stored)


async def test_a_party_sets_its_policy(api: Api) -> None:
    assert (await api.call("GET", POLICY)).json == {
        "object": "double_tap_policy",
        "party": "parking",
        "within_s": 60,
    }
    assert (await api.call("PUT", POLICY, {"within_s": 0})).json["within_s"] == 0
    await tap(api, "a")
    assert (await tap(api, "b")).status == 201
    assert holds(api) == 2
    await api.call("PUT", POLICY, {"within_s": 300}, party="admin")
    await tap(api, "c")
    api.clock.at = START + timedelta(seconds=299)
    assert (await tap(api, "d")).status == 200
    assert (await api.call("GET", POLICY)).json["within_s"] == 300
    for party, status in (("superapp", 404), ("DE-ABC", 403)):
        assert (await api.call("PUT", POLICY, {"within_s": 0}, party=party)).status == status
    assert (await api.call("PUT", POLICY, {"within_s": 601})).status == 400


async def test_old_taps_are_forgotten(api: Api) -> None:
    await tap(api, "a")
    job = IdempotencyKeyCleanupJob(pool=api.services.pool, clock=api.clock)
    await job.run_once()
    count = "SELECT count(*) FROM gateway.recent_authorization"
    assert await api.services.pool.fetchval(count) == 1
    api.clock.at = START + timedelta(hours=2)
    await IdempotencyKeyCleanupJob(pool=api.services.pool, clock=api.clock).run_once()
    assert await api.services.pool.fetchval(count) == 0
