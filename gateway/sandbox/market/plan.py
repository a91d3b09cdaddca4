"""The plan of a market day: who charges where, when and how much, who pays how, and what goes wrong.

Pure and reproducible: the same number of sessions and the same seed give the same day on every machine,
because each choice is read from SHA-256 of (seed, session, question) and not from a generator's state.
Must not know HTTP, prices, or the clock: the day is the fixed Thursday that the bundled exchange rates cover.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from gateway.sandbox.market.cast import MOBILITY, PARKING_APP, SITES, SUPER_APP, Site, evse_id

MARKET_DATE: Final = date(2026, 10, 29)  # a Thursday: the second clearing day after it lies past a weekend
DAY_START: Final = datetime(2026, 10, 29, tzinfo=UTC)
MIN_SESSIONS: Final = 12  # below it there is no room for every kind of trouble
MAX_SESSIONS: Final = 100_000
STEP_S: Final = 180  # every instant is a multiple of three minutes, so that hours have two exact decimals
_FIRST_HOUR: Final = 4
_HOUR_WEIGHTS: Final = (1, 2, 5, 8, 6, 5, 5, 6, 6, 5, 5, 7, 9, 9, 7, 4, 2)  # arrivals, 04:00 to 20:00 UTC
_MAX_CHARGE_S: Final = 3 * 3600

T = TypeVar("T")


class Rail(StrEnum):
    """How a session is authorized."""

    CARD = "card"
    APP = "app"
    PLUG_AND_CHARGE = "plug_and_charge"


class Course(StrEnum):
    """What becomes of a session."""

    CHARGES = "charges"
    DECLINED = "declined"  # the card is refused; nobody charges
    RELEASED = "released"  # authorized, then the driver leaves without plugging in
    NOTHING_DELIVERED = "nothing_delivered"  # a CDR of 0 kWh: the hold is released
    CDR_TWICE = "cdr_twice"  # the operator sends the same CDR again an hour later
    PSP_TIMEOUT = "psp_timeout"  # the capture takes effect at the PSP, and its answer is lost
    OVERBILLED = "overbilled"  # the operator's total exceeds its own tariff
    REVOKED = "revoked"  # the contract certificate was revoked: the hook refuses


CHARGING: Final = frozenset({Course.CHARGES, Course.CDR_TWICE, Course.PSP_TIMEOUT, Course.OVERBILLED})
COMPLETING: Final = CHARGING | {Course.NOTHING_DELIVERED}

_OPENING_RAILS: Final = (
    Rail.CARD, Rail.APP, Rail.PLUG_AND_CHARGE, Rail.CARD, Rail.CARD,
    Rail.PLUG_AND_CHARGE, Rail.APP, Rail.CARD, Rail.APP, Rail.PLUG_AND_CHARGE,
)  # fmt: skip
_RAIL_WEIGHTS: Final = ((Rail.APP, 40), (Rail.CARD, 35), (Rail.PLUG_AND_CHARGE, 25))
_PARTNER: Final = {
    Rail.CARD: PARKING_APP.party_id,
    Rail.APP: SUPER_APP.party_id,
    Rail.PLUG_AND_CHARGE: MOBILITY.party_id,
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
    """One session of the day. Instants are UTC; a declined, released or refused one never starts."""

    number: int
    rail: Rail
    course: Course
    partner_id: str
    site: Site
    stall: int
    reserved_s: int
    starts_at: datetime
    charge_ends_at: datetime
    leaves_at: datetime
    energy_wh: int
    power_w: int
    payment_method: str | None  # the PSP's token, for the card rail
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
        """Where the driver stands."""
        return evse_id(self.site, stall=self.stall)

    @property
    def authorized_hour(self) -> datetime:
        """The market hour in which the payment is authorized."""
        return _hour(self.starts_at)

    @property
    def completed_hour(self) -> datetime:
        """The market hour in which the CDR (or the release) is sent: after the session's end, some late."""
        if self.course is Course.RELEASED:
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
        found |= {session.completed_hour for session in self.sessions if session.course in COMPLETING}
        found |= {
            session.completed_hour + timedelta(hours=1)
            for session in self.sessions
            if session.course is Course.CDR_TWICE
        }
        return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class Dice:
    """Choices that depend on nothing but the seed, the session's number and the question asked."""

    seed: int

    def roll(self, number: int, question: str) -> int:
        """A whole number from 0 to 2**64 - 1."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{number}/{question}".encode()).digest()[:8])

    def between(self, number: int, question: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.roll(number, question) % (high - low + 1)

    def pick(self, number: int, question: str, weighted: Sequence[tuple[T, int]]) -> T:
        """One of the values, as often as its weight says."""
        left = self.roll(number, question) % sum(weight for _, weight in weighted)
        for value, weight in weighted:
            if left < weight:
                return value
            left -= weight
        raise ValueError("no option has a weight")

    def one_of(self, number: int, question: str, options: Sequence[T]) -> T:
        """One of the values, each as often."""
        return options[self.roll(number, question) % len(options)]


def plan_day(*, sessions: int, seed: int) -> MarketDay:
    """Plan `sessions` sessions. Raises ValueError outside MIN_SESSIONS to MAX_SESSIONS."""
    if not MIN_SESSIONS <= sessions <= MAX_SESSIONS:
        raise ValueError(f"{sessions} sessions; expected {MIN_SESSIONS} to {MAX_SESSIONS}")
    dice = Dice(seed)
    drafts = [_draft(number, dice) for number in range(sessions)]
    drafts = _with_courses(drafts, dice)
    drafts = [_with_payment(draft, dice) for draft in drafts]
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


def _draft(number: int, dice: Dice) -> PlannedSession:
    # The first sessions visit every site and every rail, so that even a small day has it all.
    site = (
        SITES[(number * 7 + dice.seed) % len(SITES)]
        if number < len(SITES)
        else dice.one_of(number, "site", SITES)
    )
    rail = (
        _OPENING_RAILS[number] if number < len(_OPENING_RAILS) else dice.pick(number, "rail", _RAIL_WEIGHTS)
    )
    if site.tariff_id == "free":
        rail = Rail.APP  # nothing to hold: a card can't be asked for 0
    hour = _FIRST_HOUR + dice.pick(number, "hour", tuple(enumerate(_HOUR_WEIGHTS)))
    starts_at = DAY_START + timedelta(
        hours=hour, seconds=STEP_S * dice.between(number, "start", 1, 3600 // STEP_S - 1)
    )
    power_w = _power_w(site, number, dice)
    most_wh = min(60_000, power_w * _MAX_CHARGE_S // 3600)
    energy_wh = dice.between(number, "energy", most_wh // 8, most_wh)
    charge_ends_at = starts_at + timedelta(seconds=_steps(energy_wh * 3600 // power_w))
    idle_s = STEP_S * dice.between(number, "idle", 2, 15) if site.tariff_id in _IDLERS else 0
    reserved_s = STEP_S * dice.between(number, "reserved", 3, 10) if site.tariff_id == "reservation" else 0
    return PlannedSession(
        number=number,
        rail=rail,
        course=Course.CHARGES,
        partner_id=_PARTNER[rail],
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
        cdr_delay_h=dice.pick(number, "delay", ((0, 90), (2, 7), (6, 3))),
    )


def _power_w(site: Site, number: int, dice: Dice) -> int:
    """What the car takes: AC cars 11 or 22 kW, DC cars 40 to 200 kW, never more than the connector gives."""
    cars = (40_000, 75_000, 120_000, 200_000) if site.direct_current else (7_400, 11_000, 22_000)
    return min(site.power_w, dice.one_of(number, "car", cars))


def _with_courses(drafts: list[PlannedSession], dice: Dice) -> list[PlannedSession]:
    def paid(draft: PlannedSession) -> bool:
        return draft.site.tariff_id != "free"

    def energy_only(draft: PlannedSession) -> bool:
        return draft.site.tariff_id in _ENERGY_ONLY

    total = len(drafts)
    cards = sum(draft.rail is Rail.CARD for draft in drafts)
    wanted: tuple[tuple[Course, int, Callable[[PlannedSession], bool]], ...] = (
        (Course.PSP_TIMEOUT, 1, lambda draft: draft.rail is Rail.CARD and paid(draft)),
        (Course.REVOKED, 1, lambda draft: draft.rail is Rail.PLUG_AND_CHARGE and paid(draft)),
        (Course.CDR_TWICE, 1, paid),
        (Course.OVERBILLED, 1, energy_only),
        (Course.DECLINED, max(1, cards // 20), lambda draft: draft.rail is Rail.CARD and paid(draft)),
        (Course.NOTHING_DELIVERED, max(1, total // 50), energy_only),
        (Course.RELEASED, max(1, total // 60), lambda draft: draft.rail is not Rail.PLUG_AND_CHARGE),
    )
    order = sorted(range(total), key=lambda number: dice.roll(number, "course"))
    courses: dict[int, Course] = {}
    for course, count, fits in wanted:
        free = [number for number in order if number not in courses and fits(drafts[number])]
        courses |= dict.fromkeys(free[:count], course)
    return [_on_course(draft, courses.get(draft.number, Course.CHARGES)) for draft in drafts]


def _on_course(draft: PlannedSession, course: Course) -> PlannedSession:
    if course is Course.NOTHING_DELIVERED:
        ends_at = draft.starts_at + timedelta(seconds=STEP_S)
        return replace(draft, course=course, energy_wh=0, charge_ends_at=ends_at, leaves_at=ends_at)
    if course is Course.PSP_TIMEOUT:
        return replace(draft, course=course, cdr_delay_h=0)
    return replace(draft, course=course)


def _with_payment(draft: PlannedSession, dice: Dice) -> PlannedSession:
    if draft.rail is not Rail.CARD:
        return draft
    cards = DECLINED_CARDS if draft.course is Course.DECLINED else GOOD_CARDS
    return replace(draft, payment_method=dice.one_of(draft.number, "card", cards))


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
    seats: dict[int, int] = {}
    plugged = [draft for draft in drafts if draft.rail is Rail.PLUG_AND_CHARGE]
    for draft in plugged:
        if draft.course is not Course.REVOKED:
            arrives_at = draft.starts_at - timedelta(seconds=draft.reserved_s)
            seats[draft.number] = _first_free(free_at, at=arrives_at, until=draft.leaves_at)
    refused = [draft.number for draft in plugged if draft.course is Course.REVOKED]
    revoked = {number: len(free_at) + place for place, number in enumerate(refused)}
    seats |= revoked
    seated = [replace(draft, vehicle=seats.get(draft.number)) for draft in drafts]
    return seated, len(free_at) + len(revoked), frozenset(revoked.values())


def _first_free(free_at: list[datetime], *, at: datetime, until: datetime) -> int:
    for place, free in enumerate(free_at):
        if free <= at:
            free_at[place] = until
            return place
    free_at.append(until)
    return len(free_at) - 1
