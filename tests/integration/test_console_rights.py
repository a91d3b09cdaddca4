"""Who may act on exceptions, clearing and webhook endpoints, and what each act leaves in the database."""

import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from clearing.approvals.service import set_limit
from gateway.database import Pool, transaction
from gateway.ids import parse_id
from tests.fakes.api import cdr
from tests.fakes.console import (
    ConsoleOfTest,
    Visitor,
    clear,
    open_console,
    paid_session,
)
from tests.fakes.console_webhooks import add_attempts
from tests.fakes.parties import agree, create_parties
from tests.integration.test_exceptions import NOW, Queue, failed_check

QUEUE = "/console/exceptions"


@pytest.fixture
async def console(pool: Pool) -> AsyncIterator[ConsoleOfTest]:
    async with open_console(pool) as opened:
        yield opened


def became(answer: Any) -> str:
    """`done`, or why an act was rejected."""
    found = re.search(r"notice=([^&]+)", answer.headers.get("Location", ""))
    return found[1].replace("+", " ") if found else str(answer.status)


async def acts_of(pool: Pool) -> list[tuple[str, str, int]]:
    rows = await pool.fetch(
        "SELECT person_id, operation, status FROM gateway.person_act WHERE operation <> 'signIn' "
        "ORDER BY acted_at, id"
    )
    return [(str(row["person_id"]), row["operation"], row["status"]) for row in rows]


async def history_of(console: ConsoleOfTest, exception: str) -> list[tuple[str, str]]:
    found = await console.api.call("GET", f"/v1/exceptions/{exception}", party="admin")
    return [(line["kind"], line["actor"]) for line in found.json["history"]]


def identity(visitor: Visitor) -> str:
    assert visitor.person is not None
    return visitor.person.public_id


async def test_an_exception_is_assigned_and_resolved_by_two_people_who_may(pool: Pool) -> None:
    queue = Queue(pool)
    await queue.open()
    async with transaction(pool) as connection:
        await set_limit(connection, "EUR", 399, by="carla", now=NOW)
    await failed_check(queue)  # 5.00 EUR
    async with open_console(pool) as console:
        console.api.clock.at = console.api.clock.wall = NOW
        support = await console.signed_in(role="support", name="Sam")
        finance = await console.signed_in(role="finance", name="Fay")
        found = re.search(rf"{QUEUE}/(exc_\w+)", (await support.get(QUEUE)).text)
        assert found is not None
        path, name = found[0], found[1]
        for role in ("viewer", "developer"):
            visitor = await console.signed_in(role=role)
            page = (await visitor.get(path)).text
            assert not re.search("/assign|/resolve", page), role
            for act in ("assign", "resolve"):
                form = {"assignee": identity(support), "note": "x", "action": "reject"}
                assert became(await visitor.post(f"{path}/{act}", form)).startswith("rejected"), role
        for role in ("administrator", "finance"):
            own = await console.signed_in(party="NL-ABC", role=role)
            assert (await own.get(path)).status in {403, 404}
            refused = became(await own.post(f"{path}/resolve", {"note": "x", "action": "reject"}))
            assert refused.startswith("rejected"), role
        assert await history_of(console, name) == [("opened", "system")]

        done = await support.post(f"{path}/assign", {"assignee": identity(finance), "once": "a"})
        assert became(done) == "done"
        shown = await console.api.call("GET", f"/v1/exceptions/{name}", party="admin")
        assert shown.json["assignee"] == identity(finance)
        assert "Fay" in (await support.get(QUEUE)).text

        form = {"note": "asked the operator", "action": "set_amount"}
        unread = await support.post(f"{path}/resolve", form | {"amount": "4,505", "once": "b"})
        assert became(unread).startswith("rejected")
        assert "field=amount" in unread.headers["Location"]
        assert became(await support.post(f"{path}/resolve", {"note": " ", "once": "c"})) != "done"
        first = await support.post(f"{path}/resolve", form | {"amount": "4,50", "once": "d"})
        assert became(first) == "done"
        assert await pool.fetchval("SELECT state FROM gateway.stated_usage") == "exception"
        again = became(await support.post(f"{path}/resolve", form | {"amount": "4.50", "once": "e"}))
        assert "set_amount" in again, "above the limit nobody confirms their own proposal"
        assert await pool.fetchval("SELECT state FROM gateway.stated_usage") == "exception"
        second = await finance.post(f"{path}/resolve", form | {"amount": "4.50", "once": "f"})
        assert became(second) == "done"
        usage = await pool.fetchrow("SELECT state, decided_by FROM gateway.stated_usage")
        assert usage is not None
        assert usage["decided_by"] == identity(finance)
        assert usage["state"] != "exception"
        kinds = await history_of(console, name)
        assert [one for one in kinds if one[0] in {"assigned", "proposed", "resolved"}] == [
            ("assigned", identity(support)),
            ("proposed", identity(support)),
            ("resolved", identity(finance)),
        ]
        assert "/resolve" not in (await finance.get(path)).text, "it is over"
        ids = {str(one.person.id) for one in (support, finance) if one.person is not None}
        done_by = {who for who, operation, status in await acts_of(pool) if status == 200}
        assert done_by == ids


