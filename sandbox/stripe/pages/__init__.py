"""The sandbox PSP's pages: the payment element, its script, a bank's challenge, checkout, an account's form.

Owns: the pages' HTML, and how a challenge or a form is answered and leads back. Must not know: what a card
does. Card numbers are typed into a page of the PSP's own origin and go to the PSP alone. The pages need no
key: a link to a challenge is as secret as the intent's id, and the port stays on loopback.
"""

import html
import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from sandbox.stripe.access import PspRequest
from sandbox.stripe.onboarding import LINK
from sandbox.stripe.pages.hosted_checkout import CHECKOUT_PATH, checkout_page
from sandbox.stripe.pages.rendering import FIRST_ERROR, Answer, Page, amount_text, file_text, filled, notice
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
_PARTS: Final = 4


def page_for(state: PspState, request: PspRequest, answer: Answer) -> Page | None:
    """The page of a path, None where it has none.

    `answer` carries a request out.
    """
    if request.method == "GET" and request.path in _FILES:
        name, kind = _FILES[request.path]
        return Page(body=file_text(name).encode(), content_type=f"{kind}; charset=utf-8")
    if request.method == "GET" and request.path == ELEMENT:
        return Page(body=_element())
    parts = request.path.strip("/").split("/")
    if parts[:2] == list(CHECKOUT_PATH):
        return checkout_page(state, parts[2:], request, answer)
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
    return filled("element.html", numbers=html.escape(json.dumps(numbers)))


def _onboarding(state: PspState, rest: list[str], request: PspRequest, answer: Answer) -> Page | None:
    """The form of a connected account: opened once by its link, then completed or left."""
    link = state.peek(LINK, rest[0]) if rest else None
    if link is None:
        return notice("There is no such link", "It is wrong or out of date.", status=404)
    if request.method == "GET" and len(rest) == 1:
        visit = PspRequest(method="POST", path=f"/_sandbox/account_links/{link['id']}/visit", headers={})
        if answer(visit).status >= FIRST_ERROR:
            return Page(status=303, location=link["refresh_url"])
        action = html.escape(f"/_sandbox/onboarding/{link['id']}/answer")
        return Page(body=filled("onboarding.html", account=html.escape(link["account"]), action=action))
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
        return notice("There is no such request", "The link is wrong or out of date.", status=404)
    if intent["status"] != "requires_action":
        return notice("Nothing to confirm", "This request has been answered. You can close this page.")
    amount = "to save your card"
    if collection == "payment_intents":
        amount = f"for a payment of up to {amount_text(intent['amount'], intent['currency'])}"
    return_url = _return_url(intent) or ""
    body = filled(
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
        return notice("There is no such request", "The link is wrong or out of date.", status=404)
    return_url = _return_url(intent)
    reply = answer(
        PspRequest(
            method="POST",
            path=f"/_sandbox/{collection}/{intent_id}/authenticate",
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=urlencode({"outcome": outcome}).encode(),
        )
    )
    if reply.status >= FIRST_ERROR:
        return notice("Nothing to confirm", "This request has been answered. You can close this page.")
    if return_url is None:
        return notice("Done", "You can close this page.", done=outcome)
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
