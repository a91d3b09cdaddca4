"""Reads a Stripe account for `networkcore psp check`, and creates its webhook endpoints.

Owns: the requests and what their answers say. Must not know: what is right (account_check). Every request but
those of `create_webhooks` is a read; none charges anything.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

import msgspec

from gateway.payments.psp.stripe.account_facts import (
    READS,
    AccountFacts,
    ConnectedAccount,
    PublishableKey,
    ReadState,
    ResourceRead,
    SentEvent,
    StripeAccount,
    StripeKey,
    StripeKeyKind,
    StripeWebhookEndpoint,
)
from gateway.payments.psp.stripe.event_types import ACCOUNT_EVENTS, CONNECT_EVENTS
from gateway.payments.psp.stripe.responses import StripeList
from gateway.payments.psp.stripe.wire import API_VERSION, HttpClient, StripeReply, StripeWire

# The settlement currencies are read in the preview of the pinned version; the version itself lacks them.
PREVIEW_VERSION: Final = f"{API_VERSION.partition('.')[0]}.preview"
_OK: Final = 200
_MISSING: Final = 404
_UNAUTHENTICATED: Final = 401
_FORBIDDEN: Final = 403
_PERMISSION: Final = re.compile(r"'(rak_\w+)'")  # as Stripe names the one that a restricted key lacks
_KEY: Final = re.compile(r"(sk|rk|pk)_(live|test)_")
_NO_LISTS: Final = frozenset({"account", "balance", "balance_settings", "mandates", "payment_methods"})
_PAGE: Final = 100
_PAGES: Final = 10
# The events that every payment causes: what became of them says whether the endpoint accepts its deliveries.
_OF_PAYMENTS: Final = sorted(name for name in ACCOUNT_EVENTS if name.startswith("payment_intent."))
_EVENTS: Final = 20
_MARK: Final = "networkcore"  # metadata of the endpoints that we create: account, connect
_SHOWN: Final = 200  # characters of an error's message


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChange:
    """What became of one endpoint. `secret` is shown once, by Stripe and by us; None: unchanged, or none.

    `action`: created, updated, failed (then `detail` is why, else the endpoint's id).
    """

    connect: bool
    action: str
    detail: str
    secret: str | None = None
    replaced: str | None = None  # an endpoint in another version, which is to be deleted


class _Payments(msgspec.Struct):
    settlement_currencies: dict[str, str] | None = None


class _BalanceSettings(msgspec.Struct):
    payments: _Payments | None = None


class _Funds(msgspec.Struct):
    currency: str


class _Balance(msgspec.Struct):
    livemode: bool
    available: list[_Funds] = []
    pending: list[_Funds] = []


class _Requirements(msgspec.Struct):
    disabled_reason: str | None = None
    currently_due: list[str] | None = None


class _CardSettings(msgspec.Struct):
    statement_descriptor_prefix: str | None = None


class _Settings(msgspec.Struct):
    card_payments: _CardSettings | None = None


class _Account(msgspec.Struct):
    id: str
    country: str | None = None
    default_currency: str | None = None
    charges_enabled: bool | None = None
    payouts_enabled: bool | None = None
    capabilities: dict[str, str] | None = None
    requirements: _Requirements | None = None
    settings: _Settings | None = None


class _Endpoint(msgspec.Struct):
    id: str
    url: str
    status: str
    enabled_events: list[str]
    created: int = 0
    api_version: str | None = None
    application: str | None = None
    metadata: dict[str, str] | None = None
    secret: str | None = None


class _Event(msgspec.Struct):
    type: str
    created: int
    pending_webhooks: int


class _Intent(msgspec.Struct):
    id: str
    client_secret: str | None = None


class _Connected(TypedDict):
    connected: Sequence[ConnectedAccount] | None
    all_connected: bool


def read_key(key: str) -> StripeKey:
    """What a key is by its prefix; the rest of it is never looked at."""
    match = _KEY.match(key)
    if match is None:
        return StripeKey(kind=StripeKeyKind.OTHER, live=None)
    return StripeKey(kind=StripeKeyKind(match[1]), live=match[2] == "live")


class AccountReader:
    """Gathers the facts of one account. `publishable_key` is tried where it is given.

    `http_client` replaces the SDK's client over sockets.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None,
        timeout_s: float,
        publishable_key: str | None = None,
        http_client: HttpClient | None = None,
    ) -> None:
        self._key = api_key
        self._publishable_key = publishable_key

        def wire(key: str) -> StripeWire:
            return StripeWire(api_key=key, base_url=base_url, timeout_s=timeout_s, http_client=http_client)

        self._wire = wire(api_key)
        self._public = wire(publishable_key) if publishable_key else None

    async def close(self) -> None:
        """Release connections."""
        await self._wire.close()
        if self._public is not None:
            await self._public.close()

    async def read(self) -> AccountFacts:
        """Read everything once, a few requests at a time."""
        turn = asyncio.Semaphore(4)

        async def one(name: str) -> StripeReply:
            params: dict[str, Any] | None = None if name in _NO_LISTS else {"limit": 1}
            if name in {"webhook_endpoints", "connected_accounts"}:
                params = {"limit": _PAGE}
            elif name == "events":
                params = {"limit": _EVENTS, "types": _OF_PAYMENTS}
            async with turn:
                return await self._wire.exchange("get", READS[name], params)

        answers = dict(zip(READS, await asyncio.gather(*map(one, READS)), strict=True))
        balance = _decoded(answers["balance"], _Balance)
        endpoints = _decoded(answers["webhook_endpoints"], StripeList[_Endpoint])
        return AccountFacts(
            key=read_key(self._key),
            reads={name: _read(answer) for name, answer in answers.items()},
            account=_account(_decoded(answers["account"], _Account)),
            live=None if balance is None else balance.livemode,
            balance_currencies=None
            if balance is None
            else frozenset(one.currency.upper() for one in (*balance.available, *balance.pending)),
            settlement_currencies=await self._settlement_currencies(),
            endpoints=None if endpoints is None else [_endpoint(one) for one in endpoints.data],
            events=_events(_decoded(answers["events"], StripeList[_Event])),
            publishable_key=await self._try_publishable_key(answers["payment_intents"]),
            **await self._connected(answers["connected_accounts"]),
        )

    async def _connected(self, first: StripeReply) -> _Connected:
        """The connected accounts, up to a thousand, where the list answers."""
        found: list[ConnectedAccount] = []
        page = _decoded(first, StripeList[_Account])
        if page is None:
            return _Connected(connected=None, all_connected=False)
        for _ in range(_PAGES):
            found += [_connected_account(one) for one in page.data]
            if not page.has_more or not page.data:
                return _Connected(connected=found, all_connected=True)
            params = {"limit": _PAGE, "starting_after": page.data[-1].id}
            answer = await self._wire.exchange("get", READS["connected_accounts"], params)
            page = _decoded(answer, StripeList[_Account])
            if page is None:
                break
        return _Connected(connected=found, all_connected=False)

    async def create_webhooks(self, url: str) -> Sequence[WebhookChange]:
        """Make the two endpoints at `url` have exactly our events: update what is there, create the rest.

        An endpoint's version can't be changed (docs.stripe.com/api/webhook_endpoints/update): one in another
        version is left as it is and named.
        """
        answer = await self._wire.exchange("get", READS["webhook_endpoints"], {"limit": _PAGE})
        known = _decoded(answer, StripeList[_Endpoint])
        if known is None:
            reason = _read(answer).detail
            return [WebhookChange(connect=False, action="failed", detail=reason)]
        there = [one for one in known.data if one.url == url]
        return [
            await self._ensure_webhook(url, ACCOUNT_EVENTS, there, connect=False),
            await self._ensure_webhook(url, CONNECT_EVENTS, there, connect=True),
        ]

    async def _ensure_webhook(
        self, url: str, events: frozenset[str], there: Sequence[_Endpoint], *, connect: bool
    ) -> WebhookChange:
        mine = [one for one in there if _endpoint(one).connect is connect]
        current = next((one for one in mine if one.api_version == API_VERSION), None)
        params: dict[str, Any] = {"enabled_events": sorted(events)}
        if current is not None:
            answer = await self._wire.exchange(
                "post", f"{READS['webhook_endpoints']}/{current.id}", {**params, "disabled": False}
            )
        else:
            params |= {
                "url": url,
                "api_version": API_VERSION,
                "connect": connect,
                "description": "networkcore: events of connected accounts" if connect else "networkcore",
                "metadata": {_MARK: "connect" if connect else "account"},
            }
            answer = await self._wire.exchange("post", READS["webhook_endpoints"], params)
        made = _decoded(answer, _Endpoint)
        if made is None:
            return WebhookChange(connect=connect, action="failed", detail=_read(answer).detail)
        return WebhookChange(
            connect=connect,
            action="created" if current is None else "updated",
            detail=made.id,
            secret=made.secret if current is None else None,
            replaced=next((one.id for one in mine if one is not current), None),
        )

    async def _settlement_currencies(self) -> Mapping[str, str] | None:
        """ISO code -> enabled, disabled or restricted_by_application, where Stripe says so; else None."""
        answer = await self._wire.exchange("get", READS["balance_settings"], version=PREVIEW_VERSION)
        found = _decoded(answer, _BalanceSettings)
        listed = found.payments.settlement_currencies if found and found.payments else None
        return None if listed is None else {code.upper(): state for code, state in listed.items()}

    async def _try_publishable_key(self, intents: StripeReply) -> PublishableKey | None:
        """Read the newest payment as an app would, with its client secret: only its own account may."""
        if self._publishable_key is None or self._public is None:
            return None
        key = read_key(self._publishable_key)
        found = _decoded(intents, StripeList[_Intent])
        if key.kind is not StripeKeyKind.PUBLISHABLE:
            return PublishableKey(key=key, same_account=None)
        if found is None:
            return PublishableKey(key=key, same_account=None, reason="no payment could be read to try it on")
        intent = next((one for one in found.data if one.client_secret), None)
        if intent is None:
            reason = "the account has no payment yet to try it on"
            return PublishableKey(key=key, same_account=None, reason=reason)
        answer = await self._public.exchange(
            "get", f"{READS['payment_intents']}/{intent.id}", {"client_secret": intent.client_secret}
        )
        if answer.status == _OK:
            return PublishableKey(key=key, same_account=True)
        if answer.status in {_UNAUTHENTICATED, _FORBIDDEN, _MISSING}:
            return PublishableKey(key=key, same_account=False)
        return PublishableKey(key=key, same_account=None, reason=f"no answer: {answer.message[:_SHOWN]}")


