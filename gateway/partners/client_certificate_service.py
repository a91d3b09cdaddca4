"""Client certificates of a party: bound, listed, retired.

Owns: which certificate may be bound. Must not know HTTP or TLS. While a party has a certificate in force, a
stolen API key of its is worth nothing without that certificate's key.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.clock import Clock
from gateway.database import Pool, transaction
from gateway.partners import client_certificate_repository
from gateway.partners.client_certificate_repository import ClientCertificate
from gateway.partners.errors import (
    PartnerConflictError,
    UnfitCertificateError,
    UnknownPartnerRecordError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificateService:
    """Raises `gateway.partners.errors.PartnerError`. Times are wall time: certificates end by it."""

    pool: Pool
    clock: Clock

    async def bind(self, *, party_id: str, pem: str) -> ClientCertificate:
        """Bind a certificate: from now on the party's keys need one of its certificates.

        Raises:
            UnfitCertificateError: `pem` is not one certificate in PEM, or it has expired.
            UnknownPartnerRecordError: there is no such party.
            PartnerConflictError: the certificate is bound to another party.
        """
        parsed = _parsed(pem)
        now = self.clock.wall_now()
        if parsed.not_valid_after_utc <= now:
            raise UnfitCertificateError("a certificate that has not expired")
        wanted = ClientCertificate(
            sha256=hashlib.sha256(parsed.public_bytes(Encoding.DER)).digest(),
            party_id=party_id,
            subject=_subject(parsed),
            not_after=parsed.not_valid_after_utc,
            added_at=now,
        )
        try:
            async with transaction(self.pool) as connection:
                bound = await client_certificate_repository.add(connection, wanted)
        except asyncpg.ForeignKeyViolationError:
            raise UnknownPartnerRecordError(f"There is no party {party_id}") from None
        if bound is None:
            raise PartnerConflictError("This certificate is bound to another party")
        return bound

    async def list(self, *, party_id: str) -> Sequence[ClientCertificate]:
        """A party's certificates, oldest first, retired ones too."""
        async with self.pool.acquire() as connection:
            return await client_certificate_repository.list_by_party(connection, party_id=party_id)

    async def retire(self, *, party_id: str, sha256: bytes) -> None:
        """End a binding. After the last one, the party's keys work alone again.

        Raises:
            UnknownPartnerRecordError: the party has no such certificate in force.
        """
        async with transaction(self.pool) as connection:
            done = await client_certificate_repository.retire(
                connection, party_id=party_id, sha256=sha256, now=self.clock.wall_now()
            )
        if not done:
            raise UnknownPartnerRecordError("The party has no such certificate in force")


def _parsed(pem: str) -> x509.Certificate:
    try:
        (only,) = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise UnfitCertificateError("one certificate in PEM") from None
    return only


def _subject(parsed: x509.Certificate) -> str:
    try:
        return parsed.subject.rfc4514_string()[:500].replace("\x00", "\N{REPLACEMENT CHARACTER}")
    except ValueError:
        raise UnfitCertificateError("a certificate whose subject can be read") from None
