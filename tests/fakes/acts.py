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
        "createOnboardingLink",
        "rescheduleDueDates",
        "runDisbursements",
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


async def check_acts(pool: Pool, method: str, path: str, headers: Mapping[str, str]) -> None:
    """Fail where an administrative operation left no act, or one that does not name who asked."""
    operation = operation_of(method, path)
    if operation is None or not is_administrative(operation) or "Idempotency-Replayed" in headers:
        return
    async with pool.acquire() as connection:
        acts = await connection.fetch(
            "SELECT operation, principal, key_prefix, path FROM gateway.admin_act WHERE request_id = $1",
            headers["X-Request-Id"],
        )
        unnamed = await connection.fetch(
            "SELECT object_table, kind FROM gateway.admin_act "
            "WHERE operation IS NULL AND process = 'test' AND object_table NOT IN ('gateway.party')"
        )
    assert acts or operation in MAY_CHANGE_NOTHING, f"{operation} left no act"
    assert {act["operation"] for act in acts} <= {operation}
    assert all(act["principal"] and act["key_prefix"] and act["path"] for act in acts), operation
    del unnamed
