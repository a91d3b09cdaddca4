"""Events: what happened, newest first; the sweep that finds a lost webhook reads them here."""

from fnmatch import fnmatchcase
from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.lists import PAGING, page
from sandbox.stripe.parameters import LIST, takes
from sandbox.stripe.problems import Json, ParameterProblem

_MOST_TYPES: Final = 20


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/events/{id}."""
    return call.state.get("event", call.ids[0], call.account)


@takes(*PAGING, "type", "created", "delivery_success", types=LIST)
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/events, by type (with a trailing `.*`), types and created."""
    params = call.params
    one, several = params.text("type"), params.texts("types")
    if one is not None and several:
        raise ParameterProblem("You may only specify one of these parameters: type, types.", param="types")
    if len(several) > _MOST_TYPES:
        raise ParameterProblem(f"You may specify up to {_MOST_TYPES} types.", param="types")
    wanted = [one] if one is not None else several
    delivered = params.boolean("delivery_success") if "delivery_success" in params else None
    exact = None if any("*" in pattern for pattern in wanted) else wanted
    return page(
        call,
        "event",
        lookup="type",
        value=exact,
        keep=lambda body: (
            (not wanted or any(fnmatchcase(body["type"], pattern) for pattern in wanted))
            and (delivered is None or (body["pending_webhooks"] == 0) is delivered)
        ),
    )
