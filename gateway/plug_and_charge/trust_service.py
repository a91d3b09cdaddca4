"""Changes of trust and of the allow-list of revocation sources, by administrators.

Owns: the transaction of each. Must not know: HTTP, who may ask, what may be trusted: pnc decides that. A
TrustChange says who changes it, why and when.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.database import Pool, transaction
from pnc import trust_administration
from pnc.trust import AnchorPurpose, RevocationPolicy, TrustChange


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
