"""Operators: how each is connected over OCPI, what was rejected, its locations, its tariffs and their prices.

Owns: the paths and the wire form. Must not know how OCPI is spoken or a price computed. A party sees its own;
of another it is as if there were none. The console's pages show the same.
"""

from typing import Annotated, Final

from pydantic import Field

from clearing.pricing.quote import MAX_DURATION_S, MAX_ENERGY_WH
from gateway.api import problems
from gateway.api.capture.prices import line_object
from gateway.api.endpoint import ApiEndpoint, ApiRequest, ApiResponse, QueryModel, page
from gateway.api.field_types import MAX_PAGE, InstantIn, Slug, before, foreign_cursor
from gateway.api.partners import operator_schemas as shapes
from gateway.api.problems import FieldError, ProblemError
from gateway.ids import format_id
from gateway.ocpi.operator_directory import (
    ConnectionDetails,
    LocationEntry,
    PriceQuestion,
    TariffDetails,
    TariffEntry,
)
from gateway.ocpi.repository.operators import ConnectorRecord, ObjectPosition, OcpiConnection, RejectedPush

_PEER: Final = "ocp"
_REJECTED: Final = "orp"
_LOCALE: Final = "en"


class OperatorsQuery(QueryModel):
    """A page of a list of operators' objects."""

    limit: int = Field(20, ge=1, le=MAX_PAGE)
    cursor: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="`next_cursor` of the previous page"
    )
    party: Slug | None = Field(None, description="for the platform: only this party's")


class TariffPriceQuery(QueryModel):
    """An expected session."""

    energy_wh: int = Field(ge=0, le=MAX_ENERGY_WH, description="energy in Wh")
    duration_s: int = Field(ge=1, le=MAX_DURATION_S, description="how long it charges, in seconds")
    start: InstantIn = Field(description="when it begins")
    connector: Annotated[str, Field(max_length=160)] | None = Field(
        None,
        description="location, EVSE's uid and connector's id, such as `L1/E1/1` (`E1/1` where that names one "
        "alone): its time zone and power count",
    )


async def list_connections(call: ApiRequest) -> ApiResponse:
    """Platforms that are invited, registered or gone, newest first."""
    query: OperatorsQuery = call.query
    found = await call.services.operators.list_connections(
        party_id=_party(call), before=before(query, _PEER), limit=query.limit + 1
    )
    shown = [shapes.OcpiConnectionSchema(**_connection(one)) for one in found]
    return ApiResponse(body=page(shown, limit=query.limit))


async def get_connection(call: ApiRequest) -> ApiResponse:
    """One connection: its handshakes call by call, modules, lists and messages."""
    found = await call.services.operators.find_connection(call.path_id("id", _PEER), party_id=call.own_party)
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such connection.")
    return ApiResponse(body=_details(found))


async def list_rejections(call: ApiRequest) -> ApiResponse:
    """Messages of operators that were rejected, newest first."""
    query: OperatorsQuery = call.query
    found = await call.services.operators.list_rejections(
        party_id=_party(call), before=before(query, _REJECTED), limit=query.limit + 1
    )
    return ApiResponse(body=page([_rejection(one) for one in found], limit=query.limit))


async def list_locations(call: ApiRequest) -> ApiResponse:
    """Locations with their connectors, by owner and id."""
    query: OperatorsQuery = call.query
    found = await call.services.operators.list_locations(
        party_id=_party(call), after=_position(query), limit=query.limit + 1
    )
    return ApiResponse(body=page([_location(one) for one in found], limit=query.limit, cursor=_place))


async def list_tariffs(call: ApiRequest) -> ApiResponse:
    """Tariffs that stand now, by owner and id, with what their checks found."""
    query: OperatorsQuery = call.query
    found = await call.services.operators.list_tariffs(
        party_id=_party(call), after=_position(query), limit=query.limit + 1, locale=_LOCALE
    )
    shown = [shapes.OcpiTariffSchema(**_tariff(one)) for one in found]
    return ApiResponse(body=page(shown, limit=query.limit, cursor=_place))


async def get_tariff(call: ApiRequest) -> ApiResponse:
    """One tariff: its prices, what its checks found, whether it fits AFIR, and where it is used."""
    found = await _find_tariff(call)
    afir = shapes.AfirCheckSchema(
        fits=found.afir.fits,
        applies=found.afir.applies,
        power_kw=None if found.afir.power_kw is None else format(found.afir.power_kw, "f"),
        findings=[shapes.TariffFindingSchema(**one.to_dict()) for one in found.afir.findings],
    )
    connectors = [_connector(one) for one in found.connectors]
    return ApiResponse(
        body=shapes.OcpiTariffDetailsSchema(**_tariff(found.entry), afir=afir, connectors=connectors)
    )


