"""Certificates, OCSP responses and CRLs in the encodings of deployed authorities: read, or refused in words.

A signature covers these bytes, so nobody can correct them. What has one meaning is read; what is ambiguous
(two values, trailing data, lengths or booleans of BER) is refused with a sentence.
"""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from pnc.certificate import decode_block, parse_certificate
from pnc.certificate_chain import ChainVerifier, ValidChain
from pnc.distinguished_name import name_text
from pnc.errors import MalformedCertificateError
from pnc.ocsp_response import RevocationStatus
from pnc.profile import anchor_rejection, contract_emaid
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.revocation_evidence import RevocationRecord, read_ocsp
from pnc.trust import AnchorPurpose, TrustAnchor, trust_of
from sandbox.pki.hierarchy import (
    ContractPki,
    Issued,
    Suite,
    build_pki,
    issue,
    new_key,
    ocsp_answer,
    revocation_list,
)
from tests import pki as broken
from tests import pki_encodings as encoded
from tests.fakes.pnc_market import EMAID, NOW
from tests.pki_encodings import parts_of, tlv

PKI = build_pki(suite=Suite.P256, now=NOW)
LEAVES = encoded.leaf_encodings(PKI, EMAID)
FAULTS = encoded.faulty_leaves(PKI, EMAID)
ISSUER = parse_certificate(PKI.second.der)
LEAF = PKI.issue(EMAID)
FOLDER = os.environ.get("PNC_DIR")


def verify(pki: ContractPki, leaf: bytes, root: Issued | None = None) -> ValidChain | ContractRejection:
    anchor = TrustAnchor(certificate=parse_certificate((root or pki.root).der), purpose=AnchorPurpose.MO_ROOT)
    verifier = ChainVerifier(trust=trust_of(version=1, anchors=[anchor]))
    return verifier.verify(broken.raw_pem(leaf) + pki.second.pem + pki.first.pem, now=NOW)


@pytest.mark.parametrize("case", LEAVES)
def test_an_encoding_with_one_meaning_is_read(case: str) -> None:
    found = verify(PKI, LEAVES[case])
    assert isinstance(found, ValidChain), found
    assert contract_emaid(found.leaf).body == EMAID
    assert found.leaf.der == LEAVES[case]


@pytest.mark.parametrize("case", FAULTS)
def test_an_ambiguous_encoding_is_refused_with_a_sentence(case: str) -> None:
    found = verify(PKI, FAULTS[case].leaf)
    assert isinstance(found, ContractRejection)
    assert found.rejection_reason is RejectionReason.MALFORMED_BUNDLE
    assert FAULTS[case].sentence in found.detail
    assert "ParseError" not in found.detail


def test_inner_and_outer_algorithm_must_be_equal_even_when_both_are_read() -> None:
    tbs, _, signature = parts_of(LEAF.der)
    mixed = tlv(0x30, tbs, encoded.ECDSA_SHA256_NULL, signature)
    with pytest.raises(MalformedCertificateError, match="algorithms differ"):
        parse_certificate(mixed)


@pytest.mark.parametrize(
    ("serial", "name"), [(4711, None), (None, tlv(0x30))], ids=["another serial", "another issuer"]
)
def test_an_authority_named_by_issuer_and_serial_must_be_the_issuer(
    serial: int | None, name: bytes | None
) -> None:
    key_id = encoded.authority_key_id(PKI.second, serial=serial, name=name)
    found = verify(PKI, encoded.reissued(LEAF, PKI.second, {encoded.AUTHORITY_KEY_ID: key_id}))
    assert isinstance(found, ContractRejection)
    assert found.rejection_reason is RejectionReason.KEY_IDENTIFIER_MISMATCH


def test_a_hierarchy_encoded_as_a_deployed_one_is_accepted() -> None:
    pki = encoded.deployed_pki(PKI)
    assert anchor_rejection(parse_certificate(pki.root.der)) is None
    found = verify(pki, encoded.deployed_leaf(pki, EMAID).der)
    assert isinstance(found, ValidChain), found
    assert found.leaf.extensions.authority_key_id == b"\x03" * 8


def test_a_root_that_names_itself_by_issuer_and_serial_is_an_anchor() -> None:
    key_id = {encoded.AUTHORITY_KEY_ID: encoded.authority_key_id(PKI.root)}
    own = parse_certificate(encoded.reissued(PKI.root, PKI.root, key_id))
    assert anchor_rejection(own) is None
    key_id = {encoded.AUTHORITY_KEY_ID: encoded.authority_key_id(PKI.root, serial=4711)}
    other = anchor_rejection(parse_certificate(encoded.reissued(PKI.root, PKI.root, key_id)))
    assert other is not None
    assert other.rejection_reason is RejectionReason.KEY_IDENTIFIER_MISMATCH


def test_a_serial_of_21_octets_is_refused() -> None:
    fields = parts_of(parts_of(LEAF.der)[0])
    for number, good in ((b"\x7f" + b"\xff" * 19, True), (b"\x00" + b"\xff" * 20, False)):
        tbs = tlv(0x30, fields[0], tlv(0x02, number), *fields[2:])
        found = verify(PKI, encoded.signed(tbs, PKI.second.key))
        assert isinstance(found, ValidChain) is good


def _answer(pki: ContractPki, leaf: Issued, **changes: object) -> bytes:
    values: dict[str, object] = {"responder": pki.second, **changes}
    return ocsp_answer(leaf.certificate, issuer=pki.second.certificate, now=NOW, **values)  # type: ignore[arg-type]


