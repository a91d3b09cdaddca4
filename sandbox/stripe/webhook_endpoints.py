"""Webhook endpoints: create (the secret is shown once), retrieve, update, list, delete."""

import re
from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.event_types import EVENT_TYPES
from sandbox.stripe.forms import Params
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.parameters import LIST, takes
from sandbox.stripe.platform_account import require_connect
from sandbox.stripe.problems import Json, ParameterProblem
from sandbox.stripe.state import PspState
from sandbox.stripe.webhooks import EVERYTHING

CONFIGURED: Final = "we_configured"
CONFIGURED_CONNECT: Final = "we_configuredConnect"
_APPLICATION: Final = "ca_sandbox"  # the platform's own, which an endpoint for connected accounts names
_VERSION: Final = re.compile(r"20\d{2}-\d{2}-\d{2}(?:\.[a-z]+)?\Z")


def build(
    state: PspState, endpoint_id: str, *, url: str, events: list[str], secret: str, connect: bool | None
) -> Json:
    """An enabled endpoint; `connect` None gets the platform's events and the connected accounts'."""
    return {
        "id": endpoint_id,
        "object": "webhook_endpoint",
        "api_version": None,
        "application": _APPLICATION if connect else None,
        "created": state.now,
        "description": None,
        "enabled_events": events,
        "livemode": False,
        "metadata": {},
        "status": "enabled",
        "url": url,
        "_secret": secret,
        "_connect": connect,
    }


def configure(state: PspState) -> None:
    """Create the endpoints of the settings; those of an earlier run are removed if there are none now."""
    settings = state.settings
    for endpoint_id in (CONFIGURED, CONFIGURED_CONNECT):
        state.webhooks.delist(endpoint_id)
        state.records.remove(endpoint_id)
    if settings.webhook_url is None or settings.webhook_secret is None:
        return
    connected = settings.connect_webhook_events
    chosen: list[tuple[str, tuple[str, ...], bool | None]] = [
        (CONFIGURED, settings.webhook_events, False if connected else None)
    ]
    if connected:
        chosen.append((CONFIGURED_CONNECT, connected, True))
    for endpoint_id, events, connect in chosen:
        endpoint = build(
            state,
            endpoint_id,
            url=settings.webhook_url,
            events=list(events),
            secret=settings.webhook_secret,
            connect=connect,
        )
        endpoint["api_version"] = settings.api_version
        endpoint["created"] = 0  # it is there before any business time that a test may set
        state.webhooks.add_endpoint(state.put("webhook_endpoint", endpoint))


def _checked_url(params: Params) -> str:
    url = params.required_text("url")
    if not url.startswith(("http://", "https://")):
        raise ParameterProblem(
            "Invalid URL: An explicit scheme (such as https) must be provided.", param="url"
        )
    return url


def _checked_events(params: Params) -> list[str]:
    events = params.texts("enabled_events")
    for at, event in enumerate(events):
        if event != EVERYTHING and event not in EVENT_TYPES:
            raise ParameterProblem(
                f"Invalid enabled_events[{at}]: {event[:60]!r} is no event type of this version.",
                param=f"enabled_events[{at}]",
            )
    return events


def _checked_version(params: Params) -> str | None:
    version = params.text("api_version")
    if version is not None and not _VERSION.match(version):
        raise ParameterProblem(f"Invalid api_version: {version[:40]}", param="api_version")
    return version


@takes("url", "description", "metadata", "connect", "api_version", enabled_events=LIST)
def create(call: PspApiRequest) -> Json:
    """POST /v1/webhook_endpoints."""
    params = call.params
    url, events = _checked_url(params), _checked_events(params)
    if params.boolean("connect"):
        require_connect(call.state)
    if not events:
        raise ParameterProblem(
            "Missing required param: enabled_events.", code="parameter_missing", param="enabled_events"
        )
    state = call.state
    secret = state.new_secret("whsec_")
    endpoint = build(
        state, state.new_id("we_1"), url=url, events=events, secret=secret, connect=params.boolean("connect")
    )
    endpoint |= {
        "description": params.text("description"),
        "metadata": params.metadata(),
        "api_version": _checked_version(params),
    }
    state.webhooks.add_endpoint(state.put("webhook_endpoint", endpoint))
    return {**endpoint, "secret": secret}


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/webhook_endpoints/{id}."""
    return call.state.get("webhook_endpoint", call.ids[0])


@takes("url", "description", "metadata", "disabled", enabled_events=LIST)
def update(call: PspApiRequest) -> Json:
    """POST /v1/webhook_endpoints/{id}."""
    params = call.params
    endpoint = call.state.get("webhook_endpoint", call.ids[0])
    if "url" in params:
        endpoint["url"] = _checked_url(params)
    endpoint["enabled_events"] = _checked_events(params) or endpoint["enabled_events"]
    if "description" in params:
        endpoint["description"] = params.text("description")
    endpoint["metadata"] = params.metadata(endpoint["metadata"])
    if "disabled" in params:
        endpoint["status"] = "disabled" if params.boolean("disabled") else "enabled"
    call.state.webhooks.add_endpoint(call.state.put("webhook_endpoint", endpoint))
    return endpoint


@takes()
def delete(call: PspApiRequest) -> Json:
    """DELETE /v1/webhook_endpoints/{id}."""
    endpoint = call.state.get("webhook_endpoint", call.ids[0])
    call.state.webhooks.delist(endpoint["id"])
    call.state.records.remove(endpoint["id"])
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


@takes(*PAGING)
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/webhook_endpoints."""
    return page(call, "webhook_endpoint")
