"""Changes of trust, of who may issue contracts and of the revocation sources, by administrators.

Owns: the transaction of each. Must not know: HTTP, who may ask, what may be trusted: pnc decides that. A
TrustChange says who changes it, why and when.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.database import Pool, transaction
from pnc import contract_authority_administration, trust_administration, trust_list_administration
from pnc.certificate import Certificate
from pnc.rejection_reasons import ContractRejection
from pnc.revocation_checker import RevocationChecker
from pnc.trust import AnchorPurpose, RevocationPolicy, TrustChange
from pnc.trust_list_administration import RootReport, TrustList


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationOrigin:
    """Where the status of certificates may be requested: `ocsp` or `crl`, and its address."""

    kind: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustService:
    """Raises `pnc.errors.PncError`."""

    pool: Pool

    async def add_anchor(
        self,
        *,
        environment: str,
        certificate: str,
        purpose: AnchorPurpose,
        policy: RevocationPolicy,
        policy_reason: str,
        sources: Sequence[RevocationOrigin],
        change: TrustChange,
    ) -> str:
        """Trust a root, and allow the sources of its certificates' status; the root's SHA-256."""
        async with transaction(self.pool) as connection:
            for source in sources:
                await trust_administration.allow_endpoint(
                    connection,
                    environment=environment,
                    authority=certificate,
                    kind=source.kind,
                    url=source.url,
                    change=change,
                )
            return await trust_administration.add_anchor(
                connection,
                environment=environment,
                certificate=certificate,
                purpose=purpose,
                policy=policy,
                policy_reason=policy_reason,
                change=change,
            )

    async def retire_anchor(self, sha256: str, *, environment: str, change: TrustChange) -> None:
        """Retire a root: new authorizations stop, running sessions are settled."""
        async with transaction(self.pool) as connection:
            await trust_administration.retire_anchor(
                connection, environment=environment, sha256=sha256, change=change
            )

    async def set_policy(
        self,
        sha256: str,
        *,
        environment: str,
        policy: RevocationPolicy,
        policy_reason: str,
        change: TrustChange,
    ) -> None:
        """Change a root's revocation policy."""
        async with transaction(self.pool) as connection:
            await trust_administration.set_policy(
                connection,
                environment=environment,
                sha256=sha256,
                policy=policy,
                policy_reason=policy_reason,
                change=change,
            )

    async def add_cross_certificate(self, certificate: str, *, environment: str, change: TrustChange) -> str:
        """Add a cross certificate; its SHA-256."""
        async with transaction(self.pool) as connection:
            return await trust_administration.add_cross_certificate(
                connection, environment=environment, certificate=certificate, change=change
            )

    async def retire_cross_certificate(self, sha256: str, *, environment: str, change: TrustChange) -> None:
        """Retire a cross certificate."""
        async with transaction(self.pool) as connection:
            await trust_administration.retire_cross_certificate(
                connection, environment=environment, sha256=sha256, change=change
            )

    async def store_revocation_list(
        self, checker: RevocationChecker, crl: bytes, *, issuer: Certificate, now: datetime
    ) -> ContractRejection | None:
        """Store a CRL that its authority signed; why it does not count, where it does not."""
        async with transaction(self.pool) as connection:
            return await checker.store_crl(connection, crl, issuer=issuer, now=now)

    async def import_list(
        self, trust_list: TrustList, *, environment: str, dry_run: bool, change: TrustChange
    ) -> list[RootReport]:
        """Add the roots of a list and retire those that it no longer holds; a dry run changes nothing."""
        async with transaction(self.pool) as connection:
            return await trust_list_administration.import_trust_list(
                connection, trust_list, environment=environment, dry_run=dry_run, change=change
            )

    async def allow_contract_authority(
        self, anchor: str, authority: str, *, environment: str, change: TrustChange
    ) -> str:
        """Name an authority that may issue contracts below a root; the SHA-256 of its key."""
        async with transaction(self.pool) as connection:
            return await contract_authority_administration.allow_contract_authority(
                connection, environment=environment, anchor=anchor, authority=authority, change=change
            )

    async def remove_contract_authority(
        self, anchor: str, key: str, *, environment: str, change: TrustChange
    ) -> None:
        """Remove an authority's right to issue contracts below a root."""
        async with transaction(self.pool) as connection:
            await contract_authority_administration.remove_contract_authority(
                connection, environment=environment, anchor=anchor, key=key, change=change
            )

    async def allow_source(
        self, authority: str, source: RevocationOrigin, *, environment: str, change: TrustChange
    ) -> str:
        """Put an origin on an authority's allow-list, once; the origin."""
        async with transaction(self.pool) as connection:
            return await trust_administration.allow_endpoint(
                connection,
                environment=environment,
                authority=authority,
                kind=source.kind,
                url=source.url,
                change=change,
            )

    async def remove_source(
        self, authority: str, source: RevocationOrigin, *, environment: str, change: TrustChange
    ) -> None:
        """Take an origin off an authority's allow-list."""
        async with transaction(self.pool) as connection:
            await trust_administration.remove_endpoint(
                connection,
                environment=environment,
                authority=authority,
                kind=source.kind,
                url=source.url,
                change=change,
            )
