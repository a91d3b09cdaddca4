"""Outbound webhooks on a real PostgreSQL and real sockets: signed, in order, until acknowledged."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

from gateway import outbound
from gateway.database import Pool, is_distributed
from gateway.ids import SHARD_COUNT, format_id, new_id, parse_id, shard_of
from gateway.jobs.shard_job import own_shards
from gateway.jobs.webhook_delivery import WebhookDeliveryJob
from gateway.webhooks import delivery_queue, events
from gateway.webhooks.back_pressure import Limits
from gateway.webhooks.delivery import LEASE, WebhookDelivery
from gateway.webhooks.delivery_queue import Quota
from gateway.webhooks.events import EventType, NewEvent
from tests.fakes.api import Api, cdr, open_api
from tests.fakes.workers import run_webhooks


@dataclass
class Receiver:
    """A partner's server: answers as set, by path, and remembers what came."""

    server: TestServer
    answers: dict[str, list[web.Response | float]] = field(default_factory=lambda: defaultdict(list))
    got: dict[str, list[tuple[dict[str, str], bytes]]] = field(default_factory=lambda: defaultdict(list))

    def url(self, path: str) -> str:
        return str(self.server.make_url(path))

    def ids(self, path: str) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got[path]]

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.got[request.path].append(({k.lower(): v for k, v in request.headers.items()}, body))
        answers = self.answers[request.path]
        answer = answers.pop(0) if answers else web.Response(status=200)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            answer = web.Response(status=200)
        return answer


@dataclass
class Stage:
    """The API, a delivery job beside it and a receiver."""

    api: Api
    job: WebhookDeliveryJob
    receiver: Receiver

    async def listen(self, path: str, *, party: str = "parking", kinds: list[str] | None = None) -> Any:
        made = await self.api.call(
            "POST",
            "/v1/webhook-endpoints",
            {"url": self.receiver.url(path), "events": kinds or ["*"]},
            party=party,
        )
        assert made.status == 201, made.text
        return made.json

    async def happen(self, *, party: str = "parking", count: int = 1, object_id: str | None = None) -> str:
        session = new_id()
        name = object_id or format_id("ses", session)
        async with self.api.services.pool.acquire() as connection:
            for number in range(count):
                event = NewEvent(
                    type=EventType.SESSION_COMPLETED,
                    party_id=party,
                    object_id=name,
                    data={"number": number},
                    shard=shard_of(session),
                )
                await events.record(connection, [event], now=self.api.clock.now())
        return name

    async def settle(self, rounds: int = 10) -> None:
        for _ in range(rounds):
            if not await self.job.run_once():
                return

    async def log(self, endpoint: Any, party: str = "parking", *, state: str = "") -> list[dict[str, Any]]:
        path = f"/v1/webhook-endpoints/{endpoint['id']}/deliveries?limit=100{state}"
        found: list[dict[str, Any]] = (await self.api.call("GET", path, party=party)).json["data"]
        return found

    async def endpoint(self, made: Any) -> Any:
        return (await self.api.call("GET", f"/v1/webhook-endpoints/{made['id']}")).json


@asynccontextmanager
async def open_stage(
    pool: Pool,
    *,
    timeout_seconds: float = 0.4,
    allow_private_receivers: bool = True,
    shards_per_statement: int | None = None,
    **limits: Any,
) -> AsyncIterator[Stage]:
    """`shards_per_statement`: as the database takes it, if it is not given."""
    at_once = shards_per_statement or (1 if is_distributed(pool) else SHARD_COUNT)
    app = web.Application()
    async with (
        TestServer(app) as server,
        open_api(pool, allow_private_receivers=allow_private_receivers) as api,
    ):
        receiver = Receiver(server=server)
        app.router._frozen = False
        app.router.add_post("/{name}", receiver.receive)
        client = outbound.session(allow_private=True)
        job = WebhookDeliveryJob(
            delivery=WebhookDelivery(
                pool=pool,
                client=client,
                clock=api.clock,
                timeout_seconds=timeout_seconds,
                limits=Limits(**limits),
                shards_per_statement=at_once,
                chance=random.Random(7),
            )
        )
        yield Stage(api=api, job=job, receiver=receiver)
        await client.close()


