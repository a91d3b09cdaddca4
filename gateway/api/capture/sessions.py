"""Sessions: end them by a CDR or by metered usage, read them and their price.

Owns: the wire form of an end. Must not know how a session is priced or captured. A CDR's bytes are passed
on as they came: its numbers are never read as floats on the way.
"""

from functools import partial
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from pydantic import Field

from gateway.api import problems
from gateway.api.capture.prices import price_object
from gateway.api.capture.usage import Usage, cdr_of_usage
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, KeyedWork, QueryModel, WireModel, page
from gateway.api.field_types import InstantIn, Line, PaymentFilterQuery, before, metadata_pair
from gateway.api.idempotency import KeyRule
from gateway.api.problems import FieldError, ProblemError
from gateway.api.request_bodies import malformed, parse_body
from gateway.payments.presenters import session_object
from gateway.payments.requests import SessionFilter
from gateway.payments.usage_repository import UsageState
from gateway.payments.views import SessionView
from gateway.schemas import api_schemas

_OK: Final = 200
_ACCEPTED: Final = 202
CDR_VERSION: Final = "2.2.1"
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class UsageBody(WireModel):
    """Metered usage, for a partner without OCPI. The gateway creates a CDR from it."""

    started_at: InstantIn
    ended_at: InstantIn
    energy_wh: int = Field(ge=0, le=10_000_000)
    parking_s: int = Field(0, ge=0, le=2_592_000, description="time plugged in without charging, at the end")


class CompleteBody(WireModel):
    """Exactly one of `cdr` and `usage`."""

    cdr: dict[str, Any] | None = Field(None, description="an OCPI CDR object; its bytes are kept as sent")
    cdr_version: Literal["2.1.1", "2.2.1", "2.3.0"] = CDR_VERSION
    usage: UsageBody | None = None


class _Rest(WireModel):
    """A completion without its CDR, whose numbers only the exact decoder may read."""

    cdr_version: Literal["2.1.1", "2.2.1", "2.3.0"] = CDR_VERSION
    usage: UsageBody | None = None


class SessionsQuery(PaymentFilterQuery):
    """A page of sessions; all filters in the query must match.

    Amounts are the price with VAT. `decline_code` finds sessions with an authorization that was declined so.
    """

    state: api_schemas.SessionState | None = None
    session_ref: Line | None = None


class ExpandQuery(QueryModel):
    """What to show in full."""

    expand: Literal["price"] | None = None


async def complete(call: ApiRequest) -> ApiResponse:
    """End the session: price it from the frozen tariff and capture once."""
    return _completed(call, await _complete(call))


async def _complete(call: ApiRequest) -> SessionView:
    session_id = call.path_id("id", "ses")
    cdr, rest = call.body
    version = rest.cdr_version
    if rest.usage is not None:
        cdr, version = partial(cdr_of_usage, usage=_usage(rest.usage)), CDR_VERSION
    return await call.services.payments.complete(
        party_id=call.caller.party_id,
        session_id=session_id,
        cdr_raw=cdr,
        cdr_version=version,
        expected_version=call.expected_version,
        admin=call.caller.admin,
        key=call.key,
    )


def _completed(_call: ApiRequest, view: SessionView) -> ApiResponse:
    waits = view.usage is not None and view.usage.state is UsageState.EXCEPTION
    waits = waits or view.provisional is not None
    return _answer(view, status=_ACCEPTED if waits else _OK)


async def retry_clearing(call: ApiRequest) -> ApiResponse:
    """Clear again a session that clearing could not clear."""
    view = await call.services.payments.retry_clearing(session_id=call.path_id("id", "ses"))
    return _answer(view)


async def get(call: ApiRequest) -> ApiResponse:
    """One session; with ?expand=price its price line by line."""
    view = await _get(call, call.path_id("id", "ses"))
    shown = _shown(await call.services.payments.with_usage(view), call)
    if call.query.expand == "price" and view.session.price_minor is not None:
        price = await call.services.payments.explain_price(
            party_id=call.caller.party_id, session_id=view.session.id, admin=call.caller.admin
        )
        shown = shown.model_copy(update={"price": price_object(price)})
    return ApiResponse(body=shown, version=view.authorization.version if view.authorization else None)


def _wanted(query: SessionsQuery) -> SessionFilter:
    return SessionFilter(
        state=query.state.value if query.state else None,
        session_ref=query.session_ref,
        evse_id=query.evse_id,
        created_from=query.created_from,
        created_before=query.created_before,
        amount_min_minor=query.amount_min,
        amount_max_minor=query.amount_max,
        currency=query.currency,
        decline_code=query.decline_code,
        metadata=metadata_pair(query.metadata),
    )


async def list_all(call: ApiRequest) -> ApiResponse:
    """The caller's sessions, newest first."""
    views = await call.services.payments.lists.list_sessions(
        party_id=call.caller.party_id,
        admin=call.caller.admin,
        wanted=_wanted(call.query),
        limit=call.query.limit + 1,
        before=before(call.query, "ses"),
    )
    return ApiResponse(body=page([_shown(view, call) for view in views], limit=call.query.limit))


