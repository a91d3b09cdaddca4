"""The edge while a restored database is checked: every request is answered 503 with Retry-After.

Owns: which paths are answered all the same. Must not know: what the check does. Callers repeat the request
under the same Idempotency-Key afterwards. While the workers run again, operators may send the CDRs that price
what was restored, and the PSP its events; payments stay closed until the books agree.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.settings.operations import RecoveryMode

_RETRY_AFTER_SECONDS: Final = 60
_ANSWERED: Final = ("/healthz", "/metrics")
_ANSWERED_WORKING: Final = (*_ANSWERED, "/ocpi/", "/v1/psp/webhooks")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def recovery_middlewares(mode: RecoveryMode) -> list[Middleware]:
    """What stands before every handler: nothing, or the closed edge."""
    if mode is RecoveryMode.OFF:
        return []
    answered = _ANSWERED if mode is RecoveryMode.CLOSED else _ANSWERED_WORKING

    @web.middleware
    async def closed(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path.startswith(answered):
            return await handler(request)
        raise ProblemError(
            problems.UNAVAILABLE,
            "The platform's database was restored and is being checked; nothing is taken until then.",
            headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
        )

    return [closed]
