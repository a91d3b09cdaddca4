"""OCPP 1.6's DataTransfer around the messages of Plug & Charge.

Owns the wrapping: the vendor, the message's name, and its body as a JSON string. Must not know what a message
means: inside is the message of OCPP 2.0.1.
Source: Open Charge Alliance, "Using ISO 15118 Plug & Charge with OCPP 1.6", application note.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pnc.errors import CallError
from pnc.messages import check_message

VENDOR: Final = "org.openchargealliance.iso15118pnc"
_MAX_DATA_CHARACTERS: Final = 64_000


class TransferredMessage(StrEnum):
    """The messages that a station of OCPP 1.6 sends this way, as far as this system takes them."""

    AUTHORIZE = "Authorize"
    GET_CERTIFICATE_STATUS = "GetCertificateStatus"
    GET_EV_CERTIFICATE = "Get15118EVCertificate"


class TransferRefusal(StrEnum):
    """DataTransferStatus of a request that is not taken."""

    UNKNOWN_VENDOR = "UnknownVendorId"
    UNKNOWN_MESSAGE = "UnknownMessageId"


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedMessage:
    """One DataTransfer.req: which message, and its body."""

    message: TransferredMessage
    body: object


def read_transfer(payload: object) -> CarriedMessage | TransferRefusal:
    """Read a DataTransfer.req.

    Returns what it carries, or the status that refuses it.

    Raises:
        CallError: it breaks its schema, or its data is not a JSON text.
    """
    check_message("v16", "DataTransfer", payload)
    if not isinstance(payload, Mapping) or payload["vendorId"] != VENDOR:
        return TransferRefusal.UNKNOWN_VENDOR
    try:
        message = TransferredMessage(str(payload.get("messageId")))
    except ValueError:
        return TransferRefusal.UNKNOWN_MESSAGE
    return CarriedMessage(message=message, body=_decoded(payload.get("data"), message))


def transfer_response(answer: Mapping[str, Any] | TransferRefusal) -> dict[str, Any]:
    """Return the DataTransfer.conf around a message's response, or the refusal."""
    if isinstance(answer, TransferRefusal):
        return {"status": answer.value}
    return {"status": "Accepted", "data": json.dumps(answer, separators=(",", ":"))}


def _decoded(data: object, message: TransferredMessage) -> object:
    problem = CallError(
        code="FormationViolation",
        description=f"expected the {message.value} message of OCPP 2.0.1 as a JSON text",
        path="$.data",
    )
    if not isinstance(data, str) or len(data) > _MAX_DATA_CHARACTERS:
        raise problem
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise problem from None
