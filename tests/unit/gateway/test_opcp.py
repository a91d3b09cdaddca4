"""Events of the Open Plug & Charge Protocol: stand-in and reader agree, forged ones are turned away."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from multidict import CIMultiDict

from gateway.adapters.opcp import SIGNATURE_HEADERS, OpcpProtocol
from pnc.contract_pool import PoolChange
from pnc.errors import UnfitPoolEventError
from sandbox.contract_pool.events import EVENT_TYPES, SandboxContractPool

SECRET = "a-webhook-secret-of-the-pool"
AT = datetime(2026, 10, 29, 8, 0, tzinfo=UTC)
CAR = "WMI12345671234567"
OPCP = OpcpProtocol()


def published(**changes: Any) -> dict[str, Any]:
    """An event with the members and values of the published example."""
    payload = {
        "emaid": "DEABCE1234567890"[:14],
        "pcid": "WMI123456712345678",
        "contractCert": "MIICXjCCAeS...",
        "cpsSignerRootFingerprint": "a76ae4c5d00e06a967554511865bfa89e79590e8a61b5a71f9ce22e039d6c370",
        "cpsSignerRootCommonName": "V2G Root CA G2",
        "signatureAlgorithm": "secp256r1",
    }
    return {
        "timestamp": "2026-02-03T00:00:00Z",
        "eventId": "b1b86334-7c74-4ccc-b78d-d4f773d3b559",
        "eventType": "mo.contract.created.sent.to.oem",
        "xsdMsgDefNamespace": "urn:iso:15118:2:2013:MsgDef",
        "payload": payload,
    } | changes


def signature(body: bytes, secret: str = SECRET) -> str:
    return hmac.digest(secret.encode(), body, hashlib.sha256).hex()


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_what_the_stand_in_sends_is_authentic_and_read(event_type: str) -> None:
    sent = SandboxContractPool(SECRET).delivery(
        event_type, event_id=UUID(int=7), emaid="DE8AAC12345678", vehicle=CAR, at=AT, certificate="QUJD"
    )
    assert OPCP.is_authentic(sent.body, headers=CIMultiDict(sent.headers), secret=SECRET.encode())
    read = OPCP.read(sent.body)
    assert (read.event_id, read.name, read.occurred_at) == (UUID(int=7), event_type, AT)
    if event_type == "mo.contract.delivered.to.oem":
        assert (read.change, read.emaid) == (None, "")
    else:
        assert (read.emaid, read.vehicle) == ("DE8AAC12345678", CAR)
        stores = read.change is PoolChange.CONTRACT_STORED
        assert read.certificate == ("QUJD" if stores else None)


def test_the_published_example_is_read() -> None:
    read = OPCP.read(json.dumps(published()).encode())
    assert (read.change, read.vehicle) == (PoolChange.CONTRACT_STORED, "WMI123456712345678")
    assert read.occurred_at == datetime(2026, 2, 3, tzinfo=UTC)


def test_a_report_about_a_root_changes_no_contract() -> None:
    root = published(eventType="root.cert.revoked", payload={"commonName": "V2G Root CA G2"})
    assert OPCP.read(json.dumps(root).encode()).change is None


@pytest.mark.parametrize("name", SIGNATURE_HEADERS)
def test_each_published_way_of_writing_the_signature_is_read(name: str) -> None:
    for value in (signature(b"{}"), f"sha256={signature(b'{}')}", signature(b"{}").upper()):
        assert OPCP.is_authentic(b"{}", headers=CIMultiDict({name: value}), secret=SECRET.encode())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Operator-Signature": ""},
        {"X-Operator-Signature": "sha256="},
        {"X-Operator-Signature": signature(b"{} ")},
        {"X-Operator-Signature": signature(b"{}", "another-secret-of-somebody")},
        {"X-Operator-Signature": f"sha1={signature(b'{}')}"},
        {"X-Operator-Signature": signature(b"{}")[:-1]},
        {"X-Operator-Signature": "\u00e9" * 64},
        {"X-Operator-Signature": signature(b"{}"), "X-Hubject-Signature": "00"},
    ],
)
def test_what_is_not_signed_right_is_not_authentic(headers: dict[str, str]) -> None:
    assert not OPCP.is_authentic(b"{}", headers=CIMultiDict(headers), secret=SECRET.encode())


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"timestamp": "2026-02-03T00:00:00"}, "timestamp"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00Z"}, "timestamp"),
        ({"eventId": "1"}, "eventId"),
        ({"eventType": "Bad\u0000"}, "eventType"),
        ({"payload": {"pcid": CAR}}, "payload.emaid"),
        ({"payload": {"emaid": "DE8AAC12345678", "pcid": "short"}}, "payload.pcid"),
        ({"payload": {"emaid": "DE8AA\u0000", "pcid": CAR}}, "payload.emaid"),
        ({"payload": {"emaid": "DE8AAC12345678", "pcid": CAR, "contractCert": "A" * 40_000}}, "payload"),
        ({"payload": None}, "$"),
        ({"eventId": 7}, "$"),
    ],
)
def test_an_authentic_body_that_is_no_event_is_refused_with_its_place(
    changes: dict[str, Any], path: str
) -> None:
    with pytest.raises(UnfitPoolEventError) as caught:
        OPCP.read(json.dumps(published(**changes)).encode())
    assert caught.value.path.startswith(path)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"null"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(UnfitPoolEventError):
        OPCP.read(body)


def test_a_stand_in_sends_only_what_is_published() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        SandboxContractPool(SECRET).delivery(
            "car.stolen", event_id=UUID(int=1), emaid="DE8AAC12345678", vehicle=CAR, at=AT
        )
