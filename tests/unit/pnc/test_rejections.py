"""What must be rejected, at the service, each with the status the station is answered.

Every case breaks one thing of a market where all else is good, and names the rejection reason, so that it
can't pass by being rejected for another reason.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.database import Pool
from pnc import certificate_registry, contract_administration
from pnc.authorization import CertificateStatus, IdTokenStatus, PresentedContract, read_request, statuses_of
from pnc.certificate import parse_certificate
from pnc.certificate_chain import ChainVerifier
from pnc.contract import ContractState
from pnc.hash_data import HashAlgorithm, as_ocpp, certificate_hash
from pnc.ports import FetchError
from pnc.rejection_reasons import ContractRejection, RejectionReason
from pnc.service import match_rejection
from pnc.trust import AnchorPurpose, RevocationPolicy, TrustAnchor, trust_of
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
from tests.fakes.pnc_market import ACTOR, CRL_URL, EMAID, NOW, OCSP_URL, Market, contract, open_market
from tests.pki import responder_template

CHAIN = (CertificateStatus.CERT_CHAIN_ERROR, IdTokenStatus.INVALID)
EXPIRED = (CertificateStatus.CERTIFICATE_EXPIRED, IdTokenStatus.EXPIRED)
REVOKED = (CertificateStatus.CERTIFICATE_REVOKED, IdTokenStatus.INVALID)
NONE = (CertificateStatus.NO_CERTIFICATE_AVAILABLE, IdTokenStatus.INVALID)
CANCELLED = CertificateStatus.CONTRACT_CANCELLED
OTHER_EMAID = "DE8AAC87654321"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A hierarchy and its good leaf."""

    pki: ContractPki
    leaf: Issued


Bundle = Callable[[Bench], str]


def _third_authority(market: Bench) -> str:
    first = broken.sub_authority(market.pki, issuer=market.pki.root, path_length=2, name="A")
    second = broken.sub_authority(market.pki, issuer=first, path_length=1, name="B")
    third = broken.sub_authority(market.pki, issuer=second, path_length=0, name="C")
    return broken.pem(broken.leaf_under(market.pki, third, EMAID), third, second, first)


def _path_length_exceeded(market: Bench) -> str:
    first = broken.sub_authority(market.pki, issuer=market.pki.root, path_length=0, name="A")
    second = broken.sub_authority(market.pki, issuer=first, path_length=0, name="B")
    return broken.pem(broken.leaf_under(market.pki, second, EMAID), second, first)


def _leaf_issued_a_leaf(market: Bench) -> str:
    issuer = market.leaf
    return broken.pem(broken.leaf_under(market.pki, issuer, EMAID), issuer, market.pki.second)


def _root_in_the_bundle(market: Bench) -> str:
    stranger = broken.untrusted(market.pki, EMAID)
    return stranger.bundle(stranger.issue(EMAID)) + stranger.root.pem


def _expired_authority(market: Bench) -> str:
    old = broken.sub_authority(
        market.pki,
        issuer=market.pki.first,
        not_before=NOW - 30 * broken.ONE_DAY,
        not_after=NOW - broken.ONE_DAY,
    )
    return broken.pem(broken.leaf_under(market.pki, old, EMAID), old, market.pki.first)


def _authority_of(role: str) -> Bundle:
    def build(market: Bench) -> str:
        issuer = broken.sub_authority(market.pki, issuer=market.pki.first, domain_component=role)
        return broken.pem(broken.leaf_under(market.pki, issuer, EMAID), issuer, market.pki.first)

    return build


def _leaf(**changes: Any) -> Bundle:
    return lambda market: market.pki.bundle(market.pki.issue(EMAID, **changes))


def _unlimited_authority(market: Bench) -> str:
    issuer = broken.sub_authority(market.pki, issuer=market.pki.first, path_length=None)
    return broken.pem(broken.leaf_under(market.pki, issuer, EMAID), issuer, market.pki.first)


def _authority_without_cert_sign(market: Bench) -> str:
    issuer = broken.sub_authority(market.pki, issuer=market.pki.first, key_cert_sign=False)
    return broken.pem(broken.leaf_under(market.pki, issuer, EMAID), issuer, market.pki.first)


def _constrained_authority(market: Bench) -> str:
    names = x509.NameConstraints(permitted_subtrees=[x509.DNSName("example.test")], excluded_subtrees=None)
    issuer = broken.sub_authority(market.pki, issuer=market.pki.first, extra=((names, True),))
    return broken.pem(broken.leaf_under(market.pki, issuer, EMAID), issuer, market.pki.first)


