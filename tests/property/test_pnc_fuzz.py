"""Whatever arrives, Plug & Charge answers: no text, bytes or JSON makes it raise, hang or believe."""

import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from pnc.authorization import PresentedContract, read_request
from pnc.certificate import MAX_BUNDLE_CHARACTERS, parse_certificate
from pnc.certificate_chain import ChainVerifier, ValidChain
from pnc.distinguished_name import attributes, subject_names
from pnc.emaid import parse_emaid
from pnc.errors import CallError, MalformedCertificateError, MalformedEmaidError
from pnc.extensions import read_every_extension, read_extensions
from pnc.hash_data import MAX_ENTRIES
from pnc.messages import OcppVersion, validate_authorize_request
from pnc.profile import ProfileRules
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.revocation_endpoints import origin_of
from pnc.revocation_evidence import RevocationRecord, read_ocsp
from pnc.trust import AnchorPurpose, TrustAnchor, trust_of
from sandbox.pki.hierarchy import Suite, build_pki, ocsp_answer, revocation_list
from tests import pki as broken
from tests.fakes.pnc_market import EMAID, NOW, OCSP_URL
from tests.pki import read_crl

PKI = build_pki(suite=Suite.P256, now=NOW, ocsp_url=OCSP_URL)
LEAF = PKI.issue(EMAID)
ISSUER = parse_certificate(PKI.second.der)
CERTIFICATE = parse_certificate(LEAF.der)
ANCHOR = TrustAnchor(certificate=parse_certificate(PKI.root.der), purpose=AnchorPurpose.MO_ROOT)
ANSWER = ocsp_answer(LEAF.certificate, issuer=PKI.second.certificate, responder=PKI.second, now=NOW)
LIST = revocation_list(PKI.second, now=NOW, serials=[7])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=20), inner, max_size=6),
    max_leaves=20,
)
BENT = st.builds(
    lambda place, mask: (place, mask), st.integers(min_value=0, max_value=10_000), st.integers(1, 255)
)
many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def bend(data: bytes, place: int, mask: int) -> bytes:
    at = place % len(data)
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def verifier() -> ChainVerifier:
    return ChainVerifier(trust=trust_of(version=1, anchors=[ANCHOR]))


@many
@given(st.text(max_size=2_000))
def test_no_text_makes_the_chain_verifier_raise(text: str) -> None:
    assert isinstance(verifier().verify(text, now=NOW), ContractRejection)


@many
@given(st.binary(max_size=800))
def test_no_bytes_in_a_pem_make_the_chain_verifier_raise(data: bytes) -> None:
    bundle = broken.raw_pem(data) + PKI.second.pem + PKI.first.pem
    assert isinstance(verifier().verify(bundle, now=NOW), ContractRejection)


@many
@given(BENT)
def test_no_bent_leaf_is_believed(bent: tuple[int, int]) -> None:
    remembering = verifier()
    assert isinstance(remembering.verify(PKI.bundle(LEAF), now=NOW), ValidChain)
    above = PKI.second.pem + PKI.first.pem
    bundle = broken.raw_pem(bend(LEAF.der, *bent)) + above
    for judge in (remembering, verifier()):
        assert isinstance(judge.verify(bundle, now=NOW), ContractRejection)


@many
@given(st.lists(BENT, min_size=1, max_size=4))
def test_no_bent_certificate_makes_the_parser_raise_anything_else(bents: list[tuple[int, int]]) -> None:
    data = LEAF.der
    for bent in bents:
        data = bend(data, *bent)
    try:
        parse_certificate(data)
    except MalformedCertificateError:
        return


def _read_or_refused(read: Callable[[bytes], object], data: bytes) -> object:
    try:
        return read(data)
    except MalformedCertificateError:
        return "refused"


def _names_in_full(subject: bytes) -> object:
    found = attributes(subject)
    common, component = bytes.fromhex("550403"), bytes.fromhex("0992268993f22c640119")
    return tuple(tuple(text for kind, text in found if kind == wanted) for wanted in (common, component))


