"""The gate between a stated usage and the money: the checks of clearing, over what is stored of the session.

Owns: gathering the facts, keeping what waits for a person, the amount that a decision allows. Must not know:
the rules, how a session is completed, how a decision is made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from clearing.cdr_checks.checks import TOTAL_ONLY, TotalCheck, check_cdr, check_energy, check_total
from clearing.cdr_checks.facts import EarlierUsage, SessionFacts
from clearing.cdr_checks.finding import CdrFinding, CheckCode, CheckOutcome, described, exceptional, flags
from clearing.cdr_checks.limits import limits_at
from clearing.errors import ClearingError
from clearing.parties.party import PLATFORM_ID
from clearing.pricing.cdr import Cdr
from clearing.pricing.engine import PricedSession
from gateway.clock import Clock
from gateway.database import Connection, Pool, transaction
from gateway.ids import format_id, new_id
from gateway.key_claim import UNKEYED, KeyClaim
from gateway.payments import usage_repository
from gateway.payments.errors import CdrRejectedError
from gateway.payments.records import SessionRecord, UsageSource
from gateway.payments.requests import ChargePoint, TariffChoice, TariffSource, TariffUse
from gateway.payments.session_flags import BEGUN_BEFORE
from gateway.payments.tariff_snapshots import TariffSnapshotService
from gateway.payments.usage_repository import (
    CheckFactsRecord,
    OverlappingSession,
    ProvisionalUsage,
    StatedUsage,
    UsageState,
)

BELOW_TARIFF: Final = "captured_below_tariff"  # the flag of a session whose CPO asked for less
_TOKEN: Final = "ocpi_token"  # noqa: S105 - a name of the metadata: the contract of the token that authorized
_OWN_REFERENCES: Final = ("auth_", "ses_")
_OVERLAP: Final = timedelta(minutes=1)  # one vehicle leaves as the next one comes


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageStatement:
    """A CDR, or metered usage as one, and who stated it. `delivered`: there is something to pay for."""

    cdr: Cdr
    raw: bytes
    version: str
    source: UsageSource
    priced: PricedSession | None
    delivered: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenUsage:
    """Usage that may be captured: with which flags, and for how much where that is not the tariff's price."""

    flags: Sequence[str]
    amount_minor: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageCheckService:
    """Checks what is stated about sessions."""

    pool: Pool
    clock: Clock
    source: TariffSource
    tariffs: TariffSnapshotService

    async def check(
        self, session: SessionRecord, stated: UsageStatement, *, key: KeyClaim = UNKEYED
    ) -> TakenUsage | StatedUsage:
        """Take usage, or keep it for a person, under the key of the call.

        What waits for a person is not checked again; what was decided is taken as it was decided. Raises
        CdrRejectedError for a finding that is refused, and for another currency by API: the caller can
        correct it at once.
        """
        async with self.pool.acquire() as connection:
            known = await self._known(connection, session, stated)
            facts = await self._facts(connection, session, stated, known)
        limits = limits_at(known.limits, session.created_at)
        findings = check_cdr(stated.cdr, facts, limits)
        total = TotalCheck(finding=None, lower_minor=None)
        if stated.priced is not None and stated.delivered:
            total = check_total(stated.cdr, stated.priced, limits)
        if total.finding is not None:
            findings.append(total.finding)
        if known.known_state is UsageState.ACCEPTED:
            return TakenUsage(flags=_shown(findings), amount_minor=known.known_amount_minor)
        waits = exceptional(findings)
        if known.known_state is not None or waits:
            if known.known_state is None:
                _refuse(stated, waits)
            await key.ensure(self.pool)
            return await self._keep(session, stated, waits, _amounts(session, stated, waits, total, known))
        return TakenUsage(flags=flags(findings), amount_minor=total.lower_minor)

    async def check_provisional(self, session: SessionRecord, stated: UsageStatement) -> None:
        """Check what a payer states of a session whose CDR is awaited: it can correct it at once.

        Raises CdrRejectedError for every finding that would wait for a person.
        """
        async with self.pool.acquire() as connection:
            known = await self._known(connection, session, stated)
            facts = await self._facts(connection, session, stated, known)
        waits = exceptional(check_cdr(stated.cdr, facts, limits_at(known.limits, session.created_at)))
        if waits:
            raise CdrRejectedError(described(waits))

    async def check_possible(self, session: SessionRecord, cdr: Cdr) -> None:
        """Check that the charge point can have given the energy of a running session so far.

        Raises CdrRejectedError.
        """
        async with self.pool.acquire() as connection:
            rows = await usage_repository.list_limits(connection, [session.cpo_id, PLATFORM_ID])
        facts = SessionFacts(
            now=self.clock.now(),
            authorized_at=session.created_at,
            cpo_id=session.cpo_id,
            currency=session.currency,
            evse_id=session.evse_id,
            location_id=session.location_id,
            max_power_w=session.evse_power_w,
            power_type=session.power_type,
        )
        limits = limits_at((row.as_limit for row in rows), session.created_at)
        found = check_energy(cdr, facts, limits)
        if found:
            raise CdrRejectedError(f"not possible at this charge point: {described(found)}")

    async def _known(
        self, connection: Connection, session: SessionRecord, stated: UsageStatement
    ) -> CheckFactsRecord:
        return await usage_repository.load_check_facts(
            connection,
            session,
            cdr_id=stated.cdr.id,
            started_at=stated.cdr.start + _OVERLAP,
            ended_at=stated.cdr.end - _OVERLAP,
        )

    async def _facts(
        self, connection: Connection, session: SessionRecord, stated: UsageStatement, known: CheckFactsRecord
    ) -> SessionFacts:
        cdr = stated.cdr
        contract = session.metadata.get(_TOKEN)
        if (cdr.contract_id or cdr.auth_id or "").lower().startswith(_OWN_REFERENCES):
            contract = None  # the sender put our reference where the token is
        facts = SessionFacts(
            now=self.clock.now(),
            authorized_at=_authorized_at(session, cdr),
            cpo_id=session.cpo_id,
            currency=session.currency,
            evse_id=session.evse_id,
            location_id=session.location_id,
            evse_uid=session.evse_uid,
            max_power_w=session.evse_power_w,
            power_type=session.power_type,
            contract_id=contract,
            other_cdr_id=known.other_cdr_id if stated.source is UsageSource.OPERATOR_CDR else None,
            overlapping=[
                format_id("ses", other.session_id)
                for other in known.overlapping
                if self._same_token(cdr, other)
            ],
            stated_by_api=stated.source is not UsageSource.OPERATOR_CDR,
            references=_references(session, cdr, known),
            earlier_usage=_earlier(session, stated.source, known.provisional),
        )
        same = await self._other_evse_same_tariff(connection, session, cdr)
        return replace(facts, other_evse_same_tariff=same)

    async def _other_evse_same_tariff(
        self, connection: Connection, session: SessionRecord, cdr: Cdr
    ) -> bool | None:
        """Whether another EVSE that a CDR names has the session's tariff; None: the same EVSE, or unknown."""
        named = cdr.evse_id or cdr.evse_uid
        if named is None or named in {session.evse_id, session.evse_uid}:
            return None
        same = None
        for use in TariffUse:  # the session's was chosen for one of them
            point = await self.source.tariff_for(
                connection,
                evse_id=named,
                at=session.created_at,
                cpo_id=session.cpo_id,
                choice=TariffChoice(use=use),
            )
            if not isinstance(point, ChargePoint):
                return None
            try:
                frozen = self.tariffs.freeze(point.tariff_raw, version=point.tariff_version)
            except ClearingError:
                continue
            same = same or frozen.sha256 == session.tariff_sha256
        return same

    def _same_token(self, cdr: Cdr, other: OverlappingSession) -> bool:
        """Whether the other session's CDR names the same token or contract."""
        try:
            known = self.tariffs.read_cdr(other.cdr, version=other.cdr_version)
        except ClearingError:
            return False
        pairs = ((cdr.auth_id, known.auth_id), (cdr.contract_id, known.contract_id))
        stated = [(one.lower(), two.lower()) for one, two in pairs if one and two]
        return bool(stated) and all(one == two for one, two in stated)

    async def _keep(
        self, session: SessionRecord, stated: UsageStatement, waits: Sequence[CdrFinding], amounts: "_Amounts"
    ) -> StatedUsage:
        usage = StatedUsage(
            shard=session.shard,
            id=new_id(shard=session.shard),
            session_id=session.id,
            cpo_id=session.cpo_id,
            source=stated.source,
            cdr_id=stated.cdr.id,
            cdr_key=stated.cdr.id.lower(),
            cdr_version=stated.version,
            cdr=stated.raw,
            state=UsageState.EXCEPTION,
            reasons=[one.code.value for one in waits],
            detail=described(waits),
            currency=session.currency,
            price_minor=amounts.price_minor,
            lower_minor=amounts.lower_minor,
            in_time_minor=amounts.in_time_minor,
            settled_minor=None,
            amount_minor=None,
            decided_by=None,
            received_at=self.clock.now(),
            updated_at=self.clock.now(),
        )
        async with transaction(self.pool) as connection:
            return await usage_repository.keep(connection, usage)


