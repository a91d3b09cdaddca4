"""Complete a session: its CDR and its price by the frozen tariff are fixed together, once.

Owns: what a CDR must be to end a session, and what is flagged about it. Must not know: how money is captured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import asyncpg

from clearing.errors import ClearingError
from clearing.money import Rounding, round_units
from clearing.pricing import json_document as document
from clearing.pricing.cdr import Cdr
from clearing.pricing.compare import compare
from clearing.pricing.engine import PricedSession
from clearing.pricing.restrictions import Phase
from gateway.clock import Clock
from gateway.database import Pool
from gateway.ids import format_id, new_id
from gateway.key_claim import UNKEYED, KeyClaim
from gateway.payments import presenters, repository
from gateway.payments.errors import (
    CdrRejectedError,
    NotFoundError,
    PspRequestOpenError,
    SessionAlreadyCompletedError,
)
from gateway.payments.phase_repository import BegunPhase, PhaseRepository
from gateway.payments.planned_end import IntendedEnd, PlannedEnd
from gateway.payments.policy import PaymentPolicy
from gateway.payments.records import SessionRecord, UsageSource
from gateway.payments.session_state import SessionEvent, advance_session
from gateway.payments.tariff_snapshot_cache import TariffSnapshotCache
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.payments.usage_checks import BELOW_TARIFF, UsageCheckService, UsageStatement
from gateway.payments.usage_repository import StatedUsage
from gateway.payments.views import SessionView
from gateway.webhooks.events import EventType, event_rows

CPO_TOTAL_DIFFERS: Final = "cpo_total_differs"
USAGE_CDR: Final = "usage-"  # the id of a CDR that was made of metered usage: this and its session's id
_LONGEST_CDR_ID: Final = 255  # OCPI allows 39; a name that is looked up must fit an index
_LOOKUP_KEY: Final = "session_lookup_pkey"


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedCdr:
    """A CDR with its price by the frozen tariff: minor units, watt-hours, codes of what is unusual.

    `exact_net` and `exact_gross` are the price before the last rounding, in major units.
    """

    cdr_id: str
    cdr_version: str
    cdr_raw: bytes
    price_minor: int
    price_net_minor: int
    exact_net: Decimal
    exact_gross: Decimal
    energy_wh: int
    started_at: datetime
    ended_at: datetime
    flags: Sequence[str]
    stated_by: UsageSource = UsageSource.OPERATOR_CDR


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedSession:
    """A session with its CDR, and the end of its payment where that was intended in the same statement.

    `usage` is what waits for a person instead: the session goes on.
    """

    session: SessionRecord
    intended: IntendedEnd | None = None
    usage: StatedUsage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionService:
    """Completes sessions."""

    pool: Pool
    phases: PhaseRepository
    tariffs: TariffSnapshotService
    snapshots: TariffSnapshotCache
    clock: Clock
    policy: PaymentPolicy
    checks: UsageCheckService | None = None

    async def complete(
        self,
        view: SessionView,
        *,
        cdr_raw: bytes,
        cdr_version: str,
        source: UsageSource = UsageSource.OPERATOR_CDR,
        flags: Sequence[str] = (),
    ) -> SessionRecord | StatedUsage:
        """Fix the session's CDR and its price from the frozen tariff; the capture is due from then on.

        `flags` are kept with the session beside those of its price and its checks.
        Returns the session as it is then, or what waits for a person instead. The same CDR again does
        nothing. Raises CdrRejectedError, SessionAlreadyCompletedError.
        """
        ended = await self.complete_and_intend(
            view, cdr_raw=cdr_raw, cdr_version=cdr_version, source=source, flags=flags
        )
        return ended.usage or ended.session

    async def complete_and_intend(
        self,
        view: SessionView,
        *,
        cdr_raw: bytes,
        cdr_version: str,
        source: UsageSource,
        flags: Sequence[str] = (),
        plan_end: Callable[[SessionView], PlannedEnd | None] | None = None,
        key: KeyClaim = UNKEYED,
    ) -> EndedSession:
        """As `complete`, in one statement with the claim of the call's key and the payment's planned end.

        `plan_end` is asked with the session as it ends. The key is claimed before anything else is written.
        """
        session, intended, cdr_id = view.session, None, None
        while session.cdr_id is None:
            fixed = await self.assess(
                session, cdr_raw=cdr_raw, cdr_version=cdr_version, source=source, key=key
            )
            if isinstance(fixed, StatedUsage):
                return EndedSession(session=session, usage=fixed)
            fixed, cdr_id = replace(fixed, flags=[*fixed.flags, *flags]), fixed.cdr_id
            session, intended = await self._end(
                replace(view, session=session), fixed, plan_end=plan_end, key=key
            )
        reject_another_cdr(session, cdr_id or self._read(cdr_raw, cdr_version).id)
        return EndedSession(session=session, intended=intended)

    async def end(self, view: SessionView, fixed: PricedCdr) -> SessionRecord:
        """End a session by a CDR that may be captured.

        Raises as `complete`, and PspRequestOpenError where its station has just named its EVSE.
        """
        ended, _ = await self._end(view, fixed)
        if ended.cdr_id is None:
            raise PspRequestOpenError("the session's EVSE was named just now; send the same request again")
        reject_another_cdr(ended, fixed.cdr_id)
        return ended

    async def _end(
        self,
        view: SessionView,
        fixed: PricedCdr,
        *,
        plan_end: Callable[[SessionView], PlannedEnd | None] | None = None,
        key: KeyClaim = UNKEYED,
    ) -> tuple[SessionRecord, IntendedEnd | None]:
        """End a session; the session as it is then, and the end of its payment where that was intended too.

        It has no CDR where its station has named its EVSE, and so its tariff, since `view` was read.
        """
        session = view.session
        ended = replace(view, session=self._ended(session, fixed))
        planned = None if plan_end is None else plan_end(ended)
        if not key.rides_in(session.shard):
            await key.ensure(self.pool)
        try:
            written = await self._write(ended, fixed.flags, planned, key)
        except asyncpg.UniqueViolationError as error:
            if planned is None or _LOOKUP_KEY in str(error):  # Citus adds its shard to the name
                raise CdrRejectedError(
                    f"CDR {fixed.cdr_id} of {session.cpo_id} has ended another session"
                ) from error
            await key.ensure(
                self.pool
            )  # another request is open: the session ends, and its payment after that
            return await self._end(view, fixed, key=key)
        if written.done:
            return ended.session, _intended(planned, written.intended_id, ended.session.updated_at)
        async with self.pool.acquire() as connection:
            now = await repository.find_session(connection, shard=session.shard, session_id=session.id)
        if now is None:
            raise NotFoundError(f"session {format_id('ses', session.id)} is missing")
        if now.cdr_id is None and now.tariff_sha256 == session.tariff_sha256:
            raise SessionAlreadyCompletedError(f"session {format_id('ses', session.id)} is {now.state}")
        return now, None

    async def assess(
        self,
        session: SessionRecord,
        *,
        cdr_raw: bytes,
        cdr_version: str,
        source: UsageSource,
        key: KeyClaim = UNKEYED,
    ) -> PricedCdr | StatedUsage:
        """Price and check what was stated of a session; what a check does not take is kept for a person.

        Raises CdrRejectedError.
        """
        cdr = self._read(cdr_raw, cdr_version)
        if self.checks is None:
            fixed = await self.price_cdr(session, cdr_raw=cdr_raw, cdr_version=cdr_version)
            return replace(fixed, stated_by=source)
        priced = await self._price(session, cdr) if cdr.currency == session.currency else None
        stated = UsageStatement(
            cdr=cdr,
            raw=cdr_raw,
            version=cdr_version,
            source=source,
            priced=priced,
            delivered=priced is None or delivered_something(cdr, priced),
        )
        taken = await self.checks.check(session, stated, key=key)
        if isinstance(taken, StatedUsage):
            return taken
        fixed = priced_cdr(cdr, priced or await self._price(session, cdr), raw=cdr_raw, version=cdr_version)
        fixed = replace(fixed, flags=sorted({*fixed.flags, *taken.flags}), stated_by=source)
        return fixed if taken.amount_minor is None else below_tariff(fixed, taken.amount_minor)

    async def price_provisional(
        self, session: SessionRecord, *, cdr_raw: bytes, cdr_version: str
    ) -> PricedCdr:
        """Check and price what a payer states of a session whose CDR is awaited. Raises CdrRejectedError."""
        cdr = self._read(cdr_raw, cdr_version)
        priced = await self._price(session, cdr)
        if self.checks is not None:
            await self.checks.check_provisional(
                session,
                UsageStatement(
                    cdr=cdr, raw=cdr_raw, version=cdr_version, source=UsageSource.PAYER, priced=priced
                ),
            )
        fixed = priced_cdr(cdr, priced, raw=cdr_raw, version=cdr_version)
        return replace(fixed, stated_by=UsageSource.PAYER)

    async def check_possible(self, session: SessionRecord, *, cdr_raw: bytes, cdr_version: str) -> None:
        """Whether the charge point can have given that energy; for an update, which never becomes a CDR.

        Raises CdrRejectedError.
        """
        if self.checks is not None:
            await self.checks.check_possible(session, self._read(cdr_raw, cdr_version))

    async def price_cdr(self, session: SessionRecord, *, cdr_raw: bytes, cdr_version: str) -> PricedCdr:
        """What a CDR comes to by the session's frozen tariff; nothing is stored. Raises CdrRejectedError."""
        cdr = self._read(cdr_raw, cdr_version)
        return priced_cdr(cdr, await self._price(session, cdr), raw=cdr_raw, version=cdr_version)

    def _read(self, cdr_raw: bytes, cdr_version: str) -> Cdr:
        try:
            document.check_raw_text(cdr_raw, document="CDR")
            cdr = self.tariffs.read_cdr(cdr_raw, version=cdr_version)
        except ClearingError as error:
            raise CdrRejectedError(f"the CDR can't be read: {error}") from error
        if len(cdr.id) > _LONGEST_CDR_ID:
            raise CdrRejectedError(f"$.id has {len(cdr.id)} characters; at most {_LONGEST_CDR_ID} are taken")
        return cdr

    async def _price(self, session: SessionRecord, cdr: Cdr) -> PricedSession:
        snapshot = await self.snapshots.get(session.tariff_sha256)
        if cdr.currency != session.currency:
            raise CdrRejectedError(
                f"the CDR is in {cdr.currency}, the session's tariff in {session.currency}"
            )
        try:
            return self.tariffs.price(
                sha256=snapshot.sha256,
                canonical=snapshot.canonical,
                version=snapshot.version,
                cdr=cdr,
                time_zone=session.time_zone,
            )
        except ClearingError as error:
            raise CdrRejectedError(f"the CDR can't be priced: {error}") from error

    def _ended(self, session: SessionRecord, fixed: PricedCdr) -> SessionRecord:
        return replace(
            session,
            state=advance_session(session.state, SessionEvent.COMPLETED),
            cdr_id=fixed.cdr_id,
            cdr_version=fixed.cdr_version,
            cdr=fixed.cdr_raw,
            price_minor=fixed.price_minor,
            price_net_minor=fixed.price_net_minor,
            energy_wh=fixed.energy_wh,
            started_at=fixed.started_at,
            ended_at=fixed.ended_at,
            flags=[*session.flags, *fixed.flags],
            stated_by=fixed.stated_by,
            updated_at=self.clock.now(),
        )

    async def _write(
        self, view: SessionView, flags: Sequence[str], planned: PlannedEnd | None, key: KeyClaim
    ) -> BegunPhase:
        """The statement that ends the session. The task is the worker's, if nobody captures at once.

        Raises KeyInUseError.
        """
        ended = view.session
        capture = planned.capture if planned else None
        written = await self.phases.complete_session(
            shard=ended.shard,
            session_id=ended.id,
            tariff_sha256=ended.tariff_sha256,
            cdr_id=ended.cdr_id,
            cdr_named_by_session=ended.cdr_id == f"{USAGE_CDR}{format_id('ses', ended.id)}",
            cdr_version=ended.cdr_version,
            cdr=ended.cdr,
            price_minor=ended.price_minor,
            price_net_minor=ended.price_net_minor,
            energy_wh=ended.energy_wh,
            started_at=ended.started_at,
            ended_at=ended.ended_at,
            flags=list(flags),
            stated_by=None if ended.stated_by is None else ended.stated_by.value,
            task_id=new_id(shard=ended.shard),
            run_at=self.clock.wall_now() + self.policy.call_grace,
            events=event_rows(presenters.session_events(EventType.SESSION_COMPLETED, view)),
            now=ended.updated_at,
            authorization_id=planned.authorization.id if planned else None,
            expected_version=planned.authorization.version if planned else None,
            request_id=planned.request.id if planned else None,
            capture_id=capture.id if capture else None,
            amount_minor=capture.amount_minor if capture else 0,
            receivable_minor=capture.receivable_minor if capture else 0,
            next_attempt_at=planned.next_attempt_at if planned else None,
            wall_now=planned.request.created_at if planned else None,
            **key.claim_fields(),
        )
        key.written(claimed=written.begun)
        return written