@pytest.fixture(params=[1, SHARD_COUNT], ids=["shard by shard", "shards together"])
async def stage(pool: Pool, request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with open_stage(pool, shards_per_statement=request.param) as opened:
        yield opened


async def test_a_partner_verifies_each_message_with_the_standard_library(stage: Stage) -> None:
    """The clock of signatures is wall time, whatever the market says: the library checks it."""
    stage.api.clock.wall = datetime.now(UTC)
    made = await stage.listen("/in")
    shown = (await stage.api.authorize(key="a1")).json
    await stage.api.call(
        "POST", f"/v1/sessions/{shown['session']}/complete", {"cdr": json.loads(cdr())}, key="c1"
    )
    await stage.settle()
    kinds = []
    schemas = (await stage.api.call("GET", "/openapi.json", party=None)).json
    for headers, body in stage.receiver.got["/in"]:
        Webhook(made["secret"]).verify(body, headers)
        message = json.loads(body)
        kinds.append(message["type"])
        assert headers["webhook-id"] == message["id"]
        hook = schemas["webhooks"][message["type"]]["post"]["requestBody"]["content"]["application/json"]
        jsonschema.validate(message, {**hook["schema"], "components": schemas["components"]})
        read = await stage.api.call("GET", f"/v1/{message['type'].partition('.')[0]}s/{message['object_id']}")
        assert read.status == 200
    assert {"authorization.authorized", "session.completed", "capture.succeeded"} <= set(kinds)

    pulled = (await stage.api.call("GET", "/v1/events?limit=100")).json["data"]
    assert {event["id"] for event in pulled} <= set(stage.receiver.ids("/in"))


async def test_an_endpoint_hears_only_its_partys_events_of_its_types(stage: Stage) -> None:
    await stage.listen("/all")
    await stage.listen("/captures", kinds=["capture.succeeded"])
    await stage.listen("/foreign", party="superapp")
    await stage.happen()
    await stage.settle()
    assert len(stage.receiver.got["/all"]) == 1
    assert stage.receiver.got["/captures"] == []
    assert stage.receiver.got["/foreign"] == []


async def test_order_is_kept_per_object_while_a_receiver_fails_and_other_objects_go_on(stage: Stage) -> None:
    made = await stage.listen("/in")
    stage.receiver.answers["/in"] = [web.Response(status=500)]
    first = await stage.happen(count=3)
    await stage.settle()
    assert len(stage.receiver.got["/in"]) == 1  # the second and third of the object wait for the first
    second = await stage.happen()
    await stage.settle()
    assert [json.loads(body)["object_id"] for _, body in stage.receiver.got["/in"]] == [first, second]
    stage.api.clock.pass_wall(7)
    await stage.settle()
    numbers = [
        json.loads(body)["data"]["number"]
        for _, body in stage.receiver.got["/in"]
        if json.loads(body)["object_id"] == first
    ]
    assert numbers == [0, 0, 1, 2]
    assert {line["state"] for line in await stage.log(made)} == {"delivered"}
    repeated = [name for name in stage.receiver.ids("/in") if stage.receiver.ids("/in").count(name) == 2]
    assert len(set(repeated)) == 1  # a repeat has the same webhook-id


async def test_retries_follow_the_schedule_to_the_end_and_then_stop(stage: Stage) -> None:
    made = await stage.listen("/in")
    stage.receiver.answers["/in"] = [web.Response(status=500) for _ in range(20)]
    await stage.happen()
    assert await stage.log(made, state="&state=failed") == []
    for minutes in (0, 1, 10, 60, 180, 390, 750, 1020, 1470, 1770):
        stage.api.clock.pass_wall(minutes * 60)
        await stage.settle(rounds=1)
        assert len(await stage.log(made, state="&state=failed")) == 1  # while it is tried again, too
    log = [line for line in await stage.log(made) if line["event_type"] == "session.completed"]
    assert log[0]["attempts"] == 10  # the first try and nine retries
    assert log[0]["state"] == "failed"
    assert log[0]["last_status"] == 500


async def test_what_a_receiver_may_answer(stage: Stage) -> None:
    """Slow, redirecting, gone, busy, garbage, nobody: each ends in its own line of the log."""
    other = stage.receiver.url("/other")
    cases: dict[str, list[web.Response | float]] = {
        "/slow": [2.0],
        "/redirect": [web.Response(status=302, headers={"Location": other})],
        "/gone": [web.Response(status=410)],
        "/busy": [web.Response(status=429, headers={"Retry-After": "120"})],
        "/garbage": [web.Response(status=200, body=b"\x00" * 300_000)],
        "/accepted": [web.Response(status=202)],
    }
    made = {}
    for path, answers in cases.items():
        stage.receiver.answers[path] = list(answers)
        made[path] = await stage.listen(path)
    dead = (await stage.api.call("POST", "/v1/webhook-endpoints", {"url": "http://127.0.0.1:9/dead"})).json
    await stage.happen()
    await stage.settle(rounds=1)

    logs = {path: (await stage.log(endpoint))[-1] for path, endpoint in made.items()}  # of the one event
    assert (logs["/slow"]["state"], logs["/slow"]["last_status"]) == ("pending", None)
    assert "no answer" in logs["/slow"]["last_error"]
    assert (logs["/redirect"]["state"], logs["/redirect"]["last_status"]) == ("pending", 302)
    assert stage.receiver.got["/other"] == []
    assert logs["/gone"]["state"] == "abandoned"
    assert logs["/busy"]["state"] == "pending"
    wait = datetime.fromisoformat(logs["/busy"]["next_attempt_at"]) - stage.api.clock.wall_now()
    assert wait >= timedelta(seconds=120)
    assert logs["/garbage"]["state"] == "delivered"
    assert logs["/accepted"]["state"] == "delivered"
    assert (await stage.log(dead))[-1]["last_error"]

    gone = await stage.endpoint(made["/gone"])
    assert (gone["state"], gone["disabled_reason"]) == ("disabled", "the receiver answered 410 Gone")
    stage.api.clock.wall = datetime.now(UTC) + timedelta(seconds=2)
    published = (await stage.api.call("GET", "/v1/events?type=webhook_endpoint.disabled")).json["data"]
    assert [event["object_id"] for event in published] == [made["/gone"]["id"]]


async def test_a_dead_endpoint_is_tried_with_one_event_and_delays_nobody(stage: Stage) -> None:
    dead = await stage.listen("/dead")
    await stage.listen("/well")
    stage.receiver.answers["/dead"] = [web.Response(status=503) for _ in range(10_000)]
    for _ in range(60):
        await stage.happen()
    await stage.settle(rounds=6)
    assert len(stage.receiver.got["/well"]) == 60
    tried = len(stage.receiver.got["/dead"])
    assert tried < 60
    failing = await stage.endpoint(dead)
    assert failing["failing_since"] is not None
    await stage.settle(rounds=3)
    assert len(stage.receiver.got["/dead"]) == tried  # it is left alone
    for _ in range(4):
        stage.api.clock.pass_wall(2000)
        await stage.settle(rounds=1)
    assert len(stage.receiver.got["/dead"]) <= tried + 4  # one probe each time

    stage.receiver.answers["/dead"] = []
    stage.api.clock.pass_wall(20_000)
    await stage.settle(rounds=40)
    assert len(set(stage.receiver.ids("/dead"))) == 60
    assert (await stage.endpoint(dead))["failing_since"] is None


async def test_an_endpoint_that_failed_for_five_days_is_disabled_and_may_be_enabled_again(
    stage: Stage,
) -> None:
    made = await stage.listen("/in")
    stage.receiver.answers["/in"] = [web.Response(status=500) for _ in range(50)]
    await stage.happen()
    for _ in range(12):
        stage.api.clock.pass_wall(12 * 3600)
        await stage.happen()
        await stage.settle(rounds=1)
    stopped = await stage.endpoint(made)
    assert stopped["state"] == "disabled"
    assert "five days" in stopped["disabled_reason"]
    stage.receiver.answers["/in"] = []
    path = f"/v1/webhook-endpoints/{made['id']}"
    back = await stage.api.call("PATCH", path, {"state": "enabled"})
    assert (back.json["state"], back.json["disabled_reason"]) == ("enabled", None)
    stage.api.clock.pass_wall(3 * 86_400)
    before = len(stage.receiver.got["/in"])
    await stage.settle(rounds=20)
    assert len(stage.receiver.got["/in"]) > before


async def test_during_a_rotation_both_secrets_verify_and_afterwards_only_the_new_one(stage: Stage) -> None:
    stage.api.clock.wall = datetime.now(UTC)
    made = await stage.listen("/in")
    path = f"/v1/webhook-endpoints/{made['id']}/rotate-secret"
    renewed = (await stage.api.call("POST", path, {"overlap_s": 60})).json["secret"]
    await stage.happen()
    await stage.settle()
    headers, body = stage.receiver.got["/in"][0]
    assert len(headers["webhook-signature"].split(" ")) == 2
    Webhook(made["secret"]).verify(body, headers)
    Webhook(renewed).verify(body, headers)
    stage.api.clock.pass_wall(61)
    await stage.happen()
    await stage.settle()
    headers, body = stage.receiver.got["/in"][1]
    assert len(headers["webhook-signature"].split(" ")) == 1
    Webhook(renewed).verify(body, headers)


async def test_events_are_sent_again_one_by_one_and_since_a_time(stage: Stage) -> None:
    made = await stage.listen("/in")
    await stage.happen(count=2)
    await stage.settle()
    later = stage.api.clock.at = stage.api.clock.at + timedelta(hours=1)
    await stage.happen()
    await stage.settle()
    ids = stage.receiver.ids("/in")
    assert len(ids) == 3
    path = f"/v1/webhook-endpoints/{made['id']}"
    one = await stage.api.call("POST", f"{path}/deliveries/{ids[0]}/retry", {})
    assert one.status == 202
    some = await stage.api.call("POST", f"{path}/replay", {"since": later.isoformat()})
    assert some.json["events"] == 1
    await stage.settle()
    assert sorted(stage.receiver.ids("/in")) == sorted([*ids, ids[0], ids[2]])
    foreign = await stage.api.call("POST", f"{path}/deliveries/{ids[0]}/retry", {}, party="superapp")
    assert foreign.status == 404

    tested = await stage.api.call("POST", f"{path}/test", {})
    assert tested.json["type"] == "webhook_endpoint.test"
    await stage.settle()
    assert stage.receiver.ids("/in")[-1] == tested.json["id"]


async def test_an_emsps_key_reads_and_repeats_the_events_of_its_own_contracts(stage: Stage) -> None:
    for party in ("parking", "superapp"):
        body = {"scopes": ["contracts", "webhooks"]}
        made = await stage.api.call(
            "POST", f"/v1/parties/{party}/api-keys", body, party="admin", key=f"e-{party}"
        )
        stage.api.keys[f"{party}-emsp"] = made.json["api_key"]
    kinds = ["contract.created", "contract.blocked", "contract.suspected"]
    ours = await stage.listen("/in", party="parking-emsp", kinds=kinds)
    await stage.listen("/theirs", party="superapp-emsp", kinds=kinds)
    contract = format_id("con", new_id())
    async with stage.api.services.pool.acquire() as connection:
        written = [
            NewEvent(
                type=EventType(kind), party_id="parking", object_id=contract, data={"id": contract}, shard=1
            )
            for kind in kinds
        ]
        await events.record(connection, written, now=stage.api.clock.now())
    await stage.settle()
    log = await stage.api.call("GET", f"/v1/webhook-endpoints/{ours['id']}/deliveries", party="parking-emsp")
    assert [(row["event_type"], row["state"]) for row in reversed(log.json["data"])] == [
        (kind, "delivered") for kind in kinds
    ]
    first = stage.receiver.ids("/in")[0]
    path = f"/v1/webhook-endpoints/{ours['id']}/deliveries/{first}/retry"
    assert (await stage.api.call("POST", path, {}, party="parking-emsp")).status == 202
    await stage.settle()
    assert stage.receiver.ids("/in").count(first) == 2
    since = {"since": (stage.api.clock.now() - timedelta(hours=1)).isoformat()}
    replay = f"/v1/webhook-endpoints/{ours['id']}/replay"
    assert (await stage.api.call("POST", replay, since, party="parking-emsp")).json["events"] == 3
    assert (await stage.api.call("POST", path, {}, party="superapp-emsp")).status == 404
    assert (await stage.api.call("POST", replay, since, party="superapp-emsp")).status == 404
    await stage.settle()
    assert stage.receiver.got["/theirs"] == []


async def test_a_deleted_endpoint_hears_nothing_more(stage: Stage) -> None:
    made = await stage.listen("/in")
    await stage.happen()
    assert (await stage.api.call("DELETE", f"/v1/webhook-endpoints/{made['id']}")).status == 204
    await stage.happen()
    await stage.settle()
    assert stage.receiver.got["/in"] == []
    assert (await stage.api.call("GET", f"/v1/webhook-endpoints/{made['id']}")).status == 404
    assert (await stage.api.call("GET", "/v1/webhook-endpoints")).json["data"] == []


async def test_an_address_that_is_not_public_is_rejected_when_it_is_given(pool: Pool) -> None:
    async with open_api(pool, allow_private_receivers=False) as api:
        for url in (
            "http://partner.example/hook",
            "https://127.0.0.1/hook",
            "https://[::1]/hook",
            "https://169.254.169.254/latest",
            "https://10.0.0.5/hook",
            "https://user:secret@partner.example/",
            "ftp://partner.example/",
            "https://2130706433/",
        ):
            rejected = await api.call("POST", "/v1/webhook-endpoints", {"url": url})
            assert rejected.status == 400, url
            assert rejected.json["errors"][0]["pointer"] == "/url"
        good = await api.call("POST", "/v1/webhook-endpoints", {"url": "https://partner.example/hook"})
        assert good.status == 201


async def test_the_running_job_does_not_wait_for_a_slow_receiver(pool: Pool) -> None:
    async with open_stage(pool, timeout_seconds=5.0) as stage:
        await stage.listen("/slow")
        await stage.listen("/fast")
        stage.receiver.answers["/slow"] = [1.5]
        stop = asyncio.Event()
        running = asyncio.create_task(run_webhooks(stage.job, stop=stop))
        await stage.happen()
        for _ in range(100):
            if stage.receiver.got["/slow"]:
                break
            await asyncio.sleep(0.02)
        began = asyncio.get_running_loop().time()
        await stage.happen()
        while len(stage.receiver.got["/fast"]) < 2:
            await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - began < 1.2
        stop.set()
        await asyncio.wait_for(running, 10)
        async with pool.acquire() as connection:
            left = await connection.fetchval("SELECT count(*) FROM gateway.delivery WHERE state = 'pending'")
        assert left <= 1  # what was in flight at the stop is recorded, only what had not started waits


async def test_a_reader_of_events_misses_none_and_is_never_early(stage: Stage) -> None:
    await stage.happen(count=5)
    assert (await stage.api.call("GET", "/v1/events")).json["data"] == []  # younger than the horizon
    stage.api.clock.wall = datetime.now(UTC) + timedelta(seconds=2)
    seen: list[str] = []
    path = "/v1/events?limit=2"
    for _ in range(4):
        page = (await stage.api.call("GET", path)).json
        seen += [event["id"] for event in page["data"]]
        path = f"/v1/events?limit=2&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen)
    one = await stage.api.call("GET", f"/v1/events/{seen[0]}")
    assert one.json["id"] == seen[0]
    assert (await stage.api.call("GET", f"/v1/events/{seen[0]}", party="superapp")).status == 404


async def test_a_deep_backlog_behind_a_dead_endpoint_costs_the_others_nothing(stage: Stage) -> None:
    """50,000 events wait for one receiver: finding what is due elsewhere stays a matter of milliseconds."""
    dead = parse_id("whe", (await stage.listen("/dead"))["id"])
    await stage.listen("/well", party="superapp")
    now = stage.api.clock.wall_now()
    ids = [new_id() for _ in range(50_000)]
    async with stage.api.services.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO gateway.event (shard, id, party_id, type, object_id, data, created_at, fanned_out) "
            "SELECT shard, id, 'parking', 'session.completed', 'ses_' || n % 20000, '{}', $3, true "
            "FROM unnest($1::smallint[], $2::uuid[]) WITH ORDINALITY AS new (shard, id, n)",
            [shard_of(one) for one in ids],
            ids,
            now,
        )
        await connection.execute(
            "INSERT INTO gateway.delivery "
            "(shard, endpoint_id, event_id, object_id, state, next_attempt_at, created_at) "
            "SELECT shard, $1, id, object_id, 'pending', $2, $2 FROM gateway.event",
            dead,
            now,
        )
        await connection.execute("ANALYZE gateway.delivery")
    stage.receiver.answers["/dead"] = [web.Response(status=503) for _ in range(1000)]
    await stage.settle(rounds=2)
    await stage.happen(party="superapp")
    began = asyncio.get_running_loop().time()
    await stage.settle(rounds=3)
    assert asyncio.get_running_loop().time() - began < 2
    assert len(stage.receiver.got["/well"]) == 1


