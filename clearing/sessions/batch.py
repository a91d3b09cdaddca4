"""A batch of captured sessions, each to its entry or to the reason why it can't be cleared.

Owns: choosing the agreement, reusing plans, isolating one session's failure from the others. Must not know:
transactions, SQL, how prices, plans and entries are computed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from clearing.calendar import sales_day
from clearing.captured_session import CapturedSession
from clearing.errors import (
    CalendarExhaustedError,
    ClearingError,
    ClearingInvariantViolation,
    RateUnavailableError,
    UnclearableError,
    UnknownCurrencyError,
)
from clearing.fx import publication_day
from clearing.ledger.journal_entry import PLATFORM_FEE, JournalEntry
from clearing.parties.agreement import Agreement, LegalModel, Role, choose
from clearing.parties.party import PLATFORM_ID
from clearing.reference_data.dataset import ReferenceData
from clearing.sessions.clearing_plan import ClearingPlan, plan_clearing
from clearing.sessions.posting import CompiledPlan, post_capture
from clearing.sessions.reprice import RepricedSession, Repricer

MAX_PLANS: Final = 20_000
_Result = TypeVar("_Result")
_PlanKey = tuple[object, ...]
_REASONS: Final[tuple[tuple[type[ClearingError], str], ...]] = (
    (RateUnavailableError, "rate_unavailable"),
    (CalendarExhaustedError, "calendar_exhausted"),
    (UnknownCurrencyError, "unknown_currency"),
    (ClearingInvariantViolation, "invariant_violation"),
)


class OwedShare(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one session owes one party.

    Signed minor units of the party's settlement currency, due on a bank day.
    """

    party_id: str
    role: str
    amount_minor: int
    currency: str
    due_date: date


