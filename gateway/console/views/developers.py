"""For developers: webhook endpoints with their deliveries, events, API keys.

Owns: the lists, the pages and their acts. Must not know how a delivery is sent. A secret is shown on the page
that answers its form, once.
"""

import json
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.console import csv_file, csv_lists
from gateway.console.figures import zone_name
from gateway.console.page import ConsolePage
from gateway.console.views.webhook_forms import (
    FILTERS,
    SIGNATURES,
    change_body,
    endpoint_body,
    rotate_body,
)
from gateway.people.roles import ActArea
from gateway.webhooks.events import EventType

_PAGE: Final = "25"
DELIVERY_STATES: Final = ("pending", "delivered", "failed", "abandoned")


async def webhooks(page: ConsolePage) -> web.StreamResponse:
    """Endpoints; for those who may, a form for a new one."""
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.WEBHOOKS)
    found = await page.calls.read("listWebhookEndpoints", query={"limit": "100"})
    return _webhooks(page, found, made=None)


def _webhooks(page: ConsolePage, found: Any, *, made: dict[str, Any] | None) -> web.Response:
    types = [kind.value for kind in EventType]
    return page.respond(
        "webhooks.html",
        found=found,
        types=types,
        filters=FILTERS,
        signatures=SIGNATURES,
        versions=page.services.options.versions.names,
        made=made,
    )


async def create_webhook(page: ConsolePage) -> web.Response:
    """Create an endpoint, and show its secret once."""
    outcome = await page.act("createWebhookEndpoint", ActArea.WEBHOOKS, body=endpoint_body(page.form))
    made = outcome.body.get("id")
    if outcome.rejected or not outcome.body.get("secret"):
        return page.back(f"/console/webhooks/{made}" if made else "/console/webhooks", outcome)
    found = await page.calls.read("listWebhookEndpoints", query={"limit": "100"})
    return _webhooks(page, found, made=outcome.body)


async def webhook(page: ConsolePage) -> web.StreamResponse:
    """One endpoint with its delivery log."""
    if csv_file.wanted(page) is not None:
        listed = csv_lists.of(csv_lists.DELIVERIES, id=page.request.match_info["id"])
        return await csv_file.answer_list(page, listed, query=page.query("state"))
    return await _webhook(page, made=None)


async def _webhook(
    page: ConsolePage, *, made: dict[str, Any] | None, replayed: dict[str, Any] | None = None
) -> web.Response:
    name = page.request.match_info["id"]
    shown = await page.calls.read("getWebhookEndpoint", id=name)
    deliveries = await page.calls.read(
        "listDeliveries", id=name, query={"limit": _PAGE, **page.query("cursor", "state")}
    )
    return page.respond(
        "webhook.html",
        endpoint=shown,
        deliveries=deliveries,
        filters=FILTERS,
        types=[kind.value for kind in EventType],
        signatures=SIGNATURES,
        versions=page.services.options.versions.names,
        states=DELIVERY_STATES,
        state=page.request.query.get("state", ""),
        made=made,
        replayed=replayed,
        zone_name=zone_name(page.services.clock.wall_now(), page.zone),
    )


async def delivery(page: ConsolePage) -> web.StreamResponse:
    """One event's delivery to one endpoint: each attempt with what the receiver answered."""
    match = page.request.match_info
    name, event_id = match["id"], match["event_id"]
    if csv_file.wanted(page) is not None:
        listed = csv_lists.of(csv_lists.ATTEMPTS, id=name, event_id=event_id)
        return await csv_file.answer_list(page, listed)
    query = {"limit": _PAGE, **page.query("cursor")}
    found = await page.calls.read("listDeliveryAttempts", query=query, id=name, event_id=event_id)
    return page.respond(
        "delivery.html",
        endpoint=await page.calls.read("getWebhookEndpoint", id=name),
        event=await page.calls.read_where_there("getEvent", id=event_id),
        attempts=found,
    )


async def replay(page: ConsolePage) -> web.Response:
    """Send the events of a span of time again; a form's times are in the viewer's zone."""
    name = page.request.match_info["id"]
    body: dict[str, Any] = {}
    try:
        for field in ("since", "until"):
            if page.form.get(field):
                local = datetime.fromisoformat(page.form[field])
                body[field] = local.replace(tzinfo=local.tzinfo or page.zone).isoformat()
    except ValueError:
        raise ProblemError(problems.INVALID_PARAMETERS, "A time is none.") from None
    if page.form.get("cursor"):
        body["cursor"] = page.form["cursor"]
    outcome = await page.act("replayEvents", ActArea.WEBHOOKS, body=body, id=name)
    if outcome.rejected:
        return page.back(f"/console/webhooks/{name}", outcome)
    return await _webhook(page, made=None, replayed=outcome.body | {"since": page.form.get("since", "")})


async def act_on_webhook(page: ConsolePage) -> web.Response:
    """Test, rotate the key, change, disable, enable or delete an endpoint."""
    name = page.request.match_info["id"]
    chosen = page.form.get("act", "")
    acts: dict[str, tuple[str, dict[str, Any] | None]] = {
        "test": ("testWebhookEndpoint", None),
        "rotate": ("rotateWebhookSecret", rotate_body(page.form)),
        "change": ("changeWebhookEndpoint", change_body(page.form)),
        "disable": ("changeWebhookEndpoint", {"state": "disabled"}),
        "enable": ("changeWebhookEndpoint", {"state": "enabled"}),
        "delete": ("deleteWebhookEndpoint", None),
    }
    if chosen not in acts:
        raise web.HTTPNotFound
    operation, body = acts[chosen]
    outcome = await page.act(operation, ActArea.WEBHOOKS, body=body, id=name)
    if chosen == "rotate" and not outcome.rejected and outcome.body.get("secret"):
        return await _webhook(page, made=outcome.body)
    gone = chosen == "delete" and not outcome.rejected
    return page.back("/console/webhooks" if gone else f"/console/webhooks/{name}", outcome)


async def retry_delivery(page: ConsolePage) -> web.Response:
    """Send one event again."""
    match = page.request.match_info
    outcome = await page.act("retryDelivery", ActArea.WEBHOOKS, id=match["id"], event_id=match["event_id"])
    return page.back(f"/console/webhooks/{match['id']}", outcome)


async def events(page: ConsolePage) -> web.StreamResponse:
    """Events, newest first."""
    asked = {"order": "newest_first", **page.query("type")}
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.EVENTS, query=asked)
    query = {"limit": _PAGE, **asked, **page.query("cursor")}
    found = await page.calls.read("listEvents", query=query)
    return page.respond(
        "events.html",
        found=found,
        types=[kind.value for kind in EventType],
        chosen=page.request.query.get("type", ""),
    )


async def event(page: ConsolePage) -> web.Response:
    """One event with its body."""
    shown = await page.calls.read("getEvent", id=page.request.match_info["id"])
    return page.respond(
        "event.html",
        event=shown,
        body=json.dumps(shown["data"], indent=2, ensure_ascii=False, sort_keys=True),
    )
