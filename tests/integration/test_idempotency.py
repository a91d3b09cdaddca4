"""The Idempotency-Key over HTTP: the same request, the same answer, the work at most once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from gateway import idempotency_repository as store
from gateway.api.idempotency import LOCK, IdempotencyGate, PendingResponse, RequestIdentity
from gateway.api.problems import ProblemError
from gateway.clock import SystemClock
from gateway.database import Pool
from gateway.ids import new_id
from gateway.jobs.idempotency_key_cleanup import IdempotencyKeyCleanupJob
from gateway.key_claim import KeyClaim
from gateway.payments.requests import AuthorizationRequest, PspMethod
from tests.fakes.api import EVSE, Api, authorization_body, open_api


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


async def test_a_repeat_gets_the_stored_answer_and_does_no_work(api: Api) -> None:
    first = await api.authorize(key="k1")
    calls = list(api.psp.calls)
    again = await api.authorize(key="k1")
    assert again.status == first.status == 201
    assert again.text == first.text
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["Location"] == first.headers["Location"]
    assert api.psp.calls == calls

    quoted = await api.call("POST", "/v1/authorizations", authorization_body(), key='"k1"')
    assert quoted.text == first.text  # the draft's structured form names the same key


async def test_a_key_is_bound_to_method_path_and_body_and_to_its_party(api: Api) -> None:
    first = (await api.authorize(key="k1")).json
    other_body = await api.authorize(key="k1", session_ref="other")
    assert (other_body.status, other_body.json["code"]) == (422, "idempotency_key_reused")
    other_path = await api.call(
        "POST", f"/v1/authorizations/{first['id']}/release", authorization_body(), key="k1"
    )
    assert other_path.status in {400, 422}
    other_party = await api.authorize(key="k1", party="superapp")
    assert other_party.status == 201
    assert other_party.json["id"] != first["id"]


async def test_a_missing_or_unusable_key_is_rejected_before_any_work(api: Api) -> None:
    missing = await api.call("POST", "/v1/authorizations", authorization_body())
    assert (missing.status, missing.json["code"]) == (400, "idempotency_key_missing")
    for key in (" ", "a b", "k" * 256, "käse"):
        unusable = await api.call("POST", "/v1/authorizations", authorization_body(), key=key)
        assert (unusable.status, unusable.json["code"]) == (400, "idempotency_key_invalid"), key
    assert api.psp.calls == []


async def test_a_repeated_request_of_a_declined_card_makes_no_new_psp_request(api: Api) -> None:
    payment = {"type": "psp_payment_method", "payment_method": "pm_declined"}
    first = await api.authorize(key="k1", payment=payment)
    calls = len(api.psp.calls)
    again = await api.authorize(key="k1", payment=payment)
    assert again.status == 402
    assert again.text == first.text
    assert len(api.psp.calls) == calls


async def test_a_request_that_was_not_understood_leaves_its_key_free(api: Api) -> None:
    wrong = await api.call("POST", "/v1/authorizations", authorization_body(method="cash"), key="k1")
    assert wrong.status == 400
    assert (await api.authorize(key="k1")).status == 201


async def test_a_request_in_flight_keeps_its_twin_out_until_it_is_answered(api: Api) -> None:
    answers = await asyncio.gather(*(api.authorize(key="k1") for _ in range(12)))
    made = {answer.json["id"] for answer in answers if answer.status == 201}
    waiting = [answer for answer in answers if answer.status != 201]
    assert len(made) == 1
    for answer in waiting:
        assert (answer.status, answer.json["code"]) == (409, "idempotency_in_flight")
        assert int(answer.headers["Retry-After"]) >= 1
    assert len([kind for kind, _ in api.psp.calls if kind == "hold"]) == 1
    assert (await api.authorize(key="k1")).json["id"] in made


async def test_a_key_of_a_dead_process_is_taken_over_with_the_same_resource(api: Api) -> None:
    """A crash after the hold: the retry runs again under the same id and finds what stands."""
    first = (await api.authorize(key="k1")).json
    async with api.services.pool.acquire() as connection:
        await connection.execute(
            "UPDATE gateway.idempotency_key SET status = NULL, headers = NULL, body = NULL, "
            "locked_until = $1 WHERE key = 'k1'",
            api.clock.wall_now() + LOCK,
        )
    early = await api.authorize(key="k1")
    assert (early.status, early.json["code"]) == (409, "idempotency_in_flight")
    api.clock.pass_wall(LOCK.total_seconds() + 1)
    repeated = await api.authorize(key="k1")
    assert repeated.status == 201
    assert repeated.json["id"] == first["id"]
    assert len(api.psp.payments) == 1


async def test_a_holder_at_work_keeps_its_key_past_the_lock_and_a_dead_one_loses_it_in_seconds(
    api: Api,
) -> None:
    assert timedelta(seconds=2) <= LOCK <= timedelta(seconds=10)
    clock = SystemClock()
    gate = IdempotencyGate(pool=api.services.pool, clock=clock, lock=timedelta(seconds=0.6))
    ask = RequestIdentity(party_id="parking", key="k", request_hash=bytes(32))

    async def slow(_resource_id: object) -> PendingResponse:
        await asyncio.sleep(1.5)
        return PendingResponse(status=200, headers={}, body=b"done")

    async def never(_resource_id: object) -> PendingResponse:
        raise AssertionError("two at work under one key")

    working = asyncio.create_task(gate.run(ask, slow))
    await asyncio.sleep(1.0)
    with pytest.raises(ProblemError) as waits:
        await gate.run(ask, never)
    assert waits.value.rejection.headers["Retry-After"] == "1"
    assert (await working).body == b"done"
    assert (await gate.run(ask, never)).headers["Idempotent-Replayed"] == "true"


async def test_of_two_holders_the_first_answer_is_that_of_both(api: Api) -> None:
    """A holder that stood still past its lock meets the answer of who has taken its key over."""
    gate = IdempotencyGate(pool=api.services.pool, clock=api.clock)
    ask = RequestIdentity(party_id="parking", key="k", request_hash=bytes(32))
    may_end = asyncio.Event()

    async def stands_still(_resource_id: object) -> PendingResponse:
        await may_end.wait()
        return PendingResponse(status=200, headers={}, body=b"late")

    async def goes_on(_resource_id: object) -> PendingResponse:
        return PendingResponse(status=201, headers={"A": "b"}, body=b"first")

    late = asyncio.create_task(gate.run(ask, stands_still))
    while not await api.services.pool.fetchval("SELECT count(*) FROM gateway.idempotency_key"):
        await asyncio.sleep(0.01)
    api.clock.pass_wall(LOCK.total_seconds() + 1)
    assert (await gate.run(ask, goes_on)).body == b"first"
    may_end.set()
    answer, again = await late, await gate.run(ask, stands_still)
    assert (answer.status, answer.body) == (again.status, again.body) == (201, b"first")


@pytest.mark.parametrize("with_the_work", [True, False])
async def test_the_lock_begins_with_the_claim_however_late_that_comes(
    api: Api, *, with_the_work: bool
) -> None:
    """The first write waits for a connection past the lock's time: what follows is at work all the same."""
    gate = IdempotencyGate(pool=api.services.pool, clock=api.clock)
    ask = RequestIdentity(party_id="parking", key="k", request_hash=bytes(32))
    order = AuthorizationRequest(
        authorization_id=new_id(),
        party_id="parking",
        evse_id=EVSE,
        method="card",
        payment=PspMethod(payment_method="pm_good"),
        amount_minor=1000,
    )

    async def twin(_key: KeyClaim) -> PendingResponse:
        raise AssertionError("two at work under one key")

    async def late(key: KeyClaim) -> PendingResponse:
        api.clock.pass_wall(LOCK.total_seconds() + 1)
        if with_the_work:
            named = replace(order, authorization_id=key.resource_id)
            await api.services.payments.authorize(named, key=key)
        await key.ensure(api.services.pool)
        with pytest.raises(ProblemError) as waits:
            await gate.run_claiming(ask, twin_after_ensure)
        assert waits.value.rejection.kind.code == "idempotency_in_flight"
        return PendingResponse(status=200, headers={}, body=b"done")

    async def twin_after_ensure(key: KeyClaim) -> PendingResponse:
        await key.ensure(api.services.pool)
        return await twin(key)

    assert (await gate.run_claiming(ask, late)).body == b"done"
    assert (await gate.run_claiming(ask, twin_after_ensure)).body == b"done"


