"""Revocation: verified statements about certificates, and CRLs.

Owns the SQL of revocation and the reading of its rows. Must not know rules: it decides nothing and opens no
transaction; connections are passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pnc.ocsp_response import RevocationStatus
from pnc.ports import Executor
from pnc.repository.certificates import serial_bytes
from pnc.repository.queries import fetch_all, load_queries
from pnc.revocation_evidence import RevocationRecord, RevocationSource

_REVOCATION: Final = load_queries("revocation")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrlRecord:
    """A CRL as stored, in DER, with the moment it was issued."""

    der: bytes
    this_update: datetime


async def load_statuses(
    executor: Executor, keys: Sequence[tuple[bytes, int]]
) -> dict[tuple[bytes, int], RevocationRecord]:
    """The stored statements about certificates, by (issuing authority, serial)."""
    rows = await fetch_all(
        _REVOCATION.load_statuses(
            executor,
            authorities=[authority for authority, _ in keys],
            serials=[serial_bytes(serial) for _, serial in keys],
        )
    )
    return {
        (row["authority_sha256"], int.from_bytes(row["serial"], "big")): RevocationRecord(
            status=RevocationStatus(row["status"]),
            source=RevocationSource(row["source"]),
            this_update=row["this_update"],
            usable_until=row["usable_until"],
            revoked_at=row["revoked_at"],
        )
        for row in rows
    }


async def save_status(
    executor: Executor, *, authority: bytes, serial: int, record: RevocationRecord, now: datetime
) -> None:
    """Store a statement unless a newer one is known."""
    await _REVOCATION.save_status(
        executor,
        authority_sha256=authority,
        serial=serial_bytes(serial),
        status=record.status.value,
        source=record.source.value,
        this_update=record.this_update,
        usable_until=record.usable_until,
        revoked_at=record.revoked_at,
        checked_at=now,
    )


async def load_crl(executor: Executor, *, authority: bytes) -> CrlRecord | None:
    """The newest stored CRL of an authority; verify it again before use."""
    row = await _REVOCATION.load_crl(executor, authority_sha256=authority)
    return None if row is None else CrlRecord(der=bytes(row["der"]), this_update=row["this_update"])


async def save_crl(
    executor: Executor,
    *,
    authority: bytes,
    der: bytes,
    this_update: datetime,
    usable_until: datetime,
    now: datetime,
) -> None:
    """Store a verified CRL unless a newer one is known."""
    await _REVOCATION.save_crl(
        executor,
        authority_sha256=authority,
        der=der,
        this_update=this_update,
        usable_until=usable_until,
        fetched_at=now,
    )


async def revoke_listed(
    executor: Executor, *, authority: bytes, serials: Sequence[int], this_update: datetime, now: datetime
) -> None:
    """Mark the stored statements of an authority's certificates as revoked where its CRL lists them."""
    await _REVOCATION.revoke_listed(
        executor,
        authority_sha256=authority,
        serials=[serial_bytes(serial) for serial in serials],
        this_update=this_update,
        now=now,
    )


async def list_due_bundles(
    executor: Executor, *, environment: str, now: datetime, ends_before: datetime, batch: int
) -> list[str]:
    """Chains of registered certificates whose status is unknown or ends before a time."""
    rows = await fetch_all(
        _REVOCATION.due_bundles(
            executor, environment=environment, now=now, ends_before=ends_before, batch=batch
        )
    )
    return [row["bundle"] for row in rows]