class ClearedSession(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A session in the journal.

    `vat_minor` is the driver's VAT within `gross_minor`, of tax jurisdiction `vat_of`, owed to the tax
    office by `vat_collected_by`; flags are stable codes.
    """

    session_id: UUID
    cpo_id: str
    demand_partner_id: str
    gross_minor: int
    net_minor: int
    vat_minor: int
    vat_of: str
    vat_collected_by: str
    platform_fee_minor: int
    currency: str
    shares: Sequence[OwedShare]
    flags: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnclearedSession:
    """A session that could not be cleared: a stable reason code, and how to resolve it."""

    session_id: UUID
    reason: str
    detail: str


@dataclass(slots=True, kw_only=True)
class BatchResult:
    """What became of a batch's sessions so far: entries with their compiled plans, and those not cleared.

    An accumulator. `counts` are the sessions of each tiered agreement and month, with those of this batch.
    """

    counts: dict[tuple[str, date], int]
    entries: list[JournalEntry] = field(default_factory=list)
    compiled_plans: dict[UUID, CompiledPlan] = field(default_factory=dict)
    uncleared: list[tuple[CapturedSession, UnclearedSession]] = field(default_factory=list)

    def plan_of(self, entry: JournalEntry) -> ClearingPlan:
        """The plan that an entry was made by."""
        return self.compiled_plans[entry.subject_id].plan

    def rulings(self) -> dict[str, str]:
        """Every VAT ruling of the plans in use: its name, its content."""
        used = {id(compiled): compiled.plan.rulings for compiled in self.compiled_plans.values()}
        return {name: text for rulings in used.values() for name, text in rulings.items()}


@dataclass(slots=True, kw_only=True)
class BatchProcessor:
    """Processes batches with the same reference data, for which it caches the plans."""

    repricer: Repricer
    reference_data: ReferenceData
    _compiled_plans: dict[_PlanKey, CompiledPlan] = field(default_factory=dict)

    def process(self, sessions: Sequence[CapturedSession], *, into: BatchResult) -> None:
        """Add to `into` an entry for each session that can be cleared.

        For each other one the reason, and the batch goes on. Each step is done for all of `sessions` before
        the next, so that its code stays in the processor's cache; a few dozen at a time are enough.
        """
        planned = _each([(session,) for session in sessions], self._planned, into)
        priced = _each(planned, self._priced, into)
        _each(priced, partial(self._post, into), into)

    def _planned(self, session: CapturedSession) -> tuple[CapturedSession, CompiledPlan]:
        return session, self._compile(session)

    def _priced(
        self, session: CapturedSession, compiled: CompiledPlan
    ) -> tuple[CapturedSession, CompiledPlan, RepricedSession]:
        return session, compiled, self.repricer(session)

    def _post(
        self, into: BatchResult, session: CapturedSession, compiled: CompiledPlan, price: RepricedSession
    ) -> None:
        if compiled.tiered:
            month = self._month(session.sale_at, compiled.plan)
            before = into.counts.get(month, 0)
            entry = post_capture(session, price, compiled.plan, sessions_before=before, compiled=compiled)
            into.counts[month] = before + 1
        else:
            entry = post_capture(session, price, compiled.plan, compiled=compiled)
        into.entries.append(entry)
        into.compiled_plans[session.session_id] = compiled

    def _compile(self, session: CapturedSession) -> CompiledPlan:
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
            session.buyer_id,
            session.tax_jurisdiction,
            session.currency,
            at.astimezone(_zone(session.time_zone)).date(),
            publication_day(session.captured_at),
            self._sales_day(cpo_id, at),
            self._sales_day(partner_id, at),
            None if emsp_id is None else self._sales_day(emsp_id, at),
            None if host_id is None else self._sales_day(host_id, at),
        )
        compiled = self._compiled_plans.get(key)
        if compiled is None:
            plan = plan_clearing(
                session,
                agreement=agreement,
                parties=self.reference_data.parties,
                references=self.reference_data.rates_and_calendars,
            )
            compiled = CompiledPlan(plan)
            if len(self._compiled_plans) >= MAX_PLANS:
                self._compiled_plans.clear()
            self._compiled_plans[key] = compiled
        return compiled

    def agreement_of(self, session: CapturedSession) -> Agreement:
        """The agreement in force at the sale. Raises UnclearableError `no_agreement`."""
        candidates = self.reference_data.agreements.get(session.cpo_id, ())
        agreement = choose(candidates, demand_partner_id=session.demand_partner_id, at=session.sale_at)
        if agreement is None:
            raise UnclearableError(
                "no_agreement",
                f"no agreement of {session.cpo_id!r} covers {session.demand_partner_id!r} "
                f"at {session.sale_at.isoformat()}",
            )
        return agreement

    def tiered_agreements(self, sessions: Sequence[CapturedSession]) -> list[str]:
        """The agreements with tiers of the CPOs in a batch: their volumes are needed to process it."""
        cpos = {session.cpo_id for session in sessions}
        return sorted(
            {
                agreement.id
                for cpo_id in cpos
                for agreement in self.reference_data.agreements.get(cpo_id, ())
                if agreement.terms.tiered
            }
        )

    def volumes(self, entries: Sequence[JournalEntry], result: BatchResult) -> dict[tuple[str, date], int]:
        """How many of these entries count in each tiered agreement's month."""
        added: dict[tuple[str, date], int] = {}
        for entry in entries:
            compiled = result.compiled_plans[entry.subject_id]
            if compiled.tiered and entry.links is not None:
                month = self._month(entry.links.sale_at, compiled.plan)
                added[month] = added.get(month, 0) + 1
        return added

    def _month(self, sale_at: datetime, plan: ClearingPlan) -> tuple[str, date]:
        """The agreement and the month that a sale counts in, by the CPO's clock."""
        zone = _zone(self.reference_data.parties[plan.agreement.cpo_id].time_zone)
        return plan.agreement.id, sale_at.astimezone(zone).date().replace(day=1)

    def _sales_day(self, party_id: str, at: datetime) -> date | None:
        party = self.reference_data.parties.get(party_id)
        return None if party is None else sales_day(at, party)


def _each(items: Iterable[tuple[Any, ...]], step: Callable[..., _Result], into: BatchResult) -> list[_Result]:
    """`step` of each item, whose first part is its session; those that fail are recorded in `into`."""
    done: list[_Result] = []
    for item in items:
        try:
            done.append(step(*item))
        except Exception as error:  # noqa: BLE001 - one failing session must not stop the others; it is recorded as an exception
            session: CapturedSession = item[0]
            into.uncleared.append((session, _uncleared(session, error)))
    return done


def cleared(entry: JournalEntry, plan: ClearingPlan) -> ClearedSession:
    """What is published of a posted session."""
    links = entry.links
    if links is None:
        raise ClearingInvariantViolation(f"the capture of {entry.subject_id} has no links")
    fee = 0
    for debit, credit, minor, _ in entry.transfers:
        if credit == PLATFORM_FEE:
            fee += minor
        elif debit == PLATFORM_FEE:
            fee -= minor
    reseller = plan.agreement.terms.legal_model is LegalModel.RESELLER
    return ClearedSession(
        session_id=entry.subject_id,
        cpo_id=links.cpo_id,
        demand_partner_id=links.demand_partner_id,
        gross_minor=entry.gross_minor,
        net_minor=entry.gross_minor - entry.vat_minor,
        vat_minor=entry.vat_minor,
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


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UnclearableError(
            "unknown_time_zone", f"{name!r} is not an IANA time zone such as Europe/Zurich"
        ) from None


def _uncleared(session: CapturedSession, error: Exception) -> UnclearedSession:
    detail = str(error)
    if isinstance(error, UnclearableError):
        reason = error.reason
    elif isinstance(error, ClearingError):
        reason = next((code for kind, code in _REASONS if isinstance(error, kind)), "invalid_input")
    else:
        reason, detail = "unexpected", f"{type(error).__name__}: {error}"
    return UnclearedSession(session_id=session.session_id, reason=reason, detail=detail)
