"""Connected accounts, and the platform's own.

Owns: what an account is made of. Must not know: how its holder gives the provider what it wants to know
(onboarding.py). An account whose requirements the platform collects (`custom`) is ready at once, as if the
platform had sent them; one that the provider onboards is restricted until then.
"""

import re
from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.currencies import known_currency
from sandbox.stripe.lists import PAGING, list_of, page
from sandbox.stripe.onboarding import ASKED, find_account, restrict, store_changed
from sandbox.stripe.parameters import VALUE, Shape, takes
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem
from sandbox.stripe.state import PspState

_COUNTRY: Final = re.compile(r"[A-Z]{2}\Z")
_CURRENCY_OF: Final = {
    "CH": "chf",
    "CZ": "czk",
    "DK": "dkk",
    "GB": "gbp",
    "HU": "huf",
    "JP": "jpy",
    "LI": "chf",
    "NO": "nok",
    "PL": "pln",
    "RO": "ron",
    "SE": "sek",
    "US": "usd",
}
_NO_ADDRESS: Final[Json] = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
_PROFILE: Final[Json] = {
    "annual_revenue": None,
    "estimated_worker_count": None,
    "mcc": "5552",
    "minority_owned_business_designation": None,
    "name": None,
    "product_description": None,
    "support_address": _NO_ADDRESS,
    "support_email": None,
    "support_phone": None,
    "support_url": None,
    "url": None,
}
_PROFILE_TEXTS: Final = tuple(
    name
    for name in _PROFILE
    if name not in {"annual_revenue", "minority_owned_business_designation", "support_address"}
)
_CAPABILITIES: Final = ("card_payments", "transfers")
_BANK_FIELDS: Final = ("object", "country", "currency", "account_number", "account_holder_name")
CREATED: Final = ("business_type", "country", "default_currency", "email", "metadata", "type")
FILLED: Final[dict[str, Shape]] = {
    "business_profile": dict.fromkeys(_PROFILE_TEXTS, VALUE),
    "capabilities": {name: {"requested": VALUE} for name in _CAPABILITIES},
    "external_account": dict.fromkeys(_BANK_FIELDS, VALUE),
}
CONTROLLER: Final[Shape] = {
    "fees": {"payer": VALUE},
    "losses": {"payments": VALUE},
    "requirement_collection": VALUE,
    "stripe_dashboard": {"type": VALUE},
}
_COLLECTED_BY_PLATFORM: Final[Json] = {
    "fees": {"payer": "application"},
    "is_controller": True,
    "losses": {"payments": "application"},
    "requirement_collection": "application",
    "stripe_dashboard": {"type": "none"},
    "type": "application",
}
# What each type of old stands for (docs.stripe.com/connect/migrate-to-controller-properties).
_CONTROLLERS: Final[dict[str, Json]] = {
    "custom": _COLLECTED_BY_PLATFORM,
    "express": _COLLECTED_BY_PLATFORM
    | {"requirement_collection": "stripe", "stripe_dashboard": {"type": "express"}},
    "standard": _COLLECTED_BY_PLATFORM
    | {
        "fees": {"payer": "account"},
        "losses": {"payments": "stripe"},
        "requirement_collection": "stripe",
        "stripe_dashboard": {"type": "full"},
    },
}
_NOTHING_DUE: Final[Json] = {
    "alternatives": [],
    "current_deadline": None,
    "currently_due": [],
    "disabled_reason": None,
    "errors": [],
    "eventually_due": [],
    "past_due": [],
    "pending_verification": [],
}
_SETTINGS: Final[Json] = {
    "bacs_debit_payments": {"display_name": None, "service_user_number": None},
    "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
    "card_issuing": {"tos_acceptance": {"date": None, "ip": None}},
    "card_payments": {
        "decline_on": {"avs_failure": False, "cvc_failure": False},
        "statement_descriptor_prefix": None,
        "statement_descriptor_prefix_kana": None,
        "statement_descriptor_prefix_kanji": None,
    },
    "dashboard": {"display_name": None, "timezone": "Etc/UTC"},
    "invoices": {"default_account_tax_ids": None, "hosted_payment_method_save": None},
    "payments": {
        "statement_descriptor": None,
        "statement_descriptor_kana": None,
        "statement_descriptor_kanji": None,
        "statement_descriptor_prefix_kana": None,
        "statement_descriptor_prefix_kanji": None,
    },
    "payouts": {
        "debit_negative_balances": False,
        "schedule": {"delay_days": 2, "interval": "manual"},
        "statement_descriptor": None,
    },
    "sepa_debit_payments": {},
}


def build(state: PspState, account_id: str, *, country: str, currency: str, email: str | None) -> Json:
    """An account that may be paid and may pay out."""
    return {
        "id": account_id,
        "object": "account",
        "business_profile": _PROFILE,
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "controller": _COLLECTED_BY_PLATFORM,
        "country": country,
        "created": state.now,
        "default_currency": currency,
        "details_submitted": True,
        "email": email,
        "external_accounts": list_of([], url=f"/v1/accounts/{account_id}/external_accounts"),
        "future_requirements": _NOTHING_DUE,
        "metadata": {},
        "payouts_enabled": True,
        "requirements": _NOTHING_DUE,
        "settings": _SETTINGS,
        "tos_acceptance": {"date": None, "ip": None, "user_agent": None},
        "type": "none",
    }


