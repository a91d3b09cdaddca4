"""One signed request to one receiver, and what its answer means.

Owns: the message's bytes and the reading of an answer. Must not know the database or when to try again. A
2xx acknowledges; 410 means never again; any other answer, and none, means later. Redirects are not
followed. How the body of an answer begins is kept for the receiver's owner, without card numbers and without
the endpoint's own headers; nothing of it is logged.
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import aiohttp

from gateway.api_versions import NEWEST, VERSIONS
from gateway.card_numbers import mask_card_numbers
from gateway.errors import GatewayError
from gateway.ids import format_id
from gateway.tracing import add_traceparent, call_span
from gateway.version_rules import bytes_in_version
from gateway.webhooks.delivery_queue import ClaimedDelivery
from gateway.webhooks.own_headers import mask_values
from gateway.webhooks.retry import read_retry_after
from gateway.webhooks.signing import SigningKey, signed_headers

TIMEOUT_SECONDS: Final = 15.0
KEPT_ANSWER_BYTES: Final = 1024
_ANSWER_BYTES: Final = 65_536
_READ_FOR_MASKING: Final = 2 * KEPT_ANSWER_BYTES  # what is masked may reach over the end of what is kept
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How the body of an answer begins, as text of at most 1 KiB; `cut`: there was more."""

    text: str = field(repr=False)
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessage:
    """What became of one message, how long it took, and the body of the answer; None: it had none."""

    outcome: SendOutcome
    duration_ms: int
    answer: Answer | None = None

    def without_text(self) -> "SentMessage":
        """The outcome without what the receiver, or its connection, said."""
        outcome = self.outcome
        if isinstance(outcome, NotAcknowledged):
            outcome = replace(outcome, reason="what came can't be stored")
        return replace(self, outcome=outcome, answer=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageProof:
    """What proves and accompanies a message: the keys that sign it, and the endpoint's own headers."""

    signing: Sequence[SigningKey]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def message_body(delivery: ClaimedDelivery) -> bytes:
    """The event's JSON: the same bytes at every attempt, with the object's own JSON passed through.

    An endpoint of an older version gets the object as it was then.
    """
    created = delivery.created_at.isoformat().replace("+00:00", "Z")
    version = delivery.api_version
    if VERSIONS.find(version) is None:
        version = NEWEST  # of a later release of this program, which ran beside it
    data = bytes_in_version(VERSIONS, delivery.data.encode(), version=version)
    head = (
        f'{{"id":"{format_id("evt", delivery.event_id)}","object":"event","type":"{delivery.type}",'
        f'"api_version":"{version}","created":"{created}","timestamp":"{created}",'
        f'"object_id":"{delivery.object_id}","data":'
    )
    return head.encode() + data + b"}"


async def send(
    client: aiohttp.ClientSession,
    delivery: ClaimedDelivery,
    *,
    proof: MessageProof,
    wall_now: datetime,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> SentMessage:
    """Send one event, signed with each key in force. Never raises for what a receiver may do."""
    body = message_body(delivery)
    headers = dict(proof.headers)
    headers |= signed_headers(
        message_id=format_id("evt", delivery.event_id), at=wall_now, body=body, signing=proof.signing
    )
    headers["Content-Type"] = "application/json"
    started = time.perf_counter()
    with call_span("POST webhook", parent=delivery.traceparent, event__type=delivery.type):
        add_traceparent(headers)
        outcome, content = await _post(
            client, delivery.url, body, headers, now=wall_now, timeout_seconds=timeout_seconds
        )
    return SentMessage(
        outcome=outcome,
        duration_ms=round((time.perf_counter() - started) * 1000),
        answer=kept_answer(content, hidden=proof.headers),
    )


def kept_answer(content: bytes, *, hidden: Mapping[str, str]) -> Answer | None:
    """What is kept of an answer's body: its first KiB as text, without card numbers and values of headers."""
    if not content:
        return None
    text = _CONTROL.sub("\ufffd", content[:_READ_FOR_MASKING].decode("utf-8", "replace"))
    text = mask_card_numbers(mask_values(text, hidden))
    kept = text.encode()[:KEPT_ANSWER_BYTES].decode("utf-8", "ignore")
    return Answer(text=kept, cut=len(content) > _READ_FOR_MASKING or kept != text)


async def _post(
    client: aiohttp.ClientSession,
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    now: datetime,
    timeout_seconds: float,
) -> tuple[SendOutcome, bytes]:
    """The outcome, and how the body of the answer begins."""
    content = bytearray()
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            client.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            status = response.status
            retry_after = read_retry_after(response.headers.get("Retry-After"), now=now)
            await _read(response, content)
    except TimeoutError:
        return NotAcknowledged(status=None, reason=f"no answer within {timeout_seconds:g} s"), bytes(content)
    except (aiohttp.ClientError, OSError, GatewayError, ValueError) as error:
        return NotAcknowledged(status=None, reason=_short(error)), bytes(content)
    return _outcome(status, retry_after), bytes(content)


def _outcome(status: int, retry_after: timedelta | None) -> SendOutcome:
    if 200 <= status < 300:  # noqa: PLR2004 - RFC 9110: the class of success
        return Acknowledged(status=status)
    if status == _GONE:
        return EndpointGone(status=status)
    if 300 <= status < 400:  # noqa: PLR2004 - RFC 9110: the class of redirection
        return NotAcknowledged(status=status, reason="answered with a redirect, which is not followed")
    return NotAcknowledged(status=status, reason=f"answered {status}", retry_after=retry_after)


async def _read(response: aiohttp.ClientResponse, content: bytearray) -> None:
    """Read a short answer, so that the connection serves again; a long or broken one is cut off."""
    size = 0
    try:
        async for part in response.content.iter_chunked(_ANSWER_BYTES):
            size += len(part)
            content += part[: max(0, _READ_FOR_MASKING + 1 - len(content))]
            if size > _ANSWER_BYTES:
                response.close()
                return
    except aiohttp.ClientError:
        response.close()


def _short(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _ERROR_LENGTH else f"{text[:_ERROR_LENGTH]}..."
