"""The same object is equal field by field wherever it is shown: answer, list, `expand`, event data.

And no field is null in every answer: what is shown never cannot be meant.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.database import Pool
from gateway.ids import parse_id, shard_of
from gateway.payments.psp.dispute_port import DisputeUpdate
from tests.fakes.api import Api, cdr, open_api

LISTS = {
    "authorization": "/v1/authorizations",
    "session": "/v1/sessions",
    "capture": "/v1/captures",
    "refund": "/v1/refunds",
    "dispute": "/v1/disputes",
    "webhook_endpoint": "/v1/webhook-endpoints",
}
PREFIXES = {
    "authorization": "auth",
    "session": "ses",
    "capture": "cap",
    "refund": "ref",
    "dispute": "dsp",
    "webhook_endpoint": "whe",
}


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        opened.clock.wall = datetime.now(UTC) + timedelta(seconds=3)  # events are listed a second later
        yield opened


async def _got(api: Api, path: str) -> Any:
    answer = await api.call("GET", path)
    assert answer.status == 200, answer.text
    return answer.json


async def play(api: Api) -> list[dict[str, Any]]:
    """Sessions that end in each way; every object that was shown, as it was shown."""
    shown: list[dict[str, Any]] = []

    async def post(path: str, body: Any, key: str) -> Any:
        answer = await api.call("POST", path, body, key=key)
        if answer.status < 300:
            shown.append(answer.json)
        return answer.json

    hooks = {"url": "https://partner.example/hooks", "events": ["*"]}
    endpoint = await post("/v1/webhook-endpoints", hooks, "w")
    await post(f"/v1/webhook-endpoints/{endpoint['id']}/test", None, "wt")
    first = (await api.authorize(key="a", session_ref="order-1", metadata={"order": "1"})).json
    shown.append(first)
    body = b'{"cdr": ' + cdr() + b"}"
    session = await post(f"/v1/sessions/{first['session']}/complete", body, "c")
    await post("/v1/refunds", {"session": session["id"], "amount": 190, "metadata": {"case": "1"}}, "r")
    session_id = parse_id("ses", session["id"])
    for state in ("opened", "lost"):
        update = DisputeUpdate(
            psp_dispute="du_1",
            state=state,
            amount_minor=500,
            withdrawn_minor=500,
            fee_minor=1500,
            respond_by=api.clock.now(),
            fee_currency="EUR",
            currency="EUR",
            reason="fraudulent",
        )
        await api.services.payments.disputes.record_update(
            update, shard=shard_of(session_id), session_id=session_id
        )
    declined = {"type": "psp_payment_method", "payment_method": "pm_declined"}
    await api.authorize(key="d", payment=declined)
    challenged = {
        "type": "psp_payment_method",
        "payment_method": "pm_challenge",
        "return_url": "https://app.example/return",
    }
    shown.append((await api.authorize(key="x", payment=challenged)).json)
    released = (await api.authorize(key="b")).json
    await post(f"/v1/authorizations/{released['id']}/release", {}, "v")
    for path in LISTS.values():
        shown += (await _got(api, path))["data"]
    shown += (await _got(api, "/v1/events?limit=100"))["data"]
    return shown


async def test_an_answer_a_list_and_an_event_show_the_same_object(api: Api) -> None:
    await play(api)
    newest: dict[str, dict[str, Any]] = {}
    for event in (await _got(api, "/v1/events?limit=100"))["data"]:
        newest[event["object_id"]] = event["data"]
    compared = set()
    for kind, path in LISTS.items():
        for listed in (await _got(api, path))["data"]:
            single = await _got(api, f"{path}/{listed['id']}")
            assert _without_action(single) == _without_action(listed)
            bare = parse_id(PREFIXES[kind], listed["id"])
            assert await _got(api, f"{path}/{bare}") == single
            assert "SECRET" not in json.dumps(listed)
            assert "SECRET" not in json.dumps(newest.get(listed["id"]))
            if listed["id"] in newest and newest[listed["id"]].get("state") == listed.get("state"):
                assert _without_later_money(newest[listed["id"]]) == _without_later_money(listed)
                compared.add(kind)
    assert compared == set(LISTS)


def _without_action(shown: Mapping[str, Any]) -> dict[str, Any]:
    """What only the driver's app may know: lists do not show it."""
    secret = {"next_action", "client_secret", "redirect_url", "publishable_key"}
    return {key: value for key, value in shown.items() if key not in secret}


def _without_later_money(shown: Mapping[str, Any]) -> dict[str, Any]:
    """What follows an event is left out: a session's capture after its completion, refunds and disputes."""
    return {key: value for key, value in shown.items() if key not in {"capture", "refunded", "disputed"}}


async def test_expand_adds_lines_to_the_price_and_changes_nothing_else(api: Api) -> None:
    await play(api)
    session = next(one for one in (await _got(api, "/v1/sessions"))["data"] if one["price"])
    path = f"/v1/sessions/{session['id']}"
    expanded, price = await _got(api, f"{path}?expand=price"), await _got(api, f"{path}/price")
    assert expanded["price"] == price
    assert price.items() >= session["price"].items()
    assert {**expanded, "price": None} == {**session, "price": None}


def _values(shown: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each field's value, named by its object: `session.price`."""
    if isinstance(shown, list):
        for part in shown:
            yield from _values(part, name)
    elif isinstance(shown, dict):
        kind = shown.get("object", name)
        for field, value in shown.items():
            yield f"{kind}.{field}", value
            if field not in {"metadata", "next_action"}:
                yield from _values(value, f"{kind}.{field}")


async def test_no_field_is_null_in_every_answer(api: Api) -> None:
    seen = list(_values(await play(api)))
    filled = {name for name, value in seen if value not in (None, [])}
    always_null = {name for name, _ in seen} - filled
    assert always_null == {
        "webhook_endpoint.disabled_reason",  # set when a receiver answers 410 or fails for five days
        "webhook_endpoint.failing_since",  # likewise
        "webhook_endpoint.disables_at",  # likewise
        "webhook_endpoint.filter",  # set by a partner that wants the events of some objects only
        "webhook_endpoint.public_key",  # of an endpoint that is signed with a key pair
        "webhook_endpoint.previous_public_key",  # likewise, while a rotation overlaps
        "webhook_endpoint.previous_key_until",  # likewise
        "refund.failure_code",  # the test's PSP fails no refund here
        "session.flags",  # an empty list: nothing was odd
        "session.provisional_usage",  # set while the operator's CDR is awaited
        "session.usage",  # set while stated usage waits for a decision
    }


@pytest.mark.parametrize("name", ["session", "refund"])
async def test_a_bare_uuid_is_read_in_bodies_and_queries(api: Api, name: str) -> None:
    first = (await api.authorize(key="a")).json
    await api.call("POST", f"/v1/sessions/{first['session']}/complete", b'{"cdr": ' + cdr() + b"}", key="c")
    bare = str(parse_id("ses", first["session"]))
    assert isinstance(UUID(bare), UUID)
    if name == "refund":
        made = await api.call("POST", "/v1/refunds", {"session": bare, "amount": 10}, key="r")
        assert (made.status, made.json["session"]) == (201, first["session"])
        assert (await _got(api, f"/v1/refunds?session={bare}"))["data"] == [made.json]
    else:
        assert (await _got(api, f"/v1/sessions/{bare}"))["id"] == first["session"]
