"""Keys of meters registered and decided on, policies set, and CDRs checked against both.

Owns: when a key is active at once, the claim of a record for its session, the check with what is stored. Must
not know: HTTP, how a CDR arrives, what happens to a CDR that waits. Every function takes the caller's
connection, in a transaction; none commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Final
from uuid import UUID

from clearing.connection import Connection
from clearing.errors import ClearingConflictError, InvalidMeterKeyError
from clearing.identifiers import format_id
from clearing.meter_data import repository
from clearing.meter_data.check import (
    MeterCheck,
    check_meter_data,
    claimed_der,
    facts_of,
    read_records,
    read_texts,
    records_of,
)
from clearing.meter_data.evidence import MeterEvidence
from clearing.meter_data.findings import MeterFinding, MeterOutcome, MeterPolicy, MeterVerdict, outcome_of
from clearing.meter_data.keys import CURVES, MeterKey, curve_name, read_key
from clearing.meter_data.ocmf import OcmfRecord
from clearing.meter_data.registered_key import (
    MAX_NAME,
    MeterIdentity,
    MeterKeyState,
    MeterPolicyRecord,
    NewMeterKey,
    RegisteredKey,
    identity_of,
    may_meet,
)
from clearing.meter_data.repository import RecordName
from clearing.meter_data.signed_data import read_signed_data
from clearing.pricing.cdr import Cdr

KEY_PREFIX: Final = "mtk"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCdr:
    """A CDR's check, the policy in force at its end, and what follows."""

    check: MeterCheck
    policy: MeterPolicy
    outcome: MeterOutcome


async def register_key(
    connection: Connection, party_id: str, new: NewMeterKey, *, key_id: UUID, by: str, now: datetime
) -> RegisteredKey:
    """Register a key of a CPO's meter.

    The first key of a meter is active at once. Another key for a known meter is proposed: a second person
    accepts or rejects it. The same key again is the one that is there. Raises InvalidMeterKeyError.
    """
    key = _read_key(new)
    _check_names(new.identity)
    if new.valid_to is not None and new.valid_to <= new.valid_from:
        raise InvalidMeterKeyError("valid_to", "expected a time after valid_from")
    await repository.lock_party(connection, party_id)
    known = [
        one
        for one in await repository.list_keys_of(connection, party_id, [new.identity])
        if may_meet(one.identity, new.identity)
    ]
    for one in known:
        if (one.der, one.identity.parts) == (key.der, new.identity.parts):
            return one
    changed = any(one.der != key.der for one in known)
    registered = RegisteredKey(
        id=key_id,
        party_id=party_id,
        identity=new.identity,
        curve=key.curve,
        der=key.der,
        source=new.source,
        state=MeterKeyState.PROPOSED if changed else MeterKeyState.ACTIVE,
        valid_from=new.valid_from,
        valid_to=new.valid_to,
        entered_by=by,
        entered_at=now,
    )
    await repository.insert_key(connection, registered)
    return registered


async def accept_key(connection: Connection, key_id: UUID, *, by: str, now: datetime) -> RegisteredKey:
    """Make a proposed key active; the keys that it replaces end where it begins.

    Raises ClearingConflictError: not proposed, the same person entered it, or it begins before what it
    replaces.
    """
    key = await _proposed(connection, key_id, by=by)
    for other in await repository.list_keys_of(connection, key.party_id, [key.identity]):
        replaced = other.state is MeterKeyState.ACTIVE and may_meet(other.identity, key.identity)
        if not replaced or (other.valid_to is not None and other.valid_to <= key.valid_from):
            continue
        if other.valid_from >= key.valid_from:
            raise ClearingConflictError(
                f"{_name(key_id)} begins at {key.valid_from.isoformat()}, before {_name(other.id)} that it"
                " replaces; reject it and register it with a later begin"
            )
        await repository.end_key(connection, other.id, valid_to=key.valid_from)
    await repository.decide_key(connection, key_id, state=MeterKeyState.ACTIVE, by=by, now=now)
    return await get_key(connection, key_id)


async def reject_key(connection: Connection, key_id: UUID, *, by: str, now: datetime) -> RegisteredKey:
    """Reject a proposed key. Raises ClearingConflictError: not proposed, or the same person entered it."""
    await _proposed(connection, key_id, by=by)
    await repository.decide_key(connection, key_id, state=MeterKeyState.REJECTED, by=by, now=now)
    return await get_key(connection, key_id)


async def end_key(connection: Connection, key_id: UUID, *, valid_to: datetime) -> RegisteredKey:
    """End an active key at an instant, as when its meter was replaced. Raises ClearingConflictError."""
    key = await get_key(connection, key_id)
    if key.state is not MeterKeyState.ACTIVE:
        raise ClearingConflictError(f"{_name(key_id)} is {key.state}; only an active key can end")
    if valid_to <= key.valid_from or (key.valid_to is not None and valid_to > key.valid_to):
        raise ClearingConflictError(
            f"{_name(key_id)} can end after {key.valid_from.isoformat()}, and no later than it does already"
        )
    await repository.end_key(connection, key_id, valid_to=valid_to)
    return await get_key(connection, key_id)


async def get_key(connection: Connection, key_id: UUID) -> RegisteredKey:
    """One key, locked until the transaction ends. Raises ClearingConflictError where there is none."""
    key = await find_key(connection, key_id)
    if key is None:
        raise ClearingConflictError(f"there is no meter key {_name(key_id)}")
    return key


async def find_key(connection: Connection, key_id: UUID) -> RegisteredKey | None:
    """One key, locked until the transaction ends, or None."""
    return await repository.lock_key(connection, key_id)


