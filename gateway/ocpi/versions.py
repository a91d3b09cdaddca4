"""Versions and version details: which versions this edge speaks, and where each of its modules answers.

Owns: the list of modules by version and role. Must not know: what a module does.
Source: OCPI version_information_endpoint; 2.1.1 has neither roles nor the modules added later.
"""

from typing import Any, Final

from clearing.ocpi import OcpiVersion
from gateway.ocpi.endpoint import Call
from gateway.ocpi.envelope import Answer
from gateway.ocpi.services import OcpiServices

SPOKEN: Final = (OcpiVersion.V2_1_1, OcpiVersion.V2_2_1, OcpiVersion.V2_3_0)
RECEIVED: Final = ("cdrs", "locations", "sessions", "tariffs")  # as eMSP: CPOs push these to us
SENT: Final = ("tokens",)  # as eMSP: CPOs read these from us


async def list_versions(call: Call) -> Answer:
    """GET /ocpi/versions."""
    base = call.services.public_url
    return Answer(data=[{"version": version.value, "url": f"{base}/ocpi/{version}"} for version in SPOKEN])


async def version_details(call: Call) -> Answer:
    """GET /ocpi/{version}."""
    return Answer(
        data={"version": call.version.value, "endpoints": endpoints(call.services, version=call.version)}
    )


def endpoints(services: OcpiServices, *, version: OcpiVersion) -> list[dict[str, Any]]:
    """Our modules in `version`, as version details list them."""
    listed = [
        _endpoint("credentials", "SENDER", f"{services.public_url}/ocpi/{version}/credentials", version)
    ]
    listed.extend(
        _endpoint(module, "RECEIVER", module_url(services, version=version, module=module), version)
        for module in RECEIVED
    )
    listed.extend(
        _endpoint(module, "SENDER", module_url(services, version=version, module=module), version)
        for module in SENT
    )
    return listed


def module_url(services: OcpiServices, *, version: OcpiVersion, module: str, side: str = "emsp") -> str:
    """Where a functional module of ours answers."""
    return f"{services.public_url}/ocpi/{side}/{version}/{module}"


def _endpoint(module: str, role: str, url: str, version: OcpiVersion) -> dict[str, Any]:
    named = {"identifier": module, "url": url}
    return named if version is OcpiVersion.V2_1_1 else {**named, "role": role}
