"""Parties and people: who takes part, who may sign in, what they did.

Owns: the lists, the pages and their acts. Must not know how a session of a person works. A party's
administrator sees and changes their own party's people.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from aiohttp import web

from gateway.api import problems
from gateway.api.partners.people import sign_in_address
from gateway.api.problems import ProblemError
from gateway.console import csv_file, csv_lists
from gateway.console.page import ConsolePage
from gateway.console.views.payouts import holds_shown
from gateway.errors import MalformedIdError
from gateway.ids import new_id, parse_id
from gateway.people.errors import PeopleError
from gateway.people.person import PERSON_PREFIX
from gateway.people.roles import ActArea, PersonRole

_PAGE: Final = "50"
_ACTS: Final = 30
_ACTS_OF_A_READ: Final = 500
_ACT_COLUMNS: Final = ("acted_at", "person", "party_id", "operation", "subject", "status")
_PERSON_COLUMNS: Final = ("public_id", "name", "email", "party_id", "role", "created_at", "last_seen_at")
_CREATED: Final = 201
_CONFLICT: Final = 409
_MAX_NAME: Final = 120


async def parties(page: ConsolePage) -> web.StreamResponse:
    """Who takes part."""
    if csv_file.wanted(page) is not None:
        return await csv_file.answer_list(page, csv_lists.PARTIES)
    found = await page.calls.read("listParties", query={"limit": _PAGE, **page.query("cursor")})
    return page.respond("parties.html", found=found)


async def party(page: ConsolePage) -> web.Response:
    """One party: its details, payout terms, holds and keys."""
    name = page.request.match_info["id"]
    shown = await page.calls.read("getParty", id=name)
    shows_keys = page.calls.may_read("listApiKeys")
    keys = await page.calls.read("listApiKeys", id=name) if shows_keys else {"data": []}
    terms = await page.calls.read("getPayoutTerms", id=name) if name != "platform" else None
    return page.respond(
        "party.html",
        party=shown,
        keys=keys["data"],
        terms=terms,
        **await holds_shown(page, [name]),
        people=await page.services.people.list(party_id=shown["id"]),
    )


async def people(page: ConsolePage) -> web.StreamResponse:
    """Who may sign in, and what they did."""
    match csv_file.wanted(page):
        case None:
            pass
        case "acts":
            _administrator(page)
            return await csv_file.send(page, "acts", _ACT_COLUMNS, _all_acts(page))
        case _:
            _administrator(page)
            found = await page.services.people.list(party_id=page.own_party)
            return await csv_file.answer_rows(
                page, "people", _PERSON_COLUMNS, [_columns_of(one, _PERSON_COLUMNS) for one in found]
            )
    return await _people(page, link=None, error="")


async def _people(page: ConsolePage, *, link: str | None, error: str) -> web.Response:
    _administrator(page)
    found = await page.services.people.list(party_id=page.own_party)
    acts = await page.services.people.list_acts(party_id=page.own_party, before=None, limit=_ACTS)
    return page.respond(
        "people.html",
        people=found,
        acts=acts,
        roles=[role.value for role in PersonRole],
        link=link,
        error=error,
        names=await page.services.people.names([one.created_by for one in found]),
    )


async def _all_acts(page: ConsolePage) -> AsyncIterator[list[list[Any]]]:
    before = None
    while True:
        found = await page.services.people.list_acts(
            party_id=page.own_party, before=before, limit=_ACTS_OF_A_READ
        )
        yield [_columns_of(one, _ACT_COLUMNS) for one in found]
        if len(found) < _ACTS_OF_A_READ:
            return
        before = found[-1].id


def _columns_of(record: object, names: Sequence[str]) -> list[Any]:
    return [getattr(record, name) for name in names]


async def invite(page: ConsolePage) -> web.Response:
    """Invite somebody, and show their link once."""
    _administrator(page)
    form = page.form
    party_id = page.own_party or form.get("party", "") or page.signed_in.person.party_id
    name, email, role = form.get("name", "").strip(), form.get("email", "").strip(), form.get("role", "")
    well_formed = 0 < len(name) <= _MAX_NAME and "@" in email.strip("@") and role in set(PersonRole)
    if not well_formed or "\x00" in name + email + party_id:
        return await _people(page, link=None, error=page.t("people.unfit"))
    by, maker = page.signed_in.person.public_id, page.signed_in.person.rights.scopes
    service = page.services.people
    try:
        made = await service.invite(
            person_id=new_id(),
            party_id=party_id,
            email=email,
            name=name,
            role=PersonRole(role),
            by=by,
            maker=maker,
        )
    except PeopleError as error:
        await _record(page, "invitePerson", email, _CONFLICT)
        return await _people(page, link=None, error=str(error))
    link = await service.link(made.id, party_id=page.own_party, by=by, maker=maker)
    await _record(page, "invitePerson", made.public_id, _CREATED)
    return await _people(page, link=sign_in_address(page.services.options.base_url, link.token), error="")


async def act_on_person(page: ConsolePage) -> web.Response:
    """Make a new link, or end somebody's access."""
    _administrator(page)
    service, by = page.services.people, page.signed_in.person.public_id
    maker = page.signed_in.person.rights.scopes
    try:
        person_id = parse_id(PERSON_PREFIX, page.request.match_info["id"])
    except MalformedIdError as error:
        raise ProblemError(problems.NOT_FOUND, str(error)) from None
    name = page.request.match_info["id"]
    if page.form.get("act") == "revoke":
        await service.revoke(person_id, party_id=page.own_party, by=by)
        await _record(page, "revokePerson", name, _CREATED)
        return page.back("/console/people")
    link = await service.link(person_id, party_id=page.own_party, by=by, maker=maker)
    await _record(page, "createPersonLink", name, _CREATED)
    return await _people(page, link=sign_in_address(page.services.options.base_url, link.token), error="")


async def _record(page: ConsolePage, operation: str, subject: str, status: int) -> None:
    await page.services.people.record(
        page.signed_in.person, operation=operation, subject=subject, status=status
    )


def _administrator(page: ConsolePage) -> None:
    if not page.calls.may_act(ActArea.PEOPLE):
        raise ProblemError(problems.MISSING_SCOPE, "Your role does not do this.")
