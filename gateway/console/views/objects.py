"""What has an id and no page of its own: found on the page of its session.

Owns: which operation knows an object's session. Must not know what is on that page.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from aiohttp import web

from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.console.page import ConsolePage
from gateway.console.rendering import PAGE_HEADERS

# By the prefix of the id: the operation that reads it, and the section of the session's page that shows it.
_SHOWN: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "auth": ("getAuthorization", "payment"),
        "cap": ("getCapture", "payment"),
        "ref": ("getRefund", "timeline"),
    }
)


async def find(page: ConsolePage) -> web.Response:
    """Go to the session of an authorization, a capture or a refund."""
    name = page.request.match_info["id"]
    operation, section = _SHOWN.get(name.partition("_")[0], ("", ""))
    if not operation:
        raise ProblemError(problems.NOT_FOUND, f"There is nothing at {page.request.path}.")
    found = await page.calls.read(operation, id=name)
    return web.Response(
        status=303, headers={"Location": f"/console/sessions/{found['session']}#{section}", **PAGE_HEADERS}
    )
