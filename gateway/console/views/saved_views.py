"""Saved views on the pages of lists: shown as links, saved and deleted by their person.

Owns: which list a view is of, and the address of a view. Must not know how a list is read. Saving a view is a
person's own affair: every role may, and nothing else changes by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from gateway.console.filters import FILTERS, read_filters
from gateway.console.page import ConsolePage
from gateway.errors import MalformedIdError
from gateway.ids import format_id, parse_id
from gateway.people.errors import SavedViewError
from gateway.people.saved_views import VIEW_PREFIX

_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewLink:
    """A saved view as a page shows it; `owner` is "" for one's own."""

    id: str
    name: str
    address: str
    shared: bool
    owner: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewsOfList:
    """What a list's page shows of views: the links, and the filters that can be saved; "" for none."""

    list_name: str
    links: Sequence[ViewLink]
    filters: str


async def views_of(page: ConsolePage, list_name: str) -> ViewsOfList:
    """The person's own views of a list and those shared in their party."""
    person = page.signed_in.person
    set_now = page.query(*FILTERS[list_name])
    links = []
    for one in await page.services.saved_views.list(person, list_name=list_name):
        kept = {name: one.filters[name] for name in FILTERS[list_name] if name in one.filters}
        links.append(
            ViewLink(
                id=format_id(VIEW_PREFIX, one.id),
                name=one.name,
                address=f"/console/{list_name}?{urlencode(kept)}",
                shared=one.shared,
                owner="" if one.person_id == person.id else one.owner,
                current=kept == set_now,
            )
        )
    return ViewsOfList(list_name=list_name, links=links, filters=urlencode(set_now))


async def save(page: ConsolePage) -> web.StreamResponse:
    """Save the filters of a list under a name."""
    name = page.form.get("list", "")
    if name not in FILTERS:
        raise web.HTTPNotFound
    found = read_filters(name, page.form.get("filters", ""))
    address = f"/console/{name}?{urlencode(found)}"
    try:
        await page.services.saved_views.save(
            page.signed_in.person,
            list_name=name,
            name=page.form.get("name", ""),
            filters=found,
            shared=page.form.get("shared") == "yes",
        )
    except SavedViewError as error:
        return page.back_with(address, f"{error}.")
    await _record(page, "saveView", page.form.get("name", ""))
    return page.back(address)


async def delete(page: ConsolePage) -> web.StreamResponse:
    """Delete a view of one's own."""
    name, view = page.form.get("list", ""), page.request.match_info["id"]
    if name not in FILTERS:
        raise web.HTTPNotFound
    try:
        await page.services.saved_views.delete(page.signed_in.person, parse_id(VIEW_PREFIX, view))
    except (SavedViewError, MalformedIdError) as error:
        return page.back_with(f"/console/{name}", f"{error}.")
    await _record(page, "deleteView", view)
    return page.back(f"/console/{name}")


async def _record(page: ConsolePage, operation: str, subject: str) -> None:
    await page.services.people.record(page.signed_in.person, operation=operation, subject=subject, status=_OK)