def _intended(planned: PlannedEnd | None, intended_id: UUID | None, at: datetime) -> IntendedEnd | None:
    return IntendedEnd(planned=planned, id=intended_id, at=at) if planned and intended_id else None


def priced_cdr(cdr: Cdr, priced: PricedSession, *, raw: bytes, version: str) -> PricedCdr:
    """A CDR with its price; one that delivered nothing costs nothing."""
    delivered = delivered_something(cdr, priced)
    return PricedCdr(
        cdr_id=cdr.id,
        cdr_version=version,
        cdr_raw=raw,
        price_minor=payable_minor(priced) if delivered else 0,
        price_net_minor=priced.excl_vat_minor if delivered else 0,
        exact_net=priced.excl_vat,
        exact_gross=priced.incl_vat,
        energy_wh=round_units(priced.energy_kwh * 1000, rounding=Rounding.HALF_AWAY),
        started_at=cdr.start,
        ended_at=cdr.end,
        flags=flags_of(priced, cdr) if delivered else [*flags_of(priced, cdr), "nothing_delivered"],
    )


def below_tariff(fixed: PricedCdr, amount_minor: int) -> PricedCdr:
    """The CDR at `amount_minor`, VAT included, where that is below its price; its net is the same share."""
    if amount_minor >= fixed.price_minor:
        return fixed
    return replace(
        fixed,
        price_minor=amount_minor,
        price_net_minor=round_units(
            amount_minor * fixed.exact_net / fixed.exact_gross, rounding=Rounding.HALF_AWAY
        ),
        flags=[*fixed.flags, BELOW_TARIFF],
    )