def _shown(view: SessionView, call: ApiRequest) -> api_schemas.SessionSchema:
    """The session as the caller may see it: the metadata are its demand partner's."""
    shown = session_object(view)
    if call.own_party in {None, view.session.demand_partner_id}:
        return shown
    return shown.model_copy(update={"metadata": {}})


async def get_price(call: ApiRequest) -> ApiResponse:
    """The session's price, line by line."""
    view = await call.services.payments.explain_price(
        party_id=call.caller.party_id, session_id=call.path_id("id", "ses"), admin=call.caller.admin
    )
    return ApiResponse(body=price_object(view))


async def _get(call: ApiRequest, session_id: UUID) -> SessionView:
    return await call.services.payments.get_session(
        party_id=call.caller.party_id, session_id=session_id, admin=call.caller.admin
    )


def _usage(given: UsageBody) -> Usage:
    return Usage(
        started_at=given.started_at,
        ended_at=given.ended_at,
        energy_wh=given.energy_wh,
        parking_s=given.parking_s,
    )


def _answer(view: SessionView, *, status: int = _OK) -> ApiResponse:
    version = view.authorization.version if view.authorization else None
    return ApiResponse(body=session_object(view), status=status, version=version)


def _split(raw: bytes) -> tuple[bytes, _Rest]:
    """The CDR's own bytes, and the rest as its model; exactly one way of ending must be there."""
    try:
        members = _members.decode(raw or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(str(error)) from None
    cdr = bytes(members.pop("cdr", b"null"))
    rest = parse_body(_Rest, msgspec.json.encode(members))
    given = cdr != b"null"
    if given == (rest.usage is not None):  # type: ignore[attr-defined]
        raise _one_of("exactly one of cdr and usage")
    if given and not cdr.startswith(b"{"):
        raise _one_of("an OCPI CDR object")
    return cdr, rest  # type: ignore[return-value]


def _one_of(expected: str) -> ProblemError:
    return ProblemError(
        problems.INVALID_PARAMETERS,
        f"/cdr: {expected}.",
        errors=[FieldError(pointer="/cdr", expected=expected)],
    )


ENDPOINTS: Final = (
    ApiEndpoint(
        method="POST",
        path="/v1/sessions/{id}/complete",
        operation="completeSession",
        summary="Complete a session",
        description=(
            "Ends the session by its CDR, or by metered usage. The price comes from the frozen tariff and is "
            "captured once. A repeated call does not capture again. Usage that fails a check (more energy "
            "than the charge point gives, an end in the future) is accepted with 202 and shown as `usage`: "
            "nothing is captured until a person has decided. Where the operator is connected by OCPI or "
            "opened the session by Plug & Charge, its CDR is the billing record: what the payer's key "
            "states is answered with 202 and shown as `provisional_usage` until the CDR comes. It is "
            "captured only if none comes in the time of the operator's missing-CDR policy, and refused with "
            "422 where it fails a check."
        ),
        tag="Sessions",
        handler=complete,
        keyed_work=KeyedWork(perform=_complete, answer=_completed),
        body=CompleteBody,
        parse=_split,
        large_body=True,
        answers={200: api_schemas.SessionSchema, 202: api_schemas.SessionSchema},
        etag=True,
        key_rule=KeyRule.REQUIRED,
        problems=(
            problems.NOT_FOUND,
            problems.CDR_INVALID,
            problems.STATE_CONFLICT,
            problems.OUTCOME_PENDING,
            problems.VERSION_CONFLICT,
        ),
    ),
    ApiEndpoint(
        method="POST",
        path="/v1/sessions/{id}/retry-clearing",
        operation="retryClearing",
        summary="Retry clearing of a session",
        description="For a captured session in the state `exception`, once its cause is corrected: what was "
        "missing is registered, or what was captured in excess is refunded. A refund of what was captured "
        "above the price never reaches the ledger; any other refund is posted after the capture.",
        tag="Sessions",
        handler=retry_clearing,
        answers={200: api_schemas.SessionSchema},
        etag=True,
        key_rule=KeyRule.OPTIONAL,
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/sessions",
        operation="listSessions",
        summary="List sessions",
        tag="Sessions",
        handler=list_all,
        query=SessionsQuery,
        answers={200: api_schemas.SessionSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/sessions/{id}",
        operation="getSession",
        summary="Get a session",
        tag="Sessions",
        handler=get,
        query=ExpandQuery,
        answers={200: api_schemas.SessionSchema},
        etag=True,
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/sessions/{id}/price",
        operation="getSessionPrice",
        summary="Get a session's price",
        description=("Each line names its period, tariff element, component, volume and reason."),
        tag="Sessions",
        handler=get_price,
        answers={200: api_schemas.PriceSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
