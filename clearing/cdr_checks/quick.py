"""The quick look at a CDR: whether it is so ordinary that no rule can find anything.

Owns: conditions that together imply that no rule of `rules.py` finds anything. Must not know: findings, what
is done about them. Nothing is decided here: where one condition fails, every rule looks at the CDR. What a
rule compares is computed with the rule's own expressions, so that rounding can't make the two differ.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Final

from clearing.cdr_checks.facts import SessionFacts
from clearing.cdr_checks.figures import ROLES, WH_PER_KWH
from clearing.cdr_checks.limits import CdrLimits
from clearing.cdr_checks.possible_energy import KWH_SCALE, MICROSECOND, PossibleEnergy
from clearing.pricing.cdr import Cdr

_SECONDS_PER_HOUR: Final = Decimal(3600)
_MILLION: Final = Decimal(1_000_000)
_NOTHING: Final = Decimal(0)
_NO_TIME: Final = timedelta(0)
_BILLED_TIMES: Final = frozenset({"TIME", "PARKING_TIME"})
# OCPI's other dimensions, as it spells them: no rule looks at their volumes.
_NOT_COUNTED: Final = frozenset(
    {
        "CURRENT",
        "MAX_CURRENT",
        "MIN_CURRENT",
        "MAX_POWER",
        "MIN_POWER",
        "POWER",
        "STATE_OF_CHARGE",
        "FLAT",
    }
)


def no_rule_finds(cdr: Cdr, facts: SessionFacts, limits: CdrLimits) -> bool:
    """True only where each rule of `checks.RULES` finds nothing; False says nothing."""
    return _names_the_session(cdr, facts) and _in_time(cdr, facts, limits) and _possible(cdr, facts, limits)


def _names_the_session(cdr: Cdr, facts: SessionFacts) -> bool:
    """EVSE, token, reference, CPO and currency as authorized, to the letter, and no other CDR beside it."""
    cost, country, party = cdr.total_cost, cdr.country_code, cdr.party_id
    return (
        cdr.evse_id is not None
        and cdr.evse_id == facts.evse_id
        and cdr.currency == facts.currency
        and (country is None or party is None or f"{country}-{party}" == facts.cpo_id)
        and facts.other_cdr_id is None
        and facts.earlier_usage is None
        and not facts.overlapping
        and not cdr.home_charging
        and (cost is None or cdr.credit or not cost.excl_vat.is_signed())
        and _has_the_token(cdr, facts)
        and (
            cdr.authorization_reference is None
            or not facts.references
            or cdr.authorization_reference in facts.references
        )
    )


def _has_the_token(cdr: Cdr, facts: SessionFacts) -> bool:
    token, contract = facts.token_uid, facts.contract_id
    if not token and not contract:
        return True
    return bool((token and cdr.auth_id == token) or (contract and cdr.contract_id == contract))


def _in_time(cdr: Cdr, facts: SessionFacts, limits: CdrLimits) -> bool:
    spans = limits.spans
    started, ago = cdr.start - facts.authorized_at, facts.now - cdr.end
    oldest = spans.usage_age if facts.stated_by_api else spans.cdr_age
    return spans.clock_back <= started <= spans.latest_start and spans.clock_back <= ago <= oldest


def _possible(cdr: Cdr, facts: SessionFacts, limits: CdrLimits) -> bool:
    """Volumes: none negative, in sum the totals, no more energy and time than there can have been."""
    possible = PossibleEnergy(facts, limits)
    sums = _sums(cdr, possible)
    if sums is None:
        return False
    listed, billed = sums
    total, took = cdr.total_energy_kwh, cdr.end - cdr.start
    wh = WH_PER_KWH * max(listed or _NOTHING, total or _NOTHING)
    return (
        wh <= limits.session_energy_wh
        and wh <= possible.wh(took)
        and (total is None or listed is None or total == listed)
        and _SECONDS_PER_HOUR * billed <= Decimal(took // MICROSECOND) / _MILLION + limits.time_slack_s
        and not (total is not None and total.is_signed())
        and not (cdr.total_time_h is not None and cdr.total_time_h.is_signed())
        and not (cdr.total_parking_time_h is not None and cdr.total_parking_time_h.is_signed())
    )


def _sums(cdr: Cdr, possible: PossibleEnergy) -> tuple[Decimal | None, Decimal] | None:
    """The energy listed in kWh and the hours billed, added up in the order of `CdrFigures`.

    None where a period is out of order or too full, a volume has a sign, or a type an odd spelling.
    """
    if not cdr.periods:
        return None
    listed: Decimal | None = None
    billed = energy = _NOTHING
    # Before the first period: no time, and no energy that needs any.
    since, span, given = cdr.periods[0].start, _NO_TIME, _NOTHING
    for place, period in enumerate(cdr.periods):
        start = period.start
        if place:
            if start - since != span:
                span = start - since
                if span <= _NO_TIME:
                    return None
                given = possible.scaled(span)
            if energy * KWH_SCALE > given:
                return None
            energy = _NOTHING
            since = start
        for quantity in period.dimensions:
            kind, volume = quantity.type, quantity.volume
            if kind == "ENERGY":
                energy += volume
                listed = volume if listed is None else listed + volume
            elif kind in _BILLED_TIMES:
                billed += volume
            elif kind in _NOT_COUNTED:
                continue
            elif kind.upper() in ROLES:
                return None
            if volume.is_signed():
                return None
    return (listed, billed) if possible.covers(energy, cdr.end - since) else None