async def list_keys(
    connection: Connection,
    *,
    party_id: str | None = None,
    state: MeterKeyState | None = None,
    before: UUID | None = None,
    limit: int,
) -> Sequence[RegisteredKey]:
    """Keys of one party, or of all, the latest entered first, those with an id below `before`."""
    return await repository.list_keys(connection, party_id=party_id, state=state, before=before, limit=limit)


async def set_policy(
    connection: Connection,
    party_id: str,
    policy: MeterPolicy,
    *,
    valid_from: datetime,
    by: str,
    now: datetime,
) -> None:
    """Set what a CPO's CDRs must carry, from an instant on; it counts for CDRs that end from then on."""
    await repository.set_policy(connection, party_id, policy, valid_from=valid_from, by=by, now=now)


async def list_policies(connection: Connection, party_id: str) -> Sequence[MeterPolicyRecord]:
    """A party's policies, the latest first; a thousand at most."""
    return await repository.list_policies(connection, party_id)


async def check_cdr(
    connection: Connection,
    cdr: Cdr,
    *,
    raw: bytes,
    party_id: str,
    session_id: UUID,
    time_priced: bool = False,
    now: datetime,
) -> CheckedCdr:
    """Check a CDR that completes or corrects a session, and claim its records for the session.

    A record that another session has is a replay. `raw` is the CDR as sent. Raises nothing for what a CPO
    may have written.
    """
    policy = await repository.find_policy(connection, party_id, at=cdr.end) or MeterPolicy.CHECKED
    if policy is MeterPolicy.IGNORED:
        unchecked = MeterCheck(verdict=MeterVerdict.NOT_CHECKED)
        return CheckedCdr(check=unchecked, policy=policy, outcome=MeterOutcome.CAPTURE)
    signed = read_signed_data(raw)
    read = read_texts(signed)
    records = records_of(read)
    keys = await _keys_of(connection, records, party_id)
    must_name_meter = (
        bool(records)
        and policy is MeterPolicy.REQUIRED
        and await repository.has_key(connection, party_id, at=cdr.end)
    )
    checked = partial(
        check_meter_data,
        signed,
        keys=keys,
        facts=facts_of(cdr),
        time_priced=time_priced,
        must_name_meter=must_name_meter,
        read=read,
    )
    check = checked()
    if records and check.verdict is not MeterVerdict.BAD:  # what proves nothing takes no record either
        names = {(name.source, name.page): name for name in map(_record_name, records)}
        replayed = await repository.claim_records(
            connection, party_id, list(names.values()), session_id=session_id, cdr_id=cdr.id, now=now
        )
        if replayed:
            check = checked(replayed=replayed)
    return CheckedCdr(check=check, policy=policy, outcome=outcome_of(check.verdict, policy))


async def find_evidence(
    connection: Connection, cdr: Cdr, *, raw: bytes, party_id: str
) -> MeterEvidence | None:
    """The signed meter data of a session's CDR, checked with the keys of today; None where it has no record.

    Nothing is claimed.
    """
    signed = read_signed_data(raw)
    read = read_texts(signed)
    records = records_of(read)
    if signed is None or not records:
        return None
    keys = await _keys_of(connection, records, party_id)
    check = check_meter_data(signed, keys=keys, facts=facts_of(cdr), read=read)
    used = next((key.der for key in keys if key.id == check.key_id), None)
    return MeterEvidence(check=check, public_key=used or claimed_der(signed, records), url=signed.url)


async def find_keys(connection: Connection, *, raw: bytes, party_id: str) -> Sequence[RegisteredKey]:
    """The registered keys that may concern the records of a CDR."""
    return await _keys_of(connection, read_records(read_signed_data(raw)), party_id)


async def _keys_of(
    connection: Connection, records: Sequence[OcmfRecord], party_id: str
) -> Sequence[RegisteredKey]:
    if not records:
        return ()
    return await repository.list_keys_of(connection, party_id, [identity_of(one) for one in records])


def _record_name(record: OcmfRecord) -> RecordName:
    digest = sha256(record.signed).digest()
    source = record.source or record.charge_point_id or digest.hex()
    return RecordName(
        source="".join(source.split()).lower()[:MAX_NAME],
        page=f"{record.context}{record.page}",
        payload_sha256=digest,
    )


def _read_key(new: NewMeterKey) -> MeterKey:
    curve = None if new.curve is None else curve_name(new.curve)
    if curve is not None and curve not in CURVES:
        raise InvalidMeterKeyError("curve", f"expected one of {', '.join(CURVES)}")
    key = read_key(new.public_key, curve=curve)
    if isinstance(key, MeterFinding):
        raise InvalidMeterKeyError("public_key", key.text)
    if curve is not None and key.curve != curve:
        raise InvalidMeterKeyError("curve", f"the public key is on {key.curve}")
    return key


def _check_names(identity: MeterIdentity) -> None:
    if not any(identity.parts):
        raise InvalidMeterKeyError(
            "meter_serial", "expected a meter serial, a gateway serial or a charge point id"
        )
    names = ("meter_serial", "gateway_serial", "charge_point_id")
    for name in names:
        text = getattr(identity, name)
        if text is not None and not (0 < len(text) <= MAX_NAME and text.isprintable()):
            raise InvalidMeterKeyError(name, f"expected 1 to {MAX_NAME} printable characters")


async def _proposed(connection: Connection, key_id: UUID, *, by: str) -> RegisteredKey:
    key = await get_key(connection, key_id)
    await repository.lock_party(connection, key.party_id)
    if key.state is not MeterKeyState.PROPOSED:
        raise ClearingConflictError(f"{_name(key_id)} is {key.state}, not proposed")
    if key.entered_by.lower() == by.lower():
        raise ClearingConflictError(f"{_name(key_id)} was entered by {by}; another person decides")
    return key


def _name(key_id: UUID) -> str:
    return format_id(KEY_PREFIX, key_id)
