"""The edge while a restored database is checked: every request is answered 503 with Retry-After.

Owns: which paths are answered all the same. Must not know: what the check does. Callers repeat the request
under the same Idempotency-Key afterwards; the PSP sends its webhooks again for days.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.api import problems
from gateway.api.problems import ProblemError

_RETRY_AFTER_SECONDS: Final = 60
_ANSWERED: Final = frozenset({"/healthz", "/metrics"})
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _closed(request: web.Request, handler: _Handler) -> web.StreamResponse:
    if request.path in _ANSWERED:
        return await handler(request)
    raise ProblemError(
        problems.UNAVAILABLE,
        "The platform's database was restored and is being checked; nothing is taken until then.",
        headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
    )


def recovery_middlewares(*, closed: bool) -> list[Middleware]:
    """What stands before every handler: nothing, or the closed edge."""
    return [_closed] if closed else []
