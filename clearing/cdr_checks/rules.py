"""The rules: one function each, from a CDR, the session's facts and the limits to a finding or None.

Owns: when a CDR is odd. Must not know: prices beyond the two totals, storage, the clock. A rule whose facts
are not known finds nothing. Sources: OCPI mod_cdrs (CDR, ChargingPeriod, CdrDimension), mod_locations
(Connector, PowerType), mod_tokens (AuthorizationInfo).
"""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from clearing.cdr_checks.facts import SessionFacts
from clearing.cdr_checks.figures import WH_PER_KWH, CdrFigures, last_digit
from clearing.cdr_checks.finding import CdrFinding, CheckCode, CheckOutcome
from clearing.cdr_checks.limits import CdrLimits, LimitName
from clearing.cdr_checks.possible_energy import PossibleEnergy

_SECONDS_PER_HOUR: Final = Decimal(3600)
_PERCENT: Final = Decimal(100)
_LEAST_IN_WH: Final = WH_PER_KWH * WH_PER_KWH  # a kilowatt-hour, written in watt-hours
_SEPARATORS: Final = re.compile(r"[*\s._-]")
_NOT_KNOWN: Final = "#NA"  # what OCPI writes for the EVSE of a reservation


def _except(code: CheckCode, text: str) -> CdrFinding:
    return CdrFinding(code=code, outcome=CheckOutcome.EXCEPT, text=text)


def starts_before_authorization(
    figures: CdrFigures, facts: SessionFacts, limits: CdrLimits
) -> CdrFinding | None:
    """A session can't begin before it was authorized."""
    if facts.authorized_at - figures.cdr.start <= limits.spans.clock_slack:
        return None
    return _except(
        CheckCode.STARTS_BEFORE_AUTHORIZATION,
        f"starts {_time(figures.cdr.start)}, authorized {_time(facts.authorized_at)}",
    )


def starts_after_authorization(
    figures: CdrFigures, facts: SessionFacts, limits: CdrLimits
) -> CdrFinding | None:
    """A session begins soon after its authorization; a reservation ends by its own expiry."""
    if figures.is_reservation or figures.cdr.start - facts.authorized_at <= limits.spans.latest_start:
        return None
    return _except(
        CheckCode.STARTS_AFTER_AUTHORIZATION,
        f"starts {_time(figures.cdr.start)}, authorized {_time(facts.authorized_at)}",
    )


def ends_in_future(figures: CdrFigures, facts: SessionFacts, limits: CdrLimits) -> CdrFinding | None:
    """A CDR tells of a finished session; far in the future it is refused."""
    ahead = figures.cdr.end - facts.now
    if ahead <= limits.spans.clock_slack:
        return None
    refused = ahead > limits.spans.refused_future
    return CdrFinding(
        code=CheckCode.ENDS_IN_FUTURE,
        outcome=CheckOutcome.REFUSE if refused else CheckOutcome.EXCEPT,
        text=f"ends {_time(figures.cdr.end)}, it is {_time(facts.now)}",
    )


def too_old(figures: CdrFigures, facts: SessionFacts, limits: CdrLimits) -> CdrFinding | None:
    """How old the end of a session may be when its CDR, or usage stated by API, arrives."""
    oldest = limits.spans.usage_age if facts.stated_by_api else limits.spans.cdr_age
    if facts.now - figures.cdr.end <= oldest:
        return None
    return _except(CheckCode.TOO_OLD, f"ended {_time(figures.cdr.end)}, more than {oldest.days} days ago")


def energy_above_power(figures: CdrFigures, facts: SessionFacts, limits: CdrLimits) -> CdrFinding | None:
    """No more energy than the connector's power gives in the session's time, with slack."""
    span = figures.cdr.end - figures.cdr.start
    energy, most = figures.energy_wh, PossibleEnergy(facts, limits).wh(span)
    if energy <= most or looks_like_wh(figures, facts, limits):
        return None
    return _except(CheckCode.ENERGY_ABOVE_POWER, f"{_wh(energy)} in {span}, at most {_wh(most)}")


def period_above_power(figures: CdrFigures, facts: SessionFacts, limits: CdrLimits) -> CdrFinding | None:
    """The same for each charging period; periods that start together are one."""
    energies = figures.energies
    possible = PossibleEnergy(facts, limits)
    for place, (start, kwh) in enumerate(energies, start=1):
        end = energies[place][0] if place < len(energies) else figures.cdr.end
        if possible.covers(kwh, end - start):
            continue
        if looks_like_wh(figures, facts, limits):
            return None
        return _except(
            CheckCode.PERIOD_ABOVE_POWER,
            f"{_wh(WH_PER_KWH * kwh)} in {end - start} from {_time(start)}, "
            f"at most {_wh(possible.wh(max(end - start, timedelta(0))))}",
        )
    return None


def energy_above_limit(figures: CdrFigures, facts: SessionFacts, limits: CdrLimits) -> CdrFinding | None:
    """More than any battery takes."""
    energy, most = figures.energy_wh, limits.session_energy_wh
    if energy <= most or looks_like_wh(figures, facts, limits):
        return None
    return _except(CheckCode.ENERGY_ABOVE_LIMIT, f"{_wh(energy)}, at most {_wh(most)} a session")


