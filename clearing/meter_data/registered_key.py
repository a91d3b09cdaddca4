"""A meter's key as registered, and which registered keys count for a record.

Owns: what a key is registered for, when it counts, the order of fit. Must not know: storage, signatures.
Source: OCMF specification 1.4.1, "Relation of Serial Numbers, Charge Point and Public Key": by the serial
number of the meter, of the gateway, of both, or by the charge point's id.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from clearing.meter_data.findings import MeterPolicy
from clearing.meter_data.ocmf import OcmfRecord

MAX_NAME: Final = 100  # characters of a serial number or an id


class MeterKeySource(StrEnum):
    """Where a key is from. It is never learnt from a CDR."""

    BNETZA = "bnetza"  # the list of the German Federal Network Agency
    CPO = "cpo"  # from the CPO, out of band
    MANUFACTURER = "manufacturer"


class MeterKeyState(StrEnum):
    """Only an active key verifies. Another person decides on a changed key of a known meter."""

    ACTIVE = "active"
    PROPOSED = "proposed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterIdentity:
    """What a key is registered for; at least one of the three, and all that are given must fit."""

    meter_serial: str | None = None
    gateway_serial: str | None = None
    charge_point_id: str | None = None

    @property
    def parts(self) -> tuple[str, str, str]:
        """The three in lower case and without spaces, empty where not given: how identities are compared."""
        return _folded(self.meter_serial), _folded(self.gateway_serial), _folded(self.charge_point_id)


def _folded(part: str | None) -> str:
    return "".join(part.split()).lower() if part else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMeterKey:
    """A key to be registered: its text as given, and when it counts. `curve` is needed for a bare point."""

    identity: MeterIdentity
    public_key: str
    source: MeterKeySource
    valid_from: datetime
    valid_to: datetime | None = None
    curve: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredKey:
    """A key of a CPO's meter; `der` is its SubjectPublicKeyInfo. `valid_to` is exclusive."""

    id: UUID
    party_id: str
    identity: MeterIdentity
    curve: str
    der: bytes
    source: MeterKeySource
    state: MeterKeyState
    valid_from: datetime
    valid_to: datetime | None
    entered_by: str
    entered_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None

    def counts_at(self, at: datetime) -> bool:
        """Whether the key may verify a record of that time."""
        ended = self.valid_to is not None and at >= self.valid_to
        return self.state is MeterKeyState.ACTIVE and self.valid_from <= at and not ended


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterPolicyRecord:
    """What a CPO's CDRs must carry from `valid_from` on."""

    party_id: str
    valid_from: datetime
    policy: MeterPolicy
    set_by: str
    set_at: datetime


def identity_of(record: OcmfRecord) -> MeterIdentity:
    """Who a record says it is from."""
    return MeterIdentity(
        meter_serial=record.meter_serial,
        gateway_serial=record.gateway_serial,
        charge_point_id=record.charge_point_id,
    )


_Parts = tuple[str, str, str]


def _fits(wanted: _Parts, found: _Parts) -> bool:
    """Whether every part that a key is registered for is the record's."""
    meter, gateway, point = wanted
    return any(wanted) and meter in ("", found[0]) and gateway in ("", found[1]) and point in ("", found[2])


def keys_for(record: OcmfRecord, keys: Iterable[RegisteredKey], *, at: datetime) -> list[RegisteredKey]:
    """The keys that count for a record of that time.

    A key registered for the meter goes before one for its gateway, and that before one for the charge point;
    of these, those that fit more of the record's parts.
    """
    found = identity_of(record).parts
    fitting = [
        (key, _given(wanted))
        for key in keys
        if key.counts_at(at) and _fits(wanted := key.identity.parts, found)
    ]
    best = max((given for _, given in fitting), default=None)
    return [key for key, given in fitting if given == best]


def may_meet(left: MeterIdentity, right: MeterIdentity) -> bool:
    """Whether two identities share a part, and differ in none that both have: one record may fit both."""
    pairs = [pair for pair in zip(left.parts, right.parts, strict=True) if all(pair)]
    return bool(pairs) and all(one == other for one, other in pairs)


def _given(parts: _Parts) -> tuple[bool, bool, bool]:
    meter, gateway, point = parts
    return bool(meter), bool(gateway), bool(point)
