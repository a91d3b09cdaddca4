"""A request as received, who may send it and for which account, and its parameters in either encoding.

Owns: API keys, Stripe-Account, Stripe-Version, form and JSON bodies. Must not know: routes, resources' rules.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from sandbox.stripe.forms import parse_form
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem, missing
from sandbox.stripe.settings import PLATFORM_ACCOUNT, PREVIEW_VERSION
from sandbox.stripe.state import PspState

CONTROL_PREFIX: Final = "/_sandbox/"
RESTRICTED_KEY: Final = "restricted_key"  # kind of the records of keys that may not do everything
# What an app reads with the publishable key: one intent, by its client secret.
_PUBLIC_PATH: Final = re.compile(r"/v1/(?:payment|setup)_intents/[A-Za-z0-9_]+\Z")
_PREVIEWED: Final = "/v1/balance_settings"  # its settlement currencies are in the version's preview only
_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:\.[a-z_.]+)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PspRequest:
    """A request as it came: header names in lower case, `query` without the question mark."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def control(self) -> bool:
        """Whether it is for the sandbox itself rather than the provider's API; no key is needed then."""
        return self.path.startswith(CONTROL_PREFIX)


def parameters_of(request: PspRequest) -> Json:
    """The nested parameters of the body (POST) or the query. Raises ParameterProblem."""
    if request.method != "POST":
        return parse_form(request.query)
    if request.headers.get("content-type", "").startswith("application/json"):
        if not request.control:
            raise ParameterProblem("Invalid request: send application/x-www-form-urlencoded, not JSON")
        return _from_json(request.body)
    try:
        return parse_form(request.body.decode())
    except UnicodeDecodeError:
        raise ParameterProblem("Invalid request body: not UTF-8") from None


def acting_account(state: PspState, request: PspRequest) -> str:
    """The account that the request acts for. Raises PspProblem (401, 403, 400)."""
    account = request.headers.get("stripe-account") or PLATFORM_ACCOUNT
    if not request.control:
        _check_key(state, request)
        version = request.headers.get("stripe-version")
        if version is not None and not _VERSION.match(version):
            raise PspProblem(f"Invalid Stripe API version: {version[:40]}")
        played = {state.settings.api_version, PREVIEW_VERSION if request.path == _PREVIEWED else None}
        if version is not None and version not in played:
            raise PspProblem(
                f"This PSP plays the API version {state.settings.api_version} only, not {version[:40]}."
            )
    if account != PLATFORM_ACCOUNT:
        found = state.peek("account", account)
        if found is None or "deleted" in found:
            raise PspProblem(
                f"There is no account '{account[:40]}' that this key may act for (Stripe-Account).",
                status=403,
                code="account_invalid",
            )
    return account


def _check_key(state: PspState, request: PspRequest) -> None:
    authorization = request.headers.get("authorization", "")
    scheme, _, credentials = authorization.partition(" ")
    key = credentials.strip()
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(key, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    if not key:
        raise PspProblem(
            "No API key was sent: put it in the Authorization header, 'Authorization: Bearer sk_test_...'.",
            status=401,
        )
    restricted = state.peek(RESTRICTED_KEY, key)
    if restricted is not None:
        _check_permission(restricted, request)
    elif key == state.settings.publishable_key:
        _check_public_read(state, request)
    elif key not in state.settings.api_keys:
        raise PspProblem(f"Invalid API Key provided: {key[:8]}****", status=401)


def _check_permission(restricted: Json, request: PspRequest) -> None:
    """Raises PspProblem (403) where the key may not use the resource, or may only read."""
    resource = request.path.split("/")[2]
    verb = "read" if request.method == "GET" else "write"
    if resource in restricted["refused"] or (verb == "write" and restricted["read_only"]):
        permission = f"rak_{resource.removesuffix('s')}_{verb}"
        raise PspProblem(
            f"The provided key 'rk_test_****' does not have the required permissions for this endpoint on"
            f" account '{PLATFORM_ACCOUNT}'. Having the '{permission}' permission would allow this request"
            " to continue.",
            status=403,
        )


def _check_public_read(state: PspState, request: PspRequest) -> None:
    """Raises PspProblem for whatever an app may not do with the publishable key."""
    public = _PUBLIC_PATH.match(request.path) if request.method == "GET" else None
    if public is None:
        raise PspProblem(
            "This API call cannot be made with a publishable API key. Please use a secret API key.",
            status=403,
            code="secret_key_required",
        )
    intent_id = request.path.rpartition("/")[2]
    record = state.records.find(intent_id)
    secret = parse_form(request.query).get("client_secret")
    if record is None or secret is None or record.body.get("client_secret") != secret:
        raise missing("payment_intent", intent_id, param="intent")


def _from_json(body: bytes) -> Json:
    """A JSON object as nested text parameters, so that both encodings are read alike."""
    try:
        tree = _as_text(msgspec.json.decode(body or b"{}"))
    except msgspec.DecodeError as error:
        raise ParameterProblem(f"Invalid JSON: {error}") from None
    if not isinstance(tree, dict):
        raise ParameterProblem("Invalid JSON: an object is expected")
    return tree


def _as_text(value: Any) -> Any:
    match value:
        case dict():
            return {key: _as_text(item) for key, item in value.items()}
        case list():
            return {str(at): _as_text(item) for at, item in enumerate(value)}
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)