def energy_looks_like_wh(figures: CdrFigures, facts: SessionFacts, limits: CdrLimits) -> CdrFinding | None:
    """Watt-hours sent where kilowatt-hours are due: a thousandth fits, the figure itself does not."""
    if not looks_like_wh(figures, facts, limits):
        return None
    energy = figures.energy_wh
    return _except(
        CheckCode.ENERGY_LOOKS_LIKE_WH,
        f"{_wh(energy)} does not fit, {_wh(energy / WH_PER_KWH)} does: Wh sent as kWh?",
    )


def negative_volume(figures: CdrFigures, _facts: SessionFacts, _limits: CdrLimits) -> CdrFinding | None:
    """Energy and time are never negative: a meter reading fell, or the sender subtracts the wrong way."""
    if figures.negative is None:
        return None
    return _except(CheckCode.NEGATIVE_VOLUME, figures.negative)


def time_exceeds_session(figures: CdrFigures, _facts: SessionFacts, limits: CdrLimits) -> CdrFinding | None:
    """No more time is billed, charging and parking together, than the session took."""
    billed_s = _SECONDS_PER_HOUR * figures.billed_h
    took_s = _in_seconds(figures.cdr.end - figures.cdr.start)
    if billed_s <= took_s + limits.time_slack_s:
        return None
    return _except(
        CheckCode.TIME_EXCEEDS_SESSION, f"{billed_s:.0f} s are billed, the session took {took_s:.0f} s"
    )


def total_energy_differs(figures: CdrFigures, _facts: SessionFacts, limits: CdrLimits) -> CdrFinding | None:
    """total_energy is the sum of its periods, to the last digit sent; a share beyond the limit waits."""
    total, listed = figures.cdr.total_energy_kwh, figures.listed_kwh
    if total is None or listed is None:
        return None
    difference = abs(total - listed)
    if difference < last_digit(total) or difference < figures.coarsest_digit:
        return None
    waits = difference * _PERCENT > limits[LimitName.ENERGY_PERCENT] * max(abs(total), abs(listed))
    return CdrFinding(
        code=CheckCode.TOTAL_ENERGY_DIFFERS,
        outcome=CheckOutcome.EXCEPT if waits else CheckOutcome.FLAG,
        text=f"total_energy is {total} kWh, its periods add up to {listed} kWh",
    )


def evse_differs(figures: CdrFigures, facts: SessionFacts, _limits: CdrLimits) -> CdrFinding | None:
    """The EVSE is the authorized one; another one at the location with the same tariff is shown only."""
    if figures.cdr.evse_id is not None and figures.cdr.evse_id == facts.evse_id:
        return None
    named = {
        _folded(name)
        for name in (figures.cdr.evse_id, figures.cdr.evse_uid)
        if name and name.upper() != _NOT_KNOWN
    }
    known = {_folded(name) for name in (facts.evse_id, facts.evse_uid) if name}
    if not named:
        return None if not _claims_no_evse(figures) or figures.is_reservation else _no_evse(facts)
    if named & known:
        return None
    here = (
        figures.cdr.location_id is not None and figures.cdr.location_id.lower() == facts.location_id.lower()
    )
    shown = figures.cdr.evse_id or figures.cdr.evse_uid
    return CdrFinding(
        code=CheckCode.EVSE_DIFFERS,
        outcome=CheckOutcome.FLAG if here and facts.other_evse_same_tariff else CheckOutcome.EXCEPT,
        text=f"names EVSE {shown} at location {figures.cdr.location_id}; authorized was {facts.evse_id}",
    )


def token_differs(figures: CdrFigures, facts: SessionFacts, _limits: CdrLimits) -> CdrFinding | None:
    """The token is the authorized one, by uid or by contract; both are CiStrings."""
    pairs = [
        (stated, known)
        for stated, known in (
            (figures.cdr.auth_id, facts.token_uid),
            (figures.cdr.contract_id, facts.contract_id),
        )
        if stated and known
    ]
    if (
        figures.cdr.contract_id is None and figures.cdr.auth_id and facts.contract_id
    ):  # 2.1.1 has the contract as auth_id
        pairs.append((figures.cdr.auth_id, facts.contract_id))
    if not pairs or any(stated.lower() == known.lower() for stated, known in pairs):
        return None
    return _except(CheckCode.TOKEN_DIFFERS, "its token and contract are not the authorized ones")


def reference_differs(figures: CdrFigures, facts: SessionFacts, _limits: CdrLimits) -> CdrFinding | None:
    """The authorization that it names is the session's; a CiString."""
    named = figures.cdr.authorization_reference
    if named is None or not facts.references or named.lower() in {one.lower() for one in facts.references}:
        return None
    return _except(CheckCode.REFERENCE_DIFFERS, f"names {named}; authorized was {facts.references[0]}")


