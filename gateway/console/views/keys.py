"""API keys of a party and what they asked: made, rotated, revoked; requests found by their id.

Owns: the lists, the forms and how a form's fields become a key. Must not know how a key is checked. A token
is on the page that answers its form, once, and no cache keeps that page.
"""

from typing import Any, Final

from aiohttp import web

from clearing.parties.party import PLATFORM_ID
from gateway.api import problems
from gateway.api.problems import ProblemError
from gateway.console import csv_file, csv_lists
from gateway.console.page import ConsolePage
from gateway.people.roles import ActArea
from gateway.scopes import PARTY_SCOPES, Scope

_PAGE: Final = "25"
_SCOPE_FIELD: Final = "scope."
_NO_STORE: Final = "no-store"


async def keys(page: ConsolePage) -> web.StreamResponse:
    """A party's keys; for those who may, a form for a new one."""
    party = _party(page)
    if page.request.query.get("format") == "csv":
        return await csv_file.answer_list(page, csv_lists.of(csv_lists.API_KEYS, id=party))
    return await _keys(page, party, made=None)


async def _keys(page: ConsolePage, party: str, *, made: dict[str, Any] | None) -> web.Response:
    found = await page.calls.read_where_there("listApiKeys", id=party)
    if found is None:
        raise ProblemError(problems.NOT_FOUND, "There is no such party.")
    response = page.respond(
        "keys.html",
        party=party,
        keys=found["data"],
        scopes=grantable(page.signed_in.person.rights.scopes, party_id=party),
        versions=page.services.options.versions.names,
        newest=page.services.options.versions.newest,
        made=made,
    )
    response.headers["Cache-Control"] = _NO_STORE
    return response


def grantable(maker: frozenset[Scope], *, party_id: str) -> list[str]:
    """The scopes that a maker can give a key of a party, by area."""
    may_have = maker if party_id == PLATFORM_ID else maker & PARTY_SCOPES
    return sorted(scope.value for scope in may_have)


async def create(page: ConsolePage) -> web.Response:
    """Create a key, and show its token once."""
    party = _party(page)
    outcome = await page.act("createApiKey", ActArea.KEYS, body=key_body(page.form), id=party)
    if outcome.rejected or not outcome.body.get("api_key"):
        return page.back(_address(party), outcome)
    return await _keys(page, party, made=outcome.body)


def key_body(form: Any) -> dict[str, Any]:
    """A form's fields as the API reads them: a day ends at its last second, in UTC."""
    body: dict[str, Any] = {
        "scopes": sorted(name.removeprefix(_SCOPE_FIELD) for name in form if name.startswith(_SCOPE_FIELD))
    }
    networks = form.get("networks", "").replace(",", " ").split()
    if networks:
        body["allowed_networks"] = networks
    if form.get("api_version"):
        body["api_version"] = form["api_version"]
    if form.get("expires"):
        body["expires"] = f"{form['expires']}T23:59:59Z"
    return body


async def act_on_key(page: ConsolePage) -> web.Response:
    """Rotate a key, with a day in which both work, revoke it now, or give it another version of the API."""
    party, key_id = _party(page), page.request.match_info["id"]
    if page.form.get("act") == "revoke":
        outcome = await page.act("revokeApiKey", ActArea.KEYS, id=party, key_id=key_id)
        return page.back(_address(party), outcome)
    if page.form.get("act") == "pin":
        version = {"api_version": page.form.get("api_version", "")}
        outcome = await page.act("changeApiKey", ActArea.KEYS, body=version, id=party, key_id=key_id)
        return page.back(_address(party), outcome)
    if page.form.get("act") != "rotate":
        raise web.HTTPNotFound
    outcome = await page.act("rotateApiKey", ActArea.KEYS, body={}, id=party, key_id=key_id)
    if outcome.rejected or not outcome.body.get("api_key"):
        return page.back(_address(party), outcome)
    return await _keys(page, party, made=outcome.body)


async def requests(page: ConsolePage) -> web.StreamResponse:
    """What API keys asked, newest first; found by a request's id."""
    asked = page.query("request_id", "key", "party") | (
        {"failed": "true"} if page.request.query.get("failed") else {}
    )
    if page.request.query.get("format") == "csv":
        return await csv_file.answer_list(page, csv_lists.REQUESTS, query=asked)
    found = await page.calls.read("listRequests", query={"limit": _PAGE, **asked, **page.query("cursor")})
    return page.respond("requests.html", found=found, asked=asked)


async def request(page: ConsolePage) -> web.Response:
    """One request."""
    shown = await page.calls.read("getRequest", id=page.request.match_info["id"])
    return page.respond("request.html", one=shown)


def _party(page: ConsolePage) -> str:
    """Whose keys: one's own; the platform's people choose."""
    chosen = page.form.get("party") or page.request.query.get("party")
    return page.own_party or chosen or page.signed_in.person.party_id


def _address(party: str) -> str:
    return f"/console/keys?party={party}"
