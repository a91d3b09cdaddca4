"""What a check of signed meter data can find, and what follows for the CDR.

Owns: codes, verdicts, policies, and the outcome of each pair. Must not know: formats, keys, storage.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class MeterCode(StrEnum):
    """What was found, as a stable code."""

    MALFORMED = "ocmf_malformed"
    VERSION = "ocmf_version"
    FORMAT_NOT_CHECKED = "format_not_checked"
    ALGORITHM_NOT_CHECKED = "algorithm_not_checked"
    KEY_UNKNOWN = "key_unknown"
    KEY_DIFFERS = "key_differs"
    KEY_MALFORMED = "key_malformed"
    KEY_CURVE_DIFFERS = "key_curve_differs"
    SIGNATURE_BAD = "signature_bad"
    TRANSACTION_INCOMPLETE = "transaction_incomplete"
    CHARGING_ERROR = "charging_error"
    METER_STATE = "meter_state"
    ENERGY_UNUSABLE = "energy_unusable"
    TIME_UNUSABLE = "time_unusable"
    REGISTER_UNFIT = "register_unfit"
    READING_BACKWARDS = "reading_backwards"
    METER_CHANGED = "meter_changed"
    METER_UNNAMED = "meter_unnamed"
    TIME_UNSYNCHRONISED = "time_unsynchronised"
    PAGINATION_GAP = "pagination_gap"
    RECORD_REPLAYED = "record_replayed"
    USER_UNASSIGNED = "user_unassigned"
    ENERGY_DIFFERS = "energy_differs"
    SIGNED_TIME_DIFFERS = "signed_time_differs"
    SIGNED_METER_DIFFERS = "signed_meter_differs"
    SIGNED_EVSE_DIFFERS = "signed_evse_differs"
    SIGNED_USER_DIFFERS = "signed_user_differs"


class MeterVerdict(StrEnum):
    """What the signed meter data prove about a CDR."""

    VERIFIED = "verified"  # signed under a registered key, and the CDR says the same
    SELF_ASSERTED = "self_asserted"  # signed under the CDR's own key: consistent, not proven
    BAD = "bad"  # no proof: malformed, not signed by this meter, incomplete, or of another session
    ENERGY_DIFFERS = "energy_differs"  # signed, and the CDR states another energy
    MISSING = "missing"  # the CDR has none
    NOT_CHECKED = "not_checked"  # another format or curve, or no key at all


class MeterPolicy(StrEnum):
    """What a CPO's CDRs must have."""

    REQUIRED = "required"  # without signed meter data a CDR waits
    CHECKED = "checked"  # what is there is checked
    IGNORED = "ignored"  # nothing is checked


class MeterOutcome(StrEnum):
    """What follows for the CDR."""

    CAPTURE = "capture"
    FLAG = "flag"  # captured, and shown
    WAIT = "wait"  # for a person; nothing is captured


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterFinding:
    """One finding: its code and a sentence. A `note` doesn't change the verdict."""

    code: MeterCode
    text: str
    note: bool = False


_DIFFERS: Final = frozenset({MeterCode.ENERGY_DIFFERS})
_UNCHECKED: Final = frozenset(
    {MeterCode.FORMAT_NOT_CHECKED, MeterCode.ALGORITHM_NOT_CHECKED, MeterCode.VERSION}
)
_OUTCOMES: Final[Mapping[MeterVerdict, tuple[MeterOutcome, MeterOutcome]]] = MappingProxyType(
    {  # where required, where checked
        MeterVerdict.VERIFIED: (MeterOutcome.CAPTURE, MeterOutcome.CAPTURE),
        MeterVerdict.SELF_ASSERTED: (MeterOutcome.FLAG, MeterOutcome.FLAG),
        MeterVerdict.BAD: (MeterOutcome.WAIT, MeterOutcome.WAIT),
        MeterVerdict.ENERGY_DIFFERS: (MeterOutcome.WAIT, MeterOutcome.WAIT),
        MeterVerdict.MISSING: (MeterOutcome.WAIT, MeterOutcome.CAPTURE),
        MeterVerdict.NOT_CHECKED: (MeterOutcome.FLAG, MeterOutcome.FLAG),
    }
)


def verdict_of(findings: Iterable[MeterFinding], *, signed: bool, registered: bool) -> MeterVerdict:
    """The verdict on records with these findings.

    `signed`: every signature is good under a key; `registered`: that key is registered. The worst counts:
    bad, then another energy, then what could not be checked.
    """
    codes = {finding.code for finding in findings if not finding.note}
    if codes - _DIFFERS - _UNCHECKED:
        return MeterVerdict.BAD
    if codes & _DIFFERS:
        return MeterVerdict.ENERGY_DIFFERS
    if codes & _UNCHECKED or not signed:
        return MeterVerdict.NOT_CHECKED
    return MeterVerdict.VERIFIED if registered else MeterVerdict.SELF_ASSERTED


def outcome_of(verdict: MeterVerdict, policy: MeterPolicy) -> MeterOutcome:
    """What a verdict means for a CDR of a CPO with this policy."""
    if policy is MeterPolicy.IGNORED:
        return MeterOutcome.CAPTURE
    required, checked = _OUTCOMES[verdict]
    return required if policy is MeterPolicy.REQUIRED else checked
