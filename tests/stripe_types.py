"""The provider's own types, read from its SDK: what a request may carry, what an object holds.

The SDK is generated from the description of one version of the API, so these types are that version. A closed
list of values is read as closed: the SDK adds `str` to each for versions to come.
"""

import ast
import importlib
import inspect
import operator
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NotRequired, Required, TypeAlias, Union, get_args, get_origin

import stripe
import stripe.params
import typing_extensions

Form: TypeAlias = Mapping[str, Any]

# The SDK's class of parameters of each endpoint that the adapter calls or the sandbox plays.
ENDPOINTS = {
    "POST /v1/customers": "CustomerCreateParams",
    "GET /v1/customers": "CustomerListParams",
    "GET /v1/customers/search": "CustomerSearchParams",
    "GET /v1/customers/{}": "CustomerRetrieveParams",
    "POST /v1/customers/{}": "CustomerModifyParams",
    "DELETE /v1/customers/{}": "CustomerDeleteParams",
    "GET /v1/customers/{}/payment_methods": "CustomerListPaymentMethodsParams",
    "GET /v1/customers/{}/payment_methods/{}": "CustomerRetrievePaymentMethodParams",
    "POST /v1/payment_methods": "PaymentMethodCreateParams",
    "GET /v1/payment_methods": "PaymentMethodListParams",
    "GET /v1/payment_methods/{}": "PaymentMethodRetrieveParams",
    "POST /v1/payment_methods/{}": "PaymentMethodModifyParams",
    "POST /v1/payment_methods/{}/attach": "PaymentMethodAttachParams",
    "POST /v1/payment_methods/{}/detach": "PaymentMethodDetachParams",
    "POST /v1/payment_intents": "PaymentIntentCreateParams",
    "GET /v1/payment_intents": "PaymentIntentListParams",
    "GET /v1/payment_intents/search": "PaymentIntentSearchParams",
    "GET /v1/payment_intents/{}": "PaymentIntentRetrieveParams",
    "POST /v1/payment_intents/{}": "PaymentIntentModifyParams",
    "POST /v1/payment_intents/{}/confirm": "PaymentIntentConfirmParams",
    "POST /v1/payment_intents/{}/capture": "PaymentIntentCaptureParams",
    "POST /v1/payment_intents/{}/cancel": "PaymentIntentCancelParams",
    "POST /v1/payment_intents/{}/increment_authorization": "PaymentIntentIncrementAuthorizationParams",
    "POST /v1/checkout/sessions": "checkout.SessionCreateParams",
    "GET /v1/checkout/sessions/{}": "checkout.SessionRetrieveParams",
    "POST /v1/checkout/sessions/{}/expire": "checkout.SessionExpireParams",
    "GET /v1/charges": "ChargeListParams",
    "GET /v1/charges/search": "ChargeSearchParams",
    "GET /v1/charges/{}": "ChargeRetrieveParams",
    "POST /v1/charges/{}": "ChargeModifyParams",
    "POST /v1/refunds": "RefundCreateParams",
    "GET /v1/refunds": "RefundListParams",
    "GET /v1/refunds/{}": "RefundRetrieveParams",
    "POST /v1/refunds/{}": "RefundModifyParams",
    "GET /v1/disputes": "DisputeListParams",
    "GET /v1/disputes/{}": "DisputeRetrieveParams",
    "POST /v1/disputes/{}": "DisputeModifyParams",
    "POST /v1/disputes/{}/close": "DisputeCloseParams",
    "POST /v1/setup_intents": "SetupIntentCreateParams",
    "GET /v1/setup_intents": "SetupIntentListParams",
    "GET /v1/setup_intents/{}": "SetupIntentRetrieveParams",
    "POST /v1/setup_intents/{}": "SetupIntentModifyParams",
    "POST /v1/setup_intents/{}/confirm": "SetupIntentConfirmParams",
    "POST /v1/setup_intents/{}/cancel": "SetupIntentCancelParams",
    "GET /v1/setup_attempts": "SetupAttemptListParams",
    "GET /v1/mandates/{}": "MandateRetrieveParams",
    "POST /v1/payouts": "PayoutCreateParams",
    "GET /v1/payouts": "PayoutListParams",
    "GET /v1/payouts/{}": "PayoutRetrieveParams",
    "POST /v1/payouts/{}": "PayoutModifyParams",
    "POST /v1/payouts/{}/cancel": "PayoutCancelParams",
    "POST /v1/accounts": "AccountCreateParams",
    "GET /v1/accounts": "AccountListParams",
    "POST /v1/files": "FileCreateParams",
    "GET /v1/files": "FileListParams",
    "GET /v1/files/{}": "FileRetrieveParams",
    "POST /v1/account_links": "AccountLinkCreateParams",
    "GET /v1/account": "AccountRetrieveCurrentParams",
    "GET /v1/accounts/{}": "AccountRetrieveParams",
    "POST /v1/accounts/{}": "AccountUpdateParams",
    "DELETE /v1/accounts/{}": "AccountDeleteParams",
    "POST /v1/transfers": "TransferCreateParams",
    "GET /v1/transfers": "TransferListParams",
    "GET /v1/transfers/{}": "TransferRetrieveParams",
    "POST /v1/transfers/{}": "TransferModifyParams",
    "POST /v1/transfers/{}/reversals": "TransferCreateReversalParams",
    "GET /v1/transfers/{}/reversals": "TransferListReversalsParams",
    "GET /v1/transfers/{}/reversals/{}": "TransferRetrieveReversalParams",
    "POST /v1/topups": "TopupCreateParams",
    "GET /v1/topups": "TopupListParams",
    "GET /v1/topups/{}": "TopupRetrieveParams",
    "POST /v1/topups/{}/cancel": "TopupCancelParams",
    "POST /v1/terminal/locations": "terminal.LocationCreateParams",
    "GET /v1/terminal/locations": "terminal.LocationListParams",
    "GET /v1/terminal/locations/{}": "terminal.LocationRetrieveParams",
    "POST /v1/terminal/connection_tokens": "terminal.ConnectionTokenCreateParams",
    "POST /v1/terminal/readers": "terminal.ReaderCreateParams",
    "GET /v1/terminal/readers": "terminal.ReaderListParams",
    "GET /v1/terminal/readers/{}": "terminal.ReaderRetrieveParams",
    "POST /v1/terminal/readers/{}/process_payment_intent": "terminal.ReaderProcessPaymentIntentParams",
    "POST /v1/test_helpers/terminal/readers/{}/present_payment_method": (
        "test_helpers.terminal.ReaderPresentPaymentMethodParams"
    ),
    "GET /v1/balance": "BalanceRetrieveParams",
    "GET /v1/balance_settings": "BalanceSettingsRetrieveParams",
    "GET /v1/balance_transactions": "BalanceTransactionListParams",
    "GET /v1/balance_transactions/{}": "BalanceTransactionRetrieveParams",
    "GET /v1/events": "EventListParams",
    "GET /v1/events/{}": "EventRetrieveParams",
    "POST /v1/webhook_endpoints": "WebhookEndpointCreateParams",
    "GET /v1/webhook_endpoints": "WebhookEndpointListParams",
    "GET /v1/webhook_endpoints/{}": "WebhookEndpointRetrieveParams",
    "POST /v1/webhook_endpoints/{}": "WebhookEndpointModifyParams",
    "DELETE /v1/webhook_endpoints/{}": "WebhookEndpointDeleteParams",
}

