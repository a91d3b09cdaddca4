"""Hubject's Open Plug & Charge Protocol: what a contract pool's webhook sends.

Owns: the signature, the form of an event, and which event is which change. Must not know what follows for a
contract.

An event is signed with HMAC-SHA256 over the raw body, in hexadecimal; the published texts name three headers
and write the value with and without `sha256=`, so each of these is read, and every one that is there must be
right. The signature covers no time: a repeated event is known by its id, an old one by its timestamp.
Source: hubject/opcp, OPCP-1.0.0: docs/components/06_webhook-service.md, reference/webhook.payload.v1.json.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from pnc.contract_pool import PoolChange, PoolEvent
from pnc.errors import UnfitPoolEventError

SIGNATURE_HEADERS: Final = ("X-Operator-Signature", "X-Hubject-Signature", "payload-signature")
_PREFIX: Final = "sha256="
_PCID: Final = re.compile(r"[A-Za-z0-9]{17,18}")
_EVENT_TYPE: Final = re.compile(r"[a-z0-9.]{1,64}")
_MAX_EMAID: Final = 20
_MAX_CERTIFICATE: Final = 32_768
_CHANGE_OF_EVENT: Final[Mapping[str, PoolChange]] = {
    "mo.contract.created.sent.to.oem": PoolChange.CONTRACT_STORED,
    "mo.contract.updated.sent.to.oem": PoolChange.CONTRACT_STORED,
    "mo.contract.deleted.sent.to.oem": PoolChange.CONTRACT_DELETED,
    "oem.contract.created": PoolChange.CONTRACT_STORED,
    "oem.contract.updated": PoolChange.CONTRACT_STORED,
    "oem.contract.deleted": PoolChange.CONTRACT_DELETED,
    "mo.prov.cert.updated": PoolChange.VEHICLE_KEY_REPLACED,
    "mo.prov.cert.updated.factory.reset": PoolChange.VEHICLE_KEY_REPLACED,  # its deprecated name
    "mo.prov.cert.deleted": PoolChange.VEHICLE_DELETED,
    "mo.prov.cert.factory.reset": PoolChange.VEHICLE_RESET,
}


class _Payload(msgspec.Struct):
    """The part of an event that names the contract; events about roots have another one."""

    emaid: str | None = None
    pcid: str | None = None
    contractCert: str | None = None  # noqa: N815 - the protocol's name


class _Event(msgspec.Struct):
    timestamp: str
    eventId: str  # noqa: N815 - the protocol's name
    eventType: str  # noqa: N815 - the protocol's name
    payload: _Payload


@dataclass(frozen=True, slots=True)
class OpcpProtocol:
    """Reads the events of a pool that follows OPCP 1.0.0."""

    name: str = "opcp"

    def is_authentic(self, body: bytes, *, headers: Mapping[str, str], secret: bytes) -> bool:
        """Whether a body is signed with the secret; every signature header that is there must be right."""
        expected = hmac.digest(secret, body, hashlib.sha256).hex()
        given = [value for name in SIGNATURE_HEADERS if (value := headers.get(name)) is not None]
        right = [
            hmac.compare_digest(value.removeprefix(_PREFIX).lower().encode(), expected.encode())
            for value in given
        ]
        return bool(right) and all(right)

    def read(self, body: bytes) -> PoolEvent:
        """Read an authentic event. Raises UnfitPoolEventError with the path of what is wrong."""
        try:
            event = msgspec.json.decode(body, type=_Event)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnfitPoolEventError(path="$", problem=str(error)) from None
        change = _CHANGE_OF_EVENT.get(event.eventType)
        if change is None and _EVENT_TYPE.fullmatch(event.eventType) is None:
            raise UnfitPoolEventError(path="eventType", problem="expected a name of an event")
        emaid, vehicle = event.payload.emaid or "", event.payload.pcid or ""
        if change is not None:
            _check(event.payload, emaid, vehicle)
        return PoolEvent(
            event_id=_uuid(event.eventId),
            name=event.eventType,
            change=change,
            emaid=emaid if change is not None else "",
            vehicle=vehicle.upper() if change is not None else "",
            occurred_at=_instant(event.timestamp),
            certificate=event.payload.contractCert if change is PoolChange.CONTRACT_STORED else None,
        )


def _check(payload: _Payload, emaid: str, vehicle: str) -> None:
    if not 0 < len(emaid) <= _MAX_EMAID or not emaid.isascii() or not emaid.isprintable():
        raise UnfitPoolEventError(path="payload.emaid", problem="expected an eMAID")
    if _PCID.fullmatch(vehicle) is None:
        raise UnfitPoolEventError(path="payload.pcid", problem="expected 17 or 18 letters and digits")
    certificate = payload.contractCert or ""
    if len(certificate) > _MAX_CERTIFICATE or "\x00" in certificate:
        raise UnfitPoolEventError(
            path="payload.contractCert", problem=f"expected at most {_MAX_CERTIFICATE} characters"
        )


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UnfitPoolEventError(path="eventId", problem="expected a UUID") from None


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.upper())
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not _FIRST_YEAR <= found.year < _LAST_YEAR:
        raise UnfitPoolEventError(
            path="timestamp", problem="expected a time with its offset, such as 2026-10-29T08:00:00Z"
        )
    return found


_FIRST_YEAR: Final = 2000
_LAST_YEAR: Final = 2200
