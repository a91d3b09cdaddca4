"""A batch of captured sessions, each to its entry or to its reason: the computing part, without a store.

Owns: choosing the agreement, reusing plans, keeping one session's trouble from another's money.
Must not know: transactions, SQL. Prices, plans and entries come from the pure rooms.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from clearing.calendar import sales_day
from clearing.errors import (
    CalendarExhaustedError,
    ClearingError,
    InvariantViolation,
    RateUnavailableError,
    UnclearableError,
    UnknownCurrencyError,
)
from clearing.fx import publication_day
from clearing.journal.ledger import PLATFORM_FEE, JournalEntry
from clearing.parties.agreement import Agreement, LegalModel, Role, choose
from clearing.parties.party import PLATFORM_ID, Party
from clearing.ports import Repricer
from clearing.results import ClearedSession, OwedShare, ParkedSession
from clearing.session import CapturedSession
from clearing.sessions.posting import Course, post_capture
from clearing.sessions.reprice import Repriced
from clearing.sessions.settlement import References, SettlementPlan, plan_settlement

MAX_PLANS: Final = 20_000
_Result = TypeVar("_Result")
_PlanKey = tuple[object, ...]
_REASONS: Final[tuple[tuple[type[ClearingError], str], ...]] = (
    (RateUnavailableError, "rate_unavailable"),
    (CalendarExhaustedError, "calendar_exhausted"),
    (UnknownCurrencyError, "unknown_currency"),
    (InvariantViolation, "invariant_violation"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The reference data of a batch: parties by id, agreements by CPO, and the dated facts."""

    parties: Mapping[str, Party]
    agreements: Mapping[str, Sequence[Agreement]]
    references: References


@dataclass(slots=True, kw_only=True)
class Worked:
    """What became of a batch's sessions so far: entries with the courses they took, and those set aside.

    An accumulator. `counts` are the sessions of each tiered agreement and month, with those of this batch.
    """

    counts: dict[tuple[str, date], int]
    entries: list[JournalEntry] = field(default_factory=list)
    courses: dict[UUID, Course] = field(default_factory=dict)
    parked: list[tuple[CapturedSession, ParkedSession]] = field(default_factory=list)

    def plan_of(self, entry: JournalEntry) -> SettlementPlan:
        """The plan that an entry was made by."""
        return self.courses[entry.subject_id].plan

    def rulings(self) -> dict[str, str]:
        """Every VAT ruling of the plans in use: its name, its content."""
        used = {id(course): course.plan.rulings for course in self.courses.values()}
        return {name: text for rulings in used.values() for name, text in rulings.items()}


@dataclass(slots=True, kw_only=True)
class BatchWorker:
    """Works batches with one set of books; plans are kept as long as the books are the same object."""

    repricer: Repricer
    books: Books
    _courses: dict[_PlanKey, Course] = field(default_factory=dict)

    def work(self, sessions: Sequence[CapturedSession], *, into: Worked) -> None:
        """Add to `into` an entry for each session that can be cleared.

        For each other one the reason, and the batch goes on. Each step is taken for all of `sessions` before
        the next, so that its code stays in the processor's cache; a few dozen at a time are enough.
        """
        planned = _each([(session,) for session in sessions], self._planned, into)
        priced = _each(planned, self._priced, into)
        _each(priced, partial(self._post, into), into)

    def _planned(self, session: CapturedSession) -> tuple[CapturedSession, Course]:
        return session, self._course(session)

    def _priced(self, session: CapturedSession, course: Course) -> tuple[CapturedSession, Course, Repriced]:
        return session, course, self.repricer(session)

    def _post(self, into: Worked, session: CapturedSession, course: Course, price: Repriced) -> None:
        if course.tiered:
            month = self._month(session.sale_at, course.plan)
            before = into.counts.get(month, 0)
            entry = post_capture(session, price, course.plan, sessions_before=before, course=course)
            into.counts[month] = before + 1
        else:
            entry = post_capture(session, price, course.plan, course=course)
        into.entries.append(entry)
        into.courses[session.session_id] = course

    def _course(self, session: CapturedSession) -> Course:
        """The plan for the session, made once for all that share what it depends on."""
        agreement = self.agreement_of(session)
        at, cpo_id, partner_id = session.sale_at, session.cpo_id, session.demand_partner_id
        emsp_id, host_id = session.emsp_id, session.site_host_id
        key = (
            agreement.id,
            agreement.version,
            cpo_id,
            partner_id,
            emsp_id,
            host_id,
            session.territory,
            session.currency,
            at.astimezone(_zone(session.time_zone)).date(),
            publication_day(session.captured_at),
            self._sales_day(cpo_id, at),
            self._sales_day(partner_id, at),
            None if emsp_id is None else self._sales_day(emsp_id, at),
            None if host_id is None else self._sales_day(host_id, at),
        )
        course = self._courses.get(key)
        if course is None:
            plan = plan_settlement(
                session, agreement=agreement, parties=self.books.parties, references=self.books.references
            )
            course = Course(plan)
            if len(self._courses) >= MAX_PLANS:
                self._courses.clear()
            self._courses[key] = course
        return course

    def agreement_of(self, session: CapturedSession) -> Agreement:
        """The agreement in force at the sale. Raises UnclearableError `no_agreement`."""
        candidates = self.books.agreements.get(session.cpo_id, ())
        agreement = choose(candidates, demand_partner_id=session.demand_partner_id, at=session.sale_at)
        if agreement is None:
            raise UnclearableError(
                "no_agreement",
                f"no agreement of {session.cpo_id!r} covers {session.demand_partner_id!r} "
                f"at {session.sale_at.isoformat()}",
            )
        return agreement

    def tiered_agreements(self, sessions: Sequence[CapturedSession]) -> list[str]:
        """The agreements with tiers of the CPOs in a batch: their volumes are needed to work it."""
        cpos = {session.cpo_id for session in sessions}
        return sorted(
            {
                agreement.id
                for cpo_id in cpos
                for agreement in self.books.agreements.get(cpo_id, ())
                if agreement.terms.tiered
            }
        )

    def volumes(self, entries: Sequence[JournalEntry], worked: Worked) -> dict[tuple[str, date], int]:
        """How many of these entries count in each tiered agreement's month."""
        added: dict[tuple[str, date], int] = {}
        for entry in entries:
            course = worked.courses[entry.subject_id]
            if course.tiered and entry.links is not None:
                month = self._month(entry.links.sale_at, course.plan)
                added[month] = added.get(month, 0) + 1
        return added

    def _month(self, sale_at: datetime, plan: SettlementPlan) -> tuple[str, date]:
        """The agreement and the month that a sale counts in, by the CPO's clock."""
        zone = _zone(self.books.parties[plan.agreement.cpo_id].time_zone)
        return plan.agreement.id, sale_at.astimezone(zone).date().replace(day=1)

    def _sales_day(self, party_id: str, at: datetime) -> date | None:
        party = self.books.parties.get(party_id)
        return None if party is None else sales_day(at, party)


