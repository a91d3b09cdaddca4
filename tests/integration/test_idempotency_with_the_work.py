"""Keys that are claimed with the first write of authorize and complete, and answered with the last one."""

import asyncio
from collections.abc import AsyncIterator
from random import choices
from string import ascii_letters
from typing import Any

import pytest

from gateway.api.operation_scopes import is_administrative
from gateway.api.routes import endpoints
from gateway.api.versioning import HEADER
from gateway.api_versions import VERSIONS
from gateway.database import Pool
from gateway.idempotency_repository import shard_of_key
from gateway.ids import parse_id, shard_of
from gateway.payments.requests import ANY_DRIVER, TariffMissing
from tests.fakes.api import EVSE, Answer, Api, OneTariff, authorization_body, cdr, open_api
from tests.fakes.workers import resolve_outcomes

OLDEST = VERSIONS.names[0]
USAGE = {"started_at": "2026-10-29T08:05:00Z", "ended_at": "2026-10-29T08:50:00Z", "energy_wh": 18_500}


class WithdrawnTariff(OneTariff):
    """A tariff source whose tariff can be taken away."""

    withdrawn = False

    async def tariff_for(self, connection: Any, *, evse_id: str, at: Any, **options: Any) -> Any:
        if self.withdrawn:
            return TariffMissing(cpo_id="DE-ABC")
        options.setdefault("choice", ANY_DRIVER)
        return await super().tariff_for(connection, evse_id=evse_id, at=at, **options)


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


async def complete(api: Api, session: str, *, key: str, **usage: Any) -> Answer:
    body = {"usage": USAGE | usage}
    return await api.call("POST", f"/v1/sessions/{session}/complete", body, party="admin", key=key)


def same(one: Answer, other: Answer) -> bool:
    return (one.status, one.content, one.headers["ETag"]) == (
        other.status,
        other.content,
        other.headers["ETag"],
    )


async def keys(api: Api) -> dict[str, tuple[int, int | None]]:
    """The shard and the stored status of each key."""
    rows = await api.services.pool.fetch("SELECT key, shard, status FROM gateway.idempotency_key")
    return {row["key"]: (row["shard"], row["status"]) for row in rows}


def test_operations_whose_key_is_part_of_their_writes_are_no_acts_to_record() -> None:
    riding = {one.operation for one in endpoints(sandbox=True) if one.keyed_work is not None}
    assert riding == {"createAuthorization", "completeSession"}
    assert not any(is_administrative(operation) for operation in riding)


async def test_key_session_and_all_that_is_written_for_them_lie_in_one_shard(api: Api) -> None:
    for number in range(6):
        made = (await api.authorize(key=f"a{number}")).json
        shard = shard_of_key("parking", f"a{number}")
        assert shard_of(parse_id("ses", made["session"])) == shard_of(parse_id("auth", made["id"])) == shard
        assert (await complete(api, made["session"], key=f"c{number}")).status == 200
        stored = await keys(api)
        assert (stored[f"a{number}"], stored[f"c{number}"]) == ((shard, 201), (shard, 200))
    written = await api.services.pool.fetch(
        "SELECT shard FROM gateway.session UNION SELECT shard FROM gateway.payment_authorization "
        "UNION SELECT shard FROM gateway.psp_request UNION SELECT shard FROM gateway.capture "
        "UNION SELECT shard FROM gateway.event UNION SELECT shard FROM gateway.task"
    )
    assert {row["shard"] for row in written} == {shard_of_key("parking", f"a{n}") for n in range(6)}


async def test_a_repeat_of_each_call_has_the_same_answer_byte_for_byte(api: Api) -> None:
    made = await api.authorize(key="a")
    done = await complete(api, made.json["session"], key="c")
    assert same(made, await api.authorize(key="a"))
    assert same(done, await complete(api, made.json["session"], key="c"))
    assert [kind for kind, _ in api.psp.calls] == ["hold", "capture"]


async def test_concurrent_repeats_of_a_completion_are_in_flight_and_capture_once(api: Api) -> None:
    session = (await api.authorize(key="a")).json["session"]
    answers = await asyncio.gather(*(complete(api, session, key="c") for _ in range(10)))
    done = [answer for answer in answers if answer.status == 200]
    assert done
    assert {answer.content for answer in done} == {done[0].content}
    assert {answer.json["code"] for answer in answers if answer.status != 200} <= {"idempotency_in_flight"}
    assert [kind for kind, _ in api.psp.calls] == ["hold", "capture"]


async def test_a_key_that_was_used_before_is_rejected_on_the_same_and_on_another_session(api: Api) -> None:
    one = (await api.authorize(key="a1")).json["session"]
    other = (await api.authorize(key="a2")).json["session"]
    assert shard_of(parse_id("ses", one)) != shard_of(parse_id("ses", other))
    assert (await api.call("POST", "/v1/authorizations", {"evse_id": EVSE}, key="a1")).status == 400
    done = await complete(api, one, key="c")
    for again in (await complete(api, one, key="c", energy_wh=1), await complete(api, other, key="c")):
        assert (again.status, again.json["code"]) == (422, "idempotency_key_reused")
    assert same(done, await complete(api, one, key="c"))
    read = await api.call("GET", f"/v1/sessions/{other}")
    assert (read.json["state"], read.json["capture"]) == ("active", None)