EXTENSIONS = CERTIFICATE.tbs.partition(CERTIFICATE.key_info)[2][3:]  # without the header of [3]
WITHIN = bytes.fromhex("301d0603551d0e0416041400")  # the head of a key identifier, inside another element


@many
@given(st.lists(BENT, min_size=1, max_size=3), st.booleans())
def test_what_is_remembered_around_a_name_or_key_identifier_changes_nothing(
    bents: list[tuple[int, int]],
    graft: bool,  # noqa: FBT001 - drawn
) -> None:
    """The short way reads what reading everything reads, and refuses the same, also once remembered."""
    assert read_extensions(EXTENSIONS) == read_every_extension(EXTENSIONS)
    subject, extensions = CERTIFICATE.subject, EXTENSIONS
    for bent in bents:
        subject, extensions = bend(subject, *bent), bend(extensions, *bent)
    if graft:
        at = bents[0][0] % len(extensions)
        extensions = extensions[:at] + WITHIN + extensions[at + len(WITHIN) :]
    for _ in range(2):
        assert _read_or_refused(read_extensions, extensions) == _read_or_refused(
            read_every_extension, extensions
        )
        assert _read_or_refused(subject_names, subject) == _read_or_refused(_names_in_full, subject)


@many
@given(BENT)
def test_no_bent_ocsp_answer_says_anything_new(bent: tuple[int, int]) -> None:
    """A bit that no signature covers (the unused bits of the signature itself) may leave it as it was."""
    said = read_ocsp(ANSWER, certificate=CERTIFICATE, issuer=ISSUER, now=NOW)
    assert isinstance(said, RevocationRecord)
    found = read_ocsp(bend(ANSWER, *bent), certificate=CERTIFICATE, issuer=ISSUER, now=NOW)
    assert isinstance(found, ContractRejection) or found == said


@many
@given(st.binary(max_size=600))
def test_no_bytes_make_the_ocsp_or_crl_reader_raise_or_believe(data: bytes) -> None:
    assert isinstance(read_ocsp(data, certificate=CERTIFICATE, issuer=ISSUER, now=NOW), ContractRejection)
    assert isinstance(read_crl(data, certificate=CERTIFICATE, issuer=ISSUER, now=NOW), ContractRejection)


@many
@given(BENT)
def test_no_bent_crl_says_anything_new(bent: tuple[int, int]) -> None:
    said = read_crl(LIST, certificate=CERTIFICATE, issuer=ISSUER, now=NOW)
    assert isinstance(said, RevocationRecord)
    found = read_crl(bend(LIST, *bent), certificate=CERTIFICATE, issuer=ISSUER, now=NOW)
    assert isinstance(found, ContractRejection) or found == said


@many
@given(JSON, st.sampled_from(OcppVersion))
def test_no_json_makes_the_request_reader_raise_anything_but_a_call_error(
    payload: Any, version: OcppVersion
) -> None:
    found: PresentedContract | ContractRejection | CallError
    try:
        found = read_request(validate_authorize_request(version, payload))
    except CallError as problem:
        found = problem
    if isinstance(found, CallError):
        assert found.path.startswith("$")
        assert len(found.description) <= 255
    else:
        assert isinstance(found, PresentedContract | ContractRejection)


ENTRY = st.fixed_dictionaries(
    {
        "hashAlgorithm": st.sampled_from(["SHA256", "SHA384", "SHA512"]),
        "issuerNameHash": st.text(max_size=128),
        "issuerKeyHash": st.text("0123456789abcdefABCDEF", max_size=128),
        "serialNumber": st.text(max_size=40),
        "responderURL": st.text(max_size=512),
    }
)


