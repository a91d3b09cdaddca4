"""One page for one person: what it may call, in which language and zone, and how it answers.

Owns: the values that every template has, and forms. Must not know what a page is about.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from aiohttp import web

from gateway.api.services import ApiServices
from gateway.console.calls import ActOutcome, ConsoleAct, ConsoleCalls
from gateway.console.navigation import navigation
from gateway.console.rendering import PAGE_HEADERS, render_block_in_steps, render_in_steps
from gateway.console.texts import LANGUAGES, Texts
from gateway.console.turns import PageTurn, PageTurns
from gateway.exceptions.repository import OpenExceptionCount
from gateway.live_streams import LiveStreams, SharedReading
from gateway.people.person import SignedIn
from gateway.people.roles import ActArea

_ONCE_BYTES: Final = 18
_SEE_OTHER: Final = 303
_OK: Final = 200
_DONE: Final = "done"
OF_ONE_ANSWER: Final = frozenset({"lang", "proof", "notice", "field"})  # no part of what a page shows


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFile:
    """A file of a form, as the browser sent it: neither its name nor its content is checked."""

    name: str
    content: bytes


class UnrenderedPage(web.Response):
    """A page that has its values and not yet its text: whoever answers awaits `render`."""

    def __init__(self, template: str, values: Mapping[str, Any], *, status: int) -> None:
        super().__init__(status=status, headers={**PAGE_HEADERS, "Content-Type": "text/html; charset=utf-8"})
        self._template = template
        self._values = values

    async def render(self) -> None:
        """Make the text, with pauses for others."""
        self.text = await render_in_steps(self._template, self._values)

    async def render_block(self, block: str) -> str:
        """Make the text of one block of the template alone."""
        return await render_block_in_steps(self._template, block, self._values)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveViews:
    """The live views of a process, what all of those of a kind show, and what its pages share."""

    streams: LiveStreams
    operations: SharedReading[Mapping[str, Any]]
    open_exceptions: SharedReading[Sequence[OpenExceptionCount]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePage:
    """What a view works with."""

    request: web.Request
    services: ApiServices
    signed_in: SignedIn
    calls: ConsoleCalls
    t: Texts
    zone: tzinfo
    turn: PageTurn
    file_turns: PageTurns
    live: LiveViews
    still_signed_in: Callable[[], Awaitable[bool]]
    form: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FormFile] = field(default_factory=dict)

    @property
    def own_party(self) -> str | None:
        """The party whose objects the person sees; None for the platform, which sees everybody's."""
        return None if self.calls.platform else self.signed_in.person.party_id

    @property
    def notice(self) -> str:
        """What became of the act before, as `back` wrote it into the address; "" where a link made it up."""
        written = self.request.query.get("notice", "")
        if written == _DONE:
            return written
        proof = self.request.query.get("proof", "")
        proved = hmac.compare_digest(proof.encode(), self.signed_in.proof_of(written).encode())
        return written if proved else ""

    def query(self, *names: str) -> dict[str, str]:
        """Those of these parameters that the address has, without empty ones."""
        return {name: self.request.query[name] for name in names if self.request.query.get(name)}

    def respond(self, template: str, *, status: int = _OK, **values: Any) -> UnrenderedPage:
        """The page from its template, which is rendered once the view has ended."""
        person = self.signed_in.person
        shared = {
            "t": self.t,
            "zone": self.zone,
            "languages": LANGUAGES,
            "person": person,
            "platform": self.calls.platform,
            "csrf": self.signed_in.csrf_token,
            "once": secrets.token_urlsafe(_ONCE_BYTES),
            "may": lambda area: self.calls.may_act(ActArea(area)),
            "can": lambda operation, area: (
                self.calls.may_act(ActArea(area)) and self.calls.may_read(operation)
            ),
            "nav": navigation(self.calls, self.request.path),
            "here": self.request.path,
            "environment": self.services.options.environment,
            "address": self.address,
            "notice": self.notice,
            "wrong_field": self.request.query.get("field", ""),
        }
        return UnrenderedPage(template, shared | values, status=status)

    def address(self, **changes: str | None) -> str:
        """This page's address with other parameters; None takes one away."""
        kept = {**self.request.query, **changes}
        pairs = {name: value for name, value in kept.items() if value and name not in OF_ONE_ANSWER}
        return f"{self.request.path}?{urlencode(pairs)}" if pairs else self.request.path

    async def act(
        self,
        operation: str,
        area: ActArea,
        *,
        body: Mapping[str, Any] | None = None,
        **path: str,
    ) -> ActOutcome:
        """What this page's form asks for, once however often it is sent."""
        once = self.form.get("once") or secrets.token_urlsafe(_ONCE_BYTES)
        return await self.calls.act(
            ConsoleAct(operation=operation, area=area, once=once, path=path, body=body)
        )

    def back(self, address: str, outcome: ActOutcome | None = None) -> web.Response:
        """Back to a page after an act, with what became of it."""
        if outcome is None or not outcome.rejected:
            return self.back_with(address, "")
        return self.back_with(address, outcome.text, field_name=outcome.field)

    def back_with(self, address: str, problem: str, *, field_name: str = "") -> web.Response:
        """Back to a page after an act; `problem` says why it was rejected, "" that it is done.

        `field_name` is the field that the problem is about: the page's script gives the form what was typed
        into it again, and marks that field.
        """
        after = {"notice": _DONE}
        if problem:
            notice = f"rejected: {problem}"
            after = {"notice": notice, "proof": self.signed_in.proof_of(notice)}
        if field_name:
            after["field"] = field_name
        mark = "&" if "?" in address else "?"
        return web.Response(
            status=_SEE_OTHER,
            headers={"Location": f"{address}{mark}{urlencode(after)}", **PAGE_HEADERS},
        )


View = Callable[[ConsolePage], Any]
_Item = TypeVar("_Item")


def paged(found: Sequence[_Item], *, limit: int, cursor: Callable[[_Item], str]) -> dict[str, Any]:
    """A list as a page shows it, from up to `limit` + 1 items: the extra one shows that there are more."""
    shown = found[:limit]
    more = len(found) > limit
    return {"data": shown, "has_more": more, "next_cursor": cursor(shown[-1]) if more else None}
