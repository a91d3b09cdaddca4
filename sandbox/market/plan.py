"""The plan of a market day: who charges where, when and how much, who pays how, and what fails.

Pure and reproducible: the same number of sessions and the same seed give the same day on every machine,
because each choice is read from SHA-256 of (seed, session, name of the choice) and not from a generator's
state.
Must not know HTTP, prices, or the clock: the day is the fixed Thursday that the bundled exchange rates cover.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from sandbox.market.participants import MOBILITY, PARKING_APP, SITES, SUPER_APP, Site, evse_id

MARKET_DATE: Final = date(2026, 10, 29)  # a Thursday: the second clearing day after it is after a weekend
DAY_START: Final = datetime(2026, 10, 29, tzinfo=UTC)
MIN_SESSIONS: Final = 12  # fewer can't hold every scenario
MAX_SESSIONS: Final = 100_000
STEP_S: Final = 180  # every instant is a multiple of three minutes, so that hours have two exact decimals
_FIRST_HOUR: Final = 4
_HOUR_WEIGHTS: Final = (1, 2, 5, 8, 6, 5, 5, 6, 6, 5, 5, 7, 9, 9, 7, 4, 2)  # arrivals, 04:00 to 20:00 UTC
_MAX_CHARGE_S: Final = 3 * 3600

T = TypeVar("T")


class DriverMethod(StrEnum):
    """How a session is authorized."""

    CARD = "card"
    APP = "app"
    PLUG_AND_CHARGE = "plug_and_charge"


class SessionScenario(StrEnum):
    """How a session goes."""

    CHARGES = "charges"
    DECLINED = "declined"  # the card is rejected; nobody charges
    RELEASED = "released"  # authorized, then the driver leaves without plugging in
    NOTHING_DELIVERED = "nothing_delivered"  # a CDR of 0 kWh: the hold is released
    CDR_TWICE = "cdr_twice"  # the operator sends the same CDR again an hour later
    PSP_TIMEOUT = "psp_timeout"  # the capture takes effect at the PSP, and its response is lost
    OVERBILLED = "overbilled"  # the operator's total exceeds its own tariff
    REVOKED = "revoked"  # the contract certificate was revoked: the vehicle is rejected


CHARGING: Final = frozenset(
    {
        SessionScenario.CHARGES,
        SessionScenario.CDR_TWICE,
        SessionScenario.PSP_TIMEOUT,
        SessionScenario.OVERBILLED,
    }
)
COMPLETING: Final = CHARGING | {SessionScenario.NOTHING_DELIVERED}

_OPENING_METHODS: Final = (
    DriverMethod.CARD,
    DriverMethod.APP,
    DriverMethod.PLUG_AND_CHARGE,
    DriverMethod.CARD,
    DriverMethod.CARD,
    DriverMethod.PLUG_AND_CHARGE,
    DriverMethod.APP,
    DriverMethod.CARD,
    DriverMethod.APP,
    DriverMethod.PLUG_AND_CHARGE,
)
_METHOD_WEIGHTS: Final = ((DriverMethod.APP, 40), (DriverMethod.CARD, 35), (DriverMethod.PLUG_AND_CHARGE, 25))
_PARTNER: Final = {
    DriverMethod.CARD: PARKING_APP.party_id,
    DriverMethod.APP: SUPER_APP.party_id,
    DriverMethod.PLUG_AND_CHARGE: MOBILITY.party_id,
}
GOOD_CARDS: Final = ("pm_card_visa", "pm_card_mastercard", "pm_card_visa_debit", "pm_card_amex")
DECLINED_CARDS: Final = (
    "pm_card_visa_chargeDeclined",
    "pm_card_visa_chargeDeclinedInsufficientFunds",
    "pm_card_chargeDeclinedExpiredCard",
)
# Tariffs that price energy alone: 0 kWh costs nothing under them.
_ENERGY_ONLY: Final = frozenset(
    {"energy", "peak-and-weekend", "power-bands", "night", "tiers", "evening-peak", "whole-kwh"}
)
_IDLERS: Final = frozenset({"energy-and-parking", "idle-fee"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSession:
    """One session of the day. Instants are UTC; a declined, released or rejected one never starts."""

    number: int
    method: DriverMethod
    scenario: SessionScenario
    partner_id: str
    site: Site
    stall: int
    reserved_s: int
    starts_at: datetime
    charge_ends_at: datetime
    leaves_at: datetime
    energy_wh: int
    power_w: int
    payment_method: str | None  # the PSP's token, for the card method
    vehicle: int | None  # for Plug & Charge
    cdr_delay_h: int

    @property
    def ref(self) -> str:
        """The name that operator and partner give the session."""
        return f"S{self.number:06d}"

    @property
    def cdr_id(self) -> str:
        """The operator's name of the charge detail record."""
        return f"CDR-{self.number:06d}"

    @property
    def evse_id(self) -> str:
        """The EVSE that the driver uses."""
        return evse_id(self.site, stall=self.stall)

    @property
    def authorized_hour(self) -> datetime:
        """The market hour in which the payment is authorized."""
        return _hour(self.starts_at)

    @property
    def completed_hour(self) -> datetime:
        """The market hour in which the CDR (or the release) is sent: after the session's end, some late."""
        if self.scenario is SessionScenario.RELEASED:
            return _hour(self.starts_at)
        return _hour(self.leaves_at) + timedelta(hours=1 + self.cdr_delay_h)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketDay:
    """The whole day: sessions in order of their start, stalls per site id, vehicles and the revoked ones."""

    seed: int
    sessions: tuple[PlannedSession, ...]
    stalls: dict[str, int]
    vehicles: int
    revoked_vehicles: frozenset[int]

    def hours(self) -> tuple[datetime, ...]:
        """Every market hour in which something is sent, in order."""
        found = {session.authorized_hour for session in self.sessions}
        found |= {session.completed_hour for session in self.sessions if session.scenario in COMPLETING}
        found |= {
            session.completed_hour + timedelta(hours=1)
            for session in self.sessions
            if session.scenario is SessionScenario.CDR_TWICE
        }
        return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class SeededChoices:
    """Choices that depend on nothing but the seed, the session's number and the name of the choice."""

    seed: int

    def roll(self, number: int, choice: str) -> int:
        """A whole number from 0 to 2**64 - 1."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{number}/{choice}".encode()).digest()[:8])

    def between(self, number: int, choice: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.roll(number, choice) % (high - low + 1)

    def pick(self, number: int, choice: str, weighted: Sequence[tuple[T, int]]) -> T:
        """One of the values, weighted."""
        remainder = self.roll(number, choice) % sum(weight for _, weight in weighted)
        for value, weight in weighted:
            if remainder < weight:
                return value
            remainder -= weight
        raise ValueError("no option has a weight")

    def one_of(self, number: int, choice: str, options: Sequence[T]) -> T:
        """One of the values, each as often."""
        return options[self.roll(number, choice) % len(options)]


def plan_day(*, sessions: int, seed: int) -> MarketDay:
    """Plan `sessions` sessions. Raises ValueError outside MIN_SESSIONS to MAX_SESSIONS."""
    if not MIN_SESSIONS <= sessions <= MAX_SESSIONS:
        raise ValueError(f"{sessions} sessions; expected {MIN_SESSIONS} to {MAX_SESSIONS}")
    choices = SeededChoices(seed)
    drafts = [_draft(number, choices) for number in range(sessions)]
    drafts = _with_scenarios(drafts, choices)
    drafts = [_with_payment(draft, choices) for draft in drafts]
    drafts.sort(key=lambda draft: (draft.starts_at, draft.number))
    drafts, stalls = _with_stalls(drafts)
    drafts, vehicles, revoked = _with_vehicles(drafts)
    return MarketDay(
        seed=seed, sessions=tuple(drafts), stalls=stalls, vehicles=vehicles, revoked_vehicles=revoked
    )


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _steps(seconds: int) -> int:
    return -(-seconds // STEP_S) * STEP_S


def _draft(number: int, choices: SeededChoices) -> PlannedSession:
    # The first sessions visit every site and every method, so that even a small day has it all.
    site = (
        SITES[(number * 7 + choices.seed) % len(SITES)]
        if number < len(SITES)
        else choices.one_of(number, "site", SITES)
    )
    method = (
        _OPENING_METHODS[number]
        if number < len(_OPENING_METHODS)
        else choices.pick(number, "rail", _METHOD_WEIGHTS)  # the label keeps each seed's day as it was
    )
    if site.tariff_id == "free":
        method = DriverMethod.APP  # nothing to hold: a card can't be charged 0
    hour = _FIRST_HOUR + choices.pick(number, "hour", tuple(enumerate(_HOUR_WEIGHTS)))
    starts_at = DAY_START + timedelta(
        hours=hour, seconds=STEP_S * choices.between(number, "start", 1, 3600 // STEP_S - 1)
    )
    power_w = _power_w(site, number, choices)
    most_wh = min(60_000, power_w * _MAX_CHARGE_S // 3600)
    energy_wh = choices.between(number, "energy", most_wh // 8, most_wh)
    charge_ends_at = starts_at + timedelta(seconds=_steps(energy_wh * 3600 // power_w))
    idle_s = STEP_S * choices.between(number, "idle", 2, 15) if site.tariff_id in _IDLERS else 0
    reserved_s = STEP_S * choices.between(number, "reserved", 3, 10) if site.tariff_id == "reservation" else 0
    return PlannedSession(
        number=number,
        method=method,
        scenario=SessionScenario.CHARGES,
        partner_id=_PARTNER[method],
        site=site,
        stall=1,
        reserved_s=reserved_s,
        starts_at=starts_at,
        charge_ends_at=charge_ends_at,
        leaves_at=charge_ends_at + timedelta(seconds=idle_s),
        energy_wh=energy_wh,
        power_w=power_w,
        payment_method=None,
        vehicle=None,
        cdr_delay_h=choices.pick(number, "delay", ((0, 90), (2, 7), (6, 3))),
    )


def _power_w(site: Site, number: int, choices: SeededChoices) -> int:
    """The car's power: AC cars 11 or 22 kW, DC cars 40 to 200 kW, never more than the connector supplies."""
    cars = (40_000, 75_000, 120_000, 200_000) if site.direct_current else (7_400, 11_000, 22_000)
    return min(site.power_w, choices.one_of(number, "car", cars))


