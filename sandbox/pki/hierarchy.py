"""A Plug & Charge PKI for sandboxes: roots, sub-authorities, contract certificates, OCSP responses, CRLs.

Owns issuing certificates that follow ISO 15118-2 (P-256) and -20 (P-521, Ed448), and, by template, ones that
break a rule on purpose. Must not know how they are verified. Its keys lie in memory or in a developer's
folder: nothing here is fit to be trusted outside a sandbox.
Sources: ISO 15118-2 annex F, ISO 15118-20 annex B, RFC 5280, RFC 6960.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey | rsa.RSAPrivateKey
_ROOT_YEARS: Final = 40
_AUTHORITY_YEARS: Final = 4
_LEAF_YEARS: Final = 2
_YEAR: Final = timedelta(days=365)


class Suite(StrEnum):
    """The three sets of keys that ISO 15118 contracts use."""

    P256 = "15118-2"
    P521 = "15118-20"
    ED448 = "15118-20-ed448"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The content of one certificate. Defaults are a contract certificate's; times are aware."""

    common_names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    domain_component: str | None = "MO"
    organization: str = "Sandbox"
    is_authority: bool = False
    path_length: int | None = None
    digital_signature: bool = True
    key_agreement: bool = True
    key_cert_sign: bool = False
    crl_sign: bool = False
    extended_usages: tuple[x509.ObjectIdentifier, ...] = ()
    ocsp_url: str | None = None
    crl_url: str | None = None
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    serial: int | None = None
    hash_algorithm: hashes.HashAlgorithm | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        """The certificate in PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def key_pem(self, password: bytes | None = None) -> str:
        """The private key in PKCS #8 PEM, encrypted when a password is given."""
        how: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            how = serialization.BestAvailableEncryption(password)
        encoded = self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
        return encoded.decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractPki:
    """One mobility operator's hierarchy: root, two sub-authorities, and what is needed to issue contracts."""

    suite: Suite
    root: Issued
    first: Issued
    second: Issued
    now: datetime
    ocsp_url: str | None = None
    crl_url: str | None = None

    def leaf_template(self, emaid: str) -> Template:
        """The template of a good contract certificate; change a field to break a rule."""
        return Template(
            common_names=(emaid,),
            not_before=self.now - timedelta(days=1),
            not_after=self.now + _LEAF_YEARS * _YEAR,
            ocsp_url=self.ocsp_url,
            crl_url=self.crl_url,
        )

    def issue(self, emaid: str, **changes: object) -> Issued:
        """Issue a contract certificate under the second sub-authority."""
        template = replace(self.leaf_template(emaid), **changes)  # type: ignore[arg-type]
        return issue(template, issuer=self.second, key=new_key(self.suite))

    def bundle(self, leaf: Issued) -> str:
        """The PEM chain as a vehicle presents it: leaf, second, first; no root."""
        return leaf.pem + self.second.pem + self.first.pem


def new_key(suite: Suite) -> PrivateKey:
    """Generate a private key of the suite."""
    match suite:
        case Suite.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case Suite.P521:
            return ec.generate_private_key(ec.SECP521R1())
        case Suite.ED448:
            return ed448.Ed448PrivateKey.generate()


def build_pki(
    *,
    suite: Suite,
    now: datetime,
    name: str = "Sandbox MO",
    ocsp_url: str | None = None,
    crl_url: str | None = None,
) -> ContractPki:
    """Build a mobility operator's hierarchy, valid at `now`: path lengths 1 and 0, roles MO."""
    root = issue(root_template(f"{name} Root", now=now), issuer=None, key=new_key(suite))
    first = issue(
        authority_template(f"{name} Sub 1", now=now, path_length=1, ocsp_url=ocsp_url, crl_url=crl_url),
        issuer=root,
        key=new_key(suite),
    )
    second = issue(
        authority_template(f"{name} Sub 2", now=now, path_length=0, ocsp_url=ocsp_url, crl_url=crl_url),
        issuer=first,
        key=new_key(suite),
    )
    return ContractPki(
        suite=suite, root=root, first=first, second=second, now=now, ocsp_url=ocsp_url, crl_url=crl_url
    )


def root_template(name: str, *, now: datetime, domain_component: str | None = "MO") -> Template:
    """The template of a root."""
    return Template(
        common_names=(name,),
        not_before=now - timedelta(days=30),
        not_after=now + _ROOT_YEARS * _YEAR,
        domain_component=domain_component,
        is_authority=True,
        digital_signature=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
    )


def authority_template(
    name: str,
    *,
    now: datetime,
    path_length: int | None,
    ocsp_url: str | None = None,
    crl_url: str | None = None,
) -> Template:
    """The template of a sub-authority."""
    return replace(
        root_template(name, now=now),
        not_before=now - timedelta(days=10),
        not_after=now + _AUTHORITY_YEARS * _YEAR,
        path_length=path_length,
        ocsp_url=ocsp_url,
        crl_url=crl_url,
    )


def cross_sign(subject: Issued, *, by: Issued, now: datetime, path_length: int = 2) -> Issued:
    """Issue a certificate for the subject's name and key under another root (a cross certificate)."""
    common = subject.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    template = authority_template(str(common), now=now, path_length=path_length)
    return issue(template, issuer=by, key=subject.key)


