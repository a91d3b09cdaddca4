"""The platform's own account, and what a test makes of it: capabilities, currencies, restricted keys.

Owns: the account of the key, its balance settings, the control requests that change them. Must not know:
connected accounts.
"""

from typing import Any, Final

from sandbox.stripe import accounts
from sandbox.stripe.access import RESTRICTED_KEY
from sandbox.stripe.api_request import PspApiRequest
from sandbox.stripe.currencies import THREE_DECIMAL, TWO_DECIMAL, ZERO_DECIMAL, known_currency
from sandbox.stripe.forms import Params
from sandbox.stripe.lists import PAGING
from sandbox.stripe.parameters import takes
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem
from sandbox.stripe.settings import PLATFORM_ACCOUNT, PREVIEW_VERSION, RESTRICTED_KEY_FORM
from sandbox.stripe.state import PspState

_RECORD: Final = "sandbox_platform_account"
_CAPABILITY_STATES: Final = ("active", "inactive", "pending")
_SETTLEMENT_STATES: Final = ("enabled", "disabled", "restricted_by_application")
_DEFAULTS: Final[Json] = {
    "charges_enabled": True,
    "payouts_enabled": True,
    "connect": True,
    "capabilities": {},
    "settlement_currencies": None,  # every one
    "statement_descriptor_prefix": "SANDBOX",
}


@takes()
def retrieve_own(call: PspApiRequest) -> Json:
    """GET /v1/account: the account of the key."""
    if call.account != PLATFORM_ACCOUNT:
        return call.state.get("account", call.account)
    choices = _choices(call.state)
    account = accounts.build(
        call.state, PLATFORM_ACCOUNT, country="CH", currency="chf", email="platform@example.com"
    )
    off = not choices["charges_enabled"]
    due: Json = {"currently_due": ["external_account"], "disabled_reason": "requirements.past_due"}
    cards = account["settings"]["card_payments"] | {
        "statement_descriptor_prefix": choices["statement_descriptor_prefix"]
    }
    return account | {
        "capabilities": account["capabilities"] | choices["capabilities"],
        "charges_enabled": choices["charges_enabled"],
        "payouts_enabled": choices["payouts_enabled"],
        "requirements": account["requirements"] | (due if off else {}),
        "settings": account["settings"] | {"card_payments": cards},
    }


@takes()
def retrieve(call: PspApiRequest) -> Json:
    """GET /v1/accounts/{id}: the platform's own, or a connected one."""
    return retrieve_own(call) if call.ids[0] == PLATFORM_ACCOUNT else accounts.retrieve(call)


@takes(*accounts.CREATED, controller=accounts.CONTROLLER, **accounts.FILLED)
def create_connected(call: PspApiRequest) -> Json:
    """POST /v1/accounts."""
    require_connect(call.state)
    return accounts.create(call)


@takes(*PAGING, "created")
def list_connected(call: PspApiRequest) -> Json:
    """GET /v1/accounts."""
    require_connect(call.state)
    return accounts.list_all(call)


@takes()
def retrieve_balance_settings(call: PspApiRequest) -> Json:
    """GET /v1/balance_settings. The preview of the version shows the settlement currencies; it alone does."""
    payments: Json = {
        "debit_negative_balances": True,
        "payouts": {
            "automatic_transfer_rules_by_currency": {},
            "minimum_balance_by_currency": {},
            "schedule": {"interval": "manual", "monthly_payout_days": None, "weekly_payout_days": None},
            "statement_descriptor": None,
            "status": "enabled" if _choices(call.state)["payouts_enabled"] else "disabled",
        },
        "settlement_timing": {
            "delay_days": call.state.settings.settlement_days,
            "delay_days_override": None,
            "start_of_day": None,
        },
    }
    if call.version == PREVIEW_VERSION:
        payments["settlement_currencies"] = _settlement_currencies(_choices(call.state))
    return {"object": "balance_settings", "payments": payments}


def _settlement_currencies(choices: Json) -> dict[str, str]:
    chosen: dict[str, str] | None = choices["settlement_currencies"]
    every = sorted(ZERO_DECIMAL | TWO_DECIMAL | THREE_DECIMAL)
    return dict.fromkeys(every, "enabled") if chosen is None else {"chf": "enabled"} | chosen


def require_connect(state: PspState) -> None:
    """Connected accounts exist for platforms alone. Raises PspProblem."""
    if not _choices(state)["connect"]:
        raise PspProblem("Only Stripe Connect platforms can work with other accounts.", status=403)


def set_account(call: PspApiRequest) -> Json:
    """POST /_sandbox/account {capabilities, charges_enabled, ...}: what the account is from now on."""
    params = call.params.only(*_DEFAULTS)
    choices = _choices(call.state)
    for name in ("charges_enabled", "payouts_enabled", "connect"):
        choices[name] = params.boolean(name, default=choices[name])
    if "capabilities" in params:
        choices["capabilities"] |= _states(params.section("capabilities"), _CAPABILITY_STATES)
    if "settlement_currencies" in params:
        currencies = _states(params.section("settlement_currencies"), _SETTLEMENT_STATES)
        choices["settlement_currencies"] = {
            known_currency(code, param="settlement_currencies"): state for code, state in currencies.items()
        }
    if "statement_descriptor_prefix" in params:
        choices["statement_descriptor_prefix"] = params.text("statement_descriptor_prefix")
    call.state.put("sandbox_platform", {"id": _RECORD, **choices})
    return choices


def restrict_key(call: PspApiRequest) -> Json:
    """POST /_sandbox/restricted_keys {key, refused, read_only}: a key that may not use these resources."""
    params = call.params.only("key", "refused", "read_only")
    key = params.required_text("key")
    if not RESTRICTED_KEY_FORM.match(key):
        raise ParameterProblem("A restricted test key begins with rk_test_.", param="key")
    restricted: Json = {
        "id": key,
        "refused": params.texts("refused"),
        "read_only": params.boolean("read_only"),
    }
    call.state.put(RESTRICTED_KEY, restricted)
    return restricted


def _choices(state: PspState) -> Json:
    stored = state.peek("sandbox_platform", _RECORD) or {}
    chosen: Json = {**_DEFAULTS, **{name: value for name, value in stored.items() if name != "id"}}
    return chosen | {"capabilities": dict(chosen["capabilities"])}


def _states(section: Params, allowed: tuple[str, ...]) -> dict[str, Any]:
    return {name: section.choice(name, allowed, default=allowed[0]) for name in section.raw()}