def _wrong_key_identifier(market: Bench) -> str:
    other = new_key(market.pki.suite).public_key()
    leaf = market.pki.leaf_template(EMAID)
    builder = x509.AuthorityKeyIdentifier.from_issuer_public_key(other)
    # The issuer's own identifier is exchanged for another key's.
    signer = market.pki.second
    certificate = (
        x509.CertificateBuilder()
        .subject_name(market.leaf.certificate.subject)
        .issuer_name(signer.certificate.subject)
        .public_key(new_key(market.pki.suite).public_key())
        .serial_number(4711)
        .not_valid_before(leaf.not_before)
        .not_valid_after(leaf.not_after)
        .add_extension(builder, critical=False)
        .add_extension(
            market.leaf.certificate.extensions.get_extension_for_class(x509.KeyUsage).value, critical=True
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(signer.key, hashes.SHA256())
    )
    return broken.der_pem(certificate.public_bytes(serialization.Encoding.DER)) + broken.pem(
        market.pki.second, market.pki.first
    )


def _mixed_editions(market: Bench) -> str:
    return broken.leaf_with_key(market.pki, EMAID, ec.generate_private_key(ec.SECP521R1()))


BUNDLES: dict[str, tuple[Bundle, RejectionReason, tuple[CertificateStatus, IdTokenStatus]]] = {
    "an empty PEM": (lambda _: "", RejectionReason.MALFORMED_BUNDLE, CHAIN),
    "garbage for a PEM": (lambda _: "not a certificate", RejectionReason.MALFORMED_BUNDLE, CHAIN),
    "a PEM of garbage": (
        lambda _: broken.raw_pem(b"\x30\x03\x02\x01\x05"),
        RejectionReason.MALFORMED_BUNDLE,
        CHAIN,
    ),
    "a PEM with text between": (
        lambda m: m.leaf.pem + "text\n" + m.pki.second.pem + m.pki.first.pem,
        RejectionReason.MALFORMED_BUNDLE,
        CHAIN,
    ),
    "a private key for a PEM": (lambda m: m.leaf.key_pem(), RejectionReason.MALFORMED_BUNDLE, CHAIN),
    "an untrusted root": (
        lambda m: (p := broken.untrusted(m.pki, EMAID)).bundle(p.issue(EMAID)),
        RejectionReason.UNTRUSTED_ROOT,
        CHAIN,
    ),
    "its own root in the bundle": (_root_in_the_bundle, RejectionReason.UNTRUSTED_ROOT, CHAIN),
    "a same-name root with another key": (
        lambda m: broken.same_name_root(m.pki, EMAID),
        RejectionReason.KEY_IDENTIFIER_MISMATCH,
        CHAIN,
    ),
    "a tampered leaf": (lambda m: broken.tampered(m.pki, m.leaf), RejectionReason.BAD_SIGNATURE, CHAIN),
    "a missing sub-authority": (
        lambda m: broken.pem(m.leaf, m.pki.first),
        RejectionReason.UNTRUSTED_ROOT,
        CHAIN,
    ),
    "the leaf alone": (lambda m: m.leaf.pem, RejectionReason.UNTRUSTED_ROOT, CHAIN),
    "the authority first": (
        lambda m: broken.pem(m.pki.second, m.leaf, m.pki.first),
        RejectionReason.NOT_A_LEAF,
        CHAIN,
    ),
    "an expired leaf": (
        _leaf(not_before=NOW - 9 * broken.ONE_DAY, not_after=NOW - broken.ONE_DAY),
        RejectionReason.EXPIRED,
        EXPIRED,
    ),
    "a leaf expired a second ago": (
        _leaf(not_after=NOW - timedelta(seconds=1)),
        RejectionReason.EXPIRED,
        EXPIRED,
    ),
    "a leaf not yet valid": (_leaf(not_before=NOW + broken.ONE_DAY), RejectionReason.NOT_YET_VALID, EXPIRED),
    "an expired sub-authority": (_expired_authority, RejectionReason.EXPIRED, EXPIRED),
    "a CA:true leaf": (_leaf(is_authority=True), RejectionReason.NOT_A_LEAF, CHAIN),
    "a leaf that issued a leaf": (_leaf_issued_a_leaf, RejectionReason.NOT_AN_AUTHORITY, CHAIN),
    "a path length exceeded": (_path_length_exceeded, RejectionReason.PATH_LENGTH_EXCEEDED, CHAIN),
    "a third sub-authority": (_third_authority, RejectionReason.TOO_MANY_CERTIFICATES, CHAIN),
    "an authority that can't be read on the path": (
        lambda m: m.leaf.pem + broken.raw_pem(m.pki.second.der[:-1]) + m.pki.first.pem,
        RejectionReason.MALFORMED_BUNDLE,
        CHAIN,
    ),
    "an authority without path length": (_unlimited_authority, RejectionReason.NOT_AN_AUTHORITY, CHAIN),
    "an authority that may not sign certificates": (
        _authority_without_cert_sign,
        RejectionReason.WRONG_KEY_USAGE,
        CHAIN,
    ),
    "a charging station's certificate by role": (
        _leaf(domain_component="CPO"),
        RejectionReason.WRONG_DOMAIN_COMPONENT,
        CHAIN,
    ),
    "a charging station's certificate by usage": (
        _leaf(extended_usages=(ExtendedKeyUsageOID.SERVER_AUTH,)),
        RejectionReason.WRONG_EXTENDED_KEY_USAGE,
        CHAIN,
    ),
    "any extended usage": (
        _leaf(extended_usages=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
        RejectionReason.WRONG_EXTENDED_KEY_USAGE,
        CHAIN,
    ),
    "an OCSP responder's certificate": (
        _leaf(extended_usages=(ExtendedKeyUsageOID.OCSP_SIGNING,)),
        RejectionReason.WRONG_EXTENDED_KEY_USAGE,
        CHAIN,
    ),
    "a provisioning certificate": (
        _leaf(domain_component="CPS"),
        RejectionReason.WRONG_DOMAIN_COMPONENT,
        CHAIN,
    ),
    "a vehicle's provisioning certificate": (
        _leaf(domain_component="OEM"),
        RejectionReason.WRONG_DOMAIN_COMPONENT,
        CHAIN,
    ),
    "a leaf of a provisioning authority": (
        _authority_of("CPS"),
        RejectionReason.WRONG_DOMAIN_COMPONENT,
        CHAIN,
    ),
    "a leaf of a charging station authority": (
        _authority_of("CPO"),
        RejectionReason.WRONG_DOMAIN_COMPONENT,
        CHAIN,
    ),
    "a leaf of a vehicle maker's authority": (
        _authority_of("OEM"),
        RejectionReason.WRONG_DOMAIN_COMPONENT,
        CHAIN,
    ),
    "a leaf that can't sign": (_leaf(digital_signature=False), RejectionReason.WRONG_KEY_USAGE, CHAIN),
    "a leaf that may sign certificates": (_leaf(key_cert_sign=True), RejectionReason.WRONG_KEY_USAGE, CHAIN),
    "a P-384 key": (
        lambda m: broken.leaf_with_key(m.pki, EMAID, ec.generate_private_key(ec.SECP384R1())),
        RejectionReason.WRONG_KEY,
        CHAIN,
    ),
    "a secp256k1 key": (
        lambda m: broken.leaf_with_key(m.pki, EMAID, ec.generate_private_key(ec.SECP256K1())),
        RejectionReason.WRONG_KEY,
        CHAIN,
    ),
    "an RSA key": (
        lambda m: broken.leaf_with_key(m.pki, EMAID, rsa.generate_private_key(65537, 2048)),
        RejectionReason.WRONG_KEY,
        CHAIN,
    ),
    "a SHA-1 signature": (
        lambda m: broken.sha1_leaf(m.pki, EMAID),
        RejectionReason.WRONG_SIGNATURE_ALGORITHM,
        CHAIN,
    ),
    "a SHA-384 signature": (
        _leaf(hash_algorithm=hashes.SHA384()),
        RejectionReason.WRONG_SIGNATURE_ALGORITHM,
        CHAIN,
    ),
    "a SHA-512 signature under P-256": (
        _leaf(hash_algorithm=hashes.SHA512()),
        RejectionReason.BAD_SIGNATURE,
        CHAIN,
    ),
    "two editions in one chain": (_mixed_editions, RejectionReason.MIXED_EDITIONS, CHAIN),
    "two common names": (_leaf(common_names=(EMAID, OTHER_EMAID)), RejectionReason.WRONG_COMMON_NAME, CHAIN),
    "the same common name twice": (
        _leaf(common_names=(EMAID, EMAID)),
        RejectionReason.WRONG_COMMON_NAME,
        CHAIN,
    ),
    "no common name": (_leaf(common_names=()), RejectionReason.WRONG_COMMON_NAME, CHAIN),
    "a NUL in the common name": (
        _leaf(common_names=(f"{EMAID}\x00.evil",)),
        RejectionReason.WRONG_COMMON_NAME,
        CHAIN,
    ),
    "full-width letters in the common name": (
        _leaf(common_names=("DE8AA\uff231234567" + "8",)),
        RejectionReason.WRONG_COMMON_NAME,
        CHAIN,
    ),
    "a Cyrillic look-alike in the common name": (
        _leaf(common_names=("DE8\u0410AC12345678",)),
        RejectionReason.WRONG_COMMON_NAME,
        CHAIN,
    ),
    "another eMAID in the certificate": (
        _leaf(common_names=(OTHER_EMAID,)),
        RejectionReason.EMAID_MISMATCH,
        CHAIN,
    ),
    "an unknown critical extension": (
        _leaf(extra=((broken.UNKNOWN_CRITICAL, True),)),
        RejectionReason.UNSUPPORTED_EXTENSION,
        CHAIN,
    ),
    "a name-constrained authority": (_constrained_authority, RejectionReason.UNSUPPORTED_EXTENSION, CHAIN),
    "another issuer's key identifier": (
        _wrong_key_identifier,
        RejectionReason.KEY_IDENTIFIER_MISMATCH,
        CHAIN,
    ),
}


def _surplus(bench: Bench) -> Issued:
    return broken.sub_authority(bench.pki, issuer=bench.pki.root, name="Surplus", path_length=1)


GOOD_BUNDLES: dict[str, Bundle] = {
    "a sub-authority with the role V2G": _authority_of("V2G"),
    "a surplus sub-authority": lambda m: m.pki.bundle(m.leaf) + _surplus(m).pem,
    "a surplus sub-authority before the path": lambda m: (
        m.leaf.pem + _surplus(m).pem + m.pki.second.pem + m.pki.first.pem
    ),
    "a surplus certificate that can't be read": lambda m: m.pki.bundle(m.leaf) + broken.raw_pem(b"\x30\x00"),
    "the leaf of another contract as surplus": lambda m: m.pki.bundle(m.leaf) + m.pki.issue(OTHER_EMAID).pem,
    "its own root as surplus": lambda m: m.pki.bundle(m.leaf) + m.pki.root.pem,
}


@pytest.fixture(scope="module", name="bench")
def _bench() -> Bench:
    pki = build_pki(suite=Suite.P256, now=NOW, ocsp_url=OCSP_URL)
    return Bench(pki=pki, leaf=pki.issue(EMAID))


def judge(bench: Bench, bundle: str) -> RejectionReason | None:
    """What the service's evaluation finds before it checks revocation."""
    anchor = TrustAnchor(certificate=parse_certificate(bench.pki.root.der), purpose=AnchorPurpose.MO_ROOT)
    verifier = ChainVerifier(trust=trust_of(version=1, anchors=[anchor]))
    chain = verifier.verify(bundle, now=NOW)
    presented = read_request({"idToken": {"idToken": EMAID, "type": "eMAID"}, "certificate": bundle})
    assert isinstance(presented, PresentedContract)
    rejection = chain if isinstance(chain, ContractRejection) else match_rejection(chain, presented)
    return None if rejection is None else rejection.rejection_reason


def test_the_bench_itself_is_good(bench: Bench) -> None:
    assert judge(bench, bench.pki.bundle(bench.leaf)) is None


@pytest.mark.parametrize("case", GOOD_BUNDLES)
def test_what_a_bundle_holds_beside_a_path_refuses_nothing(bench: Bench, case: str) -> None:
    assert judge(bench, GOOD_BUNDLES[case](bench)) is None


@pytest.mark.parametrize("case", BUNDLES)
def test_a_broken_certificate_is_rejected_with_its_status(bench: Bench, case: str) -> None:
    build, rejection_reason, statuses = BUNDLES[case]
    assert judge(bench, build(bench)) is rejection_reason
    assert statuses_of(rejection_reason) == statuses


@pytest.mark.parametrize("case", ["an empty PEM", "a tampered leaf", "an expired leaf", "an untrusted root"])
async def test_a_broken_certificate_is_rejected_and_recorded(pool: Pool, case: str) -> None:
    market = await open_market(pool, policy=RevocationPolicy.SOFT)
    build, rejection_reason, statuses = BUNDLES[case]
    bundle = build(Bench(pki=market.pki, leaf=market.leaf))
    answer = await market.ask(market.pem_request(bundle=bundle))
    assert answer.decision.rejection_reason is rejection_reason, answer.decision.detail
    assert answer.decision.statuses == statuses
    assert not answer.decision.payment_needed


async def test_an_emaid_alone_is_rejected_as_no_certificate(pool: Pool) -> None:
    market = await open_market(pool)
    answer = await market.ask({"idToken": {"idToken": EMAID, "type": "eMAID"}})
    assert answer.decision.statuses == NONE


@pytest.mark.parametrize(
    "text", ["", "DE8AA", EMAID + "\x00", "\uff24\uff258AAC12345678", "DE8AAC1234567\u00df", "' OR 1=1 --"]
)
async def test_a_token_that_is_no_emaid_is_rejected(pool: Pool, text: str) -> None:
    market = await open_market(pool)
    answer = await market.ask(market.pem_request(emaid=text))
    assert (answer.decision.rejection_reason, answer.decision.statuses) == (
        RejectionReason.MALFORMED_EMAID,
        CHAIN,
    )


async def test_another_token_type_is_rejected(pool: Pool) -> None:
    market = await open_market(pool)
    request = market.pem_request()
    request["idToken"]["type"] = "ISO14443"
    answer = await market.ask(request)
    assert (answer.decision.rejection_reason, answer.decision.statuses) == (
        RejectionReason.NOT_AN_EMAID_TOKEN,
        CHAIN,
    )


def _answer_about(market: Market, **changes: Any) -> bytes:
    values: dict[str, Any] = {
        "issuer": market.pki.second.certificate,
        "responder": market.pki.second,
        "now": NOW,
    }
    certificate = changes.pop("certificate", market.leaf.certificate)
    return ocsp_answer(certificate, **{**values, **changes})


def _by_leaf(market: Market) -> bytes:
    return _answer_about(market, responder=market.leaf, enclosed=[market.leaf.certificate])


def _by_responder_without_the_usage(market: Market) -> bytes:
    template = market.pki.leaf_template("DE8AAC00000000")
    responder = issue(template, issuer=market.pki.second, key=new_key(market.pki.suite))
    return _answer_about(market, responder=responder, enclosed=[responder.certificate])


def _by_responder_of_another_authority(market: Market) -> bytes:
    template = responder_template("Foreign responder", now=NOW)
    responder = issue(template, issuer=market.pki.first, key=new_key(market.pki.suite))
    return _answer_about(market, responder=responder, enclosed=[responder.certificate])


def _by_expired_responder(market: Market) -> bytes:
    template = replace(
        responder_template("Old", now=NOW),
        not_before=NOW - 9 * broken.ONE_DAY,
        not_after=NOW - broken.ONE_DAY,
    )
    responder = issue(template, issuer=market.pki.second, key=new_key(market.pki.suite))
    return _answer_about(market, responder=responder, enclosed=[responder.certificate])


def _good_for_another_serial(market: Market) -> bytes:
    return _answer_about(market, certificate=market.pki.issue(OTHER_EMAID).certificate)


def _about_a_namesake_issuer(market: Market) -> bytes:
    """Right serial and issuer name, but the issuer key of another authority."""
    twin = build_pki(suite=market.pki.suite, now=NOW)
    return _answer_about(market, issuer=twin.second.certificate)


def _good_and_revoked(market: Market) -> bytes:
    """Two statements about one certificate: the newer one is good, the older one revoked."""
    good = _answer_about(market)
    revoked = _answer_about(market, status=ocsp.OCSPCertStatus.REVOKED, now=NOW - timedelta(hours=1))
    return encoded.ocsp_response((good, revoked), market.pki.second)


def _good_and_unknown(market: Market) -> bytes:
    unknown = _answer_about(market, status=ocsp.OCSPCertStatus.UNKNOWN, now=NOW - timedelta(hours=1))
    return encoded.ocsp_response((_answer_about(market), unknown), market.pki.second)


def _with_extensions(**extensions: Any) -> Callable[[Market], bytes]:
    return lambda market: encoded.ocsp_response((_answer_about(market),), market.pki.second, **extensions)


OCSP_CASES: dict[str, tuple[Callable[[Market], bytes | FetchError], RejectionReason, Any]] = {
    "revoked": (
        lambda m: _answer_about(m, status=ocsp.OCSPCertStatus.REVOKED),
        RejectionReason.REVOKED,
        REVOKED,
    ),
    "revoked in an outdated answer": (
        lambda m: _answer_about(m, status=ocsp.OCSPCertStatus.REVOKED, now=NOW - 3 * broken.ONE_DAY),
        RejectionReason.REVOKED,
        REVOKED,
    ),
    "unknown": (
        lambda m: _answer_about(m, status=ocsp.OCSPCertStatus.UNKNOWN),
        RejectionReason.REVOCATION_UNKNOWN,
        CHAIN,
    ),
    "stale": (
        lambda m: _answer_about(m, now=NOW - 3 * broken.ONE_DAY),
        RejectionReason.REVOCATION_STALE,
        CHAIN,
    ),
    "without nextUpdate and a day old": (
        lambda m: _answer_about(m, now=NOW - 2 * broken.ONE_DAY, valid_for=None),
        RejectionReason.REVOCATION_STALE,
        CHAIN,
    ),
    "dated in the future": (
        lambda m: _answer_about(m, now=NOW + broken.ONE_DAY),
        RejectionReason.REVOCATION_STALE,
        CHAIN,
    ),
    "unreachable": (lambda _: FetchError("no answer"), RejectionReason.REVOCATION_UNREACHABLE, CHAIN),
    "try later": (
        lambda _: ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(
            serialization.Encoding.DER
        ),
        RejectionReason.REVOCATION_UNREACHABLE,
        CHAIN,
    ),
    "signed by the leaf itself": (_by_leaf, RejectionReason.REVOCATION_UNVERIFIED, CHAIN),
    "signed by a responder without OCSPSigning": (
        _by_responder_without_the_usage,
        RejectionReason.REVOCATION_UNVERIFIED,
        CHAIN,
    ),
    "signed by another authority's responder": (
        _by_responder_of_another_authority,
        RejectionReason.REVOCATION_UNVERIFIED,
        CHAIN,
    ),
    "signed by an expired responder": (_by_expired_responder, RejectionReason.REVOCATION_UNVERIFIED, CHAIN),
    "signed by the root instead of the issuer": (
        lambda m: _answer_about(m, responder=m.pki.root),
        RejectionReason.REVOCATION_UNVERIFIED,
        CHAIN,
    ),
    "good for another serial": (_good_for_another_serial, RejectionReason.REVOCATION_UNVERIFIED, CHAIN),
    "good for a namesake issuer's certificate": (
        _about_a_namesake_issuer,
        RejectionReason.REVOCATION_UNVERIFIED,
        CHAIN,
    ),
    "tampered": (
        lambda m: broken.flip(_answer_about(m), 150),
        RejectionReason.REVOCATION_UNVERIFIED,
        CHAIN,
    ),
    "good and revoked in one answer": (_good_and_revoked, RejectionReason.REVOKED, REVOKED),
    "good and unknown in one answer": (_good_and_unknown, RejectionReason.REVOCATION_UNKNOWN, CHAIN),
    "an unknown critical extension of the answer": (
        _with_extensions(of_response=(encoded.unknown_extension(critical=True),)),
        RejectionReason.REVOCATION_UNVERIFIED,
        CHAIN,
    ),
    "an unknown critical extension of a statement": (
        _with_extensions(of_singles=(encoded.unknown_extension(critical=True),)),
        RejectionReason.REVOCATION_UNVERIFIED,
        CHAIN,
    ),
    "garbage": (lambda _: b"<html>sign in</html>", RejectionReason.REVOCATION_UNVERIFIED, CHAIN),
    "too large": (lambda _: b"\x30" * 70_000, RejectionReason.REVOCATION_UNVERIFIED, CHAIN),
}


@pytest.mark.parametrize("case", OCSP_CASES)
async def test_a_leaf_without_a_good_ocsp_answer_is_rejected_with_its_status(pool: Pool, case: str) -> None:
    market = await open_market(pool)
    build, rejection_reason, statuses = OCSP_CASES[case]
    market.fetcher.script[market.leaf.certificate.serial_number] = build(market)
    answer = await market.ask(market.pem_request())
    assert answer.decision.rejection_reason is rejection_reason, answer.decision.detail
    assert answer.decision.statuses == statuses


HARMLESS_OCSP: dict[str, Callable[[Market], bytes]] = {
    "an outdated and a newer good statement": lambda m: encoded.ocsp_response(
        (_answer_about(m, now=NOW - 3 * broken.ONE_DAY), _answer_about(m)), m.pki.second
    ),
    "a statement about another certificate, revoked": lambda m: encoded.ocsp_response(
        (
            _answer_about(
                m,
                certificate=m.pki.issue(OTHER_EMAID).certificate,
                status=ocsp.OCSPCertStatus.REVOKED,
            ),
            _answer_about(m),
        ),
        m.pki.second,
    ),
    "a critical nonce": _with_extensions(of_response=(encoded.nonce(critical=True),)),
    "an unknown extension that is not critical": _with_extensions(
        of_response=(encoded.unknown_extension(critical=False),),
        of_singles=(encoded.unknown_extension(critical=False),),
    ),
}


@pytest.mark.parametrize("case", HARMLESS_OCSP)
async def test_what_changes_no_statement_leaves_a_good_answer_good(pool: Pool, case: str) -> None:
    market = await open_market(pool)
    market.fetcher.script[market.leaf.certificate.serial_number] = HARMLESS_OCSP[case](market)
    answer = await market.ask(market.pem_request())
    assert answer.decision.payment_needed, answer.decision.detail


async def test_a_delegated_responder_of_the_issuer_is_believed(pool: Pool) -> None:
    market = await open_market(pool)
    template = responder_template("Responder", now=NOW)
    responder = issue(template, issuer=market.pki.second, key=new_key(market.pki.suite))
    market.fetcher.script[market.leaf.certificate.serial_number] = _answer_about(
        market, responder=responder, enclosed=[responder.certificate]
    )
    assert (await market.ask(market.pem_request())).decision.payment_needed


async def test_a_revoked_sub_authority_by_crl_is_rejected_as_revoked(pool: Pool) -> None:
    market = await open_market(pool, ocsp_url=None, crl_url=CRL_URL)
    serial = market.pki.second.certificate.serial_number
    market.fetcher.lists[CRL_URL] = revocation_list(market.pki.first, now=NOW, serials=[serial])
    answer = await market.ask(market.pem_request())
    assert (answer.decision.rejection_reason, answer.decision.statuses) == (RejectionReason.REVOKED, REVOKED)


@pytest.mark.parametrize("policy", list(RevocationPolicy))
async def test_a_revoked_leaf_is_rejected_under_every_policy(pool: Pool, policy: RevocationPolicy) -> None:
    market = await open_market(pool, policy=policy)
    market.fetcher.script[market.leaf.certificate.serial_number] = _answer_about(
        market, status=ocsp.OCSPCertStatus.REVOKED
    )
    assert (await market.ask(market.pem_request())).decision.statuses == REVOKED


@pytest.mark.parametrize("state", [ContractState.BLOCKED, ContractState.CANCELLED])
async def test_a_contract_that_may_not_charge_is_rejected_as_cancelled(
    pool: Pool, state: ContractState
) -> None:
    market = await open_market(pool)
    async with pool.acquire() as connection:
        await contract_administration.set_state(
            connection, environment="live", emaid=EMAID, state=state, actor=ACTOR, reason="", now=NOW
        )
    answer = await market.ask(market.pem_request())
    expected = IdTokenStatus.BLOCKED if state is ContractState.BLOCKED else IdTokenStatus.INVALID
    assert answer.decision.statuses == (CANCELLED, expected)


async def test_an_unknown_contract_is_rejected_as_unknown(pool: Pool) -> None:
    market = await open_market(pool)
    leaf = market.pki.issue(OTHER_EMAID)
    market.fetcher.know(market.pki.second, leaf)
    answer = await market.ask(market.pem_request(emaid=OTHER_EMAID, bundle=market.pki.bundle(leaf)))
    assert answer.decision.statuses == (CANCELLED, IdTokenStatus.UNKNOWN)


async def test_a_contract_whose_means_of_payment_is_gone_is_rejected(pool: Pool) -> None:
    market = await open_market(pool)
    async with pool.acquire() as connection:
        await contract_administration.set_payment_usable(
            connection,
            environment="live",
            emaid=EMAID,
            usable=False,
            actor=ACTOR,
            reason="detached",
            now=NOW,
        )
    answer = await market.ask(market.pem_request())
    assert answer.decision.statuses == (CANCELLED, IdTokenStatus.BLOCKED)


async def test_a_contract_out_of_force_is_rejected(pool: Pool) -> None:
    market = await open_market(pool)
    await market.put(contract(valid_from=NOW - 2 * broken.ONE_DAY, valid_until=NOW))
    answer = await market.ask(market.pem_request())
    assert answer.decision.rejection_reason is RejectionReason.CONTRACT_NOT_IN_FORCE
    assert answer.decision.statuses == (CANCELLED, IdTokenStatus.INVALID)


async def test_a_payment_that_was_not_secured_is_answered_as_blocked(pool: Pool) -> None:
    market = await open_market(pool)
    answer = await market.ask(market.pem_request())
    done = await market.service.conclude(
        pool, answer.decision.id, secured=False, authorization_id=None, now=NOW, detail="declined"
    )
    assert done.statuses == (CANCELLED, IdTokenStatus.BLOCKED)


async def test_a_victims_emaid_with_somebody_elses_good_hashes_is_rejected(pool: Pool) -> None:
    market = await open_market(pool)
    other = market.pki.issue(OTHER_EMAID)
    market.fetcher.know(market.pki.second, other)
    await market.put(contract(OTHER_EMAID, payment_reference="pm_2", bundle=market.pki.bundle(other)))
    own = await market.ask(market.hash_request(emaid=OTHER_EMAID, leaf=other), session_ref="own")
    assert own.decision.payment_needed
    answer = await market.ask(market.hash_request(emaid=EMAID, leaf=other), session_ref="theft")
    assert (answer.decision.rejection_reason, answer.decision.statuses) == (
        RejectionReason.EMAID_MISMATCH,
        CHAIN,
    )


async def test_hash_data_of_a_certificate_never_registered_requires_the_certificate(pool: Pool) -> None:
    market = await open_market(pool)
    answer = await market.ask(market.hash_request())
    assert (answer.decision.rejection_reason, answer.decision.statuses) == (
        RejectionReason.HASH_DATA_UNREGISTERED,
        CHAIN,
    )
    assert "send the certificate" in answer.decision.detail


async def test_hash_data_that_names_two_leaves_is_rejected(pool: Pool) -> None:
    market = await open_market(pool)
    update = market.pki.issue(EMAID)
    for leaf in (market.leaf, update):
        await market.put(contract(bundle=market.pki.bundle(leaf)))
    request = market.hash_request()
    request["iso15118CertificateHashData"].append(market.hash_entry(update))
    answer = await market.ask(request)
    assert (answer.decision.rejection_reason, answer.decision.statuses) == (
        RejectionReason.HASH_DATA_MISMATCH,
        CHAIN,
    )


@pytest.mark.parametrize("field", ["issuerNameHash", "issuerKeyHash", "serialNumber"])
async def test_a_certificate_and_hash_data_that_disagree_are_rejected(pool: Pool, field: str) -> None:
    market = await open_market(pool)
    request = {**market.pem_request(), **market.hash_request()}
    entry = request["iso15118CertificateHashData"][0]
    entry[field] = f"{int(entry[field], 16) ^ 1:0{len(entry[field])}x}"
    answer = await market.ask(request)
    assert (answer.decision.rejection_reason, answer.decision.statuses) == (
        RejectionReason.HASH_DATA_MISMATCH,
        CHAIN,
    )


async def test_hash_data_of_the_authority_alone_does_not_identify_the_leaf(pool: Pool) -> None:
    market = await open_market(pool)
    issuer = parse_certificate(market.pki.first.der)

    name = certificate_hash(parse_certificate(market.pki.second.der), issuer, HashAlgorithm.SHA256)
    request = {**market.pem_request(), "iso15118CertificateHashData": [as_ocpp(name, responder_url=OCSP_URL)]}
    answer = await market.ask(request)
    assert answer.decision.rejection_reason is RejectionReason.HASH_DATA_MISMATCH


MALFORMED = [
    {"issuerNameHash": "zz"},
    {"issuerKeyHash": "ab"},
    {"serialNumber": "-1"},
    {"serialNumber": "0"},
    {"serialNumber": "\uff11\uff12"},
    {"serialNumber": "0x12"},
]


@pytest.mark.parametrize("change", MALFORMED)
async def test_malformed_hash_data_is_rejected(pool: Pool, change: dict[str, str]) -> None:
    market = await open_market(pool)
    request = market.hash_request()
    request["iso15118CertificateHashData"][0].update(change)
    answer = await market.ask(request)
    assert (answer.decision.rejection_reason, answer.decision.statuses) == (
        RejectionReason.MALFORMED_HASH_DATA,
        CHAIN,
    )


async def test_a_blocked_certificate_is_rejected_as_revoked_by_pem_and_by_hash(pool: Pool) -> None:
    market = await open_market(pool)
    await market.put(contract(bundle=market.pki.bundle(market.leaf)))
    sha256 = parse_certificate(market.leaf.der).sha256
    await certificate_registry.block(
        pool, environment="live", emaid=EMAID, leaf_sha256=sha256, reason="vehicle sold", now=NOW
    )
    for place, request in enumerate((market.pem_request(), market.hash_request())):
        answer = await market.ask(request, session_ref=f"s{place}")
        assert (answer.decision.rejection_reason, answer.decision.statuses) == (
            RejectionReason.CERTIFICATE_BLOCKED,
            REVOKED,
        )


UNASKED = [
    "http://127.0.0.1/ocsp",
    "http://169.254.169.254/latest/meta-data",
    "http://[::1]/",
    "http://10.0.0.1/",
    "http://ocsp.sandbox.test.evil.test/mo",
    "http://ocsp.sandbox.test@evil.test/mo",
    "http://evil.test#@ocsp.sandbox.test/",
    "http://ocsp.sandbox.test:8080/mo",
    "https://ocsp.sandbox.test/mo",
    "gopher://ocsp.sandbox.test/",
    "file:///etc/passwd",
    "http://evil.test\\@ocsp.sandbox.test/",
    "http://evil.test /@ocsp.sandbox.test",
    "//ocsp.sandbox.test/mo",
    "http://ocsp.sandbox.test:0x50/",
    "",
]


@pytest.mark.parametrize("url", UNASKED)
async def test_a_responder_the_station_names_is_requested_only_when_allow_listed(
    pool: Pool, url: str
) -> None:
    market = await open_market(pool, ocsp_url=None)
    request = {
        **market.pem_request(),
        "iso15118CertificateHashData": [market.hash_entry(market.leaf, url=url)],
    }
    answer = await market.ask(request)
    assert market.fetcher.asked == []
    assert (answer.decision.rejection_reason, answer.decision.statuses) == (
        RejectionReason.REVOCATION_UNREACHABLE,
        CHAIN,
    )