async def get_price(call: ApiRequest) -> ApiResponse:
    """What an expected session would cost by a tariff."""
    query: TariffPriceQuery = call.query
    found = await _find_tariff(call)
    if found.entry.problem:
        raise ProblemError(problems.STATE_CONFLICT, f"The tariff can't be read: {found.entry.problem}.")
    question = PriceQuestion(
        energy_wh=query.energy_wh,
        duration_s=query.duration_s,
        start=query.start,
        connector=await _named(call, found, query.connector),
    )
    quoted = call.services.operators.price(found.entry.record, question)
    return ApiResponse(
        body=shapes.TariffPriceSchema(
            party=found.entry.record.party_id,
            tariff=found.entry.record.tariff_id,
            currency=quoted.currency,
            excl_vat=quoted.priced.excl_vat_minor,
            incl_vat=quoted.priced.incl_vat_minor,
            hold=quoted.hold_minor,
            time_zone=question.time_zone,
            lines=[line_object(one) for one in quoted.priced.lines],
        )
    )


async def _find_tariff(call: ApiRequest) -> TariffDetails:
    found = await call.services.operators.find_tariff(
        owner=call.path["party"],
        key=call.path["tariff"].lower(),
        party_id=call.own_party,
        locale=_LOCALE,
    )
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such tariff.")
    return found


async def _named(call: ApiRequest, found: TariffDetails, name: str | None) -> ConnectorRecord | None:
    if name is None:
        return None
    several = await call.services.operators.find_connectors(found.entry.record, name)
    if len(several) == 1:
        return several[0]
    raise ProblemError(
        problems.INVALID_PARAMETERS,
        "connector: more than one is named so; write the location before it."
        if several
        else "connector: none of those that name this tariff.",
        errors=[FieldError(pointer="/connector", expected="one that names this tariff, such as L1/E1/1")],
    )


def _party(call: ApiRequest) -> str | None:
    """Whose objects a list shows: one's own, or for the platform everybody's or those of one."""
    named: str | None = call.query.party
    return call.own_party or named


def _position(query: OperatorsQuery) -> ObjectPosition | None:
    if query.cursor is None:
        return None
    party, mark, key = query.cursor.partition("/")
    if not mark:
        raise foreign_cursor()
    return ObjectPosition(party_id=party, key=key)


def _place(item: shapes.OcpiLocationSchema | shapes.OcpiTariffSchema) -> str:
    name = item.location if isinstance(item, shapes.OcpiLocationSchema) else item.tariff
    return f"{item.party}/{name.lower()}"


def _connection(one: OcpiConnection) -> dict[str, object]:
    return {
        "id": format_id(_PEER, one.id),
        "party": one.party_id,
        "parties": list(one.parties),
        "state": one.state,
        "ocpi_version": one.version,
        "versions_url": one.versions_url,
        "hub_party": one.hub_party_id,
        "stale_pushes": one.stale_pushes,
        "invited": one.created_at,
        "registered": one.registered_at,
        "ended": one.ended_at,
    }


def _details(found: ConnectionDetails) -> shapes.OcpiConnectionDetailsSchema:
    return shapes.OcpiConnectionDetailsSchema.model_validate(
        _connection(found.connection)
        | {
            "handshake": [
                {
                    "direction": one.direction,
                    "method": one.method,
                    "url": one.url,
                    "http_status": one.http_status,
                    "ocpi_status": one.ocpi_status,
                    "message": one.message,
                    "occurred": one.occurred_at,
                }
                for one in found.steps
            ],
            "modules": [{"module": one.module, "role": one.role, "url": one.url} for one in found.endpoints],
            "pulls": [
                {
                    "module": one.module,
                    "since": one.since,
                    "due": one.due_at,
                    "running": one.running,
                    "seen": one.seen,
                    "total": one.total,
                    "rejected": one.rejected,
                    "failures": one.failures,
                    "list_short": one.list_short,
                    "last_error": one.last_error,
                    "updated": one.updated_at,
                }
                for one in found.pulls
            ],
            "received": [
                {"module": one.module, "objects": one.objects, "last": one.last_at} for one in found.received
            ],
            "pending_pushes": [
                {
                    "module": one.module,
                    "method": one.method,
                    "object_id": one.object_id,
                    "created": one.created_at,
                    "next_attempt": one.run_at,
                    "attempts": one.attempts,
                    "last_error": one.last_error,
                    "stopped": one.exception_at,
                }
                for one in found.pending
            ],
        }
    )


