"""A Stripe event as it is kept: what is read of it, and what a person needs to see what Stripe said.

Owns: which fields stay. Must not know: what an event means. An event is a hint, and what counts is read at
Stripe again, so the object's other fields are left out: of a payment's event a third stays, and most of a
driver's data is never stored. A body that is no event of Stripe's form is kept as it came, for a person to
read, but for client secrets.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

_SECRET: Final = re.compile(rb'("client_secret"\s*:\s*)"(?:[^"\\]|\\.)*"')
_OF_EVENT: Final = ("id", "type", "created", "livemode", "account")
# Of the event's object: its name and what it belongs to, its state and why, its amounts, which of ours it is.
_OF_OBJECT: Final = (
    "object",
    "id",
    "payment_intent",
    "charge",
    "latest_charge",
    "customer",
    "payment_method",
    "mandate",
    "account",
    "destination",
    "status",
    "reason",
    "failure_code",
    "failure_reason",
    "cancellation_reason",
    "disabled_reason",
    "charges_enabled",
    "payouts_enabled",
    "amount",
    "amount_capturable",
    "amount_received",
    "amount_captured",
    "amount_refunded",
    "currency",
)
# Of our metadata the names; the rest says what our own tables say, for when they are lost (psp_record.py).
_OF_METADATA: Final = ("session", "authorization", "capture", "refund", "top_up", "end_to_end_id", "party")
_ERRORS: Final = ("last_payment_error", "last_setup_error")
_OF_ERROR: Final = ("code", "decline_code", "type")
_NAMED: Final = ("payment_intent", "charge", "latest_charge")  # an id or, expanded, the object


class _Data(msgspec.Struct):
    object: dict[str, Any]


class _Envelope(msgspec.Struct):
    id: str
    type: str
    data: _Data


def kept_body(body: bytes) -> bytes:
    """The bytes to keep of an authentic event; whatever the body, it raises nothing."""
    try:
        event: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
        subject = msgspec.convert(event, _Envelope).data.object
        kept = _chosen(event, _OF_EVENT) | {"data": _data(event["data"], subject)}
        return msgspec.json.encode(kept)
    except ValueError:  # msgspec's errors are of it: no JSON, no event, a number that JSON can't hold
        return without_secrets(body)


def without_secrets(body: bytes) -> bytes:
    """The bytes with null for each client secret: a bearer secret of the driver's app."""
    return _SECRET.sub(rb"\1null", body)


def _data(data: Mapping[str, Any], subject: Mapping[str, Any]) -> dict[str, Any]:
    shown = _chosen(subject, _OF_OBJECT) | _names(subject)
    for name in _NAMED:
        if isinstance(shown.get(name), dict):
            shown[name] = _chosen(shown[name], ("id",)) | _names(shown[name])
    for name in _ERRORS:
        if isinstance(subject.get(name), dict):
            shown[name] = _chosen(subject[name], _OF_ERROR)
    before = data.get("previous_attributes")
    changed = sorted(before) if isinstance(before, dict) else data.get("changed")  # the latter: kept before
    return {"object": shown} | ({"changed": changed} if changed else {})


def _names(subject: Mapping[str, Any]) -> dict[str, Any]:
    """Our metadata of an object, as far as it names something of ours."""
    metadata = subject.get("metadata")
    found = _chosen(metadata, _OF_METADATA) if isinstance(metadata, dict) else {}
    return {"metadata": found} if found else {}


def _chosen(values: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if values.get(name) is not None}
