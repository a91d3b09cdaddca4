"""The forms of webhook endpoints as the API reads them.

Owns: how fields become a body. Must not know a page, or what is allowed: the API checks it.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.webhooks.signing import WebhookScheme

FILTERS: Final = ("sessions", "evse_prefixes", "locations", "metadata")
SIGNATURES: Final = tuple(scheme.value for scheme in WebhookScheme)
_REMOVED: Final = "remove."


def endpoint_body(form: Mapping[str, str]) -> dict[str, Any]:
    """A new endpoint; what is left empty is left to the API."""
    body = {"url": form.get("url", ""), "events": _events(form), "filter": _filter(form) or None}
    chosen = {name: form[name] for name in ("signature", "api_version") if form.get(name)}
    return body | chosen | {"headers": _headers(form)}


def change_body(form: Mapping[str, str]) -> dict[str, Any]:
    """What the form of an endpoint says of it: the filter as a whole, of headers those that change."""
    body: dict[str, Any] = {"url": form.get("url", ""), "events": _events(form), "filter": _filter(form)}
    removed = {name.removeprefix(_REMOVED): None for name in form if name.startswith(_REMOVED)}
    if headers := removed | _headers(form):
        body["headers"] = headers
    if form.get("api_version"):
        body["api_version"] = form["api_version"]
    return body


def rotate_body(form: Mapping[str, str]) -> dict[str, Any]:
    """A new key; of another scheme where one is chosen."""
    return {"signature": form["signature"]} if form.get("signature") else {}


def _events(form: Mapping[str, str]) -> list[str]:
    return form.get("events", "*").replace(",", " ").split() or ["*"]


def _filter(form: Mapping[str, str]) -> dict[str, Any]:
    """Entries separated by commas, metadata as key=value."""
    given: dict[str, Any] = {
        name: [entry for entry in map(str.strip, form.get(name, "").split(",")) if entry] for name in FILTERS
    }
    pairs = [entry.partition("=") for entry in given["metadata"]]
    given["metadata"] = {key.strip(): value.strip() for key, _, value in pairs}
    return {name: value for name, value in given.items() if value}


def _headers(form: Mapping[str, str]) -> dict[str, Any]:
    """One header on each line, as Name: value."""
    pairs = [line.partition(":") for line in form.get("headers", "").splitlines() if line.strip()]
    return {name.strip(): value.strip() for name, _, value in pairs}