def _rejection(one: RejectedPush) -> shapes.OcpiRejectionSchema:
    return shapes.OcpiRejectionSchema(
        id=format_id(_REJECTED, one.id),
        party=one.party_id,
        module=one.module,
        object_id=one.object_id,
        ocpi_version=one.version,
        ocpi_status=one.status_code,
        reason=one.reason,
        pulled=one.pulled,
        received=one.received_at,
    )


def _location(one: LocationEntry) -> shapes.OcpiLocationSchema:
    return shapes.OcpiLocationSchema(
        party=one.record.party_id,
        location=one.record.location_id,
        name=one.name,
        address=one.address,
        ocpi_version=one.record.version,
        last_updated=one.record.last_updated,
        received=one.record.updated_at,
        connectors=[_connector(connector) for connector in one.connectors],
    )


def _connector(one: ConnectorRecord) -> shapes.OcpiConnectorSchema:
    return shapes.OcpiConnectorSchema(
        name=one.name,
        evse_uid=one.evse_uid,
        evse_id=one.evse_id,
        connector=one.connector_id,
        status=one.status,
        standard=one.standard,
        power_w=one.max_power_w or None,
        tariffs=list(one.tariff_keys),
        time_zone=one.time_zone or None,
    )


def _tariff(one: TariffEntry) -> dict[str, object]:
    return {
        "party": one.record.party_id,
        "tariff": one.record.tariff_id,
        "type": one.record.type,
        "currency": one.currency or None,
        "ocpi_version": one.record.version,
        "valid_from": one.record.valid_from,
        "valid_until": one.record.valid_until,
        "received": one.record.received_at,
        "prices": list(one.display),
        "findings": [shapes.TariffFindingSchema(**finding.to_dict()) for finding in one.findings],
        "problem": one.problem or None,
    }


_TAG: Final = "Operators"
_TARIFF: Final = "/v1/ocpi/tariffs/{party}/{tariff}"
ENDPOINTS: Final = (
    ApiEndpoint(
        method="GET",
        path="/v1/ocpi/connections",
        operation="listOcpiConnections",
        summary="List OCPI connections",
        tag=_TAG,
        handler=list_connections,
        query=OperatorsQuery,
        answers={200: shapes.OcpiConnectionSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/ocpi/connections/{id}",
        operation="getOcpiConnection",
        summary="Get an OCPI connection",
        description="With its handshakes call by call, the platform's modules, the lists that are read from "
        "it, and messages that wait. Tokens are never shown.",
        tag=_TAG,
        handler=get_connection,
        answers={200: shapes.OcpiConnectionDetailsSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/ocpi/rejections",
        operation="listOcpiRejections",
        summary="List rejected OCPI messages",
        tag=_TAG,
        handler=list_rejections,
        query=OperatorsQuery,
        answers={200: shapes.OcpiRejectionSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/ocpi/locations",
        operation="listOcpiLocations",
        summary="List locations",
        tag=_TAG,
        handler=list_locations,
        query=OperatorsQuery,
        answers={200: shapes.OcpiLocationSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path="/v1/ocpi/tariffs",
        operation="listOcpiTariffs",
        summary="List tariffs",
        tag=_TAG,
        handler=list_tariffs,
        query=OperatorsQuery,
        answers={200: shapes.OcpiTariffSchema},
        listed=True,
    ),
    ApiEndpoint(
        method="GET",
        path=_TARIFF,
        operation="getOcpiTariff",
        summary="Get a tariff",
        tag=_TAG,
        handler=get_tariff,
        answers={200: shapes.OcpiTariffDetailsSchema},
        problems=(problems.NOT_FOUND,),
    ),
    ApiEndpoint(
        method="GET",
        path=f"{_TARIFF}/price",
        operation="getOcpiTariffPrice",
        summary="Price a session by a tariff",
        description="What an expected session would cost: charging evenly, split where the tariff changes "
        "its price. Without a connector the tariff's hours are read in UTC.",
        tag=_TAG,
        handler=get_price,
        query=TariffPriceQuery,
        answers={200: shapes.TariffPriceSchema},
        problems=(problems.NOT_FOUND, problems.STATE_CONFLICT),
    ),
)
