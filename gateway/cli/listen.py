"""`networkcore listen`: forward a party's events to a program on this machine, signed as webhooks are.

Owns: the reading of events from now on, and one forwarded message. Must not know: what an event means. A
webhook needs a public https address; a developer's machine has none, so the events are fetched instead.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import aiohttp
import click
from typing_extensions import override

from gateway.cli.api_client import ApiAnswerError, ApiClient, connection_options
from gateway.cli.clock import offline_now
from gateway.cli.command_group import suggestion
from gateway.cli.process import run_async
from gateway.errors import GatewayError
from gateway.webhooks.events import EventType
from gateway.webhooks.signing import (
    SigningKey,
    WebhookScheme,
    new_signing_key,
    public_key_text,
    read_signing_key,
    secret_text,
    signed_headers,
)

_PAGE: Final = 100
_PAUSE_S: Final = 0.5
_OUTAGE_PAUSE_S: Final = 5.0
_ATTEMPTS: Final = 3
_RECEIVER_TIMEOUT: Final = aiohttp.ClientTimeout(total=15)  # as for webhooks
_ACKNOWLEDGED: Final = range(200, 300)
_UUID7_TIME_SHIFT: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """What became of one event at the receiver; `answer` is a status, or why there is none."""

    event: Mapping[str, Any]
    answer: int | str

    @property
    def acknowledged(self) -> bool:
        """Whether the receiver answered as one that has stored the event."""
        return self.answer in _ACKNOWLEDGED

    @override
    def __str__(self) -> str:
        """One line for the terminal."""
        event = self.event
        return f"{event['created']}  {event['type']}  {event['id']}  {event['object_id']}  -> {self.answer}"


@click.command(name="listen")
@connection_options
@click.option(
    "--to",
    "receiver",
    required=True,
    metavar="URL",
    help="Where to send each event, such as http://localhost:3000/hooks.",
)
@click.option("--events", default="*", help="Types, separated by commas; all unless given.")
@click.option(
    "--secret",
    envvar="WEBHOOK_SECRET",
    help="Sign with this whsec_ secret or whsk_ private key; unless given, a fresh one.",
)
@click.option(
    "--signature",
    type=click.Choice([one.value for one in WebhookScheme]),
    help="How a fresh key signs: v1 with a shared secret, v1a with Ed25519.",
)
@click.option(
    "--after", metavar="EVENT_ID", help="Begin behind this event; unless given, with what happens now."
)
@click.option("--count", type=click.IntRange(min=1), help="End after so many events.")
def command(
    *,
    url: str,
    api_key: str,
    receiver: str,
    events: str,
    secret: str | None,
    signature: str | None,
    after: str | None,
    count: int | None,
) -> None:
    """Forward a party's events to a program on this machine, signed as webhooks are."""
    if not receiver.startswith(("http://", "https://")):
        raise click.UsageError(f"--to {receiver!r} is no URL: it begins with http:// or https://")
    if secret is not None and signature is not None:
        raise click.UsageError("--signature is for a fresh key; the beginning of --secret says how it signs")
    scheme = WebhookScheme(signature or WebhookScheme.SYMMETRIC)
    signing = new_signing_key(scheme) if secret is None else read_secret(secret)
    click.echo(describe_key(signing, fresh=secret is None))
    types = None if events == "*" else read_types(events)
    try:
        run_async(_listen(url, api_key, receiver, types=types, signing=signing, after=after, count=count))
    except KeyboardInterrupt:
        click.echo("Stopped.")


def read_secret(text: str) -> SigningKey:
    """The key of a `whsec_` or `whsk_` text. Raises click.UsageError; the text is not shown."""
    try:
        return read_signing_key(text)
    except ValueError:
        raise click.UsageError("--secret is no signing secret: it is whsec_ or whsk_ and base64") from None


def describe_key(key: SigningKey, *, fresh: bool) -> str:
    """What the receiver configures: a fresh secret, or the public key of an asymmetric one."""
    if key.public_key is not None:
        return f"Public key: {public_key_text(key.public_key)}"
    return f"Signing secret: {secret_text(key.secret)}" if fresh else "Signing with your secret."


def read_types(text: str) -> str:
    """Event types, separated by commas, as the API takes them. Raises click.UsageError for an unknown one."""
    known = [one.value for one in EventType]
    wanted = [one.strip() for one in text.split(",")]
    for one in wanted:
        if one not in known:
            raise click.UsageError(f"--events: there is no event {one!r}{suggestion(one, known)}")
    return ",".join(wanted)


def first_cursor(server_time: datetime) -> str:
    """A cursor behind which are the events from about `server_time` on: ids of events grow with time."""
    milliseconds = int((server_time - timedelta(seconds=1)).timestamp() * 1000)
    return str(UUID(int=milliseconds << _UUID7_TIME_SHIFT))


async def _listen(
    url: str,
    api_key: str,
    receiver: str,
    *,
    types: str | None,
    signing: SigningKey,
    after: str | None,
    count: int | None,
) -> None:
    wanted = {} if types is None else {"type": types}
    left = count
    async with ApiClient(url, api_key) as api, aiohttp.ClientSession(timeout=_RECEIVER_TIMEOUT) as local:
        cursor = after
        if cursor is None:
            await api.get("/v1/events", limit=1, **wanted)
            cursor = first_cursor(api.server_time or offline_now())
        click.echo(f"Events of {url} go to {receiver}; Ctrl-C stops.")
        while left is None or left > 0:
            page = await _next_page(api, cursor, wanted)
            for event in page[:left]:
                click.echo(str(await forward(local, receiver, event, signing=signing)))
                cursor = event["id"]
            left = None if left is None else left - len(page[:left])
            if len(page) < _PAGE and left != 0:
                await asyncio.sleep(_PAUSE_S)
        click.echo(f"Last event: {cursor}; go on with --after {cursor}.")


async def _next_page(api: ApiClient, cursor: str, wanted: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
    """Events after the cursor, oldest first; while the gateway is away, none."""
    try:
        page = await api.get("/v1/events", limit=_PAGE, cursor=cursor, **wanted)
    except ApiAnswerError:
        raise
    except GatewayError as error:
        click.echo(f"{error}; asking again", err=True)
        await asyncio.sleep(_OUTAGE_PAUSE_S)
        return []
    data: Sequence[Mapping[str, Any]] = page["data"]
    return data


async def forward(
    session: aiohttp.ClientSession, receiver: str, event: Mapping[str, Any], *, signing: SigningKey
) -> Forwarded:
    """Send one event as its webhook would be, up to three times; the last answer."""
    body = json.dumps(event, separators=(",", ":")).encode()
    answer: int | str = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            await asyncio.sleep(_PAUSE_S * attempt)
        headers = signed_headers(message_id=event["id"], at=offline_now(), body=body, signing=[signing])
        headers["Content-Type"] = "application/json"
        try:
            async with session.post(receiver, data=body, headers=headers, allow_redirects=False) as response:
                answer = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            answer = f"no answer ({type(error).__name__})"
        if answer in _ACKNOWLEDGED:
            break
    return Forwarded(event=event, answer=answer)