def _authorized_at(session: SessionRecord, cdr: Cdr) -> datetime:
    """When the session was authorized: at its start where it had begun by whitelist or offline."""
    if not BEGUN_BEFORE.isdisjoint(session.flags):
        return min(session.created_at, cdr.start)
    return session.created_at


@dataclass(frozen=True, slots=True, kw_only=True)
class _Amounts:
    """What usage that waits costs by the tariff, the least that is stated, and what is captured in time."""

    price_minor: int | None
    lower_minor: int | None
    in_time_minor: int | None


def _amounts(
    session: SessionRecord,
    stated: UsageStatement,
    waits: Sequence[CdrFinding],
    total: TotalCheck,
    known: CheckFactsRecord,
) -> _Amounts:
    """The amounts between which a person decides.

    Only the totals in question: both can be defended, and the lower one is captured in time. The payer
    stated another usage: the CDR is the billing record, so its amount is captured in time; the payer's is
    the lower one that a person may choose.
    """
    codes = {one.code for one in waits}
    price = None if stated.priced is None else max(stated.priced.incl_vat_minor, 0)
    if not stated.delivered:
        return _Amounts(price_minor=0, lower_minor=None, in_time_minor=None)
    if price is None or not codes <= TOTAL_ONLY | {CheckCode.USAGE_DIFFERS}:
        return _Amounts(price_minor=price, lower_minor=None, in_time_minor=None)
    in_time = min(price, _or(total.lower_minor, price))
    lower = in_time
    if CheckCode.USAGE_DIFFERS in codes:
        earlier = session.price_minor if known.provisional is None else known.provisional.price_minor
        lower = min(in_time, _or(earlier, in_time))
    return _Amounts(price_minor=price, lower_minor=lower, in_time_minor=in_time)


