"""Certificate extensions, as far as rules read them; what must be honored and is not known is named.

Owns which extensions are read. Must not know which are required where: that is pnc.profile.
Source: RFC 5280 section 4.2, RFC 6960 section 4.2.2.2.1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """The extensions that the rules read. `unhandled` names critical ones, and name or policy constraints."""

    is_authority: bool = False
    has_basic_constraints: bool = False
    basic_constraints_critical: bool = False
    path_length: int | None = None
    key_usage: x509.KeyUsage | None = None
    key_usage_critical: bool = False
    extended_usages: frozenset[str] | None = None
    subject_key_id: bytes | None = None
    authority_key_id: bytes | None = None
    authority_serial: int | None = None
    access: x509.AuthorityInformationAccess | None = None
    distribution: x509.CRLDistributionPoints | None = None
    unhandled: tuple[str, ...] = ()

    @property
    def ocsp_urls(self) -> tuple[str, ...]:
        """The OCSP responders the certificate names."""
        return () if self.access is None else _ocsp_urls(self.access)

    @property
    def crl_urls(self) -> tuple[str, ...]:
        """The CRLs the certificate names."""
        return () if self.distribution is None else _crl_urls(self.distribution)


# Constraints that a path must honor (RFC 5280 section 6.1) and that ISO 15118 does not use: present is
# rejected.
_CONSTRAINING: Final = frozenset({"2.5.29.30", "2.5.29.33", "2.5.29.36", "2.5.29.54"})
_HARMLESS_CRITICAL: Final = frozenset({"2.5.29.32"})  # certificatePolicies: any policy is acceptable here


def read_extensions(parsed: x509.Certificate) -> Extensions:
    """Read a certificate's extensions.

    Raises:
        ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType: they can't be read,
            or one repeats.
    """
    facts: Facts = {}
    unhandled: list[str] = []
    for extension in parsed.extensions:
        value = extension.value
        reader = _READERS.get(type(value))
        if reader is not None:
            reader(extension, facts)
            # RFC 5280 makes these non-critical; a critical one requires something that we do not do.
            if extension.critical and type(value) not in _MAY_BE_CRITICAL:
                unhandled.append(extension.oid.dotted_string)
            continue
        oid = extension.oid.dotted_string
        if oid in _CONSTRAINING or (extension.critical and oid not in _HARMLESS_CRITICAL):
            unhandled.append(oid)
    return Extensions(**facts, unhandled=tuple(unhandled))


Facts = dict[str, Any]
ParsedExtension = x509.Extension[Any]


def _basic_constraints(extension: ParsedExtension, facts: Facts) -> None:
    facts["is_authority"] = extension.value.ca
    facts["path_length"] = extension.value.path_length
    facts["has_basic_constraints"] = True
    facts["basic_constraints_critical"] = extension.critical


def _key_usage(extension: ParsedExtension, facts: Facts) -> None:
    facts["key_usage"] = extension.value
    facts["key_usage_critical"] = extension.critical


def _extended_usages(extension: ParsedExtension, facts: Facts) -> None:
    facts["extended_usages"] = frozenset(usage.dotted_string for usage in extension.value)


def _subject_key_id(extension: ParsedExtension, facts: Facts) -> None:
    facts["subject_key_id"] = extension.value.digest


def _authority_key_id(extension: ParsedExtension, facts: Facts) -> None:
    facts["authority_key_id"] = extension.value.key_identifier
    facts["authority_serial"] = extension.value.authority_cert_serial_number


def _access(extension: ParsedExtension, facts: Facts) -> None:
    facts["access"] = extension.value


def _distribution(extension: ParsedExtension, facts: Facts) -> None:
    facts["distribution"] = extension.value


_READERS: Final[Mapping[type, Callable[[ParsedExtension, Facts], None]]] = {
    x509.BasicConstraints: _basic_constraints,
    x509.KeyUsage: _key_usage,
    x509.ExtendedKeyUsage: _extended_usages,
    x509.SubjectKeyIdentifier: _subject_key_id,
    x509.AuthorityKeyIdentifier: _authority_key_id,
    x509.AuthorityInformationAccess: _access,
    x509.CRLDistributionPoints: _distribution,
}
_MAY_BE_CRITICAL: Final = frozenset({x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage})


def _ocsp_urls(access: x509.AuthorityInformationAccess) -> tuple[str, ...]:
    return tuple(
        description.access_location.value
        for description in access
        if description.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(description.access_location, x509.UniformResourceIdentifier)
    )


def _crl_urls(points: x509.CRLDistributionPoints) -> tuple[str, ...]:
    return tuple(
        name.value
        for point in points
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )
