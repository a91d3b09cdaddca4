"""Broken chains on purpose: each builder breaks exactly one rule of an otherwise good chain."""

import base64
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from pnc.certificate import Certificate
from pnc.rejection_reasons import ContractRejection
from pnc.revocation_evidence import RevocationRecord, look_up, verify_crl
from sandbox.pki.hierarchy import (
    ContractPki,
    Issued,
    Template,
    authority_template,
    build_pki,
    issue,
    new_key,
    root_template,
)

UNKNOWN_CRITICAL = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
ONE_DAY = timedelta(days=1)


def pem(*issued: Issued) -> str:
    return "".join(item.pem for item in issued)


def der_pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM).decode()


def raw_pem(der: bytes) -> str:
    """PEM around bytes that need not be a certificate."""
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


def untrusted(pki: ContractPki, emaid: str) -> ContractPki:
    return build_pki(suite=pki.suite, now=pki.now, name="Stranger")


def same_name_root(pki: ContractPki, emaid: str) -> str:
    """A whole hierarchy with the trusted one's names and keys of its own."""
    twin = build_pki(suite=pki.suite, now=pki.now)
    return twin.bundle(twin.issue(emaid))


def flip(der: bytes, place: int) -> bytes:
    return der[:place] + bytes([der[place] ^ 0x01]) + der[place + 1 :]


def tampered(pki: ContractPki, leaf: Issued) -> str:
    """One letter of the leaf's eMAID is changed after signing."""
    at = leaf.der.rindex(b"DE8AAC1234567") + 12
    return raw_pem(flip(leaf.der, at)) + pki.second.pem + pki.first.pem


def leaf_with_key(pki: ContractPki, emaid: str, key: object) -> str:
    leaf = issue(pki.leaf_template(emaid), issuer=pki.second, key=key)  # type: ignore[arg-type]
    return pki.bundle(leaf)


def sub_authority(
    pki: ContractPki, *, issuer: Issued, name: str = "Odd Sub", path_length: int | None = 0, **changes: object
) -> Issued:
    template = authority_template(
        name, now=pki.now, path_length=path_length, ocsp_url=pki.ocsp_url, crl_url=pki.crl_url
    )
    return issue(replace(template, **changes), issuer=issuer, key=new_key(pki.suite))  # type: ignore[arg-type]


def leaf_under(pki: ContractPki, issuer: Issued, emaid: str, **changes: object) -> Issued:
    template = replace(pki.leaf_template(emaid), **changes)  # type: ignore[arg-type]
    return issue(template, issuer=issuer, key=new_key(pki.suite))


def root_of(pki: ContractPki, name: str, **changes: object) -> Issued:
    template = replace(root_template(name, now=pki.now), **changes)  # type: ignore[arg-type]
    return issue(template, issuer=None, key=new_key(pki.suite))


def sha1_leaf(pki: ContractPki, emaid: str) -> str:
    """The leaf claims ecdsa-with-SHA1: the algorithm's identifier is exchanged inside and outside."""
    leaf = pki.issue(emaid).der
    sha256, sha1 = bytes.fromhex("300a06082a8648ce3d040302"), bytes.fromhex("300906072a8648ce3d0401")
    tbs_start = 4 if leaf[1] == 0x82 else 3
    body = leaf[tbs_start:].replace(sha256, sha1)
    # Two identifiers are one byte shorter each; the outer and the TBS lengths follow.
    outer = int.from_bytes(leaf[2:4], "big") - 2
    inner = int.from_bytes(body[2:4], "big") - 1
    fixed = b"\x30\x82" + outer.to_bytes(2, "big") + b"\x30\x82" + inner.to_bytes(2, "big") + body[4:]
    return raw_pem(fixed) + pki.second.pem + pki.first.pem


def responder_template(name: str, *, now: datetime) -> Template:
    """The template of a delegated OCSP responder (RFC 6960 section 4.2.2.2)."""
    return Template(
        common_names=(name,),
        not_before=now - timedelta(days=1),
        not_after=now + timedelta(days=365),
        domain_component=None,
        key_agreement=False,
        extended_usages=(ExtendedKeyUsageOID.OCSP_SIGNING,),
        extra=((x509.OCSPNoCheck(), False),),
    )


def read_crl(
    crl: bytes, *, certificate: Certificate, issuer: Certificate, now: datetime
) -> RevocationRecord | ContractRejection:
    """Verify a CRL of `issuer` and look `certificate` up in it."""
    checked = verify_crl(crl, issuer=issuer, now=now)
    if isinstance(checked, ContractRejection):
        return checked
    return look_up(checked, certificate=certificate, now=now)