def _status(response: bytes, leaf: Issued) -> RevocationRecord | ContractRejection:
    return read_ocsp(response, certificate=parse_certificate(leaf.der), issuer=ISSUER, now=NOW)


DELEGATE_CHANGES = {
    "cA FALSE written out": {encoded.BASIC_CONSTRAINTS: encoded.basic_constraints(encoded.FALSE)},
    "keyUsage with no unused bits": {encoded.KEY_USAGE: encoded.key_usage(0, 0xC0)},
    "critical FALSE written out": {
        encoded.SUBJECT_KEY_ID: encoded.extension(
            encoded.SUBJECT_KEY_ID, tlv(0x04, b"\x05" * 8), critical=encoded.FALSE
        )
    },
}


@pytest.mark.parametrize("case", DELEGATE_CHANGES)
def test_a_delegate_in_such_an_encoding_is_believed(case: str) -> None:
    template = broken.responder_template("Responder", now=NOW)
    plain = issue(template, issuer=PKI.second, key=new_key(PKI.suite))
    der = encoded.reissued(plain, PKI.second, DELEGATE_CHANGES[case], algorithm=encoded.ECDSA_SHA256_NULL)
    response = encoded.ocsp_response(
        (_answer(PKI, LEAF, responder=plain),), plain, enclosed=der, algorithm=encoded.ECDSA_SHA256_NULL
    )
    found = _status(response, LEAF)
    assert isinstance(found, RevocationRecord), found
    assert found.status is RevocationStatus.GOOD


CRL = revocation_list(PKI.second, now=NOW, serials=[7])


def test_a_crl_with_critical_false_written_out_is_read() -> None:
    fields = parts_of(parts_of(CRL)[0])
    listed = [parts_of(item) for item in parts_of(parts_of(fields[-1])[0])]
    spelled = tlv(0xA0, tlv(0x30, *(tlv(0x30, kind, encoded.FALSE, value) for kind, value in listed)))
    tbs = tlv(0x30, fields[0], encoded.ECDSA_SHA256_NULL, *fields[2:-1], spelled)
    crl = encoded.signed(tbs, PKI.second.key, algorithm=encoded.ECDSA_SHA256_NULL)
    found = broken.read_crl(crl, certificate=parse_certificate(LEAF.der), issuer=ISSUER, now=NOW)
    assert isinstance(found, RevocationRecord), found
    assert found.status is RevocationStatus.GOOD


def real_chains() -> list[Path]:
    return [] if FOLDER is None else sorted(Path(FOLDER).glob("*.pem"))


@pytest.mark.skipif(FOLDER is None, reason="PNC_DIR names no folder with contract certificates")
@pytest.mark.parametrize("path", real_chains(), ids=lambda path: path.stem)
def test_contract_certificates_of_a_deployed_authority_verify(path: Path) -> None:
    blocks = re.findall("-----BEGIN CERTIFICATE-----(.*?)-----END", path.read_text(), re.DOTALL)
    leaf, second, first = (parse_certificate(decode_block(block)) for block in blocks)
    anchor = TrustAnchor(certificate=first, purpose=AnchorPurpose.V2G_ROOT)  # its root is not in the file
    verifier = ChainVerifier(trust=trust_of(version=1, anchors=[anchor]))
    found = verifier.verify_certificates(leaf, [second], now=datetime(2023, 6, 1, tzinfo=UTC))
    assert isinstance(found, ValidChain), found
    assert contract_emaid(found.leaf).body.startswith("EMP77TWTW")


def test_a_name_is_written_for_people_as_rfc_4514_says() -> None:
    odd = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COMMON_NAME, ' a,b+"c"\\<d>; '),
            x509.NameAttribute(x509.NameOID.DOMAIN_COMPONENT, "MO"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "#1"),
        ]
    )
    assert name_text(odd.public_bytes()) == odd.rfc4514_string()
    leaf = parse_certificate(LEAF.der)
    assert name_text(leaf.subject) == LEAF.certificate.subject.rfc4514_string()


@pytest.mark.parametrize("suite", Suite)
def test_a_certificate_read_here_is_the_one_that_a_general_library_reads(suite: Suite) -> None:
    pki = build_pki(suite=suite, now=NOW, ocsp_url="http://a.test:8080", crl_url="http://b.test/c")
    for item in (pki.root, pki.first, pki.second, pki.issue(EMAID)):
        ours, theirs = parse_certificate(item.der), item.certificate
        assert ours.pem == item.pem
        assert ours.serial == theirs.serial_number
        assert ours.not_before == theirs.not_valid_before_utc
        assert ours.not_after == theirs.not_valid_after_utc
        assert (ours.tbs, ours.signature) == (theirs.tbs_certificate_bytes, theirs.signature)
        usage = theirs.extensions.get_extension_for_class(x509.KeyUsage).value
        assert ours.extensions.key_usage is not None
        assert ours.extensions.key_usage.digital_signature is usage.digital_signature
        assert ours.extensions.key_usage.key_cert_sign is usage.key_cert_sign
        assert ours.extensions.key_usage.crl_sign is usage.crl_sign
        key_id = theirs.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert ours.subject_key_id == key_id.digest
        assert ours.extensions.ocsp_urls == (() if item is pki.root else ("http://a.test:8080",))
        assert ours.extensions.crl_urls == (() if item is pki.root else ("http://b.test/c",))
