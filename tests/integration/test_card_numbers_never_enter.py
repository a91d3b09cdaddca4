"""A card number in any string of any endpoint is rejected before a write, and neither echoed nor logged."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs

from gateway.database import Pool
from gateway.limits.rate_limit import RateRule
from tests.fakes.api import Answer, Api, open_api
from tests.fakes.api import cdr as api_cdr
from tests.fakes.ocpi_edge import start_edge, stop_edge
from tests.fakes.ocpi_objects import cdr, location, tariff
from tests.fakes.request_samples import Operation, bodies, operations, put

CARD = "4242 4242" + " 4242 4242"  # Stripe's test card, in two parts: no card number is in the repository
DIGITS = CARD.replace(" ", "")
UNLIMITED = RateRule(name="key", per_second=10_000_000, burst=10_000_000)
FORMS = (CARD, DIGITS, f"pm_{DIGITS}", f"my card {CARD.replace(' ', '-')}, thanks")


def shows_card(text: str) -> bool:
    return DIGITS in "".join(character for character in text if character not in " -")


async def assert_nothing_is_stored(pool: Pool) -> None:
    """No table of any schema holds the card number, in any form."""
    tables = await pool.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    assert len(tables) > 40
    for table in tables:
        for row in await pool.fetch(f"SELECT * FROM {table['name']}"):  # noqa: S608 - a name of the catalog
            for column, value in row.items():
                text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                assert not shows_card(text), f"{table['name']}.{column}"


def requests_with_card(operation: Operation, card: str) -> Iterator[dict[str, Any]]:
    """The operation with a card number in one place after another."""
    given = {"method": operation.method, "path": operation.path()}
    for name in operation.parameters:
        yield given | {"path": operation.path(**{name: quote(card)})}
    for name in (*operation.query, "unknown"):
        yield given | {"path": f"{given['path']}?{name}={quote(card)}"}
    yield given | {"path": f"{given['path']}?{quote(card)}=1"}
    for header in ("Idempotency-Key", "X-Request-Id"):
        yield given | {"headers": {header: card}, "key": None}
    if operation.method in {"GET", "DELETE"}:
        return
    yield given | {"body": {card: 1}}
    yield given | {"body": [card]}
    yield given | {"body": {"anything": {"else": [None, {"deep": card}]}}}
    yield given | {"body": f'{{"escaped": "{chr(92)}u0034{DIGITS[1:]}"}}'.encode()}
    seen = set()
    for body, places in bodies(operation.body or {}):
        for place in places:
            if place.pointer not in seen:
                seen.add(place.pointer)
                yield given | {"body": put(body, place, card)}


@pytest.mark.parametrize("card", FORMS)
async def test_no_operation_takes_a_card_number(pool: Pool, card: str) -> None:
    sent = 0
    async with open_api(pool, key_rate=UNLIMITED) as api:
        with capture_logs() as log:
            for operation in operations():
                if operation.name == "importBankMessage":
                    continue  # XML of the bank: docs/decisions/0608-card-numbers-never-enter.md
                for number, request in enumerate(requests_with_card(operation, card)):
                    if operation.name == "nameBuyer" and "body" in request:
                        continue  # a page's form, which answers with the page: test_buyer_pages.py
                    answer = await api.call(
                        **{"key": f"{operation.name}-{number}", "body": None} | request, party="admin"
                    )
                    seen = f"{operation.name} {request} {answer.text}".replace(card, "CARD")
                    rejected = (answer.status, answer.json["code"])
                    in_path = request["path"].startswith(operation.path())
                    assert rejected == (422, "card_number_rejected") or (
                        answer.status == 404 and not in_path
                    ), seen
                    assert not shows_card(answer.text + str(answer.headers)), seen
                    sent += 1
        assert not shows_card(str(log))
        assert api.psp.calls == []
    assert sent > 1_000
    await assert_nothing_is_stored(pool)


async def test_a_rejected_request_says_where_and_leaves_its_key_free(pool: Pool) -> None:
    async with open_api(pool) as api:
        rejected = await api.authorize(key="k", metadata={"note": CARD})
        assert rejected.status == 422
        assert rejected.json["errors"][0]["pointer"] == "/metadata/note"
        accepted = await api.authorize(key="k", metadata={"note": "driver 7"})
        assert accepted.status == 201, accepted.text


async def test_paths_without_an_operation_neither_echo_nor_log_it(pool: Pool) -> None:
    async with open_api(pool) as api:
        with capture_logs() as log:
            answers = [
                await api.call("GET", f"/v1/nothing/{quote(CARD)}"),
                await api.call("GET", f"/problems/{DIGITS}"),
                await api.call("PATCH", f"/v1/sessions/{DIGITS}"),
                await api.call("GET", f"/v1/sessions/{DIGITS}", party=None),
                await api.call("POST", "/v1/psp/webhooks", {"id": CARD}),
            ]
        assert [answer.status for answer in answers] == [404, 404, 405, 401, 400]
        assert not any(shows_card(answer.text + str(answer.headers)) for answer in answers)
        assert not shows_card(str(log))
    await assert_nothing_is_stored(pool)


Change = Callable[[str], dict[str, Any]]
PUSHES: tuple[tuple[str, str, Change], ...] = (
    ("PUT", "/locations/NL/ABC/LOC1", lambda card: location(address=card)),
    ("PUT", "/tariffs/NL/ABC/T1", lambda card: tariff(note={"deep": [card]})),
    ("PUT", "/sessions/NL/ABC/S1", lambda card: {"id": "S1", "cdr_token": {"uid": card}}),
    ("POST", "/cdrs", lambda card: cdr(cdr_token={"uid": card, "type": "RFID", "contract_id": "c"})),
    ("POST", "/cdrs", lambda card: {card: 1}),
    ("POST", "/tokens/x/authorize", lambda card: {"location_id": card}),
)


@pytest.mark.parametrize("card", FORMS)
async def test_no_ocpi_message_brings_a_card_number_in(pool: Pool, card: str) -> None:
    edge = await start_edge(pool)
    try:
        token = await edge.register("NL-ABC")
        with capture_logs() as log:
            for method, path, message in PUSHES:
                response, answer = await edge.send(
                    method,
                    f"/emsp/2.2.1{path}",
                    token,
                    message(card),
                    headers={"X-Request-ID": DIGITS, "X-Correlation-ID": DIGITS},
                )
                assert answer["status_code"] in {2001, 2000}, answer
                assert not shows_card(json.dumps(answer) + str(response.headers)), path
            answer, _ = await edge.call("GET", f"/emsp/2.2.1/tariffs/NL/ABC/{DIGITS}", token)
            assert answer["status_code"] == 2001
        assert not shows_card(str(log))
    finally:
        await stop_edge(edge)
    await assert_nothing_is_stored(pool)


async def test_a_body_with_two_members_of_one_name_is_rejected(pool: Pool) -> None:
    async with open_api(pool) as api:
        for number, body in enumerate(
            (
                b'{"evse_id": "DE*ABC*E1", "evse_id": "DE*ABC*E2", "method": "card"}',
                b'{"metadata": {"a": "1", "a": "2"}}',
                b'[{"x": [{"b": 1, "b": 1}]}]',
            )
        ):
            for path in ("/v1/authorizations", "/v1/quotes"):
                answer: Answer = await api.call("POST", path, body, key=f"{path}-{number}")
                assert answer.status == 400, answer.text
                assert "twice in one object" in answer.json["detail"]


async def assert_no_500(api: Api, **request: Any) -> Answer:
    answer = await api.call(**request, party="admin")
    assert answer.status < 500 or answer.json["code"] == "unavailable", f"{request} {answer.text}"
    return answer


EDGES = (
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00",
    "1969-12-31T23:59:59Z",
    "2199-01-01T00:00:00Z",
    "0001-01-01",
    "9999-12-31",
)


async def test_times_at_the_edge_of_the_calendar_are_rejected_everywhere(pool: Pool) -> None:
    checked = 0
    async with open_api(pool, key_rate=UNLIMITED) as api:
        for operation in operations():
            path = operation.path()
            for number, edge in enumerate(EDGES):
                key = f"{operation.name}-{number}"
                for name in operation.query:
                    await assert_no_500(
                        api, method=operation.method, path=f"{path}?{name}={quote(edge)}", key=key
                    )
                if operation.method in {"GET", "DELETE"}:
                    continue
                for body, places in bodies(operation.body or {}):
                    for place in places:
                        changed = put(body, place, edge)
                        answer = await assert_no_500(
                            api, method=operation.method, path=path, body=changed, key=key
                        )
                        if place.format in {"date", "date-time"}:
                            checked += 1
                            assert answer.status == 400, answer.text
                            assert place.pointer in {one["pointer"] for one in answer.json["errors"]}
        for name in ("created_from", "created_before"):
            for edge in EDGES:
                answer = await assert_no_500(api, method="GET", path=f"/v1/sessions?{name}={quote(edge)}")
                assert answer.status == 400, answer.text
    assert checked > 100


async def test_a_cdr_with_times_at_the_edge_is_rejected(pool: Pool) -> None:
    async with open_api(pool) as api:
        session = (await api.authorize(key="a")).json["session"]
        for number, edge in enumerate(EDGES):
            for name in ("start_date_time", "end_date_time", "last_updated"):
                sent = json.loads(api_cdr()) | {name: edge}
                answer = await api.call(
                    "POST", f"/v1/sessions/{session}/complete", {"cdr": sent}, key=f"{name}-{number}"
                )
                assert answer.status < 500, answer.text
                if name != "last_updated":
                    assert answer.status in {400, 422}, answer.text


async def test_ocpi_times_at_the_edge_of_the_calendar_are_rejected(pool: Pool) -> None:
    edge = await start_edge(pool)
    try:
        token = await edge.register("NL-ABC")
        for at in EDGES:
            ended = {"start_date_time": at, "end_date_time": at}
            for method, path, body in (
                ("PUT", "/locations/NL/ABC/LOC1", location(last_updated=at)),
                ("PUT", "/tariffs/NL/ABC/T1", tariff(last_updated=at, **ended)),
                ("PUT", "/sessions/NL/ABC/S1", {"id": "S1", "last_updated": at, **ended}),
                ("POST", "/cdrs", cdr(last_updated=at)),
                ("POST", "/cdrs", cdr(**ended)),
                ("GET", f"/tokens?date_from={quote(at)}&date_to={quote(at)}", None),
            ):
                answer, status = await edge.call(method, f"/emsp/2.2.1{path}", token, body)
                assert (status, answer["status_code"]) == (200, 2001), (method, path, at, answer)
    finally:
        await stop_edge(edge)
