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
from gateway.people.roles import ActArea
from gateway.webhooks.events import EventType

_PAGE: Final = "25"
FILTERS: Final = ("sessions", "evse_prefixes", "locations", "metadata")
DELIVERY_STATES: Final = ("pending", "delivered", "failed", "abandoned")


async def webhooks(page: ConsolePage) -> web.StreamResponse:
    """Endpoints; for those who may, a form for a new one."""
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.WEBHOOKS)
    found = await page.calls.read("listWebhookEndpoints", query={"limit": "100"})
    return _webhooks(page, found, made=None)


def _webhooks(page: ConsolePage, found: Any, *, made: dict[str, Any] | None) -> web.Response:
    types = [kind.value for kind in EventType]
    return page.respond("webhooks.html", found=found, types=types, filters=FILTERS, made=made)


async def create_webhook(page: ConsolePage) -> web.Response:
    """Create an endpoint, and show its secret once."""
    chosen = [name for name in page.form.get("events", "*").replace(",", " ").split() if name] or ["*"]
    body = {"url": page.form.get("url", ""), "events": chosen, "filter": _filter(page)}
    outcome = await page.act("createWebhookEndpoint", ActArea.WEBHOOKS, body=body)
    if outcome.rejected or not outcome.body.get("secret"):
        return page.back("/console/webhooks", outcome)
    found = await page.calls.read("listWebhookEndpoints", query={"limit": "100"})
    return _webhooks(page, found, made=outcome.body)


def _filter(page: ConsolePage) -> dict[str, Any] | None:
    """The filter of the form: entries separated by commas, metadata as key=value; None: none was given."""
    given: dict[str, Any] = {
        name: [entry for entry in map(str.strip, page.form.get(name, "").split(",")) if entry]
        for name in FILTERS
    }
    pairs = [entry.partition("=") for entry in given["metadata"]]
    given["metadata"] = {key.strip(): value.strip() for key, _, value in pairs}
    return {name: value for name, value in given.items() if value} or None


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
        states=DELIVERY_STATES,
        state=page.request.query.get("state", ""),
        made=made,
        replayed=replayed,
        zone_name=zone_name(page.services.clock.wall_now(), page.zone),
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
    """Test, rotate the secret, disable, enable or delete an endpoint."""
    name = page.request.match_info["id"]
    chosen = page.form.get("act", "")
    acts: dict[str, tuple[str, dict[str, Any] | None]] = {
        "test": ("testWebhookEndpoint", None),
        "rotate": ("rotateWebhookSecret", {}),
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
    """Events in the order in which they happened, from a cursor on."""
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.EVENTS, query=page.query("type"))
    query = {"limit": _PAGE, **page.query("cursor", "type")}
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
