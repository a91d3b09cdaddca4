"""Requests to Stripe and their answers as outcomes: the only file that imports `stripe`.

Owns: the pinned API version, the SDK's client and what its errors say, the circuit breaker, paging. Must not
know: what is requested, our database, our states. SDK retries are off: a repeat is the caller's decision,
under the same idempotency key (docs.stripe.com/api/idempotent_requests). The SDK encodes, signs in, sends and
names errors; answers are decoded from their bytes, for building its objects costs more than the request does.
"""

import hashlib
import hmac
import io
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import aiohttp
import msgspec
import stripe

from gateway.payments.circuit_breaker import CircuitBreaker
from gateway.payments.psp.failures import Declined, PspMisconfigured, PspOutcomeUnknown
from gateway.payments.psp.port import (
    PSP_CONFIGURATION,
    FeaturesRefused,
    IncidentReporter,
    PspIncident,
    WebhookRejectedError,
)
from gateway.payments.psp.stripe.errors import KEY_REFUSED, ErrorOutcome, StripeError, outcome_of
from gateway.payments.psp.stripe.responses import StripeList, StripeObject
from gateway.tracing import call_span

API_VERSION: Final = "2026-10-28.endive"
PAGE: Final = 100
_LONGEST_TIME: Final = 18
_KEY_REST_S: Final = 30.0  # a key that was refused is tried again so seldom
HttpClient = stripe.HTTPClient  # replaced in a test or a simulation
_T = TypeVar("_T")
_decoders: Final[dict[Any, msgspec.json.Decoder[Any]]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeReply:
    """An answer as it came, rejections too. `version` is the API version that Stripe says it answers in.

    Status 0: no answer, and `message` says why. `code` and `message` are of an error.
    """

    status: int
    version: str | None = None
    body: bytes = b""
    code: str | None = None
    message: str = ""


class StripeWire:
    """One client of Stripe's API. `base_url` None is Stripe itself; a sandbox is named by its URL.

    `http_client` replaces the SDK's client over sockets, `monotonic` the process's clock.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None = None,
        timeout_s: float = 20.0,
        http_client: stripe.HTTPClient | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        report: IncidentReporter | None = None,
    ) -> None:
        self._report = report
        # Which account, for whoever reads an incident: the same for one key, and nothing of the key itself.
        self.account = f"acct-{hashlib.sha256(api_key.encode()).hexdigest()[:12]}"
        self._key_refused: PspMisconfigured | None = None
        self._key_again_at_s = 0.0
        self._http = http_client or _over_sockets(base_url, timeout_s)
        self._monotonic = monotonic
        self._client = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            http_client=self._http,
            max_network_retries=0,
            base_addresses=cast("Any", {"api": base_url, "files": base_url} if base_url else {}),
        )
        self._circuit = CircuitBreaker()

    @property
    def responding(self) -> bool:
        """Whether the circuit breaker lets calls pass."""
        return not self._circuit.is_open

    async def post(
        self, path: str, answer: type[_T], params: Mapping[str, Any], *, key: str
    ) -> _T | Declined | PspOutcomeUnknown:
        """Change something, under an idempotency key. After a mistake of ours the outcome is unknown."""
        return _later(await self.ask(path, answer, params, key=key))

    async def ask(
        self, path: str, answer: type[_T], params: Mapping[str, Any], *, key: str
    ) -> _T | ErrorOutcome:
        """As `post`, and a mistake of ours is said, for a request that nobody waits to see repeated."""
        call = self._client.raw_request_async("post", path, **params, idempotency_key=key)
        with call_span(f"POST {_shape(path)}", peer__service="psp"):
            return await self._run(call, answer)

    async def upload(
        self, answer: type[_T], *, purpose: str, content: bytes, key: str
    ) -> _T | Declined | PspOutcomeUnknown:
        """Create a file (docs.stripe.com/file-upload): a form of parts, to a host of its own."""
        call = self._client.raw_request_async(
            "post",
            "/v1/files",
            purpose=purpose,
            file=io.BytesIO(content),
            content_type="multipart/form-data",
            base="files",
            idempotency_key=key,
        )
        with call_span("POST /v1/files", peer__service="psp"):
            return _later(await self._run(call, answer))

    async def get(
        self, path: str, answer: type[_T], params: Mapping[str, Any]
    ) -> _T | Declined | PspOutcomeUnknown:
        """Read something."""
        with call_span(f"GET {_shape(path)}", peer__service="psp"):
            return _later(await self._run(self._client.raw_request_async("get", path, **params), answer))

    async def report(self, problem: PspMisconfigured) -> PspMisconfigured:
        """Tell the operator of a mistake of ours; the same problem is returned."""
        if self._report is not None:
            await self._report(PspIncident(code=problem.code, detail=problem.detail, account=self.account))
        return problem

    async def read_each(
        self,
        path: str,
        answer: type[_T],
        do: Callable[[_T], None],
        *,
        params: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> PspOutcomeUnknown | None:
        """Do it for every item of a list, newest first, up to a limit. None: the list answered to its end."""
        async for page in self.pages(path, params=params, limit=limit):
            if isinstance(page, PspOutcomeUnknown):
                return page
            for raw in page:
                do(cast("_T", raw) if answer is msgspec.Raw else _decoder(answer).decode(raw))
        return None

    async def pages(
        self, path: str, *, params: Mapping[str, Any] | None = None, limit: int | None = None
    ) -> AsyncIterator[Sequence[msgspec.Raw] | PspOutcomeUnknown]:
        """A list page by page, newest first, up to a limit; an unknown outcome is the last."""
        left = limit
        query: dict[str, Any] = {**(params or {}), "limit": PAGE if limit is None else min(limit, PAGE)}
        while True:
            page = await self.get(path, StripeList[msgspec.Raw], query)
            if isinstance(page, Declined | PspOutcomeUnknown):
                ours = isinstance(page, PspOutcomeUnknown) and page.ours
                yield PspOutcomeUnknown(reason="the PSP's list did not answer", ours=ours)
                return
            yield page.data[:left]
            left = None if left is None else left - len(page.data)
            if not page.has_more or not page.data or (left is not None and left <= 0):
                return
            query["starting_after"] = _decoder(StripeObject).decode(page.data[-1]).id

    async def exchange(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, *, version: str = API_VERSION
    ) -> StripeReply:
        """Send one request and return its answer uninterpreted, for a check of the account itself."""
        try:
            answer = await self._client.raw_request_async(
                method, path, **(params or {}), stripe_version=version
            )
        except stripe.StripeError as error:
            return StripeReply(
                status=error.http_status or 0,
                version=_version_in(error.headers or {}),
                code=error.code,
                message=error.user_message or type(error).__name__,
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            return StripeReply(status=0, message=type(error).__name__)
        except ValueError:  # the SDK reads the body as JSON
            return StripeReply(status=0, message="an answer that can't be read")
        body = cast("Any", answer).body
        return StripeReply(
            status=answer.code,
            version=_version_in(answer.headers),
            body=body if isinstance(body, bytes) else str(body).encode(),
        )

    async def close(self) -> None:
        """Close the SDK's HTTP session."""
        await cast("Any", self._http).close_async()

    async def _run(self, call: Coroutine[Any, Any, Any], answer: type[_T]) -> _T | ErrorOutcome:
        """Run one request and turn what it raises into an outcome."""
        if self._key_refused is not None and self._monotonic() < self._key_again_at_s:
            call.close()
            return self._key_refused
        if not self._circuit.allows(self._monotonic()):
            call.close()
            return PspOutcomeUnknown(reason="the PSP does not answer; no request is sent for a few seconds")
        outcome = await self._outcome(call, answer)
        if isinstance(outcome, PspOutcomeUnknown):
            self._circuit.silent(self._monotonic())
        else:
            self._circuit.answered()
            self._key_refused = None
        if isinstance(outcome, PspMisconfigured):
            await self.report(outcome)
            if outcome.code == KEY_REFUSED:
                self._key_refused = outcome
                self._key_again_at_s = self._monotonic() + _KEY_REST_S
        return outcome

    async def _outcome(self, call: Coroutine[Any, Any, Any], answer: type[_T]) -> _T | ErrorOutcome:
        try:
            return cast("_T", _decoder(answer).decode((await call).body))
        except stripe.StripeError as error:
            body = error.json_body if isinstance(error.json_body, dict) else {}
            said = body.get("error")
            return outcome_of(
                StripeError(
                    name=type(error).__name__,
                    status=error.http_status,
                    body=said if isinstance(said, dict) else {},
                )
            )
        except msgspec.MsgspecError:
            return PspOutcomeUnknown(reason="an answer that can't be read")
        except (aiohttp.ClientError, TimeoutError) as error:
            return PspOutcomeUnknown(reason=type(error).__name__)


def _shape(path: str) -> str:
    """A path without the ids in it: what spans are named by."""
    return "/".join(
        "{id}" if "_" in part and any(map(str.isdigit, part)) else part for part in path.split("/")
    )


def verify_signature(
    body: bytes,
    signature: str,
    *,
    secrets: Sequence[str],
    tolerance_s: int,
    wall: Callable[[], float] = time.time,
) -> None:
    """Check `Stripe-Signature` over a raw body (docs.stripe.com/webhooks), by the secret of any endpoint.

    The SDK checks text only; a body that is none may be authentic all the same. Raises WebhookRejectedError.
    """
    parts = [part.partition("=")[::2] for part in signature.split(",")]
    times = [value for name, value in parts if name == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdecimal()):
        raise WebhookRejectedError("the signature header names no time")
    signed = b".".join((times[0].encode(), body))
    given = [value.encode(errors="replace") for name, value in parts if name == "v1"]
    expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode() for secret in secrets]
    if not any(hmac.compare_digest(one, other) for one in expected for other in given):
        raise WebhookRejectedError("no signature matches the body")
    if int(times[0][:_LONGEST_TIME]) < wall() - tolerance_s:
        raise WebhookRejectedError("the signature is too old")


