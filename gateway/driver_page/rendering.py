"""The driver page as HTML: templates with every value escaped, its files, its Content-Security-Policy.

Owns: how a page is made and what its browser may load. Must not know: payments, storage.
Source: W3C Content Security Policy Level 3. Browsers hold `form-action` for redirects after a form too,
so a form leads to no other host than the PSP's page for paying: the way to a bank is a link.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web
from jinja2 import Environment, FunctionLoader, StrictUndefined

from clearing.language import Language
from gateway.driver_page.languages import texts_of
from gateway.payments.psp.payer_port import PageSources

STATIC: Final = "/driver-page"
_FILES: Final = {
    "driver.css": "text/css",
    "plain.css": "text/css",
    "pay.js": "text/javascript",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_FOREVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFrame:
    """What every page has around it: its language, its address in each language, and whose page it is."""

    language: Language
    path: str
    query: Mapping[str, str]
    brand: str = ""
    support: str = ""


def html(
    name: str,
    frame: PageFrame,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    sources: PageSources | None = None,
) -> web.Response:
    """A page; `sources` lets it load the PSP's form."""
    text = render(name, frame, context)
    headers = {
        "Content-Security-Policy": policy(sources),
        "Cache-Control": "no-store",
        "Content-Language": frame.language.value,
        # Own pages learn where a form comes from; no other host learns an address.
        "Referrer-Policy": "same-origin",
        "Vary": "Accept-Language",
    }
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def render(name: str, frame: PageFrame, context: Mapping[str, Any]) -> str:
    """A template's text."""
    return (
        _environment()
        .get_template(name)
        .render(
            t=texts_of(frame.language),
            lang=frame.language.value,
            frame=frame,
            languages=[(one.value, texts_of(one)["language"], _in_language(frame, one)) for one in Language],
            asset=asset,
            **context,
        )
    )


def policy(sources: PageSources | None) -> str:
    """Own files only, and of the PSP what its form needs."""
    given = sources or PageSources(scripts=(), frames=())
    directives: Sequence[tuple[str, Sequence[str]]] = (
        ("default-src", ("'none'",)),
        ("script-src", ("'self'", *given.scripts)),
        ("style-src", ("'self'",)),
        ("img-src", ("'self'",)),
        ("connect-src", ("'self'", *given.connections)),
        ("frame-src", given.frames or ("'none'",)),
        ("form-action", ("'self'", *given.pages)),
        ("base-uri", ("'none'",)),
        ("frame-ancestors", ("'none'",)),
    )
    return "; ".join(f"{name} {' '.join(values)}" for name, values in directives)


def static_file(name: str) -> web.Response | None:
    """One of the page's files; its address changes with its content, so it is kept for ever."""
    if name not in _FILES:
        return None
    return web.Response(
        body=_content(name),
        content_type=_FILES[name],
        charset="utf-8",
        headers={"Cache-Control": _FOREVER},
    )


def asset(name: str) -> str:
    """The address of one of the page's files."""
    return f"{STATIC}/{name}?v={hashlib.sha256(_content(name)).hexdigest()[:12]}"


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _template(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


@cache
def _content(name: str) -> bytes:
    return (files(__package__) / "static" / name).read_bytes()


def _in_language(frame: PageFrame, language: Language) -> str:
    """The page's address in a language."""
    return f"{frame.path}?{urlencode({**frame.query, 'lang': language.value})}"
