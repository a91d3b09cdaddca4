"""How a page of the sandbox PSP is made: its file filled with escaped values, and its headers.

Owns: the pages' Content-Security-Policy. Must not know: what a page shows.
"""

import html
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Final, Protocol

from sandbox.stripe.access import PspRequest

_HTML: Final = "text/html; charset=utf-8"
FIRST_ERROR: Final = 400
# Nothing but the page's own files runs; any app may show the element in a frame, as with the provider's.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'"
)


class Reply(Protocol):
    """The answer to a request of a page."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """JSON."""
        ...


Answer = Callable[[PspRequest], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a browser gets. `location` sends it elsewhere."""

    body: bytes = b""
    content_type: str = _HTML
    status: int = 200
    location: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        named = {
            "Content-Type": self.content_type,
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        return named if self.location is None else {**named, "Location": self.location}


def amount_text(minor: int, currency: str) -> str:
    """An amount of a currency with two decimals."""
    return f"{minor / 100:.2f} {currency.upper()}"


def notice(title: str, text: str, *, status: int = 200, done: str = "") -> Page:
    """A page that says one thing."""
    body = filled("notice.html", title=html.escape(title), text=html.escape(text), done=html.escape(done))
    return Page(body=body, status=status)


def filled(name: str, **values: str) -> bytes:
    """A page's file with its values, which are escaped already."""
    return Template(file_text(name)).substitute(values).encode()


def file_text(name: str) -> str:
    """A file beside this module."""
    return resources.files(__package__ or __name__).joinpath(name).read_text(encoding="utf-8")