@takes(*CREATED, controller=CONTROLLER, **FILLED)
def create(call: PspApiRequest) -> Json:
    """POST /v1/accounts."""
    params, state = call.params, call.state
    country = (params.text("country") or "CH").upper()
    if not _COUNTRY.match(country):
        raise ParameterProblem(
            f"Country '{country[:10]}' is unknown. Use a two-letter code.", param="country"
        )
    currency = known_currency(
        params.text("default_currency") or _CURRENCY_OF.get(country, "eur"), param="default_currency"
    )
    account = build(
        state, state.new_id("acct_1", 15), country=country, currency=currency, email=params.text("email")
    )
    account["type"], account["controller"] = _controller(call)
    account["metadata"] = params.metadata()
    if account["type"] != "custom":
        account["capabilities"] = {}  # those that are asked for
    _fill(call, account)
    if account["controller"]["requirement_collection"] == "stripe":
        account["details_submitted"] = False
        restrict(account, reason="requirements.past_due", due=list(ASKED), past_due=True, deadline=None)
    store_changed(state, account)
    return account


def _controller(call: PspApiRequest) -> tuple[str, Json]:
    """The type of an account and who controls what; without either it is a `standard` one.

    Raises ParameterProblem for both at once, PspProblem for what does not go together.
    """
    params = call.params
    kind = params.choice("type", tuple(_CONTROLLERS))
    if "controller" not in params:
        return kind or "standard", _CONTROLLERS[kind or "standard"]
    if kind is not None:
        raise ParameterProblem("You may not specify both `type` and `controller`.", param="type")
    asked = params.section("controller")
    sides = ("account", "application"), ("stripe", "application")
    chosen: Json = {
        "fees": {"payer": asked.section("fees").choice("payer", sides[0], default="account")},
        "losses": {"payments": asked.section("losses").choice("payments", sides[1], default="stripe")},
        "requirement_collection": asked.choice("requirement_collection", sides[1], default="stripe"),
        "stripe_dashboard": {
            "type": asked.section("stripe_dashboard").choice(
                "type", ("express", "full", "none"), default="full"
            )
        },
    }
    if chosen["losses"]["payments"] == "application" and chosen["fees"]["payer"] != "application":
        raise PspProblem(
            "When `controller[losses][payments]` is `application`, `controller[fees][payer]` must be too.",
            param="controller[fees][payer]",
        )
    named = next((name for name, one in _CONTROLLERS.items() if chosen.items() <= one.items()), "none")
    return named, _COLLECTED_BY_PLATFORM | chosen


def _fill(call: PspApiRequest, account: Json) -> None:
    params = call.params
    if "business_profile" in params:
        profile = params.section("business_profile")
        texts = {name: profile.text(name) for name in profile.raw()}
        account["business_profile"] = {**account["business_profile"], **texts}
    if "capabilities" in params:
        asked = params.section("capabilities")
        granted = {name: asked.section(name).boolean("requested", default=True) for name in asked.raw()}
        given = "inactive" if account["requirements"]["disabled_reason"] else "active"
        account["capabilities"] = {
            **account["capabilities"],
            **{name: given if on else "inactive" for name, on in granted.items()},
        }
    business_type = params.text("business_type")
    if business_type is not None:
        account["business_type"] = business_type
    if "external_account" in params:
        bank = _bank_account(call, account)
        account["external_accounts"] = {**account["external_accounts"], "data": [bank]}


def _bank_account(call: PspApiRequest, account: Json) -> Json:
    """A bank account as a destination of payouts; only the last four characters of its number are stored."""
    given = call.params.section("external_account")
    number = given.required_text("account_number")
    currency = known_currency(given.text("currency") or account["default_currency"])
    return {
        "id": call.state.new_id("ba_1"),
        "object": "bank_account",
        "account": account["id"],
        "account_holder_name": given.text("account_holder_name"),
        "account_holder_type": "company",
        "account_type": None,
        "available_payout_methods": ["standard"],
        "bank_name": "STRIPE TEST BANK",
        "country": given.text("country") or account["country"],
        "currency": currency,
        "default_for_currency": True,
        "fingerprint": call.state.new_id("", 16),
        "future_requirements": None,
        "last4": number[-4:],
        "metadata": {},
        "requirements": None,
        "routing_number": None,
        "status": "new",
    }


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/accounts/{id}."""
    return find_account(call.state, call.ids[0])


@takes("business_type", "email", "metadata", **FILLED)
def update(call: PspApiRequest) -> Json:
    """POST /v1/accounts/{id}."""
    params = call.params
    account = find_account(call.state, call.ids[0])
    account["metadata"] = params.metadata(account["metadata"])
    _fill(call, account)
    store_changed(call.state, account)
    return account


@takes()
def delete(call: PspApiRequest) -> Json:
    """DELETE /v1/accounts/{id}."""
    account = find_account(call.state, call.ids[0])
    stub: Json = {
        "id": account["id"],
        "object": "account",
        "deleted": True,
        "created": account["created"],
        "capabilities": {},
    }
    return call.state.put("account", stub)


@takes(*PAGING, "created")
def list_all(call: PspApiRequest) -> Json:
    """GET /v1/accounts."""
    return page(call, "account", keep=lambda body: "deleted" not in body)
