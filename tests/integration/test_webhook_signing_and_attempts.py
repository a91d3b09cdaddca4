"""Asymmetric signatures, own headers, the log of attempts, warnings before the end, an endpoint's version."""

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from gateway.database import Connection, Pool, transaction
from gateway.ids import new_id, shard_of
from gateway.webhooks import delivery_results, events
from gateway.webhooks.events import EventType, NewEvent
from gateway.webhooks.key_rotation import reencrypt
from gateway.webhooks.repository import SecretRecord
from gateway.webhooks.secret_cipher import SecretCipher
from tests.integration.test_webhooks import Stage, open_stage

PATH = "/v1/webhook-endpoints"
HEADERS = {"Authorization": "Bearer of-the-receiver", "X-Tenant": "a7"}


@pytest.fixture
async def stage(pool: Pool) -> Any:
    async with open_stage(pool) as opened:
        yield opened


async def listen(stage: Stage, path: str, **wishes: Any) -> Any:
    made = await stage.api.call("POST", PATH, {"url": stage.receiver.url(path), **wishes})
    assert made.status == 201, made.text
    return made.json


def proves(public_key: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether one of a message's signatures is by this key, as a receiver checks it."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key.removeprefix("whpk_")))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for signature in headers["webhook-signature"].split():
        scheme, _, text = signature.partition(",")
        try:
            key.verify(base64.b64decode(text), content)
        except InvalidSignature:
            continue
        return scheme == "v1a"
    return False


async def test_an_endpoint_signs_with_a_private_key_that_nothing_shows(stage: Stage) -> None:
    made = await listen(stage, "/in", signature="v1a")
    assert (made["signature"], made["secret"], made["public_key"][:5]) == ("v1a", None, "whpk_")
    await stage.happen()
    await stage.settle()
    ((headers, body),) = stage.receiver.got["/in"]
    assert proves(made["public_key"], headers, body)
    assert not proves(made["public_key"], headers, body + b" ")
    keys = await stage.api.call("GET", f"{PATH}/{made['id']}/keys", party=None)
    assert keys.status == 200
    (key,) = keys.json["keys"]
    assert (key["kty"], key["crv"], key["public_key"]) == ("OKP", "Ed25519", made["public_key"])
    assert base64.urlsafe_b64decode(key["x"] + "=") == base64.b64decode(made["public_key"][5:])
    shown = json.dumps([await stage.endpoint(made), made, keys.json])
    async with stage.api.services.pool.acquire() as connection:
        secret = await connection.fetchval("SELECT secret FROM gateway.webhook_endpoint")
    assert base64.b64encode(secret).decode() not in shown


async def test_a_rotation_signs_with_both_keys_until_the_overlap_ends_also_across_schemes(
    stage: Stage,
) -> None:
    stage.api.clock.wall = datetime.now(UTC)
    made = await listen(stage, "/in")
    rotate = f"{PATH}/{made['id']}/rotate-secret"
    turned = (await stage.api.call("POST", rotate, {"overlap_s": 60, "signature": "v1a"})).json
    assert (turned["signature"], turned["secret"], turned["previous_public_key"]) == ("v1a", None, None)
    await stage.happen()
    await stage.settle()
    headers, body = stage.receiver.got["/in"][-1]
    Webhook(made["secret"]).verify(body, headers)
    assert proves(turned["public_key"], headers, body)

    again = (await stage.api.call("POST", rotate, {"overlap_s": 60})).json
    assert (again["signature"], again["previous_public_key"]) == ("v1a", turned["public_key"])
    keys = (await stage.api.call("GET", f"{PATH}/{made['id']}/keys", party=None)).json["keys"]
    assert [key["public_key"] for key in keys] == [again["public_key"], turned["public_key"]]
    stage.api.clock.pass_wall(61)
    await stage.happen()
    await stage.settle()
    headers, body = stage.receiver.got["/in"][-1]
    assert proves(again["public_key"], headers, body)
    assert not proves(turned["public_key"], headers, body)
    assert len((await stage.api.call("GET", f"{PATH}/{made['id']}/keys", party=None)).json["keys"]) == 1
    gone = await stage.api.call("DELETE", f"{PATH}/{made['id']}")
    assert gone.status == 204
    assert (await stage.api.call("GET", f"{PATH}/{made['id']}/keys", party=None)).status == 404


async def test_own_headers_go_with_each_message_and_are_shown_masked(stage: Stage) -> None:
    made = await listen(stage, "/in", headers=HEADERS)
    assert made["headers"] == {"Authorization": "***", "X-Tenant": "***"}
    change = {"headers": {"x-tenant": "b8", "X-Zone": "eu", "AUTHORIZATION": None}}
    changed = await stage.api.call("PATCH", f"{PATH}/{made['id']}", change)
    assert changed.json["headers"] == {"x-tenant": "***", "X-Zone": "***"}
    await stage.happen()
    await stage.settle()
    ((headers, body),) = stage.receiver.got["/in"]
    assert (headers["x-tenant"], headers["x-zone"], "authorization" in headers) == ("b8", "eu", False)
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["object"] == "event"


@pytest.mark.parametrize(
    ("headers", "pointer"),
    [
        ({"Host": "x"}, "/headers/Host"),
        ({"content-length": "1"}, "/headers/content-length"),
        ({"Webhook-Signature": "v1,x"}, "/headers/Webhook-Signature"),
        ({"X-A": "1", "x-a": "2"}, "/headers/x-a"),
        ({"X A": "1"}, "/headers/X A"),
        ({"X-A": "a\r\nX-B: c"}, "/headers/X-A"),
        ({"X-A": ""}, "/headers/X-A"),
        ({f"X-{n}": "1" for n in range(11)}, "/headers"),
    ],
)
async def test_a_header_that_is_not_the_partys_to_set_is_rejected_by_its_place(
    stage: Stage, headers: dict[str, str], pointer: str
) -> None:
    made = await stage.api.call("POST", PATH, {"url": stage.receiver.url("/in"), "headers": headers})
    assert made.status == 400
    assert made.json["errors"][0]["pointer"] == pointer


async def test_headers_and_private_keys_are_sealed_and_sealed_anew(pool: Pool) -> None:
    first, second = ("2026-11", bytes(range(32))), ("2027-05", bytes(32))
    async with open_stage(pool) as stage:
        object.__setattr__(stage.api.services.webhook_endpoints, "secrets", SecretCipher((first,)))
        made = await listen(stage, "/in", signature="v1a", headers=HEADERS)
        row = "SELECT id, secret, headers, headers_encryption_key FROM gateway.webhook_endpoint"
        async with pool.acquire() as connection:
            before = await connection.fetchrow(row)
        assert b"of-the-receiver" not in before["headers"]
        assert await reencrypt(pool, SecretCipher((second, first))) == 1
        async with pool.acquire() as connection:
            after = await connection.fetchrow(row)
        assert after["headers_encryption_key"] == "2027-05"
        cipher = SecretCipher((second,))
        opened = cipher.decrypt(after["id"], SecretRecord(key="2027-05", content=after["headers"]))
        assert json.loads(opened) == HEADERS
        stage.job.delivery.secrets = cipher
        await stage.happen()
        await stage.settle()
        ((headers, body),) = stage.receiver.got["/in"]
        assert headers["authorization"] == HEADERS["Authorization"]
        assert proves(made["public_key"], headers, body)


async def test_each_attempt_is_listed_with_how_the_answer_began(stage: Stage) -> None:
    made = await listen(stage, "/in", headers=HEADERS)
    long = "é" * 700
    echo = "you sent Bearer of-the-receiver and 4242 4242 4242 4242\x00"
    stage.receiver.answers["/in"] = [
        web.Response(status=500, text=echo),
        web.Response(status=503, text=long),
        web.Response(status=200),
    ]
    await stage.happen()
    for _ in range(3):
        await stage.settle(rounds=1)
        stage.api.clock.pass_wall(400)
    (line,) = await stage.log(made)
    path = f"{PATH}/{made['id']}/deliveries/{line['event']}/attempts"
    found = (await stage.api.call("GET", path)).json["data"]
    assert [one["status"] for one in found] == [200, 503, 500]
    assert [one["acknowledged"] for one in found] == [True, False, False]
    assert [one["answer_cut"] for one in found] == [False, True, False]
    assert found[0]["answer"] is None
    assert found[1]["answer"] == "é" * 512
    assert found[2]["answer"] == "you sent *** and [card number]\ufffd"
    assert found[2]["error"] == "answered 500"
    first = (await stage.api.call("GET", f"{path}?limit=1")).json
    assert first["has_more"] is True
    rest = (await stage.api.call("GET", f"{path}?cursor={first['next_cursor']}")).json["data"]
    assert [one["id"] for one in rest] == [one["id"] for one in found[1:]]
    assert (await stage.api.call("GET", path, party="superapp")).status == 404
    unknown = f"{PATH}/{made['id']}/deliveries/evt_01jd2w3x4y5z6a7b8c9d0e1f2g/attempts"
    assert (await stage.api.call("GET", unknown)).status == 404


async def test_a_party_is_warned_twice_before_its_endpoint_is_disabled(stage: Stage) -> None:
    made = await listen(stage, "/dead", events=["session.completed"])
    await listen(stage, "/well", events=["webhook_endpoint.failing", "webhook_endpoint.disabled"])
    stage.receiver.answers["/dead"] = [web.Response(status=500) for _ in range(60)]
    await stage.happen()
    await stage.settle(rounds=1)
    began = stage.api.clock.wall_now()
    kinds = []
    for hours in range(2, 132, 10):
        stage.api.clock.wall = began + timedelta(hours=hours)
        await stage.happen()
        await stage.settle()
        kinds.append([json.loads(body)["type"] for _, body in stage.receiver.got["/well"]])
    failing, disabled = "webhook_endpoint.failing", "webhook_endpoint.disabled"
    assert kinds[2] == []  # after 22 hours
    assert kinds[3] == [failing]  # after a day
    assert kinds[9] == [failing]  # once, while it goes on
    assert kinds[10] == [failing, failing]  # the last day
    assert kinds[-1] == [failing, failing, disabled]
    notice = json.loads(stage.receiver.got["/well"][0][1])["data"]
    assert (notice["id"], notice["state"]) == (made["id"], "enabled")
    left = datetime.fromisoformat(notice["disables_at"]) - datetime.fromisoformat(notice["failing_since"])
    assert left == timedelta(days=5)
    shown = await stage.endpoint(made)
    assert (shown["state"], shown["disables_at"]) == ("disabled", None)


async def test_a_warning_is_not_sent_to_the_endpoint_that_fails(stage: Stage) -> None:
    made = await listen(stage, "/in")
    stage.receiver.answers["/in"] = [web.Response(status=500) for _ in range(2)]
    await stage.happen()
    await stage.settle(rounds=1)
    for hours in (25, 50):
        stage.api.clock.pass_wall(hours * 3600)
        await stage.settle()
    assert {json.loads(body)["type"] for _, body in stage.receiver.got["/in"]} == {"session.completed"}
    log = {line["event_type"]: line for line in await stage.log(made)}
    skipped = log["webhook_endpoint.failing"]
    assert (skipped["state"], skipped["attempts"]) == ("abandoned", 0)
    assert skipped["last_error"] == "it is about this endpoint"


async def test_an_endpoint_that_recovers_is_warned_anew_when_it_fails_again(stage: Stage) -> None:
    await listen(stage, "/in", events=["session.completed"])
    for _ in range(2):
        stage.receiver.answers["/in"] = [web.Response(status=500) for _ in range(2)]
        await stage.happen()
        await stage.settle(rounds=1)
        stage.api.clock.pass_wall(25 * 3600)
        await stage.settle(rounds=1)
        stage.api.clock.pass_wall(25 * 3600)
        await stage.settle()
    async with stage.api.services.pool.acquire() as connection:
        warned = await connection.fetchval(
            "SELECT count(*) FROM gateway.event WHERE type = 'webhook_endpoint.failing'"
        )
    assert warned == 2


async def test_an_endpoint_is_sent_objects_of_its_version(stage: Stage) -> None:
    """The real change of 2026-11-30: who stated usage is named; before, it was the `api`."""
    await listen(stage, "/new")
    old = await listen(stage, "/old", api_version="2026-11-01")
    assert old["api_version"] == "2026-11-01"
    session = new_id()
    data = {"object": "session", "usage": {"source": "payer", "detail": "é"}}
    event = NewEvent(
        type=EventType.SESSION_COMPLETED,
        party_id="parking",
        object_id="ses_1",
        data=data,
        shard=shard_of(session),
    )
    async with stage.api.services.pool.acquire() as connection:
        await events.record(connection, [event], now=stage.api.clock.now())
    await stage.settle()
    sent = {path: json.loads(stage.receiver.got[path][0][1]) for path in ("/new", "/old")}
    assert (sent["/new"]["api_version"], sent["/old"]["api_version"]) == ("2026-11-30", "2026-11-01")
    assert (sent["/new"]["data"], sent["/old"]["data"]["usage"]["source"]) == (data, "api")
    assert "é".encode() in stage.receiver.got["/old"][0][1]
    turned = await stage.api.call("PATCH", f"{PATH}/{old['id']}", {"api_version": "2026-11-30"})
    assert turned.json["api_version"] == "2026-11-30"
    wrong = await stage.api.call("PATCH", f"{PATH}/{old['id']}", {"api_version": "2025-01-01"})
    assert (wrong.status, wrong.json["code"]) == (400, "unknown_api_version")
    assert wrong.json["known_versions"] == ["2026-11-01", "2026-11-30"]


async def test_an_attempt_that_stands_in_its_delivery_stays_when_the_event_is_sent_again(
    stage: Stage, pool: Pool
) -> None:
    made = await listen(stage, "/in")
    await stage.happen()
    await stage.settle()
    (line,) = await stage.log(made)
    path = f"{PATH}/{made['id']}/deliveries/{line['event']}"
    (first,) = (await stage.api.call("GET", f"{path}/attempts")).json["data"]
    assert await pool.fetchval("SELECT count(*) FROM gateway.delivery_attempt") == 0
    stage.api.clock.pass_wall(60)
    again = await stage.api.call("POST", f"{path}/retry", {})
    assert again.status < 300, again.text
    assert (await stage.api.call("GET", f"{path}/attempts")).json["data"] == [first]
    await stage.settle()
    second, kept = (await stage.api.call("GET", f"{path}/attempts")).json["data"]
    assert kept == first
    assert second["id"] != first["id"]
    since = {"since": "2020-01-01T00:00:00Z"}
    assert (await stage.api.call("POST", f"{PATH}/{made['id']}/replay", since)).json["events"] == 1
    stage.receiver.answers["/in"] = [web.Response(status=200, text="ok")]
    stage.api.clock.pass_wall(60)
    await stage.settle()
    found = (await stage.api.call("GET", f"{path}/attempts")).json["data"]
    assert [one["answer"] for one in found] == ["ok", None, None]
    assert found[1:] == [second, first]


@pytest.mark.parametrize("text", [None, "ok", "failed"])
async def test_an_attempt_whose_recording_lost_its_answer_is_recorded_once(
    stage: Stage, pool: Pool, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    made = await listen(stage, "/in")
    stage.receiver.answers["/in"] = [web.Response(status=500 if text == "failed" else 200, text=text)]
    losses = []

    async def committed_and_not_answered(connection: Connection, *given: Any, **named: Any) -> set[int]:
        if losses:
            return await delivery_results.record(connection, *given, **named)
        losses.append(given)
        async with transaction(pool) as other:
            await delivery_results.record(other, *given, **named)
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    monkeypatch.setattr("gateway.webhooks.delivery.record", committed_and_not_answered)
    await stage.happen()
    with suppress(asyncpg.ConnectionDoesNotExistError):
        await stage.settle(rounds=1)
    await stage.settle(rounds=2)
    assert len(losses) == 1
    (line,) = await stage.log(made)
    path = f"{PATH}/{made['id']}/deliveries/{line['event']}/attempts"
    found = (await stage.api.call("GET", path)).json["data"]
    assert [one["status"] for one in found] == [500 if text == "failed" else 200]
    assert (line["state"], line["attempts"]) == ("pending" if text == "failed" else "delivered", 1)
    assert len(stage.receiver.got["/in"]) == 1
