"""C2SP/x509-limbo through the path validator with ISO 15118's own rules taken off: no false accept.

The cases are read from the folder LIMBO_DIR names. Every case that we accept and the suite wants rejected is
listed here with its reason; a listed one that is rejected after all fails the test too.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pnc.certificate import decode_block, parse_certificate
from pnc.certificate_chain import ChainVerifier, ValidChain
from pnc.errors import MalformedCertificateError
from pnc.ocsp_response import RevocationStatus
from pnc.profile import ProfileRules, anchor_rejection
from pnc.revocation_evidence import RevocationRecord
from pnc.trust import AnchorPurpose, TrustAnchor, trust_of
from tests.pki import read_crl

FOLDER = os.environ.get("LIMBO_DIR")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="LIMBO_DIR names no folder with limbo.json")

NO_KEY_ID = "contract PKIs in the field issue without key identifiers; where both are present they must agree"
SERVER_NAME = "the peer's name: a contract is named by one CN that is an eMAID, not by a DNS name or address"
SERVER_USAGE = "TLS server usage: a contract certificate must not have it, which pnc.profile tests on its own"
WEB_ROOT = "a rule of the web's certificate authorities on what roots contain"
ACCEPTED_WITH_REASON = {
    "rfc5280::aki::leaf-missing-aki": NO_KEY_ID,
    "rfc5280::aki::intermediate-missing-aki": NO_KEY_ID,
    "rfc5280::ski::root-missing-ski": NO_KEY_ID,
    "rfc5280::ski::intermediate-missing-ski": NO_KEY_ID,
    "rfc5280::eku::ee-wrong-eku": SERVER_USAGE,
    "rfc5280::san::noncritical-with-empty-subject": SERVER_NAME,
    "rfc5280::san::underscore-dns": SERVER_NAME,
    "rfc5280::san::ip-in-dns": SERVER_NAME,
    "webpki::aki::root-with-aki-missing-keyidentifier": WEB_ROOT,
    "webpki::eku::root-has-eku": WEB_ROOT,
    "webpki::eku::ee-anyeku": SERVER_USAGE,
    "webpki::eku::ee-critical-eku": SERVER_USAGE,
    "webpki::eku::ee-without-eku": SERVER_USAGE,
}
ACCEPTED_GROUPS = {"webpki::cn::": SERVER_NAME, "webpki::san::": SERVER_NAME}
LEAST_ACCEPTED = 24  # the suite's good chains with our keys: rejecting all proves nothing


def cases() -> list[dict[str, Any]]:
    if FOLDER is None:
        return []
    text = (Path(FOLDER) / "limbo.json").read_text()
    return json.loads(text)["testcases"]  # type: ignore[no-any-return]


def _der(pem: str) -> bytes:
    return decode_block(pem.split("-----", 2)[2].split("-----", 1)[0])


def _readable(pems: list[str]) -> list[Any]:
    found = []
    for pem in pems:
        try:
            found.append(parse_certificate(_der(pem)))
        except MalformedCertificateError:
            continue
    return found


def accepts(case: dict[str, Any]) -> bool:
    now = datetime.fromisoformat(case["validation_time"] or "2026-11-22T00:00:00+00:00").astimezone(UTC)
    depth = case["max_chain_depth"]
    rules = ProfileRules(
        contract_rules=False, require_path_length=False, max_authorities=200 if depth is None else depth
    )
    anchors = [
        TrustAnchor(certificate=root, purpose=AnchorPurpose.MO_ROOT)
        for root in _readable(case["trusted_certs"])
        if anchor_rejection(root) is None
    ]
    try:
        leaf = parse_certificate(_der(case["peer_certificate"]))
    except MalformedCertificateError:
        return False
    verifier = ChainVerifier(trust=trust_of(version=1, anchors=anchors), rules=rules)
    chain = verifier.verify_certificates(leaf, _readable(case["untrusted_intermediates"]), now=now)
    return isinstance(chain, ValidChain) and (not case["crls"] or _cleared(chain, case["crls"], now))


def _cleared(chain: ValidChain, crls: list[str], now: datetime) -> bool:
    """Whether some CRL clears each certificate of the path."""
    for place, certificate in enumerate(chain.path):
        found = [
            read_crl(_der(crl), certificate=certificate, issuer=chain.issuer_of(place), now=now)
            for crl in crls
        ]
        if not any(
            isinstance(item, RevocationRecord) and item.status is RevocationStatus.GOOD for item in found
        ):
            return False
    return True


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["id"])
def test_no_chain_of_the_suite_is_accepted_falsely(case: dict[str, Any]) -> None:
    listed = case["id"] in ACCEPTED_WITH_REASON
    grouped = any(case["id"].startswith(group) for group in ACCEPTED_GROUPS)
    accepted = accepts(case)
    if case["expected_result"] == "FAILURE" and not grouped:
        assert accepted is listed


def test_the_suites_good_chains_of_our_keys_are_accepted() -> None:
    good = [case["id"] for case in cases() if case["expected_result"] == "SUCCESS" and accepts(case)]
    assert len(good) >= LEAST_ACCEPTED