def _decoded(answer: StripeReply, shape: Any) -> Any:
    """The body of an answer as `shape`; None for a rejection and for what can't be read."""
    if answer.status != _OK:
        return None
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except msgspec.MsgspecError:
        return None


def _read(answer: StripeReply) -> ResourceRead:
    state, detail = ReadState.FAILED, answer.message[:_SHOWN]
    if answer.status == _OK or (answer.status == _MISSING and answer.code == "resource_missing"):
        state, detail = ReadState.ANSWERED, ""
    elif answer.status == _UNAUTHENTICATED:
        detail = "Stripe does not accept the key"
    elif answer.status == _FORBIDDEN and "permission" in answer.message:
        named = _PERMISSION.search(answer.message)
        state, detail = ReadState.REFUSED, named[1] if named else ""
    return ResourceRead(state=state, status=answer.status, version=answer.version, detail=detail)


def _account(found: _Account | None) -> StripeAccount | None:
    if found is None:
        return None
    needs = found.requirements or _Requirements()
    cards = found.settings.card_payments if found.settings else None
    return StripeAccount(
        id=found.id,
        country=found.country,
        default_currency=found.default_currency.upper() if found.default_currency else None,
        charges_enabled=found.charges_enabled,
        payouts_enabled=found.payouts_enabled,
        capabilities=found.capabilities or {},
        disabled_reason=needs.disabled_reason,
        currently_due=needs.currently_due or [],
        descriptor_prefix=cards.statement_descriptor_prefix if cards else None,
    )


def _connected_account(found: _Account) -> ConnectedAccount:
    needs = found.requirements or _Requirements()
    return ConnectedAccount(
        id=found.id,
        transfers=(found.capabilities or {}).get("transfers", "not requested"),
        disabled_reason=needs.disabled_reason,
        currently_due=needs.currently_due or [],
    )


def _events(found: StripeList[_Event] | None) -> list[SentEvent] | None:
    if found is None:
        return None
    return [SentEvent(type=one.type, created=one.created, pending=one.pending_webhooks) for one in found.data]


def _endpoint(found: _Endpoint) -> StripeWebhookEndpoint:
    """An endpoint made with `connect` names the Connect application, and ours say so themselves."""
    marked = (found.metadata or {}).get(_MARK)
    return StripeWebhookEndpoint(
        id=found.id,
        url=found.url,
        enabled=found.status == "enabled",
        api_version=found.api_version,
        events=frozenset(found.enabled_events),
        connect=found.application is not None or marked == "connect",
        created=found.created,
    )