@many
@given(
    st.text(max_size=36),
    st.text(max_size=300),
    st.lists(ENTRY, min_size=1, max_size=MAX_ENTRIES),
)
def test_every_request_that_fits_the_schema_is_read_or_rejected(
    token: str, certificate: str, entries: list[dict[str, str]]
) -> None:
    request = {
        "idToken": {"idToken": token, "type": "eMAID"},
        "certificate": certificate,
        "iso15118CertificateHashData": entries,
    }
    validated = validate_authorize_request(OcppVersion.V2_0_1, request)
    assert isinstance(read_request(validated), PresentedContract | ContractRejection)


@many
@given(st.text(max_size=80))
def test_no_address_makes_the_origin_reader_raise_or_name_another_host(url: str) -> None:
    origin = origin_of(url)
    assert origin is None or (origin.startswith(("http://", "https://")) and "@" not in origin)


@many
@given(st.text(max_size=40))
def test_no_text_makes_the_emaid_reader_raise_anything_else(text: str) -> None:
    try:
        emaid = parse_emaid(text)
    except MalformedEmaidError:
        return
    assert emaid.body.isascii()
    assert len(emaid.body) == 14


def test_a_bundle_at_the_limit_of_its_field_costs_milliseconds_not_seconds() -> None:
    rng = random.Random(1)
    small = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
    hostile = [
        "A" * MAX_BUNDLE_CHARACTERS,
        "-----BEGIN CERTIFICATE-----" * 300,
        small * (MAX_BUNDLE_CHARACTERS // len(small)),
        "-----BEGIN CERTIFICATE-----" + "=" * 9_000 + "-----END CERTIFICATE-----",
        broken.raw_pem(b"\x30\x84\xff\xff\xff\xff" + rng.randbytes(4_000)),
        broken.raw_pem(b"\x30\x80" * 2_000),
    ]
    started = time.process_time()
    for bundle in hostile:
        assert isinstance(verifier().verify(bundle, now=NOW), ContractRejection)
    assert time.process_time() - started < 0.5


def test_a_bundle_over_the_limit_is_rejected_before_it_is_decoded() -> None:
    found = verifier().verify(PKI.bundle(LEAF) + "\n" * MAX_BUNDLE_CHARACTERS, now=NOW)
    assert isinstance(found, ContractRejection)
    assert found.rejection_reason is RejectionReason.MALFORMED_BUNDLE


def test_many_same_named_authorities_cost_a_bounded_number_of_signature_checks() -> None:
    crowd = [
        parse_certificate(broken.sub_authority(PKI, issuer=PKI.first, name="Sandbox MO Sub 2").der)
        for _ in range(60)
    ]
    lenient = ChainVerifier(
        trust=trust_of(version=1, anchors=[ANCHOR]), rules=ProfileRules(max_authorities=100)
    )
    orphan = broken.sub_authority(PKI, issuer=PKI.first, name="Sandbox MO Sub 2")
    leaf = parse_certificate(broken.leaf_under(PKI, orphan, EMAID).der)
    nameless = structs.replace(leaf, extensions=structs.replace(leaf.extensions, authority_key_id=None))
    started = time.process_time()
    found = lenient.verify_certificates(nameless, crowd, now=NOW)
    assert isinstance(found, ContractRejection)
    assert time.process_time() - started < 0.25


@pytest.mark.parametrize("days", [-1, 0, 1])
def test_remembered_issuers_do_not_outlive_their_validity(days: int) -> None:
    short = broken.sub_authority(PKI, issuer=PKI.first, not_after=NOW + timedelta(days=2))
    leaf = broken.leaf_under(PKI, short, EMAID, not_after=NOW + timedelta(days=90))
    bundle = broken.pem(leaf, short, PKI.first)
    judge = verifier()
    assert isinstance(judge.verify(bundle, now=NOW), ValidChain)
    found = judge.verify(bundle, now=NOW + timedelta(days=2 + days, seconds=1))
    assert isinstance(found, ValidChain if days < 0 else ContractRejection)
