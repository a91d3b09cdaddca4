"""The store: rows in, values out.

Owns the SQL of decisions and revocation, and the reading of rows into the room's values. Must not know
rules: it neither judges nor opens transactions; connections are passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import as_file, files
from typing import Any, Final
from uuid import UUID

import aiosql

from pnc.authorization import (
    Contract,
    ContractState,
    Decision,
    DecisionState,
    PaymentKind,
)
from pnc.certificate import Certificate, parse_certificate
from pnc.findings import Finding
from pnc.hash_data import CertificateHash
from pnc.ports import Executor
from pnc.revocation import Source, Standing, Status
from pnc.trust import AnchorPurpose, RevocationPolicy, Trust, TrustAnchor, trust_of


def load_queries(name: str) -> Any:
    """Return the named queries of `pnc/sql/<name>.sql`."""
    with as_file(files("pnc").joinpath("sql", f"{name}.sql")) as path:
        return aiosql.from_path(path, "asyncpg", mandatory_parameters=False)


_DECISIONS: Final = load_queries("decisions")
_REVOCATION: Final = load_queries("revocation")
_TRUST: Final = load_queries("trust")
_CONTRACTS: Final = load_queries("contracts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a decision starts from."""

    trust_version: int
    prior: Decision | None
    contract: Contract | None
    registered: frozenset[bytes]
    withdrawn: frozenset[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A certificate registered for a contract: its verified chain in PEM, leaf first."""

    emaid: str
    bundle: str
    leaf_sha256: bytes
    withdrawn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The origins that may be asked, by authority (see `authority_id`) and kind (`ocsp`, `crl`)."""

    allowed: frozenset[tuple[bytes, str, str]]

    def allows(self, *, authorities: Sequence[bytes], kind: str, origin: str) -> bool:
        """Whether any of the authorities has the origin on its list."""
        return any((authority, kind, origin) in self.allowed for authority in authorities)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCrl:
    """A CRL as stored, in DER, with the moment it was issued."""

    der: bytes
    this_update: datetime


def serial_bytes(serial: int) -> bytes:
    """A serial number as stored: big-endian, no leading zero."""
    return serial.to_bytes((serial.bit_length() + 7) // 8, "big")


async def load_context(
    executor: Executor, *, lane: int, environment: str, operator_id: str, session_ref: str, emaid: str | None
) -> Context:
    """Read what a decision starts from, in one statement."""
    row = await _DECISIONS.load_context(
        executor, lane=lane, environment=environment, operator_id=operator_id, session_ref=session_ref,
        emaid=emaid,
    )  # fmt: skip
    return Context(
        trust_version=row["trust_version"],
        prior=None if row["decision"] is None else decision_of(row["decision"]),
        contract=None if row["contract"] is None else contract_of(row["contract"]),
        registered=frozenset(bytes.fromhex(text) for text in row["registered"] or ()),
        withdrawn=frozenset(bytes.fromhex(text) for text in row["withdrawn"] or ()),
    )


async def insert_decision(executor: Executor, decision: Decision) -> Decision | None:
    """Write a decision; None when its session has an open one already."""
    row = await _DECISIONS.insert_decision(
        executor,
        lane=decision.lane,
        id=decision.id,
        environment=decision.environment,
        operator_id=decision.operator_id,
        session_ref=decision.session_ref,
        evse_id=decision.evse_id,
        ocpp_version=decision.ocpp_version,
        emaid=decision.emaid,
        digest=decision.digest,
        leaf_sha256=decision.leaf_sha256,
        contract_id=decision.contract_id,
        state=decision.state.value,
        finding=None if decision.finding is None else decision.finding.value,
        detail=decision.detail,
        notes=decision.notes,
        trust_version=decision.trust_version,
        decided_at=decision.decided_at,
    )
    return None if row is None else decision_of(row)


async def open_decision(
    executor: Executor, *, lane: int, environment: str, operator_id: str, session_ref: str
) -> Decision | None:
    """The session's open decision."""
    row = await _DECISIONS.open_decision(
        executor, lane=lane, environment=environment, operator_id=operator_id, session_ref=session_ref
    )
    return None if row is None else decision_of(row)


async def load_decision(executor: Executor, *, lane: int, decision_id: UUID) -> Decision | None:
    """One decision."""
    row = await _DECISIONS.load_decision(executor, lane=lane, id=decision_id)
    return None if row is None else decision_of(row)


async def conclude_decision(
    executor: Executor, *, lane: int, decision_id: UUID, state: DecisionState, finding: Finding | None,
    detail: str, authorization_id: str | None, now: datetime,
) -> Decision | None:  # fmt: skip
    """Move a decision that awaits its payment; None when it does not."""
    row = await _DECISIONS.conclude_decision(
        executor, lane=lane, id=decision_id, state=state.value, detail=detail, now=now,
        finding=None if finding is None else finding.value, authorization_id=authorization_id,
    )  # fmt: skip
    return None if row is None else decision_of(row)


async def close_session(
    executor: Executor, *, lane: int, environment: str, operator_id: str, session_ref: str, now: datetime
) -> Decision | None:
    """Close a session's open decision; None when there is none."""
    row = await _DECISIONS.close_session(
        executor, lane=lane, environment=environment, operator_id=operator_id, session_ref=session_ref,
        now=now,
    )  # fmt: skip
    return None if row is None else decision_of(row)


async def load_contract(executor: Executor, *, environment: str, emaid: str) -> Contract | None:
    """One contract."""
    row = await _CONTRACTS.load_contract(executor, environment=environment, emaid=emaid)
    return None if row is None else contract_of(row)


async def certificates_by_hash(
    executor: Executor, *, environment: str, names: Sequence[CertificateHash]
) -> list[Registered]:
    """The registered certificates that any of the names stands for."""
    rows = await _collect(_CONTRACTS.certificates_by_hash(
        executor,
        environment=environment,
        algorithms=[name.algorithm.value for name in names],
        name_hashes=[name.issuer_name_hash for name in names],
        key_hashes=[name.issuer_key_hash for name in names],
        serials=[serial_bytes(name.serial) for name in names],
    ))  # fmt: skip
    return [
        Registered(
            emaid=row["emaid"], bundle=row["bundle"], leaf_sha256=row["leaf_sha256"],
            withdrawn=row["withdrawn_at"] is not None,
        )
        for row in rows
    ]  # fmt: skip


async def load_statuses(
    executor: Executor, keys: Sequence[tuple[bytes, int]]
) -> dict[tuple[bytes, int], Status]:
    """The stored statements about certificates, by (issuing authority, serial)."""
    rows = await _collect(_REVOCATION.load_statuses(
        executor,
        authorities=[authority for authority, _ in keys],
        serials=[serial_bytes(serial) for _, serial in keys],
    ))  # fmt: skip
    return {
        (row["authority_sha256"], int.from_bytes(row["serial"], "big")): Status(
            standing=Standing(row["standing"]),
            source=Source(row["source"]),
            this_update=row["this_update"],
            usable_until=row["usable_until"],
            revoked_at=row["revoked_at"],
        )
        for row in rows
    }


async def save_status(
    executor: Executor, *, authority: bytes, serial: int, status: Status, now: datetime
) -> None:
    """Keep a statement unless a newer one is known."""
    await _REVOCATION.save_status(
        executor,
        authority_sha256=authority,
        serial=serial_bytes(serial),
        standing=status.standing.value,
        source=status.source.value,
        this_update=status.this_update,
        usable_until=status.usable_until,
        revoked_at=status.revoked_at,
        checked_at=now,
    )


async def load_crl(executor: Executor, *, authority: bytes) -> StoredCrl | None:
    """The newest stored CRL of an authority; verify it again before use."""
    row = await _REVOCATION.load_crl(executor, authority_sha256=authority)
    return None if row is None else StoredCrl(der=bytes(row["der"]), this_update=row["this_update"])


async def save_crl(
    executor: Executor, *, authority: bytes, der: bytes, this_update: datetime, usable_until: datetime,
    now: datetime,
) -> None:  # fmt: skip
    """Keep a verified CRL unless a newer one is known."""
    await _REVOCATION.save_crl(
        executor, authority_sha256=authority, der=der, this_update=this_update, usable_until=usable_until,
        fetched_at=now,
    )  # fmt: skip


async def revoke_listed(
    executor: Executor, *, authority: bytes, serials: Sequence[int], this_update: datetime, now: datetime
) -> None:
    """Mark the stored statements of an authority's certificates as revoked where its CRL lists them."""
    await _REVOCATION.revoke_listed(
        executor, authority_sha256=authority, serials=[serial_bytes(serial) for serial in serials],
        this_update=this_update, now=now,
    )  # fmt: skip


async def due_bundles(
    executor: Executor, *, environment: str, now: datetime, before: datetime, batch: int
) -> list[str]:
    """Chains of registered certificates whose status is unknown or ends before `before`."""
    rows = await _collect(
        _REVOCATION.due_bundles(executor, environment=environment, now=now, before=before, batch=batch)
    )
    return [row["bundle"] for row in rows]


async def load_trust(executor: Executor, *, environment: str) -> tuple[Trust, Endpoints]:
    """The anchors and cross certificates in force, and the allow-list.

    The version is read first: a change in between makes the snapshot newer than it says, and the next reader
    loads it again.
    """
    version = await _TRUST.trust_version(executor, environment=environment)
    anchors = await _collect(_TRUST.load_anchors(executor, environment=environment, with_retired=False))
    bridges = await _collect(
        _TRUST.load_cross_certificates(executor, environment=environment, with_retired=False)
    )
    endpoints = await _collect(_TRUST.load_endpoints(executor, environment=environment))
    trust = trust_of(
        version=version or 0,
        anchors=[_anchor_of(row) for row in anchors],
        cross_certificates=[_certificate_of(row) for row in bridges],
    )
    allowed = frozenset((row["authority_sha256"], row["kind"], row["origin"]) for row in endpoints)
    return trust, Endpoints(allowed=allowed)


def contract_of(row: Any) -> Contract:
    """Read a row of pnc.contract."""
    return Contract(
        contract_id=row["contract_id"],
        environment=row["environment"],
        emaid=row["emaid"],
        party=row["party"],
        payment_kind=PaymentKind(row["payment_kind"]),
        payment_reference=row["payment_reference"],
        state=ContractState(row["state"]),
        payment_usable=row["payment_usable"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        limit_minor=row["limit_minor"],
        currency=row["currency"],
        revision=row["revision"],
    )


def decision_of(row: Any) -> Decision:
    """Read a row of pnc.decision."""
    return Decision(
        lane=row["lane"],
        id=row["id"],
        environment=row["environment"],
        operator_id=row["operator_id"],
        session_ref=row["session_ref"],
        evse_id=row["evse_id"],
        ocpp_version=row["ocpp_version"],
        emaid=row["emaid"],
        digest=row["digest"],
        leaf_sha256=row["leaf_sha256"],
        contract_id=row["contract_id"],
        state=DecisionState(row["state"]),
        finding=None if row["finding"] is None else Finding(row["finding"]),
        detail=row["detail"],
        notes=row["notes"],
        trust_version=row["trust_version"],
        authorization_id=row["authorization_id"],
        decided_at=row["decided_at"],
        concluded_at=row["concluded_at"],
    )


def _anchor_of(row: Any) -> TrustAnchor:
    return TrustAnchor(
        certificate=_certificate_of(row),
        purpose=AnchorPurpose(row["purpose"]),
        policy=RevocationPolicy(row["policy"]),
        policy_reason=row["policy_reason"],
    )


def _certificate_of(row: Any) -> Certificate:
    return parse_certificate(bytes(row["der"]))


async def _collect(rows: Any) -> list[Any]:
    """The rows of a query that returns many: aiosql hands back an asynchronous generator."""
    return [row async for row in rows]
