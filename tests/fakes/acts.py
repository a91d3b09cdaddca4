"""The rule that every administrative operation leaves its acts, checked behind each call of any test.

A test that needs to break it says so itself; none does.
"""

import re
from collections.abc import Mapping
from functools import cache

from gateway.api.endpoint import ApiEndpoint
from gateway.api.operation_scopes import is_administrative
from gateway.api.routes import endpoints
from gateway.database import Pool

# They may write nothing of ours: what they were asked for was so before, or is the PSP's.
MAY_CHANGE_NOTHING = frozenset(
    {
        "createAgreement",
        "createOnboardingLink",
        "rescheduleDueDates",
        "runDisbursements",
        "topUpTreasury",
    }
)


@cache
def _patterns() -> list[tuple[str, re.Pattern[str], ApiEndpoint]]:
    found = []
    for endpoint in endpoints(sandbox=True):
        parts = re.split(r"\{\w+(?::((?:[^{}]|\{[^{}]*\})+))?\}", endpoint.path)
        literals, patterns = parts[::2], [*(one or "[^/]+" for one in parts[1::2]), ""]
        text = "".join(
            f"{re.escape(literal)}(?:{pattern})" for literal, pattern in zip(literals, patterns, strict=True)
        )
        found.append((endpoint.method, re.compile(text), endpoint))
    return found


def operation_of(method: str, path: str) -> str | None:
    """The operation that a request calls."""
    place = path.partition("?")[0]
    for of, pattern, endpoint in _patterns():
        if of == method and pattern.fullmatch(place):
            return endpoint.operation
    return None


def is_checked(method: str, path: str) -> bool:
    """Whether the request is one that must leave an act."""
    operation = None if method == "GET" else operation_of(method, path)
    return operation is not None and is_administrative(operation)


async def last_act(pool: Pool) -> int:
    """The newest act's number."""
    async with pool.acquire() as connection:
        return int(await connection.fetchval("SELECT coalesce(max(id), 0) FROM gateway.admin_act"))


async def check_acts(pool: Pool, method: str, path: str, headers: Mapping[str, str], *, since: int) -> None:
    """Fail where the operation left no act since the act `since`, or one that does not name who asked."""
    operation = operation_of(method, path)
    if "Idempotent-Replayed" in headers:
        return
    async with pool.acquire() as connection:
        acts = await connection.fetch("SELECT * FROM gateway.admin_act WHERE id > $1", since)
    ours = [act for act in acts if act["request_id"] == headers["X-Request-Id"]]
    assert ours or operation in MAY_CHANGE_NOTHING, f"{operation} left no act"
    assert {act["operation"] for act in ours} <= {operation}
    assert all(act["principal"] and act["key_prefix"] and act["path"] for act in ours), operation
    lost = [act["object_table"] for act in acts if act["operation"] is None]
    assert lost == [], f"{operation} changed {lost} in no transaction of its own"
