"""What a root certificate holds, in plain values, and whether it may be trusted: read before it is added.

Owns: that description. Must not know who asks, or where trust is stored. Nothing is written.
"""

from dataclasses import dataclass
from datetime import datetime

from pnc.certificate import Certificate
from pnc.distinguished_name import name_text
from pnc.errors import UnfitAuthorityError
from pnc.profile import EDITION_OF_KEY
from pnc.trust_administration import check_root, read_one


@dataclass(frozen=True, slots=True, kw_only=True)
class RootDescription:
    """A root as a person reads it.

    `sha256` is of the certificate, in hex; `serial` in hex;
    `roles` are its domain components; `path_length` None: not limited. `ocsp_urls` and `crl_urls` are what
    the root names for itself. `problem` says why it may not be trusted, "" that it may.
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


def describe_certificate(certificate: Certificate, *, now: datetime) -> RootDescription:
    """Describe a certificate as a root at `now`."""
    try:
        check_root(certificate, now)
        problem = ""
    except UnfitAuthorityError as error:
        problem = str(error)
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
