"""The page of a Checkout Session: a plain form for a card, which needs no script.

Owns: the page, and where it leads: to the bank, back with a reason, or to the shop. Must not know: what a
card does. The card goes from the form to the endpoint for payment methods, as from the payment element.
The provider's own page is a program that needs JavaScript; this one is no laxer in what it lets pass.
"""

import html
import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from sandbox.stripe.access import CARD_PATH, PspRequest
from sandbox.stripe.pages.rendering import FIRST_ERROR, Answer, Page, amount_text, filled, notice
from sandbox.stripe.state import PspState
from sandbox.stripe.test_numbers import TEST_NUMBERS

CHECKOUT_PATH: Final = ("c", "pay")
_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
_NO_ANSWER: Final = "The card was not accepted."


def checkout_page(state: PspState, rest: list[str], request: PspRequest, answer: Answer) -> Page | None:
    """The page of a session, by its id."""
    if len(rest) != 1 or not rest[0].isidentifier():
        return None
    session = _asked(answer, rest[0], "visit", {})
    if "id" not in session:
        return notice("There is no such page", "The link is wrong.", status=404)
    match session["status"], request.method:
        case "complete", _:
            return Page(status=303, location=session["success_url"])
        case "expired", _:
            return notice("This page has expired", "Nothing was paid. Go back to where you came from.")
        case _, "POST":
            return _paid(state, session, request, answer)
        case _, "GET":
            failed = session["last_error"] or {}
            return Page(body=_shown(session, failed.get("message", "")))
        case _:
            return None


def _paid(state: PspState, session: Mapping[str, Any], request: PspRequest, answer: Answer) -> Page:
    """The customer's try: to the bank where it asks, to the shop where it is paid, else the page with why."""
    typed = {name: values[0] for name, values in parse_qs(request.body.decode(errors="replace")).items()}
    month, _, year = typed.get("expiry", "").replace(" ", "").partition("/")
    card = {
        "type": "card",
        "card[number]": typed.get("number", "").replace(" ", ""),
        "card[exp_month]": month,
        "card[exp_year]": year,
        "card[cvc]": typed.get("cvc", "").strip(),
    }
    made = _answered(
        answer,
        PspRequest(
            method="POST",
            path=CARD_PATH,
            headers={**_FORM, "authorization": f"Bearer {state.settings.publishable_key}"},
            body=urlencode(card).encode(),
        ),
    )
    if "id" not in made:
        return Page(body=_shown(session, made["error"].get("message", _NO_ANSWER)), status=422)
    intent = _asked(answer, session["id"], "pay", {"payment_method": made["id"]})
    if "id" not in intent:
        return Page(body=_shown(session, intent["error"].get("message", _NO_ANSWER)), status=402)
    redirect = (intent.get("next_action") or {}).get("redirect_to_url")
    return Page(status=303, location=redirect["url"] if redirect else session["success_url"])


def _asked(answer: Answer, session_id: str, verb: str, fields: Mapping[str, str]) -> dict[str, Any]:
    path = f"/_sandbox/checkout_sessions/{session_id}/{verb}"
    return _answered(
        answer, PspRequest(method="POST", path=path, headers=_FORM, body=urlencode(fields).encode())
    )


def _answered(answer: Answer, request: PspRequest) -> dict[str, Any]:
    reply = answer(request)
    found: dict[str, Any] = json.loads(reply.body)
    if reply.status >= FIRST_ERROR and "error" not in found:
        return {"error": {}}
    return found


def _shown(session: Mapping[str, Any], problem: str) -> bytes:
    submit = (session["custom_text"] or {}).get("submit") or {}
    numbers = "".join(
        f"<li><b>{' '.join(one.groups)}</b> {html.escape(one.shows)}</li>" for one in TEST_NUMBERS
    )
    return filled(
        "checkout.html",
        lang=html.escape(session["locale"] or "en"),
        amount=html.escape(amount_text(session["amount_total"], session["currency"])),
        item=html.escape(session["name"]),
        message=html.escape(submit.get("message", "")),
        error=html.escape(problem),
        failed="" if problem else "hidden",
        leave=html.escape(session["cancel_url"] or ""),
        hidden="" if session["cancel_url"] else "hidden",
        numbers=numbers,
    )
