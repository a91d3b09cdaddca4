"""The URLs of the OCPI edge.

Owns: which handler answers which path and method in which version. Must not know: what handlers do.
`/ocpi/versions` is what a CPO is told; everything else is found from there.
"""

from collections.abc import Iterator

from aiohttp import web

from clearing.ocpi import OcpiVersion
from gateway.ocpi import cdrs, credentials, locations, sessions, tariffs, versions
from gateway.ocpi.endpoint import Access, Endpoint, Handler, catch_all, method_not_allowed
from gateway.ocpi.services import OcpiServices

_OWNED = "/{country_code}/{party_id}/{object_id}"
_Methods = dict[str, Handler]


def routes(services: OcpiServices) -> list[web.RouteDef]:
    """Every route of this edge, paths beginning with /ocpi.

    Add them to the application's router as they are.
    """
    defined: list[web.RouteDef] = []
    for path in ("/ocpi/versions", "/ocpi/versions/"):
        defined.extend(
            _resource(
                services,
                path,
                {"GET": versions.list_versions},
                module="versions",
                version=OcpiVersion.V2_2_1,
                access=Access.INVITED,
                routed=False,
            )
        )
    for version in versions.SPOKEN:
        defined.extend(_configuration(services, version))
        defined.extend(_received(services, version))
    defined.append(web.route("*", "/ocpi{tail:(/.*)?}", catch_all()))
    return defined


def _configuration(services: OcpiServices, version: OcpiVersion) -> Iterator[web.RouteDef]:
    base = f"/ocpi/{version}"
    yield from _resource(
        services,
        base,
        {"GET": versions.version_details},
        module="versions",
        version=version,
        access=Access.INVITED,
        routed=False,
    )
    yield from _resource(
        services,
        f"{base}/credentials",
        {
            "GET": credentials.get_credentials,
            "POST": credentials.post_credentials,
            "PUT": credentials.put_credentials,
            "DELETE": credentials.delete_credentials,
        },
        module="credentials",
        version=version,
        access=Access.INVITED,
        routed=False,
    )


def _received(services: OcpiServices, version: OcpiVersion) -> Iterator[web.RouteDef]:
    base = f"/ocpi/emsp/{version}"
    location: _Methods = {
        "GET": locations.get_location,
        "PUT": locations.put_location,
        "PATCH": locations.patch_location,
    }
    for deeper in ("", "/{evse_uid}", "/{evse_uid}/{connector_id}"):
        path = f"{base}/locations{_OWNED}{deeper}"
        yield from _resource(services, path, location, module="locations", version=version)
    tariff: _Methods = {
        "GET": tariffs.get_tariff,
        "PUT": tariffs.put_tariff,
        "DELETE": tariffs.delete_tariff,
    }
    if version is OcpiVersion.V2_1_1:
        tariff["PATCH"] = tariffs.patch_tariff
    yield from _resource(services, f"{base}/tariffs{_OWNED}", tariff, module="tariffs", version=version)
    session: _Methods = {
        "GET": sessions.get_session,
        "PUT": sessions.put_session,
        "PATCH": sessions.patch_session,
    }
    yield from _resource(services, f"{base}/sessions{_OWNED}", session, module="sessions", version=version)
    for path in (f"{base}/cdrs", f"{base}/cdrs/"):
        yield from _resource(services, path, {"POST": cdrs.post_cdr}, module="cdrs", version=version)
    yield from _resource(
        services, f"{base}/cdrs{_OWNED}", {"GET": cdrs.get_cdr}, module="cdrs", version=version
    )


def _resource(
    services: OcpiServices,
    path: str,
    methods: _Methods,
    *,
    module: str,
    version: OcpiVersion,
    access: Access = Access.REGISTERED,
    routed: bool = True,
) -> Iterator[web.RouteDef]:
    for method, handler in methods.items():
        endpoint = Endpoint(
            services=services, handler=handler, module=module, version=version, access=access, routed=routed
        )
        yield web.route(method, path, endpoint.handle)
    yield web.route("*", path, method_not_allowed(", ".join(methods)))