def _with_scenarios(drafts: list[PlannedSession], choices: SeededChoices) -> list[PlannedSession]:
    def paid(draft: PlannedSession) -> bool:
        return draft.site.tariff_id != "free"

    def energy_only(draft: PlannedSession) -> bool:
        return draft.site.tariff_id in _ENERGY_ONLY

    total = len(drafts)
    cards = sum(draft.method is DriverMethod.CARD for draft in drafts)
    quotas: tuple[tuple[SessionScenario, int, Callable[[PlannedSession], bool]], ...] = (
        (SessionScenario.PSP_TIMEOUT, 1, lambda draft: draft.method is DriverMethod.CARD and paid(draft)),
        (
            SessionScenario.REVOKED,
            1,
            lambda draft: draft.method is DriverMethod.PLUG_AND_CHARGE and paid(draft),
        ),
        (SessionScenario.CDR_TWICE, 1, paid),
        (SessionScenario.OVERBILLED, 1, energy_only),
        (
            SessionScenario.DECLINED,
            max(1, cards // 20),
            lambda draft: draft.method is DriverMethod.CARD and paid(draft),
        ),
        (SessionScenario.NOTHING_DELIVERED, max(1, total // 50), energy_only),
        (
            SessionScenario.RELEASED,
            max(1, total // 60),
            lambda draft: draft.method is not DriverMethod.PLUG_AND_CHARGE,
        ),
    )
    order = sorted(range(total), key=lambda number: choices.roll(number, "course"))
    scenarios: dict[int, SessionScenario] = {}
    for scenario, count, fits in quotas:
        free = [number for number in order if number not in scenarios and fits(drafts[number])]
        scenarios |= dict.fromkeys(free[:count], scenario)
    _fill_gaps(scenarios, order, drafts, {scenario: fits for scenario, _, fits in quotas})
    return [_with_scenario(draft, scenarios.get(draft.number, SessionScenario.CHARGES)) for draft in drafts]


def _fill_gaps(
    scenarios: dict[int, SessionScenario],
    order: Sequence[int],
    drafts: Sequence[PlannedSession],
    fits: Mapping[SessionScenario, Callable[[PlannedSession], bool]],
) -> None:
    """Give a scenario whose fitting sessions are all taken one of them; what it had moves to a free one."""
    for scenario in fits.keys() - set(scenarios.values()):
        for number in order:
            taken_by = scenarios.get(number)
            if taken_by is None or not fits[scenario](drafts[number]):
                continue
            free = [one for one in order if one not in scenarios and fits[taken_by](drafts[one])]
            if free:
                scenarios |= {free[0]: taken_by, number: scenario}
                break


def _with_scenario(draft: PlannedSession, scenario: SessionScenario) -> PlannedSession:
    if scenario is SessionScenario.NOTHING_DELIVERED:
        ends_at = draft.starts_at + timedelta(seconds=STEP_S)
        return replace(draft, scenario=scenario, energy_wh=0, charge_ends_at=ends_at, leaves_at=ends_at)
    if scenario is SessionScenario.PSP_TIMEOUT:
        return replace(draft, scenario=scenario, cdr_delay_h=0)
    return replace(draft, scenario=scenario)


def _with_payment(draft: PlannedSession, choices: SeededChoices) -> PlannedSession:
    if draft.method is not DriverMethod.CARD:
        return draft
    cards = DECLINED_CARDS if draft.scenario is SessionScenario.DECLINED else GOOD_CARDS
    return replace(draft, payment_method=choices.one_of(draft.number, "card", cards))


def _with_stalls(drafts: list[PlannedSession]) -> tuple[list[PlannedSession], dict[str, int]]:
    """Give each session the first stall that is free; a site has as many stalls as its day needs."""
    free_at: dict[str, list[datetime]] = {site.site_id: [DAY_START] for site in SITES}
    placed = []
    for draft in drafts:
        arrives_at = draft.starts_at - timedelta(seconds=draft.reserved_s)
        stall = _first_free(free_at[draft.site.site_id], at=arrives_at, until=draft.leaves_at)
        placed.append(replace(draft, stall=stall + 1))
    return placed, {site_id: len(stalls) for site_id, stalls in free_at.items()}


def _with_vehicles(drafts: list[PlannedSession]) -> tuple[list[PlannedSession], int, frozenset[int]]:
    """Give each Plug & Charge session a vehicle that is not charging elsewhere; revoked ones come last."""
    free_at: list[datetime] = []
    assigned: dict[int, int] = {}
    plugged = [draft for draft in drafts if draft.method is DriverMethod.PLUG_AND_CHARGE]
    for draft in plugged:
        if draft.scenario is not SessionScenario.REVOKED:
            arrives_at = draft.starts_at - timedelta(seconds=draft.reserved_s)
            assigned[draft.number] = _first_free(free_at, at=arrives_at, until=draft.leaves_at)
    rejected = [draft.number for draft in plugged if draft.scenario is SessionScenario.REVOKED]
    revoked = {number: len(free_at) + place for place, number in enumerate(rejected)}
    assigned |= revoked
    placed = [replace(draft, vehicle=assigned.get(draft.number)) for draft in drafts]
    return placed, len(free_at) + len(revoked), frozenset(revoked.values())


def _first_free(free_at: list[datetime], *, at: datetime, until: datetime) -> int:
    for place, free in enumerate(free_at):
        if free <= at:
            free_at[place] = until
            return place
    free_at.append(until)
    return len(free_at) - 1
