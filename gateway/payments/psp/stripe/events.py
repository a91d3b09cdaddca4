"""A signed event, whatever its body: what can be read of it, and under which name it is kept.

Owns: that no authentic body is refused. Must not know: what an event means (objects.py), what follows.
An endpoint that answers an event with an error is sent it for days and disabled in the end
(docs.stripe.com/webhooks), and an event that only its sender can mend is no reason for that.
"""

import hashlib
import re
from dataclasses import replace
from typing import Any, Final

import msgspec

from gateway.payments.psp.port import PspEvent
from gateway.payments.psp.stripe.event_types import is_subscribed
from gateway.payments.psp.stripe.objects import parse_event

_NAME: Final = re.compile(r"[!-~]{1,255}")
_UNREADABLE: Final = "unreadable"


class _Named(msgspec.Struct):
    """What an event is called, in whatever state the rest of it is."""

    id: Any = None
    type: Any = None
    livemode: Any = None


def read_signed_event(body: bytes, *, live: bool) -> PspEvent:
    """The event; `problem` says why it can't be handled. One of the other mode (`livemode`) is kept alone."""
    named = _named(body)
    name = named.id if _is_name(named.id) else f"{_UNREADABLE}_{hashlib.sha256(body).hexdigest()[:32]}"
    kind = named.type if _is_name(named.type) else _UNREADABLE
    relevant = kind == _UNREADABLE or is_subscribed(kind)
    kept = PspEvent(id=name, psp_type=kind, relevant=relevant, psp_payment=None, session_id=None)
    if isinstance(named.livemode, bool) and named.livemode is not live:
        return replace(kept, problem=f"livemode is {named.livemode}, the key's is {live}")
    try:
        event = parse_event(body, livemode=live)
    except Exception as error:  # noqa: BLE001 - the boundary of one foreign body: none may stop the others
        return replace(kept, problem=f"{type(error).__name__}: {error}"[:200])
    if event.id != name or event.psp_type != kind:
        return replace(kept, problem="its id or type is no name")
    if event.psp_payment is not None and not _is_name(event.psp_payment):
        return replace(kept, problem="its payment's id is no name")
    others = (
        event.dispute,
        event.refund,
        event.psp_setup,
        event.detached_method,
        event.attached_method,
        event.revoked_mandate,
        event.connected_account,
        event.psp_topup,
        event.updated_method,
    )
    if not all(one is None or _is_name(one) for one in others):
        return replace(kept, problem="its object's id is no name")
    return event


def _named(body: bytes) -> _Named:
    try:
        return msgspec.json.decode(body, type=_Named)
    except ValueError:  # no JSON, no object, no UTF-8: msgspec's errors are of it
        return _Named()


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None
