"""Webhook endpoints: create (the secret is shown once), retrieve, update, list, delete."""

from gateway.sandbox.psp.call import Call
from gateway.sandbox.psp.forms import Params
from gateway.sandbox.psp.listing import PAGING, page
from gateway.sandbox.psp.problems import Json, ParameterProblem
from gateway.sandbox.psp.webhooks import EVERYTHING
from gateway.sandbox.psp.world import World

CONFIGURED: str = "we_configured"


def build(
    world: World, endpoint_id: str, *, url: str, events: list[str], secret: str, connect: bool | None
) -> Json:
    """An enabled endpoint; `connect` None hears the platform's events and the connected accounts'."""
    return {
        "id": endpoint_id, "object": "webhook_endpoint", "api_version": None, "application": None,
        "created": world.now, "description": None, "enabled_events": events, "livemode": False,
        "metadata": {},
        "status": "enabled", "url": url, "_secret": secret, "_connect": connect,
    }  # fmt: skip


def configure(world: World) -> None:
    """Put the endpoint of the settings in place; one of an earlier run goes if there is none now."""
    url, secret = world.settings.webhook_url, world.settings.webhook_secret
    if url is None or secret is None:
        world.webhooks.delist(CONFIGURED)
        world.records.remove(CONFIGURED)
        return
    endpoint = build(world, CONFIGURED, url=url, events=[EVERYTHING], secret=secret, connect=None)
    world.webhooks.enlist(world.put("webhook_endpoint", endpoint))


def _checked_url(params: Params) -> str:
    url = params.required_text("url")
    if not url.startswith(("http://", "https://")):
        raise ParameterProblem(
            "Invalid URL: An explicit scheme (such as https) must be provided.", param="url"
        )
    return url


def create(call: Call) -> Json:
    """POST /v1/webhook_endpoints."""
    params = call.params.only("url", "enabled_events", "description", "metadata", "connect", "api_version")
    url, events = _checked_url(params), params.texts("enabled_events")
    if not events:
        raise ParameterProblem(
            "Missing required param: enabled_events.", code="parameter_missing", param="enabled_events"
        )
    world = call.world
    secret = world.new_secret("whsec_")
    endpoint = build(
        world, world.new_id("we_1"), url=url, events=events, secret=secret, connect=params.boolean("connect")
    )
    endpoint |= {
        "description": params.text("description"),
        "metadata": params.metadata(),
        "api_version": params.text("api_version"),
    }
    world.webhooks.enlist(world.put("webhook_endpoint", endpoint))
    return {**endpoint, "secret": secret}


def retrieve(call: Call) -> Json:
    """GET /v1/webhook_endpoints/{id}."""
    return call.world.get("webhook_endpoint", call.ids[0])


def update(call: Call) -> Json:
    """POST /v1/webhook_endpoints/{id}."""
    params = call.params.only("url", "enabled_events", "description", "metadata", "disabled")
    endpoint = call.world.get("webhook_endpoint", call.ids[0])
    if "url" in params:
        endpoint["url"] = _checked_url(params)
    endpoint["enabled_events"] = params.texts("enabled_events") or endpoint["enabled_events"]
    endpoint["metadata"] = params.metadata(endpoint["metadata"])
    if "disabled" in params:
        endpoint["status"] = "disabled" if params.boolean("disabled") else "enabled"
    call.world.webhooks.enlist(call.world.put("webhook_endpoint", endpoint))
    return endpoint


def delete(call: Call) -> Json:
    """DELETE /v1/webhook_endpoints/{id}."""
    endpoint = call.world.get("webhook_endpoint", call.ids[0])
    call.world.webhooks.delist(endpoint["id"])
    call.world.records.remove(endpoint["id"])
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


def list_all(call: Call) -> Json:
    """GET /v1/webhook_endpoints."""
    call.params.only(*PAGING)
    return page(call, "webhook_endpoint")
