"""The PSP's own SDK with no socket below it: requests go to the sandbox engine in this process.

Owns: what of a request gets through and what of its answer comes back. Must not know: what is requested, or
why it is disturbed. A verdict is given for each request, and may suspend it, cancel it or lose it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, cast
from urllib.parse import urlsplit

import stripe
from typing_extensions import override

from gateway.payments.psp.stripe.adapter import StripePsp
from sandbox.stripe.access import PspRequest
from sandbox.stripe.engine import PspEngine

BASE_URL: Final = "http://psp.in-process"
API_KEY: Final = "sk_test_sandbox"
WEBHOOK_SECRET: Final = "whsec_simulated"


class Verdict(StrEnum):
    """What becomes of one request."""

    DELIVER = "deliver"
    LOST_BEFORE = "lost_before"  # never arrived: timeout or reset before the effect
    LOST_AFTER = "lost_after"  # took effect; the answer never came
    ERROR_BEFORE = "error_before"  # 500 without the effect
    ERROR_AFTER = "error_after"  # 500 after the effect
    RATE_LIMITED = "rate_limited"  # 429


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRequest:
    """One request as the verdict sees it."""

    method: str
    path: str

    @property
    def moves(self) -> bool:
        """Whether it may change something at the PSP."""
        return self.method == "POST"


async def deliver(_seen: SeenRequest) -> Verdict:
    """Let everything through."""
    return Verdict.DELIVER


@dataclass(slots=True, kw_only=True)
class Wire:
    """The seam between SDK and engine; `verdict` is called before a request, `answered` after its effect."""

    engine: PspEngine
    verdict: Callable[[SeenRequest], Awaitable[Verdict]] = deliver
    answered: Callable[[SeenRequest], Awaitable[None]] | None = None


class InProcessClient(stripe.HTTPClient):
    """An HTTP client of the SDK over a Wire."""

    name = "in-process"

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    @override
    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One request, or stripe.APIConnectionError where its answer is lost."""
        parts = urlsplit(url)
        sent = SeenRequest(method=method.upper(), path=parts.path)
        verdict = await self._wire.verdict(sent)
        if verdict is Verdict.LOST_BEFORE:
            raise _lost("no connection")
        if verdict is Verdict.ERROR_BEFORE:
            return _error(500)
        if verdict is Verdict.RATE_LIMITED:
            return _error(429)
        body = post_data.encode() if isinstance(post_data, str) else (post_data or b"")
        reply = self._wire.engine.handle(
            PspRequest(
                method=sent.method,
                path=parts.path,
                query=parts.query,
                headers={name.lower(): value for name, value in headers.items()},
                body=body,
            )
        )
        if self._wire.answered is not None:
            await self._wire.answered(sent)
        if verdict is Verdict.LOST_AFTER or reply.lost is not None:
            raise _lost("the answer never came")
        if verdict is Verdict.ERROR_AFTER:
            return _error(500)
        return reply.body, reply.status, reply.headers

    @override
    async def close_async(self) -> None:
        """Nothing is open."""


def stripe_over(wire: Wire, *, monotonic: Callable[[], float]) -> StripePsp:
    """The real adapter over a wire."""
    return StripePsp(
        api_key=API_KEY,
        webhook_secret=WEBHOOK_SECRET,
        base_url=BASE_URL,
        http_client=InProcessClient(wire),
        monotonic=monotonic,
    )


def _error(status: int) -> tuple[bytes, int, Mapping[str, str]]:
    kind = "invalid_request_error" if status == 429 else "api_error"
    body = f'{{"error":{{"type":"{kind}","message":"injected","code":null}}}}'
    return body.encode(), status, {"Request-Id": "req_injected"}


def _lost(why: str) -> stripe.APIConnectionError:
    return cast("Any", stripe.APIConnectionError)(why)  # type: ignore[no-any-return]
