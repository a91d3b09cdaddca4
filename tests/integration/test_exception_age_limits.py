"""Age limits of exceptions that an operator sets: what is overdue follows at once, everywhere."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from gateway.database import Pool
from gateway.exception_kinds import ExceptionKind
from gateway.exceptions.due import DUE_AFTER, MAX_HOURS
from tests.fakes.api import Api, open_api
from tests.integration.test_exceptions import NOW, Queue, _exceptions, stop_task

WHERE = "/v1/exception-age-limits"


@pytest.fixture
async def queue(pool: Pool) -> Queue:
    opened = Queue(pool)
    await opened.open()
    await stop_task(opened)  # three days old; a task is due after one
    return opened


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        opened.clock.at = opened.clock.wall = NOW
        yield opened


async def overdue(api: Api) -> list[str]:
    listed = (await api.call("GET", "/v1/exceptions?overdue=true", party="admin")).json["data"]
    return [one["kind"] for one in listed]


async def test_a_limit_that_is_set_holds_for_open_exceptions_in_list_and_metrics(
    queue: Queue, api: Api
) -> None:
    assert await overdue(api) == ["failed_task"]
    answer = await api.call("PUT", WHERE, {"hours": {"failed_task": 100}}, party="admin")
    assert answer.status == 200, answer.text
    assert answer.json["hours"]["failed_task"] == 100
    assert answer.json["hours"]["unpaid_session"] == 14 * 24  # a default stays
    (own,) = answer.json["own"]
    assert (own["kind"], own["hours"], bool(own["set_by"])) == ("failed_task", 100, True)
    assert await overdue(api) == []
    (shown,) = (await api.call("GET", "/v1/exceptions", party="admin")).json["data"]
    since, due = (datetime.fromisoformat(shown[name]) for name in ("since", "due_at"))
    assert due - since == timedelta(hours=100)
    text = (await api.call("GET", "/metrics", party="admin")).text
    assert 'networkcore_exceptions_overdue{kind="failed_task"} 0.0' in text
    assert f'networkcore_exception_age_limit_seconds{{kind="failed_task"}} {100 * 3600.0}' in text
    acts = await queue.pool.fetch(
        "SELECT object_id, principal FROM gateway.admin_act"
        " WHERE object_table = 'gateway.exception_age_limit'"
    )
    assert [(row["object_id"], row["principal"] is not None) for row in acts] == [("failed_task", True)]


async def test_null_brings_the_default_back(queue: Queue, api: Api) -> None:
    await api.call("PUT", WHERE, {"hours": {"failed_task": 100, "old_suspense": 1}}, party="admin")
    await api.call("PUT", WHERE, {"hours": {"failed_task": None}}, party="admin")
    shown = (await api.call("GET", WHERE, party="admin")).json
    assert shown["hours"]["failed_task"] == 24
    assert [one["kind"] for one in shown["own"]] == ["old_suspense"]
    assert await overdue(api) == ["failed_task"]
    assert {ExceptionKind(kind) for kind in shown["hours"]} == set(DUE_AFTER)


@pytest.mark.parametrize(
    "hours",
    [{}, {"failed_task": 0}, {"failed_task": MAX_HOURS + 1}, {"nothing_such": 5}, {"failed_task": "x"}],
)
async def test_a_limit_out_of_range_or_of_no_kind_is_refused_and_nothing_is_set(
    api: Api, hours: dict[str, int]
) -> None:
    answer = await api.call("PUT", WHERE, {"hours": hours}, party="admin")
    assert answer.status == 400, answer.text
    assert (await api.call("GET", WHERE, party="admin")).json["own"] == []


async def test_only_the_platform_reads_or_sets_them(api: Api) -> None:
    for method, body in (("GET", None), ("PUT", {"hours": {"failed_task": 5}})):
        assert (await api.call(method, WHERE, body, party="superapp")).status == 403


@pytest.mark.usefixtures("queue")
async def test_the_command_sets_shows_and_takes_back(database_url: str) -> None:
    done = _exceptions(database_url, "limits", "--set", "failed_task=8760", "--by", "anna", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["kind"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {kind.value for kind in ExceptionKind}
    assert (rows["failed_task"]["hours"], rows["failed_task"]["default"]) == (8760, 24)
    assert rows["failed_task"]["set_by"] == "anna"
    assert "Nothing waits" in _exceptions(database_url, "list", "--overdue").stdout
    assert _exceptions(database_url, "limits", "--default", "failed_task", "--by", "anna").returncode == 0
    assert "failed_task" in _exceptions(database_url, "list", "--overdue").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "failed_task=5"], "--by"),
        (["--set", "failed_task=0", "--by", "a"], "from 1 to 8760"),
        (["--set", "failed_task=x", "--by", "a"], "KIND=HOURS"),
        (["--default", "nothing_such", "--by", "a"], "no kind of exception"),
    ],
)
def test_wrong_options_are_named_in_one_line(database_url: str, options: list[str], said: str) -> None:
    done = _exceptions(database_url, "limits", *options)
    assert done.returncode == 2
    assert said in done.stderr