_INTEGER = re.compile(r"-?[0-9]+\Z")
_TYPED_DICT = type(stripe.params.BalanceRetrieveParams)


class _Names(dict[str, Any]):
    """The names that one of the SDK's modules imports for type checkers only."""

    def __init__(self, module: str) -> None:
        super().__init__()
        tree = ast.parse(inspect.getsource(sys.modules[module]))
        self._from = {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def __missing__(self, name: str) -> Any:
        if name not in self._from:
            return _OPTION_NAMES[name]
        module, original = self._from[name]
        return getattr(importlib.import_module(module), original)


# Of the options that every class of parameters inherits.
_OPTION_NAMES: dict[str, Any] = {"StripeContext": Any, "Mapping": Mapping}
# What an SDK call takes beside the parameters of the request: none of it is sent in the body.
OPTIONS = frozenset(typing_extensions.get_type_hints(stripe.RequestOptions, localns=_OPTION_NAMES))
_hints: dict[Any, dict[str, Any]] = {}


def hints_of(owner: Any) -> dict[str, Any]:
    """The annotations of one of the SDK's classes, every name resolved."""
    if owner not in _hints:
        _hints[owner] = typing_extensions.get_type_hints(
            owner, localns=_Names(owner.__module__), include_extras=True
        )
    return _hints[owner]


def endpoint_of(method: str, path: str) -> str:
    """The line of ENDPOINTS that a request belongs to; a literal part of a path wins over an id. KeyError."""
    parts = path.strip("/").split("/")
    fits = [
        (template.count("{}"), endpoint)
        for endpoint in ENDPOINTS
        for verb, template in [endpoint.split(" ")]
        if verb == method and _fits(template.strip("/").split("/"), parts)
    ]
    if not fits:
        raise KeyError(f"{method} {path}: name the SDK's class of its parameters in ENDPOINTS")
    return min(fits)[1]


def _fits(template: list[str], parts: list[str]) -> bool:
    return len(template) == len(parts) and all(
        wanted in {"{}", part} for wanted, part in zip(template, parts, strict=True)
    )


def params_named(name: str) -> Any:
    """A class of `stripe.params`, such as `PaymentIntentCreateParams` or `terminal.ReaderListParams`."""
    return operator.attrgetter(name)(stripe.params)


def fields_of(params: Any) -> dict[str, Any]:
    """The parameters of a request, or of a part of it, by name; what is an option of the SDK is none."""
    top = issubclass(params, dict) and {"api_key", "idempotency_key"} <= hints_of(params).keys()
    return {name: hint for name, hint in hints_of(params).items() if not (top and name in OPTIONS)}


def is_params(hint: Any) -> bool:
    """Whether a type is one of the SDK's groups of parameters."""
    return isinstance(hint, _TYPED_DICT)


def alternatives(hint: Any) -> list[Any]:
    """The types that a value may have. Beside a closed list of values `str` is not one of them."""
    origin = get_origin(hint)
    if origin in {NotRequired, Required, typing_extensions.NotRequired, typing_extensions.Required}:
        return alternatives(get_args(hint)[0])
    if origin in {Union, types.UnionType}:
        parts = [part for arm in get_args(hint) for part in alternatives(arm)]
        closed = any(get_origin(part) is Literal and any(get_args(part)) for part in parts)
        return [part for part in parts if not (closed and part is str)]
    return [hint]


def form_problems(form: Form, params: Any, path: str = "") -> list[str]:
    """What is wrong with a decoded form against a class of `stripe.params`: keys, values, nested ones too."""
    fields = fields_of(params)
    found = [f"{path}{name}: unknown to {params.__name__}" for name in form if name not in fields]
    found += [
        f"{path}{name}: required by {params.__name__}"
        for name, hint in fields.items()
        if get_origin(hint) not in {NotRequired, typing_extensions.NotRequired} and name not in form
    ]
    for name, value in form.items():
        if name in fields:
            found += _value_problems(value, fields[name], f"{path}{name}")
    return found


def _value_problems(value: Any, hint: Any, path: str) -> list[str]:
    hints = alternatives(hint)
    if isinstance(value, Mapping):  # the problem of the nested value says more than that it is not empty
        hints = [one for one in hints if get_origin(one) is not Literal] or hints
    return min((list(_against(value, one, path)) for one in hints), key=len)


def _against(value: Any, hint: Any, path: str) -> Iterator[str]:
    if is_params(hint):
        if isinstance(value, Mapping):
            yield from form_problems(value, hint, f"{path}.")
        else:
            yield f"{path}: {value!r} is no object"
        return
    origin = get_origin(hint)
    if origin is list:
        if not isinstance(value, Mapping) or list(value) != [str(at) for at in range(len(value))]:
            yield f"{path}: {value!r} is no list"
            return
        for at, item in value.items():
            yield from _value_problems(item, get_args(hint)[0], f"{path}[{at}]")
    elif origin is dict:
        if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
            yield f"{path}: {value!r} is no map of texts"
    elif not isinstance(value, str):
        yield f"{path}: {value!r} is no single value"
    elif origin is Literal:
        if value not in get_args(hint):
            yield f"{path}: {value!r} is none of the values"
    elif hint is int:
        if _INTEGER.match(value) is None:
            yield f"{path}: {value!r} is no whole number"
    elif hint is bool:
        if value not in {"true", "false"}:
            yield f"{path}: {value!r} is neither true nor false"
    elif hint is not str and hint is not Any:  # Any: the content of a file
        yield f"{path}: {value!r} is no {hint}"


def object_problems(body: Any, resource: Any, path: str) -> list[str]:
    """What an answered object lacks of what the SDK's class calls required, or has with a wrong value."""
    if not isinstance(body, Mapping):
        return [f"{path}: {body!r} is no object"]
    found: list[str] = []
    for name, hint in hints_of(resource).items():
        if name.startswith("_") or name in _OF_THE_SDK or get_origin(hint) is typing.ClassVar:
            continue
        if name not in body:
            if type(None) not in alternatives(hint):
                found.append(f"{path}.{name}: missing")
            continue
        found += _answer_problems(body[name], hint, f"{path}.{name}")
    return found


_OF_THE_SDK = frozenset({"OBJECT_NAME", "object", "deleted"})


def _answer_problems(value: Any, hint: Any, path: str) -> list[str]:
    hints = alternatives(hint)
    if value is not None:
        hints = [one for one in hints if one is not type(None)] or hints
    return min((list(_answer_against(value, one, path)) for one in hints), key=len)


def _answer_against(value: Any, hint: Any, path: str) -> Iterator[str]:
    origin = get_origin(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return
    if hint is type(None):
        if value is not None:
            yield f"{path}: {value!r} is not null"
    elif origin is list:
        if isinstance(value, list):
            for at, item in enumerate(value):
                yield from _answer_problems(item, get_args(hint)[0], f"{path}[{at}]")
        else:
            yield f"{path}: {value!r} is no list"
    elif origin is Literal:
        if value not in get_args(hint):
            yield f"{path}: {value!r} is none of the values"
    elif hint in {int, bool, str, float}:
        if type(value) is not hint:
            yield f"{path}: {value!r} is no {hint.__name__}"
    elif origin is dict or hint in {dict, Mapping}:
        if not isinstance(value, Mapping):
            yield f"{path}: {value!r} is no map"
    else:
        yield from _resource_against(value, hint, path)


def _resource_against(value: Any, hint: Any, path: str) -> Iterator[str]:
    owner = get_origin(hint) or hint
    if not isinstance(value, Mapping):
        yield f"{path}: {value!r} is no {getattr(owner, '__name__', owner)}"
        return
    if owner is stripe.ListObject:
        item = get_args(hint)[0] if get_args(hint) else Any
        for at, one in enumerate(value.get("data", [])):
            yield from _answer_problems(one, item, f"{path}.data[{at}]")
        return
    if isinstance(owner, type) and issubclass(owner, stripe.StripeObject):
        yield from object_problems(value, owner, path)
