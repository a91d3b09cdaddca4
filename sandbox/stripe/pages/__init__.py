"""The sandbox PSP's pages: the payment element, its script, the challenge of a bank, an account's form.

Owns: the pages' HTML, and how a challenge or a form is answered and leads back. Must not know: what a card
does. Card numbers are typed into a page of the PSP's own origin and go to the PSP alone. The pages need no
key: a link to a challenge is as secret as the intent's id, and the port stays on loopback.
"""

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from sandbox.stripe.access import PspRequest
from sandbox.stripe.onboarding import LINK
from sandbox.stripe.state import PspState
from sandbox.stripe.test_numbers import TEST_NUMBERS

ELEMENT: Final = "/_sandbox/element"
_FILES: Final = {
    "/_sandbox/element.js": ("element.js", "text/javascript"),
    "/_sandbox/element-page.js": ("element-page.js", "text/javascript"),
    "/_sandbox/challenge.js": ("challenge.js", "text/javascript"),
    "/_sandbox/style.css": ("style.css", "text/css"),
}
_KINDS: Final = {"payment_intents": "payment_intent", "setup_intents": "setup_intent"}
_HTML: Final = "text/html; charset=utf-8"
_PARTS: Final = 4
_FIRST_ERROR: Final = 400
# Nothing but the page's own files runs; any app may show the element in a frame, as with the provider's.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'"
)


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


Answer = Callable[[PspRequest], int]


def page_for(state: PspState, request: PspRequest, answer: Answer) -> Page | None:
    """The page of a path, None where it has none.

    `answer` carries a control request out and gives its HTTP status.
    """
    if request.method == "GET" and request.path in _FILES:
        name, kind = _FILES[request.path]
        return Page(body=_file(name).encode(), content_type=f"{kind}; charset=utf-8")
    if request.method == "GET" and request.path == ELEMENT:
        return Page(body=_element())
    parts = request.path.strip("/").split("/")
    if parts[:2] == ["_sandbox", "onboarding"]:
        return _onboarding(state, parts[2:], request, answer)
    if len(parts) != _PARTS or parts[0] != "_sandbox" or parts[1] not in _KINDS:
        return None
    if request.method == "GET" and parts[3] == "authenticate":
        return _challenge(state, parts[1], parts[2])
    if request.method == "POST" and parts[3] == "answer":
        return _answered(state, parts[1], parts[2], request, answer)
    return None


def _element() -> bytes:
    numbers = [
        {"number": " ".join(one.groups), "shows": one.shows, "last4": "".join(one.groups)[-4:]}
        for one in TEST_NUMBERS
    ]
    return _filled("element.html", numbers=html.escape(json.dumps(numbers)))


def _onboarding(state: PspState, rest: list[str], request: PspRequest, answer: Answer) -> Page | None:
    """The form of a connected account: opened once by its link, then completed or left."""
    link = state.peek(LINK, rest[0]) if rest else None
    if link is None:
        return _notice("There is no such link", "It is wrong or out of date.", status=404)
    if request.method == "GET" and len(rest) == 1:
        visit = PspRequest(method="POST", path=f"/_sandbox/account_links/{link['id']}/visit", headers={})
        if answer(visit) >= _FIRST_ERROR:
            return Page(status=303, location=link["refresh_url"])
        action = html.escape(f"/_sandbox/onboarding/{link['id']}/answer")
        return Page(body=_filled("onboarding.html", account=html.escape(link["account"]), action=action))
    if request.method == "POST" and rest[1:] == ["answer"] and link["visited"]:
        if parse_qs(request.body.decode(errors="replace")).get("outcome") == ["complete"]:
            answer(
                PspRequest(method="POST", path=f"/_sandbox/accounts/{link['account']}/complete", headers={})
            )
        return Page(status=303, location=link["return_url"])
    return None


def _challenge(state: PspState, collection: str, intent_id: str) -> Page:
    intent = state.peek(_KINDS[collection], intent_id)
    if intent is None:
        return _notice("There is no such request", "The link is wrong or out of date.", status=404)
    if intent["status"] != "requires_action":
        return _notice("Nothing to confirm", "This request has been answered. You can close this page.")
    amount = "to save your card"
    if collection == "payment_intents":
        amount = f"for a payment of up to {_amount(intent['amount'], intent['currency'])}"
    return_url = _return_url(intent) or ""
    body = _filled(
        "challenge.html",
        what=html.escape(amount),
        action=html.escape(f"/_sandbox/{collection}/{intent_id}/answer"),
        leave=html.escape(return_url),
        hidden="" if return_url else "hidden",
    )
    return Page(body=body)


def _answered(state: PspState, collection: str, intent_id: str, request: PspRequest, answer: Answer) -> Page:
    outcome = parse_qs(request.body.decode(errors="replace")).get("outcome", [""])[0]
    intent = state.peek(_KINDS[collection], intent_id)
    if intent is None or outcome not in {"succeed", "fail"}:
        return _notice("There is no such request", "The link is wrong or out of date.", status=404)
    return_url = _return_url(intent)
    status = answer(
        PspRequest(
            method="POST",
            path=f"/_sandbox/{collection}/{intent_id}/authenticate",
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=urlencode({"outcome": outcome}).encode(),
        )
    )
    if status >= _FIRST_ERROR:
        return _notice("Nothing to confirm", "This request has been answered. You can close this page.")
    if return_url is None:
        return _notice("Done", "You can close this page.", done=outcome)
    kind = _KINDS[collection]
    return Page(
        status=303,
        location=_with_query(
            return_url,
            {
                kind: intent_id,
                f"{kind}_client_secret": intent["client_secret"],
                "redirect_status": "succeeded" if outcome == "succeed" else "failed",
            },
        ),
    )


def _return_url(intent: Mapping[str, object]) -> str | None:
    action = intent["next_action"]
    redirect = action.get("redirect_to_url") if isinstance(action, dict) else None
    return str(redirect["return_url"]) if redirect else None


def _with_query(address: str, pairs: Mapping[str, str]) -> str:
    parts = urlsplit(address)
    query = "&".join(part for part in (parts.query, urlencode(pairs)) if part)
    return urlunsplit(parts._replace(query=query))


def _amount(minor: int, currency: str) -> str:
    return f"{minor / 100:.2f} {currency.upper()}"


def _notice(title: str, text: str, *, status: int = 200, done: str = "") -> Page:
    body = _filled("notice.html", title=html.escape(title), text=html.escape(text), done=html.escape(done))
    return Page(body=body, status=status)


def _filled(name: str, **values: str) -> bytes:
    return Template(_file(name)).substitute(values).encode()


def _file(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
