"""One signed request to one receiver, and what its answer means.

Owns: the message's bytes and the reading of an answer. Must not know the database or when to try again. A
2xx acknowledges; 410 means never again; any other answer, and none, means later. Redirects are not
followed, the body of an answer is not kept.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import aiohttp

from gateway.errors import GatewayError
from gateway.ids import format_id
from gateway.outbound import AnswerTooLargeError, read_bounded
from gateway.tracing import add_traceparent, call_span
from gateway.webhooks.delivery_queue import ClaimedDelivery
from gateway.webhooks.events import API_VERSION
from gateway.webhooks.retry import read_retry_after
from gateway.webhooks.signing import signed_headers

TIMEOUT_SECONDS: Final = 15.0
_ANSWER_BYTES: Final = 65_536
_ERROR_LENGTH: Final = 200
_GONE: Final = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The receiver acknowledged."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointGone:
    """The receiver wants no further events."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAcknowledged:
    """No acknowledgment: an answer that is not 2xx, or none at all (`status` None)."""

    status: int | None
    reason: str
    retry_after: timedelta | None = None


SendOutcome = Acknowledged | EndpointGone | NotAcknowledged


def message_body(delivery: ClaimedDelivery) -> bytes:
    """The event's JSON: the same bytes at every attempt, with the object's own JSON passed through."""
    created = delivery.created_at.isoformat().replace("+00:00", "Z")
    head = (
        f'{{"id":"{format_id("evt", delivery.event_id)}","object":"event","type":"{delivery.type}",'
        f'"api_version":"{API_VERSION}","created":"{created}","timestamp":"{created}",'
        f'"object_id":"{delivery.object_id}","data":'
    )
    return head.encode() + delivery.data.encode() + b"}"


async def send(
    client: aiohttp.ClientSession,
    delivery: ClaimedDelivery,
    *,
    signing: Sequence[bytes],
    wall_now: datetime,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> tuple[SendOutcome, int]:
    """Send one event, signed with each secret of `signing`; the outcome and the milliseconds it took.

    Never raises for what a receiver may do.
    """
    body = message_body(delivery)
    headers = signed_headers(
        message_id=format_id("evt", delivery.event_id), at=wall_now, body=body, signing=signing
    )
    headers["Content-Type"] = "application/json"
    started = time.perf_counter()
    with call_span("POST webhook", parent=delivery.traceparent, event__type=delivery.type):
        add_traceparent(headers)
        outcome = await _post(
            client, delivery.url, body, headers, now=wall_now, timeout_seconds=timeout_seconds
        )
    return outcome, round((time.perf_counter() - started) * 1000)


async def _post(
    client: aiohttp.ClientSession,
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    now: datetime,
    timeout_seconds: float,
) -> SendOutcome:
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            client.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            status = response.status
            retry_after = read_retry_after(response.headers.get("Retry-After"), now=now)
            await _drain(response)
    except TimeoutError:
        return NotAcknowledged(status=None, reason=f"no answer within {timeout_seconds:g} s")
    except (aiohttp.ClientError, OSError, GatewayError, ValueError) as error:
        return NotAcknowledged(status=None, reason=_short(error))
    if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110: the class of success
        return Acknowledged(status=status)
    if status == _GONE:
        return EndpointGone(status=status)
    if 300 <= status < 400:  # noqa: PLR2004 - RFC 9110: the class of redirection
        return NotAcknowledged(status=status, reason="answered with a redirect, which is not followed")
    return NotAcknowledged(status=status, reason=f"answered {status}", retry_after=retry_after)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a short answer, so that the connection serves again; a long or broken one is cut off."""
    try:
        await read_bounded(response, limit=_ANSWER_BYTES)
    except (AnswerTooLargeError, aiohttp.ClientError):
        response.close()


def _short(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _ERROR_LENGTH else f"{text[:_ERROR_LENGTH]}..."