def payable_minor(priced: PricedSession) -> int:
    """What the driver pays: the price with VAT, and never less than nothing."""
    return max(priced.incl_vat_minor, 0)


def delivered_something(cdr: Cdr, priced: PricedSession) -> bool:
    """Whether there is anything to pay for: energy, or a reservation that kept the place free.

    A session without either releases its hold whole, whatever start fee or minimum price the tariff names.
    """
    if priced.energy_kwh > 0 or (cdr.total_energy_kwh or 0) > 0:
        return True
    return any(line.phase is not Phase.SESSION for line in priced.lines if line.excl_vat > 0)


def flags_of(priced: PricedSession, cdr: Cdr) -> list[str]:
    """What is odd about a priced session, as stable codes, each once.

    `cpo_total_differs`: the CPO's own total is beyond the tolerance; the tariff's price is captured anyway.
    """
    codes = {str(note.code) for note in priced.notes}
    if compare(priced, cdr).flagged:
        codes.add(CPO_TOTAL_DIFFERS)
    return sorted(codes)


def reject_another_cdr(session: SessionRecord, cdr_id: str) -> None:
    """The CDR that ended a session may come again; another one may not.

    Raises SessionAlreadyCompletedError.
    """
    if session.awaits_cdr and session.cdr_id != cdr_id:
        raise SessionAlreadyCompletedError(
            f"session {format_id('ses', session.id)} was captured without a CDR; "
            "its operator's CDR corrects it"
        )
    if session.cdr_id is None or session.cdr_id.lower() != cdr_id.lower():
        raise SessionAlreadyCompletedError(
            f"session {format_id('ses', session.id)} was completed by CDR {session.cdr_id}; "
            "a correction is a credit CDR followed by a new CDR"
        )