def issue(template: Template, *, issuer: Issued | None, key: PrivateKey) -> Issued:
    """Issue a certificate from the template, signed by `issuer`, or self-signed when there is none."""
    subject = _name(template)
    signing_key = key if issuer is None else issuer.key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(template.serial or x509.random_serial_number())
        .not_valid_before(template.not_before)
        .not_valid_after(template.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.BasicConstraints(ca=template.is_authority, path_length=template.path_length), critical=True
        )
        .add_extension(_key_usage(template), critical=True)
    )
    if issuer is not None:
        key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(key_id, critical=False)
    for extension, critical in (*_optional(template), *template.extra):
        builder = builder.add_extension(extension, critical=critical)
    return Issued(certificate=builder.sign(signing_key, _hash(signing_key, template.hash_algorithm)), key=key)


def ocsp_answer(
    certificate: x509.Certificate,
    *,
    issuer: x509.Certificate,
    responder: Issued,
    now: datetime,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    valid_for: timedelta | None = timedelta(hours=12),
    revoked_at: datetime | None = None,
    enclosed: Sequence[x509.Certificate] = (),
) -> bytes:
    """Answer about one certificate in DER, signed by `responder` at `now` (RFC 6960 section 4.2)."""
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=certificate,
        issuer=issuer,
        algorithm=hashes.SHA256(),
        cert_status=status,
        this_update=now,
        next_update=None if valid_for is None else now + valid_for,
        revocation_time=(revoked_at or now) if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
    if enclosed:
        builder = builder.certificates(list(enclosed))
    return builder.sign(responder.key, _hash(responder.key, None)).public_bytes(serialization.Encoding.DER)


def revocation_list(
    issuer: Issued,
    *,
    now: datetime,
    serials: Sequence[int] = (),
    valid_for: timedelta = timedelta(days=7),
    number: int = 1,
) -> bytes:
    """A CRL in DER, signed by the issuer, listing `serials` as revoked at `now` (RFC 5280 section 5)."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now)
        .next_update(now + valid_for)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, _hash(issuer.key, None)).public_bytes(serialization.Encoding.DER)


def broken_bundles(pki: ContractPki, emaid: str) -> dict[str, str]:
    """Bundles for `emaid` that must be rejected, by their fault; to test an authorization with."""
    stranger = build_pki(suite=pki.suite, now=pki.now, name="Sandbox Stranger")
    twin = build_pki(suite=pki.suite, now=pki.now)
    day = timedelta(days=1)
    expired = pki.issue(emaid, not_before=pki.now - 9 * day, not_after=pki.now - day)
    early = pki.issue(emaid, not_before=pki.now + day)
    authority = pki.issue(emaid, is_authority=True, key_cert_sign=True)
    server = pki.issue(emaid, domain_component="CPO", extended_usages=(ExtendedKeyUsageOID.SERVER_AUTH,))
    other_curve = ec.generate_private_key(ec.SECP384R1())
    return {
        "untrusted-root": stranger.bundle(stranger.issue(emaid)),
        "same-name-root": twin.bundle(twin.issue(emaid)),
        "missing-sub-authority": pki.issue(emaid).pem + pki.first.pem,
        "expired": pki.bundle(expired),
        "not-yet-valid": pki.bundle(early),
        "authority-as-leaf": pki.bundle(authority),
        "charging-station": pki.bundle(server),
        "provisioning": pki.bundle(pki.issue(emaid, domain_component="CPS")),
        "other-curve": pki.bundle(issue(pki.leaf_template(emaid), issuer=pki.second, key=other_curve)),
        "two-names": pki.bundle(pki.issue(emaid, common_names=(emaid, emaid))),
    }


def sandbox_now() -> datetime:
    """The moment a developer's sandbox PKI is issued: now, without fractions."""
    return datetime.now(UTC).replace(microsecond=0)


def _name(template: Template) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, text) for text in template.common_names]
    attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, template.organization))
    if template.domain_component is not None:
        attributes.append(x509.NameAttribute(NameOID.DOMAIN_COMPONENT, template.domain_component))
    return x509.Name(attributes)


def _key_usage(template: Template) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=template.digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=template.key_agreement,
        key_cert_sign=template.key_cert_sign,
        crl_sign=template.crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _optional(template: Template) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    if template.extended_usages:
        found.append((x509.ExtendedKeyUsage(template.extended_usages), False))
    if template.ocsp_url is not None:
        location = x509.UniformResourceIdentifier(template.ocsp_url)
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, location)
        found.append((x509.AuthorityInformationAccess([access]), False))
    if template.crl_url is not None:
        place = x509.UniformResourceIdentifier(template.crl_url)
        point = x509.DistributionPoint(full_name=[place], relative_name=None, reasons=None, crl_issuer=None)
        found.append((x509.CRLDistributionPoints([point]), False))
    return found


def _hash(key: PrivateKey, wanted: hashes.HashAlgorithm | None) -> hashes.SHA256 | hashes.SHA512 | None:
    if isinstance(key, ed448.Ed448PrivateKey):
        return None
    if wanted is not None:
        return wanted  # type: ignore[return-value]
    large = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP521R1)
    return hashes.SHA512() if large else hashes.SHA256()
