"""The administrative act of a request: who asks, for which operation, under which path.

Owns: which requests are acts, and that a path in the record holds nothing personal. Must not know any
resource, or how an act is stored. What a charging session does hundreds of times a second is no act.
"""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from gateway.acts.act import Act
from gateway.api.endpoint import ApiEndpoint, ApiRequest
from gateway.api.operation_scopes import is_administrative
from gateway.scopes import named

# These name drivers.
_PERSONAL_PARTS: Final = frozenset({"emaid", "uid", "token"})
_PERSONAL_FILTERS: Final = frozenset({"session_ref", "metadata"})
# What the platform reads of persons, by operation.
_READINGS: Final = frozenset(
    {
        "erasePersonalData",  # also what it refuses or does not find is a reading
        "exportPersonalData",
        "findPersonalData",
        "getBuyer",
        "getCustomer",
        "getDisputeEvidence",
        "getDocument",
        "getOcpiToken",
        "getSessionReceipt",
        "listBuyers",
        "listCustomers",
        "listOcpiTokens",
        "listPaymentMethods",
    }
)


def act_of(endpoint: ApiEndpoint, request: web.Request, call: ApiRequest, *, request_id: str) -> Act | None:
    """The act that this request is; None where it changes nothing that an administrator would."""
    if endpoint.method == "GET" or not is_administrative(endpoint.operation):
        return None
    reason = getattr(call.body, "reason", None)
    return _act(
        endpoint, request, call, request_id=request_id, reason=reason if isinstance(reason, str) else None
    )


def reading_of(
    endpoint: ApiEndpoint, request: web.Request, call: ApiRequest, *, request_id: str
) -> Act | None:
    """The act of reading persons' data on the platform's behalf; None where this request reads none."""
    searched = endpoint.operation == "listSessions" and not _PERSONAL_FILTERS.isdisjoint(request.query)
    if call.own_party is not None or not (searched or endpoint.operation in _READINGS):
        return None
    return _act(endpoint, request, call, request_id=request_id, reason=None)


def _act(
    endpoint: ApiEndpoint, request: web.Request, call: ApiRequest, *, request_id: str, reason: str | None
) -> Act:
    caller = call.caller
    return Act(
        operation=endpoint.operation,
        principal=caller.principal or caller.key,
        key_prefix=caller.key,
        party_id=caller.party_id,
        scope=named(endpoint.scopes & caller.scopes).replace("`", ""),
        request_id=request_id,
        path=f"{endpoint.method} {_path(request)}",
        reason=reason,
    )


def _path(request: web.Request) -> str:
    """The path as routed, with what it names unless that is a driver's; of the query the names alone."""
    resource = request.match_info.route.resource
    path = "" if resource is None else resource.canonical
    for name, value in request.match_info.items():
        if name not in _PERSONAL_PARTS:
            path = path.replace(f"{{{name}}}", value)
    return f"{path}?{'&'.join(sorted(request.query))}" if request.query else path


def act_of_page(endpoint: ApiEndpoint, call: ApiRequest, *, request_id: str) -> Act | None:
    """As `act_of`, for a form of the console, which calls the operation in this process."""
    if endpoint.method == "GET" or not is_administrative(endpoint.operation):
        return None
    reason = getattr(call.body, "reason", None)
    return _act_of_page(
        endpoint, call, request_id=request_id, reason=reason if isinstance(reason, str) else None
    )


def reading_of_page(
    endpoint: ApiEndpoint, call: ApiRequest, *, query: Mapping[str, str], request_id: str
) -> Act | None:
    """As `reading_of`, for a page of the console."""
    searched = endpoint.operation == "listSessions" and not _PERSONAL_FILTERS.isdisjoint(query)
    if call.own_party is not None or not (searched or endpoint.operation in _READINGS):
        return None
    return _act_of_page(endpoint, call, request_id=request_id, reason=None)


def _act_of_page(endpoint: ApiEndpoint, call: ApiRequest, *, request_id: str, reason: str | None) -> Act:
    path, caller = endpoint.path, call.caller
    for name, value in call.path.items():
        if name not in _PERSONAL_PARTS:
            path = path.replace(f"{{{name}}}", value)
    return Act(
        operation=endpoint.operation,
        principal=caller.principal or caller.key,
        key_prefix=None,
        party_id=caller.party_id,
        scope=named(endpoint.scopes & caller.scopes).replace("`", ""),
        request_id=request_id,
        path=f"{endpoint.method} {path}",
        reason=reason,
    )
