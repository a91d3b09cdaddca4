"""What a check finds: a stable code, an outcome and a sentence.

Owns: the codes and outcomes. Must not know: how a rule decides, or what is done about a finding.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class CheckOutcome(StrEnum):
    """What is done with a CDR that a check has found odd; a CDR without a finding is taken."""

    FLAG = "flag"  # captured, and shown on the session
    EXCEPT = "except"  # kept, not captured: a person decides
    REFUSE = "refuse"  # answered with OCPI 2001 and not kept as a CDR


class CheckCode(StrEnum):
    """Every reason; stable, safe to match on."""

    STARTS_BEFORE_AUTHORIZATION = "starts_before_authorization"
    STARTS_AFTER_AUTHORIZATION = "starts_after_authorization"
    ENDS_IN_FUTURE = "ends_in_future"
    TOO_OLD = "too_old"
    ENERGY_ABOVE_POWER = "energy_above_power"
    PERIOD_ABOVE_POWER = "period_above_power"
    ENERGY_ABOVE_LIMIT = "energy_above_limit"
    ENERGY_LOOKS_LIKE_WH = "energy_looks_like_wh"
    NEGATIVE_VOLUME = "negative_volume"
    TIME_EXCEEDS_SESSION = "time_exceeds_session"
    TOTAL_ENERGY_DIFFERS = "total_energy_differs"
    EVSE_DIFFERS = "evse_differs"
    TOKEN_DIFFERS = "token_differs"  # noqa: S105 - the code of a finding, no password
    REFERENCE_DIFFERS = "reference_differs"
    CURRENCY_DIFFERS = "currency_differs"
    CPO_TOTAL_DIFFERS = "cpo_total_differs"
    CPO_TOTAL_LOWER = "cpo_total_lower"
    NEGATIVE_TOTAL = "negative_total"
    CPO_DIFFERS = "cpo_differs"
    SECOND_CDR = "second_cdr"
    OVERLAPS_OTHER = "overlaps_other"
    HOME_CHARGING = "home_charging"
    USAGE_DIFFERS = "usage_differs"
    CREDITED_BEFORE = "credited_before"
    CREDITED_TWICE = "credited_twice"
    PARTIAL_CREDIT = "partial_credit"
    CREDIT_OF_UNKNOWN = "credit_of_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class CdrFinding:
    """One finding. `text` says what was found and what was expected, with units."""

    code: CheckCode
    outcome: CheckOutcome
    text: str


def exceptional(findings: Iterable[CdrFinding]) -> list[CdrFinding]:
    """Those for which a CDR is not captured."""
    return [finding for finding in findings if finding.outcome is not CheckOutcome.FLAG]


def flags(findings: Iterable[CdrFinding]) -> list[str]:
    """The codes that are only shown, each once, sorted."""
    return sorted({finding.code.value for finding in findings if finding.outcome is CheckOutcome.FLAG})


def described(findings: Iterable[CdrFinding]) -> str:
    """The findings as one text for a person."""
    return "; ".join(f"{finding.code.value}: {finding.text}" for finding in findings)
