"""Templates and static files: what a page is made of.

Owns: the templates' environment (every value is escaped), the filters, the hashed names of the console's own
files and the headers of a page. Must not know any page.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from gateway.console import figures
from gateway.console.object_pages import object_page, split_at_ids

PATH: Final = "/console"
STATIC_PATH: Final = f"{PATH}/static"
# No inline script or style, no other host: an injected text could run nothing.
PAGE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
STATIC_HEADERS: Final[Mapping[str, str]] = {"Cache-Control": "public, max-age=31536000, immutable"}
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FILES: Final = ("console.css", "console.js", "proof.js", "icon.svg")
_HASH_CHARACTERS: Final = 12
PIECES_OF_A_STEP: Final = 100  # about half a millisecond; a piece is a text, a value or a macro's result


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """One of the console's own files under the name of its content."""

    name: str
    content: bytes
    content_type: str


@cache
def static_files() -> Mapping[str, StaticFile]:
    """The files by their plain name."""
    found = {}
    for plain in _FILES:
        content = (files("gateway.console") / "static" / plain).read_bytes()
        stem, _, ending = plain.partition(".")
        digest = hashlib.sha256(content).hexdigest()[:_HASH_CHARACTERS]
        found[plain] = StaticFile(
            name=f"{stem}-{digest}.{ending}", content=content, content_type=_TYPES[ending]
        )
    return found


def static_address(plain: str) -> str:
    """Where a page finds one of the console's files."""
    return f"{STATIC_PATH}/{static_files()[plain].name}"


@cache
def environment() -> Environment:
    """The templates; an unknown name is an error, every value is escaped."""
    made = Environment(
        loader=PackageLoader("gateway.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # a page asks no file system whether its templates have changed
        cache_size=-1,
    )
    made.filters.update(
        money=_money,
        energy=_energy,
        day=_day,
        when=_when,
        number=_number,
        span=_span,
        duration=figures.duration,
        code=_code,
        clock=_clock,
        key_text=_key_text,
        known_text=_known_text,
        decimal=_decimal,
        object_page=lambda name, platform: object_page(name, platform=platform),
        pieces=split_at_ids,
    )
    made.globals["static"] = static_address
    made.globals["last_day"] = lambda chosen: (chosen.until - timedelta(days=1)).date().isoformat()
    return made


def prepare_templates() -> None:
    """Compile every template, which takes some hundred ms, before the first page is asked for."""
    made = environment()
    for name in made.list_templates(extensions=["html"]):
        made.get_template(name)
    static_files()


def render(template: str, values: Mapping[str, Any]) -> str:
    """The HTML of a small page."""
    return environment().get_template(template).render(values)


async def render_in_steps(template: str, values: Mapping[str, Any]) -> str:
    """A page's HTML, made a few pieces at a time: between them the event loop serves whoever else waits."""
    return await _in_steps(environment().get_template(template).generate(values))


async def render_block_in_steps(template: str, block: str, values: Mapping[str, Any]) -> str:
    """One block of a page alone, in the same way; `parts` are the page's own macros."""
    parts = environment().get_template("parts.html").make_module(dict(values))
    found = environment().get_template(template)
    return await _in_steps(found.blocks[block](found.new_context({**values, "parts": parts})))


async def _in_steps(pieces: Iterable[str]) -> str:
    made: list[str] = []
    for piece in pieces:
        made.append(piece)
        if len(made) % PIECES_OF_A_STEP == 0:
            await asyncio.sleep(0)
    return "".join(made)


@pass_context
def _money(context: Context, minor: int | None, currency: str | None) -> str:
    if minor is None or currency is None:
        return "\u2013"
    return figures.money(minor, currency, context["t"].language)


@pass_context
def _energy(context: Context, watt_hours: int | None) -> str:
    return "\u2013" if watt_hours is None else figures.energy(watt_hours, context["t"].language)


@pass_context
def _number(context: Context, value: int) -> str:
    return figures.number(value, context["t"].language)


@pass_context
def _decimal(context: Context, value: str | float) -> str:
    """A number that the API writes as text, with the language's marks."""
    try:
        return figures.number(Decimal(str(value)), context["t"].language)
    except InvalidOperation:
        return str(value)


@pass_context
def _day(context: Context, value: str | date | None, *, weekday: bool = False) -> str:
    if value is None:
        return "\u2013"
    shown = date.fromisoformat(value) if isinstance(value, str) else value
    return figures.day(shown, context["t"].language, weekday=weekday)


@pass_context
def _when(context: Context, value: str | datetime | None, market: str | None = None) -> Markup | str:
    """A time in the viewer's zone, with the market's beside it where that is another one."""
    if value is None:
        return "\u2013"
    at = figures.parse_instant(value) if isinstance(value, str) else value
    zone, language = context["zone"], context["t"].language
    # A line may break between the day and the time of day, and nowhere else.
    on, _, clock = figures.instant(at, zone, language).rpartition(" ")
    shown = f"{on.replace(' ', figures.NO_BREAK)} {clock}{figures.NO_BREAK}{figures.zone_name(at, zone)}"
    parts = Markup('<time datetime="{}">{}</time>').format(at.isoformat(), shown)
    if market is not None:
        there = figures.zone_of(market)
        if there.utcoffset(at.astimezone(there)) != zone.utcoffset(at.astimezone(zone)):
            other = f"{at.astimezone(there):%H:%M:%S} {figures.zone_name(at, there)}"
            parts += Markup(' <span class="market">{}</span>').format(other)
    return parts


@pass_context
def _span(_context: Context, start: str | None, end: str | None) -> str:
    if start is None or end is None:
        return "\u2013"
    return figures.duration(figures.parse_instant(end) - figures.parse_instant(start))


@pass_context
def _code(context: Context, code: str | None, kind: str) -> str:
    return "\u2013" if code is None else context["t"].of_code(kind, code)


@pass_context
def _clock(context: Context, value: datetime, range_name: str) -> str:
    """A bar's place: the time of day, or the day where a bar is one."""
    local = value.astimezone(context["zone"])
    return f"{local:%H:%M}" if range_name == "today" else figures.day(local.date(), context["t"].language)


@pass_context
def _key_text(context: Context, key: str) -> str:
    """The text of a key that comes from the API's codes."""
    return str(context["t"].of_key(key))


@pass_context
def _known_text(context: Context, key: str) -> str:
    """The text of a key that may have none: "" then."""
    return str(context["t"].of_known(key) or "")
