"""Exceptions past their age limit, and decisions about money that a second person confirms."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from clearing.approvals.service import set_limit
from gateway.cli.status import read_status
from gateway.database import Pool, transaction
from gateway.exception_kinds import ExceptionEventKind, ExceptionState
from gateway.exceptions.errors import ExceptionConflictError
from gateway.payments.stated_usage import UsageAction, UsageDecision
from tests.fakes.api import Api, open_api
from tests.integration.test_exceptions import (
    LONG_AGO,
    NOW,
    Queue,
    _exceptions,
    audit_difference,
    failed_check,
    stop_task,
    unpaid_session,
)

LOWER = UsageDecision(action=UsageAction.TAKE_LOWER)
AS_IS = UsageDecision(action=UsageAction.TAKE_AS_IS)


@pytest.fixture
async def queue(pool: Pool) -> Queue:
    opened = Queue(pool)
    await opened.open()
    async with transaction(pool) as connection:
        await set_limit(connection, "EUR", 499, by="carla", now=NOW)
    return opened


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        opened.clock.at = opened.clock.wall = NOW
        yield opened


async def kinds(queue: Queue, exception_id: Any) -> list[ExceptionEventKind]:
    return await queue.events(exception_id)


async def test_above_the_limit_the_first_call_proposes_and_a_second_person_decides(queue: Queue) -> None:
    await failed_check(queue)  # 5.00 EUR, the limit is 4.99
    (shown,) = await queue.listed()
    view = await queue.resolve(shown.id, by="anna", decision=LOWER)
    assert view.record.state is ExceptionState.OPEN
    assert view.history[-1].note == "take_lower, by anna: mended"
    assert await queue.pool.fetchval("SELECT state FROM gateway.stated_usage") == "exception"
    with pytest.raises(ExceptionConflictError, match="Proposed: take_lower, by anna"):
        await queue.resolve(shown.id, by=" Anna ", decision=LOWER)
    done = await queue.resolve(shown.id, by="ben", decision=LOWER)
    assert done.record.state is ExceptionState.RESOLVED
    assert await queue.pool.fetchval("SELECT decided_by FROM gateway.stated_usage") == "ben"
    assert [one.kind.value for one in done.history] == ["opened", "proposed", "retried", "resolved"]
    assert await queue.pool.fetchval("SELECT count(*) FROM gateway.exception_proposal") == 0


async def test_another_decision_is_a_proposal_of_its_own(queue: Queue) -> None:
    await failed_check(queue)
    (shown,) = await queue.listed()
    await queue.resolve(shown.id, by="anna", decision=LOWER)
    await queue.resolve(shown.id, by="ben", decision=AS_IS)
    assert await kinds(queue, shown.id) == ["opened", "proposed", "proposed"]
    with pytest.raises(ExceptionConflictError, match="take_as_is, by ben"):
        await queue.resolve(shown.id, by="ben", decision=AS_IS)
    assert (await queue.resolve(shown.id, by="anna", decision=AS_IS)).record.state is ExceptionState.RESOLVED


async def test_up_to_the_limit_one_person_decides(queue: Queue) -> None:
    async with transaction(queue.pool) as connection:
        await set_limit(connection, "EUR", 500, by="carla", now=NOW)
    await failed_check(queue)
    (shown,) = await queue.listed()
    assert (await queue.resolve(shown.id, decision=LOWER)).record.state is ExceptionState.RESOLVED


async def test_who_raises_the_limit_stays_under_the_one_before(queue: Queue) -> None:
    async with transaction(queue.pool) as connection:
        await set_limit(connection, "EUR", 100_000, by="anna", now=NOW)
    await failed_check(queue)
    (shown,) = await queue.listed()
    view = await queue.resolve(shown.id, by="anna", decision=LOWER)
    assert view.record.state is ExceptionState.OPEN


async def test_a_claim_above_the_limit_does_not_end_by_one_persons_reason(queue: Queue) -> None:
    await unpaid_session(queue)
    await queue.run("UPDATE gateway.session SET price_minor = 50000")
    (shown,) = await queue.listed()
    assert (shown.amount_minor, shown.currency) == (50_000, "EUR")
    assert (await queue.resolve(shown.id, by="anna")).record.state is ExceptionState.OPEN
    assert (await queue.resolve(shown.id, by="ben")).record.state is ExceptionState.RESOLVED
    assert await queue.listed() == []


async def test_a_retry_needs_no_second_person(queue: Queue) -> None:
    await stop_task(queue)
    (shown,) = await queue.listed()
    assert (await queue.resolve(shown.id)).record.state is ExceptionState.RESOLVED


async def test_an_audit_that_does_not_agree_is_in_the_queue_until_one_agrees(
    queue: Queue, database_url: str
) -> None:
    await audit_difference(queue)
    (shown,) = await queue.listed()
    assert (shown.reason, shown.detail, shown.owner) == ("not_compared", "psp_record", "finance")
    assert shown.since == LONG_AGO  # the first that did not agree, not the last
    status = await read_status(database_url, wall_now=NOW)
    assert any("--kind audit_difference" in alert for alert in status.alerts)
    await queue.run(
        "INSERT INTO gateway.audit_run (finished_at, result, checks) VALUES ($1, 'agrees', '{}')", NOW
    )
    assert await queue.listed() == []
    assert (await read_status(database_url, wall_now=NOW)).alerts == ()


async def test_what_is_past_its_age_limit_is_overdue_everywhere(
    queue: Queue, api: Api, database_url: str
) -> None:
    await stop_task(queue)  # three days old; a task is due after one
    await failed_check(queue)
    await queue.run("UPDATE gateway.stated_usage SET received_at = $1", NOW - timedelta(hours=47))
    listed = (await api.call("GET", "/v1/exceptions?overdue=true", party="admin")).json["data"]
    assert [one["kind"] for one in listed] == ["failed_task"]
    everything = (await api.call("GET", "/v1/exceptions", party="admin")).json["data"]
    (check,) = [one for one in everything if one["kind"] == "failed_cdr_check"]
    assert check["due_at"] == "2026-11-22T13:00:00Z"  # an hour from now
    status = await read_status(database_url, wall_now=NOW)
    (alert,) = [one for one in status.alerts if "failed_task" in one]
    assert ", 1 overdue: " in alert
    shown = _exceptions(database_url, "list", "--overdue")
    assert shown.returncode == 0, shown.stderr
    assert "failed_task" in shown.stdout


async def test_over_http_two_principals_decide(queue: Queue, api: Api) -> None:
    await failed_check(queue)
    (shown,) = (await api.call("GET", "/v1/exceptions", party="admin")).json["data"]
    where, body = f"/v1/exceptions/{shown['id']}/resolve", {"note": "agreed", "action": "take_lower"}
    first = await api.call("POST", where, body, party="admin")
    assert (first.status, first.json["state"]) == (200, "open")
    again = await api.call("POST", where, body, party="admin")
    assert again.status == 409
    made = await api.call(
        "POST",
        "/v1/parties/platform/api-keys",
        {"scopes": ["admin"]},
        party="admin",
    )
    assert made.status == 201, made.text
    api.keys["ben"] = made.json["api_key"]
    done = await api.call("POST", where, body, party="ben")
    assert (done.status, done.json["state"]) == (200, "resolved"), done.text
