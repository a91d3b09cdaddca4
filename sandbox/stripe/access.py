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
from sandbox.stripe.problems import Json, ParameterProblem, PspProblem
from sandbox.stripe.settings import PLATFORM_ACCOUNT, PREVIEW_VERSION
from sandbox.stripe.state import PspState

CONTROL_PREFIX: Final = "/_sandbox/"
CARD_PATH: Final = "/v1/payment_methods"  # where a driver's browser sends the card
RESTRICTED_KEY: Final = "restricted_key"  # kind of the records of keys that may not do everything
_PREVIEWED: Final = "/v1/balance_settings"  # its settlement currencies are in the version's preview only
_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:\.[a-z_.]+)?\Z")
FILES_PATH: Final = "/v1/files"
_BOUNDARY: Final = re.compile(r"multipart/form-data; ?boundary=([!-~]{1,70})\Z")
_PART_NAME: Final = re.compile(r'name="([^"]{1,60})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class PspRequest:
    """A request as it came: header names in lower case, `query` without the question mark."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def key(self) -> str:
        """The API key that came with it, empty where none did: as a bearer token, or as a user's name."""
        scheme, _, credentials = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return credentials.strip()
        try:
            return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""

    @property
    def takes_card(self) -> bool:
        """Whether it comes from a driver's browser and brings a card: with a publishable key, to one path."""
        return self.method == "POST" and self.path == CARD_PATH and self.key.startswith("pk_")

    @property
    def control(self) -> bool:
        """Whether it is for the sandbox itself rather than the provider's API; no key is needed then."""
        return self.path.startswith(CONTROL_PREFIX)


def parameters_of(request: PspRequest) -> Json:
    """The nested parameters of the body (POST) or the query. Raises ParameterProblem."""
    if request.method != "POST":
        return parse_form(request.query)
    if request.takes_card:
        return parse_form(request.body.decode(errors="replace"), card_fields=True)
    boundary = _BOUNDARY.match(request.headers.get("content-type", ""))
    if boundary is not None and request.path == FILES_PATH:
        return _from_multipart(request.body, boundary[1])
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
    key = request.key
    if not key:
        raise PspProblem(
            "No API key was sent: put it in the Authorization header, 'Authorization: Bearer sk_test_...'.",
            status=401,
        )
    restricted = state.peek(RESTRICTED_KEY, key)
    if restricted is not None:
        _check_permission(restricted, request)
    elif key not in {*state.settings.api_keys, state.settings.publishable_key}:
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


def _from_multipart(body: bytes, boundary: str) -> Json:
    """The parts of a form by name; a file as one character for each byte. Raises ParameterProblem."""
    fields: Json = {}
    for part in body.split(f"--{boundary}".encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = _PART_NAME.search(head.decode("latin-1"))
        if name is None:
            raise ParameterProblem("Invalid request body: a part of the form has no name")
        fields[name[1]] = content.removesuffix(b"\r\n").decode("latin-1")
    return fields


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