async def test_a_repeat_is_answered_as_before_where_the_work_could_not_begin_any_more(pool: Pool) -> None:
    tariffs = WithdrawnTariff()
    async with open_api(pool, tariffs=tariffs) as api:
        first = await api.authorize(key="a")
        tariffs.withdrawn = True
        assert same(first, await api.authorize(key="a"))
        fresh = await api.authorize(key="b")
        assert fresh.status in {404, 409, 422}
        tariffs.withdrawn = False
        again = await api.authorize(key="b")
        assert (again.status, again.content) == (fresh.status, fresh.content)


async def test_a_rejected_completion_stays_rejected_under_its_key(api: Api) -> None:
    session = (await api.authorize(key="a")).json["session"]
    path = f"/v1/sessions/{session}/complete"
    wrong = b'{"cdr":' + cdr().replace(b'"EUR"', b'"CHF"') + b"}"
    refused = await api.call("POST", path, wrong, party="admin", key="c1")
    assert refused.status == 422
    again = await api.call("POST", path, wrong, party="admin", key="c1")
    assert (again.status, again.content) == (refused.status, refused.content)
    assert (await complete(api, session, key="c2")).status == 200


async def test_a_second_session_for_one_cdr_is_rejected_and_its_hold_stays(api: Api) -> None:
    one, other = [(await api.authorize(key=f"a{n}")).json["session"] for n in range(2)]
    body = b'{"cdr":' + cdr() + b"}"
    first = await api.call("POST", f"/v1/sessions/{one}/complete", body, party="admin", key="c1")
    assert first.status == 200
    second = await api.call("POST", f"/v1/sessions/{other}/complete", body, party="admin", key="c2")
    assert second.status == 422
    assert second.json["detail"].startswith("CDR C1 of DE-ABC has ended another session")
    assert (await api.call("GET", f"/v1/sessions/{other}")).json["state"] == "active"
    assert [kind for kind, _ in api.psp.calls] == ["hold", "hold", "capture"]


async def test_a_session_ends_while_another_request_is_open_and_is_captured_after_it(api: Api) -> None:
    made = (await api.authorize(key="a")).json
    api.psp.faults.append("before")  # the answer to the increment is lost
    path = f"/v1/authorizations/{made['id']}/increment"
    raised = await api.call("POST", path, {"amount": 9_000}, key="i")
    assert raised.status in {202, 409, 503}
    done = await complete(api, made["session"], key="c")
    assert (done.status, done.json["state"], done.json["capture"]) == (200, "completed", None)
    api.clock.pass_wall(120)
    await resolve_outcomes(api.services.payments.resolver)
    session_id = parse_id("ses", made["session"])
    await api.services.payments.capture(shard=shard_of(session_id), session_id=session_id)
    read = await api.call("GET", f"/v1/sessions/{made['session']}")
    assert read.json["capture"]["state"] == "succeeded"
    assert [kind for kind, _ in api.psp.calls].count("capture") == 1


async def test_a_completion_whose_answer_was_lost_is_no_conflict_with_itself(api: Api) -> None:
    """It moved the authorization's version; the same request names the one from before."""
    made = await api.authorize(key="a")
    path = f"/v1/sessions/{made.json['session']}/complete"
    read = {"If-Match": made.headers["ETag"]}
    answers = api.psp.capture

    async def times_out(_request: Any) -> Any:
        raise TimeoutError

    api.psp.capture = times_out
    lost = await api.call("POST", path, {"usage": USAGE}, party="admin", key="c", headers=read)
    assert lost.status == 503
    api.psp.capture = answers
    again = await api.call("POST", path, {"usage": USAGE}, party="admin", key="c", headers=read)
    assert (again.status, again.json["state"]) == (200, "completed")
    other = {"usage": USAGE | {"energy_wh": 1}}
    stale = await api.call("POST", path, other, party="admin", key="d", headers=read)
    assert (stale.status, stale.json["code"]) == (412, "version_conflict")


async def test_a_cdr_whose_id_is_too_long_for_a_name_is_rejected(api: Api) -> None:
    session = (await api.authorize(key="a")).json["session"]
    path = f"/v1/sessions/{session}/complete"
    for number, length in enumerate((256, 12_000)):
        body = b'{"cdr":' + cdr(cdr_id="".join(choices(ascii_letters, k=length))) + b"}"
        refused = await api.call("POST", path, body, party="admin", key=f"c{number}")
        assert (refused.status, refused.json["code"]) == (422, "cdr_invalid")
    longest = b'{"cdr":' + cdr(cdr_id="x" * 255) + b"}"
    assert (await api.call("POST", path, longest, party="admin", key="c9")).status == 200


async def test_metadata_that_look_like_an_object_of_ours_are_answered_in_every_version(api: Api) -> None:
    own = {"object": "plug_and_charge_settlement", "transaction_event_response": "x"}
    made = await api.call(
        "POST", "/v1/authorizations", authorization_body(metadata=own), key="a", headers={HEADER: OLDEST}
    )
    assert (made.status, made.json["metadata"]) == (201, own)
