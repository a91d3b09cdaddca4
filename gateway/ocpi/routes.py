"""The URLs of the OCPI edge.

Owns: which handler answers which path and method in which version. Must not know: what handlers do.
A CPO gets the URL of `/ocpi/versions`; everything else is discovered from there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.ocpi import (
    bookings,
    cdrs,
    commands,
    credentials,
    hub_clients,
    invoices,
    locations,
    sessions,
    tariffs,
    terminals,
    tokens,
    versions,
)
from gateway.ocpi.endpoint import Handler, OcpiAccess, OcpiEndpoint, method_not_allowed, no_resource
from gateway.ocpi.repository.lists import SenderList
from gateway.ocpi.sender_lists import list_of
from gateway.ocpi.services import OcpiServices

_OWNED: Final = "/{country_code}/{party_id}/{object_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resource:
    """A path below /ocpi with its methods; `{version}` stands for the version."""

    path: str
    module: str
    methods: Mapping[str, Handler]
    access: OcpiAccess = OcpiAccess.REGISTERED
    routed: bool = True


_LOCATION: Final[Mapping[str, Handler]] = {
    "GET": locations.get_location,
    "PUT": locations.put_location,
    "PATCH": locations.patch_location,
}
_SESSION: Final[Mapping[str, Handler]] = {
    "GET": sessions.get_session,
    "PUT": sessions.put_session,
    "PATCH": sessions.patch_session,
}
_TARIFF: Final[Mapping[str, Handler]] = {
    "GET": tariffs.get_tariff,
    "PUT": tariffs.put_tariff,
    "DELETE": tariffs.delete_tariff,
}
_TERMINAL: Final[Mapping[str, Handler]] = {
    "GET": terminals.get_terminal,
    "PUT": terminals.put_terminal,
    "PATCH": terminals.put_terminal,
}
_CREDENTIALS: Final[Mapping[str, Handler]] = {
    "GET": credentials.get_credentials,
    "POST": credentials.post_credentials,
    "PUT": credentials.put_credentials,
    "DELETE": credentials.delete_credentials,
}
_INVOICE: Final[Mapping[str, Handler]] = {
    "GET": invoices.get_invoice,
    "PUT": invoices.put_invoice,
    "DELETE": invoices.delete_invoice,
}
_HUB_CLIENT: Final[Mapping[str, Handler]] = {
    "GET": hub_clients.get_client_info,
    "PUT": hub_clients.put_client_info,
}
_BOOKING_LOCATION: Final[Mapping[str, Handler]] = {
    "GET": bookings.get_booking_location,
    "PUT": bookings.put_booking_location,
    "PATCH": bookings.patch_booking_location,
}
_BOOKING: Final[Mapping[str, Handler]] = {
    "GET": bookings.get_booking,
    "PUT": bookings.put_booking,
    "PATCH": bookings.put_booking,
}
_PAYMENTS: Final = "/ptp/{version}/payments"


def routes(services: OcpiServices) -> list[web.RouteDef]:
    """Every route of this edge, paths beginning with /ocpi.

    Add them to the application's router as they are.
    """
    listing = _Resource(
        path="/versions",
        module="versions",
        methods={"GET": versions.list_versions},
        access=OcpiAccess.INVITED,
        routed=False,
    )
    defined = list(_define(services, listing, OcpiVersion.V2_2_1))
    for version in versions.SPOKEN:
        for resource in _resources(services, version):
            defined.extend(_define(services, resource, version))
    # A push that leads nowhere is kept as rejected, with its path, like any other.
    nowhere = OcpiEndpoint(
        services=services, handler=no_resource, module="unknown", version=OcpiVersion.V2_2_1, routed=False
    )
    defined.append(web.route("*", "/ocpi{tail:(/.*)?}", nowhere.handle))
    return defined


def _resources(services: OcpiServices, version: OcpiVersion) -> Iterator[_Resource]:
    yield _Resource(
        path="/{version}",
        module="versions",
        methods={"GET": versions.version_details},
        access=OcpiAccess.INVITED,
        routed=False,
    )
    yield _Resource(
        path="/{version}/credentials",
        module="credentials",
        methods=_CREDENTIALS,
        access=OcpiAccess.INVITED,
        routed=False,
    )
    yield from _emsp(version)
    if any(role.role == "CPO" for role in services.roles):
        for listed in (SenderList.LOCATIONS, SenderList.TARIFFS, SenderList.SESSIONS, SenderList.CDRS):
            path = f"/cpo/{{version}}/{listed.value}"
            yield _Resource(path=path, module=listed.value, methods={"GET": list_of(listed, path=path[1:])})
    if version is not OcpiVersion.V2_1_1:
        yield _Resource(
            path="/emsp/{version}/hubclientinfo/{country_code}/{party_id}",
            module="hubclientinfo",
            methods=_HUB_CLIENT,
            routed=False,
        )
    if version is OcpiVersion.V2_3_0:
        yield from _of_2_3()


def _emsp(version: OcpiVersion) -> Iterator[_Resource]:
    base = "/emsp/{version}"
    for deeper in ("", "/{evse_uid}", "/{evse_uid}/{connector_id}"):
        yield _Resource(path=f"{base}/locations{_OWNED}{deeper}", module="locations", methods=_LOCATION)
    patched = {"PATCH": tariffs.patch_tariff} if version is OcpiVersion.V2_1_1 else {}
    yield _Resource(path=f"{base}/tariffs{_OWNED}", module="tariffs", methods={**_TARIFF, **patched})
    yield _Resource(path=f"{base}/sessions{_OWNED}", module="sessions", methods=_SESSION)
    yield _Resource(path=f"{base}/cdrs", module="cdrs", methods={"POST": cdrs.post_cdr})
    yield _Resource(path=f"{base}/cdrs{_OWNED}", module="cdrs", methods={"GET": cdrs.get_cdr})
    yield _Resource(path=f"{base}/tokens", module="tokens", methods={"GET": tokens.list_tokens})
    yield _Resource(
        path=f"{base}/tokens/{{token_uid}}/authorize", module="tokens", methods={"POST": tokens.authorize}
    )
    yield _Resource(
        path=f"{base}/commands/{{command}}/{{command_id}}",
        module="commands",
        methods={"POST": commands.receive_result},
    )


def _of_2_3() -> Iterator[_Resource]:
    terminal = f"{_PAYMENTS}/terminals"
    yield _Resource(
        path=terminal, module="payments", methods={"GET": list_of(SenderList.TERMINALS, path=terminal[1:])}
    )
    yield _Resource(
        path=f"{terminal}/activate", module="payments", methods={"POST": terminals.activate_terminal}
    )
    yield _Resource(path=f"{terminal}/{{object_id}}", module="payments", methods=_TERMINAL)
    yield _Resource(
        path=f"{terminal}/{{object_id}}/deactivate",
        module="payments",
        methods={"POST": terminals.deactivate_terminal},
    )
    advice = f"{_PAYMENTS}/financial-advice-confirmations"
    yield _Resource(
        path=advice, module="payments", methods={"GET": list_of(SenderList.ADVICES, path=advice[1:])}
    )
    yield _Resource(path=f"{advice}/{{object_id}}", module="payments", methods={"GET": terminals.get_advice})
    booked = f"/emsp/{{version}}/bookings{_OWNED.replace('{object_id}', 'booking_locations')}/{{object_id}}"
    yield _Resource(path=booked, module="bookings", methods=_BOOKING_LOCATION)
    yield _Resource(path=f"{booked}/{{calendar_id}}", module="bookings", methods=_BOOKING_LOCATION)
    yield _Resource(path=f"/emsp/{{version}}/bookings{_OWNED}", module="bookings", methods=_BOOKING)
    invoice = "/emsp/{version}/invoicereconciliation"
    yield _Resource(path=invoice, module="invoicereconciliation", methods={"POST": invoices.post_invoice})
    yield _Resource(path=f"{invoice}{_OWNED}", module="invoicereconciliation", methods=_INVOICE)


def _define(services: OcpiServices, resource: _Resource, version: OcpiVersion) -> Iterator[web.RouteDef]:
    """The routes of a resource, with and without a slash at the end, and 405 for every other method."""
    path = f"/ocpi{resource.path.replace('{version}', version.value)}"
    handlers = {**resource.methods, "*": method_not_allowed(", ".join(resource.methods))}
    for spelling in (path, f"{path}/"):
        for method, handler in handlers.items():
            endpoint = OcpiEndpoint(
                services=services,
                handler=handler,
                module=resource.module,
                version=version,
                access=resource.access,
                routed=resource.routed,
            )
            yield web.route(method, spelling, endpoint.handle)