def cpo_differs(figures: CdrFigures, facts: SessionFacts, _limits: CdrLimits) -> CdrFinding | None:
    """The CDR is of the session's CPO; one of another party is refused."""
    country, party = figures.cdr.country_code, figures.cdr.party_id
    if country is None or party is None or f"{country}-{party}".upper() == facts.cpo_id.upper():
        return None
    return CdrFinding(
        code=CheckCode.CPO_DIFFERS,
        outcome=CheckOutcome.REFUSE,
        text=f"is of {country[:2]}-{party[:3]}, the session of {facts.cpo_id}",
    )


def currency_differs(figures: CdrFigures, facts: SessionFacts, _limits: CdrLimits) -> CdrFinding | None:
    """The currency is that of the tariff."""
    if figures.cdr.currency == facts.currency:
        return None
    return _except(
        CheckCode.CURRENCY_DIFFERS, f"is in {figures.cdr.currency}, the tariff in {facts.currency}"
    )


def second_cdr(_figures: CdrFigures, facts: SessionFacts, _limits: CdrLimits) -> CdrFinding | None:
    """A session has one CDR; a correction is a credit CDR and a new CDR."""
    if facts.other_cdr_id is None:
        return None
    return _except(CheckCode.SECOND_CDR, f"the session has CDR {facts.other_cdr_id}, which is not credited")


def overlaps_other(_figures: CdrFigures, facts: SessionFacts, _limits: CdrLimits) -> CdrFinding | None:
    """An EVSE charges one vehicle at a time."""
    if not facts.overlapping:
        return None
    return _except(
        CheckCode.OVERLAPS_OTHER, f"at the same EVSE and time as {', '.join(facts.overlapping[:3])}"
    )


def home_charging(figures: CdrFigures, _facts: SessionFacts, _limits: CdrLimits) -> CdrFinding | None:
    """home_charging_compensation: the driver is to be paid, so the driver is never charged."""
    if not figures.cdr.home_charging:
        return None
    return _except(CheckCode.HOME_CHARGING, "the driver is to be paid for it, and is never charged")


def usage_differs(figures: CdrFigures, facts: SessionFacts, limits: CdrLimits) -> CdrFinding | None:
    """The payer stated about the same energy and time; a little more or less is shown, much waits."""
    earlier = facts.earlier_usage
    if earlier is None:
        return None
    energy = abs(figures.energy_wh - earlier.energy_wh)
    took = figures.cdr.end - figures.cdr.start
    time_s = abs(_in_seconds(took - (earlier.ended_at - earlier.started_at)))
    if energy < 1 and time_s <= limits[LimitName.CLOCK_SLACK_S]:
        return None
    share = (
        limits[LimitName.USAGE_ENERGY_PERCENT] * max(figures.energy_wh, Decimal(earlier.energy_wh)) / _PERCENT
    )
    waits = (
        energy > share + limits[LimitName.USAGE_ENERGY_SLACK_WH]
        or time_s > limits[LimitName.USAGE_TIME_SLACK_S]
    )
    return CdrFinding(
        code=CheckCode.USAGE_DIFFERS,
        outcome=CheckOutcome.EXCEPT if waits else CheckOutcome.FLAG,
        text=f"{_wh(figures.energy_wh)} in {took}, the payer stated {_wh(Decimal(earlier.energy_wh))} in "
        f"{earlier.ended_at - earlier.started_at}",
    )


def negative_total(figures: CdrFigures, _facts: SessionFacts, _limits: CdrLimits) -> CdrFinding | None:
    """Only the total of a credit CDR is negative."""
    total = figures.cdr.total_cost
    if total is None or figures.cdr.credit or total.excl_vat >= 0:
        return None
    return _except(CheckCode.NEGATIVE_TOTAL, f"total_cost is {total.excl_vat}, and credit is not set")


def looks_like_wh(figures: CdrFigures, facts: SessionFacts, limits: CdrLimits) -> bool:
    """Whether the energy does not fit power or battery, and a thousandth of it, a kWh or more, does."""
    energy = figures.energy_wh
    if energy < _LEAST_IN_WH:
        return False
    possible = PossibleEnergy(facts, limits).wh(figures.cdr.end - figures.cdr.start)
    most = min(possible, limits.session_energy_wh)
    return energy > most >= energy / WH_PER_KWH


def _claims_no_evse(figures: CdrFigures) -> bool:
    return any((name or "").upper() == _NOT_KNOWN for name in (figures.cdr.evse_id, figures.cdr.evse_uid))


def _no_evse(facts: SessionFacts) -> CdrFinding:
    return _except(
        CheckCode.EVSE_DIFFERS,
        f"names no EVSE, which only a reservation may; authorized was {facts.evse_id}",
    )


def _folded(name: str) -> str:
    """An EVSE ID without case and separators, which eMI3 makes optional."""
    return _SEPARATORS.sub("", name).upper()


def _in_seconds(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(microseconds=1)) / 1_000_000


def _time(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _wh(value: Decimal) -> str:
    return f"{value / WH_PER_KWH:.3f} kWh"