def _version_in(headers: Mapping[str, str]) -> str | None:
    return next((value for name, value in headers.items() if name.lower() == "stripe-version"), None)


def _later(outcome: _T | ErrorOutcome) -> _T | Declined | PspOutcomeUnknown:
    """A mistake of ours, for a request that is repeated: it is answered once the mistake is mended."""
    if isinstance(outcome, PspMisconfigured):
        return PspOutcomeUnknown(reason=f"{PSP_CONFIGURATION}: {outcome.code}", ours=True)
    if isinstance(outcome, FeaturesRefused):  # only a hold asks for features
        return PspOutcomeUnknown(reason=f"{PSP_CONFIGURATION}: features", ours=True)
    return outcome


def _decoder(answer: Any) -> msgspec.json.Decoder[Any]:
    """One decoder per shape, built once."""
    known = _decoders.get(answer)
    if known is None:
        known = _decoders[answer] = msgspec.json.Decoder(answer)
    return known


def _over_sockets(base_url: str | None, timeout_s: float) -> stripe.HTTPClient:
    connector = None if base_url is None or base_url.startswith("https") else aiohttp.TCPConnector(limit=100)
    return stripe.AIOHTTPClient(
        timeout=cast("Any", aiohttp.ClientTimeout(total=timeout_s, connect=5)), connector=connector
    )