def _each(items: Iterable[tuple[Any, ...]], step: Callable[..., _Result], into: Worked) -> list[_Result]:
    """`step` of each item, whose first part is its session; those that fail are set aside."""
    done: list[_Result] = []
    for item in items:
        try:
            done.append(step(*item))
        except Exception as error:  # noqa: BLE001 - one poisoned session must not stop a lane; it is told, not hidden
            session: CapturedSession = item[0]
            into.parked.append((session, _parked(session, error)))
    return done


def cleared(entry: JournalEntry, plan: SettlementPlan) -> ClearedSession:
    """What is told about a posted session."""
    links = entry.links
    if links is None:
        raise InvariantViolation(f"the capture of {entry.subject_id} has no links")
    fee = 0
    for debit, credit, minor, _ in entry.transfers:
        if credit == PLATFORM_FEE:
            fee += minor
        elif debit == PLATFORM_FEE:
            fee -= minor
    reseller = plan.agreement.terms.legal_model is LegalModel.RESELLER
    vat = driver_vat(entry)
    return ClearedSession(
        session_id=entry.subject_id,
        cpo_id=links.cpo_id,
        demand_partner_id=links.demand_partner_id,
        gross_minor=entry.gross_minor,
        net_minor=entry.gross_minor - vat,
        vat_minor=vat,
        vat_of=plan.driver.decision.vat_of,
        vat_collected_by=PLATFORM_ID if reseller else plan.party_of_role[Role.CPO],
        platform_fee_minor=fee,
        currency=entry.currency,
        shares=[
            OwedShare(party_id=party_id, role=role, amount_minor=minor, currency=currency, due_date=due)
            for party_id, role, minor, currency, due in entry.payables
        ],
        flags=entry.flags,
    )


def driver_vat(entry: JournalEntry) -> int:
    """The VAT within the capture: the first leg is the driver's, written by `clearing.sessions.posting`."""
    start = entry.legs.index('"vat":') + len('"vat":')
    end = entry.legs.index(",", start)
    return int(entry.legs[start:end])


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UnclearableError(
            "unknown_time_zone", f"{name!r} is not an IANA time zone such as Europe/Zurich"
        ) from None


def _parked(session: CapturedSession, error: Exception) -> ParkedSession:
    detail = str(error)
    if isinstance(error, UnclearableError):
        reason = error.reason
    elif isinstance(error, ClearingError):
        reason = next((code for kind, code in _REASONS if isinstance(error, kind)), "invalid_input")
    else:
        reason, detail = "unexpected", f"{type(error).__name__}: {error}"
    return ParkedSession(session_id=session.session_id, reason=reason, detail=detail)
