"""A stand-in for a contract pool: events in the form of the Open Plug & Charge Protocol, signed as it signs.

Owns: the published form of an event and its signature header. Must not know what a receiver does with one.
Source: hubject/opcp, OPCP-1.0.0, reference/webhook.payload.v1.json and docs/components/06_webhook-service.md.
Left out: retries (three, an hour apart, after a 5xx), the registration of webhooks, events about roots.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

_EDITION: Final = "urn:iso:15118:2:2013:MsgDef"
EVENT_TYPES: Final = (
    "mo.contract.created.sent.to.oem",
    "mo.contract.updated.sent.to.oem",
    "mo.contract.deleted.sent.to.oem",
    "mo.contract.delivered.to.oem",
    "mo.prov.cert.updated",
    "mo.prov.cert.deleted",
    "mo.prov.cert.factory.reset",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDelivery:
    """One webhook request: its body and headers."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SandboxContractPool:
    """Writes events as a pool sends them; `secret` is the webhook's."""

    secret: str = field(repr=False)

    def delivery(
        self,
        event_type: str,
        *,
        event_id: UUID,
        emaid: str,
        vehicle: str,
        at: datetime,
        certificate: str | None = None,
    ) -> PoolDelivery:
        """One event. `certificate` is the contract certificate in base64 of DER, without its authorities.

        Raises ValueError for a type that is not among `EVENT_TYPES`, or a naive time.
        """
        if event_type not in EVENT_TYPES or at.tzinfo is None:
            raise ValueError(f"expected one of {', '.join(EVENT_TYPES)}, at an aware time")
        payload: dict[str, Any] = {"emaid": emaid, "pcid": vehicle}
        if certificate is not None:
            payload["contractCert"] = certificate
        event = {
            "timestamp": at.isoformat().replace("+00:00", "Z"),
            "eventId": str(event_id),
            "eventType": event_type,
            "xsdMsgDefNamespace": _EDITION,
            "payload": payload,
        }
        body = json.dumps(event).encode()
        signature = hmac.digest(self.secret.encode(), body, hashlib.sha256).hex()
        return PoolDelivery(
            body=body,
            headers={"Content-Type": "application/json", "X-Operator-Signature": f"sha256={signature}"},
        )