class FailsOnce:
    """A pool whose next connection but `after` is lost."""

    def __init__(self, pool: Pool, *, after: int) -> None:
        self.pool, self.left = pool, after

    def acquire(self) -> Any:
        self.left -= 1
        if self.left == -1:
            raise ConnectionResetError("gone")
        return self.pool.acquire()


async def test_a_holder_keeps_its_key_although_one_renewal_fails(api: Api) -> None:
    failing = FailsOnce(api.services.pool, after=1)
    clock, lock = SystemClock(), timedelta(seconds=0.9)
    gate = IdempotencyGate(pool=cast("Pool", failing), clock=clock, lock=lock)
    ask = RequestIdentity(party_id="parking", key="k", request_hash=bytes(32))

    async def slow(_resource_id: object) -> PendingResponse:
        await asyncio.sleep(1.8)
        return PendingResponse(status=200, headers={}, body=b"done")

    async def never(_resource_id: object) -> PendingResponse:
        raise AssertionError("two at work under one key")

    working = asyncio.create_task(gate.run(ask, slow))
    await asyncio.sleep(1.3)
    assert failing.left < -1
    other = IdempotencyGate(pool=api.services.pool, clock=clock, lock=lock)
    with pytest.raises(ProblemError):
        await other.run(ask, never)
    assert (await working).body == b"done"