async def test_a_delivery_that_a_crash_interrupted_is_sent_again_under_the_same_id(stage: Stage) -> None:
    made = await stage.listen("/in")
    await stage.happen()
    pool, now = stage.api.services.pool, stage.api.clock.wall_now()
    fences = (await own_shards(pool, stage.api.clock)).fences_of("webhook_delivery")
    [shard] = fences
    async with pool.acquire() as connection:
        (claimed,) = await delivery_queue.claim(
            connection,
            quotas=[Quota(shard=shard, endpoint_id=parse_id("whe", made["id"]), quota=16, capacity=16)],
            fences=fences,
            limit=200,
            wall_now=now,
            leased_until=now + LEASE,
            pause_after=3,
        )
    await stage.settle()
    assert stage.receiver.got["/in"] == []  # leased by the process that died
    stage.api.clock.pass_wall(LEASE.total_seconds() + 1)
    await stage.settle()
    assert stage.receiver.ids("/in") == [format_id("evt", claimed.event_id)]
    assert (await stage.log(made))[0]["attempts"] == 2


async def test_an_object_that_goes_to_two_parties_is_written_once_and_shown_to_both(stage: Stage) -> None:
    await stage.listen("/app")
    await stage.listen("/operator", party="superapp")
    session = new_id()
    both = [
        NewEvent(
            type=EventType.SESSION_COMPLETED,
            party_id=party,
            object_id=format_id("ses", session),
            data={"number": 7},
            shard=shard_of(session),
        )
        for party in ("parking", "superapp")
    ]
    pool = stage.api.services.pool
    async with pool.acquire() as connection:
        await events.record(connection, both, now=stage.api.clock.now())
    rows = await pool.fetch("SELECT id, data, data_of, fanned_out FROM gateway.event ORDER BY id")
    assert [(row["data"], row["data_of"]) for row in rows] == [({"number": 7}, None), (None, rows[0]["id"])]
    assert all(row["fanned_out"] for row in rows), "deliveries are written with the events"
    await stage.settle()
    for path, party in (("/app", "parking"), ("/operator", "superapp")):
        ((_, body),) = stage.receiver.got[path]
        assert json.loads(body)["data"] == {"number": 7}
        name = json.loads(body)["id"]
        assert (await stage.api.call("GET", f"/v1/events/{name}", party=party)).json["data"] == {"number": 7}


