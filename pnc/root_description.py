"""What a certificate holds, in plain values, and whether it may have the part that somebody gives it.

Owns: that description of a root, a contract authority and a cross certificate, read before each is added.
Must not know who asks, or where trust is stored. Nothing is written.
"""

from dataclasses import dataclass
from datetime import datetime

from pnc.certificate import Certificate
from pnc.contract_authority import key_sha256
from pnc.contract_authority_administration import check_authority, hash_of_key
from pnc.distinguished_name import name_text
from pnc.errors import UnfitAuthorityError
from pnc.profile import EDITION_OF_KEY
from pnc.trust_administration import check_cross_certificate, check_root, read_one


@dataclass(frozen=True, slots=True, kw_only=True)
class RootDescription:
    """A root, or another authority's certificate, as a person reads it.

    `sha256` is of the certificate, in hex; `serial` in hex;
    `roles` are its domain components; `path_length` None: not limited. `ocsp_urls` and `crl_urls` are what
    it names for itself. `problem` says why it may not have the part that it is described for, "" that it may.
    """

    sha256: str
    subject: str
    issuer: str
    serial: str
    key: str
    edition: str
    signature: str
    not_before: datetime
    not_after: datetime
    path_length: int | None
    roles: tuple[str, ...]
    ocsp_urls: tuple[str, ...]
    crl_urls: tuple[str, ...]
    pem: str
    problem: str


def describe_root(text: str, *, now: datetime) -> RootDescription:
    """Describe one certificate, in any form that people hand in, as a root at `now`.

    Raises UnfitAuthorityError: not exactly one readable certificate.
    """
    return describe_certificate(read_one(text), now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityDescription:
    """Who is to issue contracts: `key_sha256` in hex, and the certificate where it was given."""

    key_sha256: str
    certificate: RootDescription | None


def describe_contract_authority(text: str, *, now: datetime) -> AuthorityDescription:
    """Describe an authority given by its certificate, or by the SHA-256 of its key in hex, at `now`.

    A certificate that is not valid at `now` has that as its `problem`.

    Raises UnfitAuthorityError: neither an authority's certificate nor a SHA-256.
    """
    key = hash_of_key(text)
    if key is not None:
        return AuthorityDescription(key_sha256=key.hex(), certificate=None)
    certificate = read_one(text)
    check_authority(certificate)
    return AuthorityDescription(
        key_sha256=key_sha256(certificate).hex(),
        certificate=_description(certificate, problem=_validity_problem(certificate, now)),
    )


def describe_cross_certificate(text: str, *, now: datetime) -> RootDescription:
    """Describe a certificate that one root is said to have issued for another, at `now`.

    Raises UnfitAuthorityError: not exactly one certificate, or not one that may lead to a root.
    """
    certificate = read_one(text)
    check_cross_certificate(certificate)
    return _description(certificate, problem=_validity_problem(certificate, now))


def describe_certificate(certificate: Certificate, *, now: datetime) -> RootDescription:
    """Describe a certificate as a root at `now`."""
    try:
        check_root(certificate, now)
        problem = ""
    except UnfitAuthorityError as error:
        problem = str(error)
    return _description(certificate, problem=problem)


def _validity_problem(certificate: Certificate, now: datetime) -> str:
    if now > certificate.not_after:
        return f"certificate: it expired at {certificate.not_after.isoformat()}"
    return ""


def _description(certificate: Certificate, *, problem: str) -> RootDescription:
    edition = EDITION_OF_KEY.get(certificate.key)
    facts = certificate.extensions
    return RootDescription(
        sha256=certificate.sha256.hex(),
        subject=name_text(certificate.subject),
        issuer=name_text(certificate.issuer),
        serial=f"{certificate.serial:x}",
        key=certificate.key.value,
        edition="" if edition is None else edition.value,
        signature=certificate.scheme.value,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        path_length=facts.path_length,
        roles=certificate.domain_components,
        ocsp_urls=facts.ocsp_urls,
        crl_urls=facts.crl_urls,
        pem=certificate.pem,
        problem=problem,
    )
