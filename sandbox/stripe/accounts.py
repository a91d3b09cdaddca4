"""Connected accounts, ready to receive from the moment they are created, and the platform's own."""

import re
from typing import Final

from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.currencies import known_currency
from sandbox.stripe.lists import PAGING, list_of, page
from sandbox.stripe.parameters import VALUE, Shape, takes
from sandbox.stripe.problems import Json, ParameterProblem
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
        "controller": {
            "fees": {"payer": "application"},
            "is_controller": True,
            "losses": {"payments": "application"},
            "requirement_collection": "application",
            "stripe_dashboard": {"type": "none"},
            "type": "application",
        },
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


@takes(*CREATED, **FILLED)
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
    account["type"] = params.choice("type", ("standard", "express", "custom", "none"), default="none")
    account["metadata"] = params.metadata()
    _fill(call, account)
    state.put("account", account)
    state.emit("account.updated", account, account["id"])
    return account


def _fill(call: PspApiRequest, account: Json) -> None:
    params = call.params
    if "business_profile" in params:
        profile = params.section("business_profile")
        texts = {name: profile.text(name) for name in profile.raw()}
        account["business_profile"] = {**account["business_profile"], **texts}
    if "capabilities" in params:
        asked = params.section("capabilities")
        granted = {name: asked.section(name).boolean("requested", default=True) for name in asked.raw()}
        account["capabilities"] = {
            **account["capabilities"],
            **{name: "active" if on else "inactive" for name, on in granted.items()},
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
    return call.state.get("account", call.ids[0])


@takes("business_type", "email", "metadata", **FILLED)
def update(call: PspApiRequest) -> Json:
    """POST /v1/accounts/{id}."""
    params = call.params
    account = call.state.get("account", call.ids[0])
    account["metadata"] = params.metadata(account["metadata"])
    _fill(call, account)
    call.state.put("account", account)
    call.state.emit("account.updated", account, account["id"])
    return account


@takes()
def delete(call: PspApiRequest) -> Json:
    """DELETE /v1/accounts/{id}."""
    account = call.state.get("account", call.ids[0])
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