async def test_clearing_is_tried_again_by_who_may_once_its_cause_is_mended(
    console: ConsoleOfTest, pool: Pool
) -> None:
    api = console.api
    await create_parties(api)
    begun = await api.authorize(key="a1")
    session = begun.json["session"]
    body = {"cdr": json.loads(cdr())}
    assert (await api.call("POST", f"/v1/sessions/{session}/complete", body, key="c1")).status == 200
    assert await clear(api) == 1

    async def state() -> str:
        found = await api.call("GET", f"/v1/sessions/{session}", party="admin")
        return str(found.json["state"])

    assert await state() == "exception", "there is no agreement"
    path, retry = f"/console/sessions/{session}", f"/console/sessions/{session}/retry-clearing"
    for party, role in (
        ("platform", "viewer"),
        ("platform", "developer"),
        ("parking", "administrator"),
        ("DE-ABC", "finance"),
    ):
        visitor = await console.signed_in(party=party, role=role)
        assert "retry-clearing" not in (await visitor.get(path)).text, role
        assert became(await visitor.post(retry)).startswith("rejected"), role
        assert await state() == "exception"
    await agree(api)
    support = await console.signed_in(role="support")
    assert "retry-clearing" in (await support.get(path)).text
    assert became(await support.post(retry, {"once": "a"})) == "done"
    assert await clear(api) == 1
    assert await state() == "cleared"
    shard = parse_id("ses", session)
    posted = await pool.fetchval(
        "SELECT count(*) FROM clearing.entry WHERE subject_id = $1 AND kind = 'capture'", shard
    )
    assert posted == 1
    assert became(await support.post(retry, {"once": "b"})).startswith("rejected"), "it is cleared"
    finance = await console.signed_in(role="finance")
    assert "retry-clearing" not in (await finance.get(path)).text


async def test_an_endpoint_is_tested_resent_replayed_and_given_a_key_by_who_may(
    console: ConsoleOfTest, pool: Pool
) -> None:
    await paid_session(console.api)
    log, event = await add_attempts(pool)
    hook = log.partition("/deliveries/")[0]
    since = (console.api.clock.now() - timedelta(days=30)).strftime("%Y-%m-%dT%H:%M")

    async def rows() -> dict[str, Any]:
        found = await pool.fetchrow(
            "SELECT (SELECT count(*) FROM gateway.event WHERE type = 'webhook_endpoint.test') AS tests, "
            "(SELECT count(*) FROM gateway.delivery WHERE state = 'pending') AS pending, "
            "(SELECT count(*) FROM gateway.delivery WHERE state = 'failed') AS failed, "
            "(SELECT secret FROM gateway.webhook_endpoint) AS secret"
        )
        return dict(found or {})

    before = await rows()
    assert before["failed"] == 1
    for party, role in (
        ("parking", "viewer"),
        ("parking", "support"),
        ("parking", "finance"),
        ("platform", "support"),
        ("platform", "finance"),
        ("superapp", "administrator"),
    ):
        visitor = await console.signed_in(party=party, role=role)
        page = (await visitor.get(hook)).text
        assert 'value="test"' not in page, role
        for path, form in (
            (hook, {"act": "test"}),
            (hook, {"act": "rotate"}),
            (log, {}),
            (f"{hook}/replay", {"since": since}),
        ):
            answer = await visitor.post(path, form)
            assert answer.status in {403, 404} or became(answer).startswith("rejected"), (party, role, path)
    assert await rows() == before

    developer = await console.signed_in(party="parking", role="developer")
    assert became(await developer.post(hook, {"act": "test", "once": "a"})) == "done"
    tested = await rows()
    assert (tested["tests"], tested["pending"]) == (before["tests"] + 1, before["pending"] + 1)
    await developer.post(hook, {"act": "test", "once": "a"})
    assert await rows() == tested, "a form that is sent twice does nothing more"
    assert became(await developer.post(log, {"once": "b"})) == "done"
    resent = await rows()
    assert (resent["failed"], resent["pending"]) == (0, tested["pending"] + 1)
    assert event in (await developer.get(f"{hook}?state=pending")).text
    replayed = await developer.post(f"{hook}/replay", {"since": since, "once": "c"})
    found = re.search(r"(\d+) events are sent again", replayed.text)
    assert found is not None
    assert int(found[1]) == await pool.fetchval(
        "SELECT count(*) FROM gateway.event WHERE party_id = 'parking'"
    )
    rotated = await developer.post(hook, {"act": "rotate", "once": "d"})
    assert "whsec_" in rotated.text
    assert (await rows())["secret"] != before["secret"]
    assert "whsec_" not in (await developer.get(hook)).text
    operations = [operation for _, operation, status in await acts_of(pool) if status < 300]
    assert operations == [
        "testWebhookEndpoint",
        "testWebhookEndpoint",
        "retryDelivery",
        "replayEvents",
        "rotateWebhookSecret",
    ]