def _earlier(
    session: SessionRecord, source: UsageSource, provisional: ProvisionalUsage | None
) -> EarlierUsage | None:
    """What the payer stated before a CDR of the operator: by that the session ended, or provisionally."""
    if source is UsageSource.PAYER:
        return None
    if provisional is not None:
        return EarlierUsage(
            energy_wh=provisional.energy_wh,
            started_at=provisional.started_at,
            ended_at=provisional.ended_at,
        )
    if session.stated_by is not UsageSource.PAYER or session.started_at is None or session.ended_at is None:
        return None
    return EarlierUsage(
        energy_wh=session.energy_wh or 0, started_at=session.started_at, ended_at=session.ended_at
    )


def _references(session: SessionRecord, cdr: Cdr, known: CheckFactsRecord) -> Sequence[str]:
    """By which names of ours the CDR may refer to the session; none where it uses another form."""
    if not (cdr.authorization_reference or "").lower().startswith(_OWN_REFERENCES):
        return ()
    return [*(format_id("auth", one) for one in known.authorizations), format_id("ses", session.id)]


def _refuse(stated: UsageStatement, waits: Sequence[CdrFinding]) -> None:
    refused = [one for one in waits if one.outcome is CheckOutcome.REFUSE]
    if stated.source is not UsageSource.OPERATOR_CDR and stated.priced is None:
        refused = [one for one in waits if one.code is CheckCode.CURRENCY_DIFFERS]
    if refused:
        raise CdrRejectedError(described(refused))


def _shown(findings: Sequence[CdrFinding]) -> list[str]:
    """All codes, those that a person has decided about too."""
    return sorted({finding.code.value for finding in findings})


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value
