"""Versions and version details: which versions this edge speaks, and where each of its modules answers.

Owns: the list of modules by version and role. Must not know: what a module does.
Source: OCPI version_information_endpoint; 2.1.1 has no roles and no hubs, payments and invoice reconciliation
came with 2.3.0.
"""

from collections.abc import Iterator
from typing import Any, Final

from clearing.pricing.ocpi_version import OcpiVersion
from gateway.ocpi.endpoint import OcpiRequest
from gateway.ocpi.envelope import OcpiResponse
from gateway.ocpi.services import OcpiServices

SPOKEN: Final = (OcpiVersion.V2_1_1, OcpiVersion.V2_2_1, OcpiVersion.V2_3_0)
BOOKINGS: Final = ("bookings", "Booking")  # the text has the second name, its addresses the first
OWNED_BY_CPO: Final = (
    "cdrs",
    "locations",
    "sessions",
    "tariffs",
)  # pushed to us as eMSP, read from us as CPO


async def list_versions(call: OcpiRequest) -> OcpiResponse:
    """GET /ocpi/versions."""
    base = call.services.public_url
    return OcpiResponse(
        data=[{"version": version.value, "url": f"{base}/ocpi/{version}"} for version in SPOKEN]
    )


async def version_details(call: OcpiRequest) -> OcpiResponse:
    """GET /ocpi/{version}."""
    return OcpiResponse(
        data={
            "version": call.version.value,
            "endpoints": list(endpoints(call.services, version=call.version)),
        }
    )


def endpoints(services: OcpiServices, *, version: OcpiVersion) -> Iterator[dict[str, Any]]:
    """Our modules in `version`, as version details list them. What a CPO offers is there when we are one."""
    yield _endpoint("credentials", "SENDER", f"{services.public_url}/ocpi/{version}/credentials", version)
    as_cpo = any(role.role == "CPO" for role in services.roles)
    if not (as_cpo and version is OcpiVersion.V2_1_1):  # without roles a module can be listed once only
        for module in OWNED_BY_CPO:
            yield _functional(services, version, module, role="RECEIVER")
    yield _functional(services, version, "tokens", role="SENDER")
    yield _functional(services, version, "commands", role="SENDER")
    if version is not OcpiVersion.V2_1_1:
        yield _functional(services, version, "hubclientinfo", role="RECEIVER")
    if as_cpo:
        for module in OWNED_BY_CPO:
            yield _functional(services, version, module, role="SENDER", side="cpo")
    if version is OcpiVersion.V2_3_0:
        yield _functional(services, version, "payments", role="SENDER", side="ptp")
        yield _functional(services, version, "invoicereconciliation", role="RECEIVER")
        bookings = module_url(services, version=version, module="bookings")
        for name in BOOKINGS:
            yield _endpoint(name, "RECEIVER", bookings, version)


def module_url(services: OcpiServices, *, version: OcpiVersion, module: str, side: str = "emsp") -> str:
    """Where a functional module of ours answers."""
    return f"{services.public_url}/ocpi/{side}/{version}/{module}"


def _functional(
    services: OcpiServices, version: OcpiVersion, module: str, *, role: str, side: str = "emsp"
) -> dict[str, Any]:
    url = module_url(services, version=version, module=module, side=side)
    return _endpoint(module, role, url, version)


def _endpoint(module: str, role: str, url: str, version: OcpiVersion) -> dict[str, Any]:
    named = {"identifier": module, "url": url}
    return named if version is OcpiVersion.V2_1_1 else {**named, "role": role}
