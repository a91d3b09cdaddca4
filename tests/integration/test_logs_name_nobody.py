"""No log line and no metric names a person, whatever a request's path, query or body says."""

import base64
import io
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from urllib.parse import quote, urlencode

import aiohttp
import pytest
import structlog
from aiohttp import web

from gateway.config import LogFormat, LogLevel
from gateway.database import Pool
from gateway.logs import configure_logs
from tests.fakes.api import Api, open_api
from tests.fakes.ocpi_edge import start_edge, stop_edge
from tests.fakes.request_samples import operations

PERSONAL = ("jo.driver@example.com", "DE-8AA-CA2B3C4D5-N", "DE8AACA2B3C4D5", "04A1B2C3D4E5F6", "Jo Driver")
_PARAMETER = re.compile(r"\{[^}]*\}")
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Every line of ours and of the libraries, as a process writes them, at the most talkative level."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs(log_format=LogFormat.JSON, log_level=LogLevel.DEBUG, stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
async def api(pool: Pool) -> AsyncIterator[Api]:
    async with open_api(pool) as opened:
        yield opened


def routes_of(app: web.Application) -> list[tuple[str, str]]:
    """Every method and path that an application answers."""
    found = []
    for route in app.router.routes():
        resource = route.resource
        if resource is not None and route.method != "HEAD":
            found.append(("GET" if route.method == "*" else route.method, resource.canonical))
    return sorted(set(found))


def named_in(text: str) -> set[str]:
    """The personal values in a text, in any of the forms in which a URL holds them."""
    lowered = text.lower()
    return {
        one
        for one in PERSONAL
        if {one.lower(), quote(one, safe="").lower(), quote(one, safe="@").lower()} & _parts(lowered, one)
    }


def _parts(text: str, one: str) -> set[str]:
    forms = {one.lower(), quote(one, safe="").lower(), quote(one, safe="@").lower()}
    return {form for form in forms if form in text}


async def test_every_request_of_the_api_is_logged_without_whom_it_names(api: Api, lines: io.StringIO) -> None:
    queries = {(one.method, one.template): one.query for one in operations()}
    sent = 0
    for method, path in routes_of(api.client.app):  # type: ignore[arg-type]
        for number, value in enumerate(PERSONAL):
            filled = _PARAMETER.sub(quote(value, safe=""), path)
            names = (*queries.get((method, path), ()), "email", "q")
            target = f"{filled}?{urlencode(dict.fromkeys(names, value))}"
            party = ("admin", "parking", "DE-ABC", None)[number % 4]
            body = None if method == "GET" else {"email": value, "uid": value, "emaid": value}
            if path == "/metrics":
                continue
            answer = await api.call(method, target, body, party=party)
            assert answer.status < 500 or answer.status in {503, 504}, (method, path, answer.text[:300])
            sent += 1
    logged = lines.getvalue()
    assert logged.count('"request"') >= sent * 0.9  # almost every one leaves a line
    assert named_in(logged) == set(), next(line for line in logged.splitlines() if named_in(line))[:600]
    metrics = await api.call("GET", "/metrics", party="admin")
    assert metrics.status == 200
    assert named_in(metrics.text) == set()
    assert 'path="/v1/customers/{id}"' in metrics.text


async def test_every_request_of_an_operator_is_logged_without_whom_it_names(
    pool: Pool, lines: io.StringIO
) -> None:
    edge = await start_edge(pool)
    try:
        token, known = await edge.register("DE-ABC"), 0
        for method, path in routes_of(edge.server.app):
            for value in PERSONAL:
                filled = _PARAMETER.sub(quote(value, safe=""), path)
                address = (
                    f"http://127.0.0.1:{edge.server.port}{filled}?{urlencode({'uid': value, 'type': value})}"
                )
                headers = {
                    "Authorization": f"Token {base64.b64encode(token.encode()).decode()}",
                    "X-Request-ID": "1",
                    "X-Correlation-ID": "1",
                }
                body = None if method == "GET" else json.dumps({"uid": value, "contract_id": value})
                async with edge.http.request(method, address, data=body, headers=headers) as answer:
                    await answer.read()
                    assert answer.status < 500, (method, path)
                    known += answer.status != HTTPStatus.UNAUTHORIZED
    except aiohttp.ClientError:
        pytest.fail("the edge closed the connection")
    finally:
        await stop_edge(edge)
    assert known > 100  # these passed the door
    logged = lines.getvalue()
    assert logged
    assert named_in(logged) == set(), next(line for line in logged.splitlines() if named_in(line))[:600]
