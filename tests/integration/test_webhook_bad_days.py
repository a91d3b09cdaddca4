"""Receivers on their bad days, each in its line of the log and nobody else delayed; secrets at rest."""

import asyncio
import base64
import json
import random
import socket
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from gateway import outbound
from gateway.config import load_settings
from gateway.database import Pool
from gateway.errors import ConfigurationError
from gateway.ids import new_id, parse_id, shard_of
from gateway.jobs.webhook_delivery import WebhookDeliveryJob
from gateway.processes import run_workers
from gateway.webhooks.delivery import WebhookDelivery
from gateway.webhooks.key_rotation import reencrypt
from gateway.webhooks.repository import SecretRecord
from gateway.webhooks.secret_cipher import SecretCipher
from tests.fakes.api import open_api
from tests.fakes.workers import run_webhooks
from tests.integration.test_webhooks import Stage, open_stage

OLD, NEW = ("2025-01", b"o" * 32), ("2026-11", b"n" * 32)


@pytest.fixture
async def stage(pool: Pool) -> AsyncIterator[Stage]:
    async with open_stage(pool) as opened:
        yield opened


@asynccontextmanager
async def raw_server(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that speaks as set, which need not be HTTP."""
    writers: list[asyncio.StreamWriter] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await answer(reader, writer)

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def never(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the connection and say nothing."""


async def noise(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with what is no HTTP."""
    writer.write(b"\x00\xff" * 1000 + b"\r\n\r\n")
    await writer.drain()
    writer.close()


async def slam(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hang up in the middle of an answer."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


async def listen_at(stage: Stage, url: str, *, party: str = "parking") -> Any:
    made = await stage.api.call("POST", "/v1/webhook-endpoints", {"url": url}, party=party)
    assert made.status == 201, made.text
    return made.json


async def test_a_receiver_that_never_answers_or_answers_noise_is_tried_again_and_logged(
    stage: Stage,
) -> None:
    async with raw_server(never) as mute, raw_server(noise) as noisy, raw_server(slam) as broken:
        made = {
            name: await listen_at(stage, url)
            for name, url in {"mute": mute, "noisy": noisy, "broken": broken}.items()
        }
        await stage.happen()
        await stage.settle(rounds=1)
        logs = {name: (await stage.log(endpoint))[0] for name, endpoint in made.items()}
    assert (logs["mute"]["state"], logs["mute"]["last_status"]) == ("pending", None)
    assert "no answer within" in logs["mute"]["last_error"]
    assert (logs["noisy"]["state"], logs["noisy"]["last_status"]) == ("pending", None)
    # The status came: that the body broke off afterwards takes nothing back.
    assert (logs["broken"]["state"], logs["broken"]["last_status"]) == ("delivered", 200)


class Rebinding(AbstractResolver):
    """Says a public address when asked first, this machine's ever after."""

    def __init__(self, port: int) -> None:
        self.asked, self.port = 0, port

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        self.asked += 1
        address = "93.184.215.14" if self.asked == 1 else "127.0.0.1"
        return [
            {"hostname": host, "host": address, "port": self.port, "family": family, "proto": 0, "flags": 0}
        ]

    async def close(self) -> None:
        """Nothing to close."""


async def test_a_name_that_later_resolves_to_this_machine_is_not_connected_to(pool: Pool) -> None:
    """The name was good when the endpoint was made; what counts is the address of each connection."""
    reached: list[bytes] = []

    async def note(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.read(1))

    async with raw_server(note) as inside, open_stage(pool, allow_private_receivers=False) as stage:
        resolver = Rebinding(int(inside.rsplit(":", 1)[1].rstrip("/")))
        await resolver.resolve("partner.example")
        made = await listen_at(stage, "https://partner.example/hook")
        async with outbound.session(allow_private=False, resolver=resolver) as client:
            stage.job.delivery.client = client
            await stage.happen()
            await stage.settle(rounds=1)
        line = (await stage.log(made))[0]
    assert resolver.asked == 2
    assert reached == []
    assert (line["state"], line["last_status"]) == ("pending", None)
    assert "127.0.0.1 is not a public address" in line["last_error"]


@pytest.mark.parametrize("form", ["seconds", "HTTP-date"])
async def test_a_429_is_heeded_in_either_form_of_retry_after(stage: Stage, form: str) -> None:
    until = stage.api.clock.wall_now() + timedelta(minutes=10)
    wait = format_datetime(until.astimezone(UTC), usegmt=True) if form == "HTTP-date" else "600"
    made = await stage.listen("/busy")
    stage.receiver.answers["/busy"] = [web.Response(status=429, headers={"Retry-After": wait})]
    await stage.happen()
    await stage.settle(rounds=1)
    line = (await stage.log(made))[0]
    assert (line["state"], line["last_status"]) == ("pending", 429)
    assert datetime.fromisoformat(line["next_attempt_at"]) >= until.replace(microsecond=0)
    stage.api.clock.pass_wall(590)
    await stage.settle()
    assert len(stage.receiver.got["/busy"]) == 1
    stage.api.clock.pass_wall(20)
    await stage.settle()
    assert len(stage.receiver.got["/busy"]) == 2


async def test_a_secret_that_is_rotated_while_a_message_is_in_flight_still_verifies(pool: Pool) -> None:
    async with open_stage(pool, timeout_seconds=3.0) as stage:
        stage.api.clock.wall = datetime.now(UTC)
        made = await stage.listen("/in")
        stage.receiver.answers["/in"] = [0.4, web.Response(status=500)]
        await stage.happen()
        sending = asyncio.create_task(stage.settle(rounds=1))
        while not stage.receiver.got["/in"]:
            await asyncio.sleep(0.01)
        path = f"/v1/webhook-endpoints/{made['id']}/rotate-secret"
        renewed = (await stage.api.call("POST", path, {"overlap_s": 0})).json["secret"]
        await sending
        await stage.happen()
        await stage.settle(rounds=1)  # rejected once; the repeat is signed anew
        stage.api.clock.pass_wall(7)
        await stage.settle(rounds=1)
        (flying, body), *later = stage.receiver.got["/in"]
        Webhook(made["secret"]).verify(body, flying)
        assert len(later) == 2
        for headers, signed in later:
            Webhook(renewed).verify(signed, headers)
            with pytest.raises(WebhookVerificationError):
                Webhook(made["secret"]).verify(signed, headers)
        assert {line["state"] for line in await stage.log(made)} == {"delivered"}


async def test_a_disabled_endpoint_is_reported_to_the_partys_other_endpoint(stage: Stage) -> None:
    dead = await stage.listen("/dead", kinds=["session.completed"])
    await stage.listen("/well", kinds=["webhook_endpoint.disabled"])
    stage.receiver.answers["/dead"] = [web.Response(status=500) for _ in range(50)]
    await stage.happen()
    for _ in range(12):
        stage.api.clock.pass_wall(12 * 3600)
        await stage.happen()
        await stage.settle(rounds=2)
    (notice,) = [json.loads(body) for _, body in stage.receiver.got["/well"]]
    assert (notice["type"], notice["object_id"]) == ("webhook_endpoint.disabled", dead["id"])
    assert "five days" in notice["data"]["disabled_reason"]


async def test_order_is_kept_per_object_through_retries_while_the_job_runs(pool: Pool) -> None:
    async with open_stage(pool) as stage:
        await stage.listen("/in")
        stage.receiver.answers["/in"] = [web.Response(status=500) if n % 3 == 0 else 0.001 for n in range(9)]
        names = [await stage.happen(count=4) for _ in range(5)]
        stop = asyncio.Event()
        running = asyncio.create_task(run_webhooks(stage.job, stop=stop))
        for _ in range(400):
            stage.api.clock.pass_wall(60)
            await asyncio.sleep(0.02)
            if len(set(stage.receiver.ids("/in"))) == 20:
                break
        stop.set()
        await asyncio.wait_for(running, 10)
        for name in names:
            seen = [
                m["data"]["number"]
                for _, body in stage.receiver.got["/in"]
                if (m := json.loads(body))["object_id"] == name
            ]
            assert sorted(set(seen)) == [0, 1, 2, 3]
            assert seen == sorted(seen)  # a repeat comes before what follows it, never after


async def test_two_workers_deliver_everything_in_order_and_wait_for_each_other_in_no_ring(pool: Pool) -> None:
    """Both fan out, lease and record at once, receivers fail now and then, and a replay runs into it."""
    async with open_stage(pool) as stage, outbound.session(allow_private=True) as client:
        made = [await stage.listen(f"/{name}") for name in "abcdef"]
        for number, name in enumerate("abcdef"):
            stage.receiver.answers[f"/{name}"] = [
                web.Response(status=500) if turn % 7 == number else 0.002 for turn in range(40)
            ]
        other = WebhookDeliveryJob(
            delivery=WebhookDelivery(pool=pool, client=client, clock=stage.api.clock, chance=random.Random(8))
        )
        stop = asyncio.Event()
        running = [asyncio.create_task(run_webhooks(job, stop=stop)) for job in (stage.job, other)]
        since = (stage.api.clock.at - timedelta(hours=1)).isoformat()
        objects = []
        for number in range(20):
            objects.append(await stage.happen(count=4))
            stage.api.clock.pass_wall(30)
            path = f"/v1/webhook-endpoints/{made[number % 6]['id']}/replay"
            assert (await stage.api.call("POST", path, {"since": since})).status == 202
        for _ in range(300):
            stage.api.clock.pass_wall(30)
            await asyncio.sleep(0.03)
            async with pool.acquire() as connection:
                left = await connection.fetchval(
                    "SELECT count(*) FROM gateway.delivery WHERE state = 'pending'"
                )
            if not left:
                break
        stop.set()
        await asyncio.wait_for(asyncio.gather(*running), 20)
        async with pool.acquire() as connection:
            deadlocks = await connection.fetchval(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            )
        assert left == deadlocks == 0
        for name in "abcdef":
            assert len(set(stage.receiver.ids(f"/{name}"))) == 80
            for one in objects:
                first: list[int] = []
                for _, body in stage.receiver.got[f"/{name}"]:
                    message = json.loads(body)
                    if message["object_id"] == one and message["data"]["number"] not in first:
                        first.append(message["data"]["number"])
                assert first == [0, 1, 2, 3]


async def test_a_range_is_sent_again_from_its_first_moment_up_to_before_its_last(stage: Stage) -> None:
    made = await stage.listen("/in")
    moments = []
    for _ in range(4):
        moments.append(stage.api.clock.at)
        await stage.happen()
        stage.api.clock.at += timedelta(hours=1)
    await stage.settle()
    ids = stage.receiver.ids("/in")
    span = {"since": moments[1].isoformat(), "until": moments[3].isoformat()}
    answer = await stage.api.call("POST", f"/v1/webhook-endpoints/{made['id']}/replay", span)
    assert (answer.status, answer.json["events"], answer.json["has_more"]) == (202, 2, False)
    await stage.settle()
    assert sorted(stage.receiver.ids("/in")[4:]) == sorted(ids)[1:3]


@pytest.mark.slow
async def test_100_000_events_behind_a_receiver_that_never_answers_cost_the_others_neither_time_nor_memory(
    pool: Pool,
) -> None:
    async with raw_server(never) as mute, open_stage(pool, timeout_seconds=1.5) as stage:
        dead = parse_id("whe", (await listen_at(stage, mute))["id"])
        await stage.listen("/well", party="superapp")
        await _leave_behind(stage, dead, count=100_000)
        stop = asyncio.Event()
        tracemalloc.start()
        running = asyncio.create_task(run_webhooks(stage.job, stop=stop))
        loop, delays = asyncio.get_running_loop(), []
        for number in range(40):
            began = loop.time()
            await stage.happen(party="superapp")
            while len(stage.receiver.got["/well"]) <= number:
                await asyncio.sleep(0.005)
                assert loop.time() - began < 5
            delays.append(loop.time() - began)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        stop.set()
        await asyncio.wait_for(running, 20)
        async with pool.acquire() as connection:
            tried = await connection.fetchval("SELECT count(*) FROM gateway.delivery WHERE attempts > 0")
    assert sorted(delays)[35] < 1.0, sorted(delays)
    assert peak < 30 * 2**20
    assert tried < 100 + 40


async def _leave_behind(stage: Stage, endpoint: Any, *, count: int) -> None:
    """Events that wait for one endpoint, as fan-out leaves them."""
    now = stage.api.clock.wall_now()
    ids = [new_id() for _ in range(count)]
    async with stage.api.services.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO gateway.event (shard, id, party_id, type, object_id, data, created_at, fanned_out) "
            "SELECT shard, id, 'parking', 'session.completed', 'ses_' || n % 40000, '{}', $3, true "
            "FROM unnest($1::smallint[], $2::uuid[]) WITH ORDINALITY AS new (shard, id, n)",
            [shard_of(one) for one in ids],
            ids,
            now,
        )
        await connection.execute(
            "INSERT INTO gateway.delivery "
            "(shard, endpoint_id, event_id, object_id, state, next_attempt_at, created_at) "
            "SELECT shard, $1, id, object_id, 'pending', $2, $2 FROM gateway.event",
            endpoint,
            now,
        )


# Secrets at rest


async def stored(pool: Pool) -> list[Any]:
    async with pool.acquire() as connection:
        return list(
            await connection.fetch(
                "SELECT secret, encryption_key, previous_secret, previous_encryption_key "
                "FROM gateway.webhook_endpoint"
            )
        )


async def test_secrets_of_before_are_encrypted_at_the_start_and_still_sign(stage: Stage, pool: Pool) -> None:
    stage.api.clock.wall = datetime.now(UTC)
    made = await stage.listen("/in")
    rotated = await stage.api.call(
        "POST", f"/v1/webhook-endpoints/{made['id']}/rotate-secret", {"overlap_s": 3600}
    )
    assert {row["encryption_key"] for row in await stored(pool)} == {None}
    assert await reencrypt(pool, SecretCipher()) == 0  # without a key nothing changes
    assert await reencrypt(pool, SecretCipher((OLD,))) == 1
    assert await reencrypt(pool, SecretCipher((OLD,))) == 0
    assert await reencrypt(pool, SecretCipher((NEW, OLD))) == 1
    (row,) = await stored(pool)
    assert (row["encryption_key"], row["previous_encryption_key"]) == ("2026-11", "2026-11")
    clear = [
        base64.b64decode(text.removeprefix("whsec_")) for text in (made["secret"], rotated.json["secret"])
    ]
    assert all(one not in row["secret"] + row["previous_secret"] for one in clear)
    stage.job.delivery.secrets = SecretCipher((NEW,))
    await stage.happen()
    await stage.settle()
    headers, body = stage.receiver.got["/in"][0]
    Webhook(made["secret"]).verify(body, headers)
    Webhook(rotated.json["secret"]).verify(body, headers)


@pytest.mark.parametrize(
    "cipher", [SecretCipher(), SecretCipher((NEW,)), SecretCipher((("2025-01", b"x" * 32),))]
)
async def test_a_process_whose_keys_open_nothing_does_not_start(
    stage: Stage, pool: Pool, cipher: SecretCipher
) -> None:
    await stage.listen("/in")
    await reencrypt(pool, SecretCipher((OLD,)))
    with pytest.raises(ConfigurationError, match="2025-01"):
        await reencrypt(pool, cipher)
    assert {row["encryption_key"] for row in await stored(pool)} == {"2025-01"}


async def test_a_worker_without_the_key_ends_with_one_line_that_names_it(
    stage: Stage, pool: Pool, database_url: str
) -> None:
    await stage.listen("/in")
    await reencrypt(pool, SecretCipher((OLD,)))
    environment = {
        "DATABASE_URL": database_url,
        "NETWORKCORE_PSP_API_KEY": "sk_test_sandbox",
        "NETWORKCORE_PSP_WEBHOOK_SECRET": "whsec_a-secret",
    }
    with pytest.raises(ConfigurationError, match="encrypted with the key '2025-01'"):
        await run_workers(load_settings(environment), asyncio.Event())


async def test_an_endpoint_made_with_a_key_is_encrypted_and_its_secret_is_shown_once(pool: Pool) -> None:
    cipher = SecretCipher((NEW,))
    async with open_api(pool, webhook_secrets=cipher) as api:
        url = "https://partner.example/hook"
        made = await api.call("POST", "/v1/webhook-endpoints", {"url": url})
        path = f"/v1/webhook-endpoints/{made.json['id']}"
        renewed = await api.call("POST", f"{path}/rotate-secret", {"overlap_s": 60})
        shown = await api.call("GET", path)
    (row,) = await stored(pool)
    endpoint = parse_id("whe", made.json["id"])
    assert shown.json["secret"] is None
    for key, column, text in (
        ("encryption_key", "secret", renewed.json["secret"]),
        ("previous_encryption_key", "previous_secret", made.json["secret"]),
    ):
        kept = cipher.decrypt(endpoint, SecretRecord(key=row[key], content=row[column]))
        assert base64.b64encode(kept).decode() == text.removeprefix("whsec_")


async def test_a_deleted_endpoint_leaves_no_secret_behind(stage: Stage, pool: Pool) -> None:
    made = await stage.listen("/in")
    await stage.api.call("DELETE", f"/v1/webhook-endpoints/{made['id']}")
    (row,) = await stored(pool)
    assert (row["secret"], row["previous_secret"]) == (bytes(32), None)
