"""Whatever is sent to whichever endpoint: an answer that says what is wrong, never a 500."""

import json
import random
import re
from collections.abc import Iterator
from typing import Any

from gateway.api.endpoint import ApiEndpoint
from gateway.api.routes import endpoints
from gateway.database import Pool
from gateway.ids import format_id, new_id
from tests.fakes.api import open_api

VALUES: list[Any] = [
    None,
    "",
    "\x00",
    "x" * 400,
    -1,
    10**30,
    1.5,
    True,
    [],
    ["\x00"],
    {},
    {"type": "psp_payment_method", "payment_method": "\x00"},
    "2026-13-45T99:00:00Z",
    "EUR",
    "DE-ABC",
    "ä\u202e",
]
BODIES = [b"", b"null", b"5", b'"x"', b"[]", b"{", b"\xff", b"[" * 3000, b'{"a":1e999}', b"{}"]
PREFIXES = ("auth", "ses", "cap", "dis", "whe", "evt", "key", "ref", "dsp")


def paths(endpoint: ApiEndpoint, chance: random.Random) -> str:
    """A path of the endpoint with something in each place."""
    template = re.sub(r"\{(\w+):((?:[^{}]|\{[^{}]*\})+)\}", lambda match: f"<{match[2]}>", endpoint.path)
    for pattern, value in (
        ("<[A-Z]{3}>", "EUR"),
        ("<2\\.0\\.1|2\\.1>", "2.1"),
        ("<block|unblock|cancel>", "block"),
    ):
        template = template.replace(pattern, value)
    things = ["x", "%00", "%2e%2e", "DE-ABC", "%F0%9F%94%8C", "a" * 300]
    things += [format_id(prefix, new_id()) for prefix in PREFIXES]
    return re.sub(r"\{\w+\}", lambda _: chance.choice(things), template)


def bodies(endpoint: ApiEndpoint, chance: random.Random) -> Iterator[bytes]:
    yield chance.choice(BODIES)
    names = list(endpoint.body.model_fields) if endpoint.body is not None else []
    for _ in range(6):
        yield json.dumps({name: chance.choice(VALUES) for name in names if chance.random() < 0.8}).encode()


async def test_no_endpoint_breaks_on_garbage(pool: Pool) -> None:
    chance = random.Random(20261122)
    async with open_api(pool) as api:
        for endpoint in endpoints(sandbox=True):
            for number, body in enumerate(bodies(endpoint, chance)):
                path = paths(endpoint, chance)
                if endpoint.query is not None:
                    name = chance.choice([*endpoint.query.model_fields, "other"])
                    path += f"?{name}={chance.choice(['', '%00', '-1', 'x', '9' * 40, 'a,b', 'DE-ABC'])}"
                sent = None if endpoint.method in {"GET", "DELETE"} else body
                answer = await api.call(
                    endpoint.method, path, sent, party="admin", key=f"{endpoint.operation}-{number}"
                )
                seen = (endpoint.operation, path, sent, answer.text)
                assert answer.status < 500 or answer.json["code"] == "unavailable", seen
                if answer.status >= 400:
                    assert answer.headers["Content-Type"] == "application/problem+json", seen
                    assert answer.json["detail"], seen


async def test_money_for_an_unknown_party_or_currency_moves_nothing(pool: Pool) -> None:
    async with open_api(pool) as api:
        for path in (
            "/v1/partner-accounts/nobody/EUR/fundings",
            "/v1/partner-accounts/superapp/XXX/fundings",
        ):
            body = {"amount": 1, "reference": "r"}
            rejected = await api.call("POST", path, body, party="admin", key=path)
            assert rejected.status in {400, 404}, rejected.text
        body = {"amount": 1, "reference": "r", "currency": "QQQ"}
        rejected = await api.call("POST", "/v1/treasury/topups", body, party="admin", key="t")
        assert rejected.status == 400
        assert api.psp.calls == []