async def test_a_key_that_was_freed_carries_another_request(api: Api) -> None:
    gate = IdempotencyGate(pool=api.services.pool, clock=api.clock)
    resources = []

    async def free(resource_id: object) -> PendingResponse:
        resources.append(resource_id)
        return PendingResponse(status=422, headers={}, body=b"", keep=False, frees_key=True)

    for number in range(2):
        ask = RequestIdentity(party_id="parking", key="k", request_hash=bytes([number]) * 32)
        assert (await gate.run(ask, free)).status == 422
    assert len(set(resources)) == 2


async def test_a_transient_answer_is_not_kept(pool: Pool) -> None:
    async with open_api(pool) as api:
        gate = IdempotencyGate(pool=pool, clock=api.clock)
        ask = RequestIdentity(party_id="parking", key="k", request_hash=bytes(32))
        ids = []

        async def fail(resource_id: object) -> PendingResponse:
            ids.append(resource_id)
            return PendingResponse(status=503, headers={}, body=b"later")

        async def crash(resource_id: object) -> PendingResponse:
            ids.append(resource_id)
            raise RuntimeError

        async def transient(resource_id: object) -> PendingResponse:
            ids.append(resource_id)
            return PendingResponse(status=409, headers={}, body=b"busy", keep=False)

        async def succeed(resource_id: object) -> PendingResponse:
            ids.append(resource_id)
            return PendingResponse(status=200, headers={"A": "b"}, body=b"shown", kept_body=b"kept")

        await gate.run(ask, fail)
        with pytest.raises(RuntimeError):
            await gate.run(ask, crash)
        await gate.run(ask, transient)
        assert (await gate.run(ask, succeed)).body == b"shown"
        replayed = await gate.run(ask, fail)
        assert (replayed.status, replayed.body, replayed.headers["A"]) == (200, b"kept", "b")
        assert len(ids) == 4
        assert len(set(ids)) == 1

        async with pool.acquire() as connection:
            gone = await store.delete_expired(
                connection, older_than=api.clock.wall_now() + timedelta(seconds=1), limit=10
            )
        assert gone == 1


async def test_a_secret_is_shown_once_and_not_stored(api: Api) -> None:
    path = "/v1/parties/parking/api-keys"
    made = await api.call("POST", path, {"scopes": ["capture"]}, party="admin", key="k1")
    again = await api.call("POST", path, {"scopes": ["capture"]}, party="admin", key="k1")
    token = made.json["api_key"]
    assert token.startswith("nck_")
    assert again.json == {**made.json, "api_key": None}
    async with api.services.pool.acquire() as connection:
        stored = await connection.fetchval("SELECT body FROM gateway.idempotency_key WHERE key = 'k1'")
        hashes = await connection.fetch("SELECT secret_hash FROM gateway.api_key")
    secret = token.rpartition("_")[2] if token.count("_") == 2 else token[17:]
    assert secret.encode() not in stored
    assert all(secret.encode() not in row["secret_hash"] for row in hashes)


async def test_keys_are_kept_for_72_hours_and_then_deleted(api: Api) -> None:
    job = IdempotencyKeyCleanupJob(pool=api.services.pool, clock=api.clock)
    await api.authorize(key="k1")
    assert await job.run_once() == 0
    api.clock.pass_wall(72 * 3600 - 60)
    assert (await api.authorize(key="k1")).headers["Idempotent-Replayed"] == "true"
    assert await job.run_once() == 0
    api.clock.pass_wall(660)
    assert await job.run_once() == 1
    assert await job.run_once() == 0


async def test_an_unknown_outcome_is_looked_up_again_and_never_requested_again(api: Api) -> None:
    """The PSP held and its answer was lost: the same request finds that hold."""
    api.psp.faults.append("after")
    first = await api.authorize(key="k1")
    assert first.status == 202
    again = await api.authorize(key="k1")
    assert (again.status, again.json["state"]) == (201, "authorized")
    assert again.json["id"] == first.json["id"]
    assert len(api.psp.payments) == 1
    assert (await api.authorize(key="k1")).headers["Idempotent-Replayed"] == "true"