async def test_a_filter_lets_through_what_matches_and_a_replay_too(stage: Stage) -> None:
    site = {"locations": ["NOWHERE"]}
    for path, given in (("/blue", {"metadata": {"tenant": "blue"}}), ("/site", site), ("/all", None)):
        body = {"url": stage.receiver.url(path), "events": ["*"], "filter": given}
        assert (await stage.api.call("POST", "/v1/webhook-endpoints", body)).status == 201
    shown = []
    for number, tenant in enumerate(("blue", "red")):
        made = await stage.api.authorize(
            key=f"a{number}", session_ref=f"R{number}", metadata={"tenant": tenant}
        )
        assert made.status == 201, made.text
        shown.append(made.json["session"])
    await stage.api.call("POST", f"/v1/sessions/{shown[0]}/complete", {"cdr": json.loads(cdr())}, key="c1")
    await stage.settle()
    seen = {path: {_session_of(body) for _, body in got} for path, got in stage.receiver.got.items()}
    assert seen["/all"] == set(shown)
    assert seen["/blue"] == {shown[0]}
    assert seen.get("/site", set()) == set()
    count = len(stage.receiver.got["/blue"])

    listed = (await stage.api.call("GET", "/v1/webhook-endpoints")).json["data"]
    (blue,) = [one for one in listed if one["url"].endswith("/blue")]
    path = f"/v1/webhook-endpoints/{blue['id']}"
    again = await stage.api.call("POST", f"{path}/replay", {"since": "2020-01-01T00:00:00Z"})
    assert (again.json["events"], again.json["has_more"]) == (count, False)
    await stage.settle()
    assert len(stage.receiver.got["/blue"]) == 2 * count

    changed = await stage.api.call("PATCH", path, {"filter": {"sessions": [shown[1]]}})
    assert changed.json["filter"]["sessions"] == [shown[1]]
    again = await stage.api.call("POST", f"{path}/replay", {"since": "2020-01-01T00:00:00Z"})
    assert again.json["events"] == 1
    assert (await stage.api.call("PATCH", path, {"filter": {}})).json["filter"] is None
    bent = await stage.api.call("PATCH", path, {"filter": {"sessions": ["ses_x"]}})
    assert (bent.status, bent.json["errors"][0]["pointer"]) == (400, "/filter/sessions/0")


def _session_of(body: bytes) -> str:
    message = json.loads(body)
    return str(message["data"].get("session") or message["object_id"])
