"""What connected accounts must give before they can be paid: requirements, account links, and their page.

Owns: an account that the provider onboards is restricted until its link was followed to the end; a link leads
there once, for five minutes. Must not know: what a requirement asks for, HTML. The control API completes,
restricts and disconnects an account as the provider, its holder or a bank would.
Source: docs.stripe.com/api/account_links; pages connect/handling-api-verification, connect/hosted-onboarding.
"""

from typing import Final
from urllib.parse import urlsplit

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.parameters import VALUE, takes
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem
from sandbox.stripe.state import PspState

LINK: Final = "sandbox_account_link"
LINK_SECONDS: Final = 300
# What the provider asks a company for before it may receive transfers.
ASKED: Final = ("business_type", "external_account", "tos_acceptance.date", "tos_acceptance.ip")
_REASONS: Final = (
    "action_required.requested_capabilities",
    "listed",
    "other",
    "platform_paused",
    "rejected.fraud",
    "rejected.incomplete_verification",
    "rejected.listed",
    "rejected.other",
    "rejected.platform_fraud",
    "rejected.platform_other",
    "rejected.platform_terms_of_service",
    "rejected.terms_of_service",
    "requirements.past_due",
    "requirements.pending_verification",
    "under_review",
)
# A capability has reasons of its own.
_CAPABILITY_REASONS: Final = {
    "platform_paused": "platform_paused",
    "requirements.past_due": "requirements.fields_needed",
    "requirements.pending_verification": "pending.review",
    "under_review": "pending.review",
}
_NO_ACCOUNT: Final = (
    "The provided key 'sk_test_****' does not have access to account '{}' (or that account does not exist). "
    "Application access may have been revoked."
)


def find_account(state: PspState, account_id: str) -> Json:
    """A copy of a connected account.

    Raises PspProblem (403) where there is none that the platform may use.
    """
    account = state.peek("account", account_id)
    if account is None or "deleted" in account:
        raise PspProblem(_NO_ACCOUNT.format(account_id[:40]), status=403, code="account_invalid")
    return dict(account)


def restrict(account: Json, *, reason: str, due: list[str], past_due: bool, deadline: int | None) -> None:
    """Take from an account what the missing information is needed for."""
    account["capabilities"] = dict.fromkeys(account["capabilities"], "inactive")
    account["charges_enabled"] = account["payouts_enabled"] = False
    account["requirements"] = account["requirements"] | {
        "currently_due": due,
        "past_due": due if past_due else [],
        "eventually_due": due,
        "disabled_reason": reason,
        "current_deadline": deadline,
    }


def satisfy(account: Json) -> None:
    """All that the provider wanted to know is known."""
    account["capabilities"] = dict.fromkeys(account["capabilities"], "active")
    account["charges_enabled"] = account["capabilities"].get("card_payments") == "active"
    account["payouts_enabled"] = account["details_submitted"] = True
    account["requirements"] = account["requirements"] | {
        "currently_due": [],
        "past_due": [],
        "eventually_due": [],
        "disabled_reason": None,
        "current_deadline": None,
    }


def store_changed(state: PspState, account: Json) -> None:
    """Store an account whose capabilities may have changed, and tell of it."""
    before = state.peek("account", account["id"]) or {}
    state.put("account", account)
    state.emit("account.updated", account, account["id"])
    for name, status in account["capabilities"].items():
        if before.get("capabilities", {}).get(name) != status:
            state.emit("capability.updated", _capability(state, account, name), account["id"])


def _capability(state: PspState, account: Json, name: str) -> Json:
    wanted = account["requirements"]
    reason = wanted["disabled_reason"]
    return {
        "id": name,
        "object": "capability",
        "account": account["id"],
        "future_requirements": account["future_requirements"],
        "requested": True,
        "requested_at": state.now,
        "requirements": wanted
        | {"disabled_reason": None if reason is None else _CAPABILITY_REASONS.get(reason, "other")},
        "status": account["capabilities"][name],
    }


@takes(
    "account",
    "collect",
    "refresh_url",
    "return_url",
    "type",
    collection_options={"fields": VALUE, "future_requirements": VALUE},
)
def create_link(call: PspApiRequest) -> Json:
    """POST /v1/account_links: a link of one visit to the provider's form."""
    params, state = call.params, call.state
    account = find_account(state, params.required_text("account"))
    kind = params.required_text("type")
    if kind not in {"account_onboarding", "account_update"}:
        raise ParameterProblem("Invalid type: must be account_onboarding or account_update", param="type")
    if kind == "account_update" and account["controller"]["requirement_collection"] == "stripe":
        raise PspProblem("You cannot create `account_update` type Account Links for this account.")
    link: Json = {
        "id": state.new_secret("acctlink_"),
        "account": account["id"],
        "expires_at": state.now + LINK_SECONDS,
        "refresh_url": _address(call, "refresh_url"),
        "return_url": _address(call, "return_url"),
        "visited": False,
    }
    state.put(LINK, link)
    return {
        "object": "account_link",
        "created": state.now,
        "expires_at": link["expires_at"],
        "url": f"{state.public_url}/_sandbox/onboarding/{link['id']}",
    }


def _address(call: PspApiRequest, name: str) -> str:
    text = call.params.required_text(name)
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ParameterProblem("Not a valid URL", param=name, code="url_invalid")
    return text


def visit(call: PspApiRequest) -> Json:
    """POST /_sandbox/account_links/{id}/visit: the page is opened; a link opens it once."""
    link = call.state.get(LINK, call.ids[0])
    if link["visited"] or link["expires_at"] < call.state.now:
        raise PspProblem("The link was visited before, or has expired.", code="account_link_used")
    return call.state.put(LINK, link | {"visited": True})


def complete(call: PspApiRequest) -> Json:
    """POST /_sandbox/accounts/{id}/complete: its holder has given the provider what it wanted to know."""
    call.params.only()
    account = find_account(call.state, call.ids[0])
    satisfy(account)
    store_changed(call.state, account)
    return account


def restrict_account(call: PspApiRequest) -> Json:
    """POST /_sandbox/accounts/{id}/restrict {disabled_reason, due, past_due, deadline}."""
    params = call.params.only("disabled_reason", "due", "past_due", "deadline")
    account = find_account(call.state, call.ids[0])
    reason = params.choice("disabled_reason", _REASONS, default="requirements.past_due") or ""
    restrict(
        account,
        reason=reason,
        due=params.texts("due"),
        past_due=params.boolean("past_due", default=reason == "requirements.past_due"),
        deadline=params.integer("deadline"),
    )
    store_changed(call.state, account)
    return account
