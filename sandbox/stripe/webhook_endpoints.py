"""Webhook endpoints: create (the secret is shown once), retrieve, update, list, delete."""

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.forms import Params
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.parameters import LIST, takes
from sandbox.stripe.problems import Json, ParameterProblem
from sandbox.stripe.state import PspState
from sandbox.stripe.webhooks import EVERYTHING

CONFIGURED: str = "we_configured"


def build(
    state: PspState, endpoint_id: str, *, url: str, events: list[str], secret: str, connect: bool | None
) -> Json:
    """An enabled endpoint; `connect` None gets the platform's events and the connected accounts'."""
    return {
        "id": endpoint_id,
        "object": "webhook_endpoint",
        "api_version": None,
        "application": None,
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
    """Create the endpoint of the settings; one of an earlier run is removed if there is none now."""
    url, secret = state.settings.webhook_url, state.settings.webhook_secret
    if url is None or secret is None:
        state.webhooks.delist(CONFIGURED)
        state.records.remove(CONFIGURED)
        return
    endpoint = build(state, CONFIGURED, url=url, events=[EVERYTHING], secret=secret, connect=None)
    state.webhooks.add_endpoint(state.put("webhook_endpoint", endpoint))


def _checked_url(params: Params) -> str:
    url = params.required_text("url")
    if not url.startswith(("http://", "https://")):
        raise ParameterProblem(
            "Invalid URL: An explicit scheme (such as https) must be provided.", param="url"
        )
    return url


@takes("url", "description", "metadata", "connect", "api_version", enabled_events=LIST)
def create(call: PspApiRequest) -> Json:
    """POST /v1/webhook_endpoints."""
    params = call.params
    url, events = _checked_url(params), params.texts("enabled_events")
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
        "api_version": params.text("api_version"),
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
    endpoint["enabled_events"] = params.texts("enabled_events") or endpoint["enabled_events"]
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
