"""Which version of the API a request has, and what its answer says of it.

Owns: the header `Networkcore-Version`, the choice (the header, else the key's pin, else the newest), and what
each answer says about its version. Must not know what a version changed. The program stores and computes in
the newest shape; only the edge turns bodies.
"""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from gateway.api import problems
from gateway.api.problems import FieldError, ProblemError
from gateway.version_rules import VersionCatalogue, lifecycle_headers

HEADER: Final = "Networkcore-Version"
VERSION: Final = web.RequestKey("api_version", str)
VERSION_HEADERS: Final = web.RequestKey("version_headers", dict)
VERSIONED: Final = "/v1/"
_LONGEST_SHOWN: Final = 40


def choose_version(catalogue: VersionCatalogue, asked: str | None, *, pinned: str | None) -> str:
    """The version of a request.

    A pin that this program does not know, of a later release that ran before, counts as the newest.

    Raises:
        ProblemError: `unknown_api_version`, with the known ones: the header names none of them.
    """
    if asked is not None:
        check_version(catalogue, asked.strip(), pointer=HEADER)
        return asked.strip()
    if pinned is not None and catalogue.find(pinned) is not None:
        return pinned
    return catalogue.newest


def check_version(catalogue: VersionCatalogue, name: str, *, pointer: str) -> None:
    """Let a known version pass. Raises ProblemError `unknown_api_version` for others, with the known ones."""
    if catalogue.find(name) is not None:
        return
    known = list(catalogue.names)
    raise ProblemError(
        problems.UNKNOWN_API_VERSION,
        f"{name[:_LONGEST_SHOWN]!r} is no version of this API; the newest is {catalogue.newest}.",
        errors=[FieldError(pointer=pointer, expected=f"one of {', '.join(known)}")],
        extra={"known_versions": known},
    )


def note_version(
    request: web.Request, catalogue: VersionCatalogue, version: str, *, operation: str, base_url: str
) -> None:
    """Remember a request's version, for the headers of its answer."""
    request[VERSION] = version
    request[VERSION_HEADERS] = lifecycle_headers(
        catalogue, version=version, operation=operation, base_url=base_url
    )


def headers_of_answer(request: web.Request, catalogue: VersionCatalogue) -> Mapping[str, str]:
    """What every answer says of its version; nothing on paths without versions."""
    if not request.path.startswith(VERSIONED):
        return {}
    version = request.get(VERSION, catalogue.newest)
    return {HEADER: version, **request.get(VERSION_HEADERS, {})}
